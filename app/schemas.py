"""What the API answers in JSON."""

from datetime import UTC, datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from models.catalog import Card, Kind
from worker.contracts import Failure, Job, JobState, Progress


class JobLinks(BaseModel):
    """Where to go from here; paths on this host."""

    self: str
    result: str = Field(description="The bytes, once the job has succeeded.")
    events: str = Field(description="Server-sent events until the job ends.")
    cancel: str = Field(description="POST here to cancel.")


class JobResult(BaseModel):
    """What a job that succeeded made."""

    media_type: str = Field(examples=["image/png"])
    model: str = Field(examples=["glcic-celeba@1a2b3c4d"], description="Model and version that made it.")
    width: int
    height: int
    changed: float = Field(description="Share of the picture's pixels that lay in the hole, 0 to 1.")
    timings: dict[str, float] = Field(description="Seconds by stage.")


class JobView(BaseModel):
    """A job as its owner sees it."""

    id: str = Field(examples=["0b9f6a1e5c1e4a3c8d0f5f1f2a3b4c5d"])
    kind: Literal["inpaint", "sample", "training"]
    state: JobState
    model: str | None = Field(description="`NAME@VERSION` that runs it; none for training.")
    position: int | None = Field(default=None, description="Jobs ahead of it in the queue; only while queued.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deadline: datetime | None = Field(description="When it fails if it has not ended by then (`Cancel-After`).")
    attempts: int = Field(description="Times a worker has taken it.")
    cancel_requested: bool
    progress: Progress | None
    failure: Failure | None = Field(description="Why it failed.")
    result: JobResult | None
    links: JobLinks

    @classmethod
    def of(cls, job: Job, *, root_path: str = "", position: int | None = None) -> Self:
        """`job` with links below `root_path`."""
        path = f"{root_path}/jobs/{job.id}"
        return cls(
            id=job.id,
            kind=job.request.kind,
            state=job.state,
            model=getattr(job.request, "model", None),
            position=position,
            created_at=when(job.created_at),
            started_at=when(job.started_at) if job.started_at else None,
            finished_at=when(job.finished_at) if job.finished_at else None,
            deadline=when(job.deadline) if job.deadline else None,
            attempts=job.attempts,
            cancel_requested=job.cancel_requested,
            progress=job.progress,
            failure=job.failure,
            result=JobResult.model_validate(job.result.model_dump(exclude={"key"})) if job.result else None,
            links=JobLinks(self=path, result=f"{path}/result", events=f"{path}/events", cancel=f"{path}/cancel"),
        )


class JobList(BaseModel):
    """Jobs, newest first."""

    jobs: list[JobView]


class ModelView(BaseModel):
    """One model and its versions."""

    name: str = Field(examples=["glcic-celeba"])
    family: Kind
    title: str
    active: str = Field(description="Version that jobs accepted from now on get.")
    versions: list[Card] = Field(description="The one that ships first, then promoted ones by date.")
    loaded_by: dict[str, int] = Field(description="Version -> number of workers that hold it ready.")


class ModelList(BaseModel):
    """All models."""

    models: list[ModelView]


class Activation(BaseModel):
    """Which version to put into service."""

    version: str = Field(pattern=r"^[0-9a-f]{8}$", description="As listed by `GET /models/{name}`.")


class Health(BaseModel):
    """The process runs."""

    status: Literal["ok"] = "ok"
    version: str


class Readiness(BaseModel):
    """What stands behind the API."""

    status: Literal["ready", "not-ready"]
    broker: bool
    workers: list[dict[str, Any]] = Field(description="Workers that announced themselves within the last seconds.")
    model: str | None = Field(description="What `/inpaint` uses when a request names no model.")
    max_pixels: int = Field(description="Of the largest picture that `/inpaint` takes.")


def when(seconds: float) -> datetime:
    """A time as the ledger keeps it, as JSON shows it."""
    return datetime.fromtimestamp(seconds, UTC)
