"""Prometheus: what requests take, and what the ledger says about jobs at the moment of the scrape."""

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.connection import OUTAGES
from worker.ledger import Ledger

_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """One process's registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "inpaint_http_request_seconds",
            "Time until an answer began, by route.",
            ("method", "route", "status"),
            registry=self.registry,
            buckets=_BUCKETS,
        )

    def observe(self, ledger: Ledger) -> None:
        """Ask `ledger` at each scrape."""
        self.registry.register(LedgerCollector(ledger))


class LedgerCollector(Collector):
    """Depth, age and workers, read when asked, so that every API process tells the same."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask the broker."""
        return []

    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("inpaint_broker_up", "Whether the broker answered this scrape.")
        try:
            stats, workers = self._ledger.stats(), self._ledger.workers()
        except OUTAGES:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        jobs = GaugeMetricFamily(
            "inpaint_jobs", "Jobs that have not ended, by queue and state.", labels=["queue", "state"]
        )
        oldest = GaugeMetricFamily(
            "inpaint_queue_oldest_seconds", "How long the next job has waited; 0 when none waits.", labels=["queue"]
        )
        fresh = GaugeMetricFamily("inpaint_workers", "Workers that announced themselves lately.", labels=["queue"])
        for queue, figures in stats.items():
            jobs.add_metric([queue, "queued"], figures.waiting)
            jobs.add_metric([queue, "running"], figures.running)
            oldest.add_metric([queue], figures.oldest_seconds)
            fresh.add_metric([queue], sum(worker.queue == queue for worker in workers))
        yield from (up, jobs, oldest, fresh)


class RequestTimer:
    """Observes every request; the route's template is the label, so that ids make no new series."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "other")
                method = scope["method"] if route != "other" else "other"
                elapsed = time.perf_counter() - start
                self._metrics.requests.labels(method, route, str(message["status"])).observe(elapsed)
            await send(message)

        await self._app(scope, receive, timed)
