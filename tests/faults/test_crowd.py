"""More clients than the queue has places: a short round of `python -m tests.benchmarks.crowd`."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.keys import Scope, make_key
from tests.benchmarks.crowd import Key, crowd
from tests.e2e.service import Service


@pytest.mark.timeout(240)
def test_a_full_queue_says_so_and_keeps_what_it_took(tmp_path: Path) -> None:
    """Twenty-four clients at a queue of four: every answer is 200, 202 or 429 with Retry-After, and every job that was
    accepted ends well."""
    made = [make_key(name, [Scope.USE]) for name in ("many", "one")]
    service = Service(tmp_path / "data", API_KEYS=",".join(key.entry for _, key in made), QUEUE_LIMIT="4")
    many, one = (Key(plain) for plain, _ in made)
    try:
        url = service.wait_until_ready()
        with ThreadPoolExecutor(1) as pool:  # the browser tests leave a running loop in this thread
            assert pool.submit(lambda: asyncio.run(crowd(url, many, one, clients=24, seconds=6))).result()
    finally:
        service.stop()
    assert many.statuses[200] + many.statuses[202] == len(many.jobs) > 0
    assert many.statuses[429] == sum(many.told_to_wait.values()) > 0
