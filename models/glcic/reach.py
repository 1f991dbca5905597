"""How far the completion network looks: which part of each layer's input a part of its picture depends on.

A hole is rarely more than a part of what the network sees, and the later a layer
the less around the hole it takes: the last seven look no further than 15 pixels.
"""

import math

from models.glcic.geometry import Box
from models.glcic.network import LAYERS, Layer


def boxes_needed(box: Box, size: tuple[int, int]) -> list[Box]:
    """For each layer, the part of its input that `box` of the output depends on; last, `box` itself.

    `size` is that of the picture, (height, width), multiples of `STRIDE`. A layer that is given its part alone, with
    zeros around it as if the picture ended there, computes `computed` of it: what the next layer needs, and at the
    edges more, which is not right.
    """
    sizes = [size]
    for layer in LAYERS:
        sizes.append((_times(sizes[-1][0], layer), _times(sizes[-1][1], layer)))
    boxes = [box]
    for layer, (height, width) in zip(reversed(LAYERS), reversed(sizes[:-1]), strict=True):
        top, bottom = _rows_needed(boxes[-1].top, boxes[-1].bottom, layer, height)
        left, right = _rows_needed(boxes[-1].left, boxes[-1].right, layer, width)
        boxes.append(Box(top, left, bottom, right))
    return boxes[::-1]


def computed(layer: Layer, box: Box) -> Box:
    """The part of its output that a layer makes of the part `box` of its input."""
    return Box(_times(box.top, layer), _times(box.left, layer), _times(box.bottom, layer), _times(box.right, layer))


def _times(pixels: int, layer: Layer) -> int:
    return 2 * pixels if layer.kind == "up" else pixels // layer.stride


def _rows_needed(start: int, stop: int, layer: Layer, length: int) -> tuple[int, int]:
    """Of the layer's `length` rows of input, those that rows `start` to before `stop` of its output depend on."""
    if layer.kind == "up":  # row o is made of the rows i with o = 2i - 1 + (0 to 3)
        return max(0, (start - 1) // 2), min(length, stop // 2 + 1)
    arm, stride = layer.dilation * (layer.kernel // 2), layer.stride
    first, after = max(0, start * stride - arm), min(length, (stop - 1) * stride + arm + 1)
    return first - first % stride, math.ceil(after / stride) * stride  # a layer that halves takes whole pairs
