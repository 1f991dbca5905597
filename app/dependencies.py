"""What routes are given: the clients that the lifespan built, and whose request it is, if their key allows it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from app.access import unauthorised
from app.decoding import DecodingRoom
from app.errors import ProblemError
from app.keys import Key, Scope
from app.settings import ApiSettings
from app.watcher import JobWatcher
from models.catalog import Catalog
from worker.contracts import Job
from worker.ledger import Ledger
from worker.runs import Runs
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
    runs: Runs
    watcher: JobWatcher
    publish: Callable[[Job], None]
    """Sends a job's id to its queue; a message that is lost is sent again by the sweeper."""
    decoding: DecodingRoom
    """Bounds what is decoded at once."""
    stopping: threading.Event
    """Set when the process has to stop: nobody waits for a result any more."""


async def get_clients(request: Request) -> Clients:
    """What the lifespan built."""
    return cast(Clients, request.app.state.clients)


ClientsDep = Annotated[Clients, Depends(get_clients)]

_bearer = HTTPBearer(auto_error=False, description="`Authorization: Bearer KEY`, where the operator has set keys.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same key, for clients without bearer.")


async def get_owner(
    request: Request,
    clients: ClientsDep,
    needed: SecurityScopes,
    _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],  # these two for the description of the API
    __: Annotated[str | None, Depends(_header)],
) -> str:
    """Whose request it is; empty where the operator has set no keys. Raises ProblemError where it may not."""
    if not clients.settings.keyring:
        return ""
    key: Key | None = getattr(request.state, "key", None)
    if key is None:
        raise unauthorised()
    missing = sorted(set(needed.scopes) - key.scopes)
    if missing:
        raise ProblemError(
            403,
            "key-scope",
            "The API key does not allow this",
            f"This call needs a key of scope `{missing[0]}`. Ask the operator for one: "
            f"`inpaint key NAME --scope {missing[0]}`.",
            {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{missing[0]}"'},
        )
    return key.owner


def _needs(scope: Scope) -> Callable[..., str]:
    return Security(get_owner, scopes=[scope.value])  # type: ignore[no-any-return]  # FastAPI's own way to say it


OwnerDep = Annotated[str, _needs(Scope.USE)]
TrainerDep = Annotated[str, _needs(Scope.TRAIN)]
MonitorDep = Annotated[str, _needs(Scope.METRICS)]
