"""What every answer tells a browser: run nothing from elsewhere, guess no types, be framed and read by nobody else."""

from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""Content-Security-Policy of everything that does not bring its own."""

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_SENT = ("Authorization", "X-API-Key", "Content-Type", "Prefer", "Idempotency-Key", "Cancel-After", "If-None-Match")
_READ = ("ETag", "Location", "Preference-Applied", "RateLimit", "RateLimit-Policy", "Retry-After", "Server-Timing")


class SecurityHeaders:
    """Adds them. `origins`, where the operator named some, may embed pictures too."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...] = ()) -> None:
        self._app = app
        self._headers = {**HEADERS, **({"Cross-Origin-Resource-Policy": "cross-origin"} if origins else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, secured)


class OtherOrigins(CORSMiddleware):
    """Lets pages of `origins` call the API. Keys travel in a header that the page sets: there are no cookies to share,
    and credentials are never allowed."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "POST", "PUT"),
            allow_headers=(*_SENT, "Last-Event-ID", "traceparent"),
            expose_headers=(*_READ, "X-Changed", "X-Job-Id", "X-Model", "traceparent"),
        )
