"""Holes to train and to measure on, as boolean masks (True = fill), from a given generator only.

Sizes are shares of the picture's side, so that a hole means the same at 64 and
at 256 pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from models.training.options import HoleKind

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class HoleShape:
    """The protocol's sizes as shares of the side. The default is the course's: 48 to 96 in a 96 patch, of 160."""

    patch: float = 0.6
    smallest: float = 0.3
    largest: float = 0.6

    def pixels(self, size: int) -> tuple[int, int, int]:
        """Patch, smallest and largest side of the box in pixels; the patch is even."""
        patch = max(2, round(size * self.patch / 2) * 2)
        largest = min(patch, max(1, round(size * self.largest)))
        return patch, min(largest, max(1, round(size * self.smallest))), largest


COURSE = HoleShape()
PAPER = HoleShape(patch=128 / 256, smallest=96 / 256, largest=128 / 256)


@dataclass(frozen=True)
class Hole:
    """A mask and the corner of the square patch that the local discriminator looks at."""

    mask: Mask
    """(size, size) bool, True = fill; never empty."""
    top: int
    left: int


def sample_hole(rng: np.random.Generator, size: int, mix: Mapping[HoleKind, float], shape: HoleShape = COURSE) -> Hole:
    """A hole of a kind drawn from `mix` (weights need not add up to 1)."""
    kinds = sorted(mix)
    weights = np.array([mix[kind] for kind in kinds], dtype=float)
    kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
    patch = shape.pixels(size)[0]
    if kind == "patch":
        return patch_hole(rng, size, shape)
    if kind == "scattered":
        top, left = (int(x) for x in rng.integers(0, size - patch + 1, 2))
        return Hole(scattered_hole(rng, size, float(rng.uniform(0.1, 0.9))), top, left)
    mask = box_hole(rng, size) if kind == "box" else stroke_hole(rng, size, float(rng.uniform(0.03, 0.35)))
    return Hole(mask, *_centred_patch(mask, patch))


def patch_hole(rng: np.random.Generator, size: int, shape: HoleShape = COURSE) -> Hole:
    """One box anywhere in a patch anywhere in the picture."""
    patch, smallest, largest = shape.pixels(size)
    top, left = (int(x) for x in rng.integers(0, size - patch + 1, 2))
    height, width = (int(x) for x in rng.integers(smallest, largest + 1, 2))
    y, x = top + int(rng.integers(0, patch - height + 1)), left + int(rng.integers(0, patch - width + 1))
    mask = np.zeros((size, size), dtype=bool)
    mask[y : y + height, x : x + width] = True
    return Hole(mask, top, left)


def box_hole(rng: np.random.Generator, size: int) -> Mask:
    """One to three boxes with sides of 0.1 to 0.45 of the picture's, anywhere, its border included."""
    mask = np.zeros((size, size), dtype=bool)
    for _ in range(int(rng.integers(1, 4))):
        height, width = (max(1, round(size * float(share))) for share in rng.uniform(0.1, 0.45, 2))
        y, x = int(rng.integers(0, size - height + 1)), int(rng.integers(0, size - width + 1))
        mask[y : y + height, x : x + width] = True
    return mask


def stroke_hole(rng: np.random.Generator, size: int, share: float) -> Mask:
    """Brush strokes, wandering, until at least `share` of the picture (at most 0.9) is covered."""
    drawn = np.zeros((size, size), dtype=np.uint8)
    while drawn.sum() < min(share, 0.9) * size * size or not drawn.any():
        width = max(1, round(size * float(rng.uniform(0.03, 0.12))))
        x, y = (float(v) for v in rng.uniform(0, size, 2))
        angle = float(rng.uniform(0, 2 * np.pi))
        for _ in range(int(rng.integers(2, 7))):
            length = size * float(rng.uniform(0.05, 0.25))
            angle += float(rng.normal(0, 0.7))
            to_x, to_y = x + length * np.cos(angle), y + length * np.sin(angle)
            cv2.line(drawn, (round(x), round(y)), (round(to_x), round(to_y)), 1, width)
            cv2.circle(drawn, (round(to_x), round(to_y)), width // 2, 1, -1)  # round joints, as a brush leaves
            x, y = to_x, to_y
    return drawn.astype(bool)


def scattered_hole(rng: np.random.Generator, size: int, share: float) -> Mask:
    """Exactly `share` of the pixels (rounded, at least one), each alone: the course calls filling them denoising."""
    mask = np.zeros(size * size, dtype=bool)
    mask[rng.permutation(size * size)[: max(1, round(share * size * size))]] = True
    return mask.reshape(size, size)


def _centred_patch(mask: Mask, patch: int) -> tuple[int, int]:
    """Top and left of the patch centred on the mask's bounding box, moved as little as keeps it in the picture."""
    corner = []
    for axis in (1, 0):
        covered = np.flatnonzero(mask.any(axis=axis))
        middle = (int(covered[0]) + int(covered[-1]) + 1) // 2
        corner.append(min(max(middle - patch // 2, 0), mask.shape[0] - patch))
    return corner[0], corner[1]
