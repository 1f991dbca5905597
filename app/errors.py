"""Every failure as `application/problem+json` (RFC 9457), translated in this one place.

`type` is for programs, `detail` for the person who reads it: what was wrong
with their request and what to send instead.
"""

import http
import logging
import math
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.headers import HEADERS
from app.sentences import name_of, sentence, shown
from models.catalog import UnknownModelError
from worker.connection import OUTAGES
from worker.contracts import Failure
from worker.images import (
    BadMaskError,
    DamagedImageError,
    FormatLimitError,
    ImageError,
    MaskSizeError,
    NotAnImageError,
    TooLargeError,
)
from worker.ledger import IdempotencyConflictError, QueueFullError, StorageFullError, UnknownJobError

MEDIA_TYPE = "application/problem+json"
TYPES = "urn:inpaint:problem:"

_MOST_ERRORS = 10  # told of one request

log = logging.getLogger(__name__)


class Problem(BaseModel):
    """An error, RFC 9457. `detail` says what to do."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=[TYPES + "mask-size"], description="Stable name of the kind of problem.")
    title: str = Field(examples=["The mask has another size than the image"])
    status: int = Field(examples=[422])
    detail: str = Field(
        examples=[
            "The mask is 512x512 but the image is 1024x1024. Send a mask with exactly the image's width and height."
        ]
    )


class ProblemError(Exception):
    """Raised anywhere below a route to answer with a problem."""

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.title, self.detail = status, kind, title, detail
        self.headers, self.more = dict(headers or {}), more


class UploadTooLargeError(HTTPException):
    """A body beyond the limit. An HTTPException, because FastAPI lets those alone out of body parsing."""

    def __init__(self, max_bytes: int) -> None:
        size = f"{max_bytes / 2**20:.3g} MiB" if max_bytes >= 2**20 else f"{max_bytes / 2**10:.3g} KiB"
        super().__init__(413, f"A request like this may have {size} at most. Reduce it and send it again.")


def upload_problem(error: UploadTooLargeError) -> ProblemError:
    """What a client whose body is too large is told."""
    return ProblemError(error.status_code, "upload-too-large", "The upload is too large", error.detail)


def problem_response(error: ProblemError) -> JSONResponse:
    """`error` as it goes out."""
    detail = error.detail.encode(errors="replace").decode()  # half a surrogate pair, say, which JSON can send
    problem = Problem(type=TYPES + error.kind, title=error.title, status=error.status, detail=detail, **error.more)
    return JSONResponse(problem.model_dump(mode="json"), error.status, error.headers, media_type=MEDIA_TYPE)


IMAGE_PROBLEMS: dict[type[ImageError], tuple[int, str, str]] = {
    NotAnImageError: (415, "not-an-image", "Not an image that is read here"),
    DamagedImageError: (400, "damaged-image", "The image is damaged"),
    TooLargeError: (413, "too-many-pixels", "The image has too many pixels"),
    MaskSizeError: (422, "mask-size", "The mask has another size than the image"),
    BadMaskError: (400, "bad-mask", "The mask cannot be used"),
    FormatLimitError: (400, "format-limit", "The image does not fit the format asked for"),
}

FAILURE_PROBLEMS: dict[str, tuple[int, str]] = {
    "bad-input": (422, "The job's input cannot be used"),
    "model-unavailable": (503, "The model is not available"),
    "out-of-memory": (503, "The picture needs more memory than the worker has"),
    "timed-out": (504, "The job took too long"),
    "deadline": (504, "The job's time was over"),
    "worker-lost": (503, "The workers that ran the job were lost"),
    "expired": (410, "The job's data are gone"),
    "diverged": (422, "The training diverged"),
    "not-saved": (507, "The training could not be saved"),
    "internal": (500, "The job failed"),
}
"""How a job's failure is answered: by status and title."""


def failure_problem(failure: Failure, job_id: str) -> ProblemError:
    """The problem that a failed job's result is."""
    status, title = FAILURE_PROBLEMS[failure.type]
    return ProblemError(status, f"job-{failure.type}", title, failure.detail, {"X-Job-Id": job_id}, job=job_id)


