"""A ledger over a real broker, with leases short enough to watch them run out."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from worker.connection import connect
from worker.contracts import Failure, InpaintRequest, Job, Result, SampleRequest, TrainingRequest
from worker.ledger import Ledger
from worker.settings import WorkerSettings

INPAINT = InpaintRequest(model="glcic-test@00000000", inputs_key="inputs/x.1")
SAMPLE = SampleRequest(model="dcgan-test@00000000")
TRAINING = TrainingRequest(family="dcgan", dataset="faces")
RESULT = Result(key="results/x", media_type="image/png", model="glcic-test@00000000")
FAILURE = Failure(type="bad-input", detail="It was no picture.")


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> WorkerSettings:
    return WorkerSettings(redis_url=redis_url, data_dir=tmp_path, queue_limit=20, max_attempts=3, lease_seconds=0.3)


@pytest.fixture
def client(settings: WorkerSettings) -> Iterator[redis.Redis]:
    with connect(settings.redis_url) as client:
        yield client


@pytest.fixture
def ledger(client: redis.Redis, settings: WorkerSettings) -> Ledger:
    return Ledger(client, settings)


@pytest.fixture
def submit(ledger: Ledger) -> Callable[..., Job]:
    """Submits a new job each time; INPAINT unless told otherwise."""
    numbers = itertools.count()

    def submit(request: object = INPAINT, **options: object) -> Job:
        return ledger.submit(f"job-{next(numbers)}", request, **options)  # type: ignore[arg-type]  # any request

    return submit
