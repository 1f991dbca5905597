"""The options of every family by name. Free of torch, so that the API can refuse a wrong request at once."""

from collections.abc import Mapping
from typing import Any, get_args

from models.catalog import Family
from models.dcgan.options import PRESETS as DCGAN
from models.glcic.options import PRESETS as GLCIC
from models.training.errors import OptionsError
from models.training.options import Options, with_overrides
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
    return with_overrides(presets[preset], overrides)
