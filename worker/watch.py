"""The thread of a worker's main process that finds what was lost: dead children, leases, messages, files.

Every worker sweeps; the ledger makes sure that nothing is done twice.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final

from celery import Celery, bootsteps
from celery.signals import worker_shutdown, worker_shutting_down

from worker.celery_app import publish_id
from worker.connection import OUTAGES, connect
from worker.contracts import InpaintRequest
from worker.ledger import Ledger, UnknownJobError, process_name
from worker.room import is_tight, make_room
from worker.runtime import STOP_SIGNAL
from worker.settings import WorkerSettings
from worker.shared import open_storage
from worker.storage import Storage

_SWEEP_SECONDS: Final = 1.0
_TIDY_SECONDS: Final = 600.0
_MEASURE_SECONDS: Final = 5.0
_MEASURE_SHARE: Final = 20
"""Looking through the files takes at most one twentieth of a thread's time, however many there are."""
_STRAY_SECONDS: Final = 900.0
"""Longer than any request takes from storing a picture to entering its job."""
DEAF_SECONDS: Final = 15.0
"""An idle worker takes a message at once. One that does not for so long never will."""

_log = logging.getLogger(__name__)


class Watch:
    """Watches over the processes of `node` since its `start`; `living` gives the ids of those that live now."""

    def __init__(
        self,
        node: str,
        start: str,
        queue: str,
        settings: WorkerSettings,
        celery: Celery,
        living: Callable[[], list[int]],
    ) -> None:
        self._node = node
        self._start = start
        self._queue = queue
        self._heard_at = self._looked_at = time.monotonic()
        self._celery = celery
        self._living = living
        self._ledger = Ledger(connect(settings.redis_url, 1), settings)
        self._storage = open_storage(settings)
        self._sheet_seconds = settings.result_ttl_seconds
        self._settings = settings
        self._unneeded: SimpleQueue[str] = SimpleQueue()
        self._tidy_at = self._measure_at = 0.0
        self._done = threading.Event()

    def start(self) -> None:
        """Begin; the threads end with `finish` or with the process."""
        threading.Thread(target=self._run, args=(self._step,), name="watch", daemon=True).start()
        # A storage that hangs must not keep lost jobs waiting.
        threading.Thread(target=self._run, args=(self._care,), name="storage", daemon=True).start()

    def hurry(self) -> None:
        """The worker stops: tell the processes that run jobs."""
        for pid in self._living():
            with suppress(ProcessLookupError):  # it has ended already
                os.kill(pid, STOP_SIGNAL)

    def finish(self) -> None:
        """The worker has stopped: what its processes still held waits again, and no attempt is counted."""
        self._done.set()
        try:
            self._ledger.leave(self._node)
        except OUTAGES as error:
            _log.warning("The broker is away, leases of %s run out by themselves: %s", self._node, error)

    def _run(self, step: Callable[[], None]) -> None:
        away = False
        while not self._done.is_set():
            try:
                step()
                away = False
            except OUTAGES as error:
                if not away:
                    _log.warning("The broker is away: %s", error)
                away = True
            except OSError as error:
                _log.error("The storage could not be looked after: %s", error)
            except Exception:  # without this thread what is lost stays lost
                _log.exception("The %s failed, and goes on", threading.current_thread().name)
            self._done.wait(_SWEEP_SECONDS)

    def _step(self) -> None:
        living = [process_name(self._node, self._start, pid) for pid in self._living()]
        for job_id in self._ledger.bury(self._node, living):
            _log.warning("Job %s lost its process", job_id)
        report = self._ledger.sweep()
        for job_id in report.lost:
            _log.warning("Job %s lost its worker", job_id)
        for job_id, queue in report.unpublished:
            publish_id(job_id, queue, self._celery)
        for key in (*(f"results/{job_id}" for job_id in report.removed), *report.unneeded):
            self._unneeded.put(key)
        self._listen()

    def _listen(self) -> None:
        """End this worker where it no longer hears its queue; whoever watches over it starts it again.

        A broker that is killed at the wrong moment leaves Celery waiting on a connection on which nothing will come.
        """
        now = time.monotonic()
        unwatched = now - self._looked_at > 5 * _SWEEP_SECONDS  # the broker was away, or this process was frozen
        self._looked_at = now
        if unwatched or not self._ledger.overlooks(self._node, self._queue):
            self._heard_at = now
        elif now - self._heard_at > DEAF_SECONDS:
            _log.error("The worker no longer hears its queue, and ends to be started again")
            os.kill(os.getpid(), signal.SIGKILL)  # nothing is lost: it has no job, and a message is an id

    def _care(self) -> None:
        while not self._unneeded.empty():
            self._storage.delete(self._unneeded.get())
        if time.monotonic() >= self._measure_at:
            started = time.monotonic()
            self._measure_at = started + _MEASURE_SECONDS
            tight = is_tight(make_room(self._storage, self._ledger, self._settings), self._settings)
            took = time.monotonic() - started
            self._measure_at = started + (0 if tight else max(_MEASURE_SECONDS, _MEASURE_SHARE * took))
        if time.monotonic() >= self._tidy_at:
            tidy(self._storage, self._ledger, sheet_seconds=self._sheet_seconds)
            self._tidy_at = time.monotonic() + _TIDY_SECONDS


def tidy(
    storage: Storage, ledger: Ledger, stray_seconds: float = _STRAY_SECONDS, sheet_seconds: float = 24 * 3600
) -> list[str]:
    """Remove files that no job needs, however old the jobs are that need theirs; the keys removed.

    A file outlives its job only where a process was killed between two steps.
    """

    def needed(key: str) -> bool:
        folder, name = key.split("/", 1)
        try:
            job = ledger.get(name.partition(".")[0])
        except UnknownJobError:
            return False
        except ValueError:
            return True  # of another version, which knows what it needs
        if folder == "results":
            return not job.state.ended or job.result is not None
        request = job.request
        return not job.state.ended and isinstance(request, InpaintRequest) and key == request.inputs_key

    removed = [key for folder in ("inputs", "results") for key in storage.expire(folder, stray_seconds, needed)]
    return removed + storage.expire("samples", sheet_seconds)


def install(celery: Celery, node: str, start: str, queue: str, settings: WorkerSettings) -> None:
    """Have every worker that `celery` starts watched over, under the name `node`; see `process_name` for `start`."""

    class WatchStep(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
        requires = {"celery.worker.components:Pool"}  # noqa: RUF012 - celery's own way to say it

        def start(self, worker: Any) -> None:
            # Billiard takes a dead process out of this list as soon as the kernel tells it.
            def living() -> list[int]:
                return [process.pid for process in worker.pool._pool._pool if process.pid is not None]

            watch = Watch(node, start, queue, settings, celery, living)
            watch.start()
            worker_shutting_down.connect(lambda **_: watch.hurry(), weak=False)
            worker_shutdown.connect(lambda **_: watch.finish(), weak=False)

    celery.steps["worker"].add(WatchStep)
