"""`POST /inpaint` end to end, through broker and worker, against the bare network on the same picture.

Closed loops say how much the way costs (1 client) and how much gets through (16, 64). The open loop sends at the
pace of its own, so that waiting counts. Then a photograph of 12 megapixels against a picture of 512x512 with the same
hole: reading and writing included.
"""

import time
from functools import partial
from statistics import median

from models.catalog import Catalog
from models.engine import choose_device, open_engine, prepare_process
from models.glcic.complete import complete
from tests.benchmarks.client import Connection, Request, closed_loop, form, open_loop, stages_of
from tests.benchmarks.figures import Figure, against, baseline
from tests.benchmarks.pictures import hole, jpeg, picture, png
from tests.benchmarks.running import running_service

MODEL = "glcic-celeba"
SIDE, HOLE = 256, 64
CLIENTS = (1, 4, 16, 64)
SHARES = (0.5, 0.8)  # of what the bare network does: arrival rates of the open loop
SECONDS = 8.0  # about so long for each load
SMALL, LARGE, LARGE_HOLE = (512, 512), (4000, 3000), 120
ROUNDS = 9


def measure() -> list[Figure]:
    """Starts a service of its own."""
    seconds = _bare_network()
    bare = baseline(f"bare network, {SIDE}x{SIDE}", 1000 * median(seconds))
    fastest = baseline("bare network, pictures a second", len(seconds) / sum(seconds), "/s")
    figures = [bare, fastest]
    with running_service() as service:
        pixels, mask = picture(SIDE, SIDE), hole(SIDE, SIDE, HOLE)
        # By name, since choosing a model looks for faces, which the bare network does not.
        request = form("/inpaint", {"image": png(pixels), "mask": png(mask)}, strategy="original", model=MODEL)
        closed_loop(service.address, lambda _: request, 1, 3)
        for clients in CLIENTS:
            total = max(2 * clients, round(SECONDS * fastest.value))
            load = closed_loop(service.address, lambda _: request, clients, total)
            name = f"{clients} client{'s' if clients > 1 else ''}"
            figures.append(against(fastest, f"{name}, pictures a second", load.per_second))
            figures += [against(bare, f"{name}, p{q}", load.percentile(q)) for q in (50, 95, 99)]
            figures.append(Figure(f"{name}, errors of {total}", load.errors, "", "", 0.0))
        for share in SHARES:
            rate = share * fastest.value
            total = round(SECONDS * rate)
            load = open_loop(service.address, lambda _: request, rate, total)
            name = f"open loop, {rate:.1f} a second"
            figures += [against(bare, f"{name}, p{q}", load.percentile(q)) for q in (50, 95, 99)]
            figures.append(Figure(f"{name}, errors of {total}", load.errors, "", "", 0.0))
        figures += _large(service.address)
    return figures


def _bare_network() -> list[float]:
    """Seconds of each picture, one after the other, for as long as a load takes: neighbours come and go."""
    prepare_process()
    catalog = Catalog()
    engine = open_engine(catalog, catalog.get(MODEL), choose_device())
    pixels, mask = picture(SIDE, SIDE), hole(SIDE, SIDE, HOLE)
    run = partial(complete, pixels, mask, engine, strategy="original")
    run()  # the first is slow
    taken: list[float] = []
    while sum(taken) < SECONDS:
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return taken


def _large(address: str) -> list[Figure]:
    """The two sizes in turns, so that both meet the same neighbours; then where the time of the larger one goes."""
    figures = []
    with Connection(address) as connection:
        for kind in ("png", "jpeg"):
            small, large = (_photograph(*size, kind) for size in (SMALL, LARGE))
            answers = [(connection.send(small), connection.send(large)) for _ in range(ROUNDS)][1:]
            first, second = (median(answer.milliseconds for answer in each) for each in zip(*answers, strict=True))
            base = baseline(f"JPEG in, {kind.upper()} out, 512x512, hole 120x120", first)
            name = f"JPEG in, {kind.upper()} out, 4000x3000, hole 120x120"
            figures += [base, against(base, name, second)]
            stages = [stages_of(answer) for _, answer in answers]
            for stage in stages[0]:
                figures.append(against(base, f"  of it {stage}", median(each.get(stage, 0.0) for each in stages)))
    return figures


def _photograph(width: int, height: int, kind: str) -> Request:
    image, mask = jpeg(picture(width, height)), png(hole(width, height, LARGE_HOLE))
    return form("/inpaint", {"image": image, "mask": mask}, format=kind)
