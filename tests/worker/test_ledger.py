"""The life of a job, against a real broker."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from tests.worker.conftest import FAILURE, INPAINT, RESULT, SAMPLE, TRAINING
from worker import ledger as ledger_module
from worker.connection import connect
from worker.contracts import INFERENCE_QUEUE, TRAINING_QUEUE, Job, JobState, Progress
from worker.ledger import (
    CHANNEL,
    IdempotencyConflictError,
    Lease,
    Ledger,
    QueueFullError,
    QueueStats,
    RenewState,
    SweepReport,
    Told,
    UnknownJobError,
    WorkerInfo,
    process_name,
)
from worker.settings import WorkerSettings

Submit = Callable[..., Job]


def leased(ledger: Ledger, job: Job, worker: str = "node:1") -> Lease:
    lease = ledger.lease(job.id, worker)
    assert lease is not None
    return lease


def sweep_until(ledger: Ledger, found: Callable[[SweepReport], bool]) -> SweepReport:
    for _ in range(300):
        if found(report := ledger.sweep(grace_seconds=0.2)):
            return report
        time.sleep(0.02)
    raise AssertionError("The sweep found nothing.")


def test_a_broker_may_start_anew_in_the_middle_of_a_call(
    ledger: Ledger, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new one does not know the script; one that is killed right after it was taught it, neither: no call fails."""
    job = submit()
    client, taught = ledger._client, []

    def teach_and_restart(script: str) -> object:
        taught.append(client.execute_command("SCRIPT LOAD", script))
        if len(taught) < 3:
            client.script_flush()
        return taught[-1]

    monkeypatch.setattr(client, "script_load", teach_and_restart)
    client.script_flush()
    assert ledger.get(job.id) == job
    assert len(taught) == 3


class TestSubmit:
    def test_an_accepted_job_can_be_read_as_it_was_sent(self, ledger: Ledger) -> None:
        """Everything in a request survives the ledger."""
        for number, request in enumerate((INPAINT, SAMPLE, TRAINING)):
            job = ledger.submit(f"a{number}", request, owner="me", fingerprint="f")
            assert job == ledger.get(job.id)
            assert (job.request, job.owner, job.fingerprint, job.state) == (request, "me", "f", JobState.QUEUED)
            assert job.attempts == 0
            assert abs(job.created_at - time.time()) < 5

    def test_the_same_request_again_is_the_same_job(self, ledger: Ledger) -> None:
        """The same id and fingerprint give the job that exists, in whatever state it is, and enter nothing twice."""
        first = ledger.submit("a", INPAINT, fingerprint="f")
        assert ledger.submit("a", INPAINT, fingerprint="f") == first
        ledger.succeed(leased(ledger, first), RESULT)
        assert ledger.submit("a", INPAINT, fingerprint="f").state is JobState.SUCCEEDED
        assert ledger.depth(INFERENCE_QUEUE) == 0

    @pytest.mark.parametrize("other", [{"fingerprint": "g"}, {"fingerprint": "f", "owner": "somebody else"}])
    def test_another_request_under_a_used_id_is_refused(self, ledger: Ledger, other: dict[str, str]) -> None:
        """An id names one request of one owner."""
        ledger.submit("a", INPAINT, fingerprint="f")
        with pytest.raises(IdempotencyConflictError):
            ledger.submit("a", INPAINT, **other)

    def test_a_full_queue_refuses_and_says_when_to_come_back(self, ledger: Ledger, submit: Submit) -> None:
        """The limit counts jobs that wait in this queue; room appears when one is leased."""
        jobs = [submit() for _ in range(20)]
        with pytest.raises(QueueFullError) as refusal:
            submit()
        assert 1 <= refusal.value.retry_after <= 60
        with pytest.raises(QueueFullError):
            ledger.check_room(INFERENCE_QUEUE)
        submit(TRAINING)
        leased(ledger, jobs[0])
        ledger.check_room(INFERENCE_QUEUE)
        submit()

    def test_many_at_once_never_exceed_the_limit(self, ledger: Ledger) -> None:
        """Forty threads race for twenty places: twenty win."""

        def try_one(number: int) -> bool:
            try:
                ledger.submit(f"r{number}", INPAINT)
            except QueueFullError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(try_one, range(40))) == 20
        assert ledger.depth(INFERENCE_QUEUE) == 20

    def test_an_unknown_job_is_said_to_be_unknown(self, ledger: Ledger) -> None:
        """Asking for it or cancelling it raises; it has no position and no events; nobody can lease it."""
        with pytest.raises(UnknownJobError):
            ledger.get("nobody")
        with pytest.raises(UnknownJobError):
            ledger.cancel("nobody")
        assert ledger.position("nobody") is None
        assert ledger.events("nobody") == []
        assert ledger.lease("nobody", "node:1") is None


