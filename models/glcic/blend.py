"""How a completed hole is joined to what surrounds it, without looking at what the hole held.

The completed picture differs a little in colour from what it meets at the
hole's edge. The difference, measured along the edge, is spread over the hole by
a membrane (the harmonic function with these boundary values) and added to the
completed picture. That is Poisson blending (Perez et al. 2003) in the form of
Farbman et al. 2009, "Coordinates for instant image cloning": the same result as
solving for the picture itself, but smooth, so a few sweeps coarse to fine solve
it, and the picture's border needs no special case. OpenCV's `seamlessClone`
shifts the result, fails at borders and changes pixels outside.
"""

from typing import Any, Literal

import cv2
import numpy as np

from models.glcic.geometry import Canvas, Mask, bounding_box

Blend = Literal["none", "feather", "poisson"]
"""none: as the network drew it. feather: the difference of colour at the edge is made up for there and fades out
towards the middle. poisson: it is spread over the whole hole."""

_GRAIN = 0.8  # of the strength of the detail around the hole
_MOST_GRAIN = 2.5  # times the median strength around the hole
_CALM = 1.5  # times the standard deviation of the colours around
_NOT_SO_PALE, _NOT_SO_BLUE = 2 / 255, 0.8  # what is taken back of a lack of red; what remains of blue and yellow
_REDDER, _LIPS = 0.5, 8.0  # of red that stands out within so many pixels, where a canvas is enlarged without end
_LIPS_FROM = 3  # how far from the hole's edge it begins
_SURE = 16  # greatest depth of a hole, in pixels of the canvas, up to which it has it
_NEARBY = 0.6  # of a hole's greatest depth: how far around a pixel of the edge is looked
_NEXT_DOOR = 5  # side of the square around a pixel in which its known neighbours are counted
_TRUST, _MOST_TRUST = 1.35, 0.75  # in those neighbours, by their share: measured at 10, 50 and 90 % scattered pixels
_CROSS = np.array([[0, 0.25, 0], [0.25, 0, 0.25], [0, 0.25, 0]], np.float32)
_SWEEPS = 10  # per level; each level starts from the solution of the next coarser one
_OTHER_THING, _LEAST_SAY = 0.12, 0.01  # a difference of colour that counts half; how much any counts
_FADE, _LEAST_FADE = 0.5, 6  # how far feathering reaches: share of the hole's greatest depth, but at least pixels


def blend(known: Canvas, hole: Mask, completed: Canvas, how: Blend) -> Canvas:
    """`known` outside `hole`, the network's picture `completed` within, joined.

    What `known` holds inside the hole is not read, nor is `completed` outside:
    the network is not trained to be right there. Returns (h, w, 3) float32 in [0, 1].
    """
    if how == "none" or hole.all() or not hole.any():
        return _select(hole, completed, known)
    near = _around(hole, 3)
    joined = known.copy()
    joined[near] = _blended(known[near], hole[near], completed[near], how)
    return joined


def _blended(known: Canvas, hole: Mask, completed: Canvas, how: Blend) -> Canvas:
    depth = _depth(hole)
    reach = max(_LEAST_FADE, _FADE * float(depth.max())) if how == "feather" else None
    return _corrected(known, hole, completed, known - _carried_outwards(completed, hole), depth, reach)


def add_detail(known: Canvas, hole: Mask, completed: Canvas, reach: float, grain: Canvas) -> Canvas:
    """Give `completed`, an enlarged picture, the detail that its surroundings have and it lacks.

    Unlike with `blend`, `completed` shows the surroundings, too, so the
    difference at the hole's edge is the detail. It is carried `reach` pixels
    into the hole; from there on `grain` takes over, so that the hole does not look like a blurred patch.
    Returns as `blend` does.
    """
    if hole.all() or not hole.any():
        return _select(hole, completed, known)
    depth = _depth(hole)
    grainy = _floats(completed + grain * _smooth((depth - 1) / max(1.0, reach))[..., None])
    return _corrected(known, hole, grainy, known - completed, depth, reach)


def grain_around(known: Canvas, hole: Mask, completed: Canvas, reach: float) -> Canvas:
    """Grain as strong as the detail around the hole, no coarser than `reach` pixels, always the same.

    As `add_detail` takes it: of the size of `completed`, float32.
    """
    edge = _edge(hole)
    if not edge.any():
        return np.zeros_like(completed)
    strength = np.abs(known - completed).mean(axis=2, keepdims=True).repeat(3, axis=2)
    # Outlines that meet the hole are strong detail but no grain.
    strength = np.minimum(strength, _MOST_GRAIN * np.median(strength[edge]))
    return _floats(_GRAIN * membrane(_floats(strength), edge, hole) * _noise((hole.shape[0], hole.shape[1]), reach))


