"""How a worker process runs jobs: a real ledger and storage, and an engine that paints holes in one colour."""

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from celery.exceptions import SoftTimeLimitExceeded
from PIL import Image
from torch import Tensor

from models.catalog import UnknownModelError
from models.glcic.align import FindFaces
from models.glcic.enlarge import Enlarge
from worker import tasks
from worker.broker import Broker
from worker.connection import connect
from worker.contracts import INFERENCE_QUEUE, InpaintRequest, Job, JobState
from worker.handlers import _Room
from worker.images import Picture, pack
from worker.ledger import Ledger, RenewState
from worker.runtime import STOP_SIGNAL, Runtime
from worker.settings import WorkerSettings
from worker.storage import Storage, StorageUnavailableError

MODEL = "glcic-test@00000000"


class Engine:
    """Paints every picture in the colour (1, 0, 0); `before` is called with each batch."""

    batch_limit = 4
    image_size = 160

    def __init__(self) -> None:
        self.find_faces: FindFaces | None = None
        self.enlarge: Enlarge | None = None
        self.others: dict[str, Engine] = {}
        self.batches: list[int] = []
        self.before: Callable[[int], None] = lambda _: None

    def __call__(self, image: Tensor, mask: Tensor) -> Tensor:
        self.batches.append(len(image))
        self.before(len(image))
        return image * (1 - mask) + torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1) * mask


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """What runs instead of a network."""
    engine = Engine()

    class Networks:
        device = torch.device("cpu")

        def __init__(self, *_: object) -> None: ...

        def preload(self) -> None: ...

        def loaded(self) -> list[str]:
            return [MODEL]

        def memory_bytes(self) -> int:
            return 0

        def engine(self, reference: str) -> Engine:
            known = {MODEL: engine, **engine.others}
            if reference not in known:
                raise UnknownModelError(f"There is no model '{reference}'.")
            return known[reference]

    monkeypatch.setattr("worker.networks.Networks", Networks)
    return engine


@pytest.fixture
def runtime(settings: WorkerSettings, engine: Engine) -> Iterator[Runtime]:
    before = signal.getsignal(STOP_SIGNAL)
    runtime = Runtime(settings, "node", "start", INFERENCE_QUEUE)
    runtime.load()
    assert engine.batches == []
    yield runtime
    runtime._heartbeat.stop()
    signal.signal(STOP_SIGNAL, before)


@pytest.fixture
def storage(settings: WorkerSettings) -> Storage:
    return Storage(settings.storage_dir)


@pytest.fixture
def send(ledger: Ledger, storage: Storage) -> Callable[..., Job]:
    """Accepts a picture as the API does."""

    def send(
        job_id: str,
        stored: bool = True,
        model: str = MODEL,
        side: int = 32,
        owner: str = "",
        elsewhere: str | None = None,
        everywhere: bool = False,
    ) -> Job:
        request = InpaintRequest(
            model=model,
            elsewhere=elsewhere,
            inputs_key=f"inputs/{job_id}.1",
            strategy="original",
            blend="none",
        )
        mask = np.full((side, side), everywhere)
        mask[8:16, 8:16] = True
        if stored:
            picture = np.full((side, side, 3), (100, 110, 120), np.uint8)
            storage.put(request.inputs_key, *pack(Picture(picture), mask))
        return ledger.submit(job_id, request, owner=owner)

    return send


def pixels(storage: Storage, job: Job, tmp_path: Path) -> np.ndarray:
    """The picture that a job ended with."""
    assert job.result is not None, job
    path = tmp_path / "result.png"
    path.write_bytes(storage.get(job.result.key))
    return np.asarray(Image.open(path))


def test_a_job_ends_in_its_completed_picture(
    runtime: Runtime, send: Callable[..., Job], ledger: Ledger, storage: Storage, tmp_path: Path
) -> None:
    """The hole is filled, the rest is untouched, the result says what made it, and the inputs are gone."""
    send("a")
    runtime.run("a")
    job = ledger.get("a")
    result = pixels(storage, job, tmp_path)
    assert (result[12, 12] == [255, 0, 0]).all()
    assert (result[0] == (100, 110, 120)).all()
    assert job.result is not None
    assert (job.result.model, job.result.width, job.result.height) == (MODEL, 32, 32)
    assert job.result.changed == 64 / 1024
    assert list(job.result.timings) == ["load", "complete", "encode", "store"]
    assert not storage.exists("inputs/a.1")
    assert [event.type for event in ledger.events("a")] == ["queued", "running", "succeeded"]


