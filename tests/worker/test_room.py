"""A storage that fills up: the oldest results make room, then nothing more is accepted, then all goes on."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.worker.conftest import INPAINT, RESULT
from worker.connection import OUTAGES
from worker.contracts import Job
from worker.ledger import Ledger, StorageFullError, UnknownJobError
from worker.room import make_room
from worker.settings import WorkerSettings
from worker.storage import Storage, StorageUnavailableError


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> WorkerSettings:
    return WorkerSettings(redis_url=redis_url, data_dir=tmp_path, storage_quota_bytes=10_000, storage_free_bytes=0)


@pytest.fixture
def storage(settings: WorkerSettings) -> Storage:
    return Storage(settings.storage_dir)


@pytest.fixture
def done(ledger: Ledger, storage: Storage, submit: Callable[..., Job]) -> Callable[[int], Job]:
    """A job that has ended with a result of so many bytes."""

    def done(size: int) -> Job:
        job = submit()
        lease = ledger.lease(job.id, "node:1")
        assert lease is not None
        storage.put(f"results/{job.id}", os.urandom(size))
        ledger.succeed(lease, RESULT)
        return job

    return done


def test_below_the_quota_nothing_happens(
    ledger: Ledger, storage: Storage, settings: WorkerSettings, done: Callable[[int], Job]
) -> None:
    """It is measured, and told to the ledger for all to see."""
    job = done(5000)
    room = make_room(storage, ledger, settings, fetched_seconds=0)
    assert (room.used, room.full) == (5000, False)
    assert room.free is not None
    assert ledger.room() == room
    assert storage.exists(f"results/{job.id}")


def test_the_oldest_results_make_room(
    ledger: Ledger, storage: Storage, settings: WorkerSettings, done: Callable[[int], Job], submit: Callable[..., Job]
) -> None:
    """From 90 % on, sheets and then ended jobs go, job and file alike; what waits keeps its picture."""
    waiting = submit(INPAINT)
    storage.put("inputs/x.1", b"x" * 100)
    storage.put("samples/sheet", b"x" * 100)
    jobs = [done(4500), done(4500)]
    assert not make_room(storage, ledger, settings, fetched_seconds=60).full
    assert all(storage.exists(f"results/{job.id}") for job in jobs), "they have just ended"
    assert not storage.exists("samples/sheet")
    make_room(storage, ledger, settings, fetched_seconds=0)
    for job in jobs:
        assert not storage.exists(f"results/{job.id}")
        with pytest.raises(UnknownJobError):
            ledger.get(job.id)
    assert storage.exists("inputs/x.1")
    assert ledger.get(waiting.id).id == waiting.id


def test_what_is_full_accepts_nothing_until_there_is_room(
    ledger: Ledger, storage: Storage, settings: WorkerSettings, submit: Callable[..., Job]
) -> None:
    """A job that was accepted before is found again all the same; refusals are counted."""
    before = submit()
    storage.put("inputs/x.1", b"x" * 10_000)
    assert make_room(storage, ledger, settings).full
    with pytest.raises(StorageFullError):
        submit()
    assert ledger.submit(before.id, INPAINT).id == before.id
    assert ledger.totals()["refused", "inference", "storage-full"] == 1
    storage.delete("inputs/x.1")
    make_room(storage, ledger, settings)
    submit()


def test_a_disk_that_is_nearly_full_counts_as_full(
    ledger: Ledger, storage: Storage, settings: WorkerSettings, submit: Callable[..., Job]
) -> None:
    """Whatever fills it; the broker and the training runs write there too."""
    free = storage.free()
    assert free is not None
    assert make_room(storage, ledger, settings.model_copy(update={"storage_free_bytes": 2 * free})).full
    with pytest.raises(StorageFullError):
        submit()
    assert not make_room(storage, ledger, settings.model_copy(update={"storage_free_bytes": free // 4})).full


def test_a_disk_that_takes_nothing_is_one_error(tmp_path: Path) -> None:
    """Which says that it may go well later, and leaves nothing behind."""
    (tmp_path / "file").write_text("in the way of the folder")
    with pytest.raises(StorageUnavailableError, match="results/a"):
        Storage(tmp_path / "file").put("results/a", b"x")


def test_a_broker_whose_memory_is_full_refuses_what_is_new_alone(
    ledger: Ledger, client: redis.Redis, storage: Storage, settings: WorkerSettings, submit: Callable[..., Job]
) -> None:
    """What was accepted is run and ends; the jobs that ended longest ago are forgotten until there is room."""
    first = submit()
    try:
        client.config_set("maxmemory", 1)
        with pytest.raises(OUTAGES):
            submit()
        lease = ledger.lease(first.id, "node:1")
        assert lease is not None
        assert ledger.succeed(lease, RESULT)
        ledger.sweep()
        assert make_room(storage, ledger, settings, fetched_seconds=0).broker > 1
        with pytest.raises(UnknownJobError):
            ledger.get(first.id)
    finally:
        client.config_set("maxmemory", 0)
    submit()