class TestLease:
    def test_a_leased_job_runs_and_ends_with_its_result(self, ledger: Ledger, submit: Submit) -> None:
        """queued -> running -> succeeded, with times in order."""
        lease = leased(ledger, submit())
        running = ledger.get(lease.job.id)
        assert (running.state, running.attempts, lease.attempt) == (JobState.RUNNING, 1, 1)
        assert ledger.progress(lease, Progress(done=1, total=4, message="half", details={"loss": 0.5}))
        assert ledger.get(lease.job.id).progress == Progress(done=1, total=4, message="half", details={"loss": 0.5})
        assert ledger.succeed(lease, RESULT)
        job = ledger.get(lease.job.id)
        assert (job.state, job.result) == (JobState.SUCCEEDED, RESULT)
        assert job.started_at is not None
        assert job.finished_at is not None
        assert job.created_at <= job.started_at <= job.finished_at

    def test_a_job_that_cannot_be_done_says_why(self, ledger: Ledger, submit: Submit) -> None:
        """queued -> running -> failed, with the reason in the record and in the event."""
        lease = leased(ledger, submit())
        assert ledger.fail(lease, FAILURE)
        assert ledger.get(lease.job.id).failure == FAILURE
        assert ledger.events(lease.job.id)[-1].failure == FAILURE

    def test_one_of_many_gets_the_job(self, ledger: Ledger, submit: Submit) -> None:
        """Sixteen workers race for each job: one lease a job."""
        jobs = [submit() for _ in range(5)]
        with ThreadPoolExecutor(16) as pool:
            for job in jobs:
                leases = list(pool.map(lambda number, job=job: ledger.lease(job.id, f"node:{number}"), range(16)))
                assert sum(lease is not None for lease in leases) == 1

    def test_who_asks_again_gets_the_same_lease(self, ledger: Ledger, submit: Submit) -> None:
        """The answer to a lease may be lost on the way; asking again is not another attempt."""
        job = submit()
        assert leased(ledger, job).token == leased(ledger, job).token
        assert ledger.get(job.id).attempts == 1

    def test_ending_may_be_said_twice(self, ledger: Ledger, submit: Submit) -> None:
        """The answer to `succeed` may be lost on the way; saying it again is a success, and no second event."""
        lease = leased(ledger, submit())
        assert ledger.succeed(lease, RESULT)
        assert ledger.succeed(lease, RESULT)
        assert not ledger.fail(lease, FAILURE)
        assert [event.type for event in ledger.events(lease.job.id)] == ["queued", "running", "succeeded"]

    def test_more_of_the_same_kind_come_oldest_first(self, ledger: Ledger, submit: Submit) -> None:
        """A batch holds waiting jobs of one kind, in order; those of other kinds keep waiting."""
        first, sample, second, third, training = submit(), submit(SAMPLE), submit(), submit(), submit(TRAINING)
        assert [lease.job.id for lease in ledger.lease_waiting("inpaint", 2, "node:1")] == [first.id, second.id]
        assert [lease.job.id for lease in ledger.lease_waiting("inpaint", 9, "node:2")] == [third.id]
        assert [lease.job.id for lease in ledger.lease_waiting("sample", 9, "node:2")] == [sample.id]
        assert [lease.job.id for lease in ledger.lease_waiting("training", 9, "node:2")] == [training.id]

    def test_a_job_that_lost_a_worker_is_in_no_batch(self, ledger: Ledger, submit: Submit) -> None:
        """It may be what killed its worker, so it runs alone; a job that was given back is innocent."""
        suspect, innocent = submit(), submit()
        ledger.lose(leased(ledger, suspect))
        ledger.release(leased(ledger, innocent))
        assert [lease.job.id for lease in ledger.lease_waiting("inpaint", 9, "node:1")] == [innocent.id]
        assert leased(ledger, suspect).attempt == 2


