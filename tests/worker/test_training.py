"""Training as a job, over a real ledger and with real training processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from models.catalog import Card
from models.training.errors import OptionsError
from tests.models.training.pictures import write_pictures
from worker import training
from worker.contracts import Job, JobState, Progress, TrainingRequest
from worker.datasets import DatasetsError, UnknownDatasetError, path_of, registered
from worker.heartbeat import Heartbeat
from worker.ledger import Ledger, WorkerInfo
from worker.runs import LogTail, Runs
from worker.settings import WorkerSettings
from worker.storage import Storage
from worker.work import Work

TINY = {
    "sizes": [16],
    "completion_steps": [3],
    "discriminator_steps": [0],
    "joint_steps": [0],
    "batch_size": 2,
    "log_every": 1,
    "validate_every": 10**6,
    "validation_pictures": 1,
    "warmup": 0,
    "name": "tiny",
}
ENDLESS = TINY | {"completion_steps": [10**6], "preview_every": 10**6}


@dataclass
class Bench:
    """A training worker without Celery around it."""

    settings: WorkerSettings
    ledger: Ledger
    heartbeat: Heartbeat
    stopping: threading.Event

    @property
    def runs(self) -> Runs:
        return Runs(self.settings.runs_dir)

    def submit(self, job_id: str, overrides: dict[str, object], run: str = "", dataset: str = "faces") -> Job:
        request = TrainingRequest(run=run, family="glcic", dataset=dataset, overrides=overrides)
        return self.ledger.submit(job_id, request)

    def run(self, job_id: str) -> Job:
        """Leases the job and runs it as the worker does."""
        lease = self.ledger.lease(job_id, "test:1")
        assert lease is not None
        work = Work(lease, self.ledger, self.ledger, Storage(self.settings.storage_dir), self.heartbeat, self.stopping)
        try:
            training.run(work, self.settings)
        finally:
            work.release()
        return self.ledger.get(job_id)

    def during(self, job_id: str, step: int, action: Callable[[], object]) -> Job:
        """Runs the job, and does `action` once it has reached `step`."""

        def act() -> None:
            deadline = time.monotonic() + 100
            while (self.ledger.get(job_id).progress or _NOTHING).done < step and time.monotonic() < deadline:
                time.sleep(0.02)
            action()

        thread = threading.Thread(target=act)
        thread.start()
        try:
            return self.run(job_id)
        finally:
            thread.join()

    def kill_process(self, number: signal.Signals = signal.SIGKILL) -> None:
        """A signal to the training process, as soon as there is one."""
        deadline = time.monotonic() + 30
        while not (pids := self._processes()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(pids) == 1
        os.kill(pids[0], number)

    def _processes(self) -> list[int]:
        children = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True
        )
        return [int(line.split()[0]) for line in children.stdout.splitlines() if "models.training.start" in line]


_NOTHING = Progress(done=0, total=1)


@pytest.fixture
def bench(client: redis.Redis, tmp_path: Path) -> Iterator[Bench]:
    data = tmp_path / "faces"
    write_pictures(data / "train", 4)
    write_pictures(data / "val", 1)
    empty = tmp_path / "nothing"
    empty.mkdir()
    settings = WorkerSettings(
        redis_url="redis://unused",
        data_dir=tmp_path / "data",
        datasets={"faces": data, "empty": empty},
        lease_seconds=2,
        threads=1,
    )
    ledger = Ledger(client, settings)
    info = WorkerInfo(id="test:1", queue="training")
    heartbeat = Heartbeat(ledger, lambda: info, settings.lease_seconds)
    over = threading.Event()

    def beat() -> None:  # as `Heartbeat.start`, but it ends before the broker's connection does
        while not over.wait(0.2):
            heartbeat._renew()

    thread = threading.Thread(target=beat)
    thread.start()
    yield Bench(settings, ledger, heartbeat, threading.Event())
    over.set()
    thread.join()


def events(bench: Bench, run: str) -> list[dict[str, object]]:
    return LogTail(bench.runs.folder(run) / "log.jsonl").read()


def test_a_run_ends_with_weights_and_tells_how_far_it_is(bench: Bench) -> None:
    """Losses and speed reach the ledger; the result is the card of weights that can be promoted; a preview is there."""
    bench.submit("job-1", TINY)
    job = bench.run("job-1")
    assert job.state is JobState.SUCCEEDED, job.failure
    assert job.progress is not None
    assert (job.progress.done, job.progress.total) == (3, 3)
    assert {"hole_mse", "images_per_second", "eta_seconds", "phase"} <= job.progress.details.keys()
    exported = bench.runs.export("job-1")
    assert exported is not None
    assert job.result is not None
    assert job.result.model == exported[0].reference
    stored = Card.model_validate_json(Storage(bench.settings.storage_dir).get(job.result.key))
    assert stored == exported[0]
    assert (bench.runs.preview("job-1") or b"").startswith(b"\x89PNG")


def test_cancel_keeps_a_checkpoint_from_which_another_job_goes_on(bench: Bench) -> None:
    """A cancelled run stops within its step and is saved; the job that resumes it starts at that step."""
    bench.submit("job-2", ENDLESS)
    job = bench.during("job-2", 2, lambda: bench.ledger.cancel("job-2"))
    assert job.state is JobState.CANCELLED
    stopped = next(event for event in events(bench, "job-2") if event["event"] == "stopped")
    assert stopped["reason"] == "SIGTERM"
    step = stopped["step"]
    assert isinstance(step, int)
    bench.submit("job-3", TINY | {"completion_steps": [step + 1]}, run="job-2")
    assert bench.run("job-3").state is JobState.SUCCEEDED
    resumed = next(event for event in events(bench, "job-2") if event["event"] == "resumed")
    assert resumed["step"] == step


def test_a_warning_reaches_the_ledger_and_ends_nothing(bench: Bench) -> None:
    """What the training process warns of, a discriminator that has won, say, is among the details, as `message`."""
    bench.submit("job-7", ENDLESS)
    log = bench.runs.folder("job-7") / "log.jsonl"

    def warn() -> None:
        with log.open("a") as file:
            file.write('{"event": "warning", "step": 10000, "message": "The discriminator has won."}\n')
        deadline = time.monotonic() + 30
        while "message" not in (bench.ledger.get("job-7").progress or _NOTHING).details and time.monotonic() < deadline:
            time.sleep(0.05)
        bench.ledger.cancel("job-7")

    job = bench.during("job-7", 1, warn)
    assert job.state is JobState.CANCELLED
    assert job.progress is not None
    assert job.progress.details["message"] == "The discriminator has won."


def test_a_stopping_worker_puts_the_run_back(bench: Bench) -> None:
    """When the worker has to stop, the run is saved and waits again, and the attempt does not count."""
    bench.submit("job-4", ENDLESS)
    job = bench.during("job-4", 1, bench.stopping.set)
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)
    assert any(event["event"] == "checkpoint" for event in events(bench, "job-4"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_goes_on(bench: Bench, number: signal.Signals) -> None:
    """By whatever signal and however early: the run waits again, and the next attempt resumes it."""
    bench.submit("job-5", ENDLESS)
    job = bench.during("job-5", 0, lambda: bench.kill_process(number))
    assert (job.state, job.failure) == (JobState.QUEUED, None)


def test_a_process_that_is_killed_each_time_is_a_failure_that_says_so(bench: Bench, client: redis.Redis) -> None:
    """SIGKILL, as the kernel sends when memory runs out, ends the job with advice once no attempt is left."""
    bench.ledger = Ledger(client, bench.settings.model_copy(update={"max_attempts": 1}))
    bench.submit("job-6", ENDLESS)
    job = bench.during("job-6", 1, bench.kill_process)
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert job.failure.type == "out-of-memory"


@pytest.mark.parametrize(
    ("overrides", "dataset", "says"),
    [
        ({"lr": -1}, "faces", "lr: Input should be greater than 0"),
        ({"device": "cuda"}, "faces", "operator's choice"),
        ({}, "scenes", "no data set 'scenes'. Data sets: empty, faces."),
    ],
)
def test_a_request_that_cannot_work_fails_without_a_process(
    bench: Bench, overrides: dict[str, object], dataset: str, says: str
) -> None:
    """The failure says what is wrong; nothing is started."""
    bench.submit("job-6", overrides, dataset=dataset)
    job = bench.run("job-6")
    assert job.failure is not None
    assert job.failure.type == "bad-input"
    assert says in job.failure.detail
    assert not (bench.settings.runs_dir / "job-6").exists()


def test_what_the_process_says_is_what_the_person_reads(bench: Bench) -> None:
    """An error that only the data show reaches the job's failure as a sentence, without a trace."""
    bench.submit("job-7", TINY | {"batch_size": 100})
    job = bench.run("job-7")
    assert job.failure is not None
    assert job.failure.detail == "4 pictures are fewer than one batch of 100."


