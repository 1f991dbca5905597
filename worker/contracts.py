"""What crosses the queue: names, job requests, job records, events. Keys, never pixels.

A job is accepted when it stands in the ledger. The Celery message carries its
id alone and says that a job waits; which one runs is the ledger's choice, so a
message that is lost, repeated or late does no harm.

    queued --lease--> running --> succeeded | failed | cancelled
       ^                 |
       +--- lease ran out, or its worker gave it back ---+
"""

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.catalog import Family

INFERENCE_QUEUE = "inference"
TRAINING_QUEUE = "training"

RUN_INFERENCE = "worker.run_inference"
RUN_TRAINING = "worker.run_training"


class Contract(BaseModel):
    """Base of all that crosses the queue: unchangeable. Fields that another version of this program added are passed
    over, so that both work while one replaces the other."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Strategy(StrEnum):
    """How the part of the picture that the network sees is chosen; names as in IOPaint."""

    AUTO = "auto"
    """Per group of holes, the crop and scale that give the best picture."""
    CROP = "crop"
    """A crop around each group of holes, at the picture's own scale where the network can take it."""
    RESIZE = "resize"
    """The whole picture, reduced to the size the network was trained at."""
    ORIGINAL = "original"
    """The whole picture at its own scale."""


class Blend(StrEnum):
    """How the completed hole is joined to what surrounds it."""

    AUTO = "auto"
    """As suits the model: feather for faces; for anything else poisson, and detail borrowed from around the hole."""
    NONE = "none"
    FEATHER = "feather"
    POISSON = "poisson"


class ImageFormat(StrEnum):
    """Format of a result."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"


class InpaintRequest(Contract):
    """Complete one picture."""

    kind: Literal["inpaint"] = "inpaint"
    model: str = Field(description="`NAME@VERSION`, resolved when the job was accepted.")
    elsewhere: str | None = Field(
        default=None, description="Likewise, for holes in which no face is; where unset, `model` completes all."
    )
    inputs_key: str = Field(description="Storage key of the decoded picture and its mask.")
    strategy: Strategy = Strategy.AUTO
    dilate: int = Field(default=0, ge=0, le=256, description="Pixels by which the mask grows first.")
    blend: Blend = Blend.AUTO
    format: ImageFormat = ImageFormat.PNG
    quality: int = Field(default=95, ge=1, le=100, description="For JPEG and WebP.")

    @model_validator(mode="before")
    @classmethod
    def _of_two_files(cls, fields: Any) -> Any:
        """As records were before decision 49: what ended is shown as ever, what waits fails and is sent again."""
        if isinstance(fields, dict) and "mask_key" in fields:
            rest = {name: value for name, value in fields.items() if name not in ("image_key", "mask_key")}
            return {**rest, "inputs_key": fields["image_key"]}
        return fields


class SampleRequest(Contract):
    """Draw pictures from a generator."""

    kind: Literal["sample"] = "sample"
    model: str = Field(description="`NAME@VERSION`, resolved when the job was accepted.")
    n: int = Field(default=16, ge=1, le=64)
    seed: int = Field(default=0, ge=0, lt=2**63)
    interpolate: int | None = Field(default=None, ge=0, lt=2**63, description="Second seed: walk from `seed` to it.")


Preset = Literal["paper", "course", "cpu", "gpu"]


class TrainingRequest(Contract):
    """Train a model on a registered data set: begin a run, or go on with one."""

    kind: Literal["training"] = "training"
    run: str = Field(
        default="", pattern=r"^[a-z0-9-]{0,64}$", description="The run it goes on with; the job's own id where empty."
    )
    family: Family
    dataset: str = Field(description="Registered name, never a path.")
    preset: Preset = "cpu"
    overrides: dict[str, Any] = Field(default_factory=dict)


JobRequest = Annotated[InpaintRequest | SampleRequest | TrainingRequest, Field(discriminator="kind")]


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


ENDS: Final = frozenset(state.value for state in JobState if state.ended)
"""What the event is called that ends a job."""


class Progress(Contract):
    """How far a running job is."""

    done: int = Field(ge=0)
    total: int = Field(ge=1)
    message: str = ""
    details: dict[str, Any] = Field(default_factory=dict, description="Losses, images/s, ETA of a training run.")


FailureType = Literal[
    "bad-input",
    "model-unavailable",
    "out-of-memory",
    "timed-out",
    "deadline",
    "worker-lost",
    "expired",
    "diverged",
    "not-saved",
    "internal",
]


class Failure(Contract):
    """Why a job failed: `type` for programs, `detail` for the person who reads it."""

    type: FailureType
    detail: str


class Result(Contract):
    """Where the result of a job is, and what made it."""

    key: str = Field(description="Storage key of the result's bytes.")
    media_type: str
    model: str = Field(description="`NAME@VERSION` that made it; two, with a comma between, where both drew.")
    width: int = 0
    height: int = 0
    changed: float = Field(default=0.0, ge=0, le=1, description="Share of the picture's pixels that lay in the hole.")
    timings: dict[str, float] = Field(default_factory=dict, description="Seconds by stage, in the order they happened.")


class Job(Contract):
    """The ledger's record of one job."""

    id: str
    owner: str = Field(default="", description="Id of the API key that made it; empty where keys are off.")
    request: JobRequest
    fingerprint: str = Field(default="", description="Digest of the request's body, for idempotency.")
    trace: str = Field(default="", description="W3C `traceparent` of the request that made it.")
    state: JobState = JobState.QUEUED
    attempts: int = Field(default=0, description="Times a worker has leased it.")
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    deadline: float | None = Field(default=None, description="When it fails if it has not ended by then.")
    cancel_requested: bool = False
    progress: Progress | None = None
    failure: Failure | None = None
    result: Result | None = None


class Event(Contract):
    """One thing that happened to a job; `id` orders a job's events and is what `Last-Event-ID` takes."""

    id: str
    type: Literal["queued", "running", "progress", "succeeded", "failed", "cancelled"]
    at: float
    progress: Progress | None = None
    failure: Failure | None = None
