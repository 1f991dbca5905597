"""`inpaint train`: train a model of one of the three families, here, in this process (or under torchrun)."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from models.catalog import Catalog, Family, UnknownModelError
from models.training.errors import OptionsError, TrainingError
from models.training.loop import Outcome
from models.training.options import AnyOptions, parse_overrides, with_overrides
from worker.settings import WorkerSettings

FINISHED, FAILED, STOPPED = 0, 1, 75
"""Exit statuses; 75 is `EX_TEMPFAIL`: stopped by a signal with a checkpoint, go on with `--resume`."""


def train(
    family: Family,
    data: Path,
    out: Path,
    *,
    preset: str = "cpu",
    assignments: Sequence[str] = (),
    resume: bool = False,
    init: str = "",
) -> int:
    """Train `family` on `data` into `out` and return the exit status.

    `assignments` are `NAME=VALUE` over the preset; `init` is a safetensors file or a model of the catalogue to
    start from (GLCIC only). What went wrong is said on standard error, in a sentence.
    """
    try:
        outcome = _train(family, data, out, preset, assignments, resume, init)
    except TrainingError as error:
        print(f"inpaint train: {error}", file=sys.stderr)
        return FAILED
    return FINISHED if outcome is Outcome.FINISHED else STOPPED


def _train(
    family: Family, data: Path, out: Path, preset: str, assignments: Sequence[str], resume: bool, init: str
) -> Outcome:
    if family not in get_args(Family):
        raise OptionsError(f"There is no family '{family}'. Families: {', '.join(get_args(Family))}.")
    overrides = parse_overrides(assignments)
    if init and family != "glcic":
        raise OptionsError(f"--init is for glcic; {family} starts from nothing.")
    # Each family is imported where it is wanted: torch and its friends take seconds.
    if family == "glcic":
        from models.glcic import train as glcic

        start = find_weights(init) if init else None
        chosen = with_overrides(_preset(glcic.PRESETS, preset), overrides)
        return glcic.train(data, out, chosen, resume=resume, init=start)
    if family == "dcgan":
        from models.dcgan import train as dcgan

        return dcgan.train(data, out, with_overrides(_preset(dcgan.PRESETS, preset), overrides), resume=resume)
    from models.vanilla_gan import train as vanilla

    return vanilla.train(data, out, with_overrides(_preset(vanilla.PRESETS, preset), overrides), resume=resume)


def find_weights(init: str) -> Path:
    """The file that `init` means: a path, or a model of the catalogue. Raises OptionsError."""
    if Path(init).is_file():
        return Path(init)
    catalog = Catalog(store=WorkerSettings().weights_dir)
    try:
        return catalog.weights_path(catalog.get(init))
    except UnknownModelError as error:
        raise OptionsError(f"{init} is neither a file nor a model to start from. {error}") from error


def _preset(presets: Mapping[str, AnyOptions], name: str) -> AnyOptions:
    if name not in presets:
        raise OptionsError(f"There is no preset '{name}'. Presets: {', '.join(sorted(presets))}.")
    return presets[name]
