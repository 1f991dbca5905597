"""The turned view: what goes into the canonical frame comes back to where it was."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest
import torch
from torch import Tensor

from models.glcic import complete as module
from models.glcic.align import EYES, FRAME, FacePose, FindFaces
from models.glcic.complete import Completed, CompletionTask, complete, complete_many
from models.glcic.face_view import TurnedView, brightening, view_again, view_face, without_grain
from models.glcic.geometry import Box
from models.glcic.network import STRIDE
from models.glcic.views import AGAIN, Strategy, choose_look, plan_looks
from tests.models.glcic.conftest import FakeEngine

TURNS = [1, 1 + 0.1j, 0.4, 1.2 - 0.3j, 2.5 + 1j]


class Painter(FakeEngine):
    """Paints all in one grey."""

    def __init__(self, level: float) -> None:
        super().__init__(image_size=FRAME)
        self.level = level

    def __call__(self, image: Tensor, mask: Tensor) -> Tensor:
        super().__call__(image, mask)
        return torch.full_like(image, self.level)


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


def test_grain_goes_and_edges_stay_where_they_were() -> None:
    """Whatever stands in the hole, which comes out empty."""
    canvas = np.full((40, 40, 3), 0.3, np.float32)
    canvas[:, 20:] = 0.7
    grainy = (canvas + np.random.default_rng(0).normal(0, 0.02, canvas.shape)).astype(np.float32)
    hole = np.zeros((40, 40), bool)
    hole[10:20, 5:15] = True
    cleaned = without_grain(grainy, hole)
    even = ~hole
    even[:, 17:23] = False  # the edge, which is a little softer
    assert (cleaned - canvas)[even].std() < 0.5 * (grainy - canvas)[even].std()
    assert np.ptp(cleaned[30, 18:22, 0]) > 0.35
    assert not cleaned[hole].any()
    grainy[hole] = 1 - grainy[hole]
    assert np.array_equal(without_grain(grainy, hole), cleaned)


@pytest.mark.parametrize(("enlarged", "cleaned"), [(5, True), (1, False)])
def test_a_face_that_was_reduced_is_shown_without_its_grain(enlarged: int, cleaned: bool) -> None:
    """To the network: one that is as large as the frame is shown as it is, and what is kept is kept with its grain."""
    side = FRAME * enlarged
    picture = np.random.default_rng(0).integers(100, 256, (side + 200, side + 200, 3), np.uint8)
    mask = np.zeros(picture.shape[:2], bool)
    middle = slice(100 + side // 2, 100 + side // 2 + 20 * enlarged)
    mask[middle, middle] = True
    shown: list[np.ndarray] = []

    class Watched(FakeEngine):
        def __call__(self, image: Tensor, mask: Tensor) -> Tensor:
            shown.append(image[0].permute(1, 2, 0).numpy())
            return super().__call__(image, mask)

    faces = Watched(image_size=FRAME)
    faces.find_faces = face_at(within=Box(100, 100, 100 + side, 100 + side))
    done = complete(picture, mask, faces)
    canvas, hole = TurnedView(enlarged + 0j, 100 + 100j, (FRAME, FRAME)).take(picture, mask)
    assert np.array_equal(shown[0], without_grain(canvas, hole)) == cleaned
    assert np.allclose(shown[0] * 255, np.rint(shown[0] * 255), atol=1e-3) != cleaned  # the picture's own pixels
    assert np.array_equal(done[~mask], picture[~mask])


@pytest.mark.parametrize("brightness", [0.0, 0.03, 0.2, 0.5, 0.6, 0.9, 1.0])
def test_a_dark_face_is_shown_as_bright_as_most(brightness: float) -> None:
    """Whatever stands in its hole and beside it; a bright one is shown as it is, and one that is mostly hole nearly."""
    canvas = np.full((40, 40, 3), 1 - brightness, np.float32)
    face, hole, most = np.zeros((3, 40, 40), bool)
    face[10:30, 10:30] = True
    hole[10:18, 10:30] = True
    most[10:25, 10:30] = True
    canvas[face & ~hole] = brightness
    power = brightening(canvas, hole, face)
    assert 0 < power <= brightening(canvas, most, face) <= brightening(canvas, face, face) == 1
    assert (power < brightening(canvas, most, face)) == (brightness < 0.55)
    assert max(brightness, 0.02) ** power == pytest.approx(max(0.56, brightness), abs=1e-4)


def test_what_is_drawn_of_a_dark_face_is_as_dark() -> None:
    """Shown brighter to the network, what that draws comes back by the same measure; nothing outside changes."""
    side = FRAME * 5
    picture = np.full((side + 200, side + 200, 3), 51, np.uint8)
    mask = np.zeros(picture.shape[:2], bool)
    mask[500:600, 450:550] = True
    shown: list[np.ndarray] = []

    class Watched(FakeEngine):
        def __call__(self, image: Tensor, mask: Tensor) -> Tensor:
            shown.append(image[0].permute(1, 2, 0).numpy())
            return image + mask * 0.56  # the hole as bright as all that was shown

    faces = Watched(image_size=FRAME)
    faces.find_faces = face_at(within=Box(100, 100, 100 + side, 100 + side))
    done = complete(picture, mask, faces)
    assert np.median(shown[0]) == pytest.approx(0.56, abs=0.01)
    assert np.abs(done[mask].astype(int) - 51).max() <= 1
    assert np.array_equal(done[~mask], picture[~mask])


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
    view = view_face(pose, hole, side, missing(hole, (700, 900)))
    assert view is not None
    assert all(length % STRIDE == 0 and side <= length < side + STRIDE for length in view.canvas_size)
    for eye in EYES:
        assert view.turn * (eye * side / FRAME) + view.shift == pytest.approx(pose.turn * eye + pose.shift)


def test_a_hole_that_leaves_the_frame_is_not_the_faces() -> None:
    """There is no view where any corner of the hole's box lies outside the frame."""
    pose = FacePose(2 + 0j, 100 + 100j, 1.0)
    whole = Box(100, 100, 420, 420)
    assert view_face(pose, whole, FRAME, missing(whole, (900, 900))) is not None
    for box in (Box(99, 100, 200, 200), Box(100, 99, 200, 200), Box(200, 200, 421, 300), Box(200, 200, 300, 421)):
        assert view_face(pose, box, FRAME, missing(box, (900, 900))) is None


