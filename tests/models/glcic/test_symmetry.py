"""What a face's other side lends: an eye for an eye, and nothing that a hole hides."""

import numpy as np
import pytest

from models.glcic.face_view import TurnedView
from models.glcic.geometry import Box, Canvas, Mask, Pixels
from models.glcic.symmetry import lend_other_side

SIDE = 160
HOLE = Box(285, 240, 325, 290)  # about the left eye
AT = HOLE.grown(1, (640, 640))


def symmetric_picture(turn: complex, shift: complex, size: tuple[int, int] = (640, 640)) -> Pixels:
    """Waves that are the same on both sides of the axis of the face that a view shows."""
    y, x = np.indices(size)
    z = (x + 0.5 + 1j * (y + 0.5) - shift) / turn
    across, down = np.abs(z.real - SIDE / 2), z.imag
    waves = [np.cos(across / 3.1 + down / 9), np.cos(across / 4.3 - down / 5), np.cos(across / 7 + down / 3.3)]
    return np.rint(127 + 100 * np.dstack(waves)).astype(np.uint8)


def face(turn: complex) -> tuple[TurnedView, Pixels, Mask]:
    """A view, the picture that it shows a face in, and a hole on the left of that."""
    shift = 320 + 320j - turn * (80 + 84j)
    whole = symmetric_picture(turn, shift)
    mask = np.zeros(whole.shape[:2], bool)
    mask[HOLE.slices] = True
    return TurnedView(turn, shift, (SIDE, SIDE)), whole, mask


def lent(view: TurnedView, picture: Pixels, mask: Mask, drawn_like: Pixels, at: Box = AT) -> Canvas | None:
    """What is lent where the network drew what `drawn_like` shows; None where its drawing stays."""
    canvas, _ = view.take(drawn_like, np.zeros_like(mask))
    _, hole = view.take(picture, mask)
    drawn = np.full((at.height, at.width, 3), 0.9, np.float32)
    found = lend_other_side(picture, mask, drawn, at, view, canvas, hole)
    return None if np.array_equal(found, drawn) else found


@pytest.mark.parametrize("turn", [3.2 + 0j, 3 + 0.4j, 2.8 - 0.3j])
def test_the_other_side_of_a_symmetric_face_is_what_was_lost(turn: complex) -> None:
    """Whatever way the face is turned, what the hole hid comes back from its mirror image."""
    view, whole, mask = face(turn)
    holed = whole.copy()
    holed[mask] = 0
    found = lent(view, holed, mask, whole)
    assert found is not None
    inside = mask[AT.slices]
    assert np.abs(found[inside] * 255 - whole[AT.slices][inside]).mean() < 12


def test_hair_that_falls_nearer_on_one_side_does_not_move_the_eye() -> None:
    """The outline of a head that is turned a little is stronger than an eye, and elsewhere."""
    view, whole, mask = face(3.2 + 0j)
    y, x = np.indices(mask.shape)
    eyes = sum(np.exp(-(((x - at) / 14) ** 2) - ((y - 305) / 8) ** 2) for at in (265, 374))
    whole = np.where(np.dstack([(x < 235) | (x > 410)] * 3), 10, 170 - 90 * eyes[..., None]).astype(np.uint8)
    found = lent(view, whole, mask, whole)
    assert found is not None
    inside = mask[AT.slices]
    assert np.abs(found[inside] * 255 - whole[AT.slices][inside]).mean() < 1


def test_where_the_other_side_has_nothing_to_lend_the_drawing_stays() -> None:
    """It is a hole as well, beyond the picture, or unlike what was drawn."""
    view, whole, mask = face(3.2 + 0j)
    unlike = np.random.default_rng(0).integers(0, 256, whole.shape).astype(np.uint8)
    narrow = np.ascontiguousarray(whole[:, :330])
    assert lent(view, whole, mask, whole) is not None
    assert lent(view, whole, mask | mask[:, ::-1], whole) is None
    assert lent(view, whole, mask, unlike) is None
    assert lent(view, narrow, np.ascontiguousarray(mask[:, :330]), narrow) is None


def test_skin_has_to_be_more_alike_than_an_eye() -> None:
    """An eye that is roughly like its counterpart is lent, a cheek that is no more alike goes on as it was drawn."""
    view, whole, mask = face(3.2 + 0j)
    noise = np.random.default_rng(0).normal(0, 110, (64, 64, 3)).repeat(10, axis=0).repeat(10, axis=1)
    roughly = np.clip(whole + noise, 0, 255).astype(np.uint8)
    cheek = np.roll(mask, (160, 30), axis=(0, 1))
    assert lent(view, whole, cheek, whole, Box(445, 265, 487, 325)) is not None
    assert lent(view, whole, mask, roughly) is not None
    assert lent(view, whole, cheek, roughly, Box(445, 265, 487, 325)) is None


@pytest.mark.parametrize("light", [0.55, 1.0, 1.8])
def test_an_eye_from_the_shadow_has_the_contrast_of_the_sun(light: float) -> None:
    """One side is lit by another share than the other: what is lent is as it would look there."""
    view, whole, mask = face(3.2 + 0j)
    lit = np.rint(whole * 0.5).astype(np.uint8)
    lit[:, :320] = np.rint(whole[:, :320] * 0.5 * light)
    found = lent(view, lit, mask, lit)
    assert found is not None
    inside = mask[AT.slices]
    true = lit[AT.slices][inside] / 255
    assert found[inside].std() == pytest.approx(true.std(), rel=0.1)


def test_what_lies_in_a_hole_is_not_read() -> None:
    """Other pixels in the holes, in this one or just beside what is lent, change nothing."""
    view, whole, mask = face(3.2 + 0j)
    mask[329:337, 330:400] = True
    results = []
    for value in (0, 255):
        picture = whole.copy()
        picture[mask] = value
        results.append(lent(view, picture, mask, whole))
    assert results[0] is not None
    np.testing.assert_array_equal(*results)


def test_a_face_at_its_own_scale_keeps_what_was_drawn() -> None:
    """Where nothing is enlarged the network's own pixels are as fine as the picture's."""
    whole = symmetric_picture(1 + 0j, 0j, (SIDE, SIDE))
    mask = np.zeros(whole.shape[:2], bool)
    mask[60:80, 40:60] = True
    view, at = TurnedView(1 + 0j, 0j, (SIDE, SIDE)), Box(59, 39, 81, 61)
    canvas, hole = whole * np.float32(1 / 255), mask
    drawn = np.full((at.height, at.width, 3), 0.9, np.float32)
    assert lend_other_side(whole, mask, drawn, at, view, canvas, hole) is drawn
