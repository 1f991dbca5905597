"""Kill whatever can be killed while jobs are under way, over and over, and look whether anything came to harm.

    python -m tests.faults.chaos --kills 200 --jobs 2000 --seed 7

A real service (`inpaint serve`: supervisor, broker, two workers and their children, API, a training run) is sent small
pictures by clients that repeat a request until its job has ended. Meanwhile processes are killed (SIGKILL, SIGTERM),
frozen (SIGSTOP), and once the broker is gone for `--outage` seconds. After each round every job must have ended in
exactly the bytes of the undisturbed service, and ledger, storage and processes must be as if nothing had happened.
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from tests.e2e.service import Service
from tests.faults.audit import Audit, Books, examine
from tests.faults.clients import Clients, Manner, Order, Outcome, Sample, make_samples
from tests.faults.ports import free_port
from tests.faults.victims import KILLED, Victims, choose, peak_memory
from tests.models.training.pictures import write_pictures
from worker.settings import WorkerSettings

KILLS_A_ROUND = 10
MANNERS: tuple[Manner, ...] = ("poll", "wait", "follow", "cancel")
_MOST_OPEN = 40
_TRAINING_SECONDS = 300.0
_TRAINING = {
    "family": "dcgan",
    "dataset": "faces",
    "overrides": {
        "name": "chaos", "width": 4, "batch_size": 4, "epochs": 30, "checkpoint_seconds": 2, "log_every": 5,
        "preview_every": 1_000_000, "validate_every": 1_000_000,
    },
}  # fmt: skip


@dataclass
class Round:
    """One round's figures."""

    jobs: int
    faults: Counter[str] = field(default_factory=Counter)
    """By "SIGNAL victim"."""
    kills: int = 0
    under_load: int = 0
    """Faults that came while jobs were under way."""
    states: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    """Requests that had to be sent again."""
    slowest: float = 0.0
    training_attempts: int = 0
    seconds: float = 0.0
    api_mib: int = 0
    audit: Audit = field(default_factory=Audit)


