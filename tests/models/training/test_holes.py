"""Holes: within bounds, of the stated share, the same for the same seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.training.holes import (
    COURSE,
    PAPER,
    box_hole,
    patch_hole,
    sample_hole,
    scattered_hole,
    stroke_hole,
)
from models.training.options import HoleKind

sizes = st.integers(4, 64).map(lambda quarter: 4 * quarter)
seeds = st.integers(0, 2**32)


@settings(max_examples=60, deadline=None)
@given(size=sizes, seed=seeds, share=st.floats(0.1, 0.9))
def test_scattered_pixels_are_exactly_the_stated_share(size: int, seed: int, share: float) -> None:
    """As many pixels as the share says, to the pixel."""
    mask = scattered_hole(np.random.default_rng(seed), size, share)
    assert mask.shape == (size, size)
    assert mask.sum() == max(1, round(share * size * size))


@settings(max_examples=60, deadline=None)
@given(size=st.sampled_from([64, 128, 160, 256]), seed=seeds, share=st.floats(0.02, 0.4))
def test_strokes_cover_the_stated_share_and_not_much_more(size: int, seed: int, share: float) -> None:
    """At least the share; beyond it, no more than one stroke can add."""
    covered = stroke_hole(np.random.default_rng(seed), size, share).mean()
    assert share <= covered <= share + 0.25


@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_the_course_protocol_at_160(seed: int) -> None:
    """One box with sides of 48 to 96 inside the patch of 96, and the patch inside the picture of 160."""
    hole = patch_hole(np.random.default_rng(seed), 160, COURSE)
    assert COURSE.pixels(160) == (96, 48, 96)
    rows, columns = np.flatnonzero(hole.mask.any(1)), np.flatnonzero(hole.mask.any(0))
    assert 48 <= len(rows) <= 96
    assert 48 <= len(columns) <= 96
    assert hole.mask.sum() == len(rows) * len(columns)
    assert 0 <= hole.top <= rows[0] <= rows[-1] < hole.top + 96 <= 160
    assert 0 <= hole.left <= columns[0] <= columns[-1] < hole.left + 96 <= 160


def test_the_papers_protocol_at_256() -> None:
    """Holes of 96 to 128 in a patch of 128."""
    assert PAPER.pixels(256) == (128, 96, 128)


@settings(max_examples=60, deadline=None)
@given(size=sizes, seed=seeds, kind=st.sampled_from(["patch", "box", "stroke", "scattered"]))
def test_every_hole_has_something_to_fill_and_a_patch_in_the_picture(size: int, seed: int, kind: HoleKind) -> None:
    """No empty mask, no full one, and the local discriminator's patch never leaves the picture."""
    hole = sample_hole(np.random.default_rng(seed), size, {kind: 1.0})
    patch = COURSE.pixels(size)[0]
    assert hole.mask.dtype == np.bool_
    assert hole.mask.any()
    assert not hole.mask.all()
    assert 0 <= hole.top <= size - patch
    assert 0 <= hole.left <= size - patch


def test_same_seed_same_holes() -> None:
    """The sampler draws from its generator and from nothing else."""
    mix: dict[HoleKind, float] = {"patch": 1, "box": 1, "stroke": 1, "scattered": 1}
    drawn = []
    for _ in range(2):
        rng = np.random.default_rng(5)
        drawn.append([sample_hole(rng, 64, mix) for _ in range(20)])
        np.random.default_rng().random()
    for one, other in zip(*drawn, strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)
        assert (one.top, one.left) == (other.top, other.left)


def test_the_mix_is_kept() -> None:
    """A kind of weight 0 is never drawn; the others come as often as their weights say."""
    rng = np.random.default_rng(0)
    scattered = 0
    for _ in range(300):
        mask = sample_hole(rng, 16, {"patch": 3.0, "scattered": 1.0, "stroke": 0.0}).mask
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        scattered += not mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert scattered == pytest.approx(75, abs=25)


@settings(max_examples=30, deadline=None)
@given(size=sizes, seed=seeds)
def test_boxes_may_touch_the_border_and_stay_inside(size: int, seed: int) -> None:
    """Up to three boxes of at most 0.45 of the side each."""
    assert 0 < box_hole(np.random.default_rng(seed), size).mean() <= 3 * 0.5**2
