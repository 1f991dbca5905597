"""One leased job, as the code that runs it sees it."""

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from worker.connection import OUTAGES
from worker.contracts import Failure, InpaintRequest, Job, Progress, Result
from worker.heartbeat import Heartbeat
from worker.ledger import Lease, Ledger, RenewState
from worker.storage import Storage
from worker.trace import Trace

_PROGRESS_SECONDS: Final = 0.2

_log = logging.getLogger(__name__)


class DeviceFailedError(RuntimeError):
    """Nothing can be computed in this process any more. The next one may."""


class Work:
    """A job and what may be said about it. Its lease is renewed until it is settled.

    Exactly one of `succeed`, `fail`, `acknowledge_cancel`, `release` and `lose` settles it; what comes after does
    nothing. Where the lease was lost meanwhile, they write nothing. They wait for a broker that is away; after a
    minute they raise one of `connection.OUTAGES`.
    """

    def __init__(
        self,
        lease: Lease,
        ledger: Ledger,
        quick_ledger: Ledger,
        storage: Storage,
        heartbeat: Heartbeat,
        stopping: threading.Event,
    ) -> None:
        self._lease = lease
        self._ledger = ledger  # waits out a restart of the broker: what it writes must not be lost
        self._quick_ledger = quick_ledger  # gives up soon: progress is not worth waiting for
        self._storage = storage
        self._heartbeat = heartbeat
        self._stopping = stopping
        self._leased_at = time.monotonic()
        self._progress_at = self._leased_at + _PROGRESS_SECONDS
        self.settled = False
        self.batch = 1
        """How many jobs were taken together, this one included."""
        heartbeat.hold(lease)

    @property
    def job(self) -> Job:
        """As it was when it was leased."""
        return self._lease.job

    def cancelled(self) -> bool:
        """Whether to stop: somebody cancelled the job, or somebody else has it now. Costs nothing to ask."""
        return self._heartbeat.state(self._lease) is not RenewState.HELD

    def stopping(self) -> bool:
        """Whether the worker has to stop. What takes seconds goes on; what takes longer saves itself and releases."""
        return self._stopping.is_set()

    def progress(self, done: int, total: int, message: str = "", details: Mapping[str, Any] | None = None) -> None:
        """Tell how far it is; at most five times a second, what comes sooner is dropped, but for the last."""
        now = time.monotonic()
        if now < self._progress_at and done < total:
            return
        self._progress_at = now + _PROGRESS_SECONDS
        try:
            self._quick_ledger.progress(
                self._lease, Progress(done=done, total=max(total, 1), message=message, details=dict(details or {}))
            )
        except OUTAGES as error:
            _log.warning("Job %s could not tell its progress: %s", self.job.id, error)

    def keep(self) -> None:
        """What it did so far is saved, and the next attempt goes on from there: losing this one does not count."""
        try:
            self._quick_ledger.keep(self._lease)
        except OUTAGES as error:
            _log.warning("Job %s could not tell that it saved: %s", self.job.id, error)

    def succeed(self, result: Result) -> None:
        """The result is stored under `result.key`."""
        if not self.settled and self._ledger.succeed(self._lease, result, self.batch):
            self._delete_inputs()
            self._log(logging.INFO, "succeeded", model=result.model, batch=self.batch)
        self._settle()

    def fail(self, failure: Failure) -> None:
        """The job cannot be done, and trying again would not help."""
        if not self.settled:
            if self._ledger.fail(self._lease, failure):
                self._delete_inputs()
            self._log(logging.WARNING, "failed", reason=failure.type, detail=failure.detail)
        self._settle()

    def acknowledge_cancel(self) -> None:
        """It was stopped because `cancelled()` said so."""
        if not self.settled and self._ledger.acknowledge_cancel(self._lease):
            self._delete_inputs()
            self._log(logging.INFO, "cancelled")
        self._settle()

    def release(self) -> None:
        """Put it back: this worker has to stop. The attempt does not count."""
        if not self.settled and self._ledger.release(self._lease):
            self._log(logging.INFO, "released")
        self._settle()

    def lose(self, failure: Failure | None = None) -> None:
        """Put it back to run alone. The attempt counts; after the last one the job fails, with `failure` if given."""
        if not self.settled and self._ledger.lose(self._lease, failure):
            self._log(logging.WARNING, "put back, to run alone")
        self._settle()

    def abandon(self) -> None:
        """Say nothing, because nobody hears it. The lease runs out by itself."""
        self._settle()

    def _settle(self) -> None:
        self.settled = True
        self._heartbeat.drop(self._lease)

    def _log(self, level: int, what: str, **values: Any) -> None:
        job = self.job
        about = {"job": job.id, "trace": trace_id(job), "kind": job.request.kind, "attempt": job.attempts}
        seconds = round(time.monotonic() - self._leased_at, 4)
        _log.log(level, "Job %s", what, extra={**about, "seconds": seconds, **values})

    def _delete_inputs(self) -> None:
        request = self.job.request
        if isinstance(request, InpaintRequest):
            self._storage.delete(request.inputs_key)


def trace_id(job: Job) -> str:
    """Of the trace that the job's request began or joined; empty where there was none."""
    trace = Trace.of(job.trace)
    return trace.id if trace else ""
