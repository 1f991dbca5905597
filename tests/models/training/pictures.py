"""Small pictures to train on, made on the spot, and a recipe that trains on nothing at all."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from models.training import loop, moves, processes
from models.training.options import Options
from models.training.report import ACCURACY


def gradient(index: int, width: int = 32, height: int = 32) -> npt.NDArray[np.uint8]:
    """(height, width, 3): a smooth picture, different for each index."""
    rng = np.random.default_rng(index)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j][..., None]
    corners = rng.uniform(0, 255, (3, 3))
    return (corners[0] * x + corners[1] * y + corners[2] * (1 - np.maximum(x, y))).clip(0, 255).astype(np.uint8)


def write_pictures(folder: Path, count: int, width: int = 32, height: int = 32) -> list[str]:
    """`count` PNG files named as CelebA names its own."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{index:06d}.png" for index in range(1, count + 1)]
    for index, name in enumerate(names):
        Image.fromarray(gradient(index, width, height)).save(folder / name)
    return names


class ToyOptions(Options):
    """Of the toy."""

    log_every: int = 1
    checkpoint_seconds: float = 1e9
    preview_every: int = 10**9
    validate_every: int = 10**9
    threads: int | None = 1


class ToyRecipe(loop.Recipe[Tensor]):
    """Batch norm, dropout and Adam on random numbers: every kind of state that a family has, in a few weights."""

    def __init__(self, options: ToyOptions, steps: int = 6) -> None:
        torch.manual_seed(0)
        self.options: ToyOptions = options
        self.steps = steps
        self.network = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=0.05)
        self.accuracy = 0.5

    def batch(self, step: int) -> Tensor:
        rng = moves.generator(self.options.seed, processes.rank(), step)
        return torch.from_numpy(rng.normal(size=(self.options.batch_size, 3))).float()

    def step(self, step: int, batch: Tensor) -> loop.Figures:
        del step
        loss = (self.network(batch).squeeze(1) - batch.sum(1)).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        processes.average_gradients(self.network)
        self.optimiser.step()
        processes.average_statistics(self.network)
        return {"loss": loss.detach(), ACCURACY: torch.tensor(self.accuracy)}

    def state_dict(self) -> dict[str, Any]:
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])

    def preview(self) -> npt.NDArray[np.uint8]:
        return np.zeros((4, 4, 3), dtype=np.uint8)

    def weights(self) -> dict[str, Tensor]:
        return dict(self.network.state_dict())

    def about(self) -> loop.About:
        return loop.About("glcic", "toy", "A toy", "Of no use.", "nothing", "free", "AdamW", 4, {})