class TestTurns:
    """Owners take turns."""

    @pytest.fixture
    def settings(self, settings: WorkerSettings) -> WorkerSettings:
        return settings.model_copy(update={"queue_limit": 1000, "lease_seconds": 60})

    def run_next(self, ledger: Ledger) -> str:
        """The owner of the job that a free worker gets."""
        lease = ledger.lease_next(INFERENCE_QUEUE, "node:1")
        assert lease is not None
        assert ledger.succeed(lease, RESULT)
        return lease.job.owner

    def test_one_job_does_not_wait_for_anothers_two_hundred(self, ledger: Ledger, submit: Submit) -> None:
        """It is told so by its position, and is run as the first or the second."""
        for _ in range(200):
            submit(owner="many")
        self.run_next(ledger)
        one = submit(owner="one")
        assert ledger.position(one.id) in (0, 1)
        assert "one" in [self.run_next(ledger), self.run_next(ledger)]

    def test_each_owner_has_one_turn_a_round(self, ledger: Ledger, submit: Submit) -> None:
        """However many each has sent, oldest first, and positions say what happens."""
        jobs = [submit(owner=owner) for owner in "aaaabbc"]
        places = {ledger.position(job.id): job.owner for job in jobs}
        owners = [self.run_next(ledger) for _ in jobs]
        assert owners == [places[number] for number in range(7)]
        assert [sorted(owners[:3]), sorted(owners[3:5]), owners[5:]] == [["a", "b", "c"], ["a", "b"], ["a", "a"]]
        finished = [ledger.get(job.id).finished_at or 0 for job in jobs]
        assert finished[:4] == sorted(finished[:4])

    def test_who_always_comes_back_overtakes_nobody(self, ledger: Ledger, submit: Submit) -> None:
        """An owner whose next job comes as soon as the one before is taken has half of the turns, not all."""
        for _ in range(10):
            submit(owner="many")
        ran = []
        for _ in range(10):
            if ran[-1:] != ["many"]:
                submit(owner="eager")
            ran.append(self.run_next(ledger))
        assert 4 <= ran.count("many") <= 6, ran

    def test_a_long_absence_earns_no_credit(self, ledger: Ledger, submit: Submit) -> None:
        """Who was away while another worked comes back to every second turn, not to all that it missed."""
        submit(owner="away")
        self.run_next(ledger)
        for _ in range(20):
            submit(owner="many")
        for _ in range(10):
            self.run_next(ledger)
        for _ in range(10):
            submit(owner="away")
        ran = [self.run_next(ledger) for _ in range(8)]
        assert 3 <= ran.count("many") <= 5, ran

    def test_a_batch_is_shared(self, ledger: Ledger, submit: Submit) -> None:
        """What runs together is taken by turns too."""
        for owner in "aaaaaabb":
            submit(owner=owner)
        batch = ledger.lease_waiting("inpaint", 4, "node:1")
        assert sorted(lease.job.owner for lease in batch) == ["a", "a", "b", "b"]

    def test_a_worker_that_holds_a_job_gets_it_again(self, ledger: Ledger, submit: Submit) -> None:
        """The answer to a lease may be lost on the way; what it gave is not lost with it."""
        first, second = submit(), submit()
        leases = [ledger.lease_next(INFERENCE_QUEUE, "node:1") for _ in range(2)]
        assert [lease and lease.job.id for lease in leases] == [first.id, first.id]
        assert ledger.get(first.id).attempts == 1
        other = ledger.lease_next(INFERENCE_QUEUE, "node:2")
        assert other is not None
        assert other.job.id == second.id
        assert ledger.lease_next(INFERENCE_QUEUE, "node:3") is None

    def test_nobody_fills_the_queue_for_others(self, settings: WorkerSettings, client: redis.Redis) -> None:
        """One owner may have as many waiting as there are places left; there is one for who comes next."""
        small = Ledger(client, settings.model_copy(update={"queue_limit": 8}))

        def fill(owner: str) -> int:
            for number in range(9):
                try:
                    small.submit(f"{owner}{number}", INPAINT, owner=owner)
                except QueueFullError:
                    return number
            return 9

        assert [fill("a"), fill("b"), fill("c"), fill("d"), fill("e")] == [4, 2, 1, 1, 0]
        assert small.depth(INFERENCE_QUEUE) == 8

    def test_a_full_queue_is_judged_by_how_fast_jobs_end(self, settings: WorkerSettings, client: redis.Redis) -> None:
        """Twelve waiting jobs at 0.4 s each are a quarter less in 1.2 s; that nobody came meanwhile is no slowness."""
        small = Ledger(client, settings.model_copy(update={"queue_limit": 12}))
        for number in range(3):
            small.submit(f"before{number}", INPAINT)
            time.sleep(0.3)  # nothing runs
            lease = small.lease_next(INFERENCE_QUEUE, "node:1")
            assert lease is not None
            time.sleep(0.4)
            small.succeed(lease, RESULT)
        for number in range(12):
            small.submit(f"j{number}", INPAINT)
        with pytest.raises(QueueFullError) as refusal:
            small.submit("more", INPAINT)
        assert refusal.value.retry_after == 2


