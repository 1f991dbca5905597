"""GET /samples/{model}."""

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from PIL import Image

from models.catalog import Card, Catalog, Family
from tests.app.conftest import FakeWorker
from worker.contracts import Failure, Result, SampleRequest
from worker.ledger import Lease, Ledger
from worker.settings import WorkerSettings
from worker.storage import Storage

pytestmark = pytest.mark.anyio


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def pictures(request: SampleRequest) -> np.ndarray:
    """What the fake worker draws: (n, 8, 8, C), grey for digits, another for each seed, the first ones the same."""
    channels = 3 if request.model.startswith("dcgan") else 1
    rng = np.random.default_rng((request.seed, request.interpolate or 0))
    return rng.integers(0, 256, (request.n, 8, 8, channels), np.uint8)


def draw(ledger: Ledger, storage: Storage, lease: Lease) -> None:
    request = lease.job.request
    assert isinstance(request, SampleRequest)
    file = io.BytesIO()
    np.save(file, pictures(request), allow_pickle=False)
    key = f"results/{lease.job.id}"
    storage.put(key, file.getvalue())
    timings = {"draw": 0.02}
    ledger.succeed(
        lease, Result(key=key, media_type="application/x-npy", model=request.model, width=8, height=8, timings=timings)
    )


def add_model(settings: WorkerSettings, name: str, family: Family, weights: bytes) -> Card:
    """Puts a version into service; nobody reads these weights."""
    card = Card(
        name=name,
        family=family,
        title="A test's",
        description="",
        sha256=hashlib.sha256(weights).hexdigest(),
        data="",
        licence="",
        recipe="",
        images_seen=0,
        hours=0,
        image_size=8,
        command="",
        commit="",
        created="2026-01-01",
    )
    catalog = Catalog(store=settings.weights_dir)
    catalog.add(card, weights)
    return catalog.activate(name, card.version)


@pytest.fixture
def faces(worker_settings: WorkerSettings) -> Card:
    return add_model(worker_settings, "dcgan-celeba", "dcgan", b"faces")


@pytest.fixture(autouse=True)
def digits(worker_settings: WorkerSettings) -> Card:
    return add_model(worker_settings, "vanilla-gan-mnist", "vanilla-gan", b"digits")


@pytest.fixture
def worker(worker_settings: WorkerSettings, faces: Card) -> Iterator[FakeWorker]:
    del faces  # has to be there
    fake = FakeWorker(worker_settings)
    fake.kind, fake.handle = "sample", draw
    with fake.running():
        yield fake


async def test_samples_come_as_a_grid_with_what_made_them(
    client: httpx.AsyncClient, worker: FakeWorker, faces: Card
) -> None:
    """200 with a PNG grid of n pictures on white; the headers name model, job and times."""
    answer = await client.get("/samples/dcgan?n=5&seed=7&columns=3")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    sheet = pixels(answer.content)
    assert sheet.shape == (2 * 10 - 2, 3 * 10 - 2, 3)
    drawn = pictures(SampleRequest(model="dcgan-celeba@x", n=5, seed=7))
    assert np.array_equal(sheet[:8, 10:18], drawn[1])
    assert np.array_equal(sheet[10:, 10:18], drawn[4])
    assert (sheet[10:, 20:] == 255).all()
    assert answer.headers["x-model"] == faces.reference
    assert answer.headers["x-job-id"] in worker.handled
    assert "draw;dur=20.0" in answer.headers["server-timing"]


async def test_the_same_request_gives_the_same_bytes_without_a_second_job(
    client: httpx.AsyncClient, worker: FakeWorker
) -> None:
    """The second answer comes from storage, byte for byte, and names the job that drew it."""
    first = await client.get("/samples/dcgan?n=16&seed=7")
    second = await client.get("/samples/dcgan?seed=7&n=16")
    assert first.content == second.content
    assert first.headers["etag"] == second.headers["etag"]
    assert first.headers["x-job-id"] == second.headers["x-job-id"]
    assert len(worker.handled) == 1


@pytest.mark.usefixtures("faces")
async def test_a_known_etag_is_answered_304_without_any_job(client: httpx.AsyncClient, ledger: Ledger) -> None:
    """The ETag depends on version and parameters alone: no worker is up here, and none is asked."""
    asked = await client.get("/samples/dcgan?n=16&seed=7", headers={"Prefer": "wait=0"})
    assert asked.status_code == 202
    before = len(ledger.recent())
    tag = await etag(client, "/samples/dcgan?n=16&seed=7")
    for sent in (tag, f'"other", W/{tag}', "*"):
        answer = await client.get("/samples/dcgan?n=16&seed=7", headers={"If-None-Match": sent})
        assert (answer.status_code, answer.content) == (304, b""), sent
        assert answer.headers["etag"] == tag
    assert len(ledger.recent()) == before