def test_a_long_job_tells_how_far_it_is(
    runtime: Runtime, send: Callable[..., Job], ledger: Ledger, engine: Engine
) -> None:
    """Not at each step, and not the last one, which the result tells."""
    engine.before = lambda _: time.sleep(0.08)
    send("a", side=1100, everywhere=True)  # nine tiles
    runtime.run("a")
    told = [event.progress for event in ledger.events("a") if event.progress is not None]
    assert 1 <= len(told) < 8
    assert all(progress.total == 9 and progress.done < 9 for progress in told)
    assert [progress.done for progress in told] == sorted({progress.done for progress in told})


def test_a_hole_in_no_face_is_completed_by_the_other_model(
    runtime: Runtime, send: Callable[..., Job], ledger: Ledger, engine: Engine
) -> None:
    """Where the request has two models the result names the one that drew."""
    other = "scenes-test@00000000"
    engine.others[other] = Engine()
    engine.find_faces = lambda _image, _mask, boxes: [None for _ in boxes]
    send("a", elsewhere=other)
    runtime.run("a")
    assert (engine.batches, engine.others[other].batches) == ([], [1])
    result = ledger.get("a").result
    assert result is not None
    assert result.model == other


def test_a_message_of_an_ended_job_does_nothing(
    runtime: Runtime, send: Callable[..., Job], ledger: Ledger, engine: Engine
) -> None:
    """Messages may come twice, late, or for a job that nobody knows."""
    send("a")
    for job_id in ("a", "a", "nobody"):
        runtime.run(job_id)
    assert engine.batches == [1]
    assert ledger.get("a").attempts == 1


def test_waiting_jobs_run_together(runtime: Runtime, send: Callable[..., Job], ledger: Ledger, engine: Engine) -> None:
    """One message takes along as many as the engine gains by; the others' messages then find nothing to do."""
    for number in range(6):
        send(f"j{number}")
    runtime.run("j0")
    assert engine.batches == [4]
    assert [ledger.get(f"j{number}").state for number in range(6)] == [JobState.SUCCEEDED] * 4 + [JobState.QUEUED] * 2
    runtime.run("j4")
    assert engine.batches == [4, 2]


@pytest.fixture
def abreast(engine: Engine) -> Engine:
    """An engine that gains nothing by batches, as on a CPU."""
    engine.batch_limit = 1
    return engine


def test_two_pictures_are_completed_side_by_side(
    runtime: Runtime, send: Callable[..., Job], ledger: Ledger, abreast: Engine
) -> None:
    """On a CPU both are in their networks at the same time, and who ends first takes the next one along."""
    both, numbers = threading.Barrier(2), iter(range(5))

    def meet(_: int) -> None:
        if next(numbers) < 4:
            both.wait(10)

    abreast.before = meet
    for number in range(5):
        send(f"j{number}")
    runtime.run("j0")
    assert abreast.batches == [1] * 5
    assert [ledger.get(f"j{number}").state for number in range(5)] == [JobState.SUCCEEDED] * 5
    assert ledger.totals()["batch", "inpaint", "sum"] == 5 * 2


def test_what_happens_to_one_picture_does_not_happen_to_the_one_beside_it(
    runtime: Runtime, send: Callable[..., Job], ledger: Ledger, abreast: Engine
) -> None:
    """One is gone, one crashes, two are well: each ends as it would alone."""
    lock, crashed = threading.Lock(), []

    def crash_once(_: int) -> None:
        with lock:
            if not crashed:
                crashed.append(True)
                raise RuntimeError

    send("gone", stored=False)
    for name in ("a", "b", "c"):
        send(name)
    abreast.before = crash_once
    runtime.run("gone")
    assert ledger.get("gone").state is JobState.FAILED
    assert sorted(ledger.get(name).state.value for name in "abc") == ["failed", "succeeded", "succeeded"]