class TestDeadlines:
    """`cancel_after`"""

    def failed_so(self, job: Job) -> bool:
        return job.state is JobState.FAILED and job.failure is not None and job.failure.type == "deadline"

    def test_a_job_that_waits_too_long_fails(self, ledger: Ledger, submit: Submit) -> None:
        """Who asks is told so, though no worker is there; nobody can run it any more."""
        job = submit(cancel_after=0.1)
        assert job.deadline is not None
        assert abs(job.deadline - job.created_at - 0.1) < 0.01
        assert ledger.get(job.id).state is JobState.QUEUED
        time.sleep(0.12)
        assert self.failed_so(ledger.get(job.id))
        assert ledger.events(job.id)[-1].failure == ledger.get(job.id).failure
        assert ledger.depth(INFERENCE_QUEUE) == 0

    def test_nobody_runs_a_job_whose_time_is_over(self, ledger: Ledger, submit: Submit) -> None:
        """Neither as the next, nor in a batch, nor after its worker was lost; a sweep ends what nobody asks for."""
        late, swept, lost = submit(cancel_after=0.1), submit(cancel_after=0.1), submit(cancel_after=0.1)
        in_time = submit(cancel_after=60)
        leased(ledger, lost)
        time.sleep(0.12)
        assert [lease.job.id for lease in ledger.lease_waiting("inpaint", 9, "node:2")] == [in_time.id]
        assert ledger.lease_next(INFERENCE_QUEUE, "node:3") is None
        ledger.bury("node", ["node:2"])
        ledger.sweep()
        assert all(self.failed_so(ledger.get(job.id)) for job in (late, swept, lost))

    def test_a_running_job_is_asked_to_stop(self, ledger: Ledger, submit: Submit) -> None:
        """Its worker hears it as a cancel; the record says that it was the deadline, however often it is told."""
        lease = leased(ledger, submit(cancel_after=0.1))
        assert ledger.renew(lease) is RenewState.HELD
        time.sleep(0.12)
        assert ledger.renew(lease) is RenewState.CANCEL_REQUESTED
        assert ledger.acknowledge_cancel(lease)
        assert ledger.acknowledge_cancel(lease)
        assert self.failed_so(ledger.get(lease.job.id))

    def test_what_was_cancelled_before_stays_cancelled(self, ledger: Ledger, submit: Submit) -> None:
        """The caller's word comes before the clock's; so does a result that was ready anyway."""
        cancelled, done = leased(ledger, submit(cancel_after=0.1)), leased(ledger, submit(cancel_after=0.1))
        ledger.cancel(cancelled.job.id)
        time.sleep(0.12)
        assert ledger.acknowledge_cancel(cancelled)
        assert ledger.get(cancelled.job.id).state is JobState.CANCELLED
        assert ledger.succeed(done, RESULT)
        assert ledger.get(done.job.id).state is JobState.SUCCEEDED


