"""What every training promises of a run that was stopped."""

from pathlib import Path
from typing import Any

import torch

from models.training import checkpoint, loop

CPU = torch.device("cpu")


def assert_resumes_to_the_bit(
    whole: loop.Recipe[Any], stopped: loop.Recipe[Any], resumed: loop.Recipe[Any], folder: Path
) -> None:
    """`stopped`, which gets SIGTERM on its way, and then `resumed` end as `whole` does, which nothing stops."""
    assert loop.run(whole, folder / "whole", device=CPU, tensorboard=False) is loop.Outcome.FINISHED
    assert loop.run(stopped, folder / "stopped", device=CPU, tensorboard=False) is loop.Outcome.STOPPED
    assert loop.run(resumed, folder / "stopped", device=CPU, resume=True, tensorboard=False) is loop.Outcome.FINISHED
    one, other = (dict(checkpoint._tensors(each.state_dict())) for each in (whole, resumed))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
