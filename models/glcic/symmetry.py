"""One side of a face lends to the other: beside an eye that is gone there is an eye.

The network knows what belongs in the hole and draws it with few pixels; the other side of the face shows the same with
all of the picture's. Where the mirror image of the other side looks like what the network drew and fits what
surrounds the hole, it takes its place, an eye in the light that falls there. Otherwise what was drawn stays: a
mouth has no other side, and a face that is turned is not alike on both.
"""

from itertools import product

import cv2
import numpy as np

from models.glcic.blend import blend
from models.glcic.face_view import TurnedView
from models.glcic.geometry import Box, Canvas, Mask, Pixels, bounding_box

_REACH = 9  # pixels of the canvas: two sides that stand as far apart as this are not the same thing
_AROUND = 8  # pixels of the canvas around the hole that have to look alike, too
_SOFT = 1.5  # of the canvas: what is finer, the network does not draw well enough to be compared
_EYES_ALIKE = 0.4  # correlation, of portraits' eyes: 0.46 to 0.94 where the other one fits, 0.3 where it does not
_SKIN_ALIKE = 0.8  # skin goes on from what surrounds it; below this that is nearer to the truth than the other cheek
_OF_EYE = 0.25  # share of a hole in the surroundings of an eye, above which it is an eye that is gone
_EYE = 6.0  # standard deviation, in pixels of the canvas, of the blur in which an eye is gone
_NEARER, _EYE_NEARER = 0.01, 0.02  # of correlation, that a pixel of distance has to gain
_READ = np.ones((5, 5), np.uint8)  # pixels around one that a cubic sample reads
_BY_FACTOR = 0.7  # of a difference in brightness, in stops; the rest is added
_MOST_GAIN = 2.0  # how many times as bright it may become
_ENLARGED = 0.75  # scale of the view, above which the network's own pixels are fine enough
_MOST_PARTS = 8  # of a hole: scattered pixels have no counterpart worth looking for


def lend_other_side(
    picture: Pixels, mask: Mask, drawn: Canvas, at: Box, view: TurnedView, canvas: Canvas, hole: Mask
) -> Canvas:
    """`drawn`, the picture's part `at`; each hole that the face's other side has a counterpart for is filled from it.

    picture, mask: (H, W, 3) uint8 and (H, W) bool; what lies in holes is not read. canvas: the completed face (S, S,
    3) as `view` shows it, with `hole` (S, S) where it was drawn. Returns (h, w, 3) float32 in [0, 1].
    """
    if view.scale > _ENLARGED:
        return drawn
    count, labels = cv2.connectedComponents(mask[at.slices].astype(np.uint8))
    if not 1 < count <= _MOST_PARTS + 1:
        return drawn
    grey = cv2.GaussianBlur(canvas.mean(axis=2), (0, 0), _SOFT)
    known = np.where(mask[at.slices][..., None], drawn, picture[at.slices] * np.float32(1 / 255))
    lent = drawn
    for label in range(1, count):
        part = labels == label
        shown = view.shown(part, at)
        of_eye = np.count_nonzero(shown & view.eyes) > _OF_EYE * np.count_nonzero(shown)
        shift = _counterpart(grey, hole, shown, _EYES_ALIKE if of_eye else _SKIN_ALIKE)
        if shift is not None and of_eye:
            # Where the eye itself is: hair and the outline of a face that is turned a little lie elsewhere.
            fine = grey - cv2.GaussianBlur(grey, (0, 0), _EYE)
            shift = _counterpart(fine, hole, shown, 0.0, around=0, nearer=_EYE_NEARER)
        if shift is not None and (source := _mirrored(picture, mask, part, at, view, shift)) is not None:
            source = _relit(known, part, source) if of_eye else source
            lent = np.where(part[..., None], blend(known, part, source, "poisson"), lent)
    return np.asarray(lent, np.float32)


