"""HEAD wherever GET is answered, as RFC 9110 (section 9.1) asks: the same headers, and nothing after them."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadLikeGet:
    """Has the routes answer HEAD as they answer GET, and keeps the body back."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def headers_only(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body"})  # a stream of events hears that its reader has gone

        await self._app({**scope, "method": "GET"}, receive, headers_only)
