"""Detail for what the network draws soft, borrowed from the rest of the photograph.

The network knows what belongs in a hole better than how its surface looks: what
it draws of a wood is green and brown stripes. The photograph around the hole has
leaves and bark. So the hole is covered with small squares; for each one, places
outside are found that, blurred, look like what the network drew, and one of them
lends what blurring takes away. This is Image Analogies (Hertzmann et al. 2001,
section 3) with the network's picture for its sketch: blurred surroundings are to
the surroundings as the drawing is to the result. From the edge inwards, each
square also agrees with those beside it (Efros, Freeman 2001, image quilting).

The colours of the hole stay the network's.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.glcic.geometry import Box, Canvas, Mask, Pixels, thickness

LEAST_THICK = 12
"""Pixels: what is thinner is soft to nobody's eye."""

MOST_PIXELS = 4_000_000
"""Of a larger part of a picture the detail is borrowed at a smaller scale, and enlarged."""

_SQUARES = 12  # half squares across the thickest place of a hole
_LEAST_HALF, _MOST_HALF = 3, 6  # pixels from the middle of a square to its side
_MOST_SQUARES = 320  # a hole that needs more is worked on at a smaller scale, and so costs no more
_BLUR = 0.75  # standard deviation of the blur, in halves of a square
_KEPT = 0.5  # of that: what is kept of the drawing's own detail
_LATTICE = 2  # lending places lie at least so many pixels apart
_MOST_PLACES = 12_000
_CANDIDATES = 24
_SAMPLES = 5  # a side of a square is compared at so many points: it is blurred
_NO_PLACE = -1

Indices = npt.NDArray[np.int64]

Point = tuple[int, int]
"""(y, x)"""


def context(extent: int) -> int:
    """Pixels of the photograph around a hole of `extent` that may lend."""
    return extent // 2 + 64


def borrow_detail(known: Pixels, unknown: Mask, hole: Mask, drawn: Canvas, at: Box) -> Canvas:
    """What is to be added to what is drawn in the `hole`, so that it has the detail of its surroundings; else zero.

    known (h, w, 3), unknown and hole (h, w): one part of a picture at its own scale. unknown: every hole in it, of
    which `hole` is the one to fill; what `known` holds there is not read. drawn: what the network drew `at` a box that
    holds all of the hole. Equal input gives equal bytes. Returns as much as `drawn`, float32.
    """
    filled = hole[at.slices]
    share = min(1.0, (MOST_PIXELS / hole.size) ** 0.5)
    thick = thickness(filled) * share if filled.any() else 0.0
    if thick < LEAST_THICK or unknown.all():
        return np.zeros_like(drawn)
    # Before anything is reduced, so that no pixel of a hole has a part in what is known.
    seen = known.copy()
    seen[unknown] = np.rint(cv2.mean(known, (~unknown).astype(np.uint8))[:3])
    size, own = (hole.shape[1], hole.shape[0]), at
    if share < 1:
        size = (round(size[0] * share), round(size[1] * share))
        top, left, bottom, right = (round(edge * share) for edge in (at.top, at.left, at.bottom, at.right))
        own = Box(top, left, min(bottom, size[1]), min(right, size[0]))
        seen = np.asarray(cv2.resize(seen, size, interpolation=cv2.INTER_AREA), np.uint8)
        unknown, hole = _any_of(unknown, size), _any_of(hole, size)
    base = seen * np.float32(1 / 255)
    mine = unknown[own.slices]
    base[own.slices][mine] = _resized(drawn, (own.width, own.height))[mine]
    added = _resized(_borrowed(base, unknown, hole, own, thick), (at.width, at.height))
    return np.where(filled[..., None], added, np.float32(0))


def _borrowed(base: Canvas, unknown: Mask, hole: Mask, own: Box, thick: float) -> Canvas:
    """As `borrow_detail`, for the part `own` of `base`, at the scale that it has."""
    scale = min(1.0, _SQUARES * _MOST_HALF / thick)
    half = _half(thick * scale)
    scale = min(scale, float(np.sqrt(_MOST_SQUARES * half * half / hole.sum())))
    half = _half(thick * scale)
    small = _Scene.of(base, unknown, hole, half, scale)
    pairs = _match(small)
    if not pairs:
        return np.zeros((own.height, own.width, 3), np.float32)
    size = (hole.shape[1], hole.shape[0])
    # What is kept of the drawing is a little softer, so that its own detail and the borrowed do not add up.
    soft = _resized(_blurred(small.base, _KEPT * small.sigma), size)[own.slices] - base[own.slices]
    detail = base - _resized(small.known_soft, size)
    return soft + _pasted(detail, unknown, own, pairs, half, hole.shape[0] / small.hole.shape[0])


