"""A training run as a process: `python -m models.training.start JSON`, alone or under torchrun.

The JSON object holds the arguments of `start`. Exit status as in `FINISHED`,
`FAILED`, `STOPPED`; why it failed stands on standard error, in a sentence.
"""

import ctypes
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.catalog import Catalog, UnknownModelError
from models.dcgan.options import DcganOptions
from models.glcic.options import GlcicOptions
from models.training.errors import OptionsError, TrainingError
from models.training.families import options_for
from models.training.options import OPTIONS
from models.vanilla_gan.options import VanillaGanOptions

FINISHED, FAILED, STOPPED = 0, 1, 75
"""75 is `EX_TEMPFAIL`: stopped by a signal, with a checkpoint; goes on with `resume`."""


def start(
    family: str,
    data: Path,
    out: Path,
    *,
    preset: str = "cpu",
    overrides: Mapping[str, Any],
    resume: bool = False,
    init: Path | None = None,
    store: Path | None = None,
) -> int:
    """Train and return the exit status.

    `init` is a safetensors file to start from, instead of the option `init`, which names a model of the catalogue
    with promoted weights in `store`; both are GLCIC's alone.
    """
    try:
        return _start(family, data, out, preset, overrides, resume, init, store)
    except TrainingError as error:
        print(f"{error.told}: {error}", file=sys.stderr, flush=True)
        return FAILED


def _start(
    family: str,
    data: Path,
    out: Path,
    preset: str,
    overrides: Mapping[str, Any],
    resume: bool,
    init: Path | None,
    store: Path | None,
) -> int:
    options = options_for(family, preset, overrides)
    # Each family is imported where it is wanted: torch and its friends take seconds.
    if isinstance(options, GlcicOptions):
        from models.glcic import train as glcic

        if init is None and options.init:
            init = find_weights(options.init, store)
        outcome = glcic.train(data, out, options, resume=resume, init=init)
    elif init is not None:
        raise OptionsError(f"Only glcic can start from given weights; {family} starts from nothing.")
    elif isinstance(options, DcganOptions):
        from models.dcgan import train as dcgan

        outcome = dcgan.train(data, out, options, resume=resume)
    elif isinstance(options, VanillaGanOptions):
        from models.vanilla_gan import train as vanilla

        outcome = vanilla.train(data, out, options, resume=resume)
    else:
        raise AssertionError(f"{family} has options that nothing trains by")
    return FINISHED if outcome == "finished" else STOPPED


def begun_with(out: Path, preset: str | None) -> tuple[str | None, dict[str, Any]]:
    """Preset and options of the run in `out`, to go on with. Raises OptionsError, also where `preset` is another."""
    if not any(out.glob("checkpoint-*.pt")):
        raise OptionsError(f"There is nothing to resume in {out}: it has no checkpoint. Leave out --resume to begin.")
    try:
        kept: dict[str, Any] = json.loads((out / OPTIONS).read_bytes())
    except (OSError, ValueError) as error:
        raise OptionsError(f"The options of the run in {out} cannot be read: {error}.") from error
    before = kept.pop("preset", "") or preset
    if preset not in (None, before):
        raise OptionsError(
            f"The run in {out} was begun with the preset '{before}'. Leave out --preset; change options by --set."
        )
    return before, kept


def find_weights(reference: str, store: Path | None) -> Path:
    """The file of a GLCIC model of the catalogue. Raises OptionsError."""
    catalog = Catalog(store=store)
    try:
        card = catalog.get(reference)
    except UnknownModelError as error:
        raise OptionsError(f"There is nothing to start from. {error}") from error
    if card.family != "glcic":
        raise OptionsError(f"{reference} is a {card.family}, no completion network to start from.")
    return catalog.weights_path(card)


def main() -> None:
    """From the command line of whoever supervises the run."""
    _die_with_launcher()
    arguments = json.loads(sys.argv[1])
    for name in ("data", "out", "init", "store"):
        if arguments.get(name) is not None:
            arguments[name] = Path(arguments[name])
    sys.exit(start(**arguments))


def _die_with_launcher() -> None:
    """Under torchrun: have the kernel end this process with its launcher, even when that is killed (Linux only)."""
    if "TORCHELASTIC_RUN_ID" in os.environ and sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # 1: PR_SET_PDEATHSIG


if __name__ == "__main__":
    main()
