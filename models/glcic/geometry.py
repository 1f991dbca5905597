"""Where the holes of a picture are, and which part of it the network sees, at which scale.

Pixels are counted as slices count them: a box from `top` to `bottom` has
`bottom - top` rows. A mask is (H, W) bool, True = fill.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from models.glcic.network import STRIDE

Pixels = npt.NDArray[np.uint8]
"""(H, W, 3) uint8, RGB."""

Mask = npt.NDArray[np.bool_]
"""(H, W) bool, True = fill."""

Canvas = npt.NDArray[np.float32]
"""(h, w, 3) float32 in [0, 1], RGB: a picture as the network sees it."""

MOST_GROUPS = 16
"""A picture with more groups of holes than this is filled in fewer, larger groups."""

LEAST_KNOWN = 0.1
"""A pixel of a reduced canvas is known where this share of what it covers is; so few pixels carry a colour well, and
scattered holes vanish where the picture is reduced."""

_CELLS = 256  # holes are grouped on a grid of at most this many cells a side, so that it costs the same at any size


@dataclass(frozen=True)
class Box:
    """A rectangle of a picture."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grown(self, pixels: int, within: tuple[int, int]) -> "Box":
        """Larger by `pixels` on each side, cut off at a picture of (height, width) `within`."""
        height, width = within
        return Box(
            max(0, self.top - pixels),
            max(0, self.left - pixels),
            min(height, self.bottom + pixels),
            min(width, self.right + pixels),
        )

    def within(self, outer: "Box") -> "Box":
        """Where it lies in `outer`, counted from its corner."""
        return Box(self.top - outer.top, self.left - outer.left, self.bottom - outer.top, self.right - outer.left)

    def united(self, other: "Box") -> "Box":
        """The smallest box that holds both."""
        return Box(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
        )

    def common(self, other: "Box") -> "Box | None":
        """What lies in both; None where nothing does."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom, right = min(self.bottom, other.bottom), min(self.right, other.right)
        return Box(top, left, bottom, right) if top < bottom and left < right else None

    def shifted(self, down: int, across: int) -> "Box":
        """As large, elsewhere."""
        return Box(self.top + down, self.left + across, self.bottom + down, self.right + across)

    def is_near(self, other: "Box", gap: float) -> bool:
        """Whether less than `gap` pixels lie between the two, or they overlap."""
        return (
            self.top < other.bottom + gap
            and other.top < self.bottom + gap
            and self.left < other.right + gap
            and other.left < self.right + gap
        )


def dilate(mask: Mask, pixels: int) -> Mask:
    """`mask` grown by a disc of radius `pixels`; `mask` itself when that is 0."""
    box = bounding_box(mask)
    if pixels <= 0 or box is None:
        return mask
    around = box.grown(pixels, (mask.shape[0], mask.shape[1]))
    near = cv2.distanceTransform((~mask[around.slices]).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= pixels
    grown = mask.copy()
    grown[around.slices] = near
    return grown


def bounding_box(mask: Mask) -> Box | None:
    """The smallest box that holds all of the hole; None for an empty mask."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[top:bottom].any(axis=0))
    return Box(top, int(columns[0]), bottom, int(columns[-1]) + 1)


