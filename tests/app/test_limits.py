"""What bounds a client: how much it sends, how slowly it sends and reads, how often it calls."""

import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import anyio
import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from app.main import create_app
from app.server import KEPT_SECONDS, Server
from app.settings import ApiSettings
from app.supervisor import listen
from tests.app.conftest import FakeWorker
from worker.ledger import Ledger
from worker.settings import SettingsError, WorkerSettings
from worker.storage import Storage

pytestmark = pytest.mark.anyio
Form = dict[str, tuple[str, bytes, str]]
ASYNC = {"Prefer": "respond-async"}


@pytest.fixture
def settings() -> ApiSettings:
    return ApiSettings(max_upload_bytes=1 << 20, upload_idle_seconds=0.4, read_idle_seconds=0.4)


WHOLE = "GET /healthz HTTP/1.1\nHost: localhost\n\n"


@pytest.fixture
def served(app: FastAPI) -> Iterator[tuple[str, int]]:
    """Where a real server listens: only there do connections have buffers that fill."""
    config = uvicorn.Config(app, log_level="critical", timeout_keep_alive=KEPT_SECONDS)
    server = Server(config, silent_seconds=1)
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()[:2]
        server.should_exit = True
        thread.join(10)


def connect(address: tuple[str, int], request: str, receive_buffer: int | None = None) -> socket.socket:
    """A connection over which `request` was sent."""
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(10)
    connection.connect(address)
    connection.sendall(request.replace("\n", "\r\n").encode())
    return connection


def read_all(connection: socket.socket) -> bytes:
    """Until the server closes."""
    content = b""
    try:
        while piece := connection.recv(1 << 16):
            content += piece
    except ConnectionResetError:
        pass
    return content


class TestSlowClients:
    """They lose their own request, and nobody else anything."""

    async def test_an_upload_that_trickles_is_given_up(self, client: httpx.AsyncClient) -> None:
        """It never pauses for long, and would take hours: 408 that says how slow is too slow."""

        async def trickle() -> AsyncIterator[bytes]:
            yield b"--x\r\n"
            for _ in range(100):
                await anyio.sleep(0.05)
                yield b"y"

        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        started = time.monotonic()
        answer = await client.post("/inpaint", content=trickle(), headers=headers)
        assert answer.status_code == 408
        assert "16 KiB a second" in answer.json()["detail"]
        assert time.monotonic() - started < 3

    async def test_who_is_refused_while_sending_hears_why(self, served: tuple[str, int]) -> None:
        """The body is heard out, within bounds, so that the answer is not lost with a broken pipe."""
        connection = connect(served, f"POST /nowhere HTTP/1.1\nHost: localhost\nContent-Length: {1 << 20}\n\n")
        connection.sendall(bytes(1 << 20))
        assert connection.recv(100).startswith(b"HTTP/1.1 404")
        connection.close()

    @pytest.mark.parametrize("settings", [ApiSettings(upload_idle_seconds=8)])
    async def test_who_asks_before_sending_is_told_at_once(self, served: tuple[str, int]) -> None:
        """`Expect: 100-continue` and a wrong address: no byte of the body is waited for, which would take 8 s."""
        started = time.monotonic()
        request = "POST /nowhere HTTP/1.1\nHost: localhost\nContent-Length: 9999\nExpect: 100-continue\n\n"
        assert connect(served, request).recv(100).startswith(b"HTTP/1.1 404")
        assert time.monotonic() - started < 4

    async def test_headers_that_never_end_are_given_up(self, served: tuple[str, int]) -> None:
        """The first or a later request's, silent or byte by byte; who asks now and then keeps its connection."""
        silent, first, second, busy = (connect(served, text) for text in ("", "GET / HT", WHOLE, WHOLE))
        for _ in range(25):
            await anyio.sleep(0.1)
            for connection, piece in ((first, b"x"), (second, b"x"), (busy, WHOLE.replace("\n", "\r\n").encode())):
                with suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendall(piece)
        assert read_all(silent) == read_all(first) == b""
        assert read_all(second).count(b"200 OK") == 1
        busy.shutdown(socket.SHUT_WR)
        assert read_all(busy).count(b"200 OK") == 26

    async def test_a_connection_waits_for_its_next_request(self, served: tuple[str, int]) -> None:
        """Longer than for the rest of one that has begun: who keeps connections ready does not find them closed."""
        connection = connect(served, WHOLE)
        await anyio.sleep(3)
        connection.sendall(WHOLE.replace("\n", "\r\n").encode())
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection).count(b"200 OK") == 2

    async def test_a_reader_that_stops_is_given_up(
        self, served: tuple[str, int], ledger: Ledger, storage: Storage, form: Form
    ) -> None:
        """Of a result of 20 MB it gets what fits in between, then the connection ends; meanwhile others are served,
        and who reads gets every byte."""
        address = f"http://{served[0]}:{served[1]}"
        async with httpx.AsyncClient(base_url=address, timeout=10) as client:
            job_id = (await client.post("/inpaint", files=form, headers=ASYNC)).json()["id"]
            lease = ledger.lease(job_id, "fake:1")
            assert lease is not None
            FakeWorker.complete(ledger, storage, lease)
            content = bytes(range(256)) * 80_000
            storage.put(f"results/{job_id}", content)
            request = f"GET /jobs/{job_id}/result HTTP/1.1\nHost: localhost\n\n"
            slow = [connect(served, request, receive_buffer=1 << 16) for _ in range(8)]
            started = time.monotonic()
            assert (await client.get(f"/jobs/{job_id}/result")).content == content
            assert time.monotonic() - started < 3
            await anyio.sleep(1)
            for connection in slow:
                assert len(await anyio.to_thread.run_sync(read_all, connection)) < len(content) / 2
                connection.close()