class TestLostLeases:
    def test_a_lease_that_runs_out_puts_the_job_back_in_its_place(self, ledger: Ledger, submit: Submit) -> None:
        """The job is queued again before all that came later, and its message is to be sent again."""
        first, second = submit(), submit()
        leased(ledger, first)
        report = sweep_until(ledger, lambda report: bool(report.lost))
        assert report.lost == [first.id]
        assert (first.id, INFERENCE_QUEUE) in report.unpublished
        assert (ledger.position(first.id), ledger.position(second.id)) == (0, 1)
        assert leased(ledger, first, "node:2").attempt == 2

    def test_a_renewed_lease_does_not_run_out(self, ledger: Ledger, submit: Submit) -> None:
        """Renewing for three times its length keeps it."""
        lease = leased(ledger, submit())
        end = time.monotonic() + 0.9
        while time.monotonic() < end:
            assert ledger.renew(lease) is RenewState.HELD
            assert not ledger.sweep(grace_seconds=0.2).lost
            time.sleep(0.05)

    def test_a_worker_taken_for_dead_can_write_nothing(self, ledger: Ledger, submit: Submit) -> None:
        """Only the current lease's token counts, whatever the old holder tries, before and after the new one ends."""
        job = submit()
        old = leased(ledger, job)
        ledger.bury("node", [])
        new = leased(ledger, job, "node:2")

        def nothing_works() -> None:
            assert ledger.renew(old) is RenewState.LOST
            assert not ledger.progress(old, Progress(done=1, total=2))
            assert not ledger.fail(old, FAILURE)
            assert not ledger.succeed(old, RESULT)
            assert not ledger.acknowledge_cancel(old)
            assert not ledger.release(old)
            assert not ledger.lose(old)

        nothing_works()
        assert ledger.get(job.id).state is JobState.RUNNING
        assert ledger.succeed(new, RESULT)
        nothing_works()
        assert ledger.get(job.id).state is JobState.SUCCEEDED

    def test_a_job_that_loses_all_its_workers_fails(self, ledger: Ledger, submit: Submit) -> None:
        """After `max_attempts` it ends as `worker-lost`, and its record says how often it was tried."""
        job = submit()
        for _ in range(3):
            leased(ledger, job)
            assert ledger.bury("node", []) == [job.id]
        ended = ledger.get(job.id)
        assert (ended.state, ended.attempts) == (JobState.FAILED, 3)
        assert ended.failure is not None
        assert ended.failure.type == "worker-lost"
        assert ledger.lease(job.id, "node:1") is None

    def test_what_is_given_back_does_not_count(self, ledger: Ledger, submit: Submit) -> None:
        """Any number of graceful stops leave the job its attempts."""
        job = submit()
        for _ in range(5):
            assert ledger.release(leased(ledger, job))
        for _ in range(5):
            leased(ledger, job)
            assert ledger.leave("node") == [job.id]
        assert leased(ledger, job).attempt == 1

    def test_the_dead_of_one_node_are_buried_at_once(self, ledger: Ledger, submit: Submit) -> None:
        """Not its living, and not those of a node whose name begins alike."""
        jobs = [submit() for _ in range(3)]
        for job, worker in zip(jobs, ("node:1", "node:2", "node-b:1"), strict=True):
            leased(ledger, job, worker)
            ledger.announce(worker, WorkerInfo(id=worker, queue=INFERENCE_QUEUE), 5)
        assert ledger.bury("node", ["node:2"]) == [jobs[0].id]
        assert sorted(info.id for info in ledger.workers()) == ["node-b:1", "node:2"]

    def test_an_outage_of_the_broker_costs_nobody_a_lease(self, ledger: Ledger, submit: Submit) -> None:
        """Where nobody could sweep, nobody could renew: leases that ran out meanwhile start anew."""
        ledger.sweep(grace_seconds=0.2)
        lease = leased(ledger, submit())
        time.sleep(0.5)
        assert not ledger.sweep(grace_seconds=0.2).lost
        assert ledger.renew(lease) is RenewState.HELD


class TestLostMessages:
    def test_a_job_without_a_message_is_published_once(self, ledger: Ledger, submit: Submit) -> None:
        """A message that nobody has and nobody sent is sent by one of many sweeps, and not again right away."""
        job = submit()
        assert not ledger.sweep(grace_seconds=0.8).unpublished
        time.sleep(0.85)
        with ThreadPoolExecutor(8) as pool:
            reports = list(pool.map(lambda _: ledger.sweep(grace_seconds=0.8), range(16)))
        assert [found for report in reports for found in report.unpublished] == [(job.id, INFERENCE_QUEUE)]

    def test_a_waiting_message_is_left_alone(self, ledger: Ledger, submit: Submit, client: redis.Redis) -> None:
        """While the queue has messages only the first in line is published again, and only when it waits for long."""
        jobs = [submit() for _ in range(3)]
        client.rpush(INFERENCE_QUEUE, "a message of Celery's")
        time.sleep(0.25)
        assert not ledger.sweep(grace_seconds=0.2).unpublished
        assert ledger.sweep(grace_seconds=0.2, patience_seconds=0.2).unpublished == [(jobs[0].id, INFERENCE_QUEUE)]


