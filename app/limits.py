"""Bounds on what a client may send and how slowly it may send and read, so that a slow one holds nothing for long."""

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import Final, TypeVar

import anyio
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import UploadTooLargeError, problem_response, upload_problem

_DRAIN_FACTOR: Final = 2
_LARGEST_JSON: Final = 64 << 10  # it is parsed at once, while nobody else is served
_SLOWEST: Final = 16 << 10  # bytes a second, on average

Taken = TypeVar("Taken")

log = logging.getLogger(__name__)


class UploadLimits:
    """Answers 413 to a body of more than `max_bytes`, JSON of more than 64 KiB, and 408 to one that pauses for more
    than `idle_seconds` or comes more slowly than 16 KiB a second."""

    def __init__(self, app: ASGIApp, max_bytes: int, idle_seconds: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._idle_seconds = idle_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_json = "json" in headers.get("content-type", "").lower()
        max_bytes = min(self._max_bytes, _LARGEST_JSON) if is_json else self._max_bytes
        upload = _Upload(headers, receive, send, max_bytes, self._idle_seconds)
        if upload.announced > max_bytes:
            error = upload_problem(UploadTooLargeError(max_bytes))
            await problem_response(error)(scope, receive, upload.send)
        else:
            await self._app(scope, upload.receive, upload.send)


class SlowReaders:
    """Gives up who takes nothing of an answer for `idle_seconds`, or less than 16 KiB a second."""

    def __init__(self, app: ASGIApp, idle_seconds: float) -> None:
        self._app = app
        self._idle_seconds = idle_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        patience = _Patience(self._idle_seconds)

        async def patient(message: Message) -> None:
            try:
                await patience.wait(send(message))
            except TimeoutError:
                raise _ReaderTooSlowError from None
            patience.moved(len(message.get("body", b"")))

        try:
            await self._app(scope, receive, patient)
        except _ReaderTooSlowError:
            log.info("%s was given up: its reader is too slow", scope["path"])  # the server closes the connection


class _Upload:
    """The body of one request, as far as it has come."""

    def __init__(self, headers: Headers, receive: Receive, send: Send, max_bytes: int, idle_seconds: float) -> None:
        length = headers.get("content-length", "")
        self.announced = int(length) if length.isdigit() else 0
        self._receive = receive
        self._send = send
        self._max_bytes = max_bytes
        self._idle_seconds = idle_seconds
        self._patience = _Patience(idle_seconds)
        self._taken = 0
        # A client that asks first, and is told no, sends nothing.
        self._coming = (self.announced > 0 or "transfer-encoding" in headers) and "expect" not in headers
        self._complete = False

    async def receive(self) -> Message:
        """The next piece. Raises HTTPException."""
        if self._complete:
            return await self._receive()  # what follows the body is the client going away, whenever it does
        try:
            message = await self._patience.wait(self._receive())
        except TimeoutError:
            self._coming = False
            raise HTTPException(
                408,
                f"The upload paused for more than {self._idle_seconds:g} s, or was slower than 16 KiB a second, and "
                "was given up. Send it again.",
            ) from None
        size = len(message.get("body", b""))
        self._patience.moved(size)
        self._taken += size
        self._complete = not message.get("more_body", False)
        if self._taken > self._max_bytes:
            raise UploadTooLargeError(self._max_bytes)
        return message

    async def send(self, message: Message) -> None:
        """Answers. A client that is cut off while it sends often reports a broken pipe and not the answer, so it is
        heard out before, if that is not asked too much."""
        if message["type"] == "http.response.start" and self._coming and not self._complete:
            if self.announced <= _DRAIN_FACTOR * self._max_bytes:
                with anyio.move_on_after(self._idle_seconds):
                    await self._hear_out()
            self._coming = False
        await self._send(message)

    async def _hear_out(self) -> None:
        while self._taken <= _DRAIN_FACTOR * self._max_bytes:
            message = await self._receive()
            self._taken += len(message.get("body", b""))
            if not message.get("more_body", False):
                return


class _Patience:
    """How long one is kept waiting: `idle_seconds` at a time, and on the whole a second for each 16 KiB more."""

    def __init__(self, idle_seconds: float) -> None:
        self._idle_seconds = idle_seconds
        self._left = idle_seconds

    async def wait(self, for_what: Awaitable[Taken]) -> Taken:
        """Raises TimeoutError."""
        start = time.monotonic()
        async with asyncio.timeout(min(self._idle_seconds, self._left)):  # of anyio's a request pays for each piece
            taken = await for_what
        self._left -= time.monotonic() - start
        return taken

    def moved(self, size: int) -> None:
        """So many bytes came, or went."""
        self._left += size / _SLOWEST


class _ReaderTooSlowError(Exception):
    """Ends a request whose answer nobody takes."""
