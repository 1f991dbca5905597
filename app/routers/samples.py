"""`GET /samples/{model}`: pictures from a generator.

    ETag known to the client -> 304 | drawn before -> storage | else a job -> pixels -> sheet -> storage

A sheet is a function of the model's version and the parameters alone, so its
ETag is known before anything is drawn.
"""

import hashlib
import io
import logging
import time
from typing import Annotated, Any
from uuid import uuid4

import numpy as np
from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from app.dependencies import Clients, ClientsDep, OwnerDep
from app.errors import ProblemError, bad_parameter
from app.jobs import PreferenceDep, accept, accepted_response, applied, result_of, server_timing, wait_until_ended
from app.openapi import problems
from app.schemas import JobView
from app.sheets import SHEET_TYPES, SheetFormat, write_sheet
from models.catalog import Card
from worker.contracts import Job, SampleRequest
from worker.storage import MissingObjectError

router = APIRouter(tags=["samples"], prefix="/samples")

log = logging.getLogger(__name__)

_MOST_TRIES = 20  # that a later request finds again, of the same sheet, while the first of them is remembered
_EDITION = 1  # of the sheets; raise it when the same pictures would be written as other bytes
_TEXT: dict[str, Any] = {"schema": {"type": "string"}}
_BYTES: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}

_DESCRIPTION = """
`dcgan` draws faces, `vanilla-gan` digits; a model's own name, or `NAME@VERSION`, draws from that one.

The same model version, parameters and seed give the same bytes: the answer has a strong `ETag`, and a request that
sends it in `If-None-Match` is answered `304` without drawing anything. Picture *i* of a seed is the same however many
are asked for.

```sh
curl -o faces.png 'http://127.0.0.1:8000/samples/dcgan?n=16&seed=7'
curl -o walk.webp 'http://127.0.0.1:8000/samples/dcgan?n=12&seed=7&interpolate=8&columns=12&format=webp'
curl -o digits.zip 'http://127.0.0.1:8000/samples/vanilla-gan?n=64&format=zip'
```
"""


@router.get(
    "/{model}",
    summary="Draw pictures",
    description=_DESCRIPTION,
    response_class=Response,
    responses={
        200: {
            "description": "A grid, single PNGs in a zip, or JSON with PNGs in base64.",
            "content": {
                "image/png": _BYTES,
                "image/webp": _BYTES,
                "application/zip": _BYTES,
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["model", "seed", "interpolate", "width", "height", "images"],
                        "properties": {
                            "model": {"type": "string"},
                            "seed": {"type": "integer"},
                            "interpolate": {"type": ["integer", "null"]},
                            "width": {"type": "integer"},
                            "height": {"type": "integer"},
                            "images": {"type": "array", "items": {"type": "string", "contentEncoding": "base64"}},
                        },
                    }
                },
            },
            "headers": dict.fromkeys(("ETag", "X-Model", "X-Job-Id", "Server-Timing"), _TEXT),
        },
        202: {
            "model": JobView,
            "description": "Not drawn yet. Send the same request again after `Retry-After`: it finds the same job.",
            "headers": dict.fromkeys(("Location", "Retry-After", "Preference-Applied"), _TEXT),
        },
        304: {"description": "What you have is what this would be."},
        **problems(400, 401, 403, 404, 409, 410, 429, 503, 504, 507),
    },
)
async def draw_samples(
    request: Request,
    clients: ClientsDep,
    owner: OwnerDep,
    preference: PreferenceDep,
    model: Annotated[str, Path(max_length=80, examples=["dcgan"], description="`dcgan`, `vanilla-gan`, or a model.")],
    n: Annotated[int, Query(ge=1, le=64, description="How many.")] = 16,
    seed: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    format: Annotated[SheetFormat, Query(description="A grid, or single pictures.")] = SheetFormat.PNG,
    columns: Annotated[int | None, Query(ge=1, le=64, description="Of the grid; about square if not given.")] = None,
    interpolate: Annotated[
        int | None, Query(ge=0, lt=2**63, description="A second seed: walk from `seed`'s first picture to its first.")
    ] = None,
    if_none_match: Annotated[str | None, Header(description="An `ETag` that you have.")] = None,
) -> Response:
    start = time.perf_counter()
    card = await run_in_threadpool(_find_generator, clients, model)
    wanted = SampleRequest(model=card.reference, n=n, seed=seed, interpolate=interpolate)
    tag = _digest(wanted.model_dump_json(), format, columns)
    headers = {"ETag": f'"{tag}"', "Cache-Control": "private, no-cache", "X-Model": card.reference}
    if _matches(if_none_match, tag):
        return Response(status_code=304, headers=headers)

    key = f"samples/{_digest(tag, owner)}"  # kept for each owner: it names the owner's job
    kept = await run_in_threadpool(_find_sheet, clients, key)
    if kept is not None:
        job_id, sheet = kept
        timing = f"storage;dur={(time.perf_counter() - start) * 1000:.1f}"
    else:
        job = await run_in_threadpool(_accept, clients, wanted, owner)
        job = await wait_until_ended(clients, job, preference.seconds)
        if not job.state.ended:
            return await accepted_response(clients, job, preference, request.scope["root_path"])
        encoding = time.perf_counter()
        sheet = await run_in_threadpool(_write, clients, job, wanted, format, columns, key)
        job_id = job.id
        timing = server_timing(job, {}) + f", sheet;dur={(time.perf_counter() - encoding) * 1000:.1f}"
    name = f"{card.name}-{seed}.{format}"
    headers |= {
        "X-Job-Id": job_id,
        "Server-Timing": timing,
        "Content-Disposition": f'inline; filename="{name}"',
        **applied(preference),
    }
    return Response(sheet, media_type=SHEET_TYPES[format], headers=headers)


