"""A face as the completion network for faces learned to see it: upright, its eyes in their places."""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.glcic.align import EYE_LIFT, EYE_RADII, EYES, FACE_CENTRE, FACE_RADII, FRAME, FacePose, FindFaces
from models.glcic.geometry import Box, Canvas, Mask, Pixels, bounding_box
from models.glcic.network import STRIDE

Floats = npt.NDArray[np.float64]

_ALIGNED = (5.0, 12.0)  # pixels of the canonical frame that a pose can be off, by whether little or most is hidden:
_LITTLE, _MOST = 0.3, 0.8  # shares of the face
_APART = 2  # pixels of the canonical frame between the places that are asked whether they are hidden
_AWAY = 2.0  # pixels of the canonical frame: a face that is seen nearer to its place stays where it is
_SKIN = 0.8  # of the face's radii
_BRIGHT = 0.56  # luminance of a face: the median of CelebA's
_DARKEST = 0.02  # a luminance that is believed
_TELLS_NOTHING, _TELLS_ALL = 0.1, 0.4  # shares of a face that are seen
_GRAIN_REACH, _GRAIN_CONTRAST, _GRAIN_SPREAD = 5, 20 / 255, 1.5  # diameter, sigmas in colour and in pixels
_SOFTNESS = 0.5  # standard deviation, in pixels of the canvas
_FINER = 2  # the picture is sampled at so many times the canvas's scale, then reduced, so that turning does not alias


def view_face(pose: FacePose, box: Box, side: int, mask: Mask) -> "TurnedView | None":
    """The canonical frame around a face, `side` pixels wide; None when `box` is not all within it.

    mask (height, width) bool: all that is missing of the picture. One that is aligned as the training pictures are, or
    as good as, is seen as it is: its central square. What is as good is wider where more of the face is hidden, for
    then the pose is less exact.
    """
    height, width = mask.shape
    shorter = min(height, width)
    middle = FacePose(shorter / FRAME + 0j, complex(width - shorter, height - shorter) / 2, pose.score)
    if pose.away_from(middle) < np.interp(_hidden(pose, mask), (_LITTLE, _MOST), _ALIGNED):
        pose = middle
    corners = np.array([complex(x, y) for x in (box.left, box.right) for y in (box.top, box.bottom)])
    at = (corners - pose.shift) / pose.turn
    if min(at.real.min(), at.imag.min()) < 0 or max(at.real.max(), at.imag.max()) > FRAME:
        return None
    length = side + -side % STRIDE
    return TurnedView(pose.turn * FRAME / side, pose.shift, (length, length))


def _hidden(pose: FacePose, mask: Mask) -> float:
    """Share of a face that is missing; what lies outside the picture is not."""
    across, down = (np.arange(_APART / 2, FRAME, _APART) for _ in range(2))
    places = (across + 1j * down[:, None])[_within(across, down, FACE_CENTRE, FACE_RADII)]
    at = pose.turn * places + pose.shift
    height, width = mask.shape
    inside = at[(at.real >= 0) & (at.real < width) & (at.imag >= 0) & (at.imag < height)]
    return np.count_nonzero(mask[inside.imag.astype(int), inside.real.astype(int)]) / len(places)


def _within(across: Floats, down: Floats, centre: complex, radii: tuple[float, float]) -> Mask:
    """(len(down), len(across)) bool: which places of the canonical frame lie in an ellipse of it."""
    inside: Mask = ((across - centre.real) / radii[0]) ** 2 + ((down[:, None] - centre.imag) / radii[1]) ** 2 < 1
    return inside


