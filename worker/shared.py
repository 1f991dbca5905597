"""What every host must see besides pictures: promoted weights, and training runs.

Where hosts share a disk, that is all there is to it. With a bucket, each host
keeps copies in `DATA_DIR`: files that are read are brought up to date at most a
second before, and what is written goes to the bucket before it is said to be done.

    weights/NAME/VERSION.safetensors, VERSION.json, active      as models/catalog.py lays them out
    runs/ID/...                                                 as worker/runs.py does
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Final

from models.catalog import Card, Catalog, write_atomically
from worker.bucket import Bucket
from worker.runs import RunRecord, Runs
from worker.settings import WorkerSettings
from worker.storage import MissingObjectError, Storage, StorageUnavailableError

_FRESH_SECONDS: Final = 1.0
_SMALL: Final = ("run.json", "log.jsonl", "card.json", "preview.png")
_WEIGHTS: Final = "weights.safetensors"
_KEPT: Final = (
    "checkpoint-*.pt",
    "options.json",
    "weights.safetensors",
    "card.json",
    "log.jsonl",
    "preview.png",
    "previews/*.png",
)
_LAST: Final = ("weights.safetensors", "card.json", "log.jsonl")
"""What others go by is put after what it tells of."""

_log = logging.getLogger(__name__)


def open_storage(settings: WorkerSettings) -> Storage:
    """Where pictures and results lie."""
    return Bucket(settings.storage_url) if settings.has_bucket else Storage(settings.storage_dir)


def open_catalog(settings: WorkerSettings) -> Catalog:
    """The models, with what was promoted on any host."""
    if settings.has_bucket:
        return SharedCatalog(Bucket(settings.storage_url), settings.weights_dir)
    return Catalog(store=settings.weights_dir)


def open_runs(settings: WorkerSettings) -> Runs:
    """The training runs of all hosts, to be looked at."""
    if settings.has_bucket:
        # Not `runs_dir`: on a host that trains, too, that is where a run is written.
        return SharedRuns(Bucket(settings.storage_url), settings.data_dir / "runs-seen")
    return Runs(settings.runs_dir)


class Mirror:
    """Copies, in `folder`, of what lies below `prefix` in a bucket."""

    def __init__(self, bucket: Bucket, prefix: str, folder: Path) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._folder = folder
        self._marks: dict[str, str] = {}  # by name: of the content that lies here
        self._looked_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def pull(self, wanted: Callable[[str], bool], below: str = "", fresh_seconds: float = _FRESH_SECONDS) -> None:
        """Bring copies of what is `wanted` by its name up to date, unless that was done a moment ago.

        Goes on with what is here while the bucket cannot be reached.
        """
        with self._lock:  # one thread looks, the others use what it finds
            if time.monotonic() >= self._looked_at.get(below, -fresh_seconds) + fresh_seconds:
                self._pull(wanted, below)
                self._looked_at[below] = time.monotonic()

    def _pull(self, wanted: Callable[[str], bool], below: str) -> None:
        try:
            names = self._list(below)
            for name, mark in names.items():
                if wanted(name) and self._marks.get(name) != mark:
                    self.fetch(name)
                    self._marks[name] = mark
            here = [name for name in self._marks if name.startswith(f"{below}/" if below else "")]
            for name in [name for name in here if name not in names]:
                (self._folder / name).unlink(missing_ok=True)
                del self._marks[name]
        except StorageUnavailableError as error:
            _log.warning("Going on with what is known here: %s", error)

    def fetch(self, name: str) -> bool:
        """Copy one file; False where the bucket has none. Raises StorageUnavailableError."""
        try:
            content = self._bucket.get(f"{self._prefix}/{name}")
        except MissingObjectError:
            return False
        write_atomically(self._folder / name, content)
        return True

    def put(self, name: str, content: bytes) -> None:
        """Put `content` into the bucket, and here."""
        self._bucket.put(f"{self._prefix}/{name}", content)
        write_atomically(self._folder / name, content)

    def delete(self, name: str) -> None:
        """Remove it there; the copy here is the caller's."""
        self._bucket.delete(f"{self._prefix}/{name}")

    def _list(self, below: str) -> dict[str, str]:
        folder = PurePosixPath(self._prefix, below).as_posix()
        found = self._bucket.list(folder)
        return {key.removeprefix(f"{self._prefix}/"): entry.mark for key, entry in found.items()}