@pytest.mark.usefixtures("abreast")
def test_a_storage_that_takes_nothing_costs_neither_of_two_pictures(
    runtime: Runtime, send: Callable[..., Job], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both wait again, and no attempt is counted."""
    monkeypatch.setattr("worker.runtime._STORAGE_SECONDS", 0.0)

    def refuse(*_: object) -> None:
        raise StorageUnavailableError("No space left on device")

    monkeypatch.setattr(runtime._storage, "put", refuse)
    for name in "ab":
        send(name)
    runtime.run("a")
    assert [(ledger.get(name).state, ledger.get(name).attempts) for name in "ab"] == [(JobState.QUEUED, 0)] * 2


def test_two_large_pictures_are_not_completed_at_once(
    runtime: Runtime, send: Callable[..., Job], ledger: Ledger, abreast: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would need more memory than the largest one that is accepted."""
    monkeypatch.setattr(runtime._handlers["inpaint"], "_room", _Room(1500))
    inside: list[int] = []
    most = []

    def look(_: int) -> None:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.05)
        inside.pop()

    abreast.before = look
    for name in "ab":
        send(name)  # 1024 pixels each
    runtime.run("a")
    assert most == [1, 1]
    assert [ledger.get(name).state for name in "ab"] == [JobState.SUCCEEDED] * 2


def test_two_pictures_that_take_too_long_stop_and_run_alone_next(
    runtime: Runtime, send: Callable[..., Job], ledger: Ledger, abreast: Engine
) -> None:
    """The time limit meets the main thread, the pictures are in others: they stop between two network runs."""

    def too_long(*_: object) -> None:
        raise SoftTimeLimitExceeded

    abreast.before = lambda _: time.sleep(0.2)
    for name in "ab":
        send(name, side=1100, everywhere=True)  # nine tiles
    before = signal.signal(signal.SIGALRM, too_long)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        runtime.run("a")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(abreast.batches) < 14
    assert [(ledger.get(name).state, ledger.get(name).attempts) for name in "ab"] == [(JobState.QUEUED, 1)] * 2


def test_a_job_that_lost_a_worker_runs_alone(
    runtime: Runtime, send: Callable[..., Job], ledger: Ledger, abreast: Engine
) -> None:
    """It may be what killed the worker: nothing is taken along that would be lost with it."""
    for name in "ab":
        send(name)
    assert ledger.lease("a", "dead:1") is not None
    ledger.bury("dead", [])
    runtime.run("b")
    assert ledger.get("a").state is JobState.SUCCEEDED
    assert ledger.get("b").state is JobState.QUEUED
    assert abreast.batches == [1]


def test_owners_share_what_runs(runtime: Runtime, send: Callable[..., Job], ledger: Ledger, engine: Engine) -> None:
    """A message runs who is next, not the job it was sent for: one picture is among the first that run, though
    somebody else's were all sent before, and each message is worth its jobs."""
    for number in range(9):
        send(f"many{number}", owner="many")
    send("one", owner="one")
    runtime.run("many0")
    assert engine.batches == [4]
    assert ledger.get("one").state is JobState.SUCCEEDED
    runtime.run("one")
    runtime.run("many1")
    assert engine.batches == [4, 4, 2]
    assert ledger.depth(INFERENCE_QUEUE) == 0


def test_a_bad_job_fails_alone(runtime: Runtime, send: Callable[..., Job], ledger: Ledger, engine: Engine) -> None:
    """A picture that is gone and a model that is unknown do not harm the others of the batch."""
    send("good")
    send("gone", stored=False)
    send("unknown", model="nobody@00000000")
    send("other")
    runtime.run("good")
    assert engine.batches == [2]
    found = {name: ledger.get(name) for name in ("good", "gone", "unknown", "other")}
    assert [job.state.value for job in found.values()] == ["succeeded", "failed", "failed", "succeeded"]
    assert [job.failure and job.failure.type for job in found.values()] == [None, "expired", "model-unavailable", None]


