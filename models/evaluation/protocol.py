"""The holes that completion is measured on: by kind, and the same for every method and every run."""

from collections.abc import Callable
from functools import partial

import numpy as np

from models.training.holes import COURSE, Mask, patch_hole, scattered_hole, stroke_hole

HoleMaker = Callable[[np.random.Generator, int], Mask]


def centre_box(_: np.random.Generator, size: int) -> Mask:
    """A box of half the side, in the middle."""
    mask = np.zeros((size, size), dtype=bool)
    edge = size // 4
    mask[edge : edge + size // 2, edge : edge + size // 2] = True
    return mask


def course_box(rng: np.random.Generator, size: int) -> Mask:
    """One box of 48 to 96 pixels of 160, anywhere."""
    return patch_hole(rng, size, COURSE).mask


def strokes(rng: np.random.Generator, size: int) -> Mask:
    """Brush strokes over 10 to 30 % of the picture."""
    return stroke_hole(rng, size, float(rng.uniform(0.1, 0.3)))


def scattered(share: float, rng: np.random.Generator, size: int) -> Mask:
    """`share` of the pixels, each alone."""
    return scattered_hole(rng, size, share)


HOLES: dict[str, HoleMaker] = {
    "centre box": centre_box,
    "course box": course_box,
    "strokes": strokes,
    "scattered 10 %": partial(scattered, 0.1),
    "scattered 50 %": partial(scattered, 0.5),
    "scattered 90 %": partial(scattered, 0.9),
}
"""By the name that tables show, in their order."""


def hole(kind: str, picture: int, size: int) -> Mask:
    """The hole of `kind` for picture number `picture`: (size, size) bool, a function of these three alone."""
    rng = np.random.default_rng((list(HOLES).index(kind), picture, size))
    return HOLES[kind](rng, size)
