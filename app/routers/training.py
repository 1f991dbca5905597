"""Training runs: begin, watch, cancel, go on, put into service.

A run is a folder that jobs work on, one after the other; the first job has the
run's id. What is asked for is checked here, without torch, so that a mistake is
answered at once and not by a job that fails. Where the operator has set keys,
reading needs one of scope `use`, everything else one of scope `train`.
"""

import hashlib
import time
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from app.dependencies import Clients, ClientsDep, OwnerDep, TrainerDep
from app.errors import ProblemError, bad_parameter, retry_after
from app.jobs import CancelAfterDep, accept
from app.openapi import problems
from app.schemas import when
from models.catalog import Card, Family, UnknownModelError
from models.training.errors import OptionsError
from worker.contracts import Failure, Job, JobState, Preset, Progress, TrainingRequest
from worker.datasets import DatasetsError, UnknownDatasetError, registered
from worker.ledger import IdempotencyConflictError, QueueFullError, StorageFullError, UnknownJobError
from worker.runs import RunRecord, Runs, UnknownRunError
from worker.training import check_request

router = APIRouter(tags=["training"])

POLL_AFTER_SECONDS = 5


class TrainingOrder(BaseModel):
    """What to train."""

    model_config = {"extra": "forbid"}

    family: Family
    dataset: str = Field(max_length=64, examples=["celeba"], description="A name from `GET /datasets`; never a path.")
    preset: Preset = "cpu"
    overrides: dict[str, Any] = Field(
        default_factory=dict,
        examples=[{"name": "glcic-celeba", "init": "glcic-celeba", "lr": 3e-4}],
        description="Options over the preset. `name` is the model that a promotion adds a version to.",
    )


class Resumption(BaseModel):
    """How to go on."""

    model_config = {"extra": "forbid"}

    overrides: dict[str, Any] = Field(
        default_factory=dict, examples=[{"lr": 1e-4}], description="Options to change from here on."
    )


class RunLinks(BaseModel):
    """Where to go from here; paths on this host."""

    self: str
    job: str = Field(description="The latest job that works, or worked, on it.")
    events: str = Field(description="That job's server-sent events.")
    history: str = Field(description="Its figures from the beginning to now.")
    preview: str
    cancel: str = Field(description="POST.")
    resume: str = Field(description="POST.")
    promote: str = Field(description="POST.")


class RunView(BaseModel):
    """A training run as its owner sees it."""

    id: str
    state: JobState = Field(description="Of its latest job.")
    family: Family
    dataset: str
    preset: Preset
    overrides: dict[str, Any]
    created_at: datetime
    cancel_requested: bool = False
    progress: Progress | None = Field(description="Steps; in `details` losses, `images_per_second`, `eta_seconds`.")
    failure: Failure | None = None
    model: str | None = Field(description="`NAME@VERSION` that a promotion would put into service now.")
    metrics: dict[str, float] = Field(description="Of that version, on held-out pictures.")
    links: RunLinks


class RunList(BaseModel):
    """Runs, newest first."""

    runs: list[RunView]


class RunHistory(BaseModel):
    """A run from its beginning to now, however long it is and whatever jobs worked on it."""

    figures: dict[str, list[tuple[int, float]]] = Field(
        examples=[{"generator_loss": [[50, 1.21], [100, 0.98]]}], description="By name: step and value."
    )
    previews: list[int] = Field(description="Steps at which a preview was made.")


class Promotion(BaseModel):
    """What is in service now."""

    model: str = Field(examples=["glcic-celeba@1a2b3c4d"])
    previous: str | None = Field(
        description="What was before; `PUT /models/{name}/active` with its version rolls back."
    )
    card: Card


class DatasetList(BaseModel):
    """What can be trained on."""

    datasets: list[str]


async def get_runs(clients: ClientsDep) -> Runs:
    """The runs of this service."""
    return clients.runs


RunsDep = Annotated[Runs, Depends(get_runs)]


async def get_run(
    runs: RunsDep, owner: OwnerDep, id: Annotated[str, Path(max_length=64, description="The run.")]
) -> RunRecord:
    """The run of this path. Another owner's is as unknown as one that never was."""
    try:
        record = await run_in_threadpool(runs.get, id)
        if record.owner != owner:
            raise UnknownRunError(f"There is no training run '{id}'.")
    except UnknownRunError as error:
        raise ProblemError(404, "unknown-run", "There is no such training run", str(error)) from None
    return record


