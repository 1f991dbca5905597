"""Metrics, against values that are known or that another implementation gives."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from models.evaluation.metrics import (
    completion_figures,
    frechet_distance,
    l1_percent,
    psnr,
    sliced_wasserstein,
    ssim,
)


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (40, 52, 3)).astype(np.uint8)
    noisy = np.clip(picture + rng.normal(0, 30, picture.shape), 0, 255).astype(np.uint8)
    return picture, noisy


def as_tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture.astype(np.float64)).permute(2, 0, 1)[None]


def test_ssim_and_psnr_agree_with_torchmetrics(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """Over the whole picture, to nine digits."""
    first, second = (as_tensor(picture) for picture in pair)
    expected = structural_similarity_index_measure(first, second, data_range=255.0)
    assert ssim(*pair) == pytest.approx(float(expected), abs=1e-9)
    assert psnr(*pair) == pytest.approx(float(peak_signal_noise_ratio(first, second, data_range=255.0)), abs=1e-4)


def test_figures_over_the_hole_see_the_hole_alone() -> None:
    """A hole that is off by 51 everywhere: 20 % L1, 13.98 dB in the hole; by its share less over the picture."""
    truth = np.full((20, 20, 3), 100, np.uint8)
    hole = np.zeros((20, 20), bool)
    hole[5:15, 5:15] = True
    completed = truth.copy()
    completed[hole] += 51
    figures = completion_figures(completed, truth, hole)
    assert figures["hole_l1_percent"] == pytest.approx(20)
    assert figures["hole_psnr_db"] == pytest.approx(10 * np.log10(25))
    assert figures["picture_psnr_db"] == pytest.approx(10 * np.log10(25 * 4))
    assert l1_percent(completed, truth) == pytest.approx(5)
    assert figures["hole_ssim"] < figures["picture_ssim"] < 1


def test_a_perfect_completion_is_perfect() -> None:
    """No difference: L1 0, infinite PSNR, SSIM 1."""
    truth = np.random.default_rng(1).integers(0, 256, (20, 20, 3)).astype(np.uint8)
    hole = np.eye(20, dtype=bool)
    figures = completion_figures(truth, truth, hole)
    assert figures["hole_l1_percent"] == 0
    assert figures["hole_psnr_db"] == float("inf")
    assert figures["hole_ssim"] == pytest.approx(1)
    with pytest.raises(ValueError, match="no hole"):
        completion_figures(truth, truth, np.zeros((20, 20), bool))


def test_frechet_distance_is_that_of_gaussians() -> None:
    """For normal samples it comes near |difference of means|^2 + sum of (difference of deviations)^2."""
    rng = np.random.default_rng(0)
    first = rng.standard_normal((50_000, 3)).astype(np.float32)
    second = (rng.standard_normal((50_000, 3)) * [1, 2, 3] + [1, 0, 2]).astype(np.float32)
    assert frechet_distance(first, second) == pytest.approx(1 + 4 + 0 + 1 + 4, rel=0.02)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)
    few = rng.standard_normal((4, 30)).astype(np.float32)  # fewer samples than dimensions
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-9)


def test_sliced_wasserstein_is_zero_for_equal_sets_and_grows_with_the_difference() -> None:
    """More blur is farther away; grey and coloured sets both work; sets of different size are refused."""
    rng = np.random.default_rng(0)
    real = rng.integers(0, 256, (32, 32, 32, 3)).astype(np.uint8)
    once = ((real.astype(int) + np.roll(real, 1, axis=1)) // 2).astype(np.uint8)
    twice = ((once.astype(int) + np.roll(once, 1, axis=2)) // 2).astype(np.uint8)
    assert sliced_wasserstein(real, real) == 0
    assert 0 < sliced_wasserstein(once, real) < sliced_wasserstein(twice, real)
    assert sliced_wasserstein(once[..., :1], real[..., :1]) > 0
    with pytest.raises(ValueError, match="one shape"):
        sliced_wasserstein(real, real[:5])


def test_sliced_wasserstein_of_two_samples_falls_with_pictures_and_patches() -> None:
    """Of one distribution: what fewer of them give is larger, as the docstring says, so numbers need their floor."""
    one, other = (np.random.default_rng(seed).integers(0, 256, (40, 16, 16, 1)).astype(np.uint8) for seed in (0, 1))
    fewer_pictures = sliced_wasserstein(one[:10], other[:10])
    fewer_patches = sliced_wasserstein(one, other, patches=16)
    assert sliced_wasserstein(one, other) < min(fewer_pictures, fewer_patches)
