"""Jobs: follow, fetch, cancel."""

import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.responses import Response, StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.concurrency import run_in_threadpool

from app.dependencies import Clients, ClientsDep, OwnerDep
from app.jobs import discard_inputs, job_response, own_id, result_response
from app.openapi import problems
from app.schemas import JobList, JobView
from worker.connection import OUTAGES
from worker.contracts import ENDS, Event, Job, JobState
from worker.ledger import UnknownJobError

router = APIRouter(tags=["jobs"], prefix="/jobs")

HEARTBEAT_SECONDS = 15.0
_RETRY_MILLISECONDS = 1000


async def get_job(
    clients: ClientsDep, owner: OwnerDep, id: Annotated[str, Path(max_length=80, description="The job.")]
) -> Job:
    """The job of this path, by its full id or the one its owner chose. Another owner's is as unknown as one that never
    was."""
    for job_id in dict.fromkeys((id, own_id(owner, id))):
        with suppress(UnknownJobError):
            job = await run_in_threadpool(clients.ledger.get, job_id)
            if job.owner == owner:
                return job
    raise UnknownJobError(f"There is no job '{id}'. Ended jobs are kept for a while, then removed.")


JobDep = Annotated[Job, Depends(get_job)]


@router.get("", summary="Your latest jobs", responses=problems(400, 401, 403, 503))
async def list_jobs(
    request: Request,
    clients: ClientsDep,
    owner: OwnerDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> JobList:
    """Newest first. Where the operator has set keys, those made with yours."""
    jobs = await run_in_threadpool(clients.ledger.recent, owner, limit)
    return JobList(jobs=[JobView.of(job, root_path=request.scope["root_path"]) for job in jobs])


@router.get(
    "/{id}", summary="State, progress, timings", response_model=JobView, responses=problems(400, 401, 403, 404, 503)
)
async def show_job(request: Request, clients: ClientsDep, job: JobDep) -> Response:
    """`position` is the number of jobs ahead of it while it is queued."""
    position = await run_in_threadpool(clients.ledger.position, job.id) if job.state is JobState.QUEUED else None
    return job_response(JobView.of(job, root_path=request.scope["root_path"], position=position))


@router.get(
    "/{id}/result",
    summary="The bytes that it made",
    response_class=Response,
    responses={
        200: {
            "description": "A picture; of samples the pictures as NumPy writes an array, (n, height, width, channels) "
            "uint8, which `GET /samples` makes a sheet of; of training the card of what was trained.",
            "content": {
                "image/*": {"schema": {"type": "string", "format": "binary"}},
                "application/x-npy": {"schema": {"type": "string", "format": "binary"}},
                "application/json": {"schema": {"type": "object"}},
            },
        },
        **problems(400, 401, 403, 404, 409, 410, 422, 503, 504),
    },
)
async def fetch_result(clients: ClientsDep, job: JobDep) -> Response:
    """`409` while it has not ended (`Retry-After` says when to ask again) or when it was cancelled; `410` when the
    result has expired; the reason as a problem when the job failed."""
    return await result_response(clients, job)


@router.post("/{id}/cancel", summary="Cancel it", response_model=JobView, responses=problems(400, 401, 403, 404, 503))
async def cancel_job(request: Request, clients: ClientsDep, job: JobDep) -> Response:
    """A queued job ends at once. A running one is asked to stop: follow its events to see it end. One that has ended
    stays as it is."""
    cancelled = await run_in_threadpool(clients.ledger.cancel, job.id)
    if cancelled.state is JobState.CANCELLED:
        await run_in_threadpool(discard_inputs, clients, cancelled.request)  # no worker will come and do it
    return job_response(JobView.of(cancelled, root_path=request.scope["root_path"]))


_EVENTS: dict[str, Any] = {
    "description": "Each event's name is one of `queued`, `running`, `progress`, `succeeded`, `failed`, `cancelled`; "
    "its data is JSON. A job that is done within a fifth of a second tells no progress. The stream ends with the job.",
    "content": {
        "text/event-stream": {
            "schema": {"type": "string"},
            "example": "id: 1764000000000-0\nevent: progress\n"
            'data: {"type":"progress","at":1764000000.0,"progress":{"done":1,"total":4},"failure":null}\n\n',
        }
    },
}


@router.get(
    "/{id}/events",
    summary="Server-sent events until it ends",
    response_class=Response,
    responses={
        200: _EVENTS,
        204: {"description": "It has ended and `Last-Event-ID` was its last event: nothing more will come."},
        **problems(400, 401, 403, 404, 503),
    },
)
async def follow_job(
    clients: ClientsDep,
    job: JobDep,
    last_event_id: Annotated[
        str, Header(pattern=r"^[0-9]{1,19}(-[0-9]{1,19})?$", description="Only what came after this event.")
    ] = "0",
) -> Response:
    """From the beginning, or after `Last-Event-ID`. A browser's `EventSource` reconnects by itself and is told `204`
    once there is nothing more to come."""
    events = await run_in_threadpool(clients.ledger.events, job.id, last_event_id)
    if job.state.ended and not events:
        return Response(status_code=204)
    return StreamingResponse(
        _stream(clients, job, last_event_id),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Job-Id": job.id},
    )


async def _stream(clients: Clients, job: Job, after: str) -> AsyncIterator[bytes]:
    yield format_sse_event(retry=_RETRY_MILLISECONDS)
    spoken = time.monotonic()
    async with clients.watcher.watching(job.id) as watch:
        while True:
            try:
                if job.deadline is not None and time.time() > job.deadline:
                    await run_in_threadpool(clients.ledger.get, job.id)  # ends it, where no worker is there to do so
                events = await run_in_threadpool(clients.ledger.events, job.id, after)
                if not events and time.monotonic() - spoken >= HEARTBEAT_SECONDS:
                    await run_in_threadpool(clients.ledger.get, job.id)
            except OUTAGES:
                return  # the client reconnects with Last-Event-ID and is told 503 while the broker is away
            except UnknownJobError:
                return  # it is gone with its events: the client reconnects and is told 404
            for event in events:
                yield _as_sse(event)
                after, spoken = event.id, time.monotonic()
                if event.type in ENDS:
                    return
            if clients.stopping.is_set():
                return  # the client reconnects, to a process that goes on
            if time.monotonic() - spoken >= HEARTBEAT_SECONDS:
                yield KEEPALIVE_COMMENT
                spoken = time.monotonic()
            await watch.changed(HEARTBEAT_SECONDS)


def _as_sse(event: Event) -> bytes:
    return format_sse_event(data_str=event.model_dump_json(exclude={"id"}), event=event.type, id=event.id)
