"""Where a face lies in a picture, and at what scale and angle.

The completion network for faces learned from pictures in which the eyes are
always in the same two places: the official CelebA crop, here called the
canonical frame, `FRAME` x `FRAME` pixels. People's photographs are not aligned like that.
A small network looks at square crops around a hole, says whether each shows a
face and which similarity (scale, rotation, shift) brings the canonical frame onto it.
`align` runs it over a few crops, then again on what it found, until the
face stands still.

A similarity of the plane is one complex multiplication and one addition,
z -> turn * z + shift, so points here are complex numbers x + iy, with pixel i
covering [i, i + 1).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.glcic.geometry import Box, bounding_box

FRAME = 160
"""Side of the canonical frame: the box 0,20,178,198 of an aligned 178x218 CelebA picture, scaled to 160x160."""

EYES = (62.4 + 82.0j, 97.2 + 82.0j)
MOUTH = (64.3 + 118.6j, 95.0 + 118.6j)
"""Mean positions in the canonical frame, from CelebA's landmarks: the eyes, the corners of the mouth."""

VIEW = 64
"""Side of the crops that the network looks at."""

FACE_CENTRE = 80 + 94j
FACE_RADIUS = 60.0
"""The square of the canonical frame that fills a crop when the face is found: less than the frame, all of the face."""

FACE_RADII = (44.0, 56.0)
"""The ellipse of the canonical frame, around the same centre, that a face fills from hair to chin."""

EYE_LIFT, EYE_RADII = 3.0, (22.0, 18.0)
"""The ellipse of the canonical frame, so far above an eye's middle, that holds it with lids and brow."""

HEAD_CENTRE = 80 + 88j
HEAD_RADII = (62.0, 80.0)
"""The ellipse of the canonical frame that a head fills, hair and neck included; in the corners is what is behind."""

ANCHORS = (np.array(EYES + MOUTH) - FACE_CENTRE) / FACE_RADIUS
"""Eyes and corners of the mouth in the face square [-1, 1]^2."""

ROUNDS = 3
"""How often a pose is estimated anew from the crop that the last estimate gives."""

FINALISTS = 8
"""How many of the first crops are followed."""

MIN_SCORE = 0.75
"""Below this there is no face."""

PROMISING = 0.5
"""Where no first crop shows a face more likely than not, it is looked for no longer: of 308 such holes, among 1,790 in
scenes, portraits and faces of CelebA, none was found to lie in one."""

CHECKS = 2
"""How often it is looked at anew from each askew view of the pose that was found."""

_ASKEW = np.array(
    [
        (scale * np.exp(1j * np.deg2rad(angle)), 0.3 * np.exp(1j * direction))
        for direction in np.arange(4) * np.pi / 2
        for scale, angle in ((1.0, 0.0), (1.3, 15.0), (0.75, -15.0))
    ]
)  # turns and shifts of the face square [-1, 1]^2
_AGREEING = 10.0  # pixels of the canonical frame between two estimates of the same face

Complex = npt.NDArray[np.complex128]
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class FacePose:
    """A face in a picture.

    turn, shift: z_picture = turn * z_canonical + shift, in pixels; |turn| is the
    number of picture pixels per pixel of the canonical frame.
    score: share in [0, 1] of the views of it that find it in this pose, weighted by their certainty.
    """

    turn: complex
    shift: complex
    score: float

    def away_from(self, other: "FacePose") -> float:
        """Mean distance between eyes and mouths, in pixels of the canonical frame."""
        anchors = np.array(EYES + MOUTH)
        apart = (self.turn - other.turn) * anchors + self.shift - other.shift
        return float(np.abs(apart).mean() / abs(other.turn))


FindFaces = Callable[[Picture, npt.NDArray[np.bool_], Sequence[Box]], list[FacePose | None]]
"""`align` with its network."""


