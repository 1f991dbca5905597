"""What the OpenAPI description says about every call: title, tags, problems."""

from http import HTTPStatus
from typing import Any

from app.errors import MEDIA_TYPE, Problem

DESCRIPTION = """
Fills holes in pictures (GLCIC, SIGGRAPH 2017) and draws pictures from trained generators (DCGAN, vanilla GAN).

* **One call**: `POST /inpaint` with an image and a mask; the completed picture is the answer.
* **Jobs**: what takes longer is a job. `Prefer: respond-async` gives its id at once; follow it at `/jobs/{id}`.
* **Errors** are `application/problem+json` (RFC 9457): `type` for programs, `detail` says what to send instead.
* **Again without fear**: with `PUT /inpaint/{id}` or an `Idempotency-Key`, a request that is repeated runs once.
* **Limits**: `Cancel-After: N` fails a job that has not ended N seconds later. `429` says in `Retry-After` when to come
  back; where the operator limits calls, `RateLimit` says how many are left.
* **Keys**: where the operator has set some, send `Authorization: Bearer KEY`. A key of scope `use` completes, draws and
  reads; `train` also trains and puts weights into service; `metrics` reads `/metrics` alone.
"""

TAGS = [
    {"name": "inpaint", "description": "Complete a picture."},
    {"name": "samples", "description": "Draw pictures from a generator."},
    {"name": "jobs", "description": "Follow, fetch and cancel what was accepted."},
    {"name": "training", "description": "Train a model and put it into service."},
    {"name": "models", "description": "What is there, and which version serves."},
    {"name": "health", "description": "For load balancers and monitoring."},
]

_WHEN = {
    400: "A parameter, the mask or the image file cannot be used.",
    401: "An API key is needed, or this one is not known.",
    403: "The API key's scopes do not allow this.",
    404: "There is no such job or model.",
    408: "The upload paused for too long, or was too slow.",
    409: "The job has not ended yet, or was cancelled.",
    410: "The result has expired.",
    413: "The upload or the picture is too large.",
    415: "Not an image in a format that is read here.",
    422: "The mask has another size than the image, or the id is taken by another request.",
    429: "Too many jobs are waiting, or too many calls were made; see `Retry-After`.",
    503: "The queue cannot be reached, or the model is not available; see `Retry-After`.",
    504: "The job took too long, or longer than `Cancel-After` allows.",
    507: "The service's storage is full; see `Retry-After`.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route that may answer with these."""
    return {
        status: {
            "description": f"{HTTPStatus(status).phrase}. {_WHEN[status]}",
            "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
        }
        for status in statuses
    }


ANY_PROBLEM: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "Any other failure, in the same form.",
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
    }
}
"""`responses=` of the whole application; also keeps FastAPI from describing its own 422, which nobody is sent."""
