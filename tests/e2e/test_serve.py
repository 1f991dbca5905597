"""`inpaint serve`: one command, one service, nothing left behind."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.service import Service, form, until


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """In a folder whose path is too long for a socket in it."""
    service = Service(tmp_path / ("long-" * 20) / "data")
    yield service
    service.kill()
    until(lambda: not service.processes(), 10, service.processes)


@pytest.mark.timeout(240)
def test_one_command_serves_and_cleans_up_behind_itself(service: Service, tmp_path: Path) -> None:
    """It says where it is and what it loaded, and completes a picture; a second one at its port or in its folder ends
    with a sentence and code 1, and does not disturb it; Ctrl-C ends it with code 0 and leaves nothing."""
    url = service.wait_until_ready()
    assert "glcic-celeba@" in service.output()
    port = httpx.URL(url).port
    assert port is not None
    with httpx.Client(base_url=url, timeout=60) as client:
        assert client.post("/inpaint", files=form()).headers["Content-Type"] == "image/png"

        for data_dir, at, sentence in ((tmp_path / "other", port, "Stop what listens"), (service.data_dir, 0, "uses")):
            second = Service(data_dir, at)
            try:
                assert second.process.wait(60) == 1
                assert sentence in second.output()
                assert "Traceback" not in second.output()
            finally:
                second.kill()
        assert client.get("/readyz").status_code == 200

    assert service.socket.exists()
    assert service.pid("valkey-server") or service.pid("redis-server")
    service.process.send_signal(signal.SIGINT)
    try:
        assert service.process.wait(60) == 0
    except subprocess.TimeoutExpired:
        pytest.fail(service.output())
    assert not service.processes()
    assert not service.socket.parent.exists()
