"""The one cycle of learning rates under which the helpers for faces are trained."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.glcic.helper_train import HelperOptions, HelperRecipe, one_cycle
from models.training import loop
from tests.models.training.pictures import ToyOptions, ToyRecipe

CPU = torch.device("cpu")


class Options(ToyOptions, HelperOptions):
    """Of a helper that learns nothing of use."""

    steps: int
    lr: float = 0.01


class Helper(HelperRecipe[Tensor]):
    """One layer that learns to give zero."""

    def __init__(self, steps: int) -> None:
        torch.manual_seed(0)
        super().__init__(Options(steps=steps), {}, {}, nn.Conv2d(3, 1, 1), weight_decay=0.0, rising=0.1)

    def batch(self, step: int) -> Tensor:
        return torch.full((1, 3, 2, 2), float(step))

    def step(self, step: int, batch: Tensor) -> loop.Figures:
        loss = self._network(batch).square().mean()
        self.descend(step, loss)
        return {"loss": loss.detach()}

    preview = ToyRecipe.preview

    def about(self) -> loop.About:
        return loop.About("face-align", "toy", "A toy", "Of no use.", "nothing", "free", "AdamW", 2, {})


@pytest.mark.parametrize(("steps", "rising"), [(1, 0.1), (2, 0.05), (7, 0.3), (101, 0.1), (320, 0.05)])
def test_the_cycle_is_that_of_one_cycle_lr(steps: int, rising: float) -> None:
    """At each step the rate and the beta that torch's own schedule has."""
    optimizer = torch.optim.AdamW(nn.Linear(1, 1).parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=steps, pct_start=rising)
    for step in range(steps):
        (group,) = optimizer.param_groups
        assert one_cycle(step, steps, rising) == pytest.approx((group["lr"], group["betas"][0]), rel=1e-9)
        optimizer.step()
        if step < steps - 1:
            schedule.step()


@pytest.mark.parametrize("steps", range(1, 31))
def test_any_number_of_steps_has_a_cycle(steps: int) -> None:
    """The few too, of which the rising share is a single one: it ends at the lowest rate and never leaves its range."""
    rates = [one_cycle(step, steps, 0.1)[0] for step in range(steps)]
    assert np.all(np.array(rates) <= 1)
    assert rates[-1] == min(rates) == pytest.approx(1 / 25e4)


def test_a_run_can_be_resumed_with_more_steps(tmp_path: Path) -> None:
    """It goes on where the longer cycle is at that step, and ends with the last step of that."""
    loop.run(Helper(4), tmp_path, device=CPU, tensorboard=False)
    longer = Helper(9)
    assert loop.run(longer, tmp_path, device=CPU, resume=True, tensorboard=False) is loop.Outcome.FINISHED
    (group,) = longer._optimizer.param_groups
    assert group["lr"] == pytest.approx(0.01 / 25e4)
    assert (tmp_path / "checkpoint-000000009.pt").exists()
