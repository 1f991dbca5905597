"""Skin for what is drawn of a face and enlarged: pores and stubble as they are beside the hole.

What the network draws is as soft as its canvas. Noise of the right strength in its place looks like sandpaper: skin has
few, small marks on smooth ground. So the hole's skin is covered with small squares of the fine detail of known skin
nearby, which overlap and fade into each other (Efros, Freeman 2001, "image quilting", without their cut: fine detail
hides the seams).
"""

import cv2
import numpy as np
import numpy.typing as npt

from models.glcic.geometry import Canvas, Mask, Pixels

REACH = 32
"""Pixels of the canvas around a hole in which its skin is looked for."""

_SIDE = 7  # of a square, in pixels of the canvas
_FINE = 0.6  # standard deviation, in pixels of the canvas, of the blur that takes the fine detail away
_LEAST_SIDE, _LEAST_SIGMA = 6, 0.7  # likewise, in pixels of the picture
_FLAT = 0.4  # share of the known places that may lend: no outline, no fold
_CALM, _MOST_LIVELY = 0.3, 2.0  # of these, those with up to so many times the variance of detail of this quantile
_STRENGTH = 0.9
_NEAREST = 16  # places of which one lends to a square
_ENOUGH = 0.1  # pixels at which lending squares begin, per pixel that wants skin: a furrow of a forehead is no cheek

Places = npt.NDArray[np.int64]


def skin_detail(picture: Pixels, unknown: Mask, skin: Mask, wanted: Mask, scale: float) -> Canvas | None:
    """What is to be added to what was drawn and enlarged where it is `wanted`: fine detail of the known `skin`.

    picture (h, w, 3), the masks (h, w): one part of a photograph; what it holds where it is `unknown` is not read.
    scale: pixels of the canvas per pixel of the photograph. Equal input gives equal bytes. None without enough skin.
    """
    side = max(_LEAST_SIDE, round(_SIDE / scale))
    soft, detail = _apart(picture, unknown, max(_LEAST_SIGMA, _FINE / scale))
    lattice = max(1, side // 6)
    places = _places(soft, detail, skin & ~unknown, side, lattice)
    if len(places) * lattice**2 <= _ENOUGH * np.count_nonzero(wanted):
        return None
    height, width = wanted.shape
    window = np.hanning(side + 2)[1:-1].astype(np.float32)
    weight = (window[:, None] * window)[..., None]
    total = np.zeros((height + 2 * side, width + 2 * side, 3), np.float32)
    squares = np.full((height + 2 * side, width + 2 * side, 1), 1e-6, np.float32)
    chance = np.random.default_rng(0)
    step = max(1, side // 2)
    for top in range(0, height + side, step):
        for left in range(0, width + side, step):
            middle = min(max(top - side // 2, 0), height - 1), min(max(left - side // 2, 0), width - 1)
            covered = wanted[max(0, top - side) : top, max(0, left - side) : left]
            if not covered.any():
                continue
            far = ((places + side // 2 - middle) ** 2).sum(axis=1)
            nearest = np.argpartition(far, min(_NEAREST, len(far) - 1))[:_NEAREST]
            y, x = places[nearest[chance.integers(len(nearest))]]
            to = slice(top, top + side), slice(left, left + side)
            total[to] += weight * detail[y : y + side, x : x + side]
            squares[to] += weight**2
    inner = slice(side, side + height), slice(side, side + width)
    # Details of different places are as noise to each other: their squares add up.
    return np.asarray(total[inner] / np.sqrt(squares[inner]) * (_STRENGTH * wanted[..., None]), np.float32)


def _apart(picture: Pixels, unknown: Mask, sigma: float) -> tuple[Canvas, Canvas]:
    """(h, w, 3) each: what is known, blurred, and what that takes away; the latter zero elsewhere."""
    known = (~unknown).astype(np.float32)[..., None]
    values = picture * (known / np.float32(255))
    share = cv2.GaussianBlur(known, (0, 0), sigma)[..., None]
    soft = cv2.GaussianBlur(values, (0, 0), sigma) / np.maximum(share, 1e-3)
    return np.asarray(soft, np.float32), np.asarray((values - soft) * known, np.float32)


def _places(soft: Canvas, detail: Canvas, skin: Mask, side: int, lattice: int) -> Places:
    """(n, 2): top and left of the flat squares that lie all within `skin`, on a lattice."""
    inside = cv2.boxFilter(skin.astype(np.float32), -1, (side, side), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    places = np.argwhere(inside[::lattice, ::lattice] > 1 - 0.5 / side**2) * lattice
    if not len(places):
        return places
    coarse, fine = (_spread(each, side)[places[:, 0], places[:, 1]] for each in (soft, detail))
    flat = coarse <= np.quantile(coarse, _FLAT)
    return places[flat & (fine <= _MOST_LIVELY * np.quantile(fine[flat], _CALM))]


def _spread(canvas: Canvas, side: int) -> npt.NDArray[np.float32]:
    """The variance in the square of `side` to the right of and below each pixel."""
    mean, square = (cv2.boxFilter(each, -1, (side, side), anchor=(0, 0)) for each in (canvas, canvas * canvas))
    return np.asarray((square - mean * mean).sum(axis=2), np.float32)
