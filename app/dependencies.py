"""What routes are given: the clients that the lifespan built, and whose request it is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, cast

import anyio
from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from app.errors import ProblemError
from app.settings import ApiSettings
from app.watcher import JobWatcher
from models.catalog import Catalog
from worker.contracts import Job
from worker.ledger import Ledger
from worker.settings import WorkerSettings
from worker.storage import Storage


@dataclass(frozen=True)
class Clients:
    """All that a route may reach, made once for each process."""

    settings: ApiSettings
    worker_settings: WorkerSettings
    ledger: Ledger
    storage: Storage
    catalog: Catalog
    watcher: JobWatcher
    publish: Callable[[Job], None]
    """Sends a job's id to its queue; a message that is lost is sent again by the sweeper."""
    decoding: anyio.CapacityLimiter
    """Bounds how many pictures are decoded at once."""


def get_clients(request: Request) -> Clients:
    """What the lifespan built."""
    return cast(Clients, request.app.state.clients)


ClientsDep = Annotated[Clients, Depends(get_clients)]

_bearer = HTTPBearer(auto_error=False, description="`Authorization: Bearer KEY`, where the operator has set keys.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same key, for clients without bearer.")


def get_owner(
    clients: ClientsDep,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    header: Annotated[str | None, Depends(_header)],
) -> str:
    """The id of the request's API key; empty where the operator has set no keys."""
    if not clients.settings.api_keys:
        return ""
    key = bearer.credentials if bearer is not None else header
    if key is None:
        raise ProblemError(
            401,
            "key-missing",
            "An API key is needed",
            "Send `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
            {"WWW-Authenticate": "Bearer"},
        )
    owner = clients.settings.owner_of(key)
    if owner is None:
        raise ProblemError(
            403,
            "key-unknown",
            "The API key is not known",
            "Check the key; the operator's API_KEYS lists those that are.",
        )
    return owner


OwnerDep = Annotated[str, Depends(get_owner)]
