"""The training loop: what happens around one optimisation step, the same for every family.

A family describes itself as a `Recipe`; `run` does the rest. All chance comes
from (seed, rank, step): batches are made by a generator of that triple and torch is
seeded with it before each step, so a checkpoint has no random state to carry and a
run that was stopped and resumed ends, bit for bit on a CPU, as one that never was.
"""

import fcntl
import hashlib
import json
import math
import shlex
import signal
import subprocess  # nosec B404: only `git rev-parse`, fixed arguments
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from models.catalog import CARD, WEIGHTS, Card, Kind, write_atomically
from models.training import checkpoint, processes
from models.training.errors import CheckpointError, DivergedError, TrainingError, UnsavedError
from models.training.options import OPTIONS, Options
from models.training.report import ACCURACY, Reporter, VictoryWatch

_PATIENCE_SECONDS = 10.0

Batch = TypeVar("Batch")
Figures = dict[str, Tensor]
"""Losses and accuracies of one step, scalars on the device."""


@dataclass(frozen=True)
class About:
    """What a family contributes to the card of its weights."""

    family: Kind
    name: str
    title: str
    description: str
    data: str
    licence: str
    recipe: str
    image_size: int
    options: dict[str, Any]
    aligned: bool = False


class Recipe(ABC, Generic[Batch]):
    """One family's training: networks, optimisers, and what a step does with them."""

    options: Options
    steps: int
    """Of the whole run."""

    @abstractmethod
    def batch(self, step: int) -> Batch:
        """The data of `step` for this process: a pure function of the step, called from other threads."""

    @abstractmethod
    def step(self, step: int, batch: Batch) -> Figures:
        """One optimisation step."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers, averages: everything that `step` changes."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Become what `state_dict` described."""

    @abstractmethod
    def preview(self) -> npt.NDArray[np.uint8]:
        """A picture (H, W, 3) of how far it has come: the same noise, or the same holes, each time."""

    @abstractmethod
    def weights(self) -> dict[str, Tensor]:
        """The state of the network to serve."""

    @abstractmethod
    def about(self) -> About:
        """For the card."""

    def validate(self) -> dict[str, float]:
        """Figures on held-out pictures, named with their unit; none by default. May not change the state."""
        return {}

    def phase(self, step: int) -> str:
        """For people: what the run is doing at `step`."""
        return "training" if step < self.steps else "finished"


class Outcome(StrEnum):
    """How `run` ended."""

    FINISHED = "finished"
    STOPPED = "stopped"
    """By a signal; a checkpoint of the last step is written."""


def run(
    recipe: Recipe[Any],
    out: Path,
    *,
    device: torch.device,
    resume: bool = False,
    tensorboard: bool = True,
    command: Sequence[str] = (),
) -> Outcome:
    """Train to the last step, from the newest checkpoint in `out` where `resume` says so.

    The card tells the words of the `command` that began the run, and what was changed when it went on.
    SIGTERM and SIGINT end it after the step under way, with a checkpoint.
    Raises TrainingError, which leaves the last good checkpoint in place.
    """
    first = processes.rank() == 0
    try:
        _make_folder(out)
        with _alone(out) if first else nullcontext():
            reporter = Reporter(out, active=first, tensorboard=tensorboard)
            return _Run(recipe, out, device, first, reporter, command_line(command)).run(resume)
    except OSError as error:  # the log or a preview met a full disk; `checkpoint.save` speaks for itself
        raise UnsavedError(
            f"{out} cannot be written ({error}). Checkpoints are intact: make room and resume."
        ) from error


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise TrainingError(f"{out} cannot be made a folder ({error.strerror}): choose another for the run.") from error


