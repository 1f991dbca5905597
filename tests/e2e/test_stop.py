"""SIGTERM to the API: who waits is answered, nothing is cut off."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.e2e.service import form, until


@pytest.fixture
def api(redis_url: str, tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """`inpaint api` in a process of its own, without workers: what is sent waits."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name != "API_KEYS"}
    environment |= {"REDIS_URL": redis_url, "DATA_DIR": str(tmp_path), "PORT": str(port), "LOG_FORMAT": "json"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from app.cli import main; main()", "api"], env=environment, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/healthz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(answers, 60, (tmp_path / "log").read_text)
        yield process, url
    finally:
        process.kill()
        process.wait()


def test_a_stopping_api_answers_all_who_wait(api: tuple["subprocess.Popen[bytes]", str], tmp_path: Path) -> None:
    """Its health told the truth before. A request that waits for a picture is told where it will be, long before its
    time is over; who follows a job's events is let go in order; the process ends, and its log is JSON lines."""
    process, url = api
    ready = httpx.get(f"{url}/readyz")
    assert ready.status_code == 503
    assert ready.json()["detail"] == "No worker for pictures is up; what is sent waits for one."
    assert int(ready.headers["Retry-After"]) > 0
    with ThreadPoolExecutor(2) as pool:
        headers = {"Prefer": "wait=60"}
        waiting = pool.submit(httpx.post, f"{url}/inpaint", files=form(), headers=headers, timeout=70)
        until(lambda: httpx.get(f"{url}/jobs").json()["jobs"], 20)
        job = httpx.get(f"{url}/jobs").json()["jobs"][0]["id"]
        following = pool.submit(httpx.get, f"{url}/jobs/{job}/events", timeout=70)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        answer, events = waiting.result(20), following.result(20)
    assert (answer.status_code, answer.headers["Location"]) == (202, f"/jobs/{job}")
    assert "event: queued" in events.text
    assert process.wait(20) == -signal.SIGTERM  # uvicorn ends by the signal, after it has done all else
    lines = (tmp_path / "log").read_text().splitlines()
    assert all(line.startswith('{"time": ') for line in lines), lines
    assert any(f'"job": "{job}"' in line and '"status": 202' in line for line in lines), lines
