"""POST /inpaint and PUT /inpaint/{id}."""

import io

import anyio
import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from tests.app.conftest import COMPLETED, FakeWorker, picture_bytes, until
from worker.contracts import Failure, InpaintRequest
from worker.ledger import Ledger, Room
from worker.settings import WorkerSettings

pytestmark = pytest.mark.anyio
Form = dict[str, tuple[str, bytes, str]]


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.usefixtures("worker")
async def test_a_picture_and_a_mask_give_the_completed_picture(
    client: httpx.AsyncClient, form: Form, photo: Image.Image
) -> None:
    """200 with the bytes; outside the hole nothing changed; the headers say what made it and how much changed."""
    answer = await client.post("/inpaint", files=form)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    expected = np.array(photo)
    expected[12:20, 20:30] = COMPLETED
    assert np.array_equal(pixels(answer.content), expected)
    assert answer.headers["x-model"].startswith("glcic-celeba@")
    assert float(answer.headers["x-changed"]) == pytest.approx(80 / (64 * 48), rel=1e-4)
    assert "network;dur=10.0" in answer.headers["server-timing"]
    job = (await client.get(f"/jobs/{answer.headers['x-job-id']}")).json()
    assert (job["state"], job["result"]["width"], job["result"]["height"]) == ("succeeded", 64, 48)


@pytest.mark.usefixtures("worker")
async def test_boxes_are_a_mask(client: httpx.AsyncClient, form: Form, photo: Image.Image) -> None:
    """`box` may come several times, and is cut at the border."""
    answer = await client.post(
        "/inpaint", files={"image": form["image"]}, data={"box": ["20,12,10,8", "-5, 40, 8, 100"]}
    )
    assert answer.status_code == 200, answer.text
    expected = np.array(photo)
    expected[12:20, 20:30] = COMPLETED
    expected[40:, :3] = COMPLETED
    assert np.array_equal(pixels(answer.content), expected)


@pytest.mark.usefixtures("worker")
async def test_what_is_transparent_is_filled_and_opaque_afterwards(
    client: httpx.AsyncClient, photo: Image.Image, hole: Image.Image
) -> None:
    """An image's own transparency is its mask; the alpha that was not part of the hole comes back."""
    alpha = np.where(np.array(hole), 0, 200).astype(np.uint8)
    image = photo.copy()
    image.putalpha(Image.fromarray(alpha))
    answer = await client.post("/inpaint", files={"image": picture_bytes(image)})
    assert answer.status_code == 200, answer.text
    out = pixels(answer.content)
    assert (out[12:20, 20:30] == [*COMPLETED, 255]).all()
    assert (out[alpha > 0, 3] == 200).all()


