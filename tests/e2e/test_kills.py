"""Killing any process at any moment loses no job, and leaves no process."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.e2e.service import Service, form, submit, until

JOBS = 50


@pytest.fixture
def started() -> Iterator[list[Service]]:
    """Services that are stopped after the test, whatever became of it."""
    services: list[Service] = []
    yield services
    for service in services:
        service.kill()
    until(lambda: not any(service.processes() for service in services), 10)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


def states(client: httpx.Client, jobs: list[str]) -> Counter[str]:
    """How many jobs are in which state; `unknown` where the API says so."""
    found: Counter[str] = Counter()
    for job in jobs:
        answer = client.get(f"/jobs/{job}")
        found[answer.json()["state"] if answer.status_code == 200 else "unknown"] += 1
    return found


def all_succeeded(client: httpx.Client, jobs: list[str], seconds: float) -> None:
    """Each job ends in a result that can be fetched; one that fails or is unknown ends the waiting."""
    deadline = time.monotonic() + seconds
    while (found := states(client, jobs))["succeeded"] < len(jobs):
        assert found["failed"] + found["unknown"] + found["cancelled"] == 0, found
        assert time.monotonic() < deadline, found
        time.sleep(0.3)
    for job in jobs:
        answer = client.get(f"/jobs/{job}/result")
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")


def kill(service: Service, *words: str, child: bool = False) -> None:
    """SIGKILL to the process whose command line has `words`, or to the child that computes for it."""

    def find() -> int | None:
        pid = service.pid(*words)
        return service.pid("spawn_main", parent=pid) if child and pid else pid

    until(find, 30, service.processes)
    pid = find()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: pid not in service.processes(), 5)


@pytest.mark.timeout(300)
def test_killing_any_process_loses_no_job(started: list[Service], data_dir: Path) -> None:
    """Fifty pictures are sent; meanwhile the worker's child, the worker, the broker and the API are killed, then the
    supervisor, which is started again: fifty results, none lost, none failed, and no process is left."""
    service = Service(data_dir)
    started.append(service)
    url = service.wait_until_ready()
    files = form()
    with ThreadPoolExecutor(1) as pool, httpx.Client(base_url=url, timeout=30) as sender:
        sent = pool.submit(lambda: [submit(sender, f"key-{number}", files) for number in range(JOBS)])
        time.sleep(0.5)
        kill(service, "app.commands.worker", "inference", child=True)
        time.sleep(0.5)
        kill(service, "valkey-server")
        time.sleep(0.5)
        kill(service, "app.commands.api")
        jobs = sent.result(120)
    assert len(set(jobs)) == JOBS

    with httpx.Client(base_url=url, timeout=30, transport=httpx.HTTPTransport(retries=3)) as client:
        done = states(client, jobs)["succeeded"]
        assert done < JOBS, "the kills came too late to prove anything"
        until(lambda: states(client, jobs)["succeeded"] > done, 60, service.output)  # it works again
        kill(service, "app.commands.worker", "inference")
        left = JOBS - states(client, jobs)["succeeded"]
        assert left, "the worker had finished before it was killed"

    service.kill()
    until(lambda: not service.processes(), 5, service.processes)
    service = Service(data_dir)
    started.append(service)
    url = service.wait_until_ready()
    with httpx.Client(base_url=url, timeout=30) as client:
        all_succeeded(client, jobs, 120)
    assert service.stop() == 0
    assert not service.processes()
    assert not list(data_dir.rglob("*.sock"))
