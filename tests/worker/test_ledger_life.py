"""The life of a job in any order of events, against a real broker."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.worker.conftest import FAILURE, INPAINT, RESULT, TRAINING
from worker.connection import connect
from worker.contracts import INFERENCE_QUEUE, TRAINING_QUEUE, Job, JobState, Progress
from worker.ledger import Lease, Ledger
from worker.settings import WorkerSettings


class Life(RuleBasedStateMachine):
    """Any order of events: every job stands in exactly one place, and what was promised about it holds."""

    redis_url: str
    settings: WorkerSettings
    requests = (INPAINT, INPAINT, TRAINING)

    def __init__(self) -> None:
        super().__init__()
        self.client = connect(self.redis_url)
        self.client.flushall()
        self.ledger = Ledger(self.client, self.settings)
        for number, request in enumerate(self.requests):
            self.ledger.submit(f"j{number}", request, owner=f"owner{number % 2}")
        self.leases: list[Lease] = []
        self.current: dict[str, str] = {}
        self.ended: dict[str, Job] = {}

    def teardown(self) -> None:
        self.client.close()

    @rule(number=st.integers(0, 2), process=st.integers(1, 3))
    def lease(self, number: int, process: int) -> None:
        if lease := self.ledger.lease(f"j{number}", f"node:{process}"):
            self.hold(lease)

    @rule(queue=st.sampled_from([INFERENCE_QUEUE, TRAINING_QUEUE]), process=st.integers(1, 3))
    def lease_next(self, queue: str, process: int) -> None:
        if lease := self.ledger.lease_next(queue, f"node:{process}"):
            self.hold(lease)
        else:
            assert self.ledger.depth(queue) == 0

    @rule(kind=st.sampled_from(["inpaint", "training"]), limit=st.integers(0, 2))
    def lease_waiting(self, kind: str, limit: int) -> None:
        for lease in self.ledger.lease_waiting(kind, limit, "node:3"):
            self.hold(lease)

    def hold(self, lease: Lease) -> None:
        self.leases.append(lease)
        self.current[lease.job.id] = lease.token

    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        """With any lease that ever was; with an old one nothing is written."""
        if self.leases:
            lease = data.draw(st.sampled_from(self.leases))
            before = self.ledger.get(lease.job.id)
            verb = data.draw(
                st.sampled_from(["renew", "progress", "succeed", "fail", "acknowledge", "release", "lose"])
            )
            match verb:
                case "renew":
                    self.ledger.renew(lease)
                case "progress":
                    self.ledger.progress(lease, Progress(done=1, total=2))
                case "succeed":
                    self.ledger.succeed(lease, RESULT)
                case "fail":
                    self.ledger.fail(lease, FAILURE)
                case "acknowledge":
                    self.ledger.acknowledge_cancel(lease)
                case "release":
                    self.ledger.release(lease)
                case "lose":
                    self.ledger.lose(lease)
            assert lease.token == self.current[lease.job.id] or self.ledger.get(lease.job.id) == before

    @rule(number=st.integers(0, 2))
    def cancel(self, number: int) -> None:
        self.ledger.cancel(f"j{number}")

    @rule(living=st.sets(st.sampled_from(["node:1", "node:2", "node:3"])))
    def bury(self, living: set[str]) -> None:
        self.ledger.bury("node", living)

    @rule()
    def leave(self) -> None:
        self.ledger.leave("node")

    @rule()
    def sweep(self) -> None:
        self.ledger.sweep()

    @invariant()
    def every_job_is_in_its_one_place(self) -> None:
        places: dict[str, str] = {}
        for place in ("queued:inference", "running:inference", "queued:training", "running:training", "ended"):
            for job_id in self.client.zrange(f"inpaint:{place}", 0, -1):
                assert job_id not in places, f"{job_id} is in {places[job_id]} and in {place}"
                places[job_id] = place
        assert len(places) == len(self.requests)
        for number in range(len(self.requests)):
            job = self.ledger.get(f"j{number}")
            queue = INFERENCE_QUEUE if number < 2 else TRAINING_QUEUE
            waits = self.client.zscore(f"inpaint:queued:{queue}:{job.owner}", job.id) is not None
            assert waits == (job.state is JobState.QUEUED)
            assert places[job.id].split(":")[0] == ("ended" if job.state.ended else job.state.value)
            assert 0 <= job.attempts <= 3
            assert job.state is not JobState.FAILED or job.failure is not None
            assert job.state is not JobState.SUCCEEDED or job.result == RESULT
            assert self.ended.setdefault(job.id, job) == job if job.state.ended else job.id not in self.ended


@pytest.fixture
def life(redis_url: str, settings: WorkerSettings) -> Iterator[type[Life]]:
    Life.redis_url, Life.settings = redis_url, settings.model_copy(update={"lease_seconds": 60})
    yield Life
    del Life.redis_url, Life.settings


def test_no_order_of_events_loses_a_job(life: type[Life]) -> None:
    """Whatever workers, callers and sweepers do, a job is queued, running or ended, and ends once."""
    run_state_machine_as_test(
        life,
        settings=hypothesis_settings(
            max_examples=30,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