class TestRates:
    """RATE_LIMIT"""

    @pytest.fixture
    def settings(self) -> ApiSettings:
        return ApiSettings.model_validate({"rate_limit": "3/minute"})

    @pytest.fixture
    def worker_settings(self, worker_settings: WorkerSettings) -> WorkerSettings:
        return worker_settings.model_copy(update={"queue_limit": 64})

    async def test_calls_beyond_it_are_refused(self, client: httpx.AsyncClient, form: Form) -> None:
        """Three go through and say what is left; the fourth is 429, says when to come back, and is not accepted."""
        left = []
        for _ in range(3):
            answer = await client.post("/inpaint", files=form, headers=ASYNC)
            assert answer.status_code == 202
            assert answer.headers["ratelimit-policy"] == '"calls";q=3;w=60'
            left.append(answer.headers["ratelimit"])
        assert left == ['"calls";r=2;t=20', '"calls";r=1;t=40', '"calls";r=0;t=60']
        refused = await client.post("/inpaint", files=form, headers=ASYNC)
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:inpaint:problem:rate-limited")
        assert 18 <= int(refused.headers["retry-after"]) <= 20
        assert refused.headers["ratelimit"].startswith('"calls";r=0;')
        assert len((await client.get("/jobs")).json()["jobs"]) == 3

    async def test_reading_is_free(self, client: httpx.AsyncClient) -> None:
        """Following jobs and looking at models counts for nothing; samples are work."""
        for _ in range(5):
            answer = await client.get("/jobs")
            assert (answer.status_code, "ratelimit" in answer.headers) == (200, False)
        drawn = [(await client.get(f"/samples/dcgan?seed={seed}", headers=ASYNC)).status_code for seed in range(4)]
        assert drawn == [202, 202, 202, 429]

    async def test_each_address_has_its_own_and_all_processes_count_together(
        self, app: FastAPI, settings: ApiSettings, worker_settings: WorkerSettings
    ) -> None:
        """One IPv6 customer is one address."""
        processes = [app, create_app(settings, worker_settings)]

        async def call(number: int, host: str) -> int:
            transport = httpx.ASGITransport(processes[number % 2], client=(host, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as caller:
                return (await caller.post("/nowhere")).status_code

        for hosts in (["10.0.0.1"] * 4, ["10.0.0.2"] * 4, [f"2001:db8::{number}" for number in range(4)]):
            assert [await call(number, host) for number, host in enumerate(hosts)] == [404, 404, 404, 429]

    async def test_each_key_has_its_own(self, worker_settings: WorkerSettings) -> None:
        """Whatever address it comes from; who has no key is not counted but refused."""
        app = create_app(ApiSettings.model_validate({"rate_limit": "1/hour", "api_keys": "one,two"}), worker_settings)
        transport = httpx.ASGITransport(app)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as far:
            got = [
                (await far.post("/jobs/none/cancel", headers={"X-API-Key": key})).status_code
                for key in ("one", "two", "one", "two", "wrong", "wrong")
            ]
        assert got == [404, 404, 429, 429, 401, 401]

    async def test_a_place_comes_back_with_time(self, worker_settings: WorkerSettings) -> None:
        """Not only when the whole window is over."""
        app = create_app(ApiSettings.model_validate({"rate_limit": "5/second"}), worker_settings)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            first = [(await client.post("/nowhere")).status_code for _ in range(6)]
            await anyio.sleep(0.21)
            assert (await client.post("/nowhere")).status_code == 404
        assert first[:5] == [404] * 5

    @pytest.mark.parametrize("wrong", ["60", "0/minute", "60/fortnight", "-1/second", "many/minute"])
    def test_what_is_no_rate_is_refused(self, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
        """In a sentence that shows one."""
        monkeypatch.setenv("RATE_LIMIT", wrong)
        with pytest.raises(SettingsError, match=r"RATE_LIMIT: .* write 60/minute"):
            ApiSettings.read()
