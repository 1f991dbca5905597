"""The HTTP server: uvicorn, that waits for nobody's headers for ever, and lets nobody wait for it when it stops."""

import asyncio
import threading
import time
from types import FrameType
from typing import Any, Final, cast

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import ProblemError, problem_response, retry_after

KEPT_SECONDS: Final = 75
"""How long a connection stays open after an answer. Proxies and clients keep theirs for up to a minute, and a request
that meets the end of its connection is lost to a client that dares not send it twice."""

_TICKS_PER_LOOK: Final = 10  # uvicorn ticks ten times a second


class Server(uvicorn.Server):
    """Closes connections on which a request is due, and not whole after `silent_seconds`: uvicorn itself waits for ever
    for the first one, and for one that comes byte by byte. When it has to stop, it tells the requests that wait for
    results: they are answered with what there is."""

    def __init__(self, config: uvicorn.Config, silent_seconds: float = 15) -> None:
        super().__init__(config)
        self._silent_seconds = silent_seconds
        self._silent_since: dict[tuple[Any, Any], float] = {}

    async def on_tick(self, counter: int) -> bool:
        """uvicorn's own, and a look around."""
        if counter % _TICKS_PER_LOOK == 0:
            self._close_silent()
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """uvicorn's own; `stopping` is what `create_app` left in the application's state."""
        cast(FastAPI, self.config.app).state.stopping.set()
        super().handle_exit(sig, frame)

    def _close_silent(self) -> None:
        now, silent = time.monotonic(), {}
        for connection in self.server_state.connections:
            request = getattr(connection, "cycle", None)  # the one that it last brought
            kept = getattr(connection, "timeout_keep_alive_task", None) is not None  # not a byte yet of the next one
            if not kept and (request is None or request.response_complete):
                since = silent[connection, request] = self._silent_since.get((connection, request), now)
                if now - since > self._silent_seconds:
                    connection.transport.close()
        self._silent_since = silent


class CutOffRequests:
    """Answers requests that are not done ten seconds after this process had to stop, for instance because the broker
    is frozen: uvicorn cancels them then, and would say 500. What else may cancel a request is let through."""

    def __init__(self, app: ASGIApp, stopping: threading.Event) -> None:
        self._app = app
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, note)
        except asyncio.CancelledError:
            if begun or not self._stopping.is_set():
                raise
            await problem_response(
                ProblemError(
                    503,
                    "stopping",
                    "The service stops",
                    "The request was not done when it had to. Whether a job was accepted is not known. Send the "
                    "request again after the time in Retry-After; with PUT /inpaint/{id} or an Idempotency-Key it "
                    "runs once even if it was.",
                    retry_after(5),
                )
            )(scope, receive, send)
