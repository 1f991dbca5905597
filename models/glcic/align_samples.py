"""Made pictures from which `align.py` learns: faces in known poses over scenes, and things that are no faces.

An aligned face is shown under a random similarity, with holes, over a piece of a
scene. The edge of the aligned picture must not betray its pose, so the part of it
that shows is cut out by a random window, or goes on as its own reflection. Faces
are made longer and shorter, as CelebA's are stars' and people's are not: with its
mouth hidden a long face was seen as a near one.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from models.glcic.align import ANCHORS, EYES, FACE_CENTRE, FACE_RADIUS, FRAME, VIEW, Picture, reduce, warp

SIDE = 96
"""Side of the faces and scenes that samples are made of."""

Pictures = npt.NDArray[np.uint8]
"""(N, SIDE, SIDE, 3) RGB."""


Kind = Literal["face", "scene", "shapes", "wrong pose", "scrambled"]

_LONGER, _LENGTHS = 0.02, 0.07  # mean and spread of the logarithm of how much longer a face is made

SHARES: dict[Kind, float] = {"face": 0.58, "scene": 0.16, "shapes": 0.08, "wrong pose": 0.11, "scrambled": 0.07}


@dataclass(frozen=True)
class Sample:
    """One made picture. `turn` and `shift` take the face square [-1, 1]^2 to the picture [-1, 1]^2."""

    picture: Picture
    """(size, size, 3) RGB."""
    mask: Picture
    """(size, size), 255 = hole."""
    turn: complex
    shift: complex
    kind: Kind

    @property
    def is_face(self) -> bool:
        """Whether the network should say so."""
        return self.kind == "face"


def make_sample(chance: Generator, faces: Pictures, scenes: Pictures, size: int = VIEW) -> Sample:
    """A face, or something else, in a random pose over a random scene, with holes."""
    kind = list(SHARES)[chance.choice(len(SHARES), p=list(SHARES.values()))]
    longer = 1.0
    front = faces[chance.integers(len(faces))]
    if chance.random() < 0.5:
        front = front[:, ::-1]
    if kind == "scrambled":
        front = _scramble(chance, front)
    elif kind == "shapes":
        front = _draw_shapes(chance, front)
    elif kind == "face":
        longer = float(np.exp(chance.normal(_LONGER, _LENGTHS)))
        front = _stretched(front, longer)
    elif kind == "scene":
        scene = np.rot90(scenes[chance.integers(len(scenes))], int(chance.integers(4)))
        front = _coloured_as(front, scene) if chance.random() < 0.5 else scene
    turn, shift = _wrong_pose(chance) if kind == "wrong pose" else _pose(chance)
    picture = _place(chance, front, turn, shift, scenes[chance.integers(len(scenes))], size)
    own_turn, own_shift = pose_of_longer(longer)
    turn, shift = turn * own_turn, turn * own_shift + shift
    return Sample(_disturb(chance, picture), _holes(chance, turn, shift, size), turn, shift, kind)


def pose_of_longer(longer: float) -> tuple[complex, complex]:
    """Turn and shift that bring the anchors nearest to those of a face so many times as long below and above its eyes,
    both in the face square: how CelebA would have aligned it, by eyes, nose and mouth."""
    eyes = (EYES[0].imag - FACE_CENTRE.imag) / FACE_RADIUS
    wanted = ANCHORS.real + 1j * (eyes + longer * (ANCHORS.imag - eyes))
    middle, wanted_middle = ANCHORS.mean(), wanted.mean()
    around = ANCHORS - middle
    turn = complex(np.vdot(around, wanted - wanted_middle) / np.vdot(around, around))
    return turn, complex(wanted_middle - turn * middle)


def _stretched(face: Picture, longer: float) -> Picture:
    """`face`, aligned, so many times as long below and above its eyes."""
    eyes = EYES[0].imag * SIDE / FRAME - 0.5
    matrix = np.array([[1, 0, 0], [0, longer, eyes * (1 - longer)]])
    return np.asarray(cv2.warpAffine(face, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def _pose(chance: Generator) -> tuple[complex, complex]:
    """Half of them anywhere, for the search; half of them near the right place, for the refinement."""
    if chance.random() < 0.5:
        scale, angle = np.exp(chance.uniform(np.log(0.28), np.log(1.7))), chance.uniform(-35, 35)
        shift = complex(*chance.uniform(-0.65, 0.65, 2))
    else:
        scale, angle = np.exp(chance.normal(0, 0.15)), chance.normal(0, 8)
        shift = complex(*chance.normal(0, 0.12, 2))
    return complex(scale * np.exp(1j * np.deg2rad(angle))), shift


def _wrong_pose(chance: Generator) -> tuple[complex, complex]:
    """A face that must not count as one: out of the crop, much too near, or far from upright."""
    turn, shift = _pose(chance)
    match chance.integers(3):
        case 0:
            shift = complex(chance.uniform(1.15, 1.6) * np.exp(2j * np.pi * chance.random()))
        case 1:
            turn *= chance.uniform(3.5, 6) / abs(turn)
        case _:
            turn *= complex(np.exp(1j * np.deg2rad(chance.uniform(100, 260))))
    return turn, shift


def _scramble(chance: Generator, picture: Picture) -> Picture:
    """The picture's blocks in another order."""
    side = SIDE // int(chance.choice([3, 4]))
    blocks = [picture[y : y + side, x : x + side] for y in range(0, SIDE, side) for x in range(0, SIDE, side)]
    order, per_row = chance.permutation(len(blocks)), SIDE // side
    return np.vstack(
        [np.hstack([blocks[i] for i in order[row : row + per_row]]) for row in range(0, len(order), per_row)]
    )


