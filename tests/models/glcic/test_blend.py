"""Blending joins colours at the hole's edge, keeps what is outside, and reads nothing that it should not."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.glcic.blend import (
    Blend,
    add_detail,
    blend,
    calm,
    grain_around,
    lean_on_neighbours,
    membrane,
    redden,
    settle_colours,
)
from models.glcic.geometry import Canvas, Mask

BLENDS: tuple[Blend, ...] = get_args(Blend)


def even(value: float, side: int = 64) -> Canvas:
    return np.full((side, side, 3), value, np.float32)


def box(side: int = 64, first: int = 20, last: int = 44) -> Mask:
    mask = np.zeros((side, side), bool)
    mask[first:last, first:last] = True
    return mask


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.integers(1, 50),
    st.integers(1, 50),
    st.integers(0, 100),
    st.sampled_from([*BLENDS, "edge", "calm", "lean"]),
    st.integers(0, 2**32),
)
def test_outside_is_kept_and_nothing_forbidden_is_read(
    height: int, width: int, percent: int, how: str, seed: int
) -> None:
    """Whatever the hole: pixels outside stay, those inside are numbers in [0, 1], though the hole held none."""
    random = np.random.default_rng(seed)
    hole = random.random((height, width)) < percent / 100
    known = random.random((height, width, 3), np.float32)
    completed = random.random((height, width, 3), np.float32)
    known[hole] = np.nan
    if how == "edge":
        joined = add_detail(known, hole, completed, 3, grain_around(known, hole, completed, 3))
    else:
        completed[~hole] = np.nan
        others = {"calm": calm, "lean": lean_on_neighbours}
        joined = others[how](known, hole, completed) if how in others else blend(known, hole, completed, how)
    assert joined.dtype == np.float32
    assert np.array_equal(joined[~hole], known[~hole])
    assert ((joined[hole] >= 0) & (joined[hole] <= 1)).all()


def test_none_is_the_network_s_picture() -> None:
    """Blend `none` puts the completed pixels into the hole as they are."""
    assert (blend(even(0.4), box(), even(0.5), "none")[box()] == 0.5).all()


def test_poisson_takes_over_the_colour_and_keeps_the_detail() -> None:
    """With a constant difference of colour, Poisson blending leaves the detail alone on the surroundings' colour."""
    detail = np.random.default_rng(0).normal(0, 0.02, (64, 64, 1)).astype(np.float32)
    joined = blend(even(0.4), box(), even(0.6) + detail, "poisson")
    np.testing.assert_allclose(joined[box()], (even(0.4) + detail)[box()], atol=0.02)


def test_feather_meets_the_edge_and_leaves_the_middle() -> None:
    """Feathering takes the surroundings' colour at the edge and the network's in the middle."""
    joined = blend(even(0.4, 128), box(128, 20, 108), even(0.6, 128), "feather")
    assert joined[20, 64, 0] == pytest.approx(0.4, abs=0.01)
    assert joined[64, 64, 0] == pytest.approx(0.6, abs=0.01)
    assert np.abs(np.diff(joined[:, 64, 0])).max() < 0.02


def test_hair_that_meets_the_hole_is_not_carried_into_the_face() -> None:
    """Where none was drawn: skin that was drawn a little too dark is made up for as elsewhere along the edge."""
    known = even(0.6)
    known[30:34, :20] = 0.1
    joined = blend(known, box(), even(0.55), "feather")
    beside = joined[30:34, 22, 0]
    assert np.abs(beside - joined[40, 22, 0]).max() < 0.01
    assert beside.min() > 0.57


@pytest.mark.parametrize("first", [0, 20, 40])
def test_a_hole_on_the_border_is_blended_like_any_other(first: int) -> None:
    """A hole that touches the picture's border takes its colour from the edge it has."""
    mask = box(64, first, first + 24)
    np.testing.assert_allclose(blend(even(0.3), mask, even(0.7), "poisson")[mask], 0.3, atol=0.01)


def test_membrane_is_harmonic() -> None:
    """Between values of a harmonic function (xy) on the edge, the membrane is that function within 3 %."""
    rows, columns = np.mgrid[:301, :301] / 300
    values = np.repeat((rows * columns)[..., None], 3, axis=2).astype(np.float32)
    free = np.zeros((301, 301), bool)
    free[1:-1, 1:-1] = True
    assert np.abs(membrane(values, ~free, free) - values).max() < 0.03


def with_grain(known: Canvas) -> Canvas:
    """An even picture in the box of `known`, with detail of its surroundings."""
    return add_detail(known, box(), even(0.5), 4, grain_around(known, box(), even(0.5), 4))


def test_an_enlarged_picture_gets_the_grain_of_its_surroundings() -> None:
    """In even surroundings an enlarged picture stays even; in grainy ones it gets grain of about that strength."""
    assert np.abs(with_grain(even(0.5))[box()] - 0.5).max() < 1e-3
    rough = even(0.5) + np.random.default_rng(1).normal(0, 0.05, (64, 64, 1)).astype(np.float32)
    grainy = with_grain(rough)
    assert 0.02 < float(grainy[box()].std()) < 0.06
    assert float(grainy[28:36, 28:36].mean()) == pytest.approx(0.5, abs=0.02)


