"""What a worker's main process finds and puts right."""

import os
import time
from collections.abc import Callable

import pytest

from tests.worker.conftest import INPAINT, RESULT
from worker.contracts import Failure, Job
from worker.ledger import Ledger
from worker.settings import WorkerSettings
from worker.storage import Storage
from worker.watch import tidy


@pytest.fixture
def storage(settings: WorkerSettings) -> Storage:
    return Storage(settings.storage_dir)


def test_files_live_as_long_as_the_jobs_that_need_them(
    ledger: Ledger, storage: Storage, submit: Callable[..., Job], settings: WorkerSettings
) -> None:
    """However old: inputs of a job that waits, the result of one that succeeded. What a killed process left goes."""
    _, succeeded, failed = (
        submit(INPAINT.model_copy(update={"image_key": f"inputs/job-{number}/a/image"})) for number in range(3)
    )
    for job in (succeeded, failed):
        lease = ledger.lease(job.id, "node:1")
        assert lease is not None
        if job is succeeded:
            ledger.succeed(lease, RESULT)
        else:
            ledger.fail(lease, Failure(type="internal", detail="It broke."))
    kept = ["inputs/job-0/a/image", f"results/{succeeded.id}"]
    stray = [
        "inputs/job-0/b/image",
        "inputs/job-1/a/image",
        "inputs/never/a/image",
        f"results/{failed.id}",
        "samples/s",
    ]
    for key in (*kept, *stray):
        storage.put(key, b"x")
        os.utime(settings.storage_dir / key, 2 * (time.time() - 90_000,))
    storage.put("inputs/just-stored/a/image", b"x")

    assert sorted(tidy(storage, ledger)) == stray
    assert all(storage.exists(key) for key in (*kept, "inputs/just-stored/a/image"))
