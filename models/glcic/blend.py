"""How a completed hole is joined to what surrounds it, without looking at what the hole held.

The network's colours differ a little from those at the hole's edge. The
difference, measured along the edge, is spread over the hole by a membrane (the
harmonic function with these boundary values) and added to the network's
picture. That is Poisson blending (Perez et al. 2003) in the form of Farbman et
al. 2009, "Coordinates for instant image cloning": the same result as solving
for the picture itself, but smooth, so it is solved coarse to fine in a few
sweeps, and the picture's border needs no special case. OpenCV's `seamlessClone`
is not used: it shifts the result, fails at borders and changes pixels outside.
"""

from typing import Any, Literal

import cv2
import numpy as np

from models.glcic.geometry import Canvas, Mask

Blend = Literal["none", "feather", "poisson"]
"""How a hole is joined; see `blend`."""

_CROSS = np.array([[0, 0.25, 0], [0.25, 0, 0.25], [0, 0.25, 0]], np.float32)
_SWEEPS = 12  # per level; each level starts from the solution of the next coarser one
_FADE = 0.5  # of the hole's greatest depth: how far feathering reaches


def blend(canvas: Canvas, hole: Mask, completed: Canvas, how: Blend) -> Canvas:
    """`canvas` outside `hole`, `completed` within, joined.

    none: as the network drew it. feather: the difference of colour at the edge
    is made up for there and fades out towards the middle. poisson: it is spread
    over the whole hole. What `canvas` holds inside the hole is not read.
    Returns (h, w, 3) float32 in [0, 1].
    """
    inside = hole[..., None]
    joined = _three(np.where(inside, completed, canvas))
    if how == "none" or hole.all() or not hole.any():
        return joined
    edge = _edge(hole)
    offset = membrane(np.where(edge[..., None], canvas - _carried_outwards(completed, hole), 0), edge, hole)
    if how == "feather":
        depth = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        fade = np.clip(1 - (depth - 1) / max(1.0, _FADE * float(depth.max())), 0, 1)
        offset = offset * (fade * fade * (3 - 2 * fade))[..., None]
    return _three(np.where(inside, np.clip(joined + offset, 0, 1), canvas))


def membrane(values: Canvas, fixed: Mask, free: Mask) -> Canvas:
    """The smoothest continuation of `values`, given where `fixed`, over `free`; zero elsewhere.

    Solves Laplace's equation coarse to fine. Where neither mask holds, and at
    the array's border, the membrane ends free (its slope is zero).
    """
    domain = fixed | free
    if min(values.shape[:2]) > 2 and free.any():
        # Half the size: a coarse cell is fixed where it holds a fixed pixel.
        weight = _halve(fixed.astype(np.float32)[..., None])
        coarse_values = _three(_halve(values * fixed[..., None]) / np.maximum(weight, 1e-6))
        coarse_fixed = weight[..., 0] > 0
        coarse_free = (_halve(free.astype(np.float32)[..., None])[..., 0] > 0) & ~coarse_fixed
        coarse = membrane(np.where(coarse_fixed[..., None], coarse_values, 0), coarse_fixed, coarse_free)
        size = (values.shape[1], values.shape[0])
        start = _three(cv2.resize(coarse, (coarse.shape[1] * 2, coarse.shape[0] * 2), interpolation=cv2.INTER_NEAREST))
        start = start[: size[1], : size[0]]
    else:
        mean = (values * fixed[..., None]).sum(axis=(0, 1), dtype=np.float32) / np.float32(max(1, int(fixed.sum())))
        start = _three(np.broadcast_to(mean, values.shape))
    field = _three(np.where(fixed[..., None], values, np.where(free[..., None], start, 0)))
    neighbours = _cross(domain.astype(np.float32)[..., None])
    share = 1 / np.maximum(neighbours, 0.25)
    for _ in range(_SWEEPS):
        field = _three(np.where(free[..., None], _cross(field) * share, field))
    return field


def _edge(hole: Mask) -> Mask:
    """The known pixels that touch the hole."""
    return (cv2.dilate(hole.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~hole


def _carried_outwards(completed: Canvas, hole: Mask) -> Canvas:
    """At each pixel the mean of the completed pixels of the hole that lie within two pixels of it."""
    weight = hole.astype(np.float32)
    total = cv2.boxFilter(completed * weight[..., None], -1, (5, 5), normalize=False, borderType=cv2.BORDER_CONSTANT)
    count = cv2.boxFilter(weight, -1, (5, 5), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return _three(_three(total) / np.maximum(count, 1)[..., None])


def _cross(array: Any) -> Canvas:
    filtered = cv2.filter2D(array, -1, _CROSS, borderType=cv2.BORDER_CONSTANT)
    return _three(filtered)


def _halve(array: Canvas) -> Canvas:
    """The mean of each 2x2 block; an odd last row or column stands twice."""
    down, right = array.shape[0] % 2, array.shape[1] % 2
    even = np.pad(array, ((0, down), (0, right), (0, 0)), mode="edge")
    return _three((even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4)


def _three(array: Any) -> Canvas:
    return np.asarray(array, np.float32).reshape(array.shape[0], array.shape[1], -1)
