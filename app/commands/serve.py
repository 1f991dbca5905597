"""`inpaint serve`: everything on one machine, watched over by one process.

    supervisor -+- broker            unless REDIS_URL names one
                +- inference worker
                +- training worker
                +- API               on a socket that the supervisor opened

A child that dies is started again. When the supervisor stops, all stop; when it
is killed, the kernel kills them with it (Linux).
"""

import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPException
from pathlib import Path
from types import FrameType
from typing import Any, Final
from zlib import crc32

from rich.console import Console

from app.exposure import ExposureError, check_exposure
from app.settings import ApiSettings
from app.supervisor import Child, TakenError, listen, locked, spawn, stop
from worker.broker import Broker, BrokerError
from worker.contracts import INFERENCE_QUEUE, TRAINING_QUEUE
from worker.logs import LogSettings
from worker.settings import SettingsError, WorkerSettings

_LOOK_SECONDS: Final = 0.1
_STOP_SECONDS: Final = 40.0
_SAME_STOP_SECONDS: Final = 0.5
_SLOW_SECONDS: Final = 60.0
_TRAINING_LATER_SECONDS: Final = 3.0  # so that it does not take the processor from what the person waits for

_console = Console(highlight=False, soft_wrap=True)
_errors = Console(stderr=True, highlight=False, soft_wrap=True)


def serve(host: str | None = None, port: int | None = None, data_dir: Path | None = None) -> int:
    """Run the service until Ctrl-C or SIGTERM. What is not given comes from HOST, PORT and DATA_DIR.

    Returns the exit code: 1, after a sentence, when it cannot start, because the port or the data directory is taken,
    say.
    """
    started = time.monotonic()
    for name, value in (("HOST", host), ("PORT", port), ("DATA_DIR", data_dir)):
        if value is not None:
            os.environ[name] = str(value)
    folder = Path(os.environ.get("DATA_DIR", ".data")).resolve()
    try:
        settings = ApiSettings.read()
        for others in (WorkerSettings, LogSettings):  # a child that cannot use them would be started again for ever
            others.read()
        check_exposure(settings)
        with listen(settings.host, settings.port) as listener, locked(folder), _stop_signals() as stops:
            _supervise(listener, folder, stops, started)
    except (SettingsError, TakenError, ExposureError, BrokerError) as error:
        _errors.print(f"[red]{error}[/]")
        return 1
    return 0


def _supervise(listener: socket.socket, folder: Path, stops: list[float], started: float) -> None:
    # With an arena for each of many threads, glibc keeps what each of them once needed for the largest picture.
    environment = {"MALLOC_ARENA_MAX": "2", **os.environ, "DATA_DIR": str(folder)}
    broker = None if environment.get("REDIS_URL") else Broker(folder / "broker")
    children: list[Child] = []
    try:
        if broker is not None:
            environment["REDIS_URL"] = broker.url
            children.append(Child("broker", broker.start, _warn))
            children[0].start()
        # The name stays the same over restarts, so that a new worker knows the leases of the one before.
        node = f"{socket.gethostname()}-{crc32(os.fsencode(folder)):08x}"
        descriptor = listener.fileno()
        keyless = {name: value for name, value in environment.items() if name not in ("API_KEYS", "API_KEYS_FILE")}
        for name, command, variables, inherited in (
            ("inference worker", _worker(INFERENCE_QUEUE, node), keyless, ()),
            ("API", [sys.executable, "-m", "app.commands.api", str(descriptor)], environment, (descriptor,)),
            ("training worker", _worker(TRAINING_QUEUE, node), keyless, ()),
        ):
            children.append(Child(name, partial(spawn, command, variables, inherited), _warn))
        *first, training = children[-3:]
        for child in first:
            child.start()
        training.start_in(_TRAINING_LATER_SECONDS)
        url = _url(listener)
        _console.print(f"Starting at {url}, with data in {folder}.")
        readiness = _Readiness(url, started)
        while not stops:
            readiness.look()
            for child in children:
                child.look()
            time.sleep(_LOOK_SECONDS)
        _console.print("Stopping: what runs is finished first. Press Ctrl-C again to stop at once.")
    finally:
        hurry = partial(_pressed_again, stops)
        if broker is None:
            stop(children, _STOP_SECONDS, hurry, _warn)
        else:
            stop(children[1:], _STOP_SECONDS, hurry, _warn)
            stop(children[:1], _STOP_SECONDS, hurry, _warn)
            broker.clean()
    _console.print("Stopped.")


class _Readiness:
    """Asks the service whether it is ready, until it is, and tells the person at the terminal."""

    def __init__(self, url: str, started: float) -> None:
        self._url = url
        self._started = started
        self._ready = False
        self._told_slow = False

    def look(self) -> None:
        """Ask once more; does nothing after it was ready."""
        if self._ready:
            return
        answer = _get_json(f"{self._url}/readyz")
        seconds = time.monotonic() - self._started
        missing = answer.get("detail") if answer else "The API does not answer."
        if missing is None:
            self._ready = True
            self._tell(answer or {}, seconds)
        elif seconds > _SLOW_SECONDS and not self._told_slow:
            self._told_slow = True
            _warn(f"Not ready after {seconds:.0f} s. {missing}")

    def _tell(self, answer: dict[str, Any], seconds: float) -> None:
        _console.print(f"[bold green]Ready[/] at [bold]{self._url}[/] after {seconds:.1f} s.")
        for worker in answer.get("workers", []):
            if worker["models"]:
                models = ", ".join(worker["models"])
                _console.print(f"  {models} on {worker['device']}, loaded in {worker['loading_seconds']:.1f} s")
        _console.print(f"  {self._url}/docs describes the API. Ctrl-C stops everything.")


@contextmanager
def _stop_signals() -> Iterator[list[float]]:
    """Collects when SIGINT and SIGTERM came, instead of dying of them.

    One stop may come as several signals at once: from the terminal, from make, from what sent it to the whole group.
    """
    received: list[float] = []

    def note(_: int, __: FrameType | None) -> None:
        now = time.monotonic()
        if not received or now - received[-1] > _SAME_STOP_SECONDS:
            received.append(now)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _pressed_again(stops: list[float]) -> bool:
    return len(stops) > 1


def _worker(queue: str, node: str) -> list[str]:
    return [sys.executable, "-m", "app.commands.worker", queue, f"{queue}-{node}"]


def _url(listener: socket.socket) -> str:
    """Where a browser on this machine finds it."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # nosec B104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _get_json(url: str) -> dict[str, Any] | None:
    """What `url` answers, with whatever status; None when it does not answer."""
    here = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach this machine's loopback
    try:
        try:
            content = here.open(url, timeout=1).read()
        except urllib.error.HTTPError as error:
            content = error.read()
        parsed: dict[str, Any] = json.loads(content)
    except (OSError, ValueError, HTTPException):
        return None
    return parsed


def _warn(sentence: str) -> None:
    _errors.print(f"[yellow]{sentence}[/]")
