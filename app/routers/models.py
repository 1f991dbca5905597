"""Models: what there is, and which version serves."""

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.concurrency import run_in_threadpool

from app.dependencies import Clients, ClientsDep, OwnerDep, TrainerDep
from app.openapi import problems
from app.schemas import Activation, ModelList, ModelView

router = APIRouter(tags=["models"], prefix="/models")

NameDep = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", examples=["glcic-celeba"])]


@router.get("", summary="All models", responses=problems(401, 403, 503))
async def list_models(clients: ClientsDep, owner: OwnerDep) -> ModelList:  # noqa: ARG001 - the key is checked
    """With their cards: what they are good at, data, licence, metrics."""
    return await run_in_threadpool(_list, clients)


@router.get("/{name}", summary="One model", responses=problems(400, 401, 403, 404, 503))
async def show_model(clients: ClientsDep, owner: OwnerDep, name: NameDep) -> ModelView:  # noqa: ARG001 - as above
    """Its versions, which one is in service, and how many workers hold it ready."""
    return await run_in_threadpool(_view, clients, name)


@router.put("/{name}/active", summary="Put a version into service", responses=problems(400, 401, 403, 404, 503))
async def activate_model(
    clients: ClientsDep,
    owner: TrainerDep,  # noqa: ARG001 - as above
    name: NameDep,
    activation: Activation,
) -> ModelView:
    """Jobs accepted from now on get it, without a restart; those accepted before keep the version they were promised.
    Rolling back is the same call with an older version. Needs a key of scope `train`, where there are
    keys."""
    await run_in_threadpool(clients.catalog.activate, name, activation.version)
    return await run_in_threadpool(_view, clients, name)


def _list(clients: Clients) -> ModelList:
    return ModelList(models=[_view(clients, name) for name in clients.catalog.names()])


def _view(clients: Clients, name: str) -> ModelView:
    versions = clients.catalog.versions(name)
    active = clients.catalog.get(name)
    loaded = Counter(reference for worker in clients.ledger.workers() for reference in worker.models)
    return ModelView(
        name=name,
        family=active.family,
        title=active.title,
        active=active.version,
        versions=versions,
        loaded_by={card.version: loaded[card.reference] for card in versions},
    )