def _coloured_as(model: Picture, picture: Picture) -> Picture:
    """`picture` in the colours of `model`, so that skin's colours alone make no face."""
    own, wanted = picture.astype(np.float32), model.astype(np.float32)
    spread = wanted.std(axis=(0, 1)) / (own.std(axis=(0, 1)) + 1)
    return np.asarray(np.clip((own - own.mean(axis=(0, 1))) * spread + wanted.mean(axis=(0, 1)), 0, 255), np.uint8)


def _draw_shapes(chance: Generator, model: Picture) -> Picture:
    """Discs, stripes and folds in the colours of `model`, as clothes and things have them."""
    colours = model.reshape(-1, 3)

    def colour() -> list[int]:
        return [int(value) for value in colours[chance.integers(len(colours))]]

    out = np.empty_like(model)
    out[:] = colour()
    for _ in range(chance.integers(2, 14)):
        x, y = (int(value) for value in chance.integers(-10, SIDE + 10, 2))
        w, h = (int(value) for value in chance.integers(2, SIDE // 2, 2))
        match chance.integers(4):
            case 0:
                cv2.ellipse(out, (x, y), (w, h), float(chance.uniform(0, 180)), 0, 360, colour(), -1, cv2.LINE_AA)
            case 1:
                cv2.circle(out, (x, y), 2 + w // 8, colour(), -1, cv2.LINE_AA)
            case 2:
                cv2.line(out, (x, y), tuple(chance.integers(0, SIDE, 2).tolist()), colour(), 1 + h // 4, cv2.LINE_AA)
            case _:
                corners = chance.integers(-10, SIDE + 10, (int(chance.integers(3, 6)), 2)).astype(np.int32)
                cv2.fillPoly(out, [corners], colour(), cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(out, (0, 0), chance.uniform(0.3, 4)), np.uint8)


def _place(chance: Generator, front: Picture, turn: complex, shift: complex, scene: Picture, size: int) -> Picture:
    """`front` in its pose; what lies beyond its edge is its own reflection, or the scene behind a random window."""
    scale = SIDE / FRAME
    to_front = FACE_RADIUS / turn  # points of the crop to points of the canonical frame
    origin = FACE_CENTRE - to_front * shift
    if abs(turn) > 0.7 and chance.random() < 0.5:
        left, top, right, bottom = chance.integers(0, SIDE // 9, 4)
        front = front[top : SIDE - bottom, left : SIDE - right]
        origin -= complex(left, top) / scale
        return _sample(front, to_front, origin, scale, size)
    back = _background(chance, scene, size)
    points = np.arange(size) * (2 / size) - 1 + 1 / size
    grid = to_front * (points[None, :] + 1j * points[:, None]) + origin
    window = (grid - complex(chance.normal(80, 5), chance.normal(86, 5))) * np.exp(1j * chance.uniform(-0.5, 0.5))
    power, softness = chance.uniform(1.8, 5), chance.uniform(0.02, 0.35)
    across, down = window.real / chance.uniform(52, 80), window.imag / chance.uniform(55, 80)
    radius = (np.abs(across) ** power + np.abs(down) ** power) ** (1 / power)
    alpha = np.clip((1 - radius) / softness, 0, 1)
    alpha[(grid.real < 0) | (grid.real > FRAME) | (grid.imag < 0) | (grid.imag > FRAME)] = 0
    front = _sample(front, to_front, origin, scale, size)
    return np.asarray(back + alpha[..., None] * (front.astype(np.float32) - back), np.uint8)


def _sample(picture: Picture, turn: complex, shift: complex, scale: float, size: int) -> Picture:
    """As `warp`, from a picture halved first until a pixel of the crop is less than two of its own."""
    original = picture.shape
    while 2 * abs(turn) * scale / size * picture.shape[0] / original[0] >= 2:
        picture = reduce(picture, picture.shape[1] // 2, picture.shape[0] // 2)
    per_axis = scale * complex(picture.shape[1] / original[1], picture.shape[0] / original[0])
    return warp(np.ascontiguousarray(picture), turn, shift, per_axis, size, cv2.BORDER_REFLECT_101)


def _background(chance: Generator, scene: Picture, size: int) -> Picture:
    """A piece of a scene: as it is, or smoothed until it could be a wall or a sky."""
    side = int(chance.integers(SIDE // 4, SIDE + 1))
    left, top = chance.integers(0, SIDE - side + 1, 2)
    piece = scene[top : top + side, left : left + side]
    if chance.random() < 0.35:
        few = int(chance.integers(1, 5))
        piece = reduce(piece, few, few)
    return np.asarray(cv2.resize(piece, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)


def _disturb(chance: Generator, picture: Picture) -> Picture:
    """Other light, other colours, blur and noise."""
    if chance.random() < 0.25:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), chance.uniform(0.3, 1.2) * picture.shape[0] / VIEW))
    out = picture.astype(np.float32)
    if chance.random() < 0.1:
        out[:] = out.mean(axis=2, keepdims=True)
    gain = np.exp(chance.normal(0, 0.25)) * np.exp(chance.normal(0, 0.08, 3))
    out = (out - 128) * gain + chance.normal(128, 25)
    out += chance.normal(0, chance.uniform(0, 6), out.shape)
    return np.asarray(np.clip(out, 0, 255), np.uint8)


def _holes(chance: Generator, turn: complex, shift: complex, size: int) -> Picture:
    """Boxes, strokes, parts of the face, and bands along the border as where a picture ends."""
    fine = 2 * size
    mask = np.zeros((fine, fine), np.uint8)

    def box(centre: complex, half: complex) -> None:
        x, y = fine * (centre.real + 1) / 2, fine * (centre.imag + 1) / 2
        w, h = fine * half.real / 2, fine * half.imag / 2
        draw = chance.random()
        if draw < 0.7:
            cv2.rectangle(mask, (round(x - w), round(y - h)), (round(x + w), round(y + h)), 255, -1)
        else:
            cv2.ellipse(mask, (round(x), round(y)), (max(1, round(w)), max(1, round(h))), 0, 0, 360, 255, -1)

    kind = chance.choice(["none", "box", "part", "middle", "strokes"], p=[0.15, 0.2, 0.25, 0.25, 0.15])
    reach = abs(turn)
    if kind == "box":
        box(complex(*chance.uniform(-0.9, 0.9, 2)), complex(*chance.uniform(0.1, 0.65, 2)))
    elif kind == "part":
        spots = [*ANCHORS, ANCHORS[:2].mean(), ANCHORS[2:].mean(), ANCHORS.mean()]
        for _ in range(chance.integers(1, 3)):
            spot = spots[chance.integers(len(spots))] + complex(*chance.normal(0, 0.08, 2))
            box(turn * spot + shift, reach * complex(*chance.uniform(0.15, 0.6, 2)))
    elif kind == "middle":  # eyes, nose and mouth at once: the pose has to be read from hair, ears and chin
        spot = ANCHORS.mean() + complex(*chance.normal(0, 0.1, 2))
        box(turn * spot + shift, reach * complex(*chance.uniform(0.45, 0.8, 2)))
    elif kind == "strokes":
        for _ in range(chance.integers(1, 5)):
            point = turn * complex(*chance.uniform(-1, 1, 2)) + shift
            points, heading = [point], chance.uniform(0, 2 * np.pi)
            for _ in range(chance.integers(1, 5)):
                heading += chance.normal(0, 0.7)
                point += reach * chance.uniform(0.15, 0.6) * np.exp(1j * heading)
                points.append(point)
            line = (
                np.array([[fine * (p.real + 1) / 2, fine * (p.imag + 1) / 2] for p in points]).round().astype(np.int32)
            )
            cv2.polylines(mask, [line], False, 255, max(1, round(fine / 2 * reach * chance.uniform(0.06, 0.25))))
    if chance.random() < 0.25:
        for _ in range(chance.integers(1, 3)):
            depth = int(fine * chance.uniform(0.02, 0.3))
            np.rot90(mask, int(chance.integers(4)))[:depth] = 255
    return reduce(mask, size, size)