def test_what_is_too_much_together_runs_alone(
    runtime: Runtime, send: Callable[..., Job], ledger: Ledger, engine: Engine
) -> None:
    """A batch that does not fit into memory is tried one by one; what does not fit alone fails and says so."""

    def too_much(size: int) -> None:
        if size > 1 or len(engine.batches) == 4:
            raise torch.OutOfMemoryError

    engine.before = too_much
    for number in range(3):
        send(f"j{number}")
    runtime.run("j0")
    assert engine.batches == [3, 1, 1, 1]
    assert [ledger.get(f"j{number}").state.value for number in range(3)] == ["succeeded", "succeeded", "failed"]
    failure = ledger.get("j2").failure
    assert failure is not None
    assert failure.type == "out-of-memory"


def test_a_job_that_takes_too_long_fails(
    runtime: Runtime, send: Callable[..., Job], ledger: Ledger, engine: Engine
) -> None:
    """Several that take too long together each run alone next; one that takes too long alone is `timed-out`."""

    def too_long(_: int) -> None:
        raise SoftTimeLimitExceeded

    engine.before = too_long
    send("a")
    send("b")
    runtime.run("a")
    assert [ledger.get(name).state for name in "ab"] == [JobState.QUEUED] * 2
    runtime.run("a")
    failure = ledger.get("a").failure
    assert failure is not None
    assert failure.type == "timed-out"
    assert ledger.get("b").state is JobState.QUEUED


