"""Training runs on disk: a folder per run, which jobs work on one after the other.

    RUNS/ID/run.json                       what was asked for, and the jobs so far
    RUNS/ID/log.jsonl, preview.png         what the training process tells
    RUNS/ID/checkpoint-*.pt                where it goes on from
    RUNS/ID/weights.safetensors, card.json what would be served now

A run outlives its jobs: the ledger forgets a job a day after it ended. Free of torch.
"""

import contextlib
import hashlib
import json
import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.catalog import Card, Family, write_atomically
from worker.contracts import Preset, TrainingRequest

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_TAIL_BYTES = 65536
_TRIES = 20
_MEASURED = frozenset({"progress", "validation"})
_NOT_FIGURES = frozenset({"time", "images_per_second"})


class UnknownRunError(LookupError):
    """No training run goes by this id."""


class RunRecord(BaseModel):
    """`run.json`."""

    model_config = ConfigDict(extra="ignore", frozen=True)  # as contracts are

    id: str
    owner: str
    family: Family
    dataset: str
    preset: Preset
    overrides: dict[str, Any] = Field(default_factory=dict)
    created_at: float
    jobs: tuple[str, ...] = Field(description="Ids of the jobs that worked on it, the latest last.")

    def ordered(self) -> tuple[object, ...]:
        """What was asked for when it began, but for what a resumption changed."""
        return self.family, self.dataset, self.preset

    def request(self) -> TrainingRequest:
        """What a job that goes on with it asks for."""
        return TrainingRequest.model_validate(
            {
                "run": self.id,
                "family": self.family,
                "dataset": self.dataset,
                "preset": self.preset,
                "overrides": self.overrides,
            }
        )


@dataclass(frozen=True)
class History:
    """A run from its beginning to now, as its log tells it."""

    figures: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """By name: step and value, in the order of the steps."""
    previews: list[int] = field(default_factory=list)
    """Steps at which a preview was made."""


@dataclass
class LogTail:
    """Follows a log that another process writes: each call gives the lines since the last one."""

    path: Path
    offset: int = field(default=0)

    def read(self) -> list[dict[str, Any]]:
        """New whole lines, parsed; a line half written waits for the next call."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self.offset += len(whole)
        return list(_parse(whole))

    def skip(self) -> None:
        """Pass over what is there already."""
        self.offset = self.path.stat().st_size if self.path.exists() else 0


class Runs:
    """The runs below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, run_id: str) -> Path:
        """Where the run lies, or will. Raises UnknownRunError for what cannot be an id."""
        if not _ID.fullmatch(run_id):
            raise UnknownRunError(f"'{run_id}' is no id of a training run.")
        return self._root / run_id

    def write(self, record: RunRecord) -> None:
        """Begin a run, or note another job of it."""
        write_atomically(self.folder(record.id) / "run.json", record.model_dump_json(indent=2).encode())

    def forget(self, run_id: str) -> None:
        """Undo `write` for a run that no job took."""
        (self.folder(run_id) / "run.json").unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something else lies there
            self.folder(run_id).rmdir()

    def get(self, run_id: str) -> RunRecord:
        """Raises UnknownRunError."""
        try:
            return RunRecord.model_validate_json((self.folder(run_id) / "run.json").read_bytes())
        except (OSError, ValidationError):
            raise UnknownRunError(f"There is no training run '{run_id}'.") from None

    def recent(self, owner: str, limit: int) -> list[RunRecord]:
        """The latest runs of `owner`, newest first."""
        records = []
        for file in self._root.glob("*/run.json"):
            try:
                records.append(self.get(file.parent.name))
            except UnknownRunError:
                continue  # a folder of something else
        mine = [record for record in records if record.owner == owner]
        return sorted(mine, key=lambda record: record.created_at, reverse=True)[:limit]

    def last(self, run_id: str) -> dict[str, dict[str, Any]]:
        """The latest line of each kind of event near the end of the run's log."""
        path = self.folder(run_id) / "log.jsonl"
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - _TAIL_BYTES))
                content = file.read()
        except OSError:
            return {}
        return {line["event"]: line for line in _parse(content)}

    def history(self, run_id: str, points: int) -> History:
        """Every figure over the whole run in at most `points` points, each the mean of its neighbours."""
        try:
            content = (self.folder(run_id) / "log.jsonl").read_bytes()
        except OSError:
            return History()
        figures: dict[str, dict[int, float]] = {}
        previews: set[int] = set()
        for line in _parse(content):
            step = line["step"]
            if line["event"] == "resumed":  # from a checkpoint: what came after it is done again
                figures = {name: {at: y for at, y in series.items() if at <= step} for name, series in figures.items()}
            elif line["event"] == "preview":
                previews.add(step)
            elif line["event"] in _MEASURED:
                for name, value in line.items():
                    if isinstance(value, float) and name not in _NOT_FIGURES:
                        figures.setdefault(name, {})[step] = value
        series = {name: _thin(sorted(values.items()), points) for name, values in figures.items() if values}
        return History(series, sorted(previews))

    def preview(self, run_id: str, step: int | None = None) -> bytes | None:
        """The newest preview, or the one made at `step`, a PNG; None where there is none."""
        name = "preview.png" if step is None else f"previews/{step:09d}.png"
        try:
            return (self.folder(run_id) / name).read_bytes()
        except OSError:
            return None

    def card(self, run_id: str) -> Card | None:
        """Of what would be served now; None before the first checkpoint."""
        try:
            return Card.model_validate_json((self.folder(run_id) / "card.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def export(self, run_id: str) -> tuple[Card, bytes] | None:
        """What would be served now; None before the first checkpoint.

        Weights and card are two files: when a checkpoint is written between the reading of one and of the other,
        they do not fit, and are read again.
        """
        folder = self.folder(run_id)
        for _ in range(_TRIES):
            card = self.card(run_id)
            try:
                weights = (folder / "weights.safetensors").read_bytes()
            except OSError:
                return None
            if card is None:
                return None
            if hashlib.sha256(weights).hexdigest() == card.sha256:
                return card, weights
            time.sleep(0.05)
        return None


def _thin(series: list[tuple[int, float]], points: int) -> list[tuple[int, float]]:
    size = math.ceil(len(series) / points)
    groups = (series[start : start + size] for start in range(0, len(series), size))
    return [(group[-1][0], float(f"{fmean(value for _, value in group):.6g}")) for group in groups]


def _parse(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.splitlines():
        try:
            parsed = json.loads(line)
        except ValueError:
            continue  # cut off at the start of the tail, or by a full disk
        if isinstance(parsed, dict) and isinstance(parsed.get("event"), str) and isinstance(parsed.get("step"), int):
            yield parsed
