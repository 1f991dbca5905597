"""Two processes of one training, on CPUs."""

import os
import subprocess
import sys
from pathlib import Path

import torch


def run_in_two(script: Path, *arguments: Path) -> None:
    """`script` under torchrun with gloo; fails with what it said where it fails."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    command = [*launcher, str(script), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr[-3000:]


def assert_same_everywhere(network: torch.nn.Module) -> None:
    """To be called in each process: they hold the same weights."""
    own = torch.cat([value.float().flatten() for value in network.state_dict().values()])
    total = own.clone()
    torch.distributed.all_reduce(total)
    assert torch.equal(total / 2, own), "the processes hold different weights"