class TestCancel:
    def test_a_queued_job_ends_at_once(self, ledger: Ledger, submit: Submit) -> None:
        """Its message, when it comes, finds nothing to do."""
        job = submit()
        assert ledger.cancel(job.id).state is JobState.CANCELLED
        assert ledger.lease(job.id, "node:1") is None
        assert ledger.depth(INFERENCE_QUEUE) == 0

    def test_a_running_job_is_asked_to_stop(self, ledger: Ledger, submit: Submit) -> None:
        """The worker hears it when it renews, and ends the job when it has stopped."""
        lease = leased(ledger, submit())
        asked = ledger.cancel(lease.job.id)
        assert (asked.state, asked.cancel_requested) == (JobState.RUNNING, True)
        assert ledger.renew(lease) is RenewState.CANCEL_REQUESTED
        assert ledger.acknowledge_cancel(lease)
        assert ledger.get(lease.job.id).state is JobState.CANCELLED

    def test_a_result_that_was_ready_anyway_counts(self, ledger: Ledger, submit: Submit) -> None:
        """A worker that finishes before it hears of the cancel has finished."""
        lease = leased(ledger, submit())
        ledger.cancel(lease.job.id)
        assert ledger.succeed(lease, RESULT)

    @pytest.mark.parametrize("leave", [Ledger.release, Ledger.lose, lambda ledger, _: ledger.bury("node", [])])
    def test_nobody_runs_a_cancelled_job_again(
        self, ledger: Ledger, submit: Submit, leave: Callable[[Ledger, Lease], object]
    ) -> None:
        """Where its worker stops or dies, a job that was to be cancelled is."""
        lease = leased(ledger, submit())
        ledger.cancel(lease.job.id)
        leave(ledger, lease)
        assert ledger.get(lease.job.id).state is JobState.CANCELLED

    def test_an_ended_job_stays_as_it_ended(self, ledger: Ledger, submit: Submit) -> None:
        """Cancelling it changes nothing."""
        lease = leased(ledger, submit())
        ledger.succeed(lease, RESULT)
        assert ledger.cancel(lease.job.id).state is JobState.SUCCEEDED