def settle_colours(canvas: Canvas, hole: Mask) -> Canvas:
    """`canvas` with the colours of what was drawn of a face in `hole` as far as faces bear them out.

    A network that is not sure draws skin a little green or grey. On 300 faces held back, what it drew 4 of 255 levels
    less red than the smoothest continuation of the surroundings around a mouth was 2.3 less in truth, 6 less 3.9, and 9
    less 6.5: the first two levels are taken back. What it drew bluer or yellower was so by four fifths.
    (h, w, 3) float32 in [0, 1], and so is what it returns.
    """
    if hole.all() or not hole.any():
        return canvas
    settled = canvas.copy()
    near = _around(hole, 3)
    part, inside = _floats(cv2.cvtColor(canvas[near], cv2.COLOR_RGB2YCrCb)), hole[near]
    continued = membrane(part, _edge(inside), inside)
    redder, bluer = part[..., 1] - continued[..., 1], part[..., 2] - continued[..., 2]
    redder = np.where(redder < 0, np.minimum(redder + _NOT_SO_PALE, 0), redder)
    colours = np.stack([part[..., 0], continued[..., 1] + redder, continued[..., 2] + _NOT_SO_BLUE * bluer], axis=2)
    settled[near][inside] = np.clip(cv2.cvtColor(_floats(colours), cv2.COLOR_YCrCb2RGB), 0, 1)[inside]
    return settled


def redden(canvas: Canvas, hole: Mask, scale: float) -> Canvas:
    """`canvas` with what is red in what was drawn of a face in `hole`, its lips, made redder, the more so the more
    1 / `scale` will enlarge it; less in large holes, where much is uncertain.

    On faces held back red varied by 4.0 levels around a mouth, and by 3.1 as it was drawn.
    (h, w, 3) float32 in [0, 1], and so is what it returns.
    """
    depth = _depth(hole)
    sure = min(1.0, _SURE / max(1.0, float(depth.max())))
    colours = _floats(cv2.cvtColor(canvas, cv2.COLOR_RGB2YCrCb))
    redder = np.maximum(colours[..., 1] - cv2.GaussianBlur(colours[..., 1], (0, 0), _LIPS), 0)
    colours[..., 1] += _REDDER * max(0.0, 1 - scale) * sure * _smooth((depth - _LIPS_FROM) / _LIPS) * redder
    return _floats(np.where(hole[..., None], np.clip(cv2.cvtColor(colours, cv2.COLOR_YCrCb2RGB), 0, 1), canvas))


def calm(known: Canvas, hole: Mask, completed: Canvas) -> Canvas:
    """`completed` without contrasts that its surroundings do not have.

    In a hole in a plain wall a network that has seen few walls draws a stain. What it draws is split into the smoothest
    continuation of the surroundings and what it adds to that, and the latter is kept within a multiple of
    how much the surroundings vary along the edge nearby. Returns as `blend` does.
    """
    if hole.all() or not hole.any():
        return _select(hole, completed, known)
    radius = max(2, round(float(_depth(hole).max()) * _NEARBY))
    near = _around(hole, radius + 1)
    calmed = known.copy()
    calmed[near] = _calmed(known[near], hole[near], completed[near], 2 * radius + 1)
    return calmed


def _calmed(known: Canvas, hole: Mask, completed: Canvas, side: int) -> Canvas:
    edge = _edge(hole)
    seen = _select(hole, np.zeros_like(known), known)
    count = np.maximum(_boxed((~hole).astype(np.float32), side), 1e-6)
    mean, square = (_boxed(each, side) / count for each in (seen, seen * seen))
    spread = _floats(np.sqrt(np.maximum(square - mean * mean, 0)))
    smooth = membrane(known, edge, hole)
    most = _CALM * membrane(spread, edge, hole) + 1e-3
    return _select(hole, _floats(smooth + most * np.tanh((completed - smooth) / most)), known)


def lean_on_neighbours(known: Canvas, hole: Mask, completed: Canvas) -> Canvas:
    """`completed`, drawn towards what the pixels next door say: the more of them are known, the more.

    Between single missing pixels, in scratches and at a hole's very edge the smoothest continuation of the surroundings
    errs less than any network, and in other ways, so that the two together err less than each. Returns as `blend` does.
    """
    if hole.all() or not hole.any():
        return _select(hole, completed, known)
    share = _boxed((~hole).astype(np.float32), _NEXT_DOOR)
    weight = np.minimum(_MOST_TRUST, _TRUST * share)
    return _select(hole, completed + weight * (membrane(known, _edge(hole), hole) - completed), known)


