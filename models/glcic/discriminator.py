"""The context discriminators of GLCIC.

Iizuka, Simo-Serra, Ishikawa: "Globally and Locally Consistent Image
Completion", SIGGRAPH 2017, section 3.3 and table 2. The global one sees the
whole picture, the local one a patch around the hole; each ends in a vector of
1024, and one linear layer makes a logit of both.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

VECTOR = 1024


class Verdict(NamedTuple):
    """What the discriminators make of some pictures."""

    logits: Tensor
    """(B,), real above 0, completed below."""
    features: list[Tensor]
    """What each convolution of the global one saw, then of the local one: (B, C, H, W) each, 0 and above."""


def channels_for(size: int) -> tuple[int, ...]:
    """Channels of the convolutions that bring a picture of `size` down to about 4x4, each halving it.

    256 gives the paper's 64-128-256-512-512-512; 160, 128 and 96 give 64-128-256-512-512.
    """
    return tuple(min(64 * 2**depth, 512) for depth in range(max(1, round(math.log2(size / 4)))))


class _Encoder(nn.Module):
    """5x5 convolutions of stride 2 with batch norm and ReLU, then one linear layer: a picture to a vector."""

    def __init__(self, size: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        channels_in = 3
        for channels in channels_for(size):
            blocks += [nn.Conv2d(channels_in, channels, 5, stride=2, padding=2), nn.BatchNorm2d(channels), nn.ReLU()]
            channels_in, size = channels, (size + 1) // 2
        self.convolutions = nn.Sequential(*blocks)
        self.vector = nn.Sequential(nn.Linear(channels_in * size * size, VECTOR), nn.ReLU())

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """x (B, 3, size, size). Returns (B, VECTOR), and what each convolution made of it after its ReLU."""
        features = []
        for layer in self.convolutions:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                features.append(x)
        return self.vector(x.flatten(1)), features


class ContextDiscriminator(nn.Module):
    """Whole picture and local patch in, one logit out.

    `size` and `patch` are their sides in pixels; the depth follows from them.
    """

    def __init__(self, size: int, patch: int) -> None:
        super().__init__()
        self.size = size
        self.patch = patch
        self.whole = _Encoder(size)
        self.local = _Encoder(patch)
        self.judge = nn.Linear(2 * VECTOR, 1)

    def forward(self, picture: Tensor, patch: Tensor) -> Verdict:
        """picture (B, 3, size, size) and patch (B, 3, patch, patch), floats in [0, 1]."""
        of_whole, seen_in_whole = self.whole(picture)
        of_patch, seen_in_patch = self.local(patch)
        logits = self.judge(torch.cat([of_whole, of_patch], dim=1)).squeeze(1)
        return Verdict(logits, seen_in_whole + seen_in_patch)

    def inherit(self, smaller: "ContextDiscriminator") -> None:
        """Take over the convolutions that a discriminator for another size has in common with this one."""
        mine = self.state_dict()
        common = {
            name: value
            for name, value in smaller.state_dict().items()
            if ".convolutions." in name and name in mine and mine[name].shape == value.shape
        }
        self.load_state_dict(mine | common)
