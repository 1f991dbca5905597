"""A real service for end-to-end tests: `inpaint serve` in a process of its own, and what runs below it."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from worker.broker import socket_path

Upload = tuple[str, bytes, str]
"""Name, content, media type."""


class Service:
    """`inpaint serve` with a data directory of its own, at a free port; `settings` are environment variables."""

    def __init__(self, data_dir: Path, port: int = 0, **settings: str) -> None:
        self.data_dir = data_dir
        self.socket = socket_path(data_dir / "broker")
        self.log = data_dir.with_suffix(".log")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if name not in ("REDIS_URL", "API_KEYS")}
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from app.cli import main; main()", "serve"],
                env={**environment, "DATA_DIR": str(data_dir), "PORT": str(port), "THREADS": "1", **settings},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._from = self.log.stat().st_size

    def wait_until_ready(self, seconds: float = 90) -> str:
        """Its address, once it says that it is ready."""
        until(lambda: self.process.poll() is not None or self._said(r"Ready at (\S+)"), seconds, self.output)
        assert self.process.poll() is None, self.output()
        return str(self._said(r"Ready at (\S+)"))

    def output(self) -> str:
        return self.log.read_text()[self._from :]

    def processes(self) -> dict[int, str]:
        """Command line by id of everything that was started with this data directory, but the supervisor."""
        found = {}
        marks = (str(self.data_dir).encode(), str(self.socket).encode())  # in the environment, or among the arguments
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != self.process.pid:
                try:
                    command = (folder / "cmdline").read_bytes()
                    text = command + (folder / "environ").read_bytes()
                    if any(mark in text for mark in marks) and not _is_zombie(folder):
                        found[int(folder.name)] = command.replace(b"\0", b" ").decode()
                except OSError:
                    continue  # it ended meanwhile
        return found

    def pid(self, *words: str, parent: int | None = None) -> int | None:
        """The process whose command line has all of `words`; a child of `parent`, if told."""
        for pid, command in self.processes().items():
            if all(word in command for word in words) and parent in (None, _parent(pid)):
                return pid
        return None

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        """SIGKILL to the supervisor alone."""
        self.process.kill()
        self.process.wait(10)

    def _said(self, pattern: str) -> str | None:
        match = re.search(pattern, self.output())
        return match[1] if match else None


def until(condition: Callable[[], object], seconds: float, explain: Callable[[], object] = lambda: "") -> None:
    """Wait for `condition`; fail after `seconds` with what `explain` says."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"Not within {seconds} s. {explain()}"
        time.sleep(0.05)


def form(side: int = 96, hole: int = 24) -> dict[str, Upload]:
    """A picture and a mask, as a client sends them."""
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    mask = np.zeros((side, side), np.uint8)
    mask[side // 3 : side // 3 + hole, side // 3 : side // 3 + hole] = 255
    return {"image": ("image.png", as_png(pixels), "image/png"), "mask": ("mask.png", as_png(mask), "image/png")}


def submit(client: httpx.Client, key: str, files: dict[str, Upload], seconds: float = 60) -> str:
    """Send a picture as a client does that wants it done once: the same key until it is accepted. The job's id."""
    headers = {"Prefer": "respond-async", "Idempotency-Key": key}
    deadline = time.monotonic() + seconds
    while True:
        try:
            answer = client.post("/inpaint", files=files, data={"strategy": "original"}, headers=headers)
            if answer.status_code in (200, 202):
                return answer.headers["X-Job-Id"]
            assert answer.status_code in (429, 503), answer.text
        except httpx.TransportError:
            pass  # the API was killed; it comes back
        assert time.monotonic() < deadline, "Nobody accepts pictures."
        time.sleep(0.2)


def as_png(pixels: np.ndarray) -> bytes:
    """The picture or mask as a file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _stat(folder: Path) -> list[str]:
    return (folder / "stat").read_text().rpartition(")")[2].split()


def _is_zombie(folder: Path) -> bool:
    return _stat(folder)[0] == "Z"


def _parent(pid: int) -> int:
    return int(_stat(Path("/proc", str(pid)))[1])