RunDep = Annotated[RunRecord, Depends(get_run)]


async def get_trainable(owner: TrainerDep, run: RunDep) -> RunRecord:  # noqa: ARG001 - the key is checked
    """The run of this path, for a key that may do something about it."""
    return run


TrainableDep = Annotated[RunRecord, Depends(get_trainable)]


@router.get("/datasets", summary="Data sets that can be trained on", responses=problems(401, 403, 503))
async def list_datasets(clients: ClientsDep, owner: OwnerDep) -> DatasetList:  # noqa: ARG001 - the key is checked
    """By the names under which the operator registered them."""
    try:
        return DatasetList(datasets=list(await run_in_threadpool(registered, clients.worker_settings)))
    except DatasetsError as error:
        raise _misconfigured(error) from None


@router.post(
    "/training-runs",
    summary="Train a model",
    status_code=202,
    response_model=RunView,
    responses=problems(400, 401, 403, 422, 429, 503, 507),
)
async def begin_run(
    request: Request,
    clients: ClientsDep,
    runs: RunsDep,
    owner: TrainerDep,
    order: TrainingOrder,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=255, description="A second request with the same key finds the first's run."),
    ] = None,
    cancel_after: CancelAfterDep = None,
) -> Response:
    """It waits for the training worker, then runs in a process of its own; follow it at `Location`."""
    run_id = uuid4().hex
    if idempotency_key is not None:
        digest = hashlib.sha256(f"{owner}\0{idempotency_key}".encode()).hexdigest()
        run_id = f"run-{digest[:32]}"
    record = RunRecord(id=run_id, owner=owner, created_at=time.time(), jobs=(run_id,), **order.model_dump())
    view = await run_in_threadpool(_begin, clients, runs, record, cancel_after, request.scope["root_path"])
    return JSONResponse(
        view.model_dump(mode="json"), 202, {"Location": view.links.self, **retry_after(POLL_AFTER_SECONDS)}
    )


