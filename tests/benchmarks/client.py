"""HTTP clients that cost the two cores little: a prepared request over a connection that stays open."""

import http.client
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

import numpy as np

TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class Request:
    """A call that can be made any number of times."""

    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What came back, and when: seconds on the monotonic clock. `arrived_at` is when the client wanted to send it."""

    status: int
    body: bytes
    headers: dict[str, str]
    arrived_at: float
    answered_at: float

    @property
    def milliseconds(self) -> float:
        """From when it should have been sent, so that waiting for a connection counts."""
        return 1000 * (self.answered_at - self.arrived_at)


def form(path: str, files: dict[str, bytes], **fields: str) -> Request:
    """`POST` of a multipart form."""
    boundary = uuid4().hex
    parts = [
        f'Content-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + text.encode()
        for name, text in fields.items()
    ]
    for name, content in files.items():
        disposition = f'Content-Disposition: form-data; name="{name}"; filename="{name}"\r\n\r\n'
        parts.append(disposition.encode() + content)
    body = b"".join(b"--%s\r\n%s\r\n" % (boundary.encode(), part) for part in parts) + b"--%s--\r\n" % boundary.encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Prefer": "wait=60"}
    return Request("POST", path, body, headers)


def stages_of(answer: Answer) -> dict[str, float]:
    """What `Server-Timing` says: milliseconds by stage."""
    text = next((value for name, value in answer.headers.items() if name.lower() == "server-timing"), "")
    pairs = (entry.strip().split(";dur=") for entry in text.split(",") if ";dur=" in entry)
    return {name: float(value) for name, value in pairs}


class Connection:
    """To the service at `address`, `http://HOST:PORT`."""

    def __init__(self, address: str) -> None:
        self._http = http.client.HTTPConnection(address.removeprefix("http://"), timeout=TIMEOUT_SECONDS)

    def send(self, request: Request, arrived_at: float | None = None) -> Answer:
        """Make the call; a status of 0 says that no answer came."""
        arrived_at = time.perf_counter() if arrived_at is None else arrived_at
        try:
            self._http.request(request.method, request.path, request.body or None, request.headers)
            answer = self._http.getresponse()
            body, status, headers = answer.read(), answer.status, dict(answer.getheaders())
        except (OSError, http.client.HTTPException):
            self._http.close()
            body, status, headers = b"", 0, {}
        return Answer(status, body, headers, arrived_at, time.perf_counter())

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()


@dataclass(frozen=True)
class Load:
    """What a service did under some load."""

    answers: list[Answer]

    @property
    def errors(self) -> int:
        """Answers other than 200."""
        return sum(answer.status != 200 for answer in self.answers)

    @property
    def per_second(self) -> float:
        """Good answers, from the first request to the last answer."""
        start = min(answer.arrived_at for answer in self.answers)
        return (len(self.answers) - self.errors) / (max(answer.answered_at for answer in self.answers) - start)

    def percentile(self, q: float) -> float:
        """Milliseconds."""
        return float(np.percentile([answer.milliseconds for answer in self.answers], q))


def closed_loop(address: str, requests: Callable[[int], Request], clients: int, total: int) -> Load:
    """`clients` that each send the next request as soon as they have the last one's answer, `total` in all."""
    numbers = iter(range(total))
    lock = threading.Lock()
    answers: list[Answer] = []

    def work() -> None:
        with Connection(address) as connection:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                answers.append(connection.send(requests(number)))

    _run_threads([work] * clients)
    return Load(answers)


def open_loop(
    address: str, requests: Callable[[int], Request], per_second: float, total: int, clients: int = 64
) -> Load:
    """Requests that come as people do, at random times, however far behind the service is; the same times each run."""
    gaps = np.random.default_rng(0).exponential(1 / per_second, total)
    start = time.perf_counter()
    arrivals: queue.SimpleQueue[tuple[int, float] | None] = queue.SimpleQueue()
    answers: list[Answer] = []

    def arrive() -> None:
        for number, at in enumerate(start + np.cumsum(gaps)):
            time.sleep(max(0.0, at - time.perf_counter()))
            arrivals.put((number, float(at)))
        for _ in range(clients):
            arrivals.put(None)

    def work() -> None:
        with Connection(address) as connection:
            while (arrival := arrivals.get()) is not None:
                answers.append(connection.send(requests(arrival[0]), arrival[1]))

    _run_threads([arrive, *[work] * clients])
    return Load(answers)


def _run_threads(works: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
