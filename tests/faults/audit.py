"""What must hold when the dust has settled: in the ledger, in storage, and among the processes."""

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.clients import Outcome
from tests.faults.victims import Victims
from worker.connection import connect
from worker.contracts import INFERENCE_QUEUE, TRAINING_QUEUE
from worker.ledger import Ledger
from worker.settings import WorkerSettings
from worker.storage import Storage
from worker.watch import tidy

_LIFE = re.compile(r"q(rp*q)*(rp*)?[sfc]")
"""A job's events by first letter: it waits and runs in turn, and ends once."""

_ONE_EACH = {"app.commands.worker": 2, "app.commands.api": 1, "valkey-server": 1, "models.training.start": 0}
_PATIENCE_SECONDS = 60.0


@dataclass
class Audit:
    """What was found after a round; all but the last two must be empty or zero."""

    lost: list[str] = field(default_factory=list)
    """Accepted, and nobody knows it, or it failed for what was done to the workers."""
    wrong: list[str] = field(default_factory=list)
    """Other bytes than the undisturbed service gives."""
    stuck: list[str] = field(default_factory=list)
    """Not ended in time."""
    untidy: list[str] = field(default_factory=list)
    """A second end, a lease, a file or a process that nobody needs."""
    surprises: list[str] = field(default_factory=list)
    """Answers that are not documented."""
    strays: int = 0
    """Files that killed processes had left; the tidying that workers do every ten minutes has removed them."""
    unacknowledged: int = 0
    """Messages that Celery still counts as taken by a worker that is no more. They do no harm and come again later."""

    def faultless(self) -> bool:
        return not (self.lost or self.wrong or self.stuck or self.untidy or self.surprises)


@dataclass
class Books:
    """What should be there by now."""

    jobs: set[str] = field(default_factory=set)
    results: set[str] = field(default_factory=set)
    """Of `jobs`, those that have one."""

    def add(self, job: str, state: str) -> None:
        self.jobs.add(job)
        if state == "succeeded":
            self.results.add(job)


def examine(outcomes: Sequence[Outcome], books: Books, victims: Victims, settings: WorkerSettings) -> Audit:
    """Looks at everything, once all jobs of `books`, among them those of `outcomes`, have ended. Removes strays."""
    audit = Audit()
    with connect(settings.redis_url) as client:
        ledger, storage = Ledger(client, settings), Storage(settings.storage_dir)
        for outcome in outcomes:
            _examine_job(outcome, ledger, audit)
        known = {key.rpartition(":")[2] for key in client.scan_iter("inpaint:job:*", count=1000)}
        audit.untidy += [f"the ledger and the senders differ about {job}" for job in sorted(known ^ books.jobs)]
        for queue in (INFERENCE_QUEUE, TRAINING_QUEUE):
            for place in ("queued", "running"):
                audit.untidy += [f"{job} is {place}" for job in client.zrange(f"inpaint:{place}:{queue}", 0, -1)]
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while client.llen(queue) and time.monotonic() < deadline:
                time.sleep(0.2)
            audit.untidy += [f"a message lies in {queue}"] * int(client.llen(queue))
        audit.unacknowledged = int(client.hlen("unacked"))

        audit.strays = len(tidy(storage, ledger, stray_seconds=0))
        files = {path.name for path in settings.storage_dir.rglob("*") if path.is_file()}
        audit.untidy += [f"storage and the senders differ about {name}" for name in sorted(files ^ books.results)]
    audit.untidy += _superfluous(victims)
    return audit


def _examine_job(outcome: Outcome, ledger: Ledger, audit: Audit) -> None:
    audit.surprises += outcome.surprises
    allowed = ("succeeded", "cancelled") if outcome.order.manner == "cancel" else ("succeeded",)
    if outcome.state == "stuck":
        audit.stuck.append(f"{outcome.job or outcome.order.id} after {outcome.seconds:.0f} s: {outcome.statuses}")
        return
    if outcome.state not in allowed:
        audit.lost.append(f"{outcome.job} {outcome.state}")
        return
    if not outcome.right:
        audit.wrong.append(outcome.job)
    events = ledger.events(outcome.job)
    if not _LIFE.fullmatch("".join(event.type[0] for event in events)):
        audit.untidy.append(f"{outcome.job} lived as {[event.type for event in events]}")
    if outcome.order.manner == "follow" and outcome.events != [(event.id, event.type) for event in events]:
        audit.wrong.append(f"{outcome.job}: its followers were told {outcome.events}")


def _superfluous(victims: Victims) -> list[str]:
    """Processes of which there are not as many as there should be, once those just started have come."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        commands = victims.service.processes().values()
        found = Counter({word: sum(word in command for command in commands) for word in _ONE_EACH})
        if found == Counter(_ONE_EACH):
            return []
        if time.monotonic() > deadline:
            return [f"processes: {dict(found)}"]
        time.sleep(0.2)
