"""Drawing faces."""

import torch
from torch import nn

from models.dcgan.network import LATENT
from models.sampling import Pixels, draw_latents, render

BATCH = 8
"""Latents per run of the network. A request asks for a few pictures, and a convolution takes longer for more."""


def draw(
    network: nn.Module, n: int, seed: int, interpolate: int | None = None, device: torch.device | None = None
) -> Pixels:
    """`n` pictures (n, 64, 64, 3) uint8; picture i of a seed is the same whatever `n` is.

    With `interpolate`, a second seed: a walk from the first picture of `seed` to the first of `interpolate`.
    `network` is a generator in eval mode; `device` is where it is, found out if not told.
    """
    return render(network, draw_latents(n, seed, LATENT, interpolate), BATCH, device)
