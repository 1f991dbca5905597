"""Complete a picture: image and mask in, image with its holes filled out.

    group the holes -> choose for each group what the network sees -> run the
    network -> join to the surroundings -> put back, at the picture's own scale

Outside the mask nothing changes, and nothing inside it is ever read. One
completion is a generator that asks for network runs, so several can share a
batch (`complete_many`) and all of it stops at a word (`cancelled`).
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from models.glcic.align import FindFaces
from models.glcic.blend import Blend, add_detail, blend, calm, grain_around, lean_on_neighbours, redden, settle_colours
from models.glcic.enlarge import Enlarge
from models.glcic.face_view import TurnedView, brightening, view_again, without_grain
from models.glcic.geometry import Box, Canvas, Mask, Pixels, View
from models.glcic.network import MARGIN
from models.glcic.skin import REACH, skin_detail
from models.glcic.symmetry import lend_other_side
from models.glcic.texture import borrow_detail, context
from models.glcic.views import AGAIN, Look, Strategy, plan_looks

Progress = Callable[[int, int], None]
"""Called with the number of finished network runs and of all of them."""

BlendChoice = Literal["auto"] | Blend
"""auto: `feather` for a network that knows faces, and what colours they have, enlarged by a network of its own that
makes outlines clear (`models.glcic.enlarge`), with skin from beside the hole (`models.glcic.skin`) and what a face's
other side lends (`models.glcic.symmetry`); for any other `poisson`, contrasts kept within those around
(`models.glcic.blend.calm`), and detail borrowed from the rest of the photograph (`models.glcic.texture`). Either leans
on known pixels next door (`models.glcic.blend.lean_on_neighbours`)."""

TILE = 512
"""Larger canvases are computed in tiles of this side, plus the receptive field around them: the same result."""


EDGE = 2
"""Pixels of a reduced canvas, from the hole's edge, over which the surroundings' own detail turns into grain."""

_GREY = 2  # levels between the channels of a pixel that has no colour: saved as JPEG, a grey one can have so much
_INTERLACED = 64  # a row of so many tells that most pictures are in colour

_LEFT_OF_GRAIN = 0.4  # in a face of which so little is known that it lends no skin: smooth skin is no blurred patch


class Cancelled(Exception):  # noqa: N818 - an outcome that was asked for, not an error
    """`cancelled()` turned true before the picture was finished."""


class Engine(Protocol):
    """What runs the network; see models.engine.CompletionEngine."""

    @property
    def batch_limit(self) -> int:
        """Most canvases of one shape that it gains by taking at once."""
        ...

    @property
    def image_size(self) -> int:
        """Side of the pictures that the network was trained at."""
        ...

    @property
    def find_faces(self) -> FindFaces | None:
        """Finds the face that a hole belongs to, for a network that was trained on aligned faces."""
        ...

    @property
    def enlarge(self) -> Enlarge | None:
        """Enlarges what was drawn of a face better than interpolation does."""
        ...

    def __call__(self, image: Tensor, mask: Tensor) -> Tensor:
        """(B, 3, H, W) and (B, 1, H, W) float32 on the CPU in, (B, 3, H, W) float32 on the CPU out: the pictures with
        their holes completed."""
        ...


@dataclass(frozen=True)
class CompletionTask:
    """One picture to complete, as `complete` takes it."""

    image: Pixels
    mask: Mask
    strategy: Strategy = "auto"
    blend: BlendChoice = "auto"
    on_progress: Progress | None = None
    cancelled: Callable[[], bool] | None = None
    elsewhere: Engine | None = None
    """Completes the holes that lie in no face; where there is none, one engine completes all."""


@dataclass(frozen=True)
class Completed:
    """A picture without holes."""

    pixels: Pixels
    engines: tuple[Engine, ...]
    """Those that drew in it; none where the mask was empty."""


Outcome = Completed | Exception
"""What became of a task among several: its picture, or why there is none."""


class _Run(NamedTuple):
    """One run of a network that a completion waits for."""

    canvas: Canvas
    hole: Mask
    engine: Engine


_Completion = Generator[_Run, Canvas, Completed]


def complete(
    image: Pixels,
    mask: Mask,
    engine: Engine,
    *,
    strategy: Strategy = "auto",
    blend: BlendChoice = "auto",
    on_progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    elsewhere: Engine | None = None,
) -> Pixels:
    """Fill the holes of one picture.

    image: (H, W, 3) uint8, RGB, any size from 1x1. mask: (H, W) bool, True =
    fill; may be empty or full. strategy: what the network sees, see
    `models.glcic.views.choose_look`. blend: how the hole is joined, see
    `BlendChoice` and `models.glcic.blend.blend`. Where all that is known is grey, so is what
    is filled in. on_progress: called with finished and all steps.
    cancelled: asked before each network run. elsewhere: completes the holes that
    lie in no face, where `engine` can tell.

    Returns a new (H, W, 3) uint8 picture, equal to `image` outside the mask;
    the same input gives the same bytes. Raises Cancelled, and ValueError when
    shapes or types are not as above.
    """
    task = CompletionTask(image, mask, strategy, blend, on_progress, cancelled, elsewhere)
    outcome = complete_many([task], engine)[0]
    if isinstance(outcome, Exception):
        raise outcome
    return outcome.pixels


def complete_many(tasks: Sequence[CompletionTask], engine: Engine) -> list[Outcome]:
    """Complete several pictures; network runs of equal shape share a batch where the engine gains by it.

    The outcome of a task does not fail with another's: it is its picture, or
    the exception that `complete` would have raised for it.
    """
    outcomes: list[Outcome | None] = [None] * len(tasks)
    completions = [_complete(task, engine) for task in tasks]
    waiting: dict[int, _Run] = {}

    def advance(number: int, answer: Canvas | None) -> None:
        try:
            waiting[number] = next(completions[number]) if answer is None else completions[number].send(answer)
        except StopIteration as end:
            outcomes[number] = end.value
        except (Cancelled, ValueError) as error:
            outcomes[number] = error

    for number in range(len(tasks)):
        advance(number, None)
    while waiting:
        first = next(iter(waiting.values()))
        alike = [number for number, run in waiting.items() if _alike(run, first)]
        batch = alike[: max(1, first.engine.batch_limit)]
        runs = [waiting.pop(number) for number in batch]
        for number, answer in zip(batch, _run(runs), strict=True):
            advance(number, answer)
    return [outcome for outcome in outcomes if outcome is not None]


def _alike(run: _Run, other: _Run) -> bool:
    """Whether one batch can have both."""
    return run.engine is other.engine and run.hole.shape == other.hole.shape


def _complete(task: CompletionTask, engine: Engine) -> _Completion:
    image, mask = task.image, task.mask
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"The image must be (H, W, 3) uint8, not {image.shape} {image.dtype}.")
    if mask.shape != image.shape[:2] or mask.dtype != np.bool_:
        raise ValueError(f"The mask must be {image.shape[:2]} bool like the image, not {mask.shape} {mask.dtype}.")
    result = image.copy()
    elsewhere = task.elsewhere
    plan = plan_looks(
        image, mask, task.strategy, engine.image_size, engine.find_faces, elsewhere.image_size if elsewhere else None
    )
    grey = bool(plan) and _is_grey(image, mask)
    drew: list[Engine] = []
    steps = _Steps(task, sum(len(_tiles(look.view.canvas_size)) * look.runs for _, look in plan))
    for box, look in plan:
        chosen = elsewhere if look.elsewhere and elsewhere else engine
        if chosen not in drew:
            drew.append(chosen)
        own = np.zeros((box.height, box.width), np.bool_)
        for group in look.groups or (box,):
            own[group.within(box).slices] = mask[group.slices]
        seen, missing = image, mask
        if look.after:
            seen, missing = result.copy(), np.zeros_like(mask)
            missing[box.slices] = own
        view, canvas, hole, drawn = yield from _draw(seen, missing, box, look, chosen, steps)
        how = _chosen_blend(task.blend, chosen)
        joined = blend(canvas, hole, drawn, how)
        if task.blend != "auto":
            _put_back(result, missing, box, own, view, joined, how)
        elif chosen.find_faces is None:
            joined = calm(canvas, hole, joined)
            _put_back(result, missing, box, own, view, joined, how, leans=True, borrows=True)
        elif isinstance(view, TurnedView):
            drawn_of_face = hole & view.face
            joined = settle_colours(joined, drawn_of_face)
            if not grey:
                joined = redden(joined, drawn_of_face, view.scale)
            larger = joined if chosen.enlarge is None else chosen.enlarge(joined, hole, view.scale)
            _put_back(result, missing, box, own, view, larger, how, leans=True)
            _lend(result, seen, missing, box, own, view, joined, hole)
        else:
            _put_back(result, missing, box, own, view, joined, how, leans=True)
        if grey:
            part = result[box.slices]
            part[own] = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY)[own][:, None]
    return Completed(result, tuple(drew))


def _is_grey(image: Pixels, mask: Mask) -> bool:
    """Whether pixels are known and none of them has a colour: a photograph in black and white, saved as RGB."""
    for first in range(min(_INTERLACED, image.shape[0])):
        rows = slice(first, None, _INTERLACED)
        red, green, blue = (np.ascontiguousarray(image[rows, :, channel]) for channel in range(3))
        apart = cv2.max(cv2.max(red, green), blue) - cv2.min(cv2.min(red, green), blue)
        if ((apart > _GREY) & ~mask[rows]).any():
            return False
    return not mask.all()


def _draw(
    image: Pixels, mask: Mask, box: Box, look: Look, engine: Engine, steps: "_Steps"
) -> Generator[_Run, Canvas, tuple[View, Canvas, Mask, Canvas]]:
    """The view of the hole in `box`, what it shows, where that has holes, and the network's picture of it."""
    view: View = look.view
    canvas, hole = view.take(image, mask)
    drawn = yield from _draw_seen(canvas, hole, view, engine, steps)
    if isinstance(view, TurnedView) and engine.find_faces is not None:
        for left in range(AGAIN, 0, -1):
            shown = np.where(hole[..., None], drawn, canvas)
            better = view_again(view, shown, hole, box, mask, engine.find_faces)
            if better is None:
                steps.finish(left)
                break
            view = better
            canvas, hole = view.take(image, mask)
            drawn = yield from _draw_seen(canvas, hole, view, engine, steps)
    if look.twice:
        mirrored = yield from _draw_seen(canvas[:, ::-1], hole[:, ::-1], view, engine, steps)
        drawn = (drawn + mirrored[:, ::-1]) * np.float32(0.5)
    return view, canvas, hole, drawn


