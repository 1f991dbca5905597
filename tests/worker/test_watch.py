"""What a worker's main process finds and puts right."""

import os
import signal
import time
from collections.abc import Callable

import pytest
import redis

from tests.worker.conftest import INPAINT, RESULT
from worker.celery_app import make_celery
from worker.contracts import INFERENCE_QUEUE, Failure, Job
from worker.ledger import Ledger, WorkerInfo
from worker.settings import WorkerSettings
from worker.storage import Storage
from worker.watch import Watch, tidy


@pytest.fixture
def storage(settings: WorkerSettings) -> Storage:
    return Storage(settings.storage_dir)


def test_files_live_as_long_as_the_jobs_that_need_them(
    ledger: Ledger, storage: Storage, submit: Callable[..., Job], settings: WorkerSettings
) -> None:
    """However old: inputs of a job that waits, the result of one that succeeded. What a killed process left goes."""
    _, succeeded, failed = (
        submit(INPAINT.model_copy(update={"inputs_key": f"inputs/job-{number}.a"})) for number in range(3)
    )
    for job in (succeeded, failed):
        lease = ledger.lease(job.id, "node:1")
        assert lease is not None
        if job is succeeded:
            ledger.succeed(lease, RESULT)
        else:
            ledger.fail(lease, Failure(type="internal", detail="It broke."))
    kept = ["inputs/job-0.a", f"results/{succeeded.id}"]
    stray = [
        "inputs/job-0.b",
        "inputs/job-1.a",
        "inputs/never.a",
        f"results/{failed.id}",
        "samples/s",
    ]
    for key in (*kept, *stray):
        storage.put(key, b"x")
        os.utime(settings.storage_dir / key, 2 * (time.time() - 90_000,))
    storage.put("inputs/just-stored.a", b"x")

    assert sorted(tidy(storage, ledger)) == stray
    assert all(storage.exists(key) for key in (*kept, "inputs/just-stored.a"))


def test_a_worker_that_no_longer_hears_its_queue_ends(
    ledger: Ledger,
    client: redis.Redis,
    submit: Callable[..., Job],
    settings: WorkerSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ready and without a job while messages wait, for longer than any worker needs: it is killed, to be started
    again. One that has a job, that is not ready yet, or whose queue is empty, is not."""
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr("worker.watch.os.kill", lambda *arguments: killed.append(arguments))
    monkeypatch.setattr("worker.watch.DEAF_SECONDS", 0.0)
    # No other test has workers on this node: those of `test_runtime.py` announce themselves to the end.
    watch = Watch("deaf", "start", INFERENCE_QUEUE, settings, make_celery(settings), lambda: [1])

    def look() -> list[tuple[int, int]]:
        killed.clear()
        for _ in range(2):
            watch._listen()
        return list(killed)

    job = submit()
    client.lpush(INFERENCE_QUEUE, "a message")
    assert not look(), "no worker of this node is ready"
    ledger.announce("deaf:1", WorkerInfo(id="deaf:1", queue=INFERENCE_QUEUE), 60)
    assert set(look()) == {(os.getpid(), signal.SIGKILL)}
    lease = ledger.lease(job.id, "deaf:1")
    assert lease is not None
    assert not look(), "it has a job"
    ledger.succeed(lease, RESULT)
    watch._looked_at -= 60
    killed.clear()
    watch._listen()
    assert not killed, "nobody looked for a minute"
    client.delete(INFERENCE_QUEUE)
    assert not look(), "nothing waits"


def test_nothing_ends_the_threads_that_find_what_was_lost(
    settings: WorkerSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """A broker that refuses to write, for want of memory or disk, and a fault of our own: both are logged, and the next
    look is as usual."""
    watch = Watch("lasting", "start", INFERENCE_QUEUE, settings, make_celery(settings), list)
    looks = iter([redis.ResponseError("MISCONF Errors writing to the AOF file"), KeyError("a fault of our own")])

    def look() -> None:
        if (error := next(looks, None)) is not None:
            raise error
        watch._done.set()

    watch._done.wait = lambda _: watch._done.is_set()  # type: ignore[method-assign]  # without the pause
    watch._run(look)
    told = [record.getMessage() for record in caplog.records]
    assert told == ["The broker is away: MISCONF Errors writing to the AOF file", "The MainThread failed, and goes on"]


def test_what_was_stored_for_a_job_that_nobody_ran_is_removed(
    ledger: Ledger, storage: Storage, submit: Callable[..., Job], settings: WorkerSettings
) -> None:
    """Its time was over while it waited, or it was lost too often: no worker is there to do it."""
    watch = Watch("tidying", "start", INFERENCE_QUEUE, settings, make_celery(settings), list)
    late, lost, waits = (
        submit(INPAINT.model_copy(update={"inputs_key": f"inputs/job-{number}.a"}), cancel_after=after)
        for number, after in enumerate((0.05, None, None))
    )
    for number in range(3):
        storage.put(f"inputs/job-{number}.a", b"x")
    for _ in range(settings.max_attempts):
        lease = ledger.lease(lost.id, "gone:1")
        assert lease is not None
        ledger.lose(lease)
    time.sleep(0.06)
    watch._step()
    watch._care()
    assert [ledger.get(job.id).state.value for job in (late, lost, waits)] == ["failed", "failed", "queued"]
    assert [storage.exists(f"inputs/job-{number}.a") for number in range(3)] == [False, False, True]
