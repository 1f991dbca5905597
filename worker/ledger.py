"""The record of every job: who waits, who runs, on which lease, and how it ended.

A job is accepted when it stands here. A worker may run it while it holds a
lease, which it renews; a lease that runs out puts the job back in its queue.
Each lease has a token of its own, and only the current token may write, so a
worker that was taken for dead and comes back does no harm. Every transition is
one atomic script (`ledger.lua`), which also keeps the clock.
"""

import json
import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

import redis
from pydantic import Field
from redis.exceptions import NoScriptError

from worker.contracts import (
    INFERENCE_QUEUE,
    TRAINING_QUEUE,
    Contract,
    Event,
    Failure,
    Job,
    JobRequest,
    JobState,
    Progress,
    Result,
    TrainingRequest,
)
from worker.settings import WorkerSettings

CHANNEL: Final = "jobs"
"""Here it is published whenever something happened to a job, as `Told` reads it."""

_PREFIX: Final = "inpaint:"
_SCRIPT: Final = Path(__file__).with_name("ledger.lua").read_text()
_THOUGH_FULL: Final = "#!lua flags=allow-oom\n"
"""Before a script that runs where the broker's memory is full: what was accepted ends, and makes room."""
_EVENT_ID: Final = re.compile(r"[0-9]{1,19}(-[0-9]{1,19})?")  # below 2**64
_BLOCK_AT_MOST_MS: Final = 4000  # below the client's socket timeout
_RETRY_AFTER_AT_MOST: Final = 60
_RESTARTS: Final = 3  # of the broker during one call


_OTHER_VERSION: Final = Failure(
    type="internal", detail="The worker is of another version than the service that took the job. Send it again later."
)

Read = TypeVar("Read")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Told:
    """A message of the channel: `ID WHAT`, and with the end of a job its record."""

    job_id: str
    what: str
    """A state, or a word more."""
    record: str

    @classmethod
    def read(cls, message: str) -> "Told":
        job_id, _, rest = message.partition(" ")
        what, _, record = rest.partition(" ")
        return cls(job_id, what, record)

    def ended(self) -> Job | None:
        """The job as it stays; None where it goes on, or another version of this program told it."""
        try:
            return _job(json.loads(self.record)) if self.record else None
        except ValueError:
            return None


class UnknownJobError(LookupError):
    """No job goes by this id: there never was one, or it ended so long ago that it was removed."""


class QueueFullError(RuntimeError):
    """As many jobs wait as may; try again after `retry_after` seconds."""

    def __init__(self, seconds: float) -> None:
        self.retry_after = min(_RETRY_AFTER_AT_MOST, max(1, math.ceil(seconds)))
        super().__init__(f"The queue is full. Try again in {self.retry_after} s.")


class StorageFullError(RuntimeError):
    """Nothing is accepted before there is room for what jobs read and make."""


class IdempotencyConflictError(RuntimeError):
    """A job with this id exists, and it was another request or another owner's."""


class RenewState(StrEnum):
    """What a worker hears when it renews a lease."""

    HELD = "held"
    CANCEL_REQUESTED = "cancel-requested"
    """Still held, but nobody wants the result: stop and `acknowledge_cancel`."""
    LOST = "lost"
    """The job went to somebody else, or has ended: stop, and write nothing."""


@dataclass(frozen=True)
class Lease:
    """The right to run `job`, and to write about it, until the lease is lost."""

    job: Job
    token: str
    worker: str

    @property
    def attempt(self) -> int:
        """1 for the first worker that runs it."""
        return self.job.attempts


@dataclass(frozen=True)
class SweepReport:
    """What a sweep found, by job id."""

    lost: Sequence[str]
    """Leases that ran out: the job is queued again, or failed as `worker-lost`."""
    unpublished: Sequence[tuple[str, str]]
    """(job, queue): a queued job without a message on its way. The caller publishes it."""
    removed: Sequence[str]
    """Ended long ago and no longer in the ledger. The caller deletes its files."""
    unneeded: Sequence[str]
    """Storage keys of what was stored for jobs that ended before a worker ran them. The caller deletes them."""


@dataclass(frozen=True)
class QueueStats:
    """How busy a queue is."""

    waiting: int
    running: int
    oldest_seconds: float
    """How long the job that is next has waited; 0 when none waits."""
    images_per_second: float = 0.0
    """Of the training runs that run now."""


@dataclass(frozen=True)
class Room:
    """How full the storage is, in bytes."""

    used: int
    free: int | None
    """What the disk still takes; None where it is no disk."""
    full: bool
    broker: float = 0.0
    """Share of its memory that the broker has taken; known to who measures alone."""


