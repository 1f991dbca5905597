"""One worker process: what it holds from its start to its end, and how it runs a job.

    message -> lease of who is next -> handler, which takes more of the same kind along if that gains -> settled

Torch is imported by `load`, not by this module.
"""

import logging
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Final

from celery.exceptions import SoftTimeLimitExceeded

from worker.connection import OUTAGES, connect
from worker.contracts import INFERENCE_QUEUE, TRAINING_QUEUE, Failure
from worker.heartbeat import Heartbeat
from worker.ledger import Lease, Ledger, WorkerInfo, process_name
from worker.logs import bound
from worker.processes import resident_bytes
from worker.settings import WorkerSettings
from worker.shared import open_catalog, open_storage
from worker.storage import StorageUnavailableError
from worker.work import DeviceFailedError, Work, trace_id

if TYPE_CHECKING:
    from worker.handlers import Handler, More
    from worker.networks import Networks

STOP_SIGNAL: Final = signal.SIGUSR2
"""Sent by the worker's main process to the process that runs jobs when the worker has to stop."""

_OUTAGE_SECONDS: Final = 60
_STORAGE_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)


class Runtime:
    """Everything that outlives a job. `start` tells one start of the worker `node` from all others."""

    def __init__(self, settings: WorkerSettings, node: str, start: str, queue: str) -> None:
        self._started = time.monotonic()
        self._settings = settings
        self._queue = queue
        self._worker = process_name(node, start, os.getpid())
        self._loading_seconds = 0.0
        self._networks: Networks | None = None
        self._handlers: dict[str, Handler] = {}
        self._stopping = threading.Event()
        self._ledger = Ledger(connect(settings.redis_url, _OUTAGE_SECONDS), settings)
        self._quick_ledger = Ledger(connect(settings.redis_url, 1), settings)
        self._storage = open_storage(settings)
        self._heartbeat = Heartbeat(self._quick_ledger, self._info, settings.lease_seconds)

    def load(self) -> None:
        """Get ready for the first job, then say so."""
        signal.signal(STOP_SIGNAL, lambda *_: self._stopping.set())
        if self._queue == INFERENCE_QUEUE:
            from worker.handlers import Completion, Sampling
            from worker.networks import Networks

            settings = self._settings
            self._networks = Networks(open_catalog(settings), settings.device, settings.threads)
            self._networks.preload()
            self._handlers = {
                "inpaint": Completion(self._networks, self._storage, settings.max_pixels),
                "sample": Sampling(self._networks, self._storage),
            }
        elif self._queue == TRAINING_QUEUE:
            self._handlers = {"training": _Training(self._settings)}
        self._loading_seconds = time.monotonic() - self._started
        self._heartbeat.start()

    def run(self, job_id: str) -> None:
        """A message came: run the job that is next, and others that wait beside it. Does nothing when none waits.

        `job_id` is the job that the message was sent for; another may be next, whose message then runs this one.
        """
        lease = self._ledger.lease_next(self._queue, self._worker)
        if lease is None:
            return
        with bound(job=lease.job.id, trace=trace_id(lease.job)):
            _log.debug("The message of job %s runs job %s", job_id, lease.job.id)
            self._run(lease)

    def _run(self, lease: Lease) -> None:
        works = [self._work(lease)]
        kind = lease.job.request.kind

        def more(limit: int) -> list[Work]:
            left = min(limit, self._settings.batch_limit - len(works))
            if lease.attempt > 1 or left < 1 or self._stopping.is_set():
                return []  # a job that lost a worker runs alone
            taken = [self._work(other) for other in self._ledger.lease_waiting(kind, left, self._worker)]
            works.extend(taken)
            return taken

        try:
            self._handlers[kind].run(works[0], more)
        except SoftTimeLimitExceeded:
            _settle_late(works)
        except OUTAGES as error:
            # What was computed is lost, the job is not: its lease runs out, and it is run again.
            _log.error("The broker was away for too long: %s", error)
            for work in works:
                work.abandon()
        except StorageUnavailableError as error:
            _log.error("The storage is full or away, jobs wait for it: %s", error)
            time.sleep(_STORAGE_SECONDS)  # they go back to the queue now, and must not be taken again at once
        except DeviceFailedError:
            _log.exception("The device failed, and this process ends for another to begin anew")
            for work in works:
                work.lose()
            os.kill(os.getpid(), signal.SIGKILL)
        except Exception:
            _log.exception("Job %s ended its handler", lease.job.id)
            for work in works:
                work.fail(Failure(type="internal", detail="An error that should not happen; the worker's log has it."))
        finally:
            for work in works:
                work.release()

    def _work(self, lease: Lease) -> Work:
        return Work(lease, self._ledger, self._quick_ledger, self._storage, self._heartbeat, self._stopping)

    def _info(self) -> WorkerInfo:
        networks = self._networks
        return WorkerInfo(
            id=self._worker,
            queue=self._queue,
            device=str(networks.device) if networks else "",
            models=networks.loaded() if networks else [],
            loading_seconds=self._loading_seconds,
            memory_bytes=resident_bytes(),
            device_memory_bytes=networks.memory_bytes() if networks else 0,
        )


class _Training:
    """`training`: what computes is a process of its own, which `worker.training` watches over."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings

    def run(self, work: Work, more: "More") -> None:  # noqa: ARG002 - one run has the whole device
        from worker.training import run

        run(work, self._settings)


def _settle_late(works: list[Work]) -> None:
    """The task's time is up. A job alone is too slow; of several nobody knows which, so each runs alone next."""
    for work in works:
        if len(works) == 1:
            detail = "It took longer than a minute. Send a smaller picture or hole, or leave `strategy` at auto."
            work.fail(Failure(type="timed-out", detail=detail))
        else:
            work.lose()