def _draw_seen(
    canvas: Canvas, hole: Mask, view: View, engine: Engine, steps: "_Steps"
) -> Generator[_Run, Canvas, Canvas]:
    """The network's picture of a canvas. A face is shown to it as it learned to see faces: bright, and without grain
    where it was reduced."""
    if not isinstance(view, TurnedView):
        return (yield from _run_network(canvas, hole, engine, steps))
    seen = without_grain(canvas, hole) if view.scale < 1 else canvas
    power = brightening(seen, hole, view.face)
    if power == 1:
        return (yield from _run_network(seen, hole, engine, steps))
    drawn = yield from _run_network(np.asarray(cv2.pow(seen, power), np.float32), hole, engine, steps)
    return np.asarray(cv2.pow(drawn, 1 / power), np.float32)


def _chosen_blend(choice: BlendChoice, engine: Engine) -> Blend:
    if choice == "auto":
        return "poisson" if engine.find_faces is None else "feather"
    return choice


@dataclass
class _Steps:
    """Counts the network runs of one task for those who watch it, and stops at their word."""

    task: CompletionTask
    total: int
    done: int = 0

    def start(self) -> None:
        if self.task.cancelled is not None and self.task.cancelled():
            raise Cancelled

    def finish(self, steps: int = 1) -> None:
        self.done += steps
        if self.task.on_progress is not None:
            self.task.on_progress(self.done, self.total)


