"""Holes are found, grouped, and shown to the network at a scale, without a shift and without their own pixels."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.glcic.geometry import MOST_GROUPS, Box, Crop, bounding_box, dilate, group_holes, thickness
from models.glcic.views import Strategy, choose_look


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 9), st.integers(0, 2**32 - 1))
def test_dilate_grows_by_a_disc(height: int, width: int, pixels: int, seed: int) -> None:
    """A pixel is in the dilated mask exactly when a hole's pixel lies within the radius."""
    mask = np.random.default_rng(seed).random((height, width)) < 0.03
    holes = np.argwhere(mask)
    rows, columns = np.mgrid[:height, :width]
    nearest = np.full((height, width), np.inf)
    for row, column in holes:
        nearest = np.minimum(nearest, np.hypot(rows - row, columns - column))
    assert np.array_equal(dilate(mask, pixels), nearest <= pixels)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(0, 10), st.integers(0, 2**32 - 1))
def test_groups_are_disjoint_and_hold_every_hole(height: int, width: int, permille: int, seed: int) -> None:
    """Every pixel to fill lies in exactly one group's box, and boxes are as small as their holes allow."""
    mask = dilate(np.random.default_rng(seed).random((height, width)) < permille / 1000, seed % 4)
    boxes = group_holes(mask)
    count = np.zeros(mask.shape, int)
    for box in boxes:
        count[box.slices] += 1
        assert bounding_box(mask[box.slices]) == Box(0, 0, box.height, box.width)
    assert count.max(initial=0) <= 1
    assert (count[mask] == 1).all()
    assert len(boxes) <= MOST_GROUPS


def test_near_holes_share_a_group_and_far_ones_do_not() -> None:
    """Two eyes are one group; two things at opposite ends of a picture are two."""
    mask = np.zeros((1000, 1000), bool)
    mask[100:160, 100:180] = mask[100:160, 200:280] = True
    mask[900:950, 900:950] = True
    assert group_holes(mask) == [Box(100, 100, 160, 280), Box(900, 900, 950, 950)]


def test_single_far_pixels_of_a_huge_picture_are_found_exactly() -> None:
    """In a picture that is searched on a coarse grid, a hole of one pixel has a box of one pixel."""
    mask = np.zeros((3000, 4000), bool)
    mask[0, 0] = mask[2999, 3999] = mask[1234, 2345] = True
    expected = [Box(0, 0, 1, 1), Box(1234, 2345, 1235, 2346), Box(2999, 3999, 3000, 4000)]
    assert group_holes(mask) == expected


@pytest.mark.parametrize(("height", "width"), [(30, 90), (1, 50), (400, 2000)])
def test_thickness_is_the_shorter_side_of_a_box(height: int, width: int) -> None:
    """A box is as thick as its shorter side, give or take the grid of a large picture."""
    assert thickness(np.ones((height, width), bool)) == pytest.approx(height, abs=max(1.5, max(height, width) / 100))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    size=st.tuples(st.integers(1, 900), st.integers(1, 900)),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
    thick=st.integers(1, 60),
    strategy=st.sampled_from(get_args(Strategy)),
    frame=st.sampled_from([32, 160]),
)
def test_what_is_looked_at_holds_the_hole_and_two_pixels_around(
    size: tuple[int, int], corners: tuple[float, float, float, float], thick: int, strategy: Strategy, frame: int
) -> None:
    """Bars, boxes and corners of any length, anywhere: the look shows them, and what they are joined to."""
    (top, bottom), (left, right) = (
        sorted(round(share * (length - 1)) for share in shares)
        for length, shares in zip(size, (corners[:2], corners[2:]), strict=True)
    )
    box = Box(top, left, bottom + 1, right + 1)
    mask = np.zeros(size, bool)
    mask[top : min(top + thick, box.bottom), left : box.right] = True
    mask[top : box.bottom, left : min(left + thick, box.right)] = True
    view = choose_look(mask, box, strategy, frame).view
    assert isinstance(view, Crop)
    assert view.box.united(box.grown(2, size)) == view.box


def test_reduced_canvas_shows_the_mean_of_known_pixels_only() -> None:
    """A pixel of the canvas is the mean of the known pixels that it covers; where there are none it is a hole."""
    image = np.full((8, 8, 3), 200, np.uint8)
    mask = np.zeros((8, 8), bool)
    mask[:4, :4] = True
    mask[4:, 5] = True
    image[mask] = 13
    canvas, hole = Crop(Box(0, 0, 8, 8), (4, 4)).take(image, mask)
    assert np.array_equal(hole, [[True, True, False, False]] * 2 + [[False] * 4] * 2)
    np.testing.assert_allclose(canvas[~hole], 200 / 255, rtol=1e-5)
    assert (canvas[hole] == 0).all()


@pytest.mark.parametrize("size", [(25, 41), (64, 40), (160, 100)], ids=str)
def test_put_back_lies_where_it_was_taken(size: tuple[int, int]) -> None:
    """What is taken at another scale and put back shows the same slopes at the same places: nothing is shifted."""
    rows, columns = np.mgrid[:160, :100]
    image = np.stack([rows, columns, rows + columns], axis=-1).astype(np.uint8)
    image[..., 2] //= 2
    crop = Crop(Box(0, 0, 160, 100), size)
    canvas, _ = crop.take(image, np.zeros((160, 100), bool))
    inner = Box(20, 20, 140, 80)
    np.testing.assert_allclose(crop.put_back(canvas, inner) * 255, image[inner.slices], atol=1.0)


@pytest.mark.parametrize("size", [(40, 30), (20, 15)], ids=str)
@pytest.mark.parametrize("box", [Box(5, 20, 20, 40), Box(30, 20, 51, 40), Box(20, 9, 30, 40), Box(20, 20, 30, 41)])
def test_put_back_gives_nothing_that_is_not_shown(size: tuple[int, int], box: Box) -> None:
    """Asked for what lies outside the view it raises: no smaller part and no mirror image is passed off for it."""
    canvas = np.zeros((40, 32, 3), np.float32)[: size[0], : size[1] + -size[1] % 4]
    with pytest.raises(ValueError, match="does not hold all of"):
        Crop(Box(10, 10, 50, 40), size).put_back(canvas, box)


def test_put_back_at_own_scale_is_exact() -> None:
    """At its own scale the canvas is the picture, going on as a mirror image to the stride at bottom and right."""
    image = np.random.default_rng(0).integers(0, 256, (30, 21, 3), np.uint8)
    crop = Crop(Box(4, 8, 30, 21), (26, 13))
    canvas, hole = crop.take(image, np.zeros((30, 21), bool))
    assert canvas.shape == (28, 16, 3)
    assert crop.canvas_size == hole.shape == (28, 16)
    assert np.array_equal(canvas[26], canvas[24])
    assert np.array_equal(np.rint(crop.put_back(canvas, Box(5, 9, 30, 20)) * 255), image[5:30, 9:20])