def view_again(
    view: "TurnedView", canvas: Canvas, hole: Mask, box: Box, mask: Mask, find_faces: FindFaces
) -> "TurnedView | None":
    """A better view for the hole in `box` of what is missing, `mask`, now that something is drawn in it: `canvas`, as
    `view` shows it.

    A face whose middle is gone is hard to place. The network draws eyes and mouth where hair and chin want them,
    in a view that is not quite right, too, and a face without a hole is found more exactly. None when it
    stands where it should.
    """
    place = bounding_box(hole)
    if place is None:
        return None
    picture = np.rint(np.clip(canvas, 0, 1) * 255).astype(np.uint8)
    seen = find_faces(picture, np.zeros_like(hole), [place])[0]
    side = hole.shape[0]
    if seen is None or seen.away_from(FacePose(side / FRAME + 0j, 0j, 1.0)) < _AWAY:
        return None
    pose = FacePose(view.turn * seen.turn, view.turn * seen.shift + view.shift, seen.score)
    better = view_face(pose, box, side, mask)
    return None if better == view else better


@dataclass(frozen=True)
class TurnedView:
    """A view by a similarity: pixel z = x + iy of the canvas lies at turn * z + shift of the picture.

    Where the canvas reaches over the picture's border it goes on as a mirror image.
    """

    turn: complex
    shift: complex
    canvas_size: tuple[int, int]
    """See `View.canvas_size`."""

    @property
    def scale(self) -> float:
        """See `View.scale`."""
        return 1 / abs(self.turn)

    @property
    def face(self) -> Mask:
        """(height, width) bool: the pixels of the canvas that show the face, without hair and what is behind."""
        return self._ellipse(FACE_CENTRE, FACE_RADII)

    @property
    def skin(self) -> Mask:
        """(height, width) bool: those of them that show neither hair nor what is behind even where a head is turned."""
        return self._ellipse(FACE_CENTRE, (_SKIN * FACE_RADII[0], _SKIN * FACE_RADII[1]))

    @property
    def eyes(self) -> Mask:
        """(height, width) bool: the pixels of the canvas that show an eye, its lids or its brow."""
        left, right = (self._ellipse(eye - EYE_LIFT * 1j, EYE_RADII) for eye in EYES)
        return left | right

    def _ellipse(self, centre: complex, radii: tuple[float, float]) -> Mask:
        """`centre` and `radii` in the canonical frame."""
        height, width = self.canvas_size
        across, down = ((np.arange(length) + 0.5) * FRAME / length for length in (width, height))
        return _within(across, down, centre, radii)

    def take(self, image: Pixels, mask: Mask) -> tuple[Canvas, Mask]:
        """See `View.take`."""
        box = self._box((mask.shape[0], mask.shape[1]))
        known = (~mask[box.slices]).astype(np.float32)
        planes = np.dstack([image[box.slices] * (known[..., None] / np.float32(255)), known])
        finer = _FINER / abs(self.turn)  # samples per pixel of the picture
        if finer < 1:
            size = max(1, round(box.width * finer)), max(1, round(box.height * finer))
            planes = np.asarray(cv2.resize(planes, size, interpolation=cv2.INTER_AREA), np.float32)
        to_planes = np.diag([planes.shape[1] / box.width, planes.shape[0] / box.height])
        matrix = to_planes @ (self._matrix - [[0, 0, box.left], [0, 0, box.top]]) / [[_FINER, _FINER, 1]]
        height, width = self.canvas_size
        fine = _sample(planes, matrix, (_FINER * height, _FINER * width))
        sampled = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
        share = sampled[..., 3]
        hole = share < 0.5
        canvas = sampled[..., :3] / np.maximum(share, 1e-3)[..., None]
        canvas[hole] = 0
        return np.clip(canvas, 0, 1), hole

    def put_back(self, canvas: Canvas, box: Box) -> Canvas:
        """See `View.put_back`."""
        height, width = self.canvas_size
        coarser = max(1, int(1 / abs(self.turn)))  # pixels of the canvas per pixel of a small face's picture
        if coarser > 1:
            size = width // coarser, height // coarser
            canvas = np.asarray(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA), np.float32)
        to_canvas = np.diag([canvas.shape[1] / width, canvas.shape[0] / height])
        inverse = cv2.invertAffineTransform(self._matrix - [[0, 0, box.left], [0, 0, box.top]])
        return _sample(canvas, to_canvas @ inverse, (box.height, box.width), cv2.INTER_CUBIC)

    def shown(self, part: Mask, at: Box) -> Mask:
        """Which pixels of the canvas show the pixels `part` of the picture's part `at`."""
        height, width = self.canvas_size
        matrix = self._matrix - [[0, 0, at.left], [0, 0, at.top]]
        return _sample(part.astype(np.float32), matrix, (height, width), border=cv2.BORDER_CONSTANT)[..., 0] > 0

    def showing(self, part: Mask, at: Box) -> Mask:
        """Which pixels of the picture's part `at` are shown by the pixels `part` of the canvas."""
        inverse = cv2.invertAffineTransform(self._matrix - [[0, 0, at.left], [0, 0, at.top]])
        return (
            _sample(part.astype(np.float32), inverse, (at.height, at.width), border=cv2.BORDER_CONSTANT)[..., 0] > 0.5
        )

    @property
    def _matrix(self) -> npt.NDArray[np.float64]:
        turn, shift = self.turn, self.shift
        return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])

    def _box(self, size: tuple[int, int]) -> Box:
        """The part of a picture of (height, width) `size` that the canvas shows."""
        height, width = self.canvas_size
        corners = self.turn * np.array([0, width, height * 1j, width + height * 1j]) + self.shift
        return Box(
            max(0, min(int(corners.imag.min()) - 2, size[0] - 1)),
            max(0, min(int(corners.real.min()) - 2, size[1] - 1)),
            max(1, min(int(corners.imag.max()) + 3, size[0])),
            max(1, min(int(corners.real.max()) + 3, size[1])),
        )