@router.get("/training-runs", summary="Your latest training runs", responses=problems(400, 401, 403, 503))
async def list_runs(
    request: Request,
    clients: ClientsDep,
    runs: RunsDep,
    owner: OwnerDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> RunList:
    """Newest first; those of long ago too, as long as their folders are there."""

    def find() -> RunList:
        root = request.scope["root_path"]
        return RunList(runs=[_view(clients, runs, record, root) for record in runs.recent(owner, limit)])

    return await run_in_threadpool(find)


@router.get("/training-runs/{id}", summary="How far it is", responses=problems(400, 401, 403, 404, 503))
async def show_run(request: Request, clients: ClientsDep, runs: RunsDep, run: RunDep) -> RunView:
    """Losses, pictures per second, and the seconds that are left."""
    return await run_in_threadpool(_view, clients, runs, run, request.scope["root_path"])


@router.get(
    "/training-runs/{id}/history", summary="Its figures from the beginning", responses=problems(400, 401, 403, 404, 503)
)
async def show_history(
    runs: RunsDep,
    run: RunDep,
    points: Annotated[int, Query(ge=2, le=2000, description="At most so many of each figure.")] = 400,
) -> RunHistory:
    """Losses and validation figures by step; where there are more than `points`, means of neighbours. What comes after
    is told by the job's events."""
    history = await run_in_threadpool(runs.history, run.id, points)
    return RunHistory(figures=history.figures, previews=history.previews)


@router.get(
    "/training-runs/{id}/preview",
    summary="What it can do by now",
    response_class=Response,
    responses={
        200: {"description": "The same holes, or the same noise, each time.", "content": {"image/png": {}}},
        **problems(400, 401, 403, 404, 503),
    },
)
async def show_preview(
    runs: RunsDep,
    run: RunDep,
    step: Annotated[
        int | None, Query(ge=0, lt=10**9, description="An earlier one, by the step it was made at; else the newest.")
    ] = None,
) -> Response:
    """For completion: with holes, completed, as they were. For generators: a grid. A run's progress names each preview
    as it is made: `file` in `details` ends in its step."""
    content = await run_in_threadpool(runs.preview, run.id, step)
    if content is None and step is not None:
        raise ProblemError(404, "no-preview", "There is no such preview", f"The run made none at step {step}.")
    if content is None:
        raise ProblemError(
            404, "no-preview", "There is no preview yet", "The first one comes when the run starts.", retry_after(5)
        )
    return Response(content, media_type="image/png", headers={"Cache-Control": "no-store"})


@router.post("/training-runs/{id}/cancel", summary="Cancel it", responses=problems(400, 401, 403, 404, 503))
async def cancel_run(request: Request, clients: ClientsDep, runs: RunsDep, run: TrainableDep) -> RunView:
    """It stops after the step under way and keeps a checkpoint: `resume` goes on from there."""

    def cancel() -> RunView:
        with suppress(UnknownJobError):  # it ended so long ago that its job is forgotten: there is nothing to cancel
            clients.ledger.cancel(run.jobs[-1])
        return _view(clients, runs, run, request.scope["root_path"])

    return await run_in_threadpool(cancel)


@router.post(
    "/training-runs/{id}/resume",
    summary="Go on with a run that was cancelled or failed",
    status_code=202,
    response_model=RunView,
    responses=problems(400, 401, 403, 404, 409, 429, 503, 507),
)
async def resume_run(
    request: Request,
    clients: ClientsDep,
    runs: RunsDep,
    run: TrainableDep,
    resumption: Resumption | None = None,
    cancel_after: CancelAfterDep = None,
) -> Response:
    """From its last checkpoint, with other options where you send some. One that lost its worker goes on by itself."""
    overrides = run.overrides | (resumption.overrides if resumption else {})
    view = await run_in_threadpool(_resume, clients, runs, run, overrides, cancel_after, request.scope["root_path"])
    return JSONResponse(
        view.model_dump(mode="json"), 202, {"Location": view.links.self, **retry_after(POLL_AFTER_SECONDS)}
    )


@router.post(
    "/training-runs/{id}/promote",
    summary="Put its weights into service",
    responses=problems(400, 401, 403, 404, 409, 503),
)
async def promote_run(clients: ClientsDep, runs: RunsDep, run: TrainableDep) -> Promotion:
    """The weights of its last checkpoint become a version of the model that the option `name` names, and jobs accepted
    from now on get it, without a restart. A run may be promoted while it goes on."""
    return await run_in_threadpool(_promote, clients, runs, run)


def _begin(clients: Clients, runs: Runs, record: RunRecord, cancel_after: int | None, root_path: str) -> RunView:
    request = record.request().model_copy(update={"run": ""})
    _check(clients, request)
    try:
        known = runs.get(record.id)
    except UnknownRunError:
        known = None
        runs.write(record)
    if known and (known.owner, known.ordered()) != (record.owner, record.ordered()):
        raise IdempotencyConflictError(f"Run '{record.id}' exists already and was another request.")
    if known and runs.last(record.id) and _latest_job(clients, known) is None:
        return _view(clients, runs, known, root_path)  # it began so long ago that its job is forgotten
    fingerprint = _fingerprint(request)
    try:
        accept(clients, record.id, request, owner=record.owner, fingerprint=fingerprint, cancel_after=cancel_after)
    except (QueueFullError, StorageFullError, IdempotencyConflictError):  # where the answer was lost, it may be queued
        if not known:
            runs.forget(record.id)
        raise
    return _view(clients, runs, runs.get(record.id), root_path)


def _resume(
    clients: Clients,
    runs: Runs,
    record: RunRecord,
    overrides: dict[str, Any],
    cancel_after: int | None,
    root_path: str,
) -> RunView:
    state = _view(clients, runs, record, root_path).state
    if not state.ended:
        raise _active(state)
    if state is JobState.SUCCEEDED:
        raise ProblemError(
            409,
            "run-finished",
            "The run has finished",
            "Begin another; glcic can start from its weights (`init`).",
        )
    # Of several that ask at once the ledger lets one go on: the id is the same for all.
    job_id = f"{record.id}-{len(record.jobs) + 1}"
    going_on = record.model_copy(update={"jobs": (*record.jobs, job_id), "overrides": overrides})
    request = going_on.request()
    _check(clients, request)
    try:
        accept(
            clients,
            job_id,
            request,
            owner=record.owner,
            fingerprint=_fingerprint(request),
            cancel_after=cancel_after,
        )
    except IdempotencyConflictError:
        raise _active("going on with other options") from None
    runs.write(going_on)
    return _view(clients, runs, going_on, root_path)


def _fingerprint(request: TrainingRequest) -> str:
    return hashlib.sha256(request.model_dump_json().encode()).hexdigest()


def _active(state: str) -> ProblemError:
    return ProblemError(
        409, "run-active", "The run is active", f"It is {state}: there is nothing to resume. Cancel it first."
    )


def _promote(clients: Clients, runs: Runs, record: RunRecord) -> Promotion:
    exported = runs.export(record.id)
    if exported is None:
        raise ProblemError(
            409,
            "no-weights",
            "The run has no weights yet",
            "They come with its first checkpoint, some minutes after its start.",
            retry_after(60),
        )
    card, weights = exported
    previous = None
    try:
        current = clients.catalog.get(card.name)
    except UnknownModelError:
        pass  # the first version of a new model
    else:
        previous = current.reference
        if current.family != card.family:
            raise ProblemError(
                409,
                "other-family",
                "The model is of another family",
                f"'{card.name}' is a {current.family}, this run trained a {card.family}. Begin it with another `name`.",
            )
    if card.version not in {known.version for known in _versions(clients, card.name)}:
        clients.catalog.add(card, weights)
    clients.catalog.activate(card.name, card.version)
    return Promotion(model=card.reference, previous=previous, card=card)


def _versions(clients: Clients, name: str) -> list[Card]:
    try:
        return clients.catalog.versions(name)
    except UnknownModelError:
        return []


def _check(clients: Clients, request: TrainingRequest) -> None:
    try:
        check_request(request, clients.worker_settings)
    except (OptionsError, UnknownDatasetError) as error:
        raise bad_parameter(str(error)) from None
    except DatasetsError as error:
        raise _misconfigured(error) from None
    init = request.overrides.get("init")
    if init:
        clients.catalog.get(str(init))  # UnknownModelError is a 404 that lists what there is


def _view(clients: Clients, runs: Runs, record: RunRecord, root_path: str) -> RunView:
    job = _latest_job(clients, record)
    last = runs.last(record.id)
    remembered = (
        JobState.SUCCEEDED if "finished" in last else JobState.CANCELLED
    )  # the ledger forgets, the log does not
    exported = runs.card(record.id)
    path, latest = f"{root_path}/training-runs/{record.id}", f"{root_path}/jobs/{record.jobs[-1]}"
    return RunView(
        id=record.id,
        state=job.state if job else remembered,
        family=record.family,
        dataset=record.dataset,
        preset=record.request().preset,
        overrides=record.overrides,
        created_at=when(record.created_at),
        cancel_requested=job is not None and job.cancel_requested,
        progress=(job.progress if job else None) or _progress(last),
        failure=job.failure if job else None,
        model=exported.reference if exported else None,
        metrics=exported.metrics if exported else {},
        links=RunLinks(
            self=path,
            job=latest,
            events=f"{latest}/events",
            history=f"{path}/history",
            preview=f"{path}/preview",
            cancel=f"{path}/cancel",
            resume=f"{path}/resume",
            promote=f"{path}/promote",
        ),
    )


def _latest_job(clients: Clients, record: RunRecord) -> Job | None:
    try:
        return clients.ledger.get(record.jobs[-1])
    except UnknownJobError:
        return None


def _progress(last: dict[str, dict[str, Any]]) -> Progress | None:
    """From the run's own log, for a run that no job has reported on yet, or whose job is forgotten."""
    line = last.get("progress")
    if line is None:
        return None
    details = {name: value for name, value in line.items() if name not in ("event", "step", "of", "time")}
    return Progress(done=line["step"], total=max(1, int(line.get("of", 1))), details=details)


def _misconfigured(error: DatasetsError) -> ProblemError:
    return ProblemError(503, "datasets-misconfigured", "The list of data sets cannot be read", str(error))
