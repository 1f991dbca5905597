"""The options of every family by name. Free of torch, so that the API can refuse a wrong request at once."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from models.catalog import Family
from models.dcgan.options import PRESETS as DCGAN
from models.glcic.options import PRESETS as GLCIC
from models.training.errors import OptionsError
from models.training.options import Options, parse_overrides, with_overrides
from models.vanilla_gan.options import PRESETS as VANILLA_GAN

PRESETS: dict[Family, Mapping[str, Options]] = {"glcic": GLCIC, "dcgan": DCGAN, "vanilla-gan": VANILLA_GAN}


def options_for(family: str, preset: str, overrides: Mapping[str, Any]) -> Options:
    """The options of a run. Raises OptionsError, which says what there is instead."""
    for known in get_args(Family):
        if known == family:
            presets = PRESETS[known]
            break
    else:
        raise OptionsError(f"There is no family '{family}'. Families: {', '.join(get_args(Family))}.")
    if preset not in presets:
        raise OptionsError(f"There is no preset '{preset}'. Presets: {', '.join(sorted(presets))}.")
    return with_overrides(presets[preset], {**overrides, "preset": preset})


def command_for(
    family: Family, data: Path, out: Path, options: Options, *, init: Path | None = None, processes: int = 1
) -> list[str]:
    """The words of the command that makes such a run, whoever began it: all that differs from the preset is told."""
    start = ["torchrun", "--nproc-per-node", str(processes), "-m", "app.cli"] if processes > 1 else ["inpaint"]
    words = [*start, "train", family, "--data", str(data), "--out", str(out)]
    usual: dict[str, Any] = {"preset": ""}
    if options.preset:
        usual = PRESETS[family][options.preset].model_dump(mode="json") | {"preset": options.preset}
        words += ["--preset", options.preset]
    if init is not None:
        words += ["--init", str(init)]
    for name, value in options.model_dump(mode="json").items():
        if name not in usual or value != usual[name]:
            words += ["--set", f"{name}={_typed(value)}"]
    return words


def _typed(value: Any) -> str:
    """As `parse_overrides` reads it."""
    plain = isinstance(value, str) and parse_overrides([f"it={value}"])["it"] == value
    return str(value) if plain else json.dumps(value, separators=(",", ":"))