class SharedCatalog(Catalog):
    """A catalogue whose promoted versions lie in a bucket; weights come here when they are wanted."""

    def __init__(self, bucket: Bucket, store: Path) -> None:
        super().__init__(store)
        self._cache = store
        self._mirror = Mirror(bucket, "weights", store)

    def names(self) -> list[str]:
        self._mirror.pull(lambda name: not name.endswith(".safetensors"))
        return super().names()

    def activate(self, name: str, version: str) -> Card:
        card = self.get(f"{name}@{version}")
        self._mirror.put(f"{name}/active", card.version.encode())
        return card

    def add(self, card: Card, weights: bytes) -> Card:
        super().add(card, weights)
        self._mirror.put(f"{card.name}/{card.version}.safetensors", weights)
        self._mirror.put(f"{card.name}/{card.version}.json", card.model_dump_json(indent=2).encode())
        return card

    def weights_path(self, card: Card) -> Path:
        """As in `Catalog`; a copy that is missing or damaged is fetched."""
        path = self._cache / card.name / f"{card.version}.safetensors"
        if path.with_suffix(".json").exists() and not _has_hash(path, card.sha256):
            self._mirror.fetch(f"{card.name}/{path.name}")
        return super().weights_path(card)


class SharedRuns(Runs):
    """Runs that are written on other hosts."""

    def __init__(self, bucket: Bucket, folder: Path) -> None:
        super().__init__(folder)
        self._mirror = Mirror(bucket, "runs", folder)

    def folder(self, run_id: str) -> Path:
        folder = super().folder(run_id)
        self._mirror.pull(lambda name: name.endswith(_SMALL) and name.count("/") == 1, below=run_id)
        return folder

    def write(self, record: RunRecord) -> None:
        self._mirror.put(f"{record.id}/run.json", record.model_dump_json(indent=2).encode())

    def forget(self, run_id: str) -> None:
        self._mirror.delete(f"{run_id}/run.json")
        super().forget(run_id)

    def recent(self, owner: str, limit: int) -> list[RunRecord]:
        self._mirror.pull(lambda name: name.endswith("/run.json"))
        return super().recent(owner, limit)

    def preview(self, run_id: str, step: int | None = None) -> bytes | None:
        if step is not None and not (self.folder(run_id) / (name := f"previews/{step:09d}.png")).exists():
            self._mirror.fetch(f"{run_id}/{name}")
        return super().preview(run_id, step)

    def export(self, run_id: str) -> tuple[Card, bytes] | None:
        self._mirror.pull(lambda name: name.endswith((_WEIGHTS, "card.json")), below=run_id, fresh_seconds=0)
        return super().export(run_id)


class RunKeeper:
    """Keeps the bucket's copy of a run that is written here; does nothing where hosts share a disk.

    Whoever has the job's lease writes the run, so there is one writer.
    """

    def __init__(self, settings: WorkerSettings, run_id: str, every_seconds: float = 2.0) -> None:
        self._bucket = Bucket(settings.storage_url) if settings.has_bucket else None
        self._folder = settings.runs_dir / run_id
        self._prefix = f"runs/{run_id}"
        self._every_seconds = every_seconds
        self._put: dict[str, tuple[int, int]] = {}  # by name: size and time of what the bucket has
        self._put_at = 0.0

    def bring(self) -> None:
        """Make the folder what the bucket says: another host may have gone on with the run. Raises
        StorageUnavailableError."""
        if self._bucket is None:
            return
        names = {key.removeprefix(f"{self._prefix}/") for key in self._bucket.list(self._prefix)}
        for path in self._files():
            if path.relative_to(self._folder).as_posix() not in names:
                path.unlink()
        for name in names:
            write_atomically(self._folder / name, self._bucket.get(f"{self._prefix}/{name}"))
        self._put = {name: stamp for name, stamp in self._stamps().items() if name in names}

    def keep(self, hurry: bool = False) -> None:
        """Put what has changed into the bucket, if that was not done a moment ago, or in a `hurry`."""
        if self._bucket is None or (not hurry and time.monotonic() < self._put_at + self._every_seconds):
            return
        stamps = self._stamps()
        try:
            for name in sorted(stamps, key=lambda name: (_LAST.index(name) + 1 if name in _LAST else 0, name)):
                if self._put.get(name) != stamps[name]:
                    self._bucket.put(f"{self._prefix}/{name}", (self._folder / name).read_bytes())
                    self._put[name] = stamps[name]
            for name in [name for name in self._put if name not in stamps and name != "run.json"]:
                self._bucket.delete(f"{self._prefix}/{name}")
                del self._put[name]
        except FileNotFoundError:
            pass  # a checkpoint made room for the next one; the next look sees that
        except StorageUnavailableError as error:
            _log.warning("The run is kept here alone for now: %s", error)
        self._put_at = time.monotonic()

    def _stamps(self) -> dict[str, tuple[int, int]]:
        """Of what is worth keeping; not `run.json`, which is the API's."""
        found = {}
        for path in self._files():
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found[path.relative_to(self._folder).as_posix()] = (status.st_size, status.st_mtime_ns)
        return found

    def _files(self) -> list[Path]:
        return [path for pattern in _KEPT for path in self._folder.glob(pattern)]


def _has_hash(path: Path, sha256: str) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    except OSError:
        return False
