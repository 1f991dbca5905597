"""Health: for load balancers, without a key; and for monitoring, with one."""

from importlib.metadata import version

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool

from app.dependencies import Clients, ClientsDep, MonitorDep
from app.errors import MEDIA_TYPE, TYPES, Problem
from app.openapi import problems
from app.schemas import Health, Readiness
from models.catalog import UnknownModelError
from worker.connection import OUTAGES
from worker.contracts import INFERENCE_QUEUE

router = APIRouter(tags=["health"])


@router.head("/healthz", include_in_schema=False)  # some load balancers ask so
@router.get("/healthz", summary="The process runs")
async def healthz() -> Health:
    """Says nothing about what stands behind it; restart the process when this does not answer."""
    return Health(version=version("inpaint-service"))


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz", summary="A picture sent now would be completed", responses=problems(503), response_model=Readiness
)
async def readyz(clients: ClientsDep) -> Response:
    """The broker answers, a worker for pictures announced itself within the last seconds, busy or not, there is room to
    store, and the model is there.
    `503` with the same fields otherwise. Requests are accepted without a worker too, and wait for one."""
    readiness, missing = await run_in_threadpool(_readiness, clients)
    if not missing:
        return JSONResponse(readiness.model_dump(mode="json"))
    problem = Problem(
        type=TYPES + "not-ready",
        title="The service is not ready",
        detail=" ".join(missing),
        **readiness.model_dump(mode="json", exclude={"status"}),
        status=503,
    )
    return JSONResponse(problem.model_dump(mode="json"), 503, {"Retry-After": "2"}, media_type=MEDIA_TYPE)


@router.get(
    "/metrics",
    summary="Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, **problems(401, 403)},
)
async def metrics(request: Request, owner: MonitorDep) -> Response:  # noqa: ARG001 - the key is checked
    """Queue depth, age of the oldest job, jobs by state, workers, request latency. Where the operator has set keys, for
    those of scope `metrics`."""
    content = await run_in_threadpool(generate_latest, request.app.state.metrics.registry)
    return Response(content, media_type=CONTENT_TYPE_LATEST)


def _readiness(clients: Clients) -> tuple[Readiness, list[str]]:
    missing = []
    try:
        workers, room, broker = clients.ledger.workers(), clients.ledger.room(), True
    except OUTAGES:
        workers, room, broker = [], None, False
        missing.append("The broker does not answer.")
    if broker and not any(worker.queue == INFERENCE_QUEUE for worker in workers):
        missing.append("No worker for pictures is up; what is sent waits for one.")
    if room is not None and room.full:
        missing.append("The storage is full, nothing is accepted.")
    if clients.stopping.is_set():
        missing.append("This process stops.")
    model = None
    try:
        model = clients.catalog.get(clients.settings.inpaint_model).reference
        if clients.settings.scenes_model:
            clients.catalog.get(clients.settings.scenes_model)
    except UnknownModelError as error:
        missing.append(str(error))
    return Readiness(
        status="not-ready" if missing else "ready",
        broker=broker,
        workers=[worker.model_dump() for worker in workers],
        model=model,
        max_pixels=clients.worker_settings.max_pixels,
    ), missing
