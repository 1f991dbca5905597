"""The API. `create_app` makes it; its clients live as long as the server runs.

No torch here, not even indirectly: this process decodes uploads and answers
requests; what has tensors runs behind the queue.
"""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

from fastapi import FastAPI

from app import docs, errors
from app.access import KnownKeys
from app.decoding import DecodingRoom
from app.dependencies import Clients
from app.exposure import PrivateOnly, is_private
from app.head import HeadLikeGet
from app.headers import OtherOrigins, SecurityHeaders
from app.limits import SlowReaders, UploadLimits
from app.metrics import Metrics
from app.observation import ObservedRequests
from app.openapi import ANY_PROBLEM, DESCRIPTION, TAGS
from app.rates import RateLimits
from app.routers import health, inpaint, jobs, models, samples, training
from app.server import CutOffRequests
from app.settings import STATIC_DIR, ApiSettings
from app.watcher import JobWatcher
from worker.celery_app import make_celery, publish
from worker.connection import connect
from worker.ledger import Ledger
from worker.settings import WorkerSettings
from worker.shared import open_catalog, open_runs, open_storage


def create_app(settings: ApiSettings | None = None, worker_settings: WorkerSettings | None = None) -> FastAPI:
    """The application, from the environment where no settings are given. Connects to nothing before it is started."""
    settings = settings or ApiSettings()
    worker_settings = worker_settings or WorkerSettings()
    metrics = Metrics()
    # A call may be tried again for a second or two: long enough for a broker restart, short enough to say 503.
    client = connect(worker_settings.redis_url, patience_seconds=2)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        celery = make_celery(worker_settings)
        ledger = Ledger(client, worker_settings)
        metrics.observe(ledger)
        try:
            async with JobWatcher(worker_settings.redis_url).running() as watcher:
                app.state.clients = Clients(
                    settings=settings,
                    worker_settings=worker_settings,
                    ledger=ledger,
                    storage=open_storage(worker_settings),
                    catalog=open_catalog(worker_settings),
                    runs=open_runs(worker_settings),
                    watcher=watcher,
                    publish=partial(publish, celery=celery),
                    decoding=DecodingRoom(
                        pixels=2 * worker_settings.max_pixels,  # the largest picture and its mask
                        pictures=settings.decode_threads,
                    ),
                    stopping=app.state.stopping,
                )
                yield
        finally:
            celery.close()
            client.close()

    app = FastAPI(
        title="inpaint-service",
        version=version("inpaint-service"),
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        responses=ANY_PROBLEM,
        docs_url=None,  # app/docs.py
        redoc_url=None,
        # Two files and a box for each hole; whatever else is sent is refused before it is kept.
        form_limits={"max_files": 4, "max_fields": 300, "max_part_size": 4096},
    )
    app.state.metrics = metrics
    app.state.stopping = threading.Event()
    errors.install(app)
    for part in (inpaint, samples, jobs, training, models, health, docs):
        app.include_router(part.router)
    app.frontend("/", directory=STATIC_DIR, fallback=None)
    # What is added last is asked first.
    if settings.rate_limit:
        app.add_middleware(RateLimits, client=client, rate=settings.rate_limit)
    app.add_middleware(KnownKeys, keyring=settings.keyring)
    app.add_middleware(UploadLimits, max_bytes=settings.max_upload_bytes, idle_seconds=settings.upload_idle_seconds)
    if is_private(settings):
        app.add_middleware(PrivateOnly, origins=settings.cors_origins)
    if settings.cors_origins:
        app.add_middleware(OtherOrigins, origins=settings.cors_origins)
    app.add_middleware(HeadLikeGet)
    app.add_middleware(SlowReaders, idle_seconds=settings.read_idle_seconds)
    app.add_middleware(CutOffRequests, stopping=app.state.stopping)
    app.add_middleware(SecurityHeaders, origins=settings.cors_origins)
    app.add_middleware(ObservedRequests, metrics=metrics)
    return app
