"""Enlarging what was drawn of a face: outlines become clear again where interpolation leaves a blur.

The completion network sees a face 160 pixels wide; a photograph's is often three times as wide. What it draws is also
softer and less sure of its outlines than a photograph of that size would be. A network restores what was drawn while
it doubles the sides, and a smaller one doubles them once more where that is not enough; both learned from photographs
that were reduced (Lim et al. 2017, "EDSR": residual blocks without batch norm, then sub-pixel convolution).
"""

import math
from collections.abc import Callable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.glcic.geometry import Box, Canvas, Mask, bounding_box

_RESTORING, _DOUBLING = (64, 6), (48, 3)  # channels and blocks
_AROUND = 4  # pixels of the canvas around the hole that are enlarged with it: joining compares them with the picture
_MOST = 2  # doublings
_LARGEST = 1.25  # canvas pixels a picture's pixel: with more of them the picture shows nothing of what they lack
_HALF_WAY = 0.5  # of a restored drawing at its own size: clearer to the eye and, the further, less like what was there

Enlarge = Callable[[Canvas, Mask, float], Canvas]
"""`enlarge` with its network."""


class Doubler(nn.Module):
    """Twice the sides: cubic interpolation, and what it lacks."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self._precision = torch.float32
        self.first = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.Sequential(*(_Block(channels) for _ in range(blocks)))
        self.last = nn.Conv2d(channels, 12, 3, padding=1)
        nn.init.zeros_(self.last.weight)  # so that training starts from cubic interpolation

    def compute_in(self, precision: torch.dtype) -> None:
        """All layers but the first and the last: to sharpen a picture in bfloat16 would sharpen its steps."""
        self._precision = precision
        self.blocks.to(precision)

    def forward(self, picture: Tensor) -> Tensor:
        """picture (B, 3, H, W) float32 in [0, 1]. Returns (B, 3, 2H, 2W) float32, a little over the range at edges."""
        x = self.blocks(self.first(picture - 0.5).to(self._precision))
        lacking = F.pixel_shuffle(self.last(F.relu(x).float()).float(), 2)
        return F.interpolate(picture, scale_factor=2, mode="bicubic", align_corners=False) + lacking


class EnlargingNetwork(nn.Module):
    """Two networks: the one that is given what was drawn, and the one that is given what the first made of it."""

    def __init__(self) -> None:
        super().__init__()
        self.restoring, self.doubling = Doubler(*_RESTORING), Doubler(*_DOUBLING)

    def compute_in(self, precision: torch.dtype) -> None:
        """See `Doubler.compute_in`."""
        self.restoring.compute_in(precision)
        self.doubling.compute_in(precision)


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.before = nn.Conv2d(channels, channels, 3, padding=1)
        self.after = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.after(F.relu(self.before(F.relu(x))))
        return out


def _reach(blocks: int) -> int:
    """Pixels to each side that a pixel depends on; as few as with cubic interpolation alone."""
    return 2 + 2 * blocks


REACH = _reach(_RESTORING[1]) + math.ceil(_reach(_DOUBLING[1]) / 2)
"""Pixels of a canvas to each side that a pixel of the enlarged one depends on."""


def doublings(scale: float) -> int:
    """How often a canvas is doubled whose pixels are 1 / `scale` of the picture's wide: to about its size, not over."""
    return min(_MOST, max(0, round(math.log2(1 / scale))))


@torch.inference_mode()
def enlarge(canvas: Canvas, hole: Mask, scale: float, network: EnlargingNetwork) -> Canvas:
    """`canvas` at twice or four times its sides, as `scale` asks; or at its own, restored half way; or as it is, where
    the picture has fewer pixels than the canvas.

    canvas (h, w, 3) float32 in [0, 1], and so is what it returns. The network enlarges what lies in `hole` (h, w) and
    near it, cubic interpolation the rest.
    """
    times, box = doublings(scale), bounding_box(hole)
    if box is None or scale > _LARGEST:
        return canvas
    if times:
        return _enlarged(canvas, box, times, network)
    height, width = hole.shape
    restored = cv2.resize(_enlarged(canvas, box, 1, network), (width, height), interpolation=cv2.INTER_AREA)
    share = np.float32(_HALF_WAY) * hole[..., None]
    return np.asarray((1 - share) * canvas + share * restored, np.float32)


def _enlarged(canvas: Canvas, box: Box, times: int, network: EnlargingNetwork) -> Canvas:
    factor, size = 2**times, (canvas.shape[0], canvas.shape[1])
    enlarged = cv2.resize(canvas, (size[1] * factor, size[0] * factor), interpolation=cv2.INTER_CUBIC)
    wanted = box.grown(_AROUND, size)
    # With what it depends on around it a part comes out as if the whole canvas had been enlarged.
    taken = wanted.grown(REACH, size)
    part = canvas[taken.slices]
    for doubler in (network.restoring, network.doubling)[:times]:
        part = _doubled(part, doubler)
    inner = wanted.within(taken)
    enlarged[_times(wanted, factor).slices] = part[_times(inner, factor).slices]
    return np.clip(enlarged, 0, 1)


def _doubled(part: Canvas, network: Doubler) -> Canvas:
    device = network.first.weight.device
    picture = torch.from_numpy(np.ascontiguousarray(part)).permute(2, 0, 1)[None].to(device)
    doubled = network(picture.contiguous(memory_format=torch.channels_last)).clamp(0, 1)
    return np.asarray(doubled[0].permute(1, 2, 0).cpu().contiguous().numpy(), np.float32)


def _times(box: Box, factor: int) -> Box:
    return Box(*(factor * side for side in (box.top, box.left, box.bottom, box.right)))
