"""Resident memory over 2,000 requests of changing sizes and samples: what a process keeps must not grow."""

import numpy as np

from tests.benchmarks.client import Request, closed_loop, form
from tests.benchmarks.figures import Figure, against, baseline
from tests.benchmarks.pictures import hole, picture, png
from tests.benchmarks.running import running_service

REQUESTS = 2000
STEP = 250  # looked at this often
CLIENTS = 4


def measure() -> list[Figure]:
    requests = [_inpaint(width, height) for width, height in ((64, 64), (96, 160), (128, 128), (200, 120))]

    def request(number: int) -> Request:
        """Nine pictures, then samples that nobody drew before."""
        if number % 10 == 9:
            return Request("GET", f"/samples/dcgan?n=16&seed={number}")
        return requests[number % len(requests)]

    sizes: dict[str, list[float]] = {}
    errors = 0
    with running_service() as service:
        for start in range(0, REQUESTS, STEP):
            load = closed_loop(service.address, lambda number, start=start: request(start + number), CLIENTS, STEP)
            errors += load.errors
            for name, megabytes in service.resident_megabytes().items():
                sizes.setdefault(name, []).append(megabytes)
    figures = []
    for name, megabytes in sizes.items():
        half = baseline(f"{name}, after {REQUESTS // 2} requests", megabytes[REQUESTS // 2 // STEP - 1], "MB")
        figures += [half, against(half, f"{name}, after {REQUESTS} requests", megabytes[-1])]
    return [*figures, Figure(f"errors of {REQUESTS}", errors, "", "", 0.0)]


def _inpaint(width: int, height: int) -> Request:
    image = png(np.ascontiguousarray(picture(width, height)))
    return form(
        "/inpaint", {"image": image, "mask": png(hole(width, height, min(width, height) // 4))}, strategy="crop"
    )