def _relit(known: Canvas, part: Mask, source: Canvas) -> Canvas:
    """`source` nearly as bright as it has to be where it meets `known`, around `part`; blending adds what is missing.

    Light multiplies what it falls on: an eye from the shadow that is brightened by a difference alone, which is what
    blending does, has no contrast in the sun. By a factor alone its brow turns grey, since the sun does not reach it.
    """
    around = (cv2.dilate(part.astype(np.uint8), _READ) > 0) & ~part
    gain = np.median(known[around].sum(axis=1) / np.maximum(1e-2, source[around].sum(axis=1))) ** _BY_FACTOR
    return np.asarray(source * np.clip(gain, 1 / _MOST_GAIN, _MOST_GAIN), np.float32)


def _counterpart(
    grey: Canvas, hole: Mask, part: Mask, alike: float, *, around: int = _AROUND, nearer: float = _NEARER
) -> complex | None:
    """How far from its mirror image the face's other side shows what is drawn in `part` of `hole`; None: it does not.

    alike: the correlation that it has to have, in `part` and `around` pixels to each side of it.
    x + iy in pixels of the canvas: the counterpart of the point (x, y) is (S - x - shift.real, y + shift.imag).
    """
    place = bounding_box(part)
    if place is None:
        return None
    place = place.grown(around, (hole.shape[0], hole.shape[1]))
    target, needed = grey[place.slices], part[place.slices]
    compared = needed if around == 0 else np.ones_like(needed)
    hidden = cv2.dilate(hole.astype(np.uint8), _READ)[:, ::-1] > 0
    best, shift = alike, None
    for y, x in product(range(-_REACH, _REACH + 1), repeat=2):
        rows, columns = slice(place.top + y, place.bottom + y), slice(place.left + x, place.right + x)
        if min(rows.start, columns.start) < 0 or rows.stop > hole.shape[0] or columns.stop > hole.shape[1]:
            continue
        if hidden[rows, columns][needed].any():
            continue
        seen = compared & ~hole[:, ::-1][rows, columns]
        score = _correlation(target[seen], grey[:, ::-1][rows, columns][seen]) - nearer * abs(complex(x, y))
        if score > best:
            best, shift = score, complex(x, y)
    return shift if shift is None or max(abs(shift.real), abs(shift.imag)) < _REACH else None


def _correlation(one: Canvas, other: Canvas) -> float:
    """Of two arrays of one dimension; 0 where one of them is even."""
    one, other = one - one.mean(), other - other.mean()
    power = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / power if power > 1e-6 else 0.0


def _mirrored(picture: Pixels, mask: Mask, part: Mask, at: Box, view: TurnedView, shift: complex) -> Canvas | None:
    """The face's other side as it belongs in the picture's part `at`; None where `part` needs what is not known."""
    side, own = view.canvas_size[1], view.shift - complex(at.left, at.top)
    flip = -view.turn / view.turn.conjugate()
    start = view.turn * complex(side - shift.real, shift.imag) + view.shift - flip * own.conjugate()
    matrix = np.array([[flip.real, flip.imag, start.real], [flip.imag, -flip.real, start.imag]])
    matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5  # OpenCV puts a pixel's centre at i, not at i + 1/2
    corners = matrix @ np.array([[0, at.width, 0, at.width], [0, 0, at.height, at.height], [1, 1, 1, 1]])
    (left, top), (right, bottom) = corners.min(axis=1).astype(int) - 3, corners.max(axis=1).astype(int) + 4
    near = Box(top, left, bottom, right).grown(0, (mask.shape[0], mask.shape[1]))
    if near.height <= 0 or near.width <= 0:
        return None
    matrix[:, 2] -= near.left, near.top
    size = at.width, at.height
    unknown = cv2.warpAffine(
        cv2.dilate(mask[near.slices].astype(np.uint8), _READ),
        matrix,
        size,
        flags=cv2.WARP_INVERSE_MAP | cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(1,),
    )
    if unknown[cv2.dilate(part.astype(np.uint8), _READ) > 0].any():
        return None
    source = cv2.warpAffine(
        picture[near.slices],
        matrix,
        size,
        flags=cv2.WARP_INVERSE_MAP | cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return np.asarray(source, np.float32) / np.float32(255)