class TestQuestions:
    def test_positions_count_those_before(self, ledger: Ledger, submit: Submit) -> None:
        """0 is next; a running job has none; queues do not mix."""
        jobs = [submit(), submit(SAMPLE), submit()]
        training = submit(TRAINING)
        assert [ledger.position(job.id) for job in jobs] == [0, 1, 2]
        assert ledger.position(training.id) == 0
        leased(ledger, jobs[0])
        assert [ledger.position(job.id) for job in jobs] == [None, 0, 1]

    def test_each_owner_sees_their_own_latest_jobs(self, ledger: Ledger, submit: Submit) -> None:
        """Newest first, as many as asked for."""
        mine = [submit(owner="me") for _ in range(3)]
        submit(owner="you")
        assert ledger.recent("me", 2) == [mine[2], mine[1]]
        assert ledger.recent("nobody", 2) == []

    def test_events_are_told_once_in_order_from_any_point(self, ledger: Ledger, submit: Submit) -> None:
        """Who comes back with the last id it saw misses none and gets none twice; any other id is the beginning."""
        lease = leased(ledger, submit())
        ledger.progress(lease, Progress(done=1, total=2))
        ledger.succeed(lease, RESULT)
        events = ledger.events(lease.job.id)
        assert [event.type for event in events] == ["queued", "running", "progress", "succeeded"]
        for number, event in enumerate(events):
            assert ledger.events(lease.job.id, after=event.id) == events[number + 1 :]
        assert ledger.events(lease.job.id, after="rubbish\r\n") == events

    def test_who_waits_for_an_event_gets_it_when_it_happens(self, ledger: Ledger, submit: Submit) -> None:
        """Waiting ends with the event, not with the time."""
        job = submit()
        last = ledger.events(job.id)[-1].id
        threading.Timer(0.1, ledger.cancel, [job.id]).start()
        started = time.monotonic()
        assert [event.type for event in ledger.events(job.id, after=last, block_ms=3000)] == ["cancelled"]
        assert time.monotonic() - started < 2
        assert ledger.events(job.id, after=ledger.events(job.id)[-1].id, block_ms=10) == []

    def test_every_change_is_published(self, ledger: Ledger, submit: Submit, client: redis.Redis) -> None:
        """One subscriber hears the id of each job to which anything happens, and what it is; of an end, how it left the
        job."""
        with client.pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe(CHANNEL)
            channel.get_message(timeout=1)
            lease = leased(ledger, submit())
            ledger.progress(lease, Progress(done=1, total=2))
            ledger.cancel(lease.job.id)
            ledger.acknowledge_cancel(lease)
            heard = [channel.get_message(timeout=1) for _ in range(5)]
        told = [Told.read(message["data"]) for message in heard if message]
        assert {each.job_id for each in told} == {lease.job.id}
        assert [each.what for each in told] == ["queued", "running", "progress", "cancel-requested", "cancelled"]
        assert [each.ended() for each in told] == [None] * 4 + [ledger.get(lease.job.id)]

    def test_a_job_of_an_earlier_version_is_still_shown(self, ledger: Ledger, client: redis.Redis) -> None:
        """Its picture and its mask had a key each."""
        ledger.submit("a", INPAINT)
        request = INPAINT.model_dump(mode="json", exclude={"inputs_key"})
        old = {**request, "image_key": "inputs/a/1/image", "mask_key": "inputs/a/1/mask"}
        client.hset("inpaint:job:a", "request", json.dumps(old))
        assert ledger.get("a").request == INPAINT.model_copy(update={"inputs_key": "inputs/a/1/image"})

    def test_what_another_version_tells_is_no_record(self) -> None:
        """Who waits looks for itself then."""
        for message in ("a succeeded", 'a succeeded ["id","a","state","of another kind"]', "a succeeded {", "a", ""):
            assert Told.read(message).ended() is None

    def test_figures_of_each_queue(self, ledger: Ledger, submit: Submit) -> None:
        """Waiting, running, and how long the oldest has waited."""
        first = submit()
        submit()
        leased(ledger, first)
        time.sleep(0.05)
        figures = ledger.stats()
        assert figures[TRAINING_QUEUE] == QueueStats(0, 0, 0.0)
        inference = figures[INFERENCE_QUEUE]
        assert (inference.waiting, inference.running) == (1, 1)
        assert 0.04 < inference.oldest_seconds < 5

    def test_a_worker_that_falls_silent_is_forgotten(self, ledger: Ledger) -> None:
        """Its announcement lives for as long as it said."""
        info = WorkerInfo(id="node:1", queue=INFERENCE_QUEUE, device="cpu", models=["a@1"], loading_seconds=2)
        ledger.announce("node:1", info, 5)
        ledger.announce("node:2", WorkerInfo(id="node:2", queue=TRAINING_QUEUE), 0.05)
        time.sleep(0.1)
        assert ledger.workers() == [info]


def test_ended_jobs_are_removed_after_their_time(redis_url: str, settings: WorkerSettings) -> None:
    """The sweep removes every trace and names them, so that their files go too; those that wait stay."""
    with connect(redis_url) as client:
        ledger = Ledger(client, settings.model_copy(update={"result_ttl_seconds": 0.1}))
        ledger.submit("ended", INPAINT, owner="me")
        ledger.succeed(leased(ledger, ledger.get("ended")), RESULT)
        ledger.submit("waiting", INPAINT, owner="me")
        assert sweep_until(ledger, lambda report: bool(report.removed)).removed == ["ended"]
        with pytest.raises(UnknownJobError):
            ledger.get("ended")
        assert [job.id for job in ledger.recent("me")] == ["waiting"]
        assert [key for key in client.scan_iter() if "ended" in key and key != "inpaint:ended"] == []


def test_a_run_that_saves_may_lose_any_number_of_workers(
    ledger: Ledger, submit: Submit, settings: WorkerSettings
) -> None:
    """An attempt that kept what it did does not count; the first that keeps nothing counts again."""
    job = submit(TRAINING)
    for _ in range(2 * settings.max_attempts):
        lease = leased(ledger, job)
        assert ledger.keep(lease)
        ledger.lose(lease)
        assert not ledger.keep(lease)
    for _ in range(settings.max_attempts):
        assert ledger.get(job.id).state is JobState.QUEUED
        ledger.lose(leased(ledger, job))
    assert ledger.get(job.id).state is JobState.FAILED


