"""What the trainings of GLCIC's helpers for faces share: faces, scenes, and one network under one cycle of AdamW."""

import math
import sys
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from models.training import loop
from models.training.data import Pictures
from models.training.options import Options

Batch = TypeVar("Batch")

CPU = torch.device("cpu")

_FIRST_RATE, _LAST_RATE = 1 / 25, 1 / 25e4  # shares of the highest learning rate
_SLOW, _QUICK = 0.95, 0.85  # Adam's first beta at the lowest rate and at the highest

Splits = dict[str, Pictures]
"""`train` and `validation`."""


class HelperOptions(Options):
    """How a helper is trained."""

    steps: int
    lr: float


class HelperRecipe(loop.Recipe[Batch]):
    """One network on a CPU. A helper adds its batches, its step, which ends in `descend`, and how it shows itself."""

    options: HelperOptions
    _network: nn.Module

    def __init__(
        self,
        options: HelperOptions,
        faces: Splits,
        scenes: Splits,
        network: nn.Module,
        *,
        weight_decay: float,
        rising: float,
    ) -> None:
        """rising: share of the steps in which the learning rate rises."""
        self.options = options
        self.steps = options.steps
        self._faces, self._scenes = faces, scenes
        network.to(memory_format=torch.channels_last)
        self._network = network
        self._rising = rising
        self._optimizer = torch.optim.AdamW(network.parameters(), lr=options.lr, weight_decay=weight_decay)

    def descend(self, step: int, loss: Tensor) -> None:
        """One step down `loss`, as far as `step` says."""
        rate, beta = one_cycle(step, self.steps, self._rising)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * self.options.lr
            group["betas"] = (beta, group["betas"][1])
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        self._optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """See `Recipe.state_dict`."""
        return {"network": self._network.state_dict(), "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Recipe.load_state_dict`."""
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])

    def weights(self) -> dict[str, Tensor]:
        """See `Recipe.weights`."""
        state = self._network.state_dict()
        return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


def one_cycle(step: int, steps: int, rising: float) -> tuple[float, float]:
    """The learning rate at `step` of `steps`, as a share of the highest, and Adam's first beta.

    torch's OneCycleLR (Smith, Topin 2018), but from the step alone: a run can be resumed with more steps than it began
    with, and there may be as few as there are.
    """
    top = rising * steps - 1
    if step < top:
        height = (1 - math.cos(math.pi * step / top)) / 2
        lowest = _FIRST_RATE
    else:
        height = (1 + math.cos(math.pi * (step - top) / (steps - 1 - top))) / 2
        lowest = _LAST_RATE
    return lowest + (1 - lowest) * height, _SLOW + (_QUICK - _SLOW) * height


def train(recipe: loop.Recipe[Any], out: Path, module: str, *, resume: bool, device: torch.device = CPU) -> None:
    """Run it in `out`; the card tells the command line of `module` that did. Raises TrainingError."""
    loop.run(recipe, out, device=device, resume=resume, command=["python", "-m", module, *sys.argv[1:]])
