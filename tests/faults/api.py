"""The API as a process of its own, a real broker, and a worker in this process that paints holes in one colour."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx

from tests.app.conftest import FakeWorker
from tests.e2e.service import until
from tests.faults.corpus.case import Case
from tests.faults.ports import free_port
from tests.faults.victims import peak_memory
from worker.broker import Broker
from worker.settings import WorkerSettings

_ANSWER_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes
    seconds: float


class Api:
    """`inpaint api` at `url`, with its data in `settings.data_dir`."""

    def __init__(self, settings: WorkerSettings, log: Path, **variables: str) -> None:
        self.settings = settings
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        environment = {name: value for name, value in os.environ.items() if name not in ("API_KEYS", "HOST")}
        given = {
            "DATASETS": '{"faces": "/faces"}',
            "REDIS_URL": settings.redis_url,
            "DATA_DIR": str(settings.data_dir),
            "PORT": str(self.port),
        }
        with log.open("a") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from app.cli import main; main()", "api"],
                env={**environment, **given, **variables},
                stdout=file,
                stderr=file,
            )
        try:
            until(self._answers, 60, self.log.read_text)
        except BaseException:
            self.process.kill()
            raise

    def send(self, case: Case) -> Answer:
        """As it stands in the case, over a connection of its own: no client library puts anything right."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_SECONDS)
        start = time.monotonic()
        try:
            connection.putrequest(case.method, quote(case.path, safe="/%?=&;:@*{}<>'()!$+,~[]|^`\\\"#"))
            for name, value in case.headers.items():
                connection.putheader(name, value.encode("latin-1", "replace") if isinstance(value, str) else value)
            connection.putheader("Content-Length", str(len(case.body)))
            connection.endheaders()
            with suppress(BrokenPipeError, ConnectionResetError):  # refused before all was sent: the answer is there
                connection.send(case.body)
            answer = connection.getresponse()
            body = b"" if answer.headers.get_content_type() == "text/event-stream" else answer.read()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, headers, body, time.monotonic() - start)
        finally:
            connection.close()

    def peak_memory(self) -> int:
        """MiB."""
        return peak_memory(self.process.pid)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.url}/healthz").status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def serving(folder: Path, *, worker: bool = True, **variables: str) -> Iterator[Api]:
    """An API over a broker of its own in `folder`; `variables` are environment variables of the API."""
    broker = Broker(folder / "broker")
    process = broker.start()
    try:
        settings = WorkerSettings(redis_url=broker.url, data_dir=folder / "data")
        api = Api(settings, folder / "api.log", **variables)
        try:
            if worker:
                with FakeWorker(settings).running():
                    yield api
            else:
                yield api
        finally:
            api.stop()
    finally:
        process.terminate()
        process.wait(10)
        broker.clean()
