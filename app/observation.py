"""What each request leaves behind: a line in the log, a time in the metrics, a step in its trace."""

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.metrics import Metrics
from app.sentences import shown
from worker.logs import bound
from worker.trace import Trace, current

_PROBES = ("/healthz", "/readyz", "/metrics")

log = logging.getLogger(__name__)


class ObservedRequests:
    """Outermost. Joins the client's trace or begins one, and says in `traceparent` which it was."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        came_with = Trace.of(headers.get(b"traceparent", b"").decode("latin-1"))
        trace = came_with.step() if came_with else Trace.begin()
        current.set(trace)
        request = _Request(scope, self._metrics, trace, send)
        with bound(trace=trace.id):
            try:
                await self._app(scope, receive, request.send)
            except Exception:
                request.fail()
                raise  # to who answers 500, outside of all middleware
            finally:
                request.tell()


class _Request:
    """One request, as far as it has been answered."""

    def __init__(self, scope: Scope, metrics: Metrics, trace: Trace, send: Send) -> None:
        self._scope = scope
        self._metrics = metrics
        self._trace = trace
        self._send = send
        self._start = time.perf_counter()
        self._status = 0  # of a client that went away before there was an answer
        self._job = ""
        self._bytes = 0

    async def send(self, message: Message) -> None:
        """Pass on a part of the answer."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._job = dict(message["headers"]).get(b"x-job-id", b"").decode("latin-1")
            message["headers"] = [*message["headers"], (b"traceparent", str(self._trace).encode())]
            self._observe()
        self._bytes += len(message.get("body", b""))
        await self._send(message)

    def fail(self) -> None:
        """It will be answered 500, by somebody else."""
        if not self._status:
            self._status = 500
            self._observe()

    def tell(self) -> None:
        """Write the line. Probes, and what the page is made of, are told only where they fail."""
        path, status = self._scope["path"], self._status
        route = getattr(self._scope.get("route"), "path", None)
        quiet = path in _PROBES or (route is None and status < 400)
        if status >= 500 and path not in _PROBES:
            level = logging.ERROR if status == 500 else logging.WARNING
        else:
            level = logging.DEBUG if quiet else logging.INFO
        values = {
            "method": self._scope["method"],
            "path": shown(path),  # a line break in it must not make another line
            "status": status,
            "milliseconds": round((time.perf_counter() - self._start) * 1000, 1),
            "bytes": self._bytes,
            "client": (self._scope.get("client") or ("",))[0],
        }
        log.log(level, "%s %s %s", values["method"], values["path"], status or "left", extra=values | self._of_job())

    def _of_job(self) -> dict[str, str]:
        return {"job": self._job} if self._job else {}

    def _observe(self) -> None:
        # The route's template is the label, so that ids make no new series.
        route = getattr(self._scope.get("route"), "path", "other")
        method = self._scope["method"] if route != "other" else "other"
        elapsed = time.perf_counter() - self._start
        self._metrics.requests.labels(method, route, str(self._status)).observe(elapsed)
