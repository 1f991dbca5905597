"""Run by torchrun in `test_refine`: two processes learn from different batches, and one network from both."""

import sys
from pathlib import Path

import torch

from models.catalog import SHIPPED
from models.engine import prepare_process
from models.glcic.refine_train import SIDE, RefineOptions, RefineRecipe
from models.training import loop, processes
from models.training.data import open_pictures
from tests.models.training.torchrun import assert_same_everywhere


def main(faces: Path, out: Path) -> None:
    """Compare, in each process."""
    prepare_process(1)
    device = processes.start("cpu")
    options = RefineOptions(batch_size=1, steps=2, critics_alone=1, rising=1, threads=1, precision="float32")
    pictures = {name: open_pictures(faces, size=SIDE, split=name) for name in ("train", "validation")}  # type: ignore[arg-type]
    recipe = RefineRecipe(options, pictures, SHIPPED / "glcic-celeba.safetensors", device)
    assert processes.world() == 2
    own = float(recipe.batch(1).holes.float().mean())
    total = torch.tensor(own)
    torch.distributed.all_reduce(total)
    assert float(total) != 2 * own, "both learn from the same holes"
    assert loop.run(recipe, out, device=device, tensorboard=False) == "finished"
    assert_same_everywhere(recipe.network)
    assert_same_everywhere(recipe.critics)
    processes.stop()


main(*map(Path, sys.argv[1:]))
