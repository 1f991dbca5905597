"""A crowd at the door: one key's many clients and another key's one, against a queue that is too short for them.

    python -m tests.benchmarks.crowd [--clients 64] [--seconds 120] [--queue 32]

Starts a service of its own. Each client sends the next picture when it has heard of the one before, and obeys
`Retry-After`. Every answer must be 200, 202 or 429, and every accepted job must end well, else the exit status is 1.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

import httpx

from app.keys import Scope, make_key
from tests.e2e.service import Service, form


@dataclass
class Key:
    """A key, and what its clients lived through."""

    plain: str
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    """From each picture's sending to its result."""
    jobs: list[str] = field(default_factory=list)
    told_to_wait: Counter[int] = field(default_factory=Counter)


async def send_pictures(http: httpx.AsyncClient, key: Key, until: float) -> None:
    """One client."""
    files, headers = form(96, 24), {"X-API-Key": key.plain, "Prefer": "wait=30"}
    while (start := time.monotonic()) < until:
        answer = await http.post("/inpaint", files=files, data={"strategy": "original"}, headers=headers)
        key.statuses[answer.status_code] += 1
        if answer.status_code in (200, 202):
            key.jobs.append(answer.headers["x-job-id"])
        if answer.status_code == 200:
            key.seconds.append(time.monotonic() - start)
        if answer.status_code == 429:
            key.told_to_wait[int(answer.headers["retry-after"])] += 1
            await asyncio.sleep(int(answer.headers["retry-after"]))


async def states(http: httpx.AsyncClient, key: Key) -> Counter[str]:
    """How its jobs ended; those under way are waited for."""
    found: Counter[str] = Counter()
    for job_id in key.jobs:
        while True:
            state = (await http.get(f"/jobs/{job_id}", headers={"X-API-Key": key.plain})).json()["state"]
            if state not in ("queued", "running"):
                break
            await asyncio.sleep(0.2)
        found[state] += 1
    return found


async def crowd(url: str, many: Key, one: Key, clients: int, seconds: float) -> bool:
    """Whether all was as promised; prints what happened."""
    limits = httpx.Limits(max_connections=clients + 10)
    fine = True
    async with httpx.AsyncClient(base_url=url, timeout=90, limits=limits) as http:
        until = time.monotonic() + seconds
        await asyncio.gather(*(send_pictures(http, one if n == 0 else many, until) for n in range(clients)))
        for name, key in ((f"{clients - 1} clients of one key", many), ("1 client of another", one)):
            ended = await states(http, key)
            print(f"{name}: answers {dict(key.statuses)}, jobs {dict(ended)}, Retry-After {dict(key.told_to_wait)}")
            print(f"  to the result: median {median(key.seconds):.2f} s, 95 % {quantiles(key.seconds, n=20)[18]:.2f} s")
            fine = fine and key.statuses.keys() <= {200, 202, 429} and ended.keys() == {"succeeded"}
    return fine


def main() -> int:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--queue", type=int, default=32)
    arguments = parser.parse_args()
    made = [make_key(name, [Scope.USE]) for name in ("many", "one")]
    with tempfile.TemporaryDirectory(prefix="inpaint-crowd-") as folder:
        entries = ",".join(key.entry for _, key in made)
        service = Service(Path(folder, "data"), API_KEYS=entries, QUEUE_LIMIT=str(arguments.queue))
        try:
            url = service.wait_until_ready()
            keys = [Key(plain) for plain, _ in made]
            fine = asyncio.run(crowd(url, keys[0], keys[1], arguments.clients, arguments.seconds))
        finally:
            service.stop()
    print("As promised." if fine else "NOT as promised.")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