class WorkerInfo(Contract):
    """What a worker process says about itself every few seconds."""

    id: str
    queue: str
    device: str = ""
    models: list[str] = Field(default_factory=list, description="`NAME@VERSION` of the networks in its memory.")
    loading_seconds: float = Field(default=0.0, description="From its start until it could take a job.")
    memory_bytes: int = Field(default=0, description="Resident, of it and of what it started.")
    device_memory_bytes: int = Field(default=0, description="Taken on its GPU.")


def process_name(node: str, start: str, pid: int) -> str:
    """What the ledger calls a process of the worker `node`. A container that is started again often has the same name
    and the same process ids, so `start`, new each time, tells the processes that are gone from those that live."""
    return f"{node}:{start}-{pid}"


def queue_of(request: JobRequest) -> str:
    """The queue that takes such a request."""
    return TRAINING_QUEUE if isinstance(request, TrainingRequest) else INFERENCE_QUEUE


class Ledger:
    """All methods may be called from any thread or process; each raises one of `connection.OUTAGES` without a broker.

    `client` must decode its answers to str (`worker.connection.connect`).
    """

    def __init__(self, client: redis.Redis, settings: WorkerSettings) -> None:
        self._client = client
        self._submit_script = client.register_script(_SCRIPT)
        self._script = client.register_script(_THOUGH_FULL + _SCRIPT)
        self._limit = settings.queue_limit
        self._lease_seconds = settings.lease_seconds
        self._max_attempts = settings.max_attempts
        self._ttl_seconds = settings.result_ttl_seconds
        self._worker_lost = Failure(
            type="worker-lost",
            detail=f"{settings.max_attempts} workers were lost while they ran this job. It may need more memory than "
            "they have; try a smaller picture.",
        ).model_dump_json()

    # For those who ask

    def submit(
        self,
        job_id: str,
        request: JobRequest,
        *,
        owner: str = "",
        fingerprint: str = "",
        trace: str = "",
        cancel_after: float | None = None,
    ) -> Job:
        """Accept a job, or find it again: the same id, owner and fingerprint give the job that exists.

        A job that has not ended `cancel_after` seconds from now fails as `deadline`. `trace` is the `traceparent` of
        who asks. Raises QueueFullError, StorageFullError, IdempotencyConflictError.
        """
        queue, content = queue_of(request), request.model_dump_json()
        limits = self._limit, "" if cancel_after is None else cancel_after
        answer = self._run("submit", job_id, queue, request.kind, owner, fingerprint, trace, content, *limits)
        if answer[0] == "conflict":
            raise IdempotencyConflictError(f"Job '{job_id}' exists already and was another request.")
        _raise_refusal(answer)
        return _job(answer[1])

    def check_room(self, queue: str, owner: str = "") -> None:
        """Raises QueueFullError or StorageFullError where `submit` would now: before anything is made ready for a job
        that is refused."""
        _raise_refusal(self._run("refusal", queue, owner, self._limit) or [""])

    def get(self, job_id: str) -> Job:
        """Raises UnknownJobError."""
        record = self._run("get", job_id)
        if not record:
            raise UnknownJobError(f"There is no job '{job_id}'. Ended jobs are kept for a while, then removed.")
        return _job(record)

    def position(self, job_id: str) -> int | None:
        """How many jobs of its queue will run before it: 0 is next, None does not wait. Owners take turns."""
        before = self._run("position", job_id)
        return None if before is None else int(before)

    def recent(self, owner: str = "", limit: int = 50) -> list[Job]:
        """The latest jobs of `owner`, newest first."""
        ids: Any = self._client.zrange(f"{_PREFIX}owned:{owner}", 0, limit - 1, desc=True)
        pipeline = self._client.pipeline(transaction=False)
        for job_id in ids:
            pipeline.hgetall(f"{_PREFIX}job:{job_id}")
        return list(_readable(_job, (record for record in pipeline.execute() if record)))

    def cancel(self, job_id: str) -> Job:
        """Queued: it ends at once. Running: its worker is asked to stop. Ended: nothing. Raises UnknownJobError."""
        record = self._run("cancel", job_id)
        if not record:
            raise UnknownJobError(f"There is no job '{job_id}'. Ended jobs are kept for a while, then removed.")
        return _job(record)

    def events(self, job_id: str, after: str = "0", block_ms: int | None = None) -> list[Event]:
        """What happened to the job after the event of id `after`, oldest first.

        With `block_ms`, waits up to so long (4 s at most) for the first one. An `after` that is no event's id counts
        as the beginning. An unknown job has no events.
        """
        stream = f"{_PREFIX}events:{job_id}"
        after = after if _EVENT_ID.fullmatch(after) else "0"
        if block_ms is not None:
            self._client.xread({stream: after}, block=max(1, min(block_ms, _BLOCK_AT_MOST_MS)), count=1)
        entries: Any = self._client.xrange(stream, min=f"({after}")
        return [_event(event_id, fields) for event_id, fields in entries]

    def depth(self, queue: str) -> int:
        """How many jobs wait in `queue`."""
        waiting: Any = self._client.zcard(f"{_PREFIX}queued:{queue}")
        return int(waiting)

    def stats(self) -> dict[str, QueueStats]:
        """By queue."""
        return {
            queue: QueueStats(waiting, running, float(age), float(rate))
            for queue, waiting, running, age, rate in self._run("stats")
        }

    def note_room(self, room: Room, ttl_seconds: float = 60) -> None:
        """Say how full the storage is. While it says `full`, no job is accepted; forgotten after `ttl_seconds`."""
        self._run("note_room", room.used, "" if room.free is None else room.free, int(room.full), ttl_seconds)

    def room(self) -> Room | None:
        """What was said last; None where nobody said anything lately."""
        fields = _fields(self._run("room"))
        if not fields:
            return None
        return Room(int(fields["used"]), int(fields["free"]) if fields["free"] else None, fields["full"] == "1")

    def memory(self) -> tuple[int, int | None]:
        """How many bytes the broker has taken, and how many it may; None where nobody set a limit."""
        info: Any = self._client.info("memory")
        return info["used_memory"], info["maxmemory"] or None

    def evict(self, limit: int, older_than_seconds: float) -> list[str]:
        """Forget up to `limit` jobs that ended longer ago than this, the oldest first; their ids. The caller deletes
        their files."""
        removed: list[str] = self._run("evict", limit, older_than_seconds)
        return removed

    def totals(self) -> dict[tuple[str, ...], float]:
        """What has happened so far, by what it is: `("ended", "inpaint", "failed", "bad-input")` and the like.

        Of a histogram, `(..., BOUND)` is how many values lay above the bound before and not above this one, and
        `(..., "sum")` their sum.
        """
        return {tuple(name.split("|")): float(value) for name, value in _fields(self._run("totals")).items()}

    def workers(self) -> list[WorkerInfo]:
        """The workers that announced themselves and have not fallen silent."""
        return list(_readable(WorkerInfo.model_validate_json, self._run("workers")))

    # For the worker that runs jobs

    def lease_next(self, queue: str, worker: str) -> Lease | None:
        """The right to run the job of `queue` that is next; None when none waits.

        Owners take turns, each with its oldest job, so that nobody waits for all that somebody else has sent. A
        worker asks when it has settled what it had: while it holds a job of this queue, it is given that one again.
        A job that this version of the program cannot read has failed.
        """
        while record := self._run("lease_next", queue, worker, self._lease_seconds):
            if lease := self._lease(record):
                return lease
        return None

    def lease(self, job_id: str, worker: str) -> Lease | None:
        """The right to run this queued job, whoever's turn it is; None when it has ended, is gone, or is leased."""
        record = self._run("lease", job_id, worker, self._lease_seconds)
        return self._lease(record) if record else None

    def lease_waiting(self, kind: str, limit: int, worker: str) -> list[Lease]:
        """Up to `limit` more queued jobs of this kind, by turns; jobs that lost a worker before are left out."""
        queue = TRAINING_QUEUE if kind == "training" else INFERENCE_QUEUE
        records = self._run("lease_waiting", queue, kind, limit, worker, self._lease_seconds)
        return [lease for lease in map(self._lease, records) if lease]

    def renew(self, lease: Lease) -> RenewState:
        """Hold the lease for another `lease_seconds`."""
        return RenewState(self._run("renew", lease.job.id, lease.token, self._lease_seconds))

    def progress(self, lease: Lease, progress: Progress) -> bool:
        """Tell how far it is. False: the lease is lost and nothing was written; so for all that follow."""
        return bool(self._run("progress", lease.job.id, lease.token, progress.model_dump_json()))

    def keep(self, lease: Lease) -> bool:
        """Say that what was done so far is saved: this attempt, if it is lost, does not count, nor do those before."""
        return bool(self._run("keep", lease.job.id, lease.token))

    def succeed(self, lease: Lease, result: Result, batch: int = 1) -> bool:
        """End the job, one of `batch` that ran together; what `result.key` names must be stored before. May be
        repeated."""
        return self._finish(lease, JobState.SUCCEEDED, "result", result.model_dump_json(), batch)

    def fail(self, lease: Lease, failure: Failure) -> bool:
        """End the job with the reason. May be repeated."""
        return self._finish(lease, JobState.FAILED, "failure", failure.model_dump_json())

    def acknowledge_cancel(self, lease: Lease) -> bool:
        """End the job as cancelled. May be repeated."""
        return self._finish(lease, JobState.CANCELLED)

    def release(self, lease: Lease) -> bool:
        """Put the job back in its place in the queue; this attempt does not count."""
        return bool(self._run("release", lease.job.id, lease.token))

    def lose(self, lease: Lease, failure: Failure | None = None) -> bool:
        """Put the job back in its place; this attempt counts, and the next one runs alone.

        After the last attempt the job has failed: with `failure`, or as `worker-lost`.
        """
        reason = failure.model_dump_json() if failure else self._worker_lost
        return bool(self._run("lose", lease.job.id, lease.token, self._max_attempts, reason))

    def announce(self, worker: str, info: WorkerInfo, ttl_seconds: float) -> None:
        """Say that `worker` lives and what it has loaded; forgotten after `ttl_seconds`."""
        self._run("announce", worker, info.model_dump_json(), ttl_seconds)

    # For the process that watches over workers. A worker is named `NODE:PROCESS`.

    def bury(self, node: str, living: Iterable[str]) -> list[str]:
        """The leases of this node's workers that are not `living` are lost now; ids of their jobs."""
        lost: list[str] = self._run("bury", node, self._max_attempts, self._worker_lost, *living)
        return lost

    def overlooks(self, node: str, queue: str) -> bool:
        """Whether messages wait in `queue` although a worker of this node is ready and none of them has a job."""
        return bool(self._run("overlooks", node, queue))

    def leave(self, node: str) -> list[str]:
        """Release all that this node's workers hold, and withdraw their announcements; ids of the jobs."""
        held: list[str] = self._run("leave", node)
        return held

    def sweep(self, grace_seconds: float | None = None, patience_seconds: float = 30) -> SweepReport:
        """Find what was lost. Any number of processes may sweep at any time.

        `grace_seconds` (a fifth of a lease if unset) is how long a message may take to its queue. When nobody swept for
        so long, or the broker's clock went back, leases start anew, and nothing ages by the time between.
        `patience_seconds` is how long the oldest job may wait while its queue has messages.
        """
        grace = self._lease_seconds / 5 if grace_seconds is None else grace_seconds
        lost, unpublished, removed, unneeded = self._run(
            "sweep",
            self._lease_seconds,
            self._max_attempts,
            self._worker_lost,
            grace,
            patience_seconds,
            self._ttl_seconds,
        )
        return SweepReport(lost, list(zip(unpublished[::2], unpublished[1::2], strict=True)), removed, unneeded)

    def _lease(self, record: Any) -> Lease | None:
        """The lease in a record; the job has failed where it cannot be read, and would be in the way for ever."""
        fields = _fields(record)
        try:
            return Lease(_job(fields), fields["token"], fields["worker"])
        except ValueError:
            _log.exception("Job %s is of another version and cannot be read", fields["id"])
            reason = _OTHER_VERSION.model_dump_json()
            self._run("finish", fields["id"], fields["token"], JobState.FAILED.value, "failure", reason)
            return None

    def _finish(self, lease: Lease, state: JobState, *payload: str | int) -> bool:
        return bool(self._run("finish", lease.job.id, lease.token, state.value, *payload))

    def _run(self, command: str, *arguments: str | float) -> Any:
        script = self._submit_script if command == "submit" else self._script
        for _ in range(_RESTARTS):
            with suppress(NoScriptError):  # the broker was started anew after it was taught the script: nothing has run
                return script(args=[command, *arguments])
        return script(args=[command, *arguments])


def _raise_refusal(answer: Any) -> None:
    match answer[0]:
        case "no-room":
            raise StorageFullError("The storage is full.")
        case "full":
            raise QueueFullError(float(answer[1]))


_JSON_FIELDS: Final = {"request", "progress", "failure", "result"}


def _fields(record: Any) -> dict[str, str]:
    """Of a hash: a dict from HGETALL, a flat list from the script."""
    return record if isinstance(record, dict) else dict(zip(record[::2], record[1::2], strict=True))


def _parsed(fields: dict[str, str], known: Iterable[str]) -> dict[str, Any]:
    return {
        name: json.loads(value) if name in _JSON_FIELDS else value for name, value in fields.items() if name in known
    }


def _job(record: Any) -> Job:
    return Job.model_validate(_parsed(_fields(record), Job.model_fields))


def _readable(read: Callable[[Any], Read], records: Iterable[Any]) -> Iterator[Read]:
    """Those that this version of the program understands: another one may have written beside it."""
    for record in records:
        with suppress(ValueError):
            yield read(record)


def _event(event_id: str, fields: dict[str, str]) -> Event:
    return Event.model_validate({"id": event_id, **_parsed(fields, Event.model_fields)})