def test_a_storage_that_takes_nothing_costs_no_job(
    runtime: Runtime,
    send: Callable[..., Job],
    ledger: Ledger,
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The job waits again, no attempt is counted, and it ends well once there is room."""
    monkeypatch.setattr("worker.runtime._STORAGE_SECONDS", 0.0)
    send("a")
    with monkeypatch.context() as full:

        def refuse(*_: object) -> None:
            raise StorageUnavailableError("No space left on device")

        full.setattr(runtime._storage, "put", refuse)
        runtime.run("a")
    assert (ledger.get("a").state, ledger.get("a").attempts) == (JobState.QUEUED, 0)
    runtime.run("a")
    assert ledger.get("a").state is JobState.SUCCEEDED
    assert storage.exists("results/a")


def test_an_error_that_nobody_foresaw_ends_the_job(
    runtime: Runtime, send: Callable[..., Job], ledger: Ledger, engine: Engine
) -> None:
    """It fails as `internal`, without the error's text, and the worker goes on."""

    def crash(_: int) -> None:
        raise RuntimeError("secret")

    engine.before = crash
    send("a")
    runtime.run("a")
    failure = ledger.get("a").failure
    assert failure is not None
    assert failure.type == "internal"
    assert "secret" not in failure.detail


def test_a_cancelled_job_stops(runtime: Runtime, send: Callable[..., Job], ledger: Ledger, engine: Engine) -> None:
    """A picture of many tiles stops between two of them."""

    def cancel(_: int) -> None:
        ledger.cancel("a")
        time.sleep(0.2)  # the heartbeat hears it

    engine.before = cancel
    send("a", side=1100, everywhere=True)
    runtime.run("a")
    assert ledger.get("a").state is JobState.CANCELLED
    assert len(engine.batches) < 9


def test_a_long_job_keeps_its_lease(runtime: Runtime, send: Callable[..., Job], ledger: Ledger, engine: Engine) -> None:
    """Computing for three times a lease, while others sweep, is one attempt."""
    lost: list[str] = []

    def slow(_: int) -> None:
        for _ in range(18):
            time.sleep(0.05)
            lost.extend(ledger.sweep(grace_seconds=1).lost)

    engine.before = slow
    send("a")
    runtime.run("a")
    assert lost == []
    assert (ledger.get("a").state, ledger.get("a").attempts) == (JobState.SUCCEEDED, 1)


def test_who_lost_the_job_leaves_it_alone(
    runtime: Runtime, send: Callable[..., Job], ledger: Ledger, storage: Storage, engine: Engine
) -> None:
    """The inputs stay for the worker that has the job now, and its lease is untouched."""

    def lose(_: int) -> None:
        ledger.bury("node", [])
        assert ledger.lease("a", "other:1") is not None

    engine.before = lose
    send("a")
    runtime.run("a")
    assert ledger.get("a").state is JobState.RUNNING
    assert storage.exists("inputs/a.1")


def test_a_process_that_has_to_end_gives_its_jobs_back(
    runtime: Runtime, send: Callable[..., Job], ledger: Ledger, engine: Engine
) -> None:
    """They wait again at once, and no attempt is counted."""

    def end(_: int) -> None:
        raise SystemExit

    engine.before = end
    send("a")
    with pytest.raises(SystemExit):
        runtime.run("a")
    assert (ledger.get("a").state, ledger.get("a").attempts) == (JobState.QUEUED, 0)


@pytest.mark.usefixtures("runtime")
def test_a_worker_says_what_it_has_loaded(ledger: Ledger) -> None:
    """Its announcement names its process, its device and its networks."""
    time.sleep(0.2)
    (info,) = ledger.workers()
    assert (info.id, info.queue, info.models) == (f"node:start-{os.getpid()}", INFERENCE_QUEUE, [MODEL])


def test_the_broker_may_be_killed_while_a_job_runs(tmp_path: Path, engine: Engine) -> None:
    """A broker that is killed and comes back loses neither what it was told nor the result that comes meanwhile."""
    broker = Broker(tmp_path / "broker")
    settings = WorkerSettings(redis_url=broker.url, data_dir=tmp_path, lease_seconds=2)
    process = broker.start()
    restarted, over = threading.Event(), threading.Event()
    replacement = []

    def restart() -> None:
        time.sleep(1)
        replacement.append(broker.start())
        restarted.set()
        over.wait(60)  # the server dies with the thread that started it

    thread = threading.Thread(target=restart)

    def kill(_: int) -> None:
        engine.before = lambda _: None
        process.kill()
        process.wait()
        thread.start()

    before = signal.getsignal(STOP_SIGNAL)
    try:
        with connect(broker.url) as client:
            ledger, storage = Ledger(client, settings), Storage(settings.storage_dir)
            runtime = Runtime(settings, "node", "start", INFERENCE_QUEUE)
            runtime.load()
            request = InpaintRequest(model=MODEL, inputs_key="inputs/a.1")
            storage.put("inputs/a.1", *pack(Picture(np.full((32, 32, 3), 100, np.uint8)), np.eye(32, dtype=bool)))
            ledger.submit("a", request)
            lease = ledger.lease("a", "before:1")
            assert lease is not None
            assert ledger.release(lease)
            engine.before = kill
            runtime.run("a")
            assert restarted.wait(10)
            assert (ledger.get("a").state, ledger.get("a").attempts) == (JobState.SUCCEEDED, 1)
            assert ledger.renew(lease) is RenewState.LOST
            runtime._heartbeat.stop()
    finally:
        signal.signal(STOP_SIGNAL, before)
        over.set()
        for server in (process, *replacement):
            server.kill()
            server.wait()
        broker.clean()


def test_a_device_that_fails_ends_the_process(
    runtime: Runtime, send: Callable[..., Job], ledger: Ledger, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an error of CUDA's own nothing is computed any more: the job waits for another process, and is lost too
    often at last rather than failed at once."""
    ended: list[int] = []
    monkeypatch.setattr("worker.runtime.os.kill", lambda _, number: ended.append(number))

    def fail(_: int) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered", 700)

    engine.before = fail
    send("a")
    runtime.run("a")
    assert ended == [signal.SIGKILL]
    assert (ledger.get("a").state, ledger.get("a").attempts) == (JobState.QUEUED, 1)


def test_a_worker_that_cannot_load_ends(monkeypatch: pytest.MonkeyPatch, settings: WorkerSettings) -> None:
    """Celery would keep the process and give it jobs: whoever watches over the worker starts it again, or says so."""
    ended: list[tuple[int, int]] = []
    monkeypatch.setattr("worker.tasks.os.kill", lambda *arguments: ended.append(arguments))
    monkeypatch.setattr("worker.tasks._runtime", None)
    for name, value in (("NODE", "node"), ("START", "start"), ("QUEUE", INFERENCE_QUEUE)):
        monkeypatch.setenv(f"INPAINT_{name}", value)
    monkeypatch.setenv("DEVICE", "cuda:99")
    monkeypatch.setenv("REDIS_URL", settings.redis_url)
    with pytest.raises(RuntimeError):
        tasks.prepare()
    gc.enable()
    assert ended == [(os.getppid(), signal.SIGKILL)]
    with pytest.raises(RuntimeError, match="inpaint worker"):
        tasks._run("a")