@dataclass(frozen=True)
class _Pair:
    """The middles of a square and of the place that lends to it, (y, x) at the small scale."""

    square: Point
    place: Point


@dataclass(frozen=True)
class _Scene:
    """The picture at the scale at which places are found."""

    base: Canvas
    unknown: Mask
    hole: Mask
    half: int
    sigma: float
    soft: Canvas
    """`base`, blurred."""
    known_soft: Canvas
    """Likewise, of what is known alone."""

    @classmethod
    def of(cls, base: Canvas, unknown: Mask, hole: Mask, half: int, scale: float) -> "_Scene":
        height, width = hole.shape
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        base, unknown, hole = _resized(base, size), _any_of(unknown, size), _any_of(hole, size)
        sigma = _BLUR * half
        known = (~unknown).astype(np.float32)
        share = cv2.GaussianBlur(known, (0, 0), sigma)[..., None]
        known_soft = np.asarray(_blurred(base * known[..., None], sigma) / np.maximum(share, 1e-3), np.float32)
        return cls(base, unknown, hole, half, sigma, _blurred(base, sigma), known_soft)


def _match(scene: _Scene) -> list[_Pair]:
    """A place for each square, found from the hole's edge inwards."""
    half, step = scene.half, scene.half + scene.half % 2
    places = _places(scene, step)
    squares = _squares(scene.hole, step)
    if len(places) < _CANDIDATES or not len(squares):
        return []
    index: Indices = np.full(scene.hole.shape, _NO_PLACE, np.int64)
    index[places[:, 0], places[:, 1]] = np.arange(len(places))
    costs = _costs(scene, squares, places)
    nearest = torch.topk(costs, _CANDIDATES, dim=1, largest=False).indices.numpy()
    costs_of = costs.numpy()

    # Room around, so that no square reaches over the border.
    lent = np.pad(scene.base - scene.known_soft, ((half, half), (half, half), (0, 0)))
    laid = np.where(np.pad(scene.unknown, half)[..., None], np.float32(0), lent)
    filled = np.pad(~scene.unknown, half)
    window = np.lib.stride_tricks.sliding_window_view(lent, (2 * half + 1, 2 * half + 1), axis=(0, 1))
    found: dict[Point, Point] = {}
    pairs = []
    for number, (y, x) in enumerate(squares.tolist()):
        candidates = np.concatenate([nearest[number], _beside((y, x), step, found, index)])
        at = places[candidates]
        patches = window[at[:, 0], at[:, 1]]  # (n, 3, side, side)
        rows, columns = slice(y, y + 2 * half + 1), slice(x, x + 2 * half + 1)
        there, ready = laid[rows, columns], filled[rows, columns]
        squared = (patches - there.transpose(2, 0, 1)).reshape(len(at), 3, -1)
        squared *= squared
        apart = (squared @ ready.ravel().astype(np.float32)).sum(axis=1) / max(1, 3 * int(ready.sum()))
        best = int(np.argmin(costs_of[number, candidates] + apart))
        there[~ready] = patches[best].transpose(1, 2, 0)[~ready]
        ready[:] = True
        found[y, x] = (int(at[best, 0]), int(at[best, 1]))
        pairs.append(_Pair((y, x), found[y, x]))
    return pairs


def _beside(square: Point, step: int, found: dict[Point, Point], index: Indices) -> Indices:
    """The places, by their number in `index`, that would go on from what the squares beside this one have borrowed."""
    y, x = square
    numbers = []
    for dy in (-step, 0, step):
        for dx in (-step, 0, step):
            if (place := found.get((y + dy, x + dx))) is not None:
                row, column = place[0] - dy, place[1] - dx
                if 0 <= row < index.shape[0] and 0 <= column < index.shape[1] and index[row, column] != _NO_PLACE:
                    numbers.append(index[row, column])
    return np.array(numbers, np.int64)


def _places(scene: _Scene, step: int) -> Indices:
    """(n, 2): middles of squares without unknown pixels.

    They lie on a lattice, so that there are not too many. A `step` from one of them leads to another: what lies beside
    one that lends is then ready to lend to the square beside.
    """
    side = 2 * scene.half + 1
    whole = cv2.erode((~scene.unknown).astype(np.uint8), np.ones((side, side), np.uint8), borderValue=0)
    places = np.empty((0, 2), np.int64)
    for lattice in (width for width in range(_LATTICE, step + 1) if step % width == 0):
        places = np.argwhere(whole[::lattice, ::lattice]) * lattice
        if len(places) <= _MOST_PLACES:
            break
    return places


