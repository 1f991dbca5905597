"""Whose key a request has, known before its body is read.

Everything needs one but what is in `OPEN`: a route that is added and forgets to ask is still closed to strangers.
What a key may do is asked by the routes, with the aliases of app/dependencies.py.
"""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app import docs
from app.errors import ProblemError, problem_response
from app.keys import Keyring
from app.settings import STATIC_DIR

_PAGE = {f"/{path.relative_to(STATIC_DIR).as_posix()}" for path in STATIC_DIR.rglob("*") if path.is_file()}

KEY_HEADERS = ("Authorization", "X-API-Key")
"""Where a key may be sent."""

OPEN = frozenset({"/", *_PAGE, "/healthz", "/readyz", "/openapi.json", *docs.PATHS})
"""Read by everyone: the page, into which a person types the key; health; and what describes the API, which is the
same for all."""


class KnownKeys:
    """Answers 401 to what needs a key and brings none that is known; passes the others on with theirs."""

    def __init__(self, app: ASGIApp, keyring: Keyring) -> None:
        self._app = app
        self._keyring = keyring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._keyring:
            presented = _presented(Headers(scope=scope))
            key = self._keyring.find(presented) if presented else None
            if key is None and not _is_open(scope):
                await problem_response(unauthorised(presented))(scope, receive, send)
                return
            scope.setdefault("state", {})["key"] = key
        await self._app(scope, receive, send)


def _presented(headers: Headers) -> str:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


def _is_open(scope: Scope) -> bool:
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return scope["method"] in ("GET", "HEAD") and path in OPEN


def unauthorised(presented: str = "") -> ProblemError:
    """401 for who presented no key, or one that is not known."""
    if presented:
        return ProblemError(
            401,
            "key-unknown",
            "The API key is not known",
            "Check the key, or ask the operator for another one.",
            {"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )
    return ProblemError(
        401,
        "key-missing",
        "An API key is needed",
        "Send `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
        {"WWW-Authenticate": "Bearer"},
    )
