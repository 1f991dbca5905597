"""Moved faces: random similarity warps, so that a network does not learn that eyes are always where CelebA has them.

Upsampling is bounded: a face that is enlarged beyond its own pixels would teach the network to draw blur.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class MoveRange:
    """How far a picture may be moved."""

    scale: tuple[float, float] = (0.7, 1.8)
    """Smallest and largest magnification about the centre, drawn evenly on a logarithmic scale."""
    shift: float = 0.2
    """Most shift along each axis, as a share of the side."""
    degrees: float = 20.0
    """Most rotation either way."""


def generator(seed: int, rank: int, step: int) -> np.random.Generator:
    """The generator of all chance in one batch: a function of where the run is, so nothing needs saving."""
    return np.random.default_rng((seed, rank, step))


def move(rng: np.random.Generator, picture: Pixels, size: int, limits: MoveRange) -> Pixels:
    """`picture` (S, S, 3) scaled, turned and shifted, borders reflected, at (size, size, 3)."""
    side = picture.shape[0]
    low, high = limits.scale
    high = max(low, min(high, 1.25 * side / size))
    scale = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    angle = float(rng.uniform(-limits.degrees, limits.degrees))
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), angle, scale)
    matrix[:, 2] += rng.uniform(-limits.shift, limits.shift, 2) * side
    moved = cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return resize(moved.astype(np.uint8, copy=False), size)


def mirror(rng: np.random.Generator, picture: Pixels) -> Pixels:
    """`picture` or, as often, its mirror image."""
    return picture[:, ::-1] if rng.random() < 0.5 else picture


def resize(picture: Pixels, size: int) -> Pixels:
    """`picture` (S, S, 3) at (size, size, 3): each pixel the mean of those it covers when smaller."""
    if picture.shape[0] == size:
        return picture
    smaller = picture.shape[0] > size
    resized = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return resized.astype(np.uint8, copy=False)
