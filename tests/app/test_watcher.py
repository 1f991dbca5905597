"""Requests that wait are woken by what happens to their job, and not by what they do not wait for."""

import time
from collections.abc import AsyncIterator

import anyio
import pytest

from app.watcher import JobWatcher, Watch
from worker.contracts import InpaintRequest, Job, Progress, Result
from worker.ledger import Lease, Ledger
from worker.settings import WorkerSettings

pytestmark = pytest.mark.anyio

LONG = 10.0
REQUEST = InpaintRequest(model="glcic-celeba@0", inputs_key="inputs/a.1")
RESULT = Result(key="results/a", media_type="image/png", model="glcic-celeba@0", width=1, height=1)


@pytest.fixture
async def watcher(worker_settings: WorkerSettings) -> AsyncIterator[JobWatcher]:
    """One that looks by itself so seldom that every test would fail by it."""
    async with JobWatcher(worker_settings.redis_url, poll_seconds=LONG).running() as watcher:
        yield watcher


async def listening(watcher: JobWatcher, ledger: Ledger) -> None:
    """Returns when `watcher` hears what is told."""
    with anyio.fail_after(LONG):
        for number in range(100):
            job = ledger.submit(f"probe-{number}", REQUEST)
            async with watcher.watching(job.id, for_its_end=True) as watch:
                ledger.cancel(job.id)
                if await seconds_until_woken(watch, 0.1) < 0.1:
                    return


async def seconds_until_woken(watch: Watch, at_most: float = LONG) -> float:
    started = time.monotonic()
    await watch.changed(at_most)
    return time.monotonic() - started


def running(ledger: Ledger, job: Job) -> Lease:
    lease = ledger.lease(job.id, "node:1")
    assert lease is not None
    return lease


async def test_who_waits_for_an_end_sleeps_through_all_before(watcher: JobWatcher, ledger: Ledger) -> None:
    """Neither start nor progress wakes a request for the result: each look at the job costs a way to the broker."""
    await listening(watcher, ledger)
    job = ledger.submit("a", REQUEST)
    async with watcher.watching(job.id, for_its_end=True) as end, watcher.watching(job.id) as anything:
        lease = running(ledger, job)
        ledger.progress(lease, Progress(done=1, total=2))
        assert await seconds_until_woken(anything) < LONG / 2
        assert await seconds_until_woken(end, 0.2) >= 0.2
        ledger.succeed(lease, RESULT)
        assert await seconds_until_woken(end) < LONG / 2


async def test_who_waits_for_an_end_is_told_how_it_was(watcher: JobWatcher, ledger: Ledger) -> None:
    """The job as it stays, without another way to the broker; nothing where it goes on."""
    await listening(watcher, ledger)
    job = ledger.submit("a", REQUEST)
    async with watcher.watching(job.id) as watch:
        lease = running(ledger, job)
        assert await watch.changed(LONG) is None
        ledger.succeed(lease, RESULT)
        ended = await watch.changed(LONG)
    assert ended is not None
    assert ended.result == RESULT
    assert ended == ledger.get("a")


async def test_an_end_that_came_first_is_not_missed(watcher: JobWatcher, ledger: Ledger) -> None:
    """Between a look at a job and the watch on it, it may end: the watch knows."""
    await listening(watcher, ledger)
    job = ledger.submit("a", REQUEST)
    async with watcher.watching(job.id) as heard:
        ledger.cancel(job.id)
        await seconds_until_woken(heard)
    async with watcher.watching(job.id, for_its_end=True) as watch:
        assert await seconds_until_woken(watch) < LONG / 2


async def test_only_the_latest_ends_are_remembered(
    watcher: JobWatcher, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory does not grow with the number of jobs."""
    monkeypatch.setattr("app.watcher._ENDS_REMEMBERED", 2)
    await listening(watcher, ledger)
    for name in ("a", "b", "c"):
        job = ledger.submit(name, REQUEST)
        async with watcher.watching(job.id, for_its_end=True) as watch:
            ledger.cancel(job.id)
            await seconds_until_woken(watch)
    assert list(watcher._ended) == ["b", "c"]