class AlignmentNetwork(nn.Module):
    """A crop in, pose and face-or-not out. About 430,000 parameters.

    `mean_pixel`, (3,) RGB in [0, 1], is what a hole is filled with.
    """

    mean_pixel: Tensor

    def __init__(self) -> None:
        super().__init__()
        widths = ((24, 2), (48, 2), (64, 1), (96, 2), (96, 1), (96, 2))  # channels, stride
        layers: list[nn.Module] = []
        channels = 4
        for width, stride in widths:
            layers += [
                nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            channels = width
        self.features = nn.Sequential(*layers)
        side = VIEW // 16
        self.head = nn.Sequential(nn.Linear(channels * side * side, 96), nn.ReLU(inplace=True), nn.Linear(96, 5))
        self.register_buffer("mean_pixel", torch.full((3,), 0.5))

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Look at a batch of crops.

        crops: (B, 4, VIEW, VIEW) float in [0, 1]: RGB with the hole filled by `mean_pixel`, then the mask, 1 = hole.
        Returns the poses (B, 4) as real and imaginary parts of turn and shift, which take the face square
        [-1, 1]^2 to the crop [-1, 1]^2; and the logits (B,) that there is a face, both float32 whatever the features
        are computed in.
        """
        precision = next(self.features.parameters()).dtype
        out: Tensor = self.head(self.features((crops - 0.5).to(precision)).flatten(1).float())
        upright = out.new_tensor([1.0, 0.0, 0.0, 0.0])
        return out[:, :4] + upright, out[:, 4]


def align(
    image: Picture, mask: npt.NDArray[np.bool_], boxes: Sequence[Box], network: AlignmentNetwork
) -> list[FacePose | None]:
    """For each box, a group of holes, the face that it belongs to; None where there is none.

    image: (H, W, 3) uint8. mask: (H, W) bool, True = hole; what the image holds there is not seen.
    A face belongs to a box when the middle of the box lies on its head.
    """
    pyramid = _Pyramid(image, mask, network.mean_pixel)
    return [_align(pyramid, box, network) for box in boxes]


def _align(pyramid: "_Pyramid", box: Box, network: AlignmentNetwork) -> FacePose | None:
    middle = complex(box.left + box.right, box.top + box.bottom) / 2
    turns, shifts = _crops_around(box, pyramid.width, pyramid.height)
    turns, shifts, scores = _look(pyramid, turns, shifts, network)
    scores = np.where(_is_in_frame(middle, turns, shifts), scores, 0.0)
    if scores.max() < PROMISING:
        return None
    best = np.argsort(-scores, kind="stable")[:FINALISTS]
    turns, shifts = turns[best], shifts[best]
    for _ in range(ROUNDS):
        turns, shifts, scores = _look(pyramid, turns, shifts, network)
    scores = np.where(_is_in_frame(middle, turns, shifts), scores, 0.0)
    winner = int(np.argmax(_votes(turns, shifts, scores).sum(axis=1)))
    # Seen askew from all sides, a face is found where it was; what only looks like one is found elsewhere.
    turns, shifts = turns[winner] * _ASKEW[:, 0], shifts[winner] + turns[winner] * _ASKEW[:, 1]
    for _ in range(CHECKS):
        turns, shifts, scores = _look(pyramid, turns, shifts, network)
    scores = np.where(_is_in_frame(middle, turns, shifts), scores, 0.0)
    votes = _votes(turns, shifts, scores)
    best_votes = votes[int(np.argmax(votes.sum(axis=1)))]
    score = float(best_votes.mean())
    if score < MIN_SCORE:
        return None
    weights = best_votes / best_votes.sum()
    turn = complex(weights @ turns) / FACE_RADIUS
    shift = complex(weights @ shifts) - turn * FACE_CENTRE
    return FacePose(turn, shift, score) if _is_on_head((middle - shift) / turn) else None


def _votes(turns: Complex, shifts: Complex, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n, n): row i has the scores of those that see the face where i sees it, and 0 for the others."""
    points = turns[:, None] * ANCHORS + shifts[:, None]
    apart = np.abs(points[:, None] - points[None, :]).mean(axis=2) / np.abs(turns)[:, None] * FACE_RADIUS
    return np.where(apart < _AGREEING, scores, 0.0)


def _is_on_head(point: complex) -> bool:
    """Whether a point of the canonical frame is skin or hair rather than what is behind."""
    away = point - HEAD_CENTRE
    return (away.real / HEAD_RADII[0]) ** 2 + (away.imag / HEAD_RADII[1]) ** 2 <= 1


def _is_in_frame(point: complex, turns: Complex, shifts: Complex) -> npt.NDArray[np.bool_]:
    """Whether a point of the picture lies in the canonical frame of each pose of the face square."""
    at = FACE_CENTRE + FACE_RADIUS * (point - shifts) / turns
    return (at.real > 0) & (at.real < FRAME) & (at.imag > 0) & (at.imag < FRAME)


class _Pyramid:
    """A picture with holes at halving sizes, so that a crop at any scale is sampled without aliasing."""

    def __init__(self, image: Picture, mask: npt.NDArray[np.bool_], mean_pixel: Tensor) -> None:
        self._image, self._mask = image, mask
        self._fill = [round(255 * value) for value in mean_pixel.tolist()] + [0]
        self.height, self.width = image.shape[:2]
        self._reduced: list[Picture] = []
        if max(image.shape[:2]) > VIEW and min(image.shape[:2]) > 1:
            level = self._halved_once()
            self._reduced.append(level)
            while max(level.shape[:2]) > VIEW and min(level.shape[:2]) > 1:
                level = _halved(level)
                self._reduced.append(level)

    def crop(self, turn: complex, shift: complex) -> Picture:
        """(VIEW, VIEW, 4) uint8, RGB and 255 where it is known, whose point w in [-1, 1]^2 lies at turn * w + shift.

        Outside the picture nothing is known.
        """
        step = 2 * abs(turn) / VIEW  # picture pixels per pixel of the crop
        halvings = min(int(np.log2(max(step, 1.0))), len(self._reduced))
        if halvings:
            scale = complex(1, 1) / 2**halvings
            return warp(self._reduced[halvings - 1], turn, shift, scale, VIEW, cv2.BORDER_CONSTANT, self._fill)
        reach = 1.5 * abs(turn) + 2  # the square's corners, and the pixels between which they lie
        around = Box(int(shift.imag - reach), int(shift.real - reach), int(shift.imag + reach), int(shift.real + reach))
        near = around.grown(0, (self.height, self.width))
        if near.height <= 0 or near.width <= 0:  # all of it outside
            return np.full((VIEW, VIEW, 4), self._fill, np.uint8)
        corner = complex(near.left, near.top)
        return warp(self._seen(near), turn, shift - corner, complex(1, 1), VIEW, cv2.BORDER_CONSTANT, self._fill)

    def _halved_once(self) -> Picture:
        """The picture at half its size. Only what is near holes is ever held at full size with what it hides removed:
        this is where the time goes for a picture of 12 megapixels."""
        level = np.asarray(cv2.cvtColor(_halved(self._image), cv2.COLOR_RGB2RGBA), np.uint8)
        box = bounding_box(self._mask)
        if box is not None:
            height, width = level.shape[:2]
            top, left = box.top // 2, box.left // 2
            bottom, right = min(height, -(-box.bottom // 2)), min(width, -(-box.right // 2))
            if top < bottom and left < right:
                level[top:bottom, left:right] = _halved(self._seen(Box(2 * top, 2 * left, 2 * bottom, 2 * right)))
        return level

    def _seen(self, box: Box) -> Picture:
        """A part of the picture, RGB and 255 where it is known, the holes filled."""
        part = np.asarray(cv2.cvtColor(self._image[box.slices], cv2.COLOR_RGB2RGBA), np.uint8)
        # All four bytes of a pixel as one number: fifteen times as fast.
        part.view(np.uint32)[..., 0][self._mask[box.slices]] = np.array(self._fill, np.uint8).view(np.uint32)
        return part


def _halved(picture: Picture) -> Picture:
    """At half the size; each pixel is the mean of four, an odd last row or column is left out."""
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    return reduce(picture[: 2 * height, : 2 * width], width, height)


def reduce(picture: Picture, width: int, height: int) -> Picture:
    """`picture` at a smaller size; each pixel is the mean of those it covers."""
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def warp(
    picture: Picture,
    turn: complex,
    shift: complex,
    scale: complex,
    side: int,
    border: int,
    fill: Any = 0,
) -> Picture:
    """Sample a square whose point w in [-1, 1]^2 lies at z = turn * w + shift of `picture`.

    scale: how many of its pixels `picture` has along x (real part) and y (imaginary part) per unit of z.
    """
    half = side / 2
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]]) / half
    offset = np.array([shift.real, shift.imag]) - linear @ [half - 0.5, half - 0.5]
    per_axis = np.array([scale.real, scale.imag])
    matrix = np.column_stack([linear * per_axis[:, None], offset * per_axis - 0.5])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(picture, matrix, (side, side), flags=flags, borderMode=border, borderValue=fill), np.uint8
    )