@pytest.mark.parametrize(("format", "name"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
@pytest.mark.usefixtures("worker")
async def test_the_result_has_the_format_that_was_asked_for(
    client: httpx.AsyncClient, form: Form, format: str, name: str
) -> None:
    """`format` decides, and the media type says so."""
    answer = await client.post("/inpaint", files=form, data={"format": format})
    assert Image.open(io.BytesIO(answer.content)).format == name
    assert answer.headers["content-type"] == f"image/{format}"


async def test_options_reach_the_worker(client: httpx.AsyncClient, ledger: Ledger, form: Form) -> None:
    """What the form says is what the job's request says."""
    data = {"strategy": "resize", "dilate": 7, "blend": "poisson", "format": "webp", "quality": 60}
    answer = await client.post("/inpaint", files=form, data=data, headers={"Prefer": "respond-async"})
    request = ledger.get(answer.json()["id"]).request
    assert request.model_dump(include=set(data)) == data


async def test_a_model_that_is_named_does_all_and_none_named_means_two(
    client: httpx.AsyncClient, ledger: Ledger, form: Form
) -> None:
    """Without `model` the worker chooses by whether a hole is in a face; with it there is nothing to choose."""

    async def models_of(data: dict[str, str]) -> list[str]:
        answer = await client.post("/inpaint", files=form, data=data, headers={"Prefer": "respond-async"})
        request = ledger.get(answer.json()["id"]).request
        assert isinstance(request, InpaintRequest)
        return [reference.partition("@")[0] for reference in (request.model, request.elsewhere) if reference]

    assert await models_of({}) == ["glcic-celeba", "glcic-scenes"]
    assert await models_of({"model": "glcic-celeba"}) == ["glcic-celeba"]


async def test_an_option_in_the_address_is_not_overlooked(client: httpx.AsyncClient, form: Form) -> None:
    """What is asked for there would not be done."""
    answer = await client.post("/inpaint?format=jpeg", files=form)
    assert (answer.status_code, "`format` stands in the address" in answer.json()["detail"]) == (400, True)


async def test_who_completes_nothing_is_said_for_what_it_is(client: httpx.AsyncClient, form: Form) -> None:
    """A generator draws samples; the helpers for faces do not."""
    for model, does in (("dcgan-celeba", "draws samples"), ("face-align", "helps others with faces")):
        answer = await client.post("/inpaint", files=form, data={"model": model})
        assert (answer.status_code, does in answer.json()["detail"]) == (400, True)


async def test_respond_async_answers_at_once(client: httpx.AsyncClient, form: Form) -> None:
    """202 with the job's place, when to look, and what was applied; the job waits."""
    answer = await client.post("/inpaint", files=form, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["state"], job["position"]) == ("queued", 0)
    assert answer.headers["location"] == f"/jobs/{job['id']}" == job["links"]["self"]
    assert answer.headers["preference-applied"] == "respond-async"
    assert int(answer.headers["retry-after"]) >= 1


async def test_waiting_ends_when_the_client_said(client: httpx.AsyncClient, form: Form) -> None:
    """`Prefer: wait=1` is answered 202 after a second where nobody works."""
    answer = await client.post("/inpaint", files=form, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=1")
    assert 0.9 < answer.elapsed.total_seconds() < 3


@pytest.mark.usefixtures("worker")
async def test_a_waiting_request_is_woken_by_the_ledger(client: httpx.AsyncClient, form: Form) -> None:
    """The answer comes when the job ends, not at the next poll."""
    answer = await client.post("/inpaint", files=form)
    assert answer.status_code == 200
    assert answer.elapsed.total_seconds() < 0.8


async def test_a_repeated_put_is_one_job(client: httpx.AsyncClient, worker: FakeWorker, form: Form) -> None:
    """Same id, same body: the same job and the same bytes, run once."""
    answers = [await client.put("/inpaint/my-picture-1", files=form) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({answer.content for answer in answers}) == 1
    assert worker.handled == ["my-picture-1"]


async def test_an_id_with_another_body_is_a_conflict(client: httpx.AsyncClient, form: Form, ledger: Ledger) -> None:
    """422, and the first job keeps its inputs."""
    headers = {"Prefer": "respond-async"}
    await client.put("/inpaint/my-picture-1", files=form, headers=headers)
    before = ledger.get("my-picture-1")
    answer = await client.put("/inpaint/my-picture-1", files=form, data={"dilate": 3}, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:inpaint:problem:idempotency-conflict")
    assert ledger.get("my-picture-1") == before


@pytest.mark.usefixtures("worker")
async def test_an_idempotency_key_makes_a_post_repeatable(client: httpx.AsyncClient, form: Form) -> None:
    """Same key, same job; other key, other job."""
    keys = ["a b/ü".encode(), "a b/ü".encode(), b"other"]
    answers = [await client.post("/inpaint", files=form, headers=[(b"Idempotency-Key", key)]) for key in keys]
    ids = [answer.headers["x-job-id"] for answer in answers]
    assert ids[0] == ids[1] != ids[2]


async def test_a_full_queue_is_429_and_leaves_nothing_behind(
    client: httpx.AsyncClient, form: Form, worker_settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retry-After says when, before the picture is looked at; where the last place went to another one meanwhile, the
    inputs of the refused request are gone from storage."""
    headers = {"Prefer": "respond-async"}
    for _ in range(worker_settings.queue_limit):
        assert (await client.post("/inpaint", files=form, headers=headers)).status_code == 202
    early = await client.post("/inpaint", files={**form, "image": b"no picture"}, headers=headers)
    monkeypatch.setattr(Ledger, "check_room", lambda *_: None)
    late = await client.post("/inpaint", files=form, headers=headers)
    for answer in (early, late):
        assert (answer.status_code, answer.json()["type"]) == (429, "urn:inpaint:problem:queue-full")
        assert int(answer.headers["retry-after"]) >= 1
    stored = [path for path in worker_settings.storage_dir.rglob("*") if path.is_file()]
    assert len(stored) == worker_settings.queue_limit


async def test_a_full_storage_is_507_and_leaves_nothing_behind(
    client: httpx.AsyncClient, form: Form, ledger: Ledger, worker_settings: WorkerSettings
) -> None:
    """It says what to do, and that nothing was accepted; what was stored for it is removed."""
    ledger.note_room(Room(used=10, free=0, full=True))
    answer = await client.post("/inpaint", files=form)
    assert (answer.status_code, answer.json()["type"]) == (507, "urn:inpaint:problem:storage-full")
    assert "STORAGE_QUOTA_BYTES" in answer.json()["detail"]
    assert int(answer.headers["Retry-After"]) > 0
    assert not [path for path in worker_settings.storage_dir.rglob("*") if path.is_file()]


async def test_a_failed_job_is_answered_with_its_reason(
    client: httpx.AsyncClient, worker: FakeWorker, form: Form
) -> None:
    """The failure's own sentence, with a status that fits it."""
    worker.fail(Failure(type="out-of-memory", detail="Send a smaller picture."))
    answer = await client.post("/inpaint", files=form)
    assert (answer.status_code, answer.json()["detail"]) == (503, "Send a smaller picture.")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_client_that_goes_away_does_not_cancel_its_job(
    client: httpx.AsyncClient, ledger: Ledger, form: Form
) -> None:
    """The job it waited for stays in the queue."""
    with anyio.move_on_after(0.5) as scope:
        await client.post("/inpaint", files=form)
    assert scope.cancelled_caught
    await until(lambda: len(ledger.recent()) == 1)
    assert ledger.recent()[0].state == "queued"


async def test_behind_a_prefix_links_carry_it(client: httpx.AsyncClient, app: FastAPI, form: Form) -> None:
    """Location and links work for a client that reaches the service below a path."""
    transport = httpx.ASGITransport(app, root_path="/paint")
    async with httpx.AsyncClient(transport=transport, base_url=client.base_url) as outside:
        answer = await outside.post("/paint/inpaint", files=form, headers={"Prefer": "respond-async"})
        assert answer.status_code == 202
        assert answer.headers["location"].startswith("/paint/jobs/")
        assert (await outside.get(answer.headers["location"])).status_code == 200