def group_holes(mask: Mask) -> list[Box]:
    """Disjoint boxes that together hold every hole, in reading order; holes that one look can take in share a box.

    Two holes belong together when the gap between them is less than half the
    side of the larger one.
    """
    whole = bounding_box(mask)
    if whole is None:
        return []
    cells, size = _reduce(mask[whole.slices])
    reach = 1  # cells by which holes are joined before boxes are compared
    while True:
        joined = cv2.dilate(cells, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
        count, labels = cv2.connectedComponents(joined)
        if count - 1 <= MOST_GROUPS:
            break
        reach *= 2
    boxes = []
    for label in range(1, count):
        rough = bounding_box((labels == label) & (cells > 0))
        if rough is not None:
            boxes.append(_from_cells(rough, size, whole))
    merged = _merge(boxes)
    exact = [_shrink(mask, box) for box in merged]
    return sorted(exact, key=lambda box: (box.top, box.left))


def thickness(mask: Mask) -> float:
    """Pixels across the widest place of the holes in `mask`: the diameter of the largest disc that fits in."""
    cells, size = _reduce(mask)
    # The picture's border is no border of the hole: what lies beyond it is as unknown as the hole itself.
    padded = cv2.copyMakeBorder(cells, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return float(cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).max()) * 2 * size


class View(Protocol):
    """A part of the picture as the network sees it; the place for an alignment that rotates, too."""

    @property
    def canvas_size(self) -> tuple[int, int]:
        """(height, width) of the canvas, multiples of STRIDE."""
        ...

    @property
    def scale(self) -> float:
        """Canvas pixels to a pixel of the picture; exactly 1 where the view is the picture itself."""
        ...

    def take(self, image: Pixels, mask: Mask) -> tuple[Canvas, Mask]:
        """The canvas and its holes; both sides multiples of STRIDE. No pixel of a hole has an influence."""
        ...

    def put_back(self, canvas: Canvas, box: Box) -> Canvas:
        """What `canvas` shows of `box`, at the picture's own scale: (box.height, box.width, 3)."""
        ...


@dataclass(frozen=True)
class Crop:
    """A view without rotation: a box of the picture, reduced to (height, width) `size`.

    Where `size` is no multiple of STRIDE the canvas goes on as a mirror image
    at the bottom and on the right.
    """

    box: Box
    size: tuple[int, int]

    @property
    def canvas_size(self) -> tuple[int, int]:
        """See `View.canvas_size`."""
        height, width = self.size
        return height + -height % STRIDE, width + -width % STRIDE

    @property
    def scale(self) -> float:
        """See `View.scale`."""
        return min(self.size[0] / self.box.height, self.size[1] / self.box.width)

    def take(self, image: Pixels, mask: Mask) -> tuple[Canvas, Mask]:
        """See `View.take`."""
        known = (~mask[self.box.slices]).astype(np.uint8)
        pixels = image[self.box.slices]
        height, width = self.size
        if (height, width) == known.shape:
            canvas = pixels.astype(np.float32) * (known[..., None] * np.float32(1 / 255))
            hole = known == 0
        else:
            # The mean of the known pixels alone, channel by channel: the picture may be large.
            share = _resize(known, self.size)
            hole = share < LEAST_KNOWN
            channels = [_resize(pixels[..., c] * known, self.size) for c in range(3)]
            canvas = np.stack(channels, axis=-1) / (np.maximum(share, 1e-3)[..., None] * 255)
            canvas[hole] = 0
        down, right = self.canvas_size[0] - height, self.canvas_size[1] - width
        if down or right:
            canvas = _as_canvas(cv2.copyMakeBorder(canvas, 0, down, 0, right, cv2.BORDER_REFLECT_101))
            hole = cv2.copyMakeBorder(hole.astype(np.uint8), 0, down, 0, right, cv2.BORDER_REFLECT_101) > 0
        return canvas, hole

    def put_back(self, canvas: Canvas, box: Box) -> Canvas:
        """See `View.put_back`. Raises ValueError for what the view does not show."""
        if self.box.united(box) != self.box:
            raise ValueError(f"The view shows {self.box}, which does not hold all of {box}.")
        if self.size == (self.box.height, self.box.width):
            return canvas[box.within(self.box).slices]
        down, across = self.size[0] / self.box.height, self.size[1] / self.box.width
        # Pixel centres lie at half pixels on both sides.
        matrix = np.array(
            [
                [across, 0, (box.left - self.box.left + 0.5) * across - 0.5],
                [0, down, (box.top - self.box.top + 0.5) * down - 0.5],
            ]
        )
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        size = (box.width, box.height)
        return _as_canvas(cv2.warpAffine(canvas, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101))


def _resize(plane: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    height, width = size
    return np.asarray(cv2.resize(plane.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _as_canvas(array: Any) -> Canvas:
    return np.asarray(array, np.float32).reshape(*array.shape[:2], 3)


def _reduce(mask: Mask) -> tuple[npt.NDArray[np.uint8], int]:
    """A grid of square cells, 1 where a cell holds any of the hole, and the side of a cell."""
    size = max(1, -(-max(mask.shape) // _CELLS))
    if size == 1:
        return mask.astype(np.uint8), 1
    rows = np.logical_or.reduceat(mask, np.arange(0, mask.shape[0], size), axis=0)
    cells = np.logical_or.reduceat(rows, np.arange(0, mask.shape[1], size), axis=1)
    return cells.astype(np.uint8), size


def _from_cells(box: Box, size: int, whole: Box) -> Box:
    return Box(
        whole.top + box.top * size,
        whole.left + box.left * size,
        min(whole.bottom, whole.top + box.bottom * size),
        min(whole.right, whole.left + box.right * size),
    )


def _merge(boxes: list[Box]) -> list[Box]:
    """Join boxes that are near each other, as measured by the larger one, until none are."""
    merged: list[Box] = []
    pending = list(boxes)
    while pending:
        box = pending.pop()
        for other in merged:
            if box.is_near(other, max(box.height, box.width, other.height, other.width) / 2):
                merged.remove(other)
                pending.append(box.united(other))
                break
        else:
            merged.append(box)
    return merged


def _shrink(mask: Mask, box: Box) -> Box:
    inner = bounding_box(mask[box.slices])
    if inner is None:
        return box
    return inner.shifted(box.top, box.left)