@pytest.fixture
def set_clock(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the broker's clock, as the ledger of this test sees it, so many seconds from where it is."""
    script = ledger_module._SCRIPT
    ticks = "local clock = redis.call('TIME')"
    assert script.count(ticks) == 1
    moved = f"{ticks}\nclock[1] = clock[1] + tonumber(redis.call('GET', 'moved') or 0)"
    monkeypatch.setattr(ledger_module, "_SCRIPT", script.replace(ticks, moved))
    return lambda seconds: client.set("moved", int(seconds)) and None


@pytest.mark.parametrize("jump", [-7200, -10, 10, 7200, 40 * 365 * 86_400])
def test_a_clock_that_jumps_disturbs_no_job(
    set_clock: Callable[[float], None], client: redis.Redis, settings: WorkerSettings, jump: int
) -> None:
    """A running job keeps its lease, a dead worker's job is found as soon as ever, a lost message is sent, a result
    stays, and a silent worker is forgotten: forwards, backwards, and from 1970."""
    ledger = Ledger(client, settings.model_copy(update={"result_ttl_seconds": 3600, "lease_seconds": 1}))
    leases = []
    for name in ("ended", "living", "dead", "unsent"):
        ledger.submit(name, INPAINT)
        if name != "unsent":
            leases.append(leased(ledger, ledger.get(name)))
    ended, living, dead = leases
    ledger.succeed(ended, RESULT)
    ledger.announce("other:1", WorkerInfo(id="other:1", queue="inference"), ttl_seconds=1)
    ledger.sweep(grace_seconds=0.1)

    set_clock(jump)
    report = ledger.sweep(grace_seconds=0.1)
    assert (report.lost, report.removed) == ([], [])
    unpublished = set(report.unpublished)
    end = time.monotonic() + 15
    while ledger.get("dead").state is JobState.RUNNING or ("unsent", "inference") not in unpublished:
        assert ledger.renew(living) is RenewState.HELD
        unpublished |= set(ledger.sweep(grace_seconds=0.1).unpublished)
        assert time.monotonic() < end
        time.sleep(0.05)
    assert ledger.renew(dead) is RenewState.LOST
    assert ledger.get("ended").result == RESULT
    assert ledger.workers() == []
    assert ledger.stats()["inference"].oldest_seconds >= 0


class TestOtherVersions:
    """While one version of the program replaces another, both work on one ledger."""

    def test_what_the_other_one_adds_is_passed_over(self, ledger: Ledger, client: redis.Redis, submit: Submit) -> None:
        """A field more in a request, in a record, or in what a worker says of itself."""
        job = submit()
        client.hset(f"inpaint:job:{job.id}", "request", INPAINT.model_dump_json()[:-1] + ', "speed": 11}')
        client.hset(f"inpaint:job:{job.id}", "colour", "blue")
        client.zadd("inpaint:workers", {"new:1": time.time() + 60})
        client.hset("inpaint:worker-info", "new:1", '{"id": "new:1", "queue": "inference", "mood": "good"}')
        assert ledger.get(job.id) == job
        assert [info.id for info in ledger.workers()] == ["new:1"]
        assert leased(ledger, job).job.request == INPAINT

    def test_what_cannot_be_read_is_in_nobodys_way(self, ledger: Ledger, client: redis.Redis, submit: Submit) -> None:
        """It is left out of lists; a job that this version cannot run has failed when it is its turn."""
        strange, known = submit(), submit()
        client.hset(f"inpaint:job:{strange.id}", "request", '{"kind": "hologram"}')
        client.zadd("inpaint:workers", {"new:1": time.time() + 60})
        client.hset("inpaint:worker-info", "new:1", "[]")
        assert ledger.recent() == [known]
        assert ledger.workers() == []
        lease = ledger.lease_next(INFERENCE_QUEUE, "node:1")
        assert lease is not None
        assert lease.job.id == known.id
        assert client.hget(f"inpaint:job:{strange.id}", "state") == "failed"


def test_a_process_of_an_earlier_start_is_dead(ledger: Ledger, submit: Submit) -> None:
    """Though a container that was started again has the same name and the same process ids: its job waits again, and
    the attempt counts."""
    job = submit()
    before, now = (process_name("node", start, 7) for start in ("a", "b"))
    assert ledger.lease_next(INFERENCE_QUEUE, before) is not None
    assert ledger.bury("node", [now]) == [job.id]
    lease = ledger.lease_next(INFERENCE_QUEUE, now)
    assert lease is not None
    assert lease.attempt == 2