def _crops_around(box: Box, width: int, height: int) -> tuple[Complex, Complex]:
    """Square crops of many sizes, nine positions each, that see the box; turns (radii) and shifts (centres)."""
    largest = max(width, height)
    smallest = min(max(box.width, box.height, 32), largest)
    crops: set[tuple[float, complex]] = set()
    for side in np.geomspace(largest, smallest, 1 + round(np.log(largest / smallest) / np.log(1.6))):
        for dy in (-0.3, 0.0, 0.3):
            for dx in (-0.3, 0.0, 0.3):
                x = _keep_inside((box.left + box.right) / 2 + dx * side, side, width)
                y = _keep_inside((box.top + box.bottom) / 2 + dy * side, side, height)
                crops.add((side / 2, complex(x, y)))
    ordered = sorted(crops, key=lambda crop: (-crop[0], crop[1].imag, crop[1].real))
    return np.array([radius for radius, _ in ordered], complex), np.array([centre for _, centre in ordered])


def _keep_inside(centre: float, side: float, length: float) -> float:
    """`centre` moved so that a crop of `side` stays within `length`, or in the middle when it cannot."""
    return float(min(max(centre, side / 2), length - side / 2)) if side <= length else length / 2


@torch.inference_mode()
def _look(
    pyramid: _Pyramid, turns: Complex, shifts: Complex, network: AlignmentNetwork
) -> tuple[Complex, Complex, npt.NDArray[np.float64]]:
    """Where the network sees the face square in each crop, in pixels of the picture, and the probability of a face."""
    crops = np.stack([pyramid.crop(turn, shift) for turn, shift in zip(turns, shifts, strict=True)])
    crops[..., 3] = 255 - crops[..., 3]  # from known to hole
    pose, logits = network(torch.from_numpy(crops).permute(0, 3, 1, 2).float().div(255))
    pose = pose.double().numpy()
    turn, shift = pose[:, 0] + 1j * pose[:, 1], pose[:, 2] + 1j * pose[:, 3]
    return turns * turn, turns * shift + shifts, logits.double().sigmoid().numpy()
