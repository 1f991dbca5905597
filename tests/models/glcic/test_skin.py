"""Skin that is lent to a hole is as lively as the skin around it, and nothing but skin."""

import cv2
import numpy as np
import pytest

from models.glcic.geometry import Mask, Pixels
from models.glcic.skin import skin_detail

SIDE = 240
HOLE = slice(90, 150), slice(80, 160)


def pores(strength: float) -> Pixels:
    noise = np.random.default_rng(0).normal(0, strength, (SIDE, SIDE, 1)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 0.8)[..., None]
    return np.rint(np.clip(150 + soft.repeat(3, axis=2), 0, 255)).astype(np.uint8)


def masks() -> tuple[Mask, Mask]:
    """All that is skin, and the hole."""
    skin, hole = np.zeros((2, SIDE, SIDE), bool)
    skin[20:220, 20:220] = True
    hole[HOLE] = True
    return skin, hole


@pytest.mark.parametrize("strength", [5.0, 20.0])
@pytest.mark.parametrize("scale", [0.2, 0.4, 0.9])
def test_a_hole_gets_the_detail_of_the_skin_around(strength: float, scale: float) -> None:
    """Nine tenths as strong as what a blur of 0.6 pixels of the canvas takes away there, and in the hole alone."""
    picture, (skin, hole) = pores(strength), masks()
    detail = skin_detail(picture, hole, skin, hole, scale)
    values = picture.astype(np.float32) / 255
    fine = values - cv2.GaussianBlur(values, (0, 0), max(0.7, 0.6 / scale))
    assert detail is not None
    assert detail[hole].std() == pytest.approx(0.9 * fine[skin & ~hole].std(), rel=0.15)
    assert abs(detail[hole].mean()) < 0.2 * detail[hole].std()
    assert not detail[~hole].any()


def test_what_stands_in_the_hole_is_not_lent() -> None:
    """Nor read at all: the same bytes whatever it is."""
    picture, (skin, hole) = pores(10), masks()
    other = picture.copy()
    other[hole] = np.random.default_rng(1).integers(0, 256, (int(hole.sum()), 3))
    one, two = (skin_detail(each, hole, skin, hole, 0.3) for each in (picture, other))
    assert one is not None
    assert two is not None
    assert np.array_equal(one, two)


def test_lashes_and_outlines_are_not_lent() -> None:
    """Dark lines and steps next to the hole leave no trace in it; neither does what is no skin."""
    picture, (skin, hole) = pores(6), masks()
    plain = skin_detail(picture, hole, skin, hole, 0.3)
    picture[70:72] = 20
    picture[160:, :] = picture[160:, :] // 2
    picture[~skin] = np.random.default_rng(1).integers(0, 256, (int((~skin).sum()), 3))
    detail = skin_detail(picture, hole, skin, hole, 0.3)
    assert plain is not None
    assert detail is not None
    assert np.abs(detail).max() < 1.5 * np.abs(plain).max()


def test_too_little_skin_lends_none() -> None:
    picture, (skin, hole) = pores(6), masks()
    forehead = skin.copy()
    forehead[50:] = False
    assert skin_detail(picture, hole, forehead, skin, 0.2) is None
    assert skin_detail(picture, hole, np.zeros_like(skin), hole, 0.2) is None
