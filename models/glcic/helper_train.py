"""What the trainings of GLCIC's helpers for faces share: faces, scenes, and one network under one cycle of AdamW."""

import sys
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from models.catalog import Card, write_atomically
from models.training import loop, processes
from models.training.data import Pictures
from models.training.options import Options

Batch = TypeVar("Batch")

CPU = torch.device("cpu")

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
        self._optimizer = torch.optim.AdamW(network.parameters(), lr=options.lr, weight_decay=weight_decay)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, options.lr, total_steps=options.steps, pct_start=rising
        )

    def descend(self, loss: Tensor) -> None:
        """One step down `loss`."""
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        self._optimizer.step()
        self._schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """See `Recipe.state_dict`."""
        return {
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Recipe.load_state_dict`."""
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])

    def weights(self) -> dict[str, Tensor]:
        """See `Recipe.weights`."""
        state = self._network.state_dict()
        return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


def train(recipe: loop.Recipe[Any], out: Path, module: str, *, resume: bool, device: torch.device = CPU) -> None:
    """Run it in `out`; the card tells the command line of `module` that did. Raises TrainingError."""
    loop.run(recipe, out, device=device, resume=resume)
    if processes.rank() != 0:
        return
    path = out / loop.CARD
    card = Card.model_validate_json(path.read_bytes())
    command = loop.command_line(["python", "-m", module, *sys.argv[1:]])
    write_atomically(path, card.model_copy(update={"command": command}).model_dump_json(indent=2).encode())
