"""Detail that is borrowed: as much as the surroundings have, where it belongs, and never from a hole."""

import cv2
import numpy as np
import pytest

from models.glcic import texture
from models.glcic.geometry import Box, Canvas, Mask, Pixels
from models.glcic.texture import borrow_detail


def everywhere(picture: Pixels) -> Box:
    return Box(0, 0, picture.shape[0], picture.shape[1])


def tiled(side: int = 192) -> Pixels:
    """A pattern that repeats every 16 pixels."""
    tile = np.random.default_rng(0).integers(60, 200, (16, 16, 3), np.uint8)
    return np.tile(tile, (side // 16, side // 16, 1))


def box(side: int, first: int, last: int) -> Mask:
    hole = np.zeros((side, side), np.bool_)
    hole[first:last, first:last] = True
    return hole


def softened(picture: Pixels) -> Canvas:
    """As a network draws that knows the colours and not the surface."""
    return np.asarray(cv2.GaussianBlur(picture.astype(np.float32) / 255, (0, 0), 3), np.float32)


@pytest.mark.parametrize(("most_pixels", "left"), [(texture.MOST_PIXELS, 0.5), (100 * 100, 0.95)])
def test_a_soft_hole_gets_the_detail_of_its_surroundings(
    most_pixels: int, left: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the pattern around goes on in the hole, what was drawn soft is off by half as much; a little less even
    where the part is so large that it is worked on at half its size, which hardly shows this pattern."""
    monkeypatch.setattr(texture, "MOST_PIXELS", most_pixels)
    picture, hole = tiled(), box(192, 70, 122)
    drawn, truth = softened(picture), picture.astype(np.float32) / 255
    added = borrow_detail(picture, hole, hole, drawn, everywhere(picture))
    before, after = (np.abs(each - truth)[hole].mean() for each in (drawn, drawn + added))
    assert after < left * before
    assert not added[~hole].any()


def test_even_surroundings_lend_nothing() -> None:
    """A wall stays a wall."""
    picture, hole = np.full((120, 120, 3), 140, np.uint8), box(120, 40, 80)
    drawn = np.full((120, 120, 3), 140 / 255, np.float32)
    assert np.abs(borrow_detail(picture, hole, hole, drawn, everywhere(picture))).max() < 1 / 255


@pytest.mark.parametrize("most_pixels", [texture.MOST_PIXELS, 100 * 100])
def test_what_holes_hide_is_not_lent(most_pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what the hole itself hides nor another one beside it, and twice the same is the same."""
    monkeypatch.setattr(texture, "MOST_PIXELS", most_pixels)
    picture, hole = tiled(), box(192, 70, 122)
    unknown = hole | box(192, 20, 40)
    poisoned = np.where(unknown[..., None], 255 - picture, picture).astype(np.uint8)
    drawn = softened(picture)
    one, other = (borrow_detail(each, unknown, hole, drawn, everywhere(picture)) for each in (picture, poisoned))
    assert one.any()
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("side", "hole"),
    [
        pytest.param(192, box(192, 70, 80), id="a thin hole"),
        pytest.param(192, box(192, 70, 70), id="no hole"),
        pytest.param(64, box(64, 0, 64), id="nothing around"),
        pytest.param(64, box(64, 2, 62), id="next to nothing around"),
    ],
)
def test_where_nothing_is_to_be_lent_nothing_is_added(side: int, hole: Mask) -> None:
    """Thin holes are soft to nobody's eye; a hole without surroundings has nobody to ask."""
    picture = tiled(side)
    assert not borrow_detail(picture, hole, hole, softened(picture), everywhere(picture)).any()