def retry_after(seconds: float) -> dict[str, str]:
    """The header, in whole seconds, at least one."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def not_stored() -> ProblemError:
    """503 for an upload that the disk does not take."""
    return ProblemError(
        503,
        "storage-unavailable",
        "The picture could not be stored",
        "The service's disk is full or away. Nothing was accepted; send the request again later.",
        retry_after(30),
    )


def bad_parameter(detail: str, **more: Any) -> ProblemError:
    """400 for a parameter that makes no sense."""
    return ProblemError(400, "bad-parameter", "A parameter cannot be used", detail, **more)


def _form_hint(request: Request) -> str:
    """For who sent a body of another kind than the call reads: then everything is missing, and that is why."""
    sent = request.headers.get("content-type", "").partition(";")[0].strip() or "nothing"
    if request.url.path.rpartition("/inpaint")[1] and sent != "multipart/form-data":
        what = shown(sent)
        return f" The body was sent as {what}: send a form (multipart/form-data), as `curl -F image=@photo.jpg` does."
    return ""


_UNREADABLE = {
    "There was an error parsing the body": "The body cannot be read: send JSON in UTF-8, not too deeply nested.",
    "Invalid multipart data.": "The form cannot be read: its parts do not fit the boundary in Content-Type. Leave both "
    "to the library that makes the form; set no Content-Type of your own.",
    "Missing boundary in multipart.": "Content-Type names no boundary. Leave it to the library that makes the form; "
    "set no Content-Type of your own.",
    'The Content-Disposition header field "name" must be provided.': "A part of the form has no name. Each part needs "
    '`Content-Disposition: form-data; name="..."`.',
    "Part exceeded maximum size of 4KB.": "A field may have 4 kB. Send pictures as files: parts with a file name.",
}
"""What FastAPI and Starlette say of a body that they cannot take apart, and what helps."""


def _unreadable(detail: str) -> str:
    return _UNREADABLE.get(detail, detail if detail.endswith(".") else f"{detail}.")


def _taken(request: Request) -> list[str]:
    """The methods that a path takes, of all its routes: the router tells those of the first (RFC 9110, 10.2.1)."""

    def takes(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    methods = [method for method in ("GET", "POST", "PUT", "PATCH", "DELETE") if takes(method)]
    methods = methods or ["GET"]  # of the page's files, which are served by no route
    return ["GET", "HEAD", *methods[1:]] if "GET" in methods else methods  # see head.py


def install(app: FastAPI) -> None:
    """Make `app` answer every failure as a problem."""

    @app.exception_handler(ProblemError)
    async def problem(_: Request, error: ProblemError) -> JSONResponse:
        return problem_response(error)

    @app.exception_handler(ImageError)
    async def image(_: Request, error: ImageError) -> JSONResponse:
        status, kind, title = IMAGE_PROBLEMS[type(error)]
        return problem_response(ProblemError(status, kind, title, str(error)))

    @app.exception_handler(UnknownModelError)
    async def unknown_model(_: Request, error: UnknownModelError) -> JSONResponse:
        return problem_response(ProblemError(404, "unknown-model", "There is no such model", str(error)))

    @app.exception_handler(UnknownJobError)
    async def unknown_job(_: Request, error: UnknownJobError) -> JSONResponse:
        return problem_response(ProblemError(404, "unknown-job", "There is no such job", str(error)))

    @app.exception_handler(IdempotencyConflictError)
    async def conflict(_: Request, error: IdempotencyConflictError) -> JSONResponse:
        return problem_response(
            ProblemError(
                422,
                "idempotency-conflict",
                "The id is taken by another request",
                f"{error} Send that request's body, or choose another id or Idempotency-Key.",
            )
        )

    @app.exception_handler(QueueFullError)
    async def full(_: Request, error: QueueFullError) -> JSONResponse:
        return problem_response(
            ProblemError(
                429,
                "queue-full",
                "Too many jobs are waiting",
                "Nothing was accepted. Send the request again after the time in Retry-After.",
                retry_after(error.retry_after),
            )
        )

    @app.exception_handler(StorageFullError)
    async def no_room(_: Request, __: StorageFullError) -> JSONResponse:
        return problem_response(
            ProblemError(
                507,
                "storage-full",
                "The service's storage is full",
                "Nothing was accepted. Old results are removed to make room: send the request again after the time in "
                "Retry-After. Whoever runs the service can free the disk, of which STORAGE_FREE_BYTES are left alone, "
                "raise STORAGE_QUOTA_BYTES, or lower RESULT_TTL_SECONDS.",
                retry_after(15),
            )
        )

    @app.exception_handler(OSError)  # a StorageUnavailableError, or a full disk where weights and runs are written
    async def storage_away(_: Request, error: OSError) -> JSONResponse:
        log.warning("%s", error)
        return problem_response(
            ProblemError(
                503,
                "storage-unavailable",
                "The storage cannot be reached",
                "What was asked for was not done. Send the request again after the time in Retry-After.",
                retry_after(5),
            )
        )

    async def outage(_: Request, error: Exception) -> JSONResponse:
        log.warning("The broker is away: %s", error)
        return problem_response(
            ProblemError(
                503,
                "broker-away",
                "The queue cannot be reached",
                "Whether the job was accepted is not known. Send the request again after the time in Retry-After; "
                "with PUT /inpaint/{id} or an Idempotency-Key it runs once even if it was.",
                retry_after(2),
            )
        )

    for kind in OUTAGES:
        app.add_exception_handler(kind, outage)

    @app.exception_handler(RequestValidationError)
    async def validation(request: Request, error: RequestValidationError) -> JSONResponse:
        found = [(item["loc"][0], name_of(item), sentence(item)) for item in error.errors()[:_MOST_ERRORS]]
        errors = [{"in": str(place), "name": name, "message": says} for place, name, says in found]
        detail = f"{'; '.join(says for *_, says in found)}.{_form_hint(request)} /docs lists what each call takes."
        return problem_response(bad_parameter(detail, errors=errors))

    @app.exception_handler(UploadTooLargeError)
    async def upload(_: Request, error: UploadTooLargeError) -> JSONResponse:
        return problem_response(upload_problem(error))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error.__cause__, OSError):  # FastAPI takes an upload that could not be spooled for a broken one
            log.error("An upload could not be held: %s", error.__cause__)
            return problem_response(not_stored())
        title, headers = http.HTTPStatus(error.status_code).phrase, error.headers
        kind = title.lower().replace(" ", "-")
        detail = error.detail
        if error.status_code == 404 and detail == title:
            detail = f"There is nothing at {shown(request.url.path)}. /docs lists what there is."
        elif error.status_code == 405 and detail == title:
            detail = f"{shown(request.url.path)} does not take {request.method}. /docs lists what it takes."
            headers = {**(headers or {}), "Allow": ", ".join(_taken(request))}
        elif error.status_code == 400 and isinstance(detail, str):
            detail = _unreadable(detail) + _form_hint(request)
        return problem_response(ProblemError(error.status_code, kind, title, detail, headers))

    @app.exception_handler(Exception)
    async def internal(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem_response(
            ProblemError(
                500,
                "internal",
                "The service failed",
                "This is a fault of the service, not of the request; its log says more.",
                HEADERS,  # answered outside of what adds them to all others
            )
        )
