"""Bounds on what a client may send: how much, and how slowly. Outermost but for errors, so that nothing runs before."""

import anyio
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import UploadTooLargeError, problem_response, upload_problem

_DRAIN_FACTOR = 2


class UploadLimits:
    """Answers 413 to a body of more than `max_bytes`, and 408 to one that pauses for more than `idle_seconds`."""

    def __init__(self, app: ASGIApp, max_bytes: int, idle_seconds: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._idle_seconds = idle_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"")
        if announced.isdigit() and int(announced) > self._max_bytes:
            await self._refuse(int(announced), scope, receive, send)
            return

        taken, complete = 0, False

        async def limited() -> Message:
            nonlocal taken, complete
            if complete:
                return await receive()  # what follows the body is the client going away, whenever it does
            try:
                with anyio.fail_after(self._idle_seconds):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(
                    408, f"The upload paused for more than {self._idle_seconds:g} s and was given up. Send it again."
                ) from None
            taken += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if taken > self._max_bytes:
                raise UploadTooLargeError(self._max_bytes)
            return message

        await self._app(scope, limited, send)

    async def _refuse(self, announced: int, scope: Scope, receive: Receive, send: Send) -> None:
        # A client that is cut off while it sends often reports a broken pipe and not the answer: hear it out, if
        # that is not asked too much.
        if announced <= _DRAIN_FACTOR * self._max_bytes:
            with anyio.move_on_after(self._idle_seconds):
                while (await receive()).get("more_body", False):
                    pass
        error = upload_problem(UploadTooLargeError(self._max_bytes))
        await problem_response(error)(scope, receive, send)
