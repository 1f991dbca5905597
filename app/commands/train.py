"""`inpaint train`: train a model of one of the three families here, in this process or under torchrun."""

import sys
from collections.abc import Sequence
from pathlib import Path

from models.catalog import Family
from models.training.errors import OptionsError
from models.training.options import parse_overrides
from models.training.start import FAILED, begun_with, start
from worker.settings import WorkerSettings


def train(
    family: Family,
    data: Path,
    out: Path,
    *,
    preset: str | None = None,
    assignments: Sequence[str] = (),
    resume: bool = False,
    init: str = "",
) -> int:
    """Train `family` on `data` into `out` and return the exit status: 0 finished, 1 failed, 75 stopped by a signal.

    `assignments` are `NAME=VALUE` over the preset (`cpu` where none is named), or, with `resume`, over the options that
    the run has; `init` is a safetensors file or a model of the catalogue to start from (GLCIC only). What went wrong
    is said on standard error, in a sentence.
    """
    file = Path(init) if init and Path(init).is_file() else None
    try:
        if file is None and Path(init).suffix == ".safetensors":
            raise OptionsError(f"There is no file {init} to start from.")
        overrides = parse_overrides(assignments) | ({"init": init} if init and file is None else {})
        if resume:
            preset, kept = begun_with(out, preset)
            overrides = kept | overrides
    except OptionsError as error:
        print(f"inpaint train: {error}", file=sys.stderr)
        return FAILED
    store = WorkerSettings.read().weights_dir
    return start(family, data, out, preset=preset or "cpu", overrides=overrides, resume=resume, init=file, store=store)