def _find_generator(clients: Clients, model: str) -> Card:
    """The card of a family's or of a model's name. Raises UnknownModelError, ProblemError."""
    settings = clients.settings
    families = {"dcgan": settings.dcgan_model, "vanilla-gan": settings.vanilla_gan_model}
    card = clients.catalog.get(families.get(model, model))
    if card.family == "glcic":
        raise bad_parameter(f"Model '{card.name}' completes pictures: send one to POST /inpaint. It draws no samples.")
    if card.family not in families:
        raise bad_parameter(f"Model '{card.name}' helps others with faces. It draws no samples.")
    return card


def _accept(clients: Clients, wanted: SampleRequest, owner: str) -> Job:
    """The job that draws them: the one that an earlier request made, or the next where that has nothing to give."""
    digest = _digest(wanted.model_dump_json(), owner)
    ids = (f"sample-{digest}", *(f"sample-{digest}-{number}" for number in range(2, _MOST_TRIES)))
    for job_id in (*ids, f"sample-{uuid4().hex}"):
        job = accept(clients, job_id, wanted, owner=owner, fingerprint=digest)
        if not job.state.ended or (job.result is not None and clients.storage.exists(job.result.key)):
            break
    return job


def _write(
    clients: Clients, job: Job, wanted: SampleRequest, sheet_format: SheetFormat, columns: int | None, key: str
) -> bytes:
    """The sheet of what `job` drew, kept under `key`. Raises ProblemError where it drew nothing."""
    try:
        pixels = clients.storage.get(result_of(job).key)
    except MissingObjectError:
        raise ProblemError(
            410, "result-expired", "The result is gone", "Send the request again.", {"X-Job-Id": job.id}
        ) from None
    pictures = np.load(io.BytesIO(pixels), allow_pickle=False)
    about = {"model": wanted.model, "seed": wanted.seed, "interpolate": wanted.interpolate}
    sheet = write_sheet(pictures, sheet_format, columns, about)
    try:
        clients.storage.put(key, job.id.encode() + b"\n" + sheet)
    except OSError as error:  # kept only to save work: the next request draws again
        log.warning("The sheet of job %s could not be kept: %s", job.id, error)
    return sheet


def _find_sheet(clients: Clients, key: str) -> tuple[str, bytes] | None:
    """Job and bytes of a sheet that was written before."""
    try:
        kept = clients.storage.get(key)
    except MissingObjectError:
        return None
    job_id, _, sheet = kept.partition(b"\n")
    return job_id.decode(), sheet


def _digest(*parts: object) -> str:
    """32 digits for all that makes a sheet what it is."""
    return hashlib.sha256(repr((_EDITION, *map(str, parts))).encode()).hexdigest()[:32]


def _matches(if_none_match: str | None, tag: str) -> bool:
    """RFC 9110, 13.1.2: a list of tags, compared without regard to weakness, or `*`."""
    if if_none_match is None:
        return False
    tags = [part.strip().removeprefix("W/") for part in if_none_match.split(",")]
    return "*" in tags or f'"{tag}"' in tags
