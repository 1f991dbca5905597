"""Discriminators that judge what a network trained on photographs sees in a picture.

Sauer, Chitta, Mueller, Geiger: "Projected GANs Converge Faster", NeurIPS 2021: the features are fixed, mixed by fixed
random projections across channels and scales (section 3.2), and judged by a small head at each scale (section 3.1),
which says of every neighbourhood how real it is. The features lose what is as fine as a pixel, so another head looks
at the pixels themselves.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from models.features import SCALES

_WIDTH = 64  # channels of the projections and of the heads
_MIXED = 1.5  # what is left after a mixture is divided by this, about the spread of what is mixed
_FINE = 16.0  # how much the contrasts between neighbouring pixels are raised: spectral norm would leave them faint

Logits = list[Tensor]
"""(B, 1, h, w) each, of neighbourhoods at several scales: real above 0."""


class View(NamedTuple):
    """Pictures as the critics look at them."""

    near: Tensor
    """(B, 3, N, N) float in [0, 1]: the neighbourhoods of the holes."""
    seen_near: list[Tensor]
    """Of these, enlarged: see `FeatureNetwork.at_scales`."""
    seen: list[Tensor]
    """Of the whole pictures."""

    def beside(self, other: "View") -> "View":
        """These pictures, then the other ones."""
        seen_near, seen = (
            [torch.cat(pair) for pair in zip(mine, theirs, strict=True)]
            for mine, theirs in ((self.seen_near, other.seen_near), (self.seen, other.seen))
        )
        return View(torch.cat([self.near, other.near]), seen_near, seen)

    def detach(self) -> "View":
        """Cut off from what drew it."""
        return View(
            self.near.detach(), [each.detach() for each in self.seen_near], [each.detach() for each in self.seen]
        )


class _FeatureCritic(nn.Module):
    """Features at `SCALES` in, logits out."""

    spreads: Tensor
    """Of the features of real pictures, one a scale."""

    def __init__(self) -> None:
        super().__init__()
        scales = list(SCALES.values())
        self.channels = nn.ModuleList(nn.Conv2d(channels, _WIDTH, 1, bias=False) for channels in scales)
        self.scales = nn.ModuleList(nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1, bias=False) for _ in scales)
        for projection in (*self.channels, *self.scales):
            nn.init.kaiming_normal_(projection.weight)
            projection.requires_grad_(False)
        self.heads = nn.ModuleList(_head(halved=number < 2) for number in range(len(scales)))
        self.register_buffer("spreads", torch.ones(len(scales)))

    def forward(self, seen: Sequence[Tensor]) -> Logits:
        """seen: as `FeatureNetwork.at_scales` returns."""
        logits: Logits = []
        mixed: Tensor | None = None
        coarse_to_fine = reversed(list(zip(seen, self.spreads, self.channels, self.scales, self.heads, strict=True)))
        for features, spread, channels, scale, head in coarse_to_fine:
            projected = channels(features / spread)
            if mixed is not None:
                projected = projected + F.interpolate(mixed, size=projected.shape[2:], mode="bilinear")
            mixed = scale(projected) / _MIXED
            logits.append(head(mixed))
        return logits


class _PixelCritic(nn.Module):
    """Pictures (B, 3, S, S) in [0, 1] in, logits at a quarter of the side out."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_layer(6, 48, 3, 1),
            *_layer(48, 64, 4, 2),
            *_layer(64, 128, 4, 2),
            spectral_norm(_convolution(128, 1, 3, 1)),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        fine = pictures - F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
        logits: Tensor = self.layers(torch.cat([4 * pictures - 2, _FINE * fine], dim=1))
        return logits


class Critics(nn.Module):
    """GLCIC's local and global discriminator (Iizuka et al. 2017, section 3.3), each of them a projected one."""

    def __init__(self) -> None:
        super().__init__()
        self.near, self.pixels, self.whole = _FeatureCritic(), _PixelCritic(), _FeatureCritic()

    @torch.no_grad()
    def measure(self, real: View) -> None:
        """To be called once, before anything is judged."""
        for critic, seen in ((self.near, real.seen_near), (self.whole, real.seen)):
            critic.spreads.copy_(torch.stack([features.float().std() for features in seen]))

    def forward(self, view: View) -> tuple[Logits, Logits]:
        """Logits of the neighbourhoods of holes, and of whole pictures."""
        pixels = self.pixels(view.near)
        return [*self.near(view.seen_near), pixels, pixels], self.whole(view.seen)  # grain counts twice


def mean_where_hole(logits: Logits, mask: Tensor, how: Callable[[Tensor], Tensor]) -> Tensor:
    """The mean of `how` of the logits of neighbourhoods that hold some of the hole, and that over the scales.

    What was kept is real in both pictures and tells nothing (Suvorov et al. 2022, "LaMa", section 2.3.2).
    mask (B, 1, S, S), 1 = fill, never empty.
    """
    parts = []
    for each in logits:
        share = F.adaptive_max_pool2d(mask, each.shape[2:])
        parts.append((how(each.float()) * share).sum() / share.sum())
    return torch.stack(parts).mean()


def _head(*, halved: bool) -> nn.Sequential:
    between = _layer(_WIDTH, _WIDTH, 4, 2) if halved else ()
    return nn.Sequential(*_layer(_WIDTH, _WIDTH, 3, 1), *between, spectral_norm(_convolution(_WIDTH, 1, 3, 1)))


def _layer(channels_in: int, channels: int, kernel: int, stride: int) -> tuple[nn.Module, nn.Module]:
    return spectral_norm(_convolution(channels_in, channels, kernel, stride)), nn.LeakyReLU(0.2, inplace=True)


def _convolution(channels_in: int, channels: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels, kernel, stride, padding=1)