async def etag(client: httpx.AsyncClient, url: str) -> str:
    """The ETag of `url`, learned without drawing."""
    answer = await client.get(url, headers={"If-None-Match": "*"})
    assert answer.status_code == 304
    return answer.headers["etag"]


@pytest.mark.usefixtures("faces")
async def test_another_parameter_or_version_is_another_etag(
    client: httpx.AsyncClient, worker_settings: WorkerSettings
) -> None:
    """n, seed, format, columns, interpolate, model and its active version each make another sheet."""
    queries = ("", "?n=4", "?seed=1", "?format=webp", "?format=zip", "?format=json", "?columns=2", "?interpolate=3")
    tags = [await etag(client, f"/samples/dcgan{query}") for query in queries]
    tags.append(await etag(client, "/samples/vanilla-gan"))
    add_model(worker_settings, "dcgan-celeba", "dcgan", b"newer faces")
    tags.append(await etag(client, "/samples/dcgan"))
    assert len(set(tags)) == len(tags)
    assert all(tag.startswith('"') for tag in tags)


@pytest.mark.usefixtures("worker")
async def test_single_pictures_come_as_zip_and_as_json(client: httpx.AsyncClient) -> None:
    """`format=zip` holds one PNG for each picture, `format=json` the same in base64, both with the same bytes twice."""
    drawn = pictures(SampleRequest(model="vanilla-gan-mnist@x", n=3, seed=2))[..., 0]
    packed = await client.get("/samples/vanilla-gan?n=3&seed=2&format=zip")
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        single = [archive.read(name) for name in archive.namelist()]
        assert archive.namelist() == ["00.png", "01.png", "02.png"]
    assert np.array_equal(np.stack([pixels(png) for png in single]), drawn)
    answer = (await client.get("/samples/vanilla-gan?n=3&seed=2&format=json")).json()
    assert [base64.b64decode(image) for image in answer.pop("images")] == single
    assert answer.pop("model").startswith("vanilla-gan-mnist@")
    assert answer == {"seed": 2, "interpolate": None, "width": 8, "height": 8}


@pytest.mark.usefixtures("worker")
async def test_a_job_that_failed_is_not_in_the_way_of_the_next_request(
    client: httpx.AsyncClient, worker: FakeWorker
) -> None:
    """A failure is answered as a problem; the same request afterwards gets a job of its own and draws."""
    worker.fail(Failure(type="model-unavailable", detail="The weights cannot be read."))
    failed = await client.get("/samples/dcgan?seed=5")
    assert (failed.status_code, failed.json()["detail"]) == (503, "The weights cannot be read.")
    worker.handle = draw
    assert (await client.get("/samples/dcgan?seed=5")).status_code == 200


@pytest.mark.usefixtures("faces")
async def test_asking_again_finds_the_same_job(client: httpx.AsyncClient) -> None:
    """While nothing is drawn yet, the same request is answered 202 with one and the same job."""
    headers = {"Prefer": "respond-async"}
    answers = [await client.get("/samples/dcgan?seed=9", headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].headers["location"] == answers[1].headers["location"]


async def test_what_cannot_be_drawn_is_a_problem(client: httpx.AsyncClient) -> None:
    """Unknown models are 404; completion models, and parameters out of range, 400; each says what to send."""
    unknown = await client.get("/samples/stylegan")
    assert (unknown.status_code, "vanilla-gan-mnist" in unknown.json()["detail"]) == (404, True)
    completes = await client.get("/samples/glcic-celeba")
    assert (completes.status_code, "/inpaint" in completes.json()["detail"]) == (400, True)
    for query in ("n=0", "n=65", "seed=-1", f"seed={2**63}", "columns=0", "format=gif", "interpolate=x"):
        answer = await client.get(f"/samples/vanilla-gan?{query}")
        assert answer.status_code == 400, query
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_job_that_was_cancelled_is_replaced_once(client: httpx.AsyncClient) -> None:
    """Who asks again and again is led to one new job, not to another each time."""
    headers = {"Prefer": "respond-async"}
    first = (await client.get("/samples/dcgan", headers=headers)).json()["id"]
    await client.post(f"/jobs/{first}/cancel")
    found = {(await client.get("/samples/dcgan", headers=headers)).json()["id"] for _ in range(3)}
    assert len(found) == 1
    assert first not in found
