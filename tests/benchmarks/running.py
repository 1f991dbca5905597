"""A service to measure: `inpaint serve` in processes of its own, as an operator starts it."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class RunningService:
    """Where it listens, how long it took to get ready, and its processes."""

    address: str
    start_seconds: float
    supervisor: int

    def resident_megabytes(self) -> dict[str, float]:
        """Of the API process, and of the largest process of the inference worker: the one that holds the networks."""
        api, inference = [0.0], [0.0]
        for pid in _below(self.supervisor):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue  # it has ended
            size = next((int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)
            (api if b"app.commands.api" in words else inference).append(size)
        return {"API process": max(api), "inference worker": max(inference)}


@contextmanager
def running_service() -> Iterator[RunningService]:
    """Starts one with a data directory that is removed afterwards; raises RuntimeError where it does not get ready."""
    with tempfile.TemporaryDirectory(prefix="inpaint-bench-", ignore_cleanup_errors=True) as folder:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {name: value for name, value in os.environ.items() if name not in ("REDIS_URL", "API_KEYS")}
        environment |= {"DATA_DIR": folder, "HOST": "127.0.0.1", "PORT": str(port), "QUEUE_LIMIT": "256"}
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", "from app.cli import main; main()", "serve"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            while not _is_ready(address):
                if process.poll() is not None or time.perf_counter() - started > 120:
                    raise RuntimeError("The service does not get ready; `inpaint serve` says why.")
                time.sleep(0.02)
            yield RunningService(address, time.perf_counter() - started, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _below(pid: int) -> list[int]:
    """All processes that `pid` started, and those that they did."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
            found.append((int(folder.name), parent))
    children = [child for child, parent in found if parent == pid]
    return children + [below for child in children for below in _below(child)]