def _run_network(canvas: Canvas, hole: Mask, engine: Engine, steps: _Steps) -> Generator[_Run, Canvas, Canvas]:
    """The network's picture of `canvas` where it has holes, tile by tile where it is large."""
    size = (canvas.shape[0], canvas.shape[1])
    completed = np.zeros_like(canvas)
    for tile in _tiles(size):
        if hole[tile.slices].any():
            steps.start()
            # With the receptive field around it a tile comes out as if the whole canvas had been computed.
            around = tile.grown(MARGIN, size)
            answer = yield _Run(canvas[around.slices], hole[around.slices], engine)
            completed[tile.slices] = answer[tile.within(around).slices]
        steps.finish()
    return completed


def _put_back(
    result: Pixels,
    mask: Mask,
    box: Box,
    own: Mask,
    view: View,
    joined: Canvas,
    how: Blend,
    *,
    leans: bool = False,
    borrows: bool = False,
) -> None:
    """Write what `joined` shows of the holes in `box` that are its `own` into `result`; leaning on what is next door,
    borrowing detail."""
    size = (mask.shape[0], mask.shape[1])
    around = box.grown(2, size)
    patch, hole = view.put_back(joined, around), mask[around.slices]
    if view.scale < 1 and how != "none":
        known, reach = result[around.slices] * np.float32(1 / 255), EDGE / view.scale
        grain = grain_around(known, hole, patch, reach)
        if isinstance(view, TurnedView):
            grain = _with_skin(grain, result, mask, around, view)
        patch = add_detail(known, hole, patch, reach, grain)
    if borrows:
        wide = box.grown(context(max(box.height, box.width)), size)
        wanted = np.zeros((wide.height, wide.width), np.bool_)
        wanted[box.within(wide).slices] = own
        patch = patch + borrow_detail(result[wide.slices], mask[wide.slices], wanted, patch, around.within(wide))
    if leans:
        patch = lean_on_neighbours(result[around.slices] * np.float32(1 / 255), hole, patch)
    shown = patch[box.within(around).slices]
    result[box.slices][own] = np.rint(np.clip(shown[own], 0, 1) * 255).astype(np.uint8)


