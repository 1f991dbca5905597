"""Bytes by key in a bucket: as on a disk (test_storage.py), over a real S3 server."""

import time
from pathlib import Path

import pytest

from worker.bucket import Bucket
from worker.settings import WorkerSettings
from worker.shared import open_storage
from worker.storage import MissingObjectError, Storage, StorageUnavailableError


@pytest.fixture
def bucket(bucket_url: str) -> Bucket:
    return Bucket(bucket_url)


def test_what_was_put_is_what_is_read_elsewhere(bucket: Bucket, bucket_url: str) -> None:
    """Any bytes in any number of parts, at once for all clients; putting again replaces; deleting twice is fine."""
    elsewhere = Bucket(bucket_url)
    for parts in ((b"",), (b"\x00\xff" * 100_000,), (b"a", memoryview(b"b"))):
        bucket.put("inputs/a-1/image", *parts)
        assert elsewhere.get("inputs/a-1/image") == b"".join(parts)
        assert bytes(elsewhere.view("inputs/a-1/image")) == b"".join(parts)
        with elsewhere.open("inputs/a-1/image") as file:
            assert file.read() == b"".join(parts)
    assert elsewhere.exists("inputs/a-1/image")
    bucket.delete("inputs/a-1/image")
    bucket.delete("inputs/a-1/image")
    assert not elsewhere.exists("inputs/a-1/image")


@pytest.mark.parametrize("key", ["results/a", "results", "results/there/deeper"])
def test_what_is_not_there_is_missing(bucket: Bucket, key: str) -> None:
    """Never put, a folder, or below a file: one error, and no other."""
    bucket.put("results/there", b"x")
    with pytest.raises(MissingObjectError, match=key):
        bucket.get(key)
    assert not bucket.exists(key)


@pytest.mark.parametrize("key", ["", "/", "../a", "a/../b", "A", ".put-a"])
def test_no_key_leads_out_of_the_prefix(bucket: Bucket, key: str) -> None:
    """A key that is not plainly one is refused by every method."""
    for call in (bucket.get, bucket.delete, bucket.exists, lambda key: bucket.put(key, b"x")):
        with pytest.raises(ValueError, match="not a storage key"):
            call(key)


def test_what_is_old_and_not_needed_expires(bucket: Bucket) -> None:
    """As on a disk; what is left is counted, folder by folder."""
    for key in ("inputs/old/image", "inputs/needed/image", "results/old"):
        bucket.put(key, b"xyz")
    time.sleep(1.1)  # S3 knows whole seconds
    assert bucket.expire("inputs", 0, lambda key: "needed" in key) == ["inputs/old/image"]
    assert sorted(bucket.list("inputs")) == ["inputs/needed/image"]
    assert bucket.expire("results", 3600) == []
    assert bucket.used("inputs", "results", "samples") == 6
    assert bucket.free() is None


@pytest.mark.usefixtures("bucket_url")
def test_a_bucket_that_is_away_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """By one error, which is no missing object: what is there may be needed later."""
    with pytest.raises(StorageUnavailableError):
        Bucket("s3://no-such-bucket-here/x").put("results/a", b"x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("worker.bucket._PATIENCE", {"connect_timeout": 1, "retries": {"max_attempts": 0}})
    away = Bucket("s3://some/where")
    for call in (away.get, away.exists, away.delete, away.list, lambda key: away.put(key, b"x")):
        with pytest.raises(StorageUnavailableError):
            call("results/a")


def test_the_address_says_what_kind_it_is(bucket_url: str, tmp_path: Path) -> None:
    """A bucket, a folder that hosts share, or DATA_DIR; anything else is refused in a sentence."""
    settings = WorkerSettings(data_dir=tmp_path, storage_url=bucket_url)
    assert isinstance(open_storage(settings), Bucket)
    assert settings.weights_dir == tmp_path / "weights"
    for url in (str(tmp_path / "shared"), f"file://{tmp_path}/shared"):
        settings = WorkerSettings(data_dir=tmp_path, storage_url=url)
        assert type(open_storage(settings)) is Storage
        assert settings.storage_dir == tmp_path / "shared" / "storage"
        assert settings.runs_dir == tmp_path / "shared" / "runs"
    assert WorkerSettings(data_dir=tmp_path).storage_dir == tmp_path / "storage"
    with pytest.raises(ValueError, match="STORAGE_URL is a folder"):
        WorkerSettings(storage_url="gs://bucket")
