"""`POST /inpaint`: an image and a hole in, the completed picture out."""

import hashlib
import inspect
import json
import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Depends, File, Form, Header, Path, Request, UploadFile
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from app.dependencies import Clients, ClientsDep, OwnerDep
from app.errors import bad_parameter, not_stored
from app.jobs import (
    CancelAfterDep,
    Preference,
    PreferenceDep,
    accept,
    accepted_response,
    applied,
    discard_inputs,
    own_id,
    result_response,
    wait_until_ended,
)
from app.openapi import problems
from app.schemas import JobView
from app.sentences import shown
from worker.contracts import INFERENCE_QUEUE, Blend, ImageFormat, InpaintRequest, Job, Strategy
from worker.images import (
    Box,
    check_fits,
    decode_both,
    decode_image,
    mask_from_alpha,
    mask_from_boxes,
    opaque_in,
    pack,
    pixels_in,
)
from worker.ledger import IdempotencyConflictError, QueueFullError, StorageFullError, UnknownJobError

router = APIRouter(tags=["inpaint"])

_ID = re.compile(r"[a-z0-9][a-z0-9-]{3,63}")
_BOX = re.compile(r"\s*(-?\d{1,6})\s*,\s*(-?\d{1,6})\s*,\s*(-?\d{1,6})\s*,\s*(-?\d{1,6})\s*")
_MOST_BOXES = 256

_HEADERS: dict[str, Any] = {
    "X-Model": {
        "description": "Model and version that made it, `NAME@VERSION`; two, with a comma between, where both drew.",
        "schema": {"type": "string"},
    },
    "X-Job-Id": {"description": "The job; `GET /jobs/{id}` tells more.", "schema": {"type": "string"}},
    "X-Changed": {
        "description": "Share of the picture that lay in the hole, 0 to 1; everything else is as it came.",
        "schema": {"type": "number"},
    },
    "Server-Timing": {"description": "Milliseconds in the queue and in each stage.", "schema": {"type": "string"}},
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The completed picture, as large as the image that was sent.",
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("image/png", "image/jpeg", "image/webp")
        },
        "headers": _HEADERS,
    },
    202: {
        "model": JobView,
        "description": "Accepted, not ready yet. `Location` is the job, `Retry-After` says when to look.",
        "headers": {name: {"schema": {"type": "string"}} for name in ("Location", "Retry-After", "Preference-Applied")},
    },
    **problems(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503, 504, 507),
}

_DESCRIPTION = """
Send an image and say which part of it should go. Exactly one of:

| | the hole is |
|---|---|
| `mask` | where this image, as large as `image`, is **white** (>= 128) or, if parts of it are transparent, **opaque** |
| `box` | `x,y,width,height` in pixels from the upper left; may be sent several times. |
| neither | where `image` itself is **transparent** (alpha < 128). It is opaque there in the result. |

Pixels outside the hole come back identical in PNG (and WebP at `quality=100`), in the mode they came in: grey stays
grey, transparency stays. The picture is turned upright by its EXIF orientation and brought to sRGB; no metadata is
written.

```sh
curl -F image=@photo.jpg -F mask=@mask.png -o out.png http://127.0.0.1:8000/inpaint
curl -F image=@photo.jpg -F box=120,80,64,64 -F box=300,200,40,90 -F format=webp -o out.webp http://127.0.0.1:8000/inpaint
curl -F image=@photo.jpg -F mask=@mask.png -H 'Prefer: respond-async' http://127.0.0.1:8000/inpaint
```

```python
import httpx
files = {"image": open("photo.jpg", "rb"), "mask": open("mask.png", "rb")}
answer = httpx.post("http://127.0.0.1:8000/inpaint", files=files, timeout=90)
answer.raise_for_status()
open("out.png", "wb").write(answer.content)
```

A request waits for its result for 30 s unless `Prefer: wait=N` says otherwise; after that it is answered `202`, and
the result is found at `/jobs/{id}/result`. An accepted job runs to its end whether or not anybody waits. While no
worker is up it waits for one; cancel it with `POST /jobs/{id}/cancel`.
"""


@dataclass(frozen=True)
class Options:
    """The fields of the form, but for the image."""

    image: UploadFile
    mask: UploadFile | None
    boxes: tuple[Box, ...]
    model: str | None
    strategy: Strategy
    dilate: int
    blend: Blend
    format: ImageFormat
    quality: int


