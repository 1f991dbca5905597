"""GLCIC's training step as the device's preset runs it, against a plain float32 loop over the same network.

The plain loop is what one writes first: float32, NCHW, PyTorch's convolutions, AdamW as it comes, denormals as the
processor handles them. Both start from the weights that ship, take batches of 16 (of 128 on a GPU), and run in
processes of their own, in turns, so that neither inherits the other's settings and both meet the same neighbours.
What is compared is the median step of the completion phase.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from models.engine import choose_device, prepare_process
from models.glcic.network import CompletionNetwork
from models.glcic.options import PRESETS
from models.glcic.train import GlcicRecipe, hole_mse, load_initial
from models.training import processes
from models.training.data import Pictures
from models.training.options import with_overrides
from tests.benchmarks.figures import Figure, against, baseline
from tests.benchmarks.plain import plain

WEIGHTS = Path(__file__).parents[2] / "models" / "weights" / "glcic-celeba.safetensors"
SIZES, ROUNDS = (64, 128), 3
STEPS, WARM_UP = 5, 2
_PICTURES = PRESETS["gpu"].batch_size


def pictures(size: int) -> Pictures:
    """Smooth ones, a batch of the larger preset."""
    coarse = np.random.default_rng(0).integers(0, 256, (_PICTURES, 8, 8, 3))
    pixels = coarse.repeat(size // 8, axis=1).repeat(size // 8, axis=2).astype(np.uint8)
    return Pictures(pixels, ("",) * _PICTURES, (), (0.5, 0.5, 0.5), "noise", "free")


def preset() -> str:
    """`cpu` or `gpu`."""
    return "gpu" if choose_device().type == "cuda" else "cpu"


def recipe_for(size: int) -> GlcicRecipe:
    """The preset at one size."""
    stage = {"sizes": [size], "completion_steps": [100], "discriminator_steps": [0], "joint_steps": [0]}
    options = with_overrides(PRESETS[preset()], stage)
    return GlcicRecipe(options, pictures(size), pictures(size), choose_device(), init=WEIGHTS)


def time_ours(size: int) -> list[float]:
    """Seconds of each step."""
    prepare_process()
    processes.start("auto")
    recipe = recipe_for(size)
    seconds = []
    for step in range(WARM_UP + STEPS):
        batch = recipe.batch(step)
        start = time.perf_counter()
        float(recipe.step(step, batch)["hole_mse"])  # the number is there when a GPU has finished
        seconds.append(time.perf_counter() - start)
    return seconds[WARM_UP:]


def time_plain(size: int) -> list[float]:
    """Seconds of each step of the plain loop, on the same batches."""
    batches, device = recipe_for(size), choose_device()
    network = plain(CompletionNetwork())
    load_initial(network, WEIGHTS)
    network.to(device)
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=5e-4)
    seconds = []
    for step in range(WARM_UP + STEPS):
        batch = batches.batch(step)
        image, mask = (part.contiguous() for part in batch.to(device))
        start = time.perf_counter()
        loss = hole_mse(network(image, mask), image, mask)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        float(loss)
        seconds.append(time.perf_counter() - start)
    return seconds[WARM_UP:]


def measure() -> list[Figure]:
    """The two in turns."""
    figures = []
    for size in SIZES:
        seconds: dict[str, list[float]] = {"plain": [], "ours": []}
        for _ in range(ROUNDS):
            for kind, measured in seconds.items():
                measured += _in_fresh_process(kind, size)
        plain, ours = (1000 * statistics.median(seconds[kind]) for kind in ("plain", "ours"))
        pace = f"step of {PRESETS[preset()].batch_size} at {size}x{size}"
        base = baseline(f"plain {pace}", plain)
        figures += [base, against(base, pace, ours)]
    return figures


def _in_fresh_process(kind: str, size: int) -> list[float]:
    command = [sys.executable, "-m", "tests.benchmarks.training", kind, str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds: list[float] = json.loads(done.stdout)
    return seconds


if __name__ == "__main__":
    print(json.dumps({"ours": time_ours, "plain": time_plain}[sys.argv[1]](int(sys.argv[2]))))