class _Run:
    def __init__(
        self, recipe: Recipe[Any], out: Path, device: torch.device, first: bool, reporter: Reporter, command: str
    ) -> None:
        self._recipe = recipe
        self._options = recipe.options
        self._out = out
        self._device = device
        self._first = first
        self._reporter = reporter
        self._command = command
        self._changes: list[str] = []  # of options, when it went on
        self._step = 0  # the next one to do
        self._seconds = 0.0  # of training, over all resumptions
        self._images = 0
        self._metrics: dict[str, float] = {}
        self._watch = VictoryWatch()
        self._pending: list[Figures] = []  # not yet read from the device
        self._unlogged: list[dict[str, float]] = []  # read, but the next line of the log is still to come
        self._pace: deque[tuple[float, int]] = deque(maxlen=20)

    def run(self, resume: bool) -> Outcome:
        with _stop_signals() as stop:
            self._begin(resume)
            return self._train(stop)

    def _train(self, stop: Sequence[str]) -> Outcome:
        recipe, options = self._recipe, self._options
        saved_at = time.monotonic()
        steps = range(self._step, recipe.steps)
        with _prefetch(recipe.batch, steps, options.data_threads, self._device) as batches:
            self._pace.append((time.monotonic(), self._images))
            before = time.monotonic()
            while self._step < recipe.steps:
                torch.manual_seed(_seed_of(options.seed, processes.rank(), self._step))
                self._pending.append(recipe.step(self._step, next(batches)))
                self._step += 1
                self._images += options.batch_size * processes.world()
                now = time.monotonic()
                self._seconds, before = self._seconds + now - before, now
                if self._step % options.log_every == 0 or self._step == recipe.steps:
                    self._log(now)
                if self._step % options.validate_every == 0 or self._step == recipe.steps:
                    self._validate()
                if self._first and self._step % options.preview_every == 0:
                    self._reporter.preview(self._step, recipe.preview())
                due = time.monotonic() - saved_at >= options.checkpoint_seconds
                stopping = processes.agree(bool(stop), self._device)
                if stopping or self._step == recipe.steps or processes.agree(due, self._device):
                    self._save()
                    saved_at = before = time.monotonic()
                if stopping and self._step < recipe.steps:
                    self._reporter.event("stopped", self._step, reason=stop[0] if stop else "another process")
                    return Outcome.STOPPED
        self._reporter.event("finished", self._step, images=self._images, hours=round(self._seconds / 3600, 3))
        return Outcome.FINISHED

    def _begin(self, resume: bool) -> None:
        state, passed_over = checkpoint.load_newest(self._out, self._device) if resume else (None, [])
        if not resume and any(self._out.glob("checkpoint-*.pt")):
            raise TrainingError(f"{self._out} holds a run already: resume it, or choose another folder.")
        for reason in passed_over:
            self._reporter.event("warning", 0, message=f"A damaged checkpoint was passed over. {reason}")
        options = self._options.model_dump(mode="json")
        if state is not None:
            changed = sorted(key for key, value in options.items() if state["options"].get(key, value) != value)
            try:
                self._recipe.load_state_dict(state["recipe"])
            except (RuntimeError, KeyError, ValueError) as error:
                differ = ", ".join(changed) or "none"
                raise CheckpointError(
                    f"The checkpoint in {self._out} does not fit these options (changed: {differ}): {error}"
                ) from error
            self._step, self._seconds, self._images = state["step"], state["seconds"], state["images"]
            if self._step > self._recipe.steps:
                raise TrainingError(
                    f"The run in {self._out} has done {self._step} steps, and these options have {self._recipe.steps} "
                    "in all: there is nothing left to do. Resume it with more, or use its weights as they are."
                )
            self._metrics = dict(state["metrics"])
            self._command = state.get("command") or self._command
            self._changes, self._unlogged = list(state.get("changes", ())), list(state.get("unlogged", ()))
            if changed:
                now = ", ".join(f"{key}={json.dumps(options[key])}" for key in changed)
                self._changes.append(f"from step {self._step} on {now}")
            self._reporter.event("resumed", self._step, of=self._recipe.steps, changed_options=", ".join(changed))
            if self._first:
                self._export()  # again: the run may have been killed between its last checkpoint and this
        else:
            self._reporter.event("started", 0, of=self._recipe.steps)
            if self._first:
                self._reporter.preview(0, self._recipe.preview())
        if self._first:
            write_atomically(self._out / OPTIONS, json.dumps(options, indent=2).encode())
        processes.wait()

    def _log(self, now: float) -> None:
        self._read_figures()
        steps, self._unlogged = self._unlogged, []
        names = list(dict.fromkeys(name for figures in steps for name in figures))
        means = {name: float(np.mean([figures[name] for figures in steps if name in figures])) for name in names}
        self._pace.append((now, self._images))
        (then, images), rate = self._pace[0], 0.0
        if now > then:
            rate = (self._images - images) / (now - then)
        left = (self._recipe.steps - self._step) * self._options.batch_size * processes.world()
        self._reporter.figures(
            "progress",
            self._step,
            means,
            of=self._recipe.steps,
            phase=self._recipe.phase(self._step - 1),
            images=self._images,
            images_per_second=round(rate, 2),
            eta_seconds=round(left / rate) if rate else None,
        )

    def _read_figures(self) -> None:
        """For the next line of the log; waits for the device. Raises DivergedError."""
        steps = [{name: float(value) for name, value in figures.items()} for figures in self._pending]
        first = self._step - len(steps) + 1
        self._pending.clear()
        diverged = False
        for offset, figures in enumerate(steps):
            bad = sorted(name for name, value in figures.items() if not math.isfinite(value))
            if bad:
                diverged = True
                self._reporter.event("diverged", first + offset, figures=", ".join(bad))
                break
            if ACCURACY in figures and (warning := self._watch.add(figures[ACCURACY])):
                self._reporter.event("warning", first + offset, message=warning)
        if processes.agree(diverged, self._device):
            raise DivergedError(
                f"A loss became NaN or infinite at step {self._step} or shortly before; the last good checkpoint "
                f"is kept in {self._out}. Resume from it with a smaller learning rate."
            )
        self._unlogged += steps

    def _validate(self) -> None:
        if self._first:
            found = self._recipe.validate()
            if found:
                self._metrics = found
                self._reporter.figures("validation", self._step, found)
        processes.wait()

    def _save(self) -> None:
        """Checkpoint and export. Figures are read first, so that a run gone wrong is noticed before it is saved."""
        self._read_figures()
        if self._first:
            state = {
                "step": self._step,
                "seconds": self._seconds,
                "images": self._images,
                "metrics": self._metrics,
                "unlogged": self._unlogged,
                "command": self._command,
                "changes": self._changes,
                "options": self._options.model_dump(mode="json"),
                "recipe": self._recipe.state_dict(),
            }
            checkpoint.save(self._out, self._step, state)
            self._export()
            self._reporter.event("checkpoint", self._step)
        processes.wait()

    def _export(self) -> None:
        export(
            self._recipe,
            self._out,
            images=self._images,
            seconds=self._seconds,
            metrics=self._metrics,
            command=self._command,
            changes=self._changes,
        )


