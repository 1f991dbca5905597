"""How far the completion network looks: which part of each layer a part of its picture depends on.

A hole is rarely more than a part of what the network sees, and the later a layer
the less around the hole it takes: the last seven look no further than 15 pixels.
"""

import math
from dataclasses import dataclass

from models.glcic.geometry import Box
from models.glcic.network import LAYERS, Layer
from models.winograd import Zeros


@dataclass(frozen=True)
class Part:
    """What of a layer is computed."""

    taken: Box
    """Of its input."""
    zeros: Zeros | None
    """What is put around that; None is the layer's own padding, as if the picture ended where `taken` does."""
    made: Box
    """Of its output: what the next layer takes. Where `zeros` is None more, of which the edges are not right."""


def parts_needed(box: Box, size: tuple[int, int]) -> list[Part]:
    """For each layer, the part that `box` of the output depends on; the last makes `box`, at least.

    `size` is that of the picture, (height, width), multiples of `STRIDE`.
    """
    sizes = [size]
    for layer in LAYERS[:-1]:
        sizes.append((_times(sizes[-1][0], layer), _times(sizes[-1][1], layer)))
    parts: list[Part] = []
    for layer, (height, width) in zip(reversed(LAYERS), reversed(sizes), strict=True):
        above, (top, bottom), below = _rows_needed(box.top, box.bottom, layer, height)
        before, (left, right), after = _rows_needed(box.left, box.right, layer, width)
        taken = Box(top, left, bottom, right)
        if layer.kind == "conv" and layer.stride == 1:
            parts.append(Part(taken, (before, after, above, below), box))
        else:
            parts.append(Part(taken, None, Box(*(_times(edge, layer) for edge in (top, left, bottom, right)))))
        box = taken
    return parts[::-1]


def _times(pixels: int, layer: Layer) -> int:
    return 2 * pixels if layer.kind == "up" else pixels // layer.stride


def _rows_needed(start: int, stop: int, layer: Layer, length: int) -> tuple[int, tuple[int, int], int]:
    """Of the layer's `length` rows of input, those that rows `start` to before `stop` of its output depend on.

    Before and after them: how many rows of zeros it depends on beyond the picture.
    """
    if layer.kind == "up":  # row o is made of the rows i with o = 2i - 1 + (0 to 3)
        first, after = (start - 1) // 2, stop // 2 + 1
    else:
        arm, stride = layer.dilation * (layer.kernel // 2), layer.stride
        first, after = start * stride - arm, (stop - 1) * stride + arm + 1
        if stride > 1:  # a layer that halves takes whole pairs
            first, after = first // stride * stride, math.ceil(after / stride) * stride
    return max(0, -first), (max(0, first), min(length, after)), max(0, after - length)
