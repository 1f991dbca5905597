"""What every router that makes jobs shares: accept, wait, answer.

accept -> ledger, then the queue -> wait (`Prefer: wait`) -> 200 result | 202 job | problem
"""

import hashlib
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Annotated, BinaryIO

from fastapi import Depends, Header
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from app.access import KEY_HEADERS
from app.dependencies import Clients, ClientsDep
from app.errors import ProblemError, failure_problem, retry_after
from app.schemas import JobView
from worker.connection import OUTAGES
from worker.contracts import InpaintRequest, Job, JobRequest, JobState, Result
from worker.storage import MissingObjectError
from worker.trace import current

POLL_AFTER_SECONDS = 1
_PIECE_BYTES = 1 << 20
_LONGEST_DEADLINE = 7 * 24 * 3600
_WAIT = re.compile(r"wait\s*=\s*\"?([0-9]{1,9})\"?")
_EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "application/x-npy": "npy",
    "application/json": "json",
}
_AGAIN = "Send the request again; one that had an id or an Idempotency-Key, with another."

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preference:
    """How long the client wants to wait for a result (RFC 7240)."""

    seconds: float
    applied: str
    """What `Preference-Applied` says; empty where the client asked for nothing."""


async def get_preference(
    clients: ClientsDep,
    prefer: Annotated[
        list[str] | None,
        Header(
            description="`wait=N`: answer with the result if it is ready within N seconds (default 30, at most 60). "
            "`respond-async`: answer `202` at once.",
            examples=["wait=10", "respond-async"],
        ),
    ] = None,
) -> Preference:
    """What `Prefer` asks for; a preference that makes no sense is ignored, as RFC 7240 wants it."""
    settings = clients.settings
    tokens = [token.strip().lower() for line in prefer or () for token in re.split("[,;]", line)]
    waits = [int(match[1]) for token in tokens if (match := _WAIT.fullmatch(token))]
    if waits:
        seconds = min(waits[0], settings.max_wait_seconds)
        return Preference(seconds, f"wait={seconds:g}")
    if "respond-async" in tokens:
        return Preference(0, "respond-async")
    return Preference(settings.wait_seconds, "")


PreferenceDep = Annotated[Preference, Depends(get_preference)]

CancelAfterDep = Annotated[
    int | None,
    Header(
        alias="Cancel-After",
        ge=1,
        le=_LONGEST_DEADLINE,
        description="Seconds. A job that has not ended by then, waiting or running, fails as `deadline`.",
        examples=[20],
    ),
]


def own_id(owner: str, chosen: str) -> str:
    """The ledger's id of what `owner` calls `chosen`: a mark of the owner keeps apart what different keys choose."""
    return f"{chosen}-{hashlib.sha256(owner.encode()).hexdigest()[:12]}" if owner else chosen


def accept(
    clients: Clients,
    job_id: str,
    request: JobRequest,
    *,
    owner: str,
    fingerprint: str = "",
    cancel_after: int | None = None,
) -> Job:
    """Enter a job into the ledger and send its message; blocks.

    Raises QueueFullError, IdempotencyConflictError, and one of OUTAGES where the ledger cannot be reached.
    """
    trace = str(current.get() or "")
    job = clients.ledger.submit(
        job_id, request, owner=owner, fingerprint=fingerprint, trace=trace, cancel_after=cancel_after
    )
    if job.state is JobState.QUEUED:
        clients.publish(job)
    return job


def discard_inputs(clients: Clients, request: JobRequest) -> None:
    """Remove what was stored for a job that no worker will read."""
    if isinstance(request, InpaintRequest):
        with suppress(OSError):  # on a disk that is away; what stays behind expires
            clients.storage.delete(request.inputs_key)


async def wait_until_ended(clients: Clients, job: Job, seconds: float) -> Job:
    """`job` as it is once it has ended, or after `seconds`, or when this process has to stop. A client that goes away
    leaves the job running."""
    deadline = time.monotonic() + seconds
    async with clients.watcher.watching(job.id, for_its_end=True) as watch:
        while not job.state.ended and not clients.stopping.is_set() and (left := deadline - time.monotonic()) > 0:
            if ended := await watch.changed(left):
                return ended
            try:
                job = await run_in_threadpool(clients.ledger.get, job.id)
            except OUTAGES as error:
                log.info("The broker is away while job %s is waited for: %s", job.id, error)
    return job


