"""Where pictures in flight and results lie: bytes by key, on a disk that API and workers share; worker/bucket.py is the
same without a disk.

Keys are `inputs/JOB.REQUEST`, `results/JOB` and `samples/SHEET`: as few files a job as can be, and no folder of its own
(decision 49).
"""

import mmap
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

_KEY = re.compile(r"[a-z0-9_-][a-z0-9._-]*(/[a-z0-9_-][a-z0-9._-]*)*")
_UNFINISHED = ".put-"
_TRIES = 20  # of a write whose file another process expires meanwhile


class MissingObjectError(LookupError):
    """Nothing is stored under this key: it was never put, it was deleted, or it has expired."""


class StorageUnavailableError(OSError):
    """The storage is full, or away. What was asked for was not done; it may be later."""


class Storage:
    """Bytes by key below `root`. Any number of processes may use the same `root` at once.

    A key is lower-case letters, digits, `.`, `_` and `-`, in parts joined by `/`; a part does not start with a dot.
    Every method raises ValueError for another key.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, *parts: bytes | memoryview) -> None:
        """Store `parts`, one after the other; a reader sees all of them or what was there before.

        Raises StorageUnavailableError.
        """
        path = self._path(key)
        for left in reversed(range(_TRIES)):
            temporary = path.with_name(f"{_UNFINISHED}{uuid4().hex}")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with temporary.open("wb", buffering=0) as file:
                    for part in parts:
                        _write(file, part)
                temporary.replace(path)
                return
            except FileNotFoundError as error:  # `expire` of another process took the file
                if not left:
                    raise StorageUnavailableError(f"'{key}' cannot be stored: {error}") from error
            except OSError as error:
                _remove(temporary)
                raise StorageUnavailableError(f"'{key}' cannot be stored: {error}") from error
            except BaseException:
                _remove(temporary)
                raise

    def get(self, key: str) -> bytes:
        """What was put under `key`. Raises MissingObjectError."""
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise MissingObjectError(f"Nothing is stored under '{key}'.") from error

    def open(self, key: str) -> BinaryIO:
        """As `get`, to be read bit by bit and then closed; its key may be deleted meanwhile."""
        try:
            return self._path(key).open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise MissingObjectError(f"Nothing is stored under '{key}'.") from error

    def view(self, key: str) -> memoryview:
        """As `get`, without a copy: bytes that are read from the disk when they are looked at.

        They stay as they are when the key is deleted or put again. Raises MissingObjectError.
        """
        with self.open(key) as file:
            if not os.fstat(file.fileno()).st_size:
                return memoryview(b"")  # nothing cannot be mapped
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def exists(self, key: str) -> bool:
        """Whether `get` would find something."""
        return self._path(key).is_file()

    def delete(self, key: str) -> None:
        """Remove what is stored under `key`, if anything is."""
        self._path(key).unlink(missing_ok=True)

    def expire(
        self, folder: str, older_than_seconds: float, needed: Callable[[str], bool] = lambda _: False
    ) -> list[str]:
        """Remove what was put below `folder` longer ago than this and is not `needed` by its key, and unfinished
        writes; the keys removed.

        What a job needs is deleted when the job is; this catches what a killed process left behind.
        """
        removed = []
        limit = time.time() - older_than_seconds
        for parent, _, names in os.walk(self._path(folder)):
            for path in (Path(parent, name) for name in names):
                key = path.relative_to(self._root).as_posix()
                try:
                    if path.stat().st_mtime < limit and (path.name.startswith(_UNFINISHED) or not needed(key)):
                        path.unlink()
                        removed.append(key)
                except FileNotFoundError:
                    continue  # another process expires at the same time
        return removed

    def used(self, *folders: str) -> int:
        """How many bytes lie below `folders`."""
        total = 0
        for folder in folders:
            for parent, _, names in os.walk(self._path(folder)):
                for name in names:
                    with suppress(FileNotFoundError):  # it was removed meanwhile
                        total += Path(parent, name).stat().st_size
        return total

    def free(self) -> int | None:
        """How many bytes the disk still takes; None where there is no such limit."""
        self._root.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self._root).free

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"'{key}' is not a storage key.")
        return self._root / key


def _remove(temporary: Path) -> None:
    with suppress(OSError):  # the disk is away, or a file is where the folder should be
        temporary.unlink(missing_ok=True)


def _write(file: FileIO, part: bytes | memoryview) -> None:
    """All of `part`: a system call may take less than it is given."""
    left = memoryview(part)
    while left:
        left = left[file.write(left) :]
