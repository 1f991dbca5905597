"""Clients as a careful person writes them: whatever happens, the same request again until its job has ended."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from queue import Empty, Queue
from typing import Literal

import httpx
import numpy as np

from tests.e2e.service import Upload, as_png

Manner = Literal["poll", "wait", "follow", "cancel"]
"""`202` and ask again; wait on the connection; server-sent events; cancelled soon after it was accepted."""

_DEADLINE_SECONDS = 300.0
_PAUSE_SECONDS = 0.3
_ENDED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Sample:
    """What is sent, and the bytes that must come back."""

    files: Mapping[str, Upload]
    data: Mapping[str, str]
    expected: bytes = b""


def make_samples(count: int, seed: int, side: int = 64) -> list[Sample]:
    """Small pictures with small holes, none alike; nothing is expected of them yet."""
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(count):
        pixels = rng.integers(0, 256, (side, side, 3), np.uint8)
        mask = np.zeros((side, side), np.uint8)
        x, y = rng.integers(4, side - 20, 2)
        mask[y : y + 12, x : x + 12] = 255
        files = {"image": ("i.png", as_png(pixels), "image/png"), "mask": ("m.png", as_png(mask), "image/png")}
        blend = ("none", "feather", "poisson")[number % 3]
        samples.append(Sample(files, {"strategy": "original", "blend": blend}))
    return samples


@dataclass
class Order:
    """One job that a client has to get done."""

    id: str
    sample: Sample
    manner: Manner
    chance: random.Random


@dataclass
class Outcome:
    """What came of an order."""

    order: Order
    job: str = ""
    state: str = "stuck"
    right: bool = False
    """Whether the bytes are those expected; of a cancelled job there are none."""
    seconds: float = 0.0
    events: list[tuple[str, str]] = field(default_factory=list)
    """(id, type) as they came over the stream, over all connections."""
    statuses: Counter[str] = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)
    """Answers that nothing documented explains."""


class Clients:
    """Threads that work off orders; `put` gives them more."""

    def __init__(self, url: str, threads: int = 8) -> None:
        self._url = url
        self._orders: Queue[Order] = Queue()
        self._done = threading.Event()
        self._lock = threading.Lock()
        self.outcomes: list[Outcome] = []
        self.ordered = 0
        self._threads = [threading.Thread(target=self._work) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def put(self, orders: Iterable[Order]) -> None:
        for order in orders:
            self.ordered += 1
            self._orders.put(order)

    def open(self) -> int:
        """Orders that have not ended."""
        return self.ordered - len(self.outcomes)

    def finish(self) -> list[Outcome]:
        """Waits for all orders, ends the threads; what came of them."""
        self._done.set()
        for thread in self._threads:
            thread.join()
        return self.outcomes

    def _work(self) -> None:
        with httpx.Client(base_url=self._url, timeout=40) as http:
            while True:
                try:
                    order = self._orders.get(timeout=0.1)
                except Empty:
                    if self._done.is_set():
                        return
                    continue
                outcome = Errand(http, order).run()
                with self._lock:
                    self.outcomes.append(outcome)


class Errand:
    """One order on its way."""

    def __init__(self, http: httpx.Client, order: Order) -> None:
        self._http = http
        self._order = order
        self._outcome = Outcome(order)
        self._start = time.monotonic()

    def run(self) -> Outcome:
        outcome, order = self._outcome, self._order
        try:
            content = self._accepted()
            if order.manner == "cancel":
                time.sleep(order.chance.uniform(0, 0.5))
                self._ask("POST", f"/jobs/{outcome.job}/cancel")
            if order.manner == "follow":
                self._follow()
            if content is None:
                content = self._fetched()
            outcome.right = content == (order.sample.expected if outcome.state == "succeeded" else None)
        except TimeoutError:
            pass
        outcome.seconds = time.monotonic() - self._start
        return outcome

    def _accepted(self) -> bytes | None:
        """The job's id is known; what was waited for, if that came."""
        order = self._order
        headers = {"Prefer": "wait=20" if order.manner == "wait" else "respond-async"}
        if order.chance.random() < 0.5:
            answer = self._ask("PUT", f"/inpaint/{order.id}", order.sample, headers)
        else:
            answer = self._ask("POST", "/inpaint", order.sample, headers | {"Idempotency-Key": order.id})
        self._outcome.job = answer.headers["X-Job-Id"]
        if answer.status_code == 202:
            return None
        self._outcome.state = "succeeded" if answer.status_code == 200 else "failed"
        return answer.content if answer.status_code == 200 else None

    def _fetched(self) -> bytes | None:
        """Polls until the job has ended; the result's bytes, if there are any."""
        outcome = self._outcome
        while outcome.state not in _ENDED:
            state = self._ask("GET", f"/jobs/{outcome.job}").json()["state"]
            if state in _ENDED:
                outcome.state = state
            else:
                time.sleep(_PAUSE_SECONDS)
        if outcome.state != "succeeded":
            return None
        return self._ask("GET", f"/jobs/{outcome.job}/result").content

    def _follow(self) -> None:
        """Reads the job's events until the last one, over as many connections as it takes."""
        outcome, last, kind = self._outcome, "", ""
        while True:
            self._check_time()
            try:
                with self._http.stream(
                    "GET", f"/jobs/{outcome.job}/events", headers={"Last-Event-ID": last} if last else {}
                ) as answer:
                    outcome.statuses[str(answer.status_code)] += 1
                    if answer.status_code == 204:
                        return
                    for line in answer.iter_lines():
                        name, _, value = line.partition(": ")
                        if name == "event":
                            kind = value
                        elif name == "id":
                            last = value
                        elif not line and kind:
                            outcome.events.append((last, kind))
                            if kind in _ENDED:
                                return
                            kind = ""
            except httpx.TransportError as error:
                outcome.statuses[type(error).__name__] += 1
            time.sleep(_PAUSE_SECONDS)

    def _ask(
        self, method: str, path: str, sample: Sample | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """An answer that says something about the job: the same request, until one does."""
        outcome = self._outcome
        while True:
            self._check_time()
            try:
                answer = self._http.request(
                    method,
                    path,
                    files=sample.files if sample else None,
                    data=sample.data if sample else None,
                    headers=headers,
                )
            except httpx.TransportError as error:  # killed, and soon there again
                outcome.statuses[type(error).__name__] += 1
                time.sleep(_PAUSE_SECONDS)
                continue
            outcome.statuses[str(answer.status_code)] += 1
            if answer.status_code in (200, 202):
                return answer
            if answer.status_code in (429, 503) and "X-Job-Id" not in answer.headers:
                time.sleep(min(1.0, float(answer.headers["Retry-After"])))
                continue
            outcome.surprises.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
            if "X-Job-Id" in answer.headers and answer.json()["type"].startswith("urn:inpaint:problem:job-"):
                return answer  # it failed, and says why
            time.sleep(_PAUSE_SECONDS)

    def _check_time(self) -> None:
        if time.monotonic() - self._start > _DEADLINE_SECONDS:
            raise TimeoutError
