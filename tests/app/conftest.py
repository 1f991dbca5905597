"""The API over a real broker and a real ledger; only the worker is a fake that answers at once."""

import io
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from app.main import create_app
from app.settings import ApiSettings
from worker.codecs.encode import encode
from worker.connection import connect
from worker.contracts import INFERENCE_QUEUE, Failure, InpaintRequest, Progress, Result
from worker.images import MEDIA_TYPES, unpack, with_completed
from worker.ledger import Lease, Ledger, WorkerInfo
from worker.settings import WorkerSettings
from worker.storage import Storage

COMPLETED = (10, 200, 30)
"""The colour that the fake worker paints into every hole."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def worker_settings(redis_url: str, tmp_path: Path) -> WorkerSettings:
    return WorkerSettings(redis_url=redis_url, data_dir=tmp_path, queue_limit=4, max_pixels=1_000_000)


@pytest.fixture
def settings() -> ApiSettings:
    return ApiSettings(max_upload_bytes=1 << 20, upload_idle_seconds=0.5)


@pytest.fixture
def ledger(worker_settings: WorkerSettings) -> Iterator[Ledger]:
    with connect(worker_settings.redis_url) as client:
        yield Ledger(client, worker_settings)


@pytest.fixture
def storage(worker_settings: WorkerSettings) -> Storage:
    return Storage(worker_settings.storage_dir)


@pytest.fixture
def app(settings: ApiSettings, worker_settings: WorkerSettings) -> FastAPI:
    return create_app(settings, worker_settings)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Without a worker: what is sent waits."""
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=20) as client:
            yield client


class FakeWorker:
    """Leases what waits and ends it through the real ledger: paints the hole green, or does what a test sets."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._stopped = threading.Event()
        self.handle: Callable[[Ledger, Storage, Lease], None] = self.complete
        self.kind = "inpaint"
        self.handled: list[str] = []

    @contextmanager
    def running(self) -> Iterator["FakeWorker"]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            self._stopped.set()
            thread.join(10)

    @staticmethod
    def complete(ledger: Ledger, storage: Storage, lease: Lease) -> None:
        request = lease.job.request
        assert isinstance(request, InpaintRequest)
        picture, mask = unpack(storage.get(request.inputs_key))
        ledger.progress(lease, Progress(done=1, total=2, message="network"))
        painted = picture.rgb.copy()
        painted[mask] = COMPLETED
        content = encode(with_completed(picture, painted, mask), request.format, request.quality)
        storage.put(f"results/{lease.job.id}", content)
        width, height = picture.size
        ledger.succeed(
            lease,
            Result(
                key=f"results/{lease.job.id}",
                media_type=MEDIA_TYPES[request.format],
                model=request.model,
                width=width,
                height=height,
                changed=float(mask.mean()),
                timings={"network": 0.01, "encode": 0.002},
            ),
        )

    def fail(self, failure: Failure) -> None:
        """From now on every job fails so."""
        self.handle = lambda ledger, _, lease: ledger.fail(lease, failure) and None

    def _run(self) -> None:
        info = WorkerInfo(id="fake:1", queue=INFERENCE_QUEUE, device="cpu", models=[])
        with connect(self._settings.redis_url) as client:
            ledger, storage = Ledger(client, self._settings), Storage(self._settings.storage_dir)
            while not self._stopped.wait(0.005):
                ledger.announce("fake:1", info, ttl_seconds=5)
                for lease in ledger.lease_waiting(self.kind, 16, "fake:1"):
                    self.handled.append(lease.job.id)
                    self.handle(ledger, storage, lease)


@pytest.fixture
def worker(worker_settings: WorkerSettings) -> Iterator[FakeWorker]:
    with FakeWorker(worker_settings).running() as worker:
        yield worker


def picture_bytes(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


@pytest.fixture
def photo() -> Image.Image:
    """64 x 48, no two rows alike."""
    pixels = np.random.default_rng(7).integers(0, 256, (48, 64, 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def hole() -> Image.Image:
    """A mask for `photo`: white in a box of 10 x 8 at 20, 12."""
    mask = np.zeros((48, 64), np.uint8)
    mask[12:20, 20:30] = 255
    return Image.fromarray(mask)


@pytest.fixture
def form(photo: Image.Image, hole: Image.Image) -> dict[str, tuple[str, bytes, str]]:
    """What a client sends."""
    return {
        "image": ("photo.png", picture_bytes(photo), "image/png"),
        "mask": ("mask.png", picture_bytes(hole), "image/png"),
    }


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.01)
