"""Options that every family has, and how a command line changes them. Free of torch."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.training.errors import OptionsError

OPTIONS = "options.json"
"""Where a run's folder keeps them."""


class Options(BaseModel):
    """How a run is made; a family adds its own fields. Unchangeable, and saved beside the run."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    preset: str = Field(default="", description="What the others are changes to; set when a run is begun.")
    batch_size: int = Field(default=16, ge=1, le=65_536, description="Pictures per step and process.")
    seed: int = Field(default=0, ge=0, lt=2**31, description="Same seed, same data, same machine: same weights.")
    device: str = Field(default="auto", description="`auto`, `cpu`, `cuda`, `cuda:1`.")
    threads: int | None = Field(default=None, ge=1, description="CPU threads of one process; torch's choice if unset.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="float32",
        description="Of the arithmetic: auto is bfloat16 where the device is faster in it. Weights are float32.",
    )
    channels_last: bool = Field(default=False, description="Keep pictures and kernels in the layout CPUs like best.")
    ema: float = Field(default=0.0, ge=0, lt=1, description="Decay of the averaged weights; 0 keeps no average.")
    log_every: int = Field(default=20, ge=1, description="Steps between lines of the log.")
    checkpoint_seconds: float = Field(default=300, ge=0, description="Most seconds of work a killed run can lose.")
    preview_every: int = Field(default=500, ge=1, description="Steps between preview pictures.")
    validate_every: int = Field(default=1000, ge=1, description="Steps between measurements on held-out pictures.")
    data_threads: int = Field(
        default=1, ge=1, description="Threads (on a GPU: processes) that make batches ahead of the step."
    )
    licence: str = Field(default="", description="Terms of the weights, for the card; known for CelebA and MNIST.")


class GanOptions(Options):
    """What the plain GANs have in common."""

    epochs: float = Field(default=25, gt=0, description="Times each training picture is shown.")
    lr: float = Field(default=2e-4, gt=0, description="Adam's learning rate.")
    discriminator_pace: float = Field(
        default=1.0, gt=0, description="The discriminator's learning rate as a multiple of `lr` (Heusel et al. 2017)."
    )
    final_lr: float = Field(default=1.0, gt=0, le=1, description="Share of `lr` left at the end (cosine decay).")
    beta1: float = Field(default=0.5, ge=0, lt=1, description="Adam's first decay; 0.5 is the DCGAN paper's advice.")
    smooth: float = Field(
        default=0.0, ge=0, lt=0.5, description="One-sided label smoothing: real pictures are worth 1 minus this."
    )

    def adam(self) -> str:
        """How the networks are optimised, for the card."""
        pace = "" if self.discriminator_pace == 1 else f", discriminator {self.discriminator_pace:g} times as fast"
        return f"Adam {self.lr:g} to {self.lr * self.final_lr:g}, beta1 {self.beta1:g}{pace}"

    def steps(self, pictures: int, processes: int = 1) -> int:
        """Optimisation steps of a run over `pictures` pictures in so many processes."""
        return max(1, round(self.epochs * pictures / (self.batch_size * processes)))


def cosine_share(step: int, steps: int, final: float) -> float:
    """Share of the learning rate at `step` of `steps`: from 1 down to `final` along half a cosine."""
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * step / steps))


HoleKind = Literal["patch", "box", "stroke", "scattered"]
"""`patch` is the protocol of the course: one box anywhere in the patch that the local discriminator sees. The paper
centres that patch on the box."""

AnyOptions = TypeVar("AnyOptions", bound=Options)


def with_overrides(preset: AnyOptions, overrides: Mapping[str, Any]) -> AnyOptions:
    """`preset` with some fields changed and all checks made again. Raises OptionsError."""
    unknown = sorted(overrides.keys() - type(preset).model_fields.keys())
    if unknown:
        known = ", ".join(sorted(type(preset).model_fields))
        raise OptionsError(f"There is no option {', '.join(unknown)}. Options: {known}.")
    try:
        return type(preset).model_validate(preset.model_dump() | dict(overrides))
    except ValidationError as error:
        reasons = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'options'}: {item['msg']}" for item in error.errors())
        raise OptionsError(f"These options do not work: {reasons}.") from error


def parse_overrides(assignments: Iterable[str]) -> dict[str, Any]:
    """`["lr=3e-4", "sizes=[64,128]"]` as a dictionary: values are JSON, else text. Raises OptionsError."""
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise OptionsError(f"'{assignment}' is not of the form NAME=VALUE, e.g. lr=3e-4.")
        try:
            overrides[name] = json.loads(value)
        except json.JSONDecodeError:
            overrides[name] = value
    return overrides
