"""From `inpaint serve` to `/readyz` 200, with all shipped models loaded; the files have been read once before."""

from statistics import median

from tests.benchmarks.figures import Figure, baseline
from tests.benchmarks.running import running_service

STARTS = 3


def measure() -> list[Figure]:
    times = []
    for _ in range(STARTS):
        with running_service() as service:
            times.append(service.start_seconds)
    return [
        baseline("start to ready, median", median(times), "s"),
        baseline("start to ready, slowest", max(times), "s"),
    ]
