"""The turned view: what goes into the canonical frame comes back to where it was."""

import numpy as np
import pytest

from models.glcic.align import EYES, FRAME, FacePose
from models.glcic.face_view import TurnedView, view_face
from models.glcic.geometry import Box
from models.glcic.network import STRIDE

TURNS = [1, 1 + 0.1j, 0.4, 1.2 - 0.3j, 2.5 + 1j]


def smooth_picture(height: int = 300, width: int = 260) -> np.ndarray:
    y, x = np.indices((height, width))
    waves = [np.sin(x / 19 + y / 31), np.sin(x / 23 - y / 17), np.cos(x / 29 + y / 15)]
    return (127 + 120 * np.dstack(waves)).astype(np.uint8)


@pytest.mark.parametrize("turn", TURNS)
def test_what_the_view_shows_comes_back_to_its_place(turn: complex) -> None:
    """A picture taken and put back through a turned view is itself, but for resampling."""
    picture, box = smooth_picture(), Box(140, 120, 165, 150)
    view = TurnedView(complex(turn), 135 + 152j - turn * (80 + 80j), (160, 160))
    canvas, hole = view.take(picture, np.zeros(picture.shape[:2], bool))
    assert not hole.any()
    assert np.abs(view.put_back(canvas, box) * 255 - picture[box.slices]).max() < 3


@pytest.mark.parametrize("turn", TURNS)
def test_nothing_within_the_hole_reaches_the_canvas(turn: complex) -> None:
    """The canvas is the same whatever the picture holds in its hole."""
    picture = smooth_picture()
    mask = np.zeros(picture.shape[:2], bool)
    mask[100:180, 90:170] = True
    other = picture.copy()
    other[mask] = 255 - other[mask]
    view = TurnedView(complex(turn), 130 + 140j - turn * (80 + 80j), (160, 160))
    (canvas, hole), (other_canvas, other_hole) = view.take(picture, mask), view.take(other, mask)
    assert hole.any()
    np.testing.assert_array_equal(canvas, other_canvas)
    np.testing.assert_array_equal(hole, other_hole)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (40, 40)])
def test_a_frame_beyond_a_small_picture_is_filled_all_the_same(size: tuple[int, int]) -> None:
    """Whatever the picture's size, the canvas has finite values in [0, 1] and its own size."""
    picture = np.full((*size, 3), 77, np.uint8)
    view = TurnedView(1.5 + 0.2j, -100 - 100j, (164, 168))
    canvas, hole = view.take(picture, np.zeros(size, bool))
    assert canvas.shape == (164, 168, 3)
    assert hole.shape == (164, 168)
    np.testing.assert_allclose(canvas, 77 / 255, atol=1e-4)


@pytest.mark.parametrize("side", [128, 160, 159])
def test_a_hole_within_the_frame_is_seen_in_the_frame_alone(side: int) -> None:
    """The canvas is the frame the network was trained at, with the face's eyes at their canonical places."""
    pose = FacePose(3 + 0.3j, 200 + 100j, 1.0)
    middle = pose.turn * (80 + 100j) + pose.shift
    hole = Box(round(middle.imag) - 30, round(middle.real) - 30, round(middle.imag) + 30, round(middle.real) + 30)
    view = view_face(pose, hole, side)
    assert view is not None
    assert all(length % STRIDE == 0 and side <= length < side + STRIDE for length in view.canvas_size)
    for eye in EYES:
        assert view.turn * (eye * side / FRAME) + view.shift == pytest.approx(pose.turn * eye + pose.shift)


def test_a_hole_that_leaves_the_frame_gets_a_larger_canvas() -> None:
    """The canvas grows by multiples of the stride, in the direction of the hole; the scale stays."""
    pose = FacePose(2 + 0j, 100 + 100j, 1.0)
    view = view_face(pose, Box(250, 60, 300, 300), FRAME)
    assert view is not None
    assert view.canvas_size == (160, 160 + 28)
    assert view.turn == 2
    assert view.shift == 100 - 2 * 28 + 100j


def test_a_hole_far_beyond_the_face_is_not_the_faces() -> None:
    """There is no view where the hole would need more than twice the frame."""
    assert view_face(FacePose(1 + 0j, 0j, 1.0), Box(80, 80, 90, 400), FRAME) is None