def membrane(values: Canvas, fixed: Mask, free: Mask) -> Canvas:
    """The smoothest continuation of `values`, given where `fixed`, over `free`; zero elsewhere.

    Solves Laplace's equation coarse to fine. Where neither mask holds, and at
    the array's border, the membrane ends free (its slope is zero).
    """
    if min(values.shape[:2]) > 2 and free.any():
        # Half the size: a coarse cell is fixed where it holds a fixed pixel.
        share = _halved(fixed.astype(np.float32)[..., None])
        means = _halved(_select(fixed, values, np.zeros_like(values))) / np.maximum(share, 1e-6)
        coarse_fixed = share[..., 0] > 0
        coarse_free = (_halved(free.astype(np.float32)[..., None])[..., 0] > 0) & ~coarse_fixed
        coarse = membrane(_floats(means), coarse_fixed, coarse_free)
        doubled = _floats(cv2.resize(coarse, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST))
        start = doubled[: values.shape[0], : values.shape[1]]
    else:
        mean = values[fixed].mean(axis=0) if fixed.any() else np.zeros(values.shape[2])
        start = _floats(np.broadcast_to(mean, values.shape))
    field = _select(fixed, values, _select(free, start, np.zeros_like(start)))
    share = _floats(1 / np.maximum(_crossed((fixed | free).astype(np.float32)), 0.25)) * free[..., None]
    share = share.repeat(values.shape[2], axis=2)
    kept = field * ~free[..., None]
    swept = np.empty_like(field)  # the two take turns: a large piece of new memory costs more than a sweep
    for _ in range(_SWEEPS):
        swept = _crossed(field, swept)
        swept *= share
        swept += kept
        field, swept = swept, field
    return field


def _corrected(
    known: Canvas, hole: Mask, completed: Canvas, difference: Canvas, depth: Any, reach: float | None
) -> Canvas:
    """`completed` plus the membrane of `difference` along the hole's edge.

    Where it fades out within `reach`, a difference too large to be one of light or skin counts little: there an outline
    meets the hole a pixel from where it was drawn, and a piece of hair would be carried into the face.
    """
    if reach is None:
        offset = membrane(difference, _edge(hole), hole)
    else:
        weight = 1 / (1 + (np.abs(difference).max(axis=2, keepdims=True) / _OTHER_THING) ** 4) + _LEAST_SAY
        weighted = membrane(_floats(np.dstack([difference * weight, weight])), _edge(hole), hole)
        offset = _floats(weighted[..., :3] / np.maximum(weighted[..., 3:], 1e-6))
        offset = _floats(offset * _smooth(1 - (depth - 1) / max(1.0, reach))[..., None])
    return _select(hole, _floats(np.clip(completed + offset, 0, 1)), known)


def _around(hole: Mask, pixels: int) -> tuple[slice, slice]:
    """The part of the array that holds the hole and so many pixels on each side: nothing further away has a say."""
    box = bounding_box(hole)
    return box.grown(pixels, (hole.shape[0], hole.shape[1])).slices if box else (slice(0), slice(0))


def _boxed(array: Canvas, side: int) -> Canvas:
    """The mean of the square of `side` around each pixel; zero beyond the border."""
    return _floats(cv2.boxFilter(array, -1, (side, side), borderType=cv2.BORDER_CONSTANT))


def _edge(hole: Mask) -> Mask:
    """The known pixels that touch the hole."""
    return (cv2.dilate(hole.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~hole


def _noise(size: tuple[int, int], coarsest: float) -> Canvas:
    """Grey noise of unit variance, a little soft, without what is coarser than `coarsest` pixels: (h, w, 1)."""
    white = np.random.default_rng(0).standard_normal(size, np.float32)
    soft = cv2.GaussianBlur(white, (0, 0), 0.8)
    fine = soft - cv2.GaussianBlur(soft, (0, 0), max(1.6, coarsest / 2))
    return _floats(fine / max(1e-6, float(fine.std())))


def _smooth(ramp: Any) -> Canvas:
    """0 to 1 with level ends, for a ramp that is cut off at 0 and 1: (h, w)."""
    cut = np.clip(ramp, 0, 1)
    smooth: Canvas = (cut * cut * (3 - 2 * cut)).astype(np.float32)
    return smooth


def _depth(hole: Mask) -> Any:
    """Distance of each pixel of the hole from the nearest known one."""
    return cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _carried_outwards(completed: Canvas, hole: Mask) -> Canvas:
    """At each pixel the mean of the completed pixels of the hole that lie within two pixels of it."""
    inside = _select(hole, completed, np.zeros_like(completed))
    total = cv2.boxFilter(inside, -1, (5, 5), normalize=False, borderType=cv2.BORDER_CONSTANT)
    count = cv2.boxFilter(hole.astype(np.float32), -1, (5, 5), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return _floats(total / np.maximum(count, 1)[..., None])


def _crossed(array: Any, into: Canvas | None = None) -> Canvas:
    """At each pixel a quarter of the sum of its four neighbours."""
    return _floats(cv2.filter2D(array, -1, _CROSS, dst=into, borderType=cv2.BORDER_CONSTANT))


def _halved(array: Canvas) -> Canvas:
    """The mean of each 2x2 block; an odd last row or column stands twice."""
    down, right = array.shape[0] % 2, array.shape[1] % 2
    even = cv2.copyMakeBorder(array, 0, down, 0, right, cv2.BORDER_REPLICATE) if down or right else array
    return _floats(cv2.resize(even, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


def _select(mask: Mask, inside: Canvas, outside: Canvas) -> Canvas:
    return _floats(cv2.copyTo(inside, mask.view(np.uint8), outside.copy()))  # three times as fast as np.where


def _floats(array: Any) -> Canvas:
    return np.asarray(array, np.float32).reshape(array.shape[0], array.shape[1], -1)
