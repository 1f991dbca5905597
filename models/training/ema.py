"""The moving average of a network's weights, and the batch norm statistics that fit it: what gets served."""

import copy
from collections.abc import Iterable
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


@torch.no_grad()
def settle(network: Network, batches: Iterable[tuple[Tensor, ...]]) -> Network:
    """A copy of `network`, in eval mode, whose batch norm statistics are the plain means over `batches` of its inputs.

    Averaged or mixed weights are those of no step, so no step's running statistics fit them; those of a single step
    have the noise of its last few batches.
    """
    settled = copy.deepcopy(network).train()
    for module in settled.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the mean over all that follow
    for batch in batches:
        settled(*batch)
    return settled.eval()


class Average(Generic[Network]):
    """Exponential moving average of the parameters of a network.

    Buffers, batch norm's running statistics among them, are copied: they are averages already, and lag of
    the average behind them made pilot pictures worse.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network: Network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, network: Network, step: int) -> None:
        """After the optimiser's step number `step` (from 0). Early steps count more, so the start is soon forgotten."""
        keep = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), 1 - keep)
        for mine, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(theirs)
