"""Faces made to look as few in CelebA do: what turns, stretches, moves and lights them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.glcic import variety
from models.glcic.align import EYES, FRAME, MOUTH
from models.training.moves import MoveRange

STILL = MoveRange(scale=(1.0, 1.0), shift=0.0, degrees=0.0)
seeds = st.integers(0, 9999)
degrees = st.floats(-28, 28)


class Chance(np.random.Generator):
    """Draws the mean of whatever is asked for, but `turned` degrees."""

    def __init__(self, turned: float = 0.0) -> None:
        super().__init__(np.random.PCG64(0))
        self._turned = turned

    def random(self, *_: object) -> float:  # type: ignore[override]
        return 0.0 if self._turned else 1.0

    def uniform(self, low: float, high: float, size: int | None = None) -> object:  # type: ignore[override]
        if size is not None:
            return np.full(size, (low + high) / 2)
        return self._turned if high == variety._MOST_DEGREES else (low + high) / 2

    def normal(self, mean: float, spread: object, size: int | None = None) -> object:  # type: ignore[override]
        return np.full(size or np.shape(spread), mean) if size or np.ndim(spread) else mean  # type: ignore[call-overload]


def _face(seed: int, side: int = FRAME) -> variety.Pixels:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


@given(seeds, st.sampled_from([64, 128, FRAME]))
def test_without_chance_a_face_stays_as_it_is(seed: int, side: int) -> None:
    """Neither the sampling nor the light moves a pixel."""
    face = _face(seed, side)
    assert (variety.posed(Chance(), face, STILL) == face).all()
    assert (variety.lit(Chance(), face) == face).all()


@given(seeds, degrees)
def test_a_mirrored_face_turns_to_the_other_side(seed: int, angle: float) -> None:
    """To a level or two, by which samples between pixels are rounded."""
    face = _face(seed)
    one = variety.posed(Chance(angle), face, STILL)
    other = variety.posed(Chance(-angle), face[:, ::-1], STILL)[:, ::-1]
    assert np.abs(one[:, 1:-1].astype(int) - other[:, 1:-1]).mean() < 3


@pytest.mark.parametrize("angle", [-28, -14, 14, 28])
@pytest.mark.parametrize("pair", [EYES, MOUTH])
def test_eyes_and_mouth_stay_in_the_middle_of_a_turned_face(angle: float, pair: tuple[complex, complex]) -> None:
    """So that the holes over them are where they are; what is farther back moves past it, the nearer side narrows."""
    face = np.zeros((FRAME, FRAME, 3), np.uint8)
    middle, row = round(sum(point.real for point in pair) / 2), round(pair[0].imag)
    face[:, middle - 2 : middle + 3] = 255
    face[:, middle - 30 : middle - 27] = 128
    turned = variety.posed(Chance(angle), face, STILL)[row, :, 0]
    assert abs(int(turned.argmax()) - middle) <= 4
    aside = np.flatnonzero((turned[: middle - 8] > 90) & (turned[: middle - 8] < 160))
    assert len(aside)
    assert (aside.mean() < middle - 28) == (angle > 0)


@given(seeds)
def test_what_is_made_are_pictures(seed: int) -> None:
    """Of the same size, whatever chance says; equal chance gives equal pictures."""
    face = _face(seed)

    def made() -> variety.Pixels:
        chance = np.random.default_rng(seed)
        moved = variety.posed(chance, face, MoveRange(scale=(0.87, 1.15), shift=0.05, degrees=9.0))
        return variety.lit(chance, variety.softened(chance, moved))

    assert (made().shape, made().dtype) == (face.shape, np.uint8)
    assert (made() == made()).all()