def job_response(view: JobView, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A job as JSON."""
    described = {"X-Job-Id": view.id, "Cache-Control": "no-store"}
    return JSONResponse(view.model_dump(mode="json"), status, {**described, **(headers or {})})


async def accepted_response(clients: Clients, job: Job, preference: Preference, root_path: str) -> Response:
    """`202`: where the job is, and when to look again."""
    position = await run_in_threadpool(clients.ledger.position, job.id)
    view = JobView.of(job, root_path=root_path, position=position)
    headers = {"Location": view.links.self, **retry_after(POLL_AFTER_SECONDS), **applied(preference)}
    return job_response(view, 202, headers)


async def result_response(
    clients: Clients, job: Job, headers: Mapping[str, str] | None = None, before: Mapping[str, float] | None = None
) -> Response:
    """The bytes of an ended job with what describes them. Raises ProblemError where there are none.

    `before`: seconds of what this request did before the job was accepted, for `Server-Timing`.
    """
    result = result_of(job)
    try:
        size, first, file = await run_in_threadpool(_open, clients, result.key)
    except MissingObjectError:
        hours = clients.worker_settings.result_ttl_seconds / 3600
        raise ProblemError(
            410,
            "result-expired",
            "The result is gone",
            f"Results are kept for {hours:.3g} hours. {_AGAIN}",
            {"X-Job-Id": job.id},
        ) from None
    extension = _EXTENSIONS.get(result.media_type, "bin")
    described = {
        "Content-Length": str(size),
        "X-Model": result.model,
        "X-Job-Id": job.id,
        "X-Changed": f"{result.changed:.6g}",
        "Server-Timing": server_timing(job, before or {}),
        "Content-Disposition": f'inline; filename="{job.id}.{extension}"',
        "Cache-Control": "private, no-cache" if job.fingerprint else "private, max-age=3600, immutable",
        "Vary": ", ".join(KEY_HEADERS),
        **(headers or {}),
    }
    if file is None:
        return Response(first, media_type=result.media_type, headers=described)
    return StreamingResponse(_pieces(file, size, first), media_type=result.media_type, headers=described)


def _open(clients: Clients, key: str) -> tuple[int, bytes, BinaryIO | None]:
    """Size and beginning of what is stored, and the file that has the rest: none where the beginning is all of it.
    Raises MissingObjectError."""
    with ExitStack() as opened:
        file = opened.enter_context(clients.storage.open(key))
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        first = file.read(_PIECE_BYTES)
        if len(first) == size:
            return size, first, None
        opened.pop_all()  # whoever sends the rest closes it
        return size, first, file


async def _pieces(file: BinaryIO, size: int, first: bytes) -> AsyncIterator[bytes]:
    """A slow reader holds one of them in memory, not the whole picture."""
    try:
        left, piece = size, first
        while piece:
            left -= len(piece)
            yield piece
            piece = await run_in_threadpool(file.read, _PIECE_BYTES) if left else b""
    finally:
        file.close()


def result_of(job: Job) -> Result:
    """The result of a job that succeeded. Raises ProblemError for any other."""
    if job.result is not None:
        return job.result
    if job.failure is not None:
        raise failure_problem(job.failure, job.id)
    headers = {"X-Job-Id": job.id}
    if job.state is JobState.CANCELLED:
        raise ProblemError(409, "job-cancelled", "The job was cancelled", f"It has no result. {_AGAIN}", headers)
    raise ProblemError(
        409,
        "not-ready",
        "The job has not ended yet",
        f"It is {job.state}. Ask again after the time in Retry-After, or follow /jobs/{job.id}/events.",
        {**headers, **retry_after(POLL_AFTER_SECONDS)},
    )


def server_timing(job: Job, before: Mapping[str, float]) -> str:
    """`Server-Timing`: milliseconds `before` the job, in the queue, and in each stage of the work."""
    stages = dict(before)
    if job.started_at is not None:
        stages["queue"] = job.started_at - job.created_at
    if job.result is not None:
        stages |= job.result.timings
    tokens = {re.sub(r"[^A-Za-z0-9_-]", "-", name): seconds for name, seconds in stages.items()}
    return ", ".join(f"{token};dur={seconds * 1000:.1f}" for token, seconds in tokens.items())


def applied(preference: Preference) -> dict[str, str]:
    """The `Preference-Applied` header, where the client asked for something."""
    return {"Preference-Applied": preference.applied} if preference.applied else {}
