"""Drawing digits."""

import torch
from torch import nn

from models.sampling import Pixels, draw_latents, render
from models.vanilla_gan.network import LATENT

BATCH = 64
"""Latents per run of the network. The most that one request may ask for: they take a millisecond."""


def draw(
    network: nn.Module, n: int, seed: int, interpolate: int | None = None, device: torch.device | None = None
) -> Pixels:
    """`n` pictures (n, 28, 28, 1) uint8; picture i of a seed is the same whatever `n` is.

    With `interpolate`, a second seed: a walk from the first picture of `seed` to the first of `interpolate`.
    `network` is a generator in eval mode; `device` is where it is, found out if not told.
    """
    return render(network, draw_latents(n, seed, LATENT, interpolate), BATCH, device)
