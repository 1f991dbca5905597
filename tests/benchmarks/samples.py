"""`GET /samples/{model}` with new seeds, so that nothing was drawn before, against the bare generator; then repeats."""

from functools import partial
from itertools import count

import models.dcgan.sample
import models.vanilla_gan.sample
from models.catalog import Catalog
from models.engine import choose_device, prepare_process
from models.loading import load
from tests.benchmarks.client import Connection, Request
from tests.benchmarks.figures import Figure, against, baseline, milliseconds
from tests.benchmarks.running import running_service

MODELS = {
    "dcgan": ("dcgan-celeba", models.dcgan.sample.draw),
    "vanilla-gan": ("vanilla-gan-mnist", models.vanilla_gan.sample.draw),
}
COUNTS = (16, 64)
REQUESTS = 30


def measure() -> list[Figure]:
    prepare_process()
    catalog, device = Catalog(), choose_device()
    bare: dict[tuple[str, int], Figure] = {}
    for name, (model, draw) in MODELS.items():
        network = load(catalog, catalog.get(model), device)
        for n in COUNTS:
            bare[name, n] = baseline(f"bare {name}, n={n}", milliseconds(partial(draw, network, n, 7), rounds=15))
    figures: list[Figure] = []
    seeds = count(1000)
    with running_service() as service, Connection(service.address) as connection:
        for (name, n), base in bare.items():
            path = f"/samples/{name}?n={n}&seed="
            answers = [connection.send(Request("GET", f"{path}{next(seeds)}")) for _ in range(REQUESTS + 3)][3:]
            if any(answer.status != 200 for answer in answers):
                raise RuntimeError(f"{path} was answered {[answer.status for answer in answers]}.")
            times = sorted(answer.milliseconds for answer in answers)
            figures += [base, against(base, f"GET {path}..., p50", times[len(times) // 2])]
            figures.append(against(base, f"GET {path}..., p95", times[int(len(times) * 0.95)]))
            again = Request("GET", f"{path}7")
            tag = next(value for key, value in connection.send(again).headers.items() if key.lower() == "etag")
            known = Request("GET", f"{path}7", headers={"If-None-Match": tag})
            for what, request in (("drawn before", again), ("known to the client, 304", known)):
                times = sorted(connection.send(request).milliseconds for _ in range(REQUESTS))
                figures.append(against(base, f"GET {path}7, {what}", times[len(times) // 2]))
    return figures