class Chaos:
    """A service, those who use it and what happens to it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._rng = random.Random(seed)
        self._due = KILLED.keys() - {"training process"}  # each is killed once before chance alone decides
        data = folder / "data"
        for split, count in (("train", 12), ("val", 2)):
            write_pictures(data / "faces" / split, count)
        (data / "datasets.toml").write_text('faces = "faces"\n')
        port = free_port()
        self.victims = Victims(lambda: Service(data, port))
        self.url = self.victims.service.wait_until_ready()
        self._settings = WorkerSettings(redis_url=f"unix://{self.victims.service.socket}?db=0", data_dir=data)
        self._books = Books()
        self._samples: list[Sample] = []
        self._trained = ""
        self._number = 0

    def prepare(self, samples: int) -> None:
        """What the undisturbed service makes of each sample, and of the training run."""
        with httpx.Client(base_url=self.url, timeout=60) as http:
            for sample in make_samples(samples, self._rng.randrange(2**31)):
                answer = http.post("/inpaint", files=sample.files, data=sample.data)
                answer.raise_for_status()
                self._books.add(answer.headers["X-Job-Id"], "succeeded")
                self._samples.append(replace(sample, expected=answer.content))
            trained = self._train("undisturbed")
            assert trained["state"] == "succeeded", trained
            self._trained = trained["model"]

    def round(self, jobs: int, kills: int, outage: float, *, train: bool = True) -> Round:
        """Send `jobs`, do `kills` and more meanwhile, wait for all to end, and look."""
        start, found = time.monotonic(), Round(jobs)
        clients = Clients(self.url)
        with ThreadPoolExecutor(1) as pool:
            training = pool.submit(self._train, f"training-{self._number}") if train else None
            for portion in _portions(list(self._orders(jobs)), kills):
                clients.put(portion)
                self._disturb(found, clients)
            if outage:
                clients.put(self._orders(5))
                found.jobs += 5
                found.faults[f"no broker for {outage:g} s"] += 1
                self.victims.without_broker(outage)
            self.victims.settle()
            outcomes = clients.finish()
            self._close(found, outcomes, training)
        found.seconds = time.monotonic() - start
        return found

    def _orders(self, jobs: int) -> Iterator[Order]:
        for _ in range(jobs):
            self._number += 1
            name = f"chaos-{self._number:06d}-{self._rng.randrange(2**32):08x}"
            manner = self._rng.choices(MANNERS, (5, 3, 3, 1))[0]
            chance = random.Random(self._rng.random())
            yield Order(name, self._rng.choice(self._samples), manner, chance)

    def _disturb(self, found: Round, clients: Clients) -> None:
        """One kill, and before one in four another process is frozen. Waits while too much is left to do."""
        while clients.open() > _MOST_OPEN:
            time.sleep(0.05)
        for frozen in (True, False) if self._rng.random() < 0.25 else (False,):
            time.sleep(self._rng.uniform(0, 2))
            due = () if frozen else self._due
            fault = choose(self._rng, frozen=frozen, due=due)
            while not self.victims.suffer(fault):  # it is not there at the moment
                time.sleep(0.02)
                fault = choose(self._rng, frozen=frozen, due=due)
            if fault.kills:
                self._due.discard(fault.victim)
            found.faults[f"{fault.name} {fault.victim}"] += 1
            found.kills += fault.kills
            found.under_load += clients.open() > 0

    def _close(self, found: Round, outcomes: Sequence[Outcome], training: "Future[dict[str, Any]] | None") -> None:
        trained = training.result() if training else None
        for outcome in outcomes:
            found.states[outcome.state] += 1
            found.slowest = max(found.slowest, outcome.seconds)
            found.retries += sum(n for status, n in outcome.statuses.items() if status not in ("200", "202", "204"))
            self._books.add(outcome.job, outcome.state)
        found.audit = examine(outcomes, self._books, self.victims, self._settings)
        if trained is not None:
            found.training_attempts = trained["attempts"]
            if trained["state"] != "succeeded":
                found.audit.lost.append(f"training run {trained}")
            elif trained["model"] != self._trained:
                found.audit.wrong.append(f"training made {trained['model']} instead of {self._trained}")
        api = self.victims.find("API")
        found.api_mib = peak_memory(api) if api else 0

    def _train(self, name: str) -> dict[str, Any]:
        """A training run from its start to its end: `state`, `model` and `attempts`."""
        deadline = time.monotonic() + _TRAINING_SECONDS
        run = ""
        with httpx.Client(base_url=self.url, timeout=40) as http:
            while time.monotonic() < deadline:
                try:
                    if run:
                        answer = http.get(f"/training-runs/{run}")
                    else:
                        answer = http.post("/training-runs", json=_TRAINING, headers={"Idempotency-Key": name})
                    if answer.status_code not in (429, 503):
                        answer.raise_for_status()
                        view = answer.json()
                        run = view["id"]
                        self._books.add(run, view["state"])
                        if view["state"] in ("succeeded", "failed", "cancelled"):
                            attempts = http.get(f"/jobs/{run}").json()["attempts"]
                            return {
                                "state": view["state"],
                                "model": view["model"],
                                "failure": view["failure"],
                                "attempts": attempts,
                            }
                except httpx.TransportError:
                    pass
                time.sleep(0.5)
        return {"state": "stuck", "run": run, "attempts": 0}


def run(kills: int, jobs: int, seed: int, outage: float, folder: Path, console: Console | None = None) -> list[Round]:
    """All rounds; the service is stopped at the end, and nothing of it is left."""
    chaos = Chaos(folder, seed)
    try:
        chaos.prepare(samples=12)
        rounds: list[Round] = []
        count = max(1, round(kills / KILLS_A_ROUND))
        for number in range(count):
            found = chaos.round(
                jobs * (number + 1) // count - jobs * number // count,
                kills * (number + 1) // count - kills * number // count,
                outage if number == count // 2 else 0.0,
            )
            rounds.append(found)
            if console:
                _tell(console, number, found)
    except BaseException:
        chaos.victims.settle()
        chaos.victims.service.kill()
        raise
    assert chaos.victims.end() == 0, "The service did not stop in good order."
    return rounds


def summary(rounds: Sequence[Round]) -> dict[str, Any]:
    """All rounds as one."""
    faults = sum((found.faults for found in rounds), Counter())
    states = sum((found.states for found in rounds), Counter())
    return {
        "jobs": sum(found.jobs for found in rounds),
        "kills": sum(found.kills for found in rounds),
        "other faults": faults.total() - sum(found.kills for found in rounds),
        "faults while jobs were under way": sum(found.under_load for found in rounds),
        "faults": dict(faults.most_common()),
        "states": dict(states),
        "training runs": sum(bool(found.training_attempts) for found in rounds),
        "training attempts": sum(found.training_attempts for found in rounds),
        "requests sent again": sum(found.retries for found in rounds),
        "slowest job, s": round(max(found.slowest for found in rounds), 1),
        "stray files removed": sum(found.audit.strays for found in rounds),
        "API, most memory, MiB": max(found.api_mib for found in rounds),
        "seconds": round(sum(found.seconds for found in rounds)),
        **{
            name: sum(len(getattr(found.audit, name)) for found in rounds)
            for name in ("lost", "wrong", "stuck", "untidy", "surprises")
        },
    }


def _tell(console: Console, number: int, found: Round) -> None:
    console.print(
        f"round {number + 1:>2}: {found.jobs} jobs, {dict(found.states)}, {found.kills} kills "
        f"{dict(found.faults)}, training in {found.training_attempts} attempts, {found.audit.strays} strays, "
        f"{found.seconds:.0f} s, {'all well' if found.audit.faultless() else asdict(found.audit)}"
    )


def _plain(found: Round) -> dict[str, Any]:
    """For JSON. `asdict` alone takes a Counter's pairs for things to count."""
    return asdict(replace(found, faults=dict(found.faults), states=dict(found.states)))  # type: ignore[arg-type]


def _portions(orders: list[Order], count: int) -> Iterator[list[Order]]:
    for number in range(count):
        yield orders[len(orders) * number // count : len(orders) * (number + 1) // count]


def main() -> int:
    """The command; its exit code is 1 where anything came to harm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--outage", type=float, default=30.0, help="seconds without a broker, once")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    os.environ.pop("PORT", None)
    with tempfile.TemporaryDirectory(prefix="inpaint-chaos-") as folder:
        rounds = run(arguments.kills, arguments.jobs, arguments.seed, arguments.outage, Path(folder), console)
    figures = summary(rounds)
    table = Table("", "", show_header=False)
    for name, value in figures.items():
        if name == "faults":
            value = "\n".join(f"{count:>4} {fault}" for fault, count in value.items())
        table.add_row(name, str(value))
    console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps({**figures, "rounds": [_plain(found) for found in rounds]}, indent=2))
    return 0 if all(found.audit.faultless() for found in rounds) else 1


if __name__ == "__main__":
    raise SystemExit(main())