def export(
    recipe: Recipe[Any],
    out: Path,
    *,
    images: int,
    seconds: float,
    metrics: Mapping[str, float],
    command: str = "",
    changes: Sequence[str] = (),
) -> Card:
    """Write what would be served now: `weights.safetensors` and its `card.json`, in `out`."""
    content = safetensors.torch.save({name: compact(name, value) for name, value in recipe.weights().items()})
    about = recipe.about()
    several = f"; {processes.world()} processes, each with batches of its own" if processes.world() > 1 else ""
    card = Card(
        **vars(about) | {"recipe": "; ".join([about.recipe + several, *changes])},
        sha256=hashlib.sha256(content).hexdigest(),
        images_seen=images,
        hours=round(seconds / 3600, 3),
        metrics={name: float(f"{value:.4g}") for name, value in metrics.items()},
        command=command,
        commit=_commit(),
        created=datetime.now(UTC).date().isoformat(),
    )
    write_atomically(out / WEIGHTS, content)
    write_atomically(out / CARD, card.model_dump_json(indent=2).encode())
    return card


def command_line(arguments: Sequence[str]) -> str:
    """For a card: a command, but no more of a path than its last part, since where it lay is nobody's business."""
    return shlex.join(Path(argument).name if Path(argument).is_absolute() else argument for argument in arguments)


def compact(name: str, value: Tensor) -> Tensor:
    """Half precision where it loses nothing that shows: kernels and biases; statistics stay as they are."""
    value = value.detach().cpu().contiguous()
    small = name.endswith((".weight", ".bias")) and bool(value.abs().max() < 6e4)
    return value.half() if small else value


def _seed_of(seed: int, rank: int, step: int) -> int:
    return int(np.random.SeedSequence((seed, rank, step)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _commit() -> str:
    try:
        found = subprocess.run(  # nosec B603 B607
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"  # installed from a wheel
    return found.stdout.strip()


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """No other run works in `out` meanwhile. One that was just killed gets a moment to be gone."""
    with (out / ".lock").open("w") as file:
        patience = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released with the file, by a crash too
                break
            except BlockingIOError:
                if time.monotonic() > patience:
                    raise TrainingError(f"Another process is training in {out}. Stop it, or wait for it.") from None
                time.sleep(0.1)
        yield


@contextmanager
def _stop_signals() -> Iterator[list[str]]:
    """A list that gets the name of a SIGTERM or SIGINT when one comes; a second one acts as it always did."""
    received: list[str] = []

    def note(number: int, _frame: FrameType | None) -> None:
        known = signal.Signals(number)
        received.append(known.name)
        signal.signal(known, previous[known])

    try:
        previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not the main thread: whoever runs us there handles signals
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _prefetch(
    make: Callable[[int], Batch], steps: range, workers: int, device: torch.device
) -> Iterator[Iterator[Batch]]:
    """The batches of `steps`, in order, each made before it is wanted.

    For a CPU by threads, which use what a step leaves over. For a GPU by processes, into pinned memory: the
    thread that launches its kernels would wait for Python's lock at each of them.
    """
    if device.type == "cuda":
        yield iter(_made_by_processes(make, steps, workers))
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="batches")

    def batches() -> Iterator[Batch]:
        coming, ahead = iter(steps), deque[Future[Batch]]()
        while True:
            ahead.extend(pool.submit(make, step) for step in islice(coming, workers + 1 - len(ahead)))
            if not ahead:
                return
            yield ahead.popleft().result()

    try:
        yield batches()
    finally:
        pool.shutdown(cancel_futures=True)


class _Steps(Dataset[Batch]):
    def __init__(self, make: Callable[[int], Batch]) -> None:
        self._make = make

    def __getitem__(self, step: int) -> Batch:
        return self._make(step)


def _made_by_processes(
    make: Callable[[int], Batch], steps: range, workers: int, *, pinned: bool = True
) -> DataLoader[Batch]:
    return DataLoader(
        _Steps(make),
        batch_size=None,  # a step's batch comes whole
        sampler=steps,
        num_workers=workers,
        pin_memory=pinned,
        multiprocessing_context="fork",  # a recipe holds what is on the device and cannot be sent
        worker_init_fn=_begin_worker,
    )


def _begin_worker(_number: int) -> None:
    """What stops a run is the run's affair, and OpenCV's threads do not survive a fork."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    cv2.setNumThreads(0)
