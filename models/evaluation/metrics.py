"""How far a completed picture is from the true one, and a set of pictures from another set.

All pictures are uint8, (H, W, 3) or (N, H, W, C). The hole is where mask is True.
"""

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from models.training.errors import DataError

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_WINDOW, _SIGMA = (
    11,
    1.5,
)  # Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity"


class TooFewError(DataError, ValueError):
    """So few pictures have no such distance."""


def l1_percent(picture: Pixels, truth: Pixels, where: Mask | None = None) -> float:
    """Mean absolute difference in percent of the range, over `where` or everywhere."""
    difference = np.abs(picture.astype(np.float64) - truth)
    return _mean(difference, where) / 255 * 100


def psnr(picture: Pixels, truth: Pixels, where: Mask | None = None) -> float:
    """Peak signal to noise ratio in dB, over `where` or everywhere; infinite where nothing differs."""
    error = _mean((picture.astype(np.float64) - truth) ** 2, where)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def ssim(picture: Pixels, truth: Pixels, where: Mask | None = None) -> float:
    """Structural similarity, mean over channels and over the windows whose centre lies in `where`, or over all.

    At the border the picture is continued by its reflection, as torchmetrics does it.
    """
    return _mean(_ssim_map(picture.astype(np.float64), truth.astype(np.float64)), where)


def completion_figures(completed: Pixels, truth: Pixels, hole: Mask) -> dict[str, float]:
    """All of DESIGN's figures for one completed picture, named with their unit."""
    return {
        "hole_l1_percent": l1_percent(completed, truth, hole),
        "hole_psnr_db": psnr(completed, truth, hole),
        "hole_ssim": ssim(completed, truth, hole),
        "picture_psnr_db": psnr(completed, truth),
        "picture_ssim": ssim(completed, truth),
    }


def frechet_distance(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    """Squared Frechet distance between Gaussians fitted to two sets of features (N, D), (M, D).

    The number depends on the feature network and, where N or M is small
    against D, on N and M: compare only within one table, beside its floor.
    """
    mean_a, root_a = _gaussian(first)
    mean_b, root_b = _gaussian(second)
    overlap = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()  # the trace of the root of both covariances
    distance = ((mean_a - mean_b) ** 2).sum() + (root_a**2).sum() + (root_b**2).sum() - 2 * overlap
    return max(0.0, float(distance))


def sliced_wasserstein(first: Pixels, second: Pixels, *, patches: int = 64, projections: int = 128) -> float:
    """Distance between two sets (N, S, S, C) of as many pictures each, times 1000, mean over a Laplacian pyramid.

    Karras et al. 2018, "Progressive Growing of GANs", section 5: 7x7 patches from each level down to 16
    pixels, normalised per channel, compared along random directions. The directions and patches
    are always the same, so equal sets give 0. Two samples of one distribution do not: the fewer
    pictures and patches, the larger the number. Real faces against real ones have 21.3, 13.2 and
    11.1 with 16, 64 and 128 patches of 500 pictures, 29.5 and 10.6 with 64 of 100 and of 1,000;
    32 or 512 directions change it by 0.5 at most. They take 16,384 pictures, 128 patches and 512
    directions: compare only with as many of each, beside what real pictures get.
    """
    if first.shape != second.shape:
        raise ValueError(f"The sets must have one shape; these have {first.shape} and {second.shape}.")
    distances = []
    for level_a, level_b in zip(_laplacian(first), _laplacian(second), strict=True):
        rng = np.random.default_rng(0)
        side, channels = level_a.shape[1], level_a.shape[3]
        corners = rng.integers(0, side - 7 + 1, (len(level_a), patches, 2))
        directions = rng.standard_normal((7 * 7 * channels, projections)).astype(np.float32)
        directions /= np.linalg.norm(directions, axis=0)
        sorted_a = np.sort(_patches(level_a, corners) @ directions, axis=0)
        sorted_b = np.sort(_patches(level_b, corners) @ directions, axis=0)
        distances.append(float(np.abs(sorted_a - sorted_b).mean()))
    return float(np.mean(distances)) * 1000


def _mean(values: Floats, where: Mask | None) -> float:
    if where is None:
        return float(values.mean())
    if not where.any():
        raise ValueError("There is no hole to measure over.")
    return float(values[where].mean())


def _blur(values: Floats) -> Floats:
    blurred = cv2.GaussianBlur(values, (_WINDOW, _WINDOW), _SIGMA, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred, dtype=np.float64)


def _ssim_map(x: Floats, y: Floats) -> Floats:
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    similar = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return np.asarray(similar / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)))


def _gaussian(features: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Mean, and a matrix R of D columns and as few rows as can be, so that R^T R is the covariance."""
    if len(features) < 2:
        raise TooFewError("A Frechet distance needs two pictures or more on each side: measure on more.")
    mean = features.mean(axis=0, dtype=np.float64)
    centred = (features - mean) / np.sqrt(len(features) - 1)
    root = np.linalg.qr(centred, mode="r") if len(centred) > centred.shape[1] else centred
    return mean, np.asarray(root, dtype=np.float64)


def _laplacian(pictures: Pixels) -> Iterator[npt.NDArray[np.float32]]:
    """Band-pass levels (N, s, s, C) from full size down to the first that halving would bring below 16."""
    level = pictures.astype(np.float32)
    while level.shape[1] >= 32:
        smaller = _each(cv2.pyrDown, level)
        yield level - _each(cv2.pyrUp, smaller)
        level = smaller
    yield level


def _each(change: Callable[[Any], Any], level: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    changed = [change(picture) for picture in level]
    return np.stack([picture if picture.ndim == 3 else picture[..., None] for picture in changed])


def _patches(level: npt.NDArray[np.float32], corners: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """(N * patches, 7 * 7 * C), each channel with mean 0 and deviation 1 over all of them."""
    windows = np.lib.stride_tricks.sliding_window_view(level, (7, 7), axis=(1, 2))  # (N, s-6, s-6, C, 7, 7)
    rows = np.arange(len(level))[:, None]
    taken = windows[rows, corners[..., 0], corners[..., 1]].reshape(-1, level.shape[3], 49)
    mean, deviation = taken.mean(axis=(0, 2), keepdims=True), taken.std(axis=(0, 2), keepdims=True)
    return np.asarray((taken - mean) / np.maximum(deviation, 1e-8), dtype=np.float32).reshape(len(taken), -1)