def _squares(hole: Mask, step: int) -> Indices:
    """(n, 2): middles of squares on a grid that cover the hole, those nearest to its edge first."""
    side = 2 * (step // 2) + 1
    near = cv2.dilate(hole.astype(np.uint8), np.ones((side, side), np.uint8))
    squares = np.argwhere(near[::step, ::step]) * step
    depth = cv2.distanceTransform(np.pad(hole, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    return squares[np.argsort(depth[squares[:, 0], squares[:, 1]], kind="stable")]


@torch.inference_mode()
def _costs(scene: _Scene, squares: Indices, places: Indices) -> Tensor:
    """(squares, places): mean squared difference of what is blurred there."""
    one, other = (torch.from_numpy(_samples(scene, middles)) for middles in (squares, places))
    lengths = one.square().sum(dim=1)[:, None] + other.square().sum(dim=1)
    return torch.addmm(lengths, one, other.T, alpha=-2).div_(one.shape[1])


def _samples(scene: _Scene, middles: Indices) -> npt.NDArray[np.float32]:
    """(n, points): the colours of each square at some points."""
    offsets = np.rint(np.linspace(-scene.half, scene.half, _SAMPLES)).astype(np.int64)
    height, width = scene.hole.shape
    rows = np.clip(middles[:, :1] + offsets, 0, height - 1)
    columns = np.clip(middles[:, 1:] + offsets, 0, width - 1)
    return np.asarray(scene.soft[rows[:, :, None], columns[:, None, :]].reshape(len(middles), -1), np.float32)


def _pasted(detail: Canvas, unknown: Mask, own: Box, pairs: list[_Pair], half: int, scale: float) -> Canvas:
    """What is lent to the part `own`, at its own scale, of which a pixel is 1 / `scale` of one of the small scale."""
    reach = round((1.5 * half + 1) * scale)
    ramp = np.clip((reach + 1 - np.abs(np.arange(-reach, reach + 1))) / (reach - half * scale / 2 + 1), 0, 1)
    weight = ((ramp[:, None] * ramp) ** 4).astype(np.float32)  # overlapping squares fade into each other quickly
    room = ((reach, reach), (reach, reach))
    known = np.pad(~unknown, room).astype(np.float32)
    lent = np.pad(detail, (*room, (0, 0)))
    lent *= known[..., None]
    total = np.zeros((own.height + 4 * reach, own.width + 4 * reach, 3), np.float32)  # squares may lie at its edge
    weights = np.full(total.shape[:2], 1e-6, np.float32)

    def at_own_scale(middle: Point) -> Point:
        y, x = (min(int((at + 0.5) * scale), side - 1) for at, side in zip(middle, unknown.shape, strict=True))
        return y, x

    side = 2 * reach + 1
    for pair in pairs:
        (top, left), (y, x) = at_own_scale(pair.place), at_own_scale(pair.square)
        origin = slice(top, top + side), slice(left, left + side)  # the room around makes a middle a corner
        y, x = y - own.top + reach, x - own.left + reach
        to = slice(y, y + side), slice(x, x + side)
        total[to] += lent[origin] * weight[..., None]
        weights[to] += known[origin] * weight
    inner = slice(2 * reach, 2 * reach + own.height), slice(2 * reach, 2 * reach + own.width)
    return np.asarray(total[inner] / weights[inner][..., None], np.float32)


def _half(thick: float) -> int:
    return int(np.clip(round(thick / _SQUARES), _LEAST_HALF, _MOST_HALF))


def _blurred(array: Canvas, sigma: float) -> Canvas:
    return np.asarray(cv2.GaussianBlur(array, (0, 0), sigma), np.float32)


def _resized(array: Canvas, size: tuple[int, int]) -> Canvas:
    """At (width, height) `size`."""
    if (array.shape[1], array.shape[0]) == size:
        return array
    how = cv2.INTER_AREA if size[0] < array.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(array, size, interpolation=how), np.float32)


def _any_of(mask: Mask, size: tuple[int, int]) -> Mask:
    """Reduced to (width, height) `size`: a pixel holds where any that it covers does."""
    if (mask.shape[1], mask.shape[0]) == size:
        return mask
    return np.asarray(cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 0, np.bool_)
