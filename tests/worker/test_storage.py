"""Bytes by key, on a real disk."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.storage import MissingObjectError, Storage


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "storage")


def test_what_was_put_is_what_is_read(storage: Storage) -> None:
    """Any bytes, none too; putting again replaces; deleting twice is fine."""
    for content in (b"", b"\x00\xff" * 100_000, b"other"):
        storage.put("inputs/a-1/image", content)
        assert storage.get("inputs/a-1/image") == content
    assert storage.exists("inputs/a-1/image")
    storage.delete("inputs/a-1/image")
    storage.delete("inputs/a-1/image")
    assert not storage.exists("inputs/a-1/image")


def test_what_is_viewed_stays_when_it_is_deleted(storage: Storage) -> None:
    """Parts are joined; a view is what was put, none too, whatever happens to the key later."""
    storage.put("inputs/a-1/image", b"head", memoryview(b"\x01" * 3_000_000), b"")
    storage.put("nothing")
    view, nothing = storage.view("inputs/a-1/image"), storage.view("nothing")
    storage.put("inputs/a-1/image", b"other")
    storage.delete("inputs/a-1/image")
    assert view == b"head" + b"\x01" * 3_000_000
    assert nothing == storage.get("nothing") == b""
    with pytest.raises(MissingObjectError):
        storage.view("inputs/a-1/image")


@pytest.mark.parametrize("key", ["results/a", "results", "results/there/deeper"])
def test_what_is_not_there_is_missing(storage: Storage, key: str) -> None:
    """Never put, a folder, or below a file: one error, and no other."""
    storage.put("results/there", b"x")
    with pytest.raises(MissingObjectError, match=key):
        storage.get(key)


@pytest.mark.parametrize(
    "key", ["", "/", "a/", "/etc/passwd", "../a", "a/../b", "a//b", "a/./b", "A", "a b", "a\n", "a\0", ".put-a", "a/.b"]
)
def test_no_key_leads_out_of_the_folder(storage: Storage, key: str) -> None:
    """A key that is not plainly one is refused by every method."""
    for call in (storage.get, storage.delete, storage.exists, lambda key: storage.put(key, b"x")):
        with pytest.raises(ValueError, match="not a storage key"):
            call(key)


@given(key=st.text(max_size=30))
def test_whatever_the_key_nothing_outside_is_written(tmp_path_factory: pytest.TempPathFactory, key: str) -> None:
    """Every key either is refused or names a file below the root."""
    root = tmp_path_factory.getbasetemp() / "any-key" / "root"
    try:
        Storage(root).put(key, b"x")
    except (ValueError, OSError):
        return
    assert (root / key).resolve().is_relative_to(root.resolve())
    assert sorted(path.name for path in root.parent.iterdir()) == ["root"]


def test_a_reader_sees_all_of_a_write_or_nothing_of_it(storage: Storage) -> None:
    """While one key is put over and over, each read is one of the contents, whole."""
    contents = [bytes([number]) * 300_000 for number in range(8)]
    storage.put("k", contents[0])
    with ThreadPoolExecutor(4) as pool:
        writes = [pool.submit(storage.put, "k", content) for content in contents * 4]
        reads = [storage.get("k") for _ in range(50)]
        for write in writes:
            write.result()
    assert all(read in contents for read in reads)


def test_a_write_that_fails_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    """Neither the key nor a temporary file."""
    storage.put("a/b", b"x")
    with pytest.raises(TypeError):
        storage.put("a/c", "text")  # type: ignore[arg-type]
    assert [path.name for path in (tmp_path / "storage/a").iterdir()] == ["b"]


def test_what_is_old_and_not_needed_expires_and_the_rest_stays(storage: Storage, tmp_path: Path) -> None:
    """Old files go, what a killed write left too; a new one and a needed one stay."""
    for key in ("inputs/old", "inputs/new", "inputs/waiting", "results/old"):
        storage.put(key, b"x")
    root = tmp_path / "storage"
    (root / "inputs/.put-1234").write_bytes(b"half")
    yesterday = time.time() - 86_400
    for name in ("inputs/old", "inputs/.put-1234", "inputs/waiting", "results/old"):
        os.utime(root / name, (yesterday, yesterday))
    assert sorted(storage.expire("inputs", 3600, "inputs/waiting".__eq__)) == ["inputs/.put-1234", "inputs/old"]
    assert storage.expire("inputs", 3600, "inputs/waiting".__eq__) == []
    assert sorted(path.name for path in (root / "inputs").iterdir()) == ["new", "waiting"]
    assert storage.exists("results/old")
    assert Storage(tmp_path / "nothing").expire("inputs", 0) == []


def test_expiry_does_not_disturb_those_who_put(storage: Storage) -> None:
    """A file that vanishes under its writer is written again."""
    with ThreadPoolExecutor(4) as pool:
        expiries = [pool.submit(storage.expire, "inputs", -1.0) for _ in range(100)]
        puts = [pool.submit(storage.put, f"inputs/{number % 7}", b"x") for number in range(300)]
        for future in (*puts, *expiries):
            future.result()