@pytest.mark.parametrize("size", [(160, 160), (218, 178), (900, 1600)])
def test_a_picture_that_is_as_good_as_aligned_is_seen_as_it_is(size: tuple[int, int]) -> None:
    """A face some pixels off the frame of the picture's central square, which is CelebA's crop, stands in that; a
    face further off does not."""
    scale = min(size) / FRAME
    corner = complex(size[1] - min(size), size[0] - min(size)) / 2
    hole = Box(size[0] // 2 - 9, size[1] // 2 - 9, size[0] // 2 + 9, size[1] // 2 + 9)
    mask = missing(hole, size)
    near = view_face(FacePose(scale * (1.02 + 0.01j), corner + scale * (2 - 1j), 0.9), hole, FRAME, mask)
    assert near == TurnedView(scale + 0j, corner, (FRAME, FRAME))
    far = view_face(FacePose(scale * 1.1 + 0j, corner + scale * (-9 + 0j), 0.9), hole, FRAME, mask)
    assert far != near


def test_the_more_of_a_face_is_hidden_the_less_its_pose_is_believed() -> None:
    """Ten pixels off is as good as aligned where the hole hides the middle of the face, but not where it hides an eye,
    and sixteen are too many in any case."""
    square = (FRAME, FRAME)
    eye, middle = Box(72, 50, 92, 75), Box(40, 40, 120, 120)
    ten, sixteen = (FacePose(1 + 0j, complex(off, 0), 0.9) for off in (10, 16))
    assert view_face(ten, middle, FRAME, missing(middle, square)) == TurnedView(1 + 0j, 0j, square)
    assert view_face(ten, eye, FRAME, missing(eye, square)) == TurnedView(1 + 0j, 10 + 0j, square)
    assert view_face(sixteen, middle, FRAME, missing(middle, square)) == TurnedView(1 + 0j, 16 + 0j, square)


def test_all_holes_of_a_face_are_seen_alike_and_a_thin_one_hides_little() -> None:
    """How much is hidden is asked of the face, not of a hole: a small hole beside a large one gets its view. A stroke
    from corner to corner has the box of a large hole and hides no more than it covers."""
    pose, square = FacePose(1 + 0j, 10 + 0j, 0.9), (FRAME, FRAME)
    middle, chin = Box(40, 40, 120, 120), Box(125, 80, 133, 100)
    both = missing(middle, square) | missing(chin, square)
    seen = [view_face(pose, box, FRAME, both) for box in (middle, chin)]
    assert seen == [TurnedView(1 + 0j, 0j, square)] * 2
    stroke = np.eye(FRAME, dtype=bool) & missing(middle, square)
    assert view_face(pose, middle, FRAME, stroke) == TurnedView(1 + 0j, 10 + 0j, square)


def test_a_face_is_looked_at_again_once_it_is_drawn() -> None:
    """Where it is then seen elsewhere in the canvas the view follows, in the picture's pixels; else there is none."""
    view, box, size = TurnedView(3 + 0.3j, 200 + 100j, (FRAME, FRAME)), Box(300, 350, 360, 420), (700, 900)
    canvas, hole = view.take(smooth_picture(*size), np.zeros(size, bool))
    hole[60:90, 50:80] = True
    asked: list[tuple[Sequence[Box], bool]] = []

    def seen(pose: FacePose | None) -> TurnedView | None:
        def find_faces(_image: object, mask: np.ndarray, boxes: Sequence[Box]) -> list[FacePose | None]:
            asked.append((boxes, bool(mask.any())))
            return [pose]

        return view_again(view, canvas, hole, box, missing(box, size), find_faces)

    away = FacePose(1.1 + 0.05j, -4 + 6j, 1.0)
    better = seen(away)
    assert asked == [([Box(60, 50, 90, 80)], False)], "nothing is hidden any more"
    assert better is not None
    for eye in EYES:
        in_canvas = away.turn * eye + away.shift
        assert better.turn * eye + better.shift == pytest.approx(view.turn * in_canvas + view.shift)
    assert seen(FacePose(1 + 0.005j, 0.5 + 0.5j, 1.0)) is None, "near enough"
    assert seen(None) is None


def test_all_steps_are_told_of_however_often_a_face_is_drawn() -> None:
    """Progress ends at the total, whether the first look at a face was right or none was."""
    picture = smooth_picture(1000, 1000)
    mask = np.zeros(picture.shape[:2], bool)
    mask[420:600, 380:700] = True
    engine = FakeEngine(image_size=FRAME)
    for second, runs in ((FacePose(1 + 0j, 0j, 1.0), 2), (FacePose(1 + 0.1j, -3 + 4j, 1.0), 2 + AGAIN)):
        poses = iter([FacePose(5 + 1j, 150 + 50j, 1.0), *[second] * AGAIN])
        engine.find_faces = lambda _image, _mask, _boxes, poses=poses: [next(poses)]  # type: ignore[misc]
        engine.shapes.clear()
        told: list[tuple[int, int]] = []
        complete(picture, mask, engine, on_progress=lambda done, total, told=told: told.append((done, total)))  # type: ignore[misc]
        assert len(engine.shapes) == runs
        assert told[-1] == (2 + AGAIN, 2 + AGAIN)


def missing(box: Box, size: tuple[int, int]) -> np.ndarray:
    """The mask of a picture of (height, width) `size` in which only `box` is missing."""
    mask = np.zeros(size, bool)
    mask[box.slices] = True
    return mask


def face_at(*, within: Box | None) -> FindFaces:
    """Finds an upright face, five pixels to one of its frame, for the holes within a box; for others none."""

    def find_faces(_image: object, _mask: object, boxes: Sequence[Box]) -> list[FacePose | None]:
        return [FacePose(5 + 0j, 100 + 100j, 1.0) if within and box.united(within) == within else None for box in boxes]

    return find_faces


def test_holes_in_one_face_are_filled_together_and_others_by_themselves() -> None:
    """Two far holes of a face share one look at it; a hole beside it, or one as thin as a scratch, has its own."""
    mask = np.zeros((1000, 1600), bool)
    holes = {"eye": Box(300, 300, 380, 380), "mouth": Box(700, 500, 780, 620), "beside": Box(400, 1200, 500, 1300)}
    scratch = Box(500, 600, 505, 700)
    for box in (*holes.values(), scratch):
        mask[box.slices] = True
    image = np.zeros((*mask.shape, 3), np.uint8)
    plan = dict(plan_looks(image, mask, "auto", FRAME, face_at(within=Box(100, 100, 900, 900))))
    assert set(plan) == {holes["eye"].united(holes["mouth"]), holes["beside"], scratch}
    face = plan.pop(holes["eye"].united(holes["mouth"]))
    assert face.view == TurnedView(5 + 0j, 100 + 100j, (FRAME, FRAME))
    assert all(not isinstance(look.view, TurnedView) for look in plan.values())


def test_what_lies_between_the_holes_of_a_face_is_filled_by_its_own_look() -> None:
    """A group that reaches into the box around two holes of a face keeps what its own look drew, before or after."""

    eyes = Box(300, 300, 380, 380), Box(300, 640, 380, 720)
    for between in (Box(250, 480, 330, 520), Box(350, 480, 430, 520)):
        mask = np.zeros((1000, 1000), bool)
        for box in (*eyes, between):
            mask[box.slices] = True
        faces, scenes = Painter(1.0), Painter(0.0)
        faces.find_faces = lambda _image, _mask, boxes, between=between: [
            None if box == between else FacePose(5 + 0j, 100 + 100j, 1.0) for box in boxes
        ]
        completed = complete(smooth_picture(1000, 1000), mask, faces, elsewhere=scenes, blend="none")
        inner = slice(10, -10), slice(10, -10)  # beside the edge what is enlarged has something of what is around
        assert (completed[between.slices][inner] == 0).all()
        assert all((completed[eye.slices][inner] == 255).all() for eye in eyes)


@pytest.mark.parametrize("strategy", ["crop", "resize", "original"])
def test_faces_are_looked_for_with_auto_alone(strategy: Strategy) -> None:
    """The other strategies show the network exactly what they say."""
    mask = np.zeros((1000, 1000), bool)
    mask[300:400, 300:400] = True
    image = np.zeros((*mask.shape, 3), np.uint8)
    with_faces = plan_looks(image, mask, strategy, FRAME, face_at(within=Box(0, 0, 1000, 1000)))
    assert with_faces == plan_looks(image, mask, strategy, FRAME)


def test_holes_in_no_face_are_for_the_other_network() -> None:
    """Where two networks share a picture each gets its holes, at its own frame, with every strategy."""
    mask = np.zeros((1000, 1600), bool)
    in_face, beside = Box(300, 300, 380, 380), Box(400, 1200, 500, 1300)
    for box in (in_face, beside):
        mask[box.slices] = True
    image = np.zeros((*mask.shape, 3), np.uint8)
    find_faces = face_at(within=Box(100, 100, 900, 900))
    strategies: tuple[Strategy, ...] = ("auto", "crop", "resize", "original")
    for strategy in strategies:
        looks = dict(plan_looks(image, mask, strategy, FRAME, find_faces, 64))
        assert not looks[in_face].elsewhere
        assert looks[beside] == replace(choose_look(mask, beside, strategy, 64), elsewhere=True)


def test_who_drew_is_told() -> None:
    """The outcome names the engines that drew, so that a result can name its models; an empty mask names none."""
    faces, scenes = FakeEngine(image_size=FRAME), FakeEngine(image_size=64)
    faces.find_faces = face_at(within=Box(100, 100, 900, 900))
    image = smooth_picture(1000, 1600)

    def drew(*holes: Box) -> tuple[object, ...]:
        mask = np.zeros(image.shape[:2], bool)
        for hole in holes:
            mask[hole.slices] = True
        outcome = complete_many([CompletionTask(image, mask, elsewhere=scenes)], faces)[0]
        assert isinstance(outcome, Completed)
        return outcome.engines

    in_face, beside = Box(300, 300, 380, 380), Box(400, 1200, 500, 1300)
    assert drew(in_face) == (faces,)
    assert drew(beside) == (scenes,)
    assert set(drew(in_face, beside)) == {faces, scenes}
    assert drew() == ()


def test_a_network_that_knows_no_faces_has_its_colours_corrected_all_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blend `auto` is `poisson`, calmed and with borrowed detail, for it, and `feather` for one that knows them; both
    lean on what is next door."""
    faces, scenes = FakeEngine(image_size=64), FakeEngine(image_size=64)
    faces.find_faces = lambda _image, _mask, boxes: [None for _ in boxes]
    image = smooth_picture(200, 300)
    mask = np.zeros(image.shape[:2], bool)
    mask[60:140, 80:180] = True
    feather, poisson = (complete(image, mask, scenes, blend=how) for how in ("feather", "poisson"))
    assert not np.array_equal(feather, poisson)
    assert not np.array_equal(complete(image, mask, scenes), poisson)
    assert not np.array_equal(complete(image, mask, faces), feather)
    monkeypatch.setattr(module, "lean_on_neighbours", lambda _known, _hole, drawn: drawn)
    monkeypatch.setattr(module, "calm", lambda _known, _hole, joined: joined)
    monkeypatch.setattr(module, "borrow_detail", lambda _known, _unknown, _hole, drawn, _at: np.zeros_like(drawn))
    assert np.array_equal(complete(image, mask, scenes), poisson)
    assert np.array_equal(complete(image, mask, faces), feather)


def test_what_is_drawn_of_a_face_is_settled_and_reddened(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the face alone: not what stands behind it."""
    faces = FakeEngine(image_size=FRAME)
    image = smooth_picture(1000, 1000)
    mask = np.zeros(image.shape[:2], bool)
    mask[540:740, 400:600] = mask[120:170, 850:900] = True
    faces.find_faces = face_at(within=Box(100, 100, 900, 900))
    seen: list[tuple[np.ndarray, float]] = []

    def record(canvas: np.ndarray, hole: np.ndarray, scale: float) -> np.ndarray:
        seen.append((hole, scale))
        return canvas

    settled: list[np.ndarray] = []
    monkeypatch.setattr(module, "settle_colours", lambda canvas, hole: settled.append(hole) or canvas)
    monkeypatch.setattr(module, "redden", record)
    complete(image, mask, faces)
    ((hole, scale),) = seen
    assert len(settled) == 1
    assert np.array_equal(settled[0], hole)
    assert scale == 160 / 800
    rows, columns = np.nonzero(hole)  # of a frame that begins at 100, 100, five pixels to one: between nose and mouth
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (88, 127, 60, 99)
    complete(image[..., :1].repeat(3, axis=2), mask, faces)
    assert (len(settled), len(seen)) == (2, 1), "lips in black and white are made no redder"


def test_what_is_drawn_of_a_face_is_enlarged_by_the_engine() -> None:
    """As often as it has to be, and what it makes of it is what is written; not where the person chose the blend."""
    faces = FakeEngine(image_size=FRAME)
    image = smooth_picture(1000, 1000)
    mask = np.zeros(image.shape[:2], bool)
    mask[560:640, 420:500] = True
    faces.find_faces = face_at(within=Box(100, 100, 900, 900))
    seen: list[tuple[int, float]] = []

    def enlarge(canvas: np.ndarray, hole: np.ndarray, scale: float) -> np.ndarray:
        seen.append((int(hole.sum()), scale))
        return np.ones((4 * canvas.shape[0], 4 * canvas.shape[1], 3), np.float32)

    before = complete(image, mask, faces)
    faces.enlarge = enlarge
    after = complete(image, mask, faces)
    assert seen == [(16 * 16, 160 / 800)]
    assert before[590:610, 450:470].mean() < 150 < 200 < after[590:610, 450:470].mean()
    complete(image, mask, faces, blend="poisson")
    assert len(seen) == 1


def test_outside_the_hole_a_completed_face_is_as_it_was() -> None:
    """Through a turned view, too, a completion changes nothing outside the mask and repeats to the byte."""
    picture = smooth_picture(1000, 1000)
    mask = np.zeros(picture.shape[:2], bool)
    mask[420:600, 380:700] = True
    engine = FakeEngine(image_size=FRAME)
    poses = cycle([FacePose(5 + 1j, 150 + 50j, 1.0), FacePose(1 + 0.05j, -1 + 1j, 1.0), FacePose(1 + 0j, 0j, 1.0)])
    engine.find_faces = lambda _image, _mask, _boxes: [next(poses)]
    completed = complete(picture, mask, engine)
    assert engine.shapes == [(1, 3, FRAME, FRAME)] * 3, "looked at again, and its mirror image"
    np.testing.assert_array_equal(completed[~mask], picture[~mask])
    assert (completed[mask] != picture[mask]).any()
    np.testing.assert_array_equal(completed, complete(picture, mask, engine))


@pytest.mark.parametrize("left", [100, 700, 1500])
def test_of_a_hole_that_crosses_a_face_the_part_in_it_is_a_faces(left: int) -> None:
    """A strap or a line of text, wherever on it the face is: the rest is for the other network, which draws first."""
    frame, band = Box(100, left, 900, left + 800), Box(480, 0, 560, 2400)
    mask = np.zeros((1000, 2400), bool)
    mask[band.slices] = True
    faces, scenes = Painter(1.0), Painter(0.0)

    def find(_image: np.ndarray, _mask: np.ndarray, boxes: Sequence[Box]) -> list[FacePose | None]:
        middles = [(box.left + box.right) / 2 for box in boxes]
        return [FacePose(5 + 0j, left + 100j, 1.0) if left < x < left + 800 else None for x in middles]

    faces.find_faces = find
    completed = complete(smooth_picture(1000, 2400), mask, faces, elsewhere=scenes, blend="none")
    rows = slice(490, 550)
    assert (completed[rows, frame.left + 10 : frame.right - 10] == 255).all()
    assert (completed[rows, : frame.left - 10] == 0).all()
    assert (completed[rows, frame.right + 10 :] == 0).all()


def test_what_only_may_be_a_face_is_not_drawn_into_a_stroke() -> None:
    """Of strokes over scenes one in a hundred and fifty was taken for a face's, of a lower score than any face had."""
    mask = np.zeros((1000, 2400), bool)
    mask[480:560] = True
    image = np.zeros((*mask.shape, 3), np.uint8)

    def looks(score: float) -> list[bool]:
        def find(_image: np.ndarray, _mask: np.ndarray, boxes: Sequence[Box]) -> list[FacePose | None]:
            return [FacePose(5 + 0j, 700 + 100j, score) for _ in boxes]

        return [look.after for _, look in plan_looks(image, mask, "auto", FRAME, find, 64)]

    assert looks(0.98) == [False]
    assert looks(1.0) == [False, True]
