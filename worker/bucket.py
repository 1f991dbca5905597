"""Storage that hosts without a common disk share: a bucket that speaks S3, under `STORAGE_URL=s3://BUCKET/PREFIX`.

Keys, secrets and endpoint come from the environment, as for every S3 client:
`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL`. Needs the extra `s3`.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, cast

from worker.storage import MissingObjectError, Storage, StorageUnavailableError

_PATIENCE: Final = {"connect_timeout": 3, "read_timeout": 30, "retries": {"max_attempts": 4, "mode": "standard"}}

_IN_MEMORY: Final = 1 << 20


class Entry(NamedTuple):
    """What a listing says about a key."""

    size: int
    stored_at: float
    mark: str
    """Differs between two contents of the same key."""


class Bucket(Storage):
    """Bytes by key below `url`; a key's bytes are put at once or not at all.

    Besides what `Storage` raises, every method raises StorageUnavailableError while the bucket cannot be reached.
    """

    def __init__(self, url: str) -> None:
        from s3fs import S3FileSystem  # seconds to import, and installed only where there is a bucket

        super().__init__(Path("/") / url.removeprefix("s3://").strip("/"))
        # Others put and delete: what was listed a moment ago says nothing.
        self._files = S3FileSystem(use_listings_cache=False, skip_instance_cache=True, config_kwargs=_PATIENCE)

    def put(self, key: str, *parts: bytes | memoryview) -> None:
        try:
            with _outages(key):
                self._files.pipe_file(self._name(key), b"".join(parts))
        except MissingObjectError as error:
            raise StorageUnavailableError(f"There is no bucket at {self._root.as_posix()}.") from error

    def get(self, key: str) -> bytes:
        with _outages(key):
            content: bytes = self._files.cat_file(self._name(key))
            return content

    def open(self, key: str) -> BinaryIO:
        file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - the caller closes it
        file.write(self.get(key))
        file.seek(0)
        return cast(BinaryIO, file)

    def view(self, key: str) -> memoryview:
        return memoryview(self.get(key))

    def exists(self, key: str) -> bool:
        try:
            with _outages(key):
                kind: str = self._files.info(self._name(key))["type"]
                return kind == "file"
        except MissingObjectError:
            return False

    def delete(self, key: str) -> None:
        try:
            with _outages(key):
                self._files.rm_file(self._name(key))
        except MissingObjectError:
            return

    def expire(
        self, folder: str, older_than_seconds: float, needed: Callable[[str], bool] = lambda _: False
    ) -> list[str]:
        limit = time.time() - older_than_seconds
        old = [key for key, entry in self.list(folder).items() if entry.stored_at < limit and not needed(key)]
        for key in old:
            self.delete(key)
        return old

    def used(self, *folders: str) -> int:
        return sum(entry.size for folder in folders for entry in self.list(folder).values())

    def free(self) -> int | None:
        return None

    def list(self, folder: str) -> dict[str, Entry]:
        """All keys below `folder`, as they are now."""
        with _outages(folder):
            found: dict[str, dict[str, Any]] = self._files.find(self._name(folder), detail=True)
        root = f"{self._root.as_posix().strip('/')}/"
        return {
            name.removeprefix(root): Entry(entry["size"], entry["LastModified"].timestamp(), entry["ETag"])
            for name, entry in found.items()
        }

    def _name(self, key: str) -> str:
        return self._path(key).as_posix().strip("/")


@contextmanager
def _outages(key: str) -> Iterator[None]:
    """Two kinds of failure: nothing is there, and the bucket cannot be reached or does not let us."""
    from botocore.exceptions import BotoCoreError

    try:
        yield
    except (FileNotFoundError, IsADirectoryError) as error:
        raise MissingObjectError(f"Nothing is stored under '{key}'.") from error
    except (OSError, BotoCoreError, TimeoutError) as error:
        raise StorageUnavailableError(f"The bucket does not take or give '{key}': {error}") from error
