"""Completion: what is outside the hole stays, what is inside is never read, and no picture is too odd."""

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.engine import CompletionEngine
from models.glcic import complete as module
from models.glcic.blend import Blend
from models.glcic.complete import BlendChoice, Cancelled, Completed, CompletionTask, complete, complete_many
from models.glcic.geometry import Box, Mask, Pixels, dilate
from models.glcic.views import Strategy
from tests.models.glcic.conftest import FakeEngine

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
BLENDS: tuple[BlendChoice, ...] = ("auto", *get_args(Blend))
MASKS = ("empty", "full", "pixel", "box", "border", "corner", "scattered", "stroke", "two", "all but one")

sides = st.one_of(st.integers(1, 8), st.integers(9, 90), st.sampled_from([128, 200, 333]))
seeds = st.integers(0, 2**32 - 1)


def make_picture(height: int, width: int, seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def make_mask(kind: str, height: int, width: int, seed: int) -> Mask:
    random = np.random.default_rng(seed)
    mask = np.zeros((height, width), bool)
    row, column = int(random.integers(height)), int(random.integers(width))
    if kind == "full":
        mask[:] = True
    elif kind == "pixel":
        mask[row, column] = True
    elif kind == "all but one":
        mask[:] = True
        mask[row, column] = False
    elif kind in ("box", "two"):
        mask[row : row + 1 + height // 3, column : column + 1 + width // 2] = True
        if kind == "two":
            mask[: 1 + height // 9, : 1 + width // 9] = True
    elif kind == "border":
        mask[:, : 1 + width // 4] = True
    elif kind == "corner":
        mask[-(1 + height // 3) :, -(1 + width // 3) :] = True
    elif kind == "scattered":
        mask = random.random((height, width)) < random.uniform(0.1, 0.9)
    elif kind == "stroke":
        for step in range(max(height, width)):
            mask[min(step, height - 1), min(step, width - 1)] = True
        mask = dilate(mask, 2)
    return mask


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    height=sides,
    width=sides,
    kind=st.sampled_from(MASKS),
    strategy=st.sampled_from(STRATEGIES),
    blend=st.sampled_from(BLENDS),
    seed=seeds,
)
def test_outside_the_hole_nothing_changes_and_inside_nothing_is_read(
    height: int, width: int, kind: str, strategy: Strategy, blend: BlendChoice, seed: int
) -> None:
    """At any size, hole, strategy and blend: same shape, same pixels outside, and the hole's own pixels do not matter.

    The second run has other pixels in the hole; that its result is equal also
    shows that equal input gives equal bytes.
    """
    image, mask = make_picture(height, width, seed), make_mask(kind, height, width, seed)
    before = image.copy()
    result = complete(image, mask, FakeEngine(), strategy=strategy, blend=blend)
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    assert np.array_equal(result[~mask], image[~mask])
    assert np.array_equal(image, before)
    poisoned = np.where(mask[..., None], 255 - image, image)
    again = complete(poisoned, mask, FakeEngine(), strategy=strategy, blend=blend)
    assert np.array_equal(result[mask], again[mask])


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (150, 2), (120, 100)], ids=str)
@pytest.mark.parametrize("kind", ["full", "corner", "scattered"])
def test_real_network_completes_odd_pictures(engine: CompletionEngine, size: tuple[int, int], kind: str) -> None:
    """With the network in service: same pixels outside, and inside the same again when the hole held other pixels."""
    image, mask = make_picture(*size, seed=7), make_mask(kind, *size, seed=7)
    result = complete(image, mask, engine)
    assert np.array_equal(result[~mask], image[~mask])
    assert np.array_equal(result, complete(np.where(mask[..., None], 99, image).astype(np.uint8), mask, engine))


def test_skin_is_completed_with_skin(engine: CompletionEngine) -> None:
    """In an evenly coloured picture the hole comes back in about that colour."""
    image = np.full((300, 300, 3), (200, 150, 120), np.uint8)
    mask = make_mask("empty", 300, 300, 0)
    mask[140:170, 120:160] = True
    result = complete(image, mask, engine)
    assert np.abs(result[mask].mean(axis=0) - (200, 150, 120)).max() < 25


class Red(FakeEngine):
    """Draws everything redder than it is."""

    def __call__(self, image: Tensor, mask: Tensor) -> Tensor:
        return (super().__call__(image, mask) + torch.tensor([0.2, 0, 0])[:, None, None]).clamp(0, 1)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("blend", BLENDS)
def test_a_picture_in_black_and_white_stays_so(strategy: Strategy, blend: BlendChoice) -> None:
    """Where all that is known is grey, give or take what JPEG makes of it, so is what fills the holes, whatever colours
    the network draws and the holes hide. One known pixel of a colour, and it is a picture in colour."""
    grey = np.random.default_rng(0).integers(0, 256, (180, 150, 1), np.uint8)
    image = (np.clip(grey, 2, 255) - np.array([0, 1, 2])).astype(np.uint8)
    mask = make_mask("two", 180, 150, 4) | make_mask("scattered", 180, 150, 4)
    image[mask] = (200, 30, 90)
    completed = complete(image, mask, Red(), strategy=strategy, blend=blend)
    assert np.ptp(completed[mask], axis=1).max() == 0
    assert np.array_equal(completed[~mask], image[~mask])
    row, column = np.argwhere(~mask)[-1]
    image[row, column] = (90, 60, 30)
    with_a_colour = complete(image, mask, Red(), strategy=strategy, blend=blend)
    assert np.ptp(with_a_colour[mask], axis=1).max() > 0


def test_where_nothing_is_known_the_network_has_its_colours() -> None:
    """A picture without a known pixel is in no colour, nor in black and white."""
    mask = np.ones((40, 50), bool)
    assert np.ptp(complete(np.zeros((40, 50, 3), np.uint8), mask, Red()), axis=2).min() > 0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_empty_mask_gives_a_copy_without_running_the_network(fake: FakeEngine, strategy: Strategy) -> None:
    """With nothing to fill the result is a copy of the picture and the network does not run."""
    image = make_picture(40, 50, 1)
    result = complete(image, np.zeros((40, 50), bool), fake, strategy=strategy)
    assert np.array_equal(result, image)
    assert not np.shares_memory(result, image)
    assert fake.shapes == []


@pytest.mark.parametrize(("top", "left"), [(0, 0), (13, 333), (30, 668), (0, 350)])
def test_original_computes_a_part_and_gives_the_pixels_of_the_whole(
    exact_engine: CompletionEngine, top: int, left: int
) -> None:
    """Strategy `original` gives what the network gives on the whole picture, though it computes a part of it."""
    height, width = 46, 702
    image, mask = make_picture(height, width, 3), np.zeros((height, width), bool)
    mask[top : top + 16, left : left + 34] = True
    padded = np.pad(image, ((0, -height % 4), (0, -width % 4), (0, 0)), mode="reflect")
    hole = np.pad(mask, ((0, -height % 4), (0, -width % 4)), mode="reflect")
    whole = exact_engine(
        torch.from_numpy(padded.astype(np.float32) / 255).permute(2, 0, 1)[None],
        torch.from_numpy(hole.astype(np.float32))[None, None],
    )
    expected = whole[0].permute(1, 2, 0).numpy()[:height, :width] * 255
    result = complete(image, mask, exact_engine, strategy="original", blend="none")
    assert np.abs(result[mask] - expected[mask]).max() <= 1


def test_a_canvas_in_tiles_is_the_canvas_at_once(
    exact_engine: CompletionEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A canvas that is computed tile by tile comes out as if it had been computed at once."""
    image = make_picture(48, 600, 5)
    mask = np.zeros((48, 600), bool)
    mask[8:40, 20:580] = True
    at_once = complete(image, mask, exact_engine, strategy="original")
    monkeypatch.setattr(module, "_tiles", lambda _: [Box(0, 0, 48, 300), Box(0, 300, 20, 600), Box(20, 300, 48, 600)])
    assert np.abs(complete(image, mask, exact_engine, strategy="original").astype(int) - at_once).max() <= 1


def test_a_large_picture_costs_no_more_network_than_a_small_one() -> None:
    """The same hole in 4000x3000 and in 512x512 pixels runs the network on as many pixels."""
    costs = []
    for height, width in ((3000, 4000), (512, 512)):
        mask = np.zeros((height, width), bool)
        mask[200:320, 200:320] = True
        engine = FakeEngine(image_size=128)
        complete(np.zeros((height, width, 3), np.uint8), mask, engine)
        costs.append(sum(int(np.prod(shape)) for shape in engine.shapes))
    assert costs[0] <= costs[1]


def test_many_give_what_one_by_one_gives() -> None:
    """Pictures that are completed together come out as each does alone; runs of one shape share a batch."""
    tasks = [
        CompletionTask(make_picture(height, 80, seed), make_mask(kind, height, 80, seed))
        for seed, (height, kind) in enumerate(
            [(80, "corner"), (80, "corner"), (80, "scattered"), (1, "full"), (50, "empty")]
        )
    ]
    batching = FakeEngine(batch_limit=3)
    together = complete_many(tasks, batching)
    for task, outcome in zip(tasks, together, strict=True):
        assert isinstance(outcome, Completed)
        assert np.array_equal(outcome.pixels, complete(task.image, task.mask, FakeEngine()))
    assert max(shape[0] for shape in batching.shapes) > 1


def test_a_task_that_fails_fails_alone(fake: FakeEngine) -> None:
    """A cancelled and a wrong task among several have their own outcome and do not touch the others."""
    image, mask = make_picture(20, 20, 0), make_mask("box", 20, 20, 0)
    outcomes = complete_many(
        [
            CompletionTask(image, mask),
            CompletionTask(image, mask, cancelled=lambda: True),
            CompletionTask(image, mask[:5]),
            CompletionTask(image, mask, "resize"),
        ],
        fake,
    )
    assert isinstance(outcomes[0], Completed)
    assert isinstance(outcomes[1], Cancelled)
    assert isinstance(outcomes[2], ValueError)
    assert isinstance(outcomes[3], Completed)


def test_cancel_stops_before_the_next_run(fake: FakeEngine) -> None:
    """Once cancelled, no further network run starts."""
    mask = np.zeros((400, 400), bool)
    mask[10:20, 10:20] = mask[300:310, 300:310] = True
    asked = iter([False, True])
    with pytest.raises(Cancelled):
        complete(make_picture(400, 400, 0), mask, fake, cancelled=lambda: next(asked))
    assert len(fake.shapes) == 1


def test_progress_counts_up_to_its_total(fake: FakeEngine) -> None:
    """Progress is told after each step, one further each time, and ends at the total it named from the start."""
    mask = np.zeros((400, 400), bool)
    mask[10:20, 10:20] = mask[300:310, 300:310] = True
    told: list[tuple[int, int]] = []
    complete(make_picture(400, 400, 0), mask, fake, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(done, told[0][1]) for done in range(1, told[0][1] + 1)]
    assert len(told) >= 2


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), bool)),
        (np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), bool)),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), bool)),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)),
        (np.zeros((0, 4, 3), np.uint8), np.zeros((0, 4), bool)),
    ],
)
def test_wrong_shapes_and_types_are_refused(fake: FakeEngine, image: Pixels, mask: Mask) -> None:
    """An image that is not (H, W, 3) uint8, or a mask that is not bool and as large, raises ValueError."""
    with pytest.raises(ValueError, match="must be"):
        complete(image, mask, fake)
