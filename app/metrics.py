"""Prometheus: what requests take in this process, and what the ledger says about jobs at the moment of the scrape.

What the ledger says is the same from every API process, and its totals outlive
them all: take one (`max`), and add up only `inpaint_http_*` and `process_*`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from itertools import product
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from worker.connection import OUTAGES
from worker.contracts import INFERENCE_QUEUE, TRAINING_QUEUE, FailureType
from worker.ledger import Ledger, QueueStats, Room, WorkerInfo

_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

_QUEUES: Final = (INFERENCE_QUEUE, TRAINING_QUEUE)
_KINDS: Final = ("inpaint", "sample", "training")
_COUNTED: Final[Mapping[str, list[tuple[str, ...]]]] = {
    "accepted": [*product(_KINDS)],
    "refused": [*product(_QUEUES, ("queue-full", "storage-full"))],
    "ended": [
        *product(_KINDS, ("succeeded", "cancelled"), ("",)),
        *product(_KINDS, ("failed",), get_args(FailureType)),
    ],
    "lost": [*product(_QUEUES)],
    "pictures": [*product(("inpaint", "sample"))],
}
"""What may be counted, told as 0 until it is: Prometheus's `increase` passes over the first one of a series that begins
with it."""

Totals = Mapping[tuple[str, ...], float]


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
        ProcessCollector(registry=self.registry)

    def observe(self, ledger: Ledger) -> None:
        """Ask `ledger` at each scrape."""
        self.registry.register(LedgerCollector(ledger))


class LedgerCollector(Collector):
    """Queues, jobs and workers, read when asked, so that every API process tells the same."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask the broker."""
        return []

    def collect(self) -> Iterable[Metric]:
        """All but `inpaint_broker_up` is left out while the broker is away."""
        yield InfoMetricFamily("inpaint_build", "The version that runs.", {"version": version("inpaint-service")})
        up = GaugeMetricFamily("inpaint_broker_up", "Whether the broker answered this scrape.")
        try:
            stats, workers, totals = self._ledger.stats(), self._ledger.workers(), self._ledger.totals()
            room, memory = self._ledger.room(), self._ledger.memory()
        except OUTAGES:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from _queues(stats)
        yield from _workers(workers, list(stats))
        yield from _room(room)
        yield from _memory(*memory)
        yield from _counters(totals)
        yield from _histograms(totals)


def _queues(stats: Mapping[str, QueueStats]) -> Iterable[Metric]:
    jobs = GaugeMetricFamily(
        "inpaint_jobs", "Jobs that have not ended; as many leases are held as run.", labels=["queue", "state"]
    )
    oldest = GaugeMetricFamily(
        "inpaint_queue_oldest_seconds", "How long the next job has waited; 0 when none waits.", labels=["queue"]
    )
    rate = GaugeMetricFamily("inpaint_training_images_per_second", "Of the training runs that run now.")
    for queue, figures in stats.items():
        jobs.add_metric([queue, "queued"], figures.waiting)
        jobs.add_metric([queue, "running"], figures.running)
        oldest.add_metric([queue], figures.oldest_seconds)
    rate.add_metric([], sum(figures.images_per_second for figures in stats.values()))
    return jobs, oldest, rate


def _workers(workers: Iterable[WorkerInfo], queues: Iterable[str]) -> Iterable[Metric]:
    seen = GaugeMetricFamily("inpaint_workers", "Workers that announced themselves lately.", labels=["queue"])
    labels = ["worker", "queue", "device"]
    memory = GaugeMetricFamily("inpaint_worker_memory_bytes", "In RAM, of a worker and what it started.", labels=labels)
    device_memory = GaugeMetricFamily("inpaint_worker_device_memory_bytes", "On its GPU.", labels=labels)
    counts = dict.fromkeys(queues, 0)
    for worker in workers:
        counts[worker.queue] += 1
        memory.add_metric([worker.id, worker.queue, worker.device], worker.memory_bytes)
        device_memory.add_metric([worker.id, worker.queue, worker.device], worker.device_memory_bytes)
    for queue, number in counts.items():
        seen.add_metric([queue], number)
    return seen, memory, device_memory


def _room(room: Room | None) -> Iterable[Metric]:
    used = GaugeMetricFamily("inpaint_storage_bytes", "Pictures, results and sheets, as last measured by a worker.")
    free = GaugeMetricFamily("inpaint_storage_free_bytes", "What the storage's disk still takes.")
    full = GaugeMetricFamily("inpaint_storage_full", "Whether jobs are refused for want of room.")
    if room is not None:
        used.add_metric([], room.used)
        full.add_metric([], room.full)
        if room.free is not None:
            free.add_metric([], room.free)
    return used, free, full


def _memory(used: int, limit: int | None) -> Iterable[Metric]:
    taken = GaugeMetricFamily("inpaint_broker_memory_bytes", "That the broker's data take.", value=used)
    most = GaugeMetricFamily("inpaint_broker_memory_limit_bytes", "That they may take; 0: no limit.", value=limit or 0)
    return taken, most


def _counters(totals: Totals) -> Iterable[Metric]:
    for name, metric, description, labels in (
        ("accepted", "inpaint_jobs_accepted", "Jobs accepted.", ["kind"]),
        ("refused", "inpaint_jobs_refused", "Jobs refused because queue or storage were full.", ["queue", "reason"]),
        ("ended", "inpaint_jobs_ended", "Jobs ended, by state and reason of failure.", ["kind", "state", "reason"]),
        ("lost", "inpaint_leases_lost", "Leases whose worker died or fell silent.", ["queue"]),
        ("pictures", "inpaint_pictures", "Pictures completed or drawn.", ["kind"]),
    ):
        family = CounterMetricFamily(metric, f"{description} Outlives restarts.", labels=labels)
        counted = {key[1:]: value for key, value in totals.items() if key[0] == name}
        for values, value in (dict.fromkeys(_COUNTED[name], 0.0) | counted).items():
            family.add_metric(values, value)
        yield family


def _histograms(totals: Totals) -> Iterable[Metric]:
    for name, metric, description, labels in (
        (
            "stage",
            "inpaint_job_seconds",
            "Of jobs that succeeded, by stage: `queue`, each stage of the work, and `all` from acceptance to end.",
            ["kind", "stage"],
        ),
        ("batch", "inpaint_job_batch_size", "Of jobs that succeeded: how many ran together.", ["kind"]),
    ):
        family = HistogramMetricFamily(metric, description, labels=labels)
        series: defaultdict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
        for key, value in totals.items():
            if key[0] == name:
                series[key[1:-1]][key[-1]] = value
        for values, counts in series.items():
            total = counts.pop("sum", 0.0)
            family.add_metric(values, _cumulative(counts), total)
        yield family


def _cumulative(counts: Mapping[str, float]) -> list[tuple[str, float]]:
    """Prometheus counts what does not exceed a bound; the ledger what lies between two."""
    buckets: list[tuple[str, float]] = []
    so_far = 0.0
    for bound in sorted({*counts, "+Inf"}, key=float):
        so_far += counts.get(bound, 0.0)
        buckets.append((bound, so_far))
    return buckets