async def read_form(
    image: Annotated[UploadFile, File(description="PNG, JPEG, WebP, AVIF, TIFF, BMP or a GIF of one frame.")],
    mask: Annotated[
        UploadFile | None, File(description="Any image as large as `image`: white or opaque = fill.")
    ] = None,
    box: Annotated[
        list[str] | None,
        Form(description="`x,y,width,height` in pixels, as `120,80,64,64`; may be sent several times."),
    ] = None,
    model: Annotated[
        str | None,
        Form(
            description="`NAME` or `NAME@VERSION` as in `GET /models`; where none is named, the service's own: "
            "one for all holes, or one for holes in faces and one for all others.",
            max_length=80,
        ),
    ] = None,
    strategy: Annotated[
        Strategy,
        Form(
            description="What the network sees. `auto`: per group of holes, the crop and scale that give the best "
            "picture. `crop`: a crop around each group of holes. `resize`: the whole picture, reduced. `original`: the "
            "whole picture at its own scale."
        ),
    ] = Strategy.AUTO,
    dilate: Annotated[int, Form(ge=0, le=256, description="Pixels by which the hole grows first.")] = 0,
    blend: Annotated[
        Blend, Form(description="How the hole is joined to what surrounds it. Nothing outside it ever changes.")
    ] = Blend.AUTO,
    format: Annotated[ImageFormat, Form(description="Of the result. JPEG has no transparency.")] = ImageFormat.PNG,
    quality: Annotated[int, Form(ge=1, le=100, description="For JPEG and WebP; WebP is exact at 100.")] = 95,
) -> Options:
    """The form, checked as far as that goes without looking at pixels."""
    if mask is not None and not mask.filename and not mask.size:
        mask = None  # what a browser sends for a file field that was left empty
    boxes = tuple(_read_box(text) for text in box or () if text)
    if len(boxes) > _MOST_BOXES:
        raise bad_parameter(f"At most {_MOST_BOXES} boxes are taken; send a `mask` instead.")
    if mask is not None and boxes:
        raise bad_parameter("Send either `mask` or `box`, not both.")
    return Options(image, mask, boxes, model or None, strategy, dilate, blend, format, quality)


def _read_box(text: str) -> Box:
    match = _BOX.fullmatch(text)
    if match is None:
        raise bad_parameter(f"box={shown(text)} is not `x,y,width,height` in whole pixels, e.g. box=120,80,64,64.")
    x, y, width, height = (int(number) for number in match.groups())
    return x, y, width, height


_FIELDS = tuple(inspect.signature(read_form).parameters)


async def check_fields(request: Request) -> None:
    """Refuses what would be overlooked: a field that there is not, one that is sent twice, one in the address."""
    if overlooked := next((name for name in request.query_params if name in _FIELDS), None):
        raise bad_parameter(f"`{overlooked}` stands in the address. Send it as a field of the form.")
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return  # `image` is missing then, and that is said
    sent = Counter(name for name, _ in (await request.form()).multi_items())
    for name, count in sent.items():
        if name not in _FIELDS:
            raise bad_parameter(f"`{shown(name)}` is no field of this form. Fields: {', '.join(_FIELDS)}.")
        if count > 1 and name != "box":
            raise bad_parameter(f"`{name}` was sent {count} times. Send it once; only `box` may be repeated.")


OptionsDep = Annotated[Options, Depends(read_form)]


@router.post(
    "/inpaint",
    summary="Complete a picture",
    description=_DESCRIPTION,
    responses=_RESPONSES,
    response_class=Response,
    dependencies=[Depends(check_fields)],
)
async def inpaint(
    request: Request,
    clients: ClientsDep,
    owner: OwnerDep,
    options: OptionsDep,
    preference: PreferenceDep,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=255,
            description="Any text of your own. A second request with the same key and body finds the first one's job; "
            "with another body it is answered `422`. Kept as long as the job.",
        ),
    ] = None,
    cancel_after: CancelAfterDep = None,
) -> Response:
    order = Order(owner, options, preference, cancel_after)
    if idempotency_key is None:
        return await _complete(request, clients, order, uuid4().hex, named=False)
    digest = hashlib.sha256(f"{owner}\0{idempotency_key}".encode()).hexdigest()[:32]
    return await _complete(request, clients, order, f"key-{digest}", named=True)


@router.put(
    "/inpaint/{id}",
    summary="Complete a picture under an id of your own",
    description="As `POST /inpaint`; the job gets the `id` that you choose, for example a UUID. The same id with the "
    "same body finds the job that exists, so this may be repeated after any failure; another body is answered `422`. "
    "Where the operator has set keys, each key has ids of its own: the job's full id, in the answer, has a mark of the "
    "key behind yours, and is found by either.",
    responses=_RESPONSES,
    response_class=Response,
    dependencies=[Depends(check_fields)],
)
async def inpaint_as(
    request: Request,
    clients: ClientsDep,
    owner: OwnerDep,
    options: OptionsDep,
    preference: PreferenceDep,
    id: Annotated[str, Path(description="4 to 64 lower-case letters, digits and `-`.", examples=["my-picture-1"])],
    cancel_after: CancelAfterDep = None,
) -> Response:
    if not _ID.fullmatch(id):
        raise bad_parameter("`id` must be 4 to 64 lower-case letters, digits and `-`, for example a UUID.")
    order = Order(owner, options, preference, cancel_after)
    return await _complete(request, clients, order, own_id(owner, id), named=True)


