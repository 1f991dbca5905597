"""Faces as CelebA shows few and people's photographs many: turned to a side, longer or wider, lit otherwise, sharper.

CelebA's are stars', who look into the camera and its flash. What a network trained against discriminators makes of
others is crumbs along lips and jaws.
"""

import math

import cv2
import numpy as np
import numpy.typing as npt

from models.glcic.align import FACE_CENTRE, FRAME
from models.training.moves import MoveRange

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_HEAD, _HEAD_CENTRE = (48.0, 66.0, 42.0), 80 + 95j  # an ellipsoid in the canonical frame: half its axes, its middle
_NOSE_TO_AXIS = 0.93  # of the depth: eyes and mouth turn so far from the axis, and are moved back by it
_TURNS, _MOST_DEGREES = 0.6, 28.0  # share of the faces that are turned, and how far
_LENGTHS = 0.06  # standard deviation of the logarithm of how much longer a face is made
_GAMMAS, _CONTRASTS, _COLOURS, _SLOPES = 0.2, 0.12, 0.05, 0.25  # likewise of what light does
_SOFTNESS = (0.3, 1.0)  # standard deviation of a blur, in pixels of the canonical frame
_SETTLED = 8  # rounds in which a point of the turned face finds where it came from


def posed(chance: np.random.Generator, face: Pixels, limits: MoveRange) -> Pixels:
    """`face`, aligned, (S, S, 3), turned to a side or not, longer or wider, and moved within `limits`: sampled once."""
    side = face.shape[0]
    scale = float(np.exp(chance.uniform(*np.log(limits.scale))))
    angle = math.radians(chance.uniform(-limits.degrees, limits.degrees))
    longer = float(np.exp(chance.normal(0, _LENGTHS)))
    shift = complex(*chance.uniform(-limits.shift, limits.shift, 2)) * FRAME
    degrees = float(chance.uniform(-_MOST_DEGREES, _MOST_DEGREES)) if chance.random() < _TURNS else 0.0
    across = (np.arange(side, dtype=np.float32) + 0.5) * (FRAME / side)
    off = (across - shift.real - FACE_CENTRE.real)[None], (across - shift.imag - FACE_CENTRE.imag)[:, None]
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    x = np.float32(FACE_CENTRE.real) + (cos * off[0] + sin * off[1]) * np.float32(math.sqrt(longer))
    y = np.float32(FACE_CENTRE.imag) + (cos * off[1] - sin * off[0]) / np.float32(math.sqrt(longer))
    columns, rows = (
        (each * np.float32(side / FRAME) - np.float32(0.5)).astype(np.float32, copy=False)
        for each in (_before_turning(x, y, degrees), y)
    )
    turned = cv2.remap(np.ascontiguousarray(face), columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(turned, np.uint8)


def _before_turning(x: Floats, y: Floats, degrees: float) -> Floats:
    """Where across an upright face lies what is at x and y of it, once its head is turned by `degrees`; eyes and mouth
    stay in the middle."""
    sin, cos = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    width, height, depth = _HEAD
    inside = 1 - ((y - _HEAD_CENTRE.imag) / height) ** 2
    goal = x + depth * _NOSE_TO_AXIS * sin - _HEAD_CENTRE.real
    before = goal
    for _ in range(_SETTLED if degrees else 0):
        raised = depth * np.clip(inside - (before / width) ** 2, 0, None)
        before = (before + (goal - raised * sin) / cos) / 2
    return np.asarray(before + _HEAD_CENTRE.real, np.float32)


def lit(chance: np.random.Generator, face: Pixels) -> Pixels:
    """`face` (S, S, 3) in other light: darker or brighter, in another colour, from a side."""
    side = face.shape[0]
    gamma, contrast = np.exp(chance.normal(0, (_GAMMAS, _CONTRASTS)))
    colours = np.exp(chance.normal(0, _COLOURS, 3)).astype(np.float32)
    slope = chance.normal(0, _SLOPES, 2).astype(np.float32)
    ramp = np.linspace(-1, 1, side, dtype=np.float32)
    light = np.exp(slope[0] * ramp[None] + slope[1] * ramp[:, None])[..., None] * colours
    table = (np.arange(256, dtype=np.float32) / 255) ** np.float32(gamma)
    table = table.mean() + (table - table.mean()) * np.float32(contrast)
    return np.asarray(np.rint(np.clip(table[face] * light, 0, 1) * 255), np.uint8)


def softened(chance: np.random.Generator, face: Pixels) -> Pixels:
    """`face` (S, S, 3) as soft as any that is shown in service."""
    spread = float(chance.uniform(*_SOFTNESS)) * face.shape[0] / FRAME
    return np.asarray(cv2.GaussianBlur(face, (0, 0), spread), np.uint8)
