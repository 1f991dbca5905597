"""Run by torchrun in `test_loop`: a run in two processes equals the same run stopped and resumed."""

import os
import signal
import sys
from pathlib import Path

import torch
from torch import Tensor

from models.engine import prepare_process
from models.training import loop, processes
from tests.models.training.pictures import ToyOptions, ToyRecipe
from tests.models.training.torchrun import assert_same_everywhere


class StoppedInOneProcess(ToyRecipe):
    """SIGTERM reaches the second process alone, in the middle of step 3."""

    def step(self, step: int, batch: Tensor) -> loop.Figures:
        if step == 2 and processes.rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().step(step, batch)


def main(folder: Path) -> None:
    """Compare, in each process."""
    prepare_process(1)
    device = processes.start("cpu")
    options = ToyOptions(batch_size=4)
    whole, first, second = ToyRecipe(options), StoppedInOneProcess(options), ToyRecipe(options)
    assert processes.world() == 2
    assert loop.run(whole, folder / "whole", device=device, tensorboard=False) == "finished"
    assert loop.run(first, folder / "stopped", device=device, tensorboard=False) == "stopped"
    assert loop.run(second, folder / "stopped", device=device, resume=True, tensorboard=False) == "finished"
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
    assert_same_everywhere(whole.network)
    assert _threads_of_the_group()
    processes.stop()
    assert not _threads_of_the_group(), "they abort the process when Python ends before they have let go of all tensors"


def _threads_of_the_group() -> list[str]:
    names = [task.joinpath("comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    return [name for name in names if "gloo" in name]


main(Path(sys.argv[1]))
