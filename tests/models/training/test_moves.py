"""Moved faces."""

import numpy as np

from models.training.moves import MoveRange, generator, mirror, move, resize
from tests.models.training.pictures import gradient


def test_moves_come_from_seed_rank_and_step_alone() -> None:
    """The same (seed, rank, step) moves a picture the same way; another rank or step moves it another way."""
    picture = gradient(0, 40, 40)
    moved = [move(generator(1, *place), picture, 32, MoveRange()) for place in ((0, 5), (0, 5), (1, 5), (0, 6))]
    np.testing.assert_array_equal(moved[0], moved[1])
    assert (moved[0] != moved[2]).any()
    assert (moved[0] != moved[3]).any()
    assert moved[0].shape == (32, 32, 3)
    assert moved[0].dtype == np.uint8


def test_no_move_is_only_a_resize() -> None:
    """Scale 1, no shift and no rotation leave the picture where it is."""
    picture = gradient(3, 40, 40)
    still = move(generator(0, 0, 0), picture, 20, MoveRange((1.0, 1.0), 0.0, 0.0))
    np.testing.assert_array_equal(still, resize(picture, 20))


def test_faces_are_not_enlarged_into_blur() -> None:
    """However large the wanted magnification, one source pixel never becomes more than 1.25 pixels."""
    checker = np.zeros((64, 64, 3), dtype=np.uint8)
    checker[:, ::8] = 255  # lines 8 apart
    enlarged = move(generator(0, 0, 0), checker, 64, MoveRange((1.25, 9.0), 0.0, 0.0))
    lines = np.flatnonzero(np.diff((enlarged[32, :, 0] > 100).astype(int)) == 1)
    assert np.diff(lines).max() <= 11


def test_mirror_shows_both_sides() -> None:
    """Over many draws a picture and its mirror image come about equally often."""
    picture, rng = gradient(1), generator(0, 0, 0)
    turned = sum(bool((mirror(rng, picture) != picture).any()) for _ in range(200))
    assert 60 < turned < 140