def without_grain(canvas: Canvas, apart: Mask) -> Canvas:
    """`canvas` without pores, stubble and noise and a little soft, its edges where they were; zero where `apart`, which
    has no part in it.

    Much so were the pictures cleaned with which the network was refined (`refine_train.py`). A photograph that was
    reduced has more fine detail than they have, and what a network makes of what it never saw is crumbs.
    """
    unlike = np.where(apart[..., None], np.float32(9), canvas)  # any colour
    cleaned = cv2.bilateralFilter(unlike, _GRAIN_REACH, _GRAIN_CONTRAST, _GRAIN_SPREAD)
    known = (~apart).astype(np.float32)[..., None]
    soft, share = (cv2.GaussianBlur(each, (0, 0), _SOFTNESS) for each in (cleaned * known, known))
    return np.asarray(known * soft / np.maximum(share, 1e-3)[..., None], np.float32)


def brightening(canvas: Canvas, hole: Mask, face: Mask) -> float:
    """The power, at most 1, of `canvas` that shows a dark face as bright as most that the network learned from.

    There were few dark ones among them, and to dark skin it draws faint lips, grey teeth and a shadow above them.
    `face`: see `TurnedView.face`. What the hole holds is not read.
    """
    known = face & ~hole
    told = (np.count_nonzero(known) / np.count_nonzero(face) - _TELLS_NOTHING) / (_TELLS_ALL - _TELLS_NOTHING)
    if told <= 0:
        return 1.0
    red, green, blue = np.median(canvas[known], axis=0)
    luminance = max(_DARKEST, 0.299 * float(red) + 0.587 * float(green) + 0.114 * float(blue))  # ITU-R 601
    power = min(1.0, math.log(_BRIGHT) / math.log(luminance)) if luminance < 1 else 1.0
    return 1 + min(1.0, told) * (power - 1)


def _sample(
    picture: npt.NDArray[np.float32],
    matrix: Any,
    size: tuple[int, int],
    interpolation: int = cv2.INTER_LINEAR,
    border: int = cv2.BORDER_REFLECT_101,
) -> Canvas:
    """(height, width) `size` samples of `picture`; `matrix` takes their points to its points.

    Pixel i covers [i, i + 1) on both sides; OpenCV puts its centre at i, not at i + 1/2.
    """
    shift = matrix @ [0.5, 0.5, 1] - 0.5
    out = cv2.warpAffine(
        picture,
        np.column_stack([matrix[:, :2], shift]),
        (size[1], size[0]),
        flags=interpolation | cv2.WARP_INVERSE_MAP,
        borderMode=border,
    )
    return np.asarray(out, np.float32).reshape(size[0], size[1], -1)