@dataclass(frozen=True)
class Order:
    """All that is asked for, and by whom."""

    owner: str
    options: Options
    preference: Preference
    cancel_after: int | None


async def _complete(request: Request, clients: Clients, order: Order, job_id: str, *, named: bool) -> Response:
    start = time.perf_counter()
    job, fingerprint = None, ""
    if named:
        fingerprint = await run_in_threadpool(_fingerprint, order.options)
        job = await run_in_threadpool(_find, clients, job_id, order.owner, fingerprint)
    if job is None:
        async with clients.decoding.holding(await run_in_threadpool(_room_needed, clients, order)):
            job = await run_in_threadpool(_take_in, clients, job_id, order, fingerprint)
    before = {"decode": time.perf_counter() - start}
    job = await wait_until_ended(clients, job, order.preference.seconds)
    if job.state.ended:
        return await result_response(clients, job, applied(order.preference), before)
    return await accepted_response(clients, job, order.preference, request.scope["root_path"])


def _fingerprint(options: Options) -> str:
    """Digest of all that was sent, so that a repeated request is known by it."""
    digest = hashlib.blake2b(digest_size=16)
    for upload in (options.image, options.mask):
        if upload is not None:
            digest.update(b"%d:" % (upload.size or 0))
            while piece := upload.file.read(1 << 20):
                digest.update(piece)
            upload.file.seek(0)
    rest = [options.boxes, options.model, options.strategy, options.dilate, options.blend, options.format]
    digest.update(json.dumps([*rest, options.quality, options.mask is None]).encode())
    return digest.hexdigest()


def _find(clients: Clients, job_id: str, owner: str, fingerprint: str) -> Job | None:
    """The job that an earlier request with this id made. Raises IdempotencyConflictError."""
    try:
        job = clients.ledger.get(job_id)
    except UnknownJobError:
        return None
    if (job.owner, job.fingerprint) != (owner, fingerprint):
        raise IdempotencyConflictError(f"Job '{job_id}' exists already and was another request.")
    return job


def _room_needed(clients: Clients, order: Order) -> int:
    """How many pixels there are to decode, by what the files' headers say. Raises QueueFullError, StorageFullError."""
    clients.ledger.check_room(INFERENCE_QUEUE, order.owner)
    uploads = order.options.image, order.options.mask
    return sum(pixels_in(upload.file) for upload in uploads if upload is not None)


def _take_in(clients: Clients, job_id: str, order: Order, fingerprint: str) -> Job:
    """Decodes what was sent and accepts it. Raises what `_prepare` and `_accept` do."""
    return _accept(clients, job_id, _prepare(clients, order.options, job_id), order, fingerprint)


def _prepare(clients: Clients, options: Options, job_id: str) -> InpaintRequest:
    """Decodes what was sent and lays it into storage. Raises ImageError, UnknownModelError, ProblemError."""
    card = clients.catalog.get(options.model or clients.settings.inpaint_model)
    if card.family != "glcic":
        what = "draws samples" if card.family in ("dcgan", "vanilla-gan") else "helps others with faces"
        raise bad_parameter(f"Model '{card.name}' {what}. It fills no holes.")
    scenes = clients.settings.scenes_model
    elsewhere = clients.catalog.get(scenes).reference if scenes and not options.model else None
    max_pixels = clients.worker_settings.max_pixels
    image = options.image.file.read()
    if options.mask is not None:
        picture, mask = decode_both(image, options.mask.file.read(), max_pixels=max_pixels)
    else:
        picture = decode_image(image, max_pixels=max_pixels)
        mask = mask_from_boxes(options.boxes, picture.size) if options.boxes else mask_from_alpha(picture)
        picture = picture if options.boxes else opaque_in(picture, mask)
    check_fits(picture.size, options.format)
    inputs = InpaintRequest(
        model=card.reference,
        elsewhere=elsewhere,
        # A key of this request's own: another one under the same id must not change what an accepted job reads.
        inputs_key=f"inputs/{job_id}.{uuid4().hex}",
        strategy=options.strategy,
        dilate=options.dilate,
        blend=options.blend,
        format=options.format,
        quality=options.quality,
    )
    try:
        clients.storage.put(inputs.inputs_key, *pack(picture, mask))
    except OSError as error:
        discard_inputs(clients, inputs)
        raise not_stored() from error
    return inputs


def _accept(clients: Clients, job_id: str, inputs: InpaintRequest, order: Order, fingerprint: str) -> Job:
    """Enters the job. Inputs that no job will read are removed; where the broker's answer was lost, one might."""
    try:
        job = accept(
            clients, job_id, inputs, owner=order.owner, fingerprint=fingerprint, cancel_after=order.cancel_after
        )
    except (QueueFullError, StorageFullError, IdempotencyConflictError):
        discard_inputs(clients, inputs)
        raise
    if job.request != inputs:  # the same request came twice at once, and the other one was first
        discard_inputs(clients, inputs)
    return job