def _with_skin(grain: Canvas, result: Pixels, mask: Mask, around: Box, view: TurnedView) -> Canvas:
    """`grain`, for the part `around` of the picture, with skin in its place where the view shows a face."""
    face = view.showing(view.face, around)
    wide = around.grown(round(REACH / view.scale), (mask.shape[0], mask.shape[1]))
    wanted = np.zeros((wide.height, wide.width), np.bool_)
    wanted[around.within(wide).slices] = face & mask[around.slices]
    skin = view.showing(view.skin, wide)
    detail = skin_detail(result[wide.slices], mask[wide.slices], skin, wanted, view.scale)
    of_face = _LEFT_OF_GRAIN * grain if detail is None else detail[around.within(wide).slices]
    return np.where(face[..., None], of_face, grain)


def _lend(
    result: Pixels, image: Pixels, mask: Mask, box: Box, own: Mask, view: TurnedView, joined: Canvas, hole: Mask
) -> None:
    """Write over what was drawn of a face in the holes in `box` that are its `own` what its other side lends."""
    around = box.grown(1, (mask.shape[0], mask.shape[1]))
    drawn = result[around.slices] * np.float32(1 / 255)
    lent = lend_other_side(image, mask, drawn, around, view, joined, hole)
    lent = lent[box.within(around).slices]
    result[box.slices][own] = np.rint(np.clip(lent[own], 0, 1) * 255).astype(np.uint8)


def _tiles(size: tuple[int, int]) -> list[Box]:
    height, width = size
    return [
        Box(top, left, min(top + TILE, height), min(left + TILE, width))
        for top in range(0, height, TILE)
        for left in range(0, width, TILE)
    ]


def _run(runs: list[_Run]) -> list[Canvas]:
    image = torch.from_numpy(np.stack([run.canvas.transpose(2, 0, 1) for run in runs]))
    mask = torch.from_numpy(np.stack([run.hole[None].astype(np.float32) for run in runs]))
    return [answer.numpy().transpose(1, 2, 0) for answer in runs[0].engine(image, mask)]