def test_a_run_that_diverges_says_so(bench: Bench) -> None:
    """It is no fault of the data, and the person is told what to change."""
    bench.submit("job-9", TINY | {"optimiser": "adamw", "lr": 1e30, "completion_steps": [20]})
    job = bench.run("job-9")
    assert job.failure is not None
    assert job.failure.type == "diverged"
    assert "smaller learning rate" in job.failure.detail


def test_a_run_that_cannot_be_saved_says_so(bench: Bench) -> None:
    """It is the operator's to make room."""
    (bench.settings.runs_dir / "job-10" / "weights.safetensors").mkdir(parents=True)  # no file can take its place
    bench.submit("job-10", TINY)
    job = bench.run("job-10")
    assert job.failure is not None
    assert job.failure.type == "not-saved"
    assert "make room" in job.failure.detail


def test_no_path_of_the_host_reaches_the_person(bench: Bench) -> None:
    """A data set is called by its name."""
    bench.submit("job-8", TINY, dataset="empty")
    job = bench.run("job-8")
    assert job.failure is not None
    assert job.failure.type == "bad-input"
    assert "'empty'" in job.failure.detail
    assert "/" not in job.failure.detail


def test_no_training_process_outlives_its_worker(tmp_path: Path) -> None:
    """When the worker is killed with -9, the kernel ends the training process too."""
    script = (
        "import sys, time\n"
        "from worker.training import _training_process\n"
        "from worker.settings import WorkerSettings\n"
        "with open(sys.argv[1], 'wb') as errors, _training_process({}, WorkerSettings(), errors) as process:\n"
        "    print(process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "errors")]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    pid = int(worker.stdout.readline())
    worker.kill()
    worker.wait()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_data_sets_come_from_the_environment_and_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DATASETS goes before datasets.toml; relative paths are the data directory's; an unknown name lists the known."""
    (tmp_path / "datasets.toml").write_text('faces = "/a"\nscenes = "scenes"\n')
    monkeypatch.setenv("DATASETS", '{"faces": "/b"}')
    settings = WorkerSettings(data_dir=tmp_path)
    assert registered(settings) == {"faces": Path("/b"), "scenes": tmp_path / "scenes"}
    with pytest.raises(UnknownDatasetError, match="Data sets: faces, scenes"):
        path_of("../etc", settings)


@pytest.mark.parametrize("content", ["faces = 3", "faces", '"a/b" = "/x"'])
def test_a_list_of_data_sets_that_makes_no_sense_is_refused(tmp_path: Path, content: str) -> None:
    """The message names the file or the entry."""
    (tmp_path / "datasets.toml").write_text(content)
    with pytest.raises(DatasetsError, match=r"datasets\.toml|is no entry"):
        registered(WorkerSettings(data_dir=tmp_path))


def test_a_request_is_checked_without_torch() -> None:
    """The API can check an order: no torch is imported by it."""
    code = "import sys, worker.training, models.training.families; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_operators_options_are_refused(bench: Bench) -> None:
    """A client does not choose the device."""
    request = TrainingRequest(family="dcgan", dataset="faces", overrides={"threads": 64})
    with pytest.raises(OptionsError, match="threads"):
        training.check_request(request, bench.settings)


def test_a_log_is_followed_line_by_line(tmp_path: Path) -> None:
    """A line half written is left for the next time; what is no line of ours is passed over."""
    tail = LogTail(tmp_path / "log.jsonl")
    assert tail.read() == []
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"event": "a", "step": 1}\nnonsense\n{"event": "b", ')
        file.flush()
        assert [line["event"] for line in tail.read()] == ["a"]
        file.write('"step": 2}\n')
        file.flush()
        assert [line["event"] for line in tail.read()] == ["b"]
