"""Which part of the picture the network sees for a group of holes, and at which scale."""

from typing import Literal

from models.glcic.geometry import Box, Crop, Mask, View, thickness
from models.glcic.network import MARGIN, STRIDE

Strategy = Literal["auto", "crop", "resize", "original"]
"""See `choose_view`; the names are IOPaint's."""

RESIZED = 256
"""Longer side of the picture as strategy `resize` shows it to the network."""

CROP_MARGIN = 128
"""Context on each side of a hole with strategy `crop`."""

CROP_LIMIT = 512
"""A crop of strategy `crop` is reduced to this where its longer side is larger."""

# Strategy `auto`, all in pixels of the canvas.
_FACE = 200  # the picture's longer side, where it is filled by what the network knows
_THINNEST, _THICKEST = 20, 64  # how thick a hole may look
_CONTEXT = 48  # least seen on each side of the hole
_SMALLEST, _LARGEST = 128, 512  # side of the canvas


def choose_view(mask: Mask, box: Box, strategy: Strategy) -> View:
    """The view that the network gets to fill the holes in `box`.

    auto: a crop at the scale at which the network was trained, with its
    context. crop: a crop at the picture's own scale, reduced only where it is
    larger than the network can take. resize: the whole picture, reduced.
    original: the picture at its own scale; only the part within the network's
    receptive field is computed, which gives the same pixels as all of it.
    """
    height, width = mask.shape
    whole = Box(0, 0, height, width)
    if strategy == "resize":
        return _scaled(whole, min(1.0, RESIZED / max(height, width)))
    if strategy == "original":
        return _at_own_scale(box, MARGIN, mask)
    if strategy == "crop":
        around = box.grown(CROP_MARGIN, (height, width))
        if max(around.height, around.width) <= CROP_LIMIT:
            return _at_own_scale(box, CROP_MARGIN, mask)
        return _scaled(around, CROP_LIMIT / max(around.height, around.width))
    return _auto(mask, box)


def _auto(mask: Mask, box: Box) -> View:
    height, width = mask.shape
    thick = thickness(mask[box.slices])
    scale = max(_FACE / max(height, width), _THINNEST / thick)
    scale = min(1.0, scale, _THICKEST / thick)
    extent = max(box.height, box.width) * scale + 2 * _CONTEXT
    if extent > _LARGEST:
        scale = max((_LARGEST - 2 * _CONTEXT) / max(box.height, box.width), _SMALLEST / max(height, width))
        scale = min(1.0, scale)
        extent = max(box.height, box.width) * scale + 2 * _CONTEXT
    side = max(_SMALLEST, int(-(-extent // 32) * 32))  # few different shapes, so that runs can share a batch
    return _scaled(_window(box, round(side / scale), (height, width)), scale)


def _window(box: Box, side: int, within: tuple[int, int]) -> Box:
    """A square of `side` with the middle of `box` in its middle, moved and then cut to lie in the picture."""
    top, bottom = _span(box.top, box.bottom, side, within[0])
    left, right = _span(box.left, box.right, side, within[1])
    return Box(top, left, bottom, right)


def _span(start: int, stop: int, side: int, limit: int) -> tuple[int, int]:
    first = min(max(0, (start + stop - side) // 2), max(0, limit - side))
    return first, min(limit, first + side)


def _scaled(box: Box, scale: float) -> Crop:
    return Crop(box, (max(1, round(box.height * scale)), max(1, round(box.width * scale))))


def _at_own_scale(box: Box, margin: int, mask: Mask) -> Crop:
    """With the first row and column on the network's stride, as they are in the whole picture."""
    around = box.grown(margin, (mask.shape[0], mask.shape[1]))
    aligned = Box(
        around.top - around.top % STRIDE,
        around.left - around.left % STRIDE,
        min(mask.shape[0], around.bottom + -around.bottom % STRIDE),
        min(mask.shape[1], around.right + -around.right % STRIDE),
    )
    return Crop(aligned, (aligned.height, aligned.width))
