"""Children that are started again when they die, stop together, and never outlive the one who started them."""

import fcntl
import os
import signal
import socket
import subprocess  # nosec B404
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from worker.broker import BrokerError
from worker.processes import die_with_parent

_LONGEST_BACKOFF: Final = 10.0
_STABLE_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.05

Process = subprocess.Popen[bytes]
Say = Callable[[str], None]


class TakenError(RuntimeError):
    """The port or the data directory is in use; the message is for the person at the terminal."""


class Child:
    """A process that is started again whenever it ends, after a pause that grows while it keeps ending soon."""

    def __init__(self, name: str, start: Callable[[], Process], say: Say) -> None:
        self.name = name
        self._start = start
        self._say = say
        self._process: Process | None = None
        self._started_at = 0.0
        self._start_at = 0.0
        self._backoff = 0.0

    def start(self) -> None:
        """Start it for the first time. Raises what starting it raises."""
        self._started_at = time.monotonic()
        self._process = self._start()

    def start_in(self, seconds: float) -> None:
        """Have `look` start it for the first time, in so long."""
        self._start_at = time.monotonic() + seconds

    def look(self) -> None:
        """Start it again if it has ended and its pause is over; call this often."""
        if self._process is not None and (code := self._process.poll()) is not None:
            kill_group(self._process)  # what it started may have outlived it
            self._process = None
            self._pause(f"ended ({signal.Signals(-code).name if code < 0 else f'code {code}'})")
        if self._process is None and time.monotonic() >= self._start_at:
            try:
                self.start()
            except BrokerError as error:
                self._pause(f"could not be started: {error}")

    def ask_to_stop(self) -> None:
        """SIGTERM, if it runs."""
        if self._process is not None:
            self._process.terminate()

    def has_ended(self) -> bool:
        """Whether it does not run now."""
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """End it and whatever it started, now."""
        if self._process is not None:
            kill_group(self._process)
            self._process.wait()
            self._process = None

    def _pause(self, what: str) -> None:
        lived = time.monotonic() - self._started_at
        self._backoff = 0.0 if lived > _STABLE_SECONDS else min(_LONGEST_BACKOFF, max(0.2, 2 * self._backoff))
        self._start_at = time.monotonic() + self._backoff
        self._say(f"The {self.name} {what}. It is started again.")


def spawn(command: Sequence[str], environment: dict[str, str], inherited: Sequence[int] = ()) -> Process:
    """Start `command` in a process group of its own: Ctrl-C reaches the supervisor alone, which stops it in order."""
    return subprocess.Popen(  # nosec B603
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        pass_fds=inherited,
        start_new_session=True,
        preexec_fn=partial(die_with_parent, os.getpid()),
    )


def kill_group(process: Process) -> None:
    """SIGKILL to a process that `spawn` started and to all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # nobody is left


def stop(children: Sequence[Child], seconds: float, hurry: Callable[[], bool], say: Say) -> None:
    """Ask all to stop, wait for them, and kill those that have not ended after `seconds` or when `hurry` says so."""
    for child in children:
        child.ask_to_stop()
    deadline = time.monotonic() + seconds
    while not all(child.has_ended() for child in children) and time.monotonic() < deadline and not hurry():
        time.sleep(_POLL_SECONDS)
    for child in children:
        if not child.has_ended():
            say(f"The {child.name} is killed.")
        child.kill()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at `host` and `port`. Raises TakenError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=1024)
    except OSError as error:
        raise TakenError(
            f"{host}:{port} cannot be listened at ({error.strerror}). Stop what listens there, or choose another PORT."
        ) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds `folder` for this process alone; the kernel lets go of it however the process ends. Raises TakenError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "serve.lock").open("w")
    except OSError as error:
        raise TakenError(f"{folder} cannot be written to ({error.strerror}). Choose another DATA_DIR.") from error
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TakenError(f"Another service uses {folder}. Stop it, or choose another DATA_DIR.") from error
        yield