def skin(red: float = 0.0, blue: float = 0.0) -> Canvas:
    """Skin, whose middle is so much redder and bluer at the same brightness (ITU-R 601)."""
    canvas = np.full((64, 64, 3), (0.8, 0.6, 0.5), np.float32)
    canvas[28:36, 28:36] += (red, -(0.299 * red + 0.114 * blue) / 0.587, blue)
    return canvas


def spot(canvas: Canvas) -> np.ndarray:
    """By how much the middle's red, green and blue differ from the skin around."""
    return np.asarray(canvas[32, 32] - canvas[8, 8])


def test_lips_become_redder() -> None:
    """As they are enlarged, less where much is guessed; what is known, and what is no redder than the skin, stays."""
    hole = box()
    redder = [spot(redden(skin(red=0.04), hole, scale))[0] for scale in (1.0, 0.6, 0.2)]
    assert redder[0] == pytest.approx(0.04, abs=1e-3)
    assert redder[0] < redder[1] < redder[2]
    assert redder[0] < spot(redden(skin(red=0.04), box(64, 2, 62), 0.2))[0] < redder[2]
    assert spot(redden(skin(red=-0.04), hole, 0.2))[0] == pytest.approx(-0.04, abs=1e-3)
    assert np.array_equal(redden(skin(red=0.04), hole, 0.2)[~hole], skin(red=0.04)[~hole])
    np.testing.assert_allclose(redden(even(0.4), hole, 0.2), even(0.4), atol=1e-6)
    assert redden(skin(red=0.2), hole, 0.01).max() <= 1


def test_colours_that_the_skin_around_has_not_are_taken_back() -> None:
    """A little green or grey disappears, and blue becomes less; red stays, and so do an eye and all that is known."""
    hole = box()
    for drawn, left in ((-0.005, 0.0), (-0.1, 0.89), (0.05, 1.0)):
        settled = settle_colours(skin(red=drawn), hole)
        assert spot(settled)[0] == pytest.approx(left * drawn, abs=0.006)
        assert np.array_equal(settled[~hole], skin(red=drawn)[~hole])
    assert spot(settle_colours(skin(blue=0.1), hole))[2] == pytest.approx(0.08, abs=0.01)
    grey = even(0.3)
    grey[30:34, 30:34] = 0.7
    np.testing.assert_allclose(settle_colours(grey, hole), grey, atol=1e-5)


def test_colours_are_settled_of_any_hole() -> None:
    """Of none, of all, at the border, of one pixel: numbers in [0, 1], and what is known stays."""
    random = np.random.default_rng(5)
    canvas = random.random((40, 40, 3), np.float32)
    for percent in (0.0, 0.01, 0.5, 1.0):
        hole = random.random((40, 40)) < percent
        settled = settle_colours(canvas, hole)
        assert settled.dtype == np.float32
        assert np.array_equal(settled[~hole], canvas[~hole])
        assert ((settled >= 0) & (settled <= 1)).all()


def test_single_missing_pixels_are_mostly_their_neighbours() -> None:
    """In a smooth picture most of the noise of what was drawn is gone, the more the more is known around."""
    rows, columns = np.mgrid[:64, :64] / np.float32(64)
    truth = np.stack([rows, columns, rows * columns], axis=2).astype(np.float32)
    random = np.random.default_rng(2)
    drawn = truth + random.normal(0, 0.05, truth.shape).astype(np.float32)
    left = []
    for share in (0.1, 0.5):
        hole = random.random((64, 64)) < share
        left.append(float(np.abs(lean_on_neighbours(truth, hole, drawn) - truth)[hole].mean() / 0.04))
    assert left[0] < 0.35
    assert left[0] < left[1] < 0.5


def test_neighbours_have_no_say_in_the_middle_of_a_large_hole() -> None:
    """Two pixels from the edge the network is left alone; at the edge it meets what is there."""
    leaned = lean_on_neighbours(even(0.3), box(), even(0.7))
    np.testing.assert_allclose(leaned[22:42, 22:42], 0.7, atol=1e-6)
    assert (leaned[20, 22:42] < 0.5).all()


def test_a_plain_wall_gets_no_stain() -> None:
    """What a network draws there and nothing around resembles fades to less than three levels."""
    stained = even(0.5) + (0.3 * np.outer(np.hanning(64), np.hanning(64))[..., None]).astype(np.float32)
    assert np.abs(calm(even(0.5), box(), stained) - 0.5)[box()].max() < 3 / 255


def test_among_contrasts_contrasts_stay() -> None:
    """Where the surroundings vary as much as what was drawn, most of it is kept."""
    waves = np.broadcast_to(0.5 + 0.2 * np.sin(np.arange(64) / 3)[None, :, None], (64, 64, 3)).astype(np.float32)
    calmed = calm(waves, box(), waves)
    assert (calmed - 0.5)[box()].std() > 0.8 * (waves - 0.5)[box()].std()
