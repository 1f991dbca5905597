"""What is wrong with a request is said in a problem that helps; nothing a client sends is a 500."""

import asyncio
import io
import struct
import threading
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.main import create_app
from app.server import CutOffRequests
from app.settings import ApiSettings
from tests.app.conftest import picture_bytes
from worker.ledger import Ledger
from worker.settings import WorkerSettings

pytestmark = pytest.mark.anyio
Form = dict[str, tuple[str, bytes, str]]


def check_problem(answer: httpx.Response, status: int, kind: str) -> str:
    """The detail of a problem of this status and kind."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["type"], problem["status"]) == (f"urn:inpaint:problem:{kind}", status)
    assert problem["title"]
    assert problem["detail"].endswith("."), "a sentence"
    return str(problem["detail"])


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header says `width` x `height`."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 1000)
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, data, b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def animation() -> bytes:
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 90, 180)]
    return picture_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:])


NOISE = np.random.default_rng(1).bytes(5000)
PHOTO = picture_bytes(Image.fromarray(np.random.default_rng(2).integers(0, 256, (48, 64, 3), np.uint8)))


@pytest.mark.parametrize(
    ("image", "status", "kind", "says"),
    [
        (b"", 415, "not-an-image", "empty"),
        (b"hello", 415, "not-an-image", "Send PNG, JPEG"),
        (NOISE, 415, "not-an-image", "Send PNG, JPEG"),
        (b"\0\0\0\x18ftypheic" + NOISE, 415, "not-an-image", "HEIC"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "not-an-image", "Send PNG, JPEG"),
        (animation(), 415, "not-an-image", "several frames"),
        (PHOTO[: len(PHOTO) // 2], 400, "damaged-image", "breaks off"),
        (bomb(1001, 1000), 413, "too-many-pixels", "1001x1000"),
        (bomb(60_000, 60_000), 413, "too-many-pixels", "megapixels"),
        (bomb(0, 5), 415, "not-an-image", "no format"),
    ],
    ids=["empty", "text", "noise", "heic", "svg", "frames", "cut", "large", "huge", "no-width"],
)
async def test_what_is_not_a_usable_image_is_refused(
    client: httpx.AsyncClient, image: bytes, status: int, kind: str, says: str
) -> None:
    """With the status that fits, and a sentence that names what is wrong."""
    answer = await client.post("/inpaint", files={"image": image}, data={"box": "0,0,4,4"})
    assert says in check_problem(answer, status, kind)


async def test_a_mask_of_another_size_is_told_both_sizes(client: httpx.AsyncClient, form: Form) -> None:
    """422 with the mask's and the image's size."""
    other = picture_bytes(Image.new("L", (32, 48), 255))
    detail = check_problem(await client.post("/inpaint", files={**form, "mask": other}), 422, "mask-size")
    assert "32x48" in detail
    assert "64x48" in detail


async def test_a_mask_that_marks_nothing_is_refused(client: httpx.AsyncClient, form: Form) -> None:
    """Black all over, transparent all over, no transparency, a box outside: each says what to send."""
    black = picture_bytes(Image.new("L", (64, 48), 0))
    assert "white" in check_problem(await client.post("/inpaint", files={**form, "mask": black}), 400, "bad-mask")
    clear = picture_bytes(Image.new("RGBA", (64, 48), (255, 255, 255, 0)))
    assert "opaque" in check_problem(await client.post("/inpaint", files={**form, "mask": clear}), 400, "bad-mask")
    image = {"image": form["image"]}
    assert "`mask`" in check_problem(await client.post("/inpaint", files=image), 400, "bad-mask")
    for box in ("64,0,1,1", "0,0,0,5", "-5,-5,5,5"):
        answer = await client.post("/inpaint", files=image, data={"box": box})
        assert box in check_problem(answer, 400, "bad-mask")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"strategy": "best"}, "strategy"),
        ({"dilate": "-1"}, "dilate"),
        ({"dilate": "many"}, "dilate"),
        ({"format": "bmp"}, "format"),
        ({"quality": "0"}, "quality"),
        ({"box": "1,2,3"}, "x,y,width,height"),
        ({"box": "1,2,3,4"}, "not both"),
        ({"box": ["1,1,1,1"] * 300}, "256 boxes"),
        ({"box": "9" * 6000}, "4 kB"),
    ],
)
async def test_a_parameter_that_makes_no_sense_is_named(
    client: httpx.AsyncClient, form: Form, data: dict[str, str], says: str
) -> None:
    """400 with the parameter and what it takes."""
    answer = await client.post("/inpaint", files=form, data=data)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert says in answer.json()["detail"]


async def test_a_missing_image_is_named(client: httpx.AsyncClient, form: Form) -> None:
    """Whether the form lacks it, is no form at all, or has text in its place."""
    for answer in (
        await client.post("/inpaint", files={"mask": form["mask"]}),
        await client.post("/inpaint", json={"image": "..."}),
        await client.post("/inpaint"),
        await client.post("/inpaint", data={"image": "text"}),
    ):
        assert "image" in check_problem(answer, 400, "bad-parameter")


async def test_an_unknown_model_lists_those_there_are(client: httpx.AsyncClient, form: Form) -> None:
    """404, for names, versions and attempts at paths alike."""
    for name in ("stable-diffusion", "../../etc/passwd", "glcic-celeba@00000000"):
        detail = check_problem(await client.post("/inpaint", files=form, data={"model": name}), 404, "unknown-model")
        assert "glcic" in detail or "Versions" in detail


async def test_an_id_that_cannot_be_one_is_refused(client: httpx.AsyncClient, form: Form) -> None:
    """Ids become storage keys: lower-case letters, digits, `-`."""
    for bad in ("UPPER-CASE", "a", "x" * 65, "a.b.c.d", "%2e%2e%2f%2e%2e"):
        assert (await client.put(f"/inpaint/{bad}", files=form)).status_code in (400, 404)


async def test_too_large_an_upload_is_413_announced_or_not(client: httpx.AsyncClient) -> None:
    """With Content-Length it is refused unread, without it as soon as it is too much."""
    large = {"image": bytes(2 << 20)}
    assert "1 MiB" in check_problem(await client.post("/inpaint", files=large), 413, "upload-too-large")

    async def endless() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="i"\r\n\r\n'
        for _ in range(100):
            yield bytes(100_000)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = await client.post("/inpaint", content=endless(), headers=headers)
    assert "1 MiB" in check_problem(answer, 413, "upload-too-large")


async def test_an_upload_that_stalls_is_given_up(client: httpx.AsyncClient) -> None:
    """408 after the idle limit, so that a stalled client holds nothing."""

    async def stalling() -> AsyncIterator[bytes]:
        yield b"--x\r\n"
        await anyio.sleep(5)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    check_problem(await client.post("/inpaint", content=stalling(), headers=headers), 408, "request-timeout")


@pytest.mark.parametrize("body", [b"", b"--x", b"--x\r\n\r\n\r\n--x--", b"garbage", b"--x\r\nA: b\r\n\r\nc\r\n--x--"])
async def test_a_broken_form_is_a_problem(client: httpx.AsyncClient, body: bytes) -> None:
    """400 for whatever cannot be read as multipart."""
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = await client.post("/inpaint", content=body, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


async def test_unknown_places_and_methods_are_problems(client: httpx.AsyncClient) -> None:
    """404 and 405 as every other failure."""
    assert "/docs" in check_problem(await client.get("/nowhere"), 404, "not-found")
    for path, takes in (("/inpaint", "POST"), ("/training-runs", "GET, HEAD, POST"), ("/", "GET, HEAD")):
        answer = await client.delete(path)
        check_problem(answer, 405, "method-not-allowed")
        assert answer.headers["allow"] == takes


async def test_without_a_broker_it_is_503(
    settings: ApiSettings, worker_settings: WorkerSettings, form: Form, tmp_path: Path
) -> None:
    """Soon, with Retry-After, on every call that needs it; the process stays healthy, and says what is missing."""
    away = worker_settings.model_copy(update={"redis_url": f"unix://{tmp_path}/nobody.sock"})
    app = create_app(settings, away)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.post("/inpaint", files=form)
            check_problem(answer, 503, "broker-away")
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.elapsed.total_seconds() < 10
            check_problem(await client.get("/readyz"), 503, "not-ready")
            assert (await client.get("/healthz")).status_code == 200
            assert "inpaint_broker_up 0.0" in (await client.get("/metrics")).text


async def test_a_full_disk_is_503_and_accepts_nothing(
    client: httpx.AsyncClient, form: Form, worker_settings: WorkerSettings, ledger: Ledger
) -> None:
    """What cannot be stored is not accepted."""
    worker_settings.storage_dir.write_text("in the way of the folder")
    check_problem(await client.post("/inpaint", files=form), 503, "storage-unavailable")
    assert ledger.recent() == []


async def test_a_format_that_cannot_hold_the_picture_is_refused(client: httpx.AsyncClient) -> None:
    """Before the work, not after it."""
    long = io.BytesIO()
    Image.new("L", (20_000, 2)).save(long, "PNG")
    answer = await client.post("/inpaint", files={"image": long.getvalue()}, data={"box": "0,0,2,2", "format": "webp"})
    assert "format=png" in check_problem(answer, 400, "format-limit")


async def test_a_request_that_is_cut_off_when_the_service_stops_is_told_so() -> None:
    """It is cancelled in the middle: 503 and when to come again, not 500; what has begun is not begun anew."""
    sent: list[Message] = []
    stopping = threading.Event()

    async def send(message: Message) -> None:
        sent.append(message)

    async def cut_off(app: ASGIApp) -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        request = asyncio.create_task(CutOffRequests(app, stopping)(scope, never, send))
        await asyncio.sleep(0)
        request.cancel()
        await request

    async def never() -> Message:
        await asyncio.sleep(60)
        raise AssertionError

    async def slow(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()

    async def slow_in_the_middle(_scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await receive()

    with pytest.raises(asyncio.CancelledError):  # by somebody else
        await cut_off(slow)
    assert sent == []
    stopping.set()
    await cut_off(slow)
    answer = httpx.Response(sent[0]["status"], headers=sent[0]["headers"], content=sent[1]["body"])
    check_problem(answer, 503, "stopping")
    assert int(answer.headers["Retry-After"]) > 0
    sent.clear()
    with pytest.raises(asyncio.CancelledError):
        await cut_off(slow_in_the_middle)
    assert [message["type"] for message in sent] == ["http.response.start"]
