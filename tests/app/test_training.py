"""/training-runs: begin, watch, cancel, go on, put into service. A fake worker stands behind the real ledger."""

import errno
import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from fastapi import FastAPI

from app.errors import ProblemError
from app.main import create_app
from app.routers.training import RunView, _resume
from app.settings import ApiSettings
from models.catalog import Card, Catalog
from worker.connection import connect
from worker.contracts import Failure, Progress, Result, TrainingRequest
from worker.ledger import Lease, Ledger
from worker.runs import Runs
from worker.settings import WorkerSettings

pytestmark = pytest.mark.anyio

ORDER = {"family": "glcic", "dataset": "faces", "overrides": {"name": "faces-test", "lr": 1e-3}}


@pytest.fixture
def worker_settings(redis_url: str, tmp_path: Path) -> WorkerSettings:
    return WorkerSettings(redis_url=redis_url, data_dir=tmp_path, queue_limit=4, datasets={"faces": Path("/faces")})


def lease(ledger: Ledger) -> Lease:
    """What the training worker takes next."""
    (taken,) = ledger.lease_waiting("training", 1, "test:1")
    return taken


def write_log(settings: WorkerSettings, run: str, **line: Any) -> None:
    folder = settings.runs_dir / run
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def export(settings: WorkerSettings, run: str, weights: bytes, family: str = "glcic", name: str = "faces-test") -> Card:
    """What a training process leaves with a checkpoint."""
    card = Card.model_validate(
        {
            "name": name, "family": family, "title": "", "description": "", "data": "", "licence": "", "recipe": "",
            "sha256": hashlib.sha256(weights).hexdigest(), "images_seen": 1, "hours": 0, "image_size": 16,
            "command": "", "commit": "", "created": "2026-01-01", "metrics": {"hole_psnr_db_16": 12.5},
        }
    )  # fmt: skip
    folder = settings.runs_dir / run
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.safetensors").write_bytes(weights)
    (folder / "card.json").write_text(card.model_dump_json())
    return card


async def begin(client: httpx.AsyncClient) -> str:
    answer = await client.post("/training-runs", json=ORDER)
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/training-runs/{answer.json()['id']}"
    return str(answer.json()["id"])


async def test_a_run_from_order_to_end(
    client: httpx.AsyncClient, ledger: Ledger, worker_settings: WorkerSettings
) -> None:
    """What was ordered reaches the worker; what the worker tells reaches the client; it ends with a model."""
    run = await begin(client)
    assert (await client.get(f"/training-runs/{run}")).json()["state"] == "queued"
    taken = lease(ledger)
    assert taken.job.request == TrainingRequest.model_validate(ORDER | {"kind": "training"})
    ledger.progress(taken, Progress(done=5, total=10, details={"hole_mse": 0.02, "eta_seconds": 60}))
    card = export(worker_settings, run, b"weights")
    seen = (await client.get(f"/training-runs/{run}")).json()
    assert (seen["state"], seen["progress"]["done"], seen["progress"]["total"]) == ("running", 5, 10)
    assert seen["progress"]["details"] == {"hole_mse": 0.02, "eta_seconds": 60}
    assert (seen["model"], seen["metrics"]) == (card.reference, {"hole_psnr_db_16": 12.5})
    ledger.succeed(taken, Result(key=f"results/{run}", media_type="application/json", model=card.reference))
    assert (await client.get(f"/training-runs/{run}")).json()["state"] == "succeeded"
    listed = (await client.get("/training-runs")).json()["runs"]
    assert [item["id"] for item in listed] == [run]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"dataset": "scenes"}, "There is no data set 'scenes'. Data sets: faces."),
        ({"dataset": "/etc/passwd"}, "There is no data set '/etc/passwd'"),
        ({"overrides": {"learning_rate": 1}}, "There is no option learning_rate"),
        ({"overrides": {"lr": "fast"}}, "lr: Input should be a valid number"),
        ({"overrides": {"device": "cuda:7"}}, "operator's choice"),
        ({"overrides": {"init": "/etc/passwd"}}, "init: String should match"),
        ({"overrides": {"name": "../../weights"}}, "name: String should match"),
        ({"overrides": {"sizes": [64]}}, "one entry per stage"),
        ({"preset": "tpu"}, "preset"),
        ({"family": "vae"}, "family"),
        ({"path": "/data"}, "path"),
    ],
)
async def test_a_wrong_order_is_refused_at_once(
    client: httpx.AsyncClient, ledger: Ledger, worker_settings: WorkerSettings, change: dict[str, Any], says: str
) -> None:
    """400 with what is wrong and what there is instead; no job, no run."""
    answer = await client.post("/training-runs", json=ORDER | change)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert says in answer.json()["detail"]
    assert ledger.depth("training") == 0
    assert not worker_settings.runs_dir.exists()


async def test_weights_to_start_from_must_exist(client: httpx.AsyncClient) -> None:
    """`init` is a model of the catalogue: another is 404, a path is 400."""
    unknown = await client.post("/training-runs", json=ORDER | {"overrides": {"init": "no-such-model"}})
    path = await client.post("/training-runs", json=ORDER | {"overrides": {"init": "../secret"}})
    assert (unknown.status_code, path.status_code) == (404, 400)


async def test_the_same_key_finds_the_same_run(client: httpx.AsyncClient, ledger: Ledger) -> None:
    """A repeated request begins one run; another body under the key is 422."""
    headers = {"Idempotency-Key": "mine"}
    answers = [await client.post("/training-runs", json=ORDER, headers=headers) for _ in range(2)]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert ledger.depth("training") == 1
    other = await client.post("/training-runs", json=ORDER | {"preset": "course"}, headers=headers)
    assert other.status_code == 422


async def test_cancel_and_resume(client: httpx.AsyncClient, ledger: Ledger) -> None:
    """A running run is asked to stop; afterwards it goes on in another job, with options changed on the way."""
    run = await begin(client)
    first = lease(ledger)
    assert (await client.post(f"/training-runs/{run}/resume")).status_code == 409
    asked = (await client.post(f"/training-runs/{run}/cancel")).json()
    assert (asked["state"], asked["cancel_requested"]) == ("running", True)
    ledger.acknowledge_cancel(first)
    assert (await client.get(f"/training-runs/{run}")).json()["state"] == "cancelled"
    answer = await client.post(f"/training-runs/{run}/resume", json={"overrides": {"lr": 1e-4}})
    assert answer.status_code == 202
    second = lease(ledger)
    request = second.job.request
    assert isinstance(request, TrainingRequest)
    assert (request.run, second.job.id != run) == (run, True)
    assert request.overrides == {"name": "faces-test", "lr": 1e-4}
    assert answer.json()["links"]["job"] == f"/jobs/{second.job.id}"
    ledger.fail(second, Failure(type="internal", detail="The disk is full."))
    failed = (await client.get(f"/training-runs/{run}")).json()
    assert (failed["state"], failed["failure"]["detail"]) == ("failed", "The disk is full.")


async def test_a_run_may_have_a_deadline(client: httpx.AsyncClient, ledger: Ledger) -> None:
    """`Cancel-After`, when it begins and again when it is resumed: each job has its own."""
    headers = {"Cancel-After": "3600"}
    run = (await client.post("/training-runs", json=ORDER, headers=headers)).json()["id"]
    await client.post(f"/training-runs/{run}/cancel")
    resumed = (await client.post(f"/training-runs/{run}/resume", headers=headers)).json()
    for job in (ledger.get(run), ledger.get(resumed["links"]["job"].rpartition("/")[2])):
        assert job.deadline is not None
        assert abs(job.deadline - job.created_at - 3600) < 0.01


async def test_a_finished_run_is_not_resumed(
    client: httpx.AsyncClient, ledger: Ledger, worker_settings: WorkerSettings
) -> None:
    """409 that says what to do instead; so too when its job is long forgotten and only its log is left."""
    run = await begin(client)
    ledger.succeed(lease(ledger), Result(key="results/x", media_type="application/json", model="x@00000000"))
    assert (await client.post(f"/training-runs/{run}/resume")).status_code == 409
    with connect(worker_settings.redis_url) as broker:
        broker.flushall()
    write_log(worker_settings, run, event="progress", step=10, of=10, hole_mse=0.01)
    write_log(worker_settings, run, event="finished", step=10)
    seen = (await client.get(f"/training-runs/{run}")).json()
    assert (seen["state"], seen["progress"]["done"]) == ("succeeded", 10)
    assert (await client.post(f"/training-runs/{run}/resume")).status_code == 409


async def test_promotion_puts_a_version_into_service(
    client: httpx.AsyncClient, worker_settings: WorkerSettings
) -> None:
    """The next request gets the new version, without a restart; the model's page rolls it back."""
    run = await begin(client)
    too_soon = await client.post(f"/training-runs/{run}/promote")
    assert (too_soon.status_code, "first checkpoint" in too_soon.json()["detail"]) == (409, True)
    catalog = Catalog(store=worker_settings.weights_dir)
    first = export(worker_settings, run, b"first")
    answer = (await client.post(f"/training-runs/{run}/promote")).json()
    assert (answer["model"], answer["previous"]) == (first.reference, None)
    second = export(worker_settings, run, b"second")
    answer = (await client.post(f"/training-runs/{run}/promote")).json()
    assert (answer["model"], answer["previous"]) == (second.reference, first.reference)
    assert catalog.get("faces-test") == second
    assert catalog.weights_path(second).read_bytes() == b"second"
    again = await client.post(f"/training-runs/{run}/promote")
    assert again.status_code == 200
    await client.put("/models/faces-test/active", json={"version": first.version})
    assert catalog.get("faces-test") == first


async def test_a_promotion_does_not_change_a_models_family(
    client: httpx.AsyncClient, worker_settings: WorkerSettings
) -> None:
    """A DCGAN is not put in the place of a completion network."""
    run = await begin(client)
    export(worker_settings, run, b"dcgan", family="dcgan", name="glcic-celeba")
    answer = await client.post(f"/training-runs/{run}/promote")
    assert answer.status_code == 409
    assert answer.json()["type"].endswith("other-family")


async def test_the_history_is_the_whole_run_in_few_points(
    client: httpx.AsyncClient, worker_settings: WorkerSettings
) -> None:
    """From the first step to the last however long it was; what a resumed run did again is told once."""
    run = await begin(client)
    empty = (await client.get(f"/training-runs/{run}/history")).json()
    assert empty == {"figures": {}, "previews": []}
    write_log(worker_settings, run, event="preview", step=0, file="previews/000000000.png")
    for step in (*range(100, 20_100, 100), *range(15_100, 30_100, 100)):
        if step == 15_100:
            write_log(worker_settings, run, event="resumed", step=15_000)
        write_log(worker_settings, run, event="progress", step=step, of=30_000, loss=float(step), images_per_second=9.5)
    write_log(worker_settings, run, event="validation", step=30_000, psnr=17.5)
    told = (await client.get(f"/training-runs/{run}/history?points=100")).json()
    assert told["previews"] == [0]
    assert set(told["figures"]) == {"loss", "psnr"}
    assert told["figures"]["psnr"] == [[30_000, 17.5]]
    loss = told["figures"]["loss"]
    assert len(loss) == 100
    assert loss[0] == [300, 200.0]
    assert loss[-1] == [30_000, 29_900.0]
    assert [step for step, _ in loss] == sorted({step for step, _ in loss})
    assert all(step - 100 == value for step, value in loss), "each point is the mean of three neighbours"


async def test_the_preview_is_a_picture_or_a_reason(client: httpx.AsyncClient, worker_settings: WorkerSettings) -> None:
    """404 that says when to come back, then the newest PNG, or that of an earlier step."""
    run = await begin(client)
    missing = await client.get(f"/training-runs/{run}/preview")
    assert (missing.status_code, missing.headers["Retry-After"]) == (404, "5")
    (worker_settings.runs_dir / run / "preview.png").write_bytes(b"\x89PNG...")
    found = await client.get(f"/training-runs/{run}/preview")
    assert (found.headers["Content-Type"], found.content) == ("image/png", b"\x89PNG...")
    earlier = worker_settings.runs_dir / run / "previews" / "000000020.png"
    earlier.parent.mkdir()
    earlier.write_bytes(b"\x89PNG, step 20")
    assert (await client.get(f"/training-runs/{run}/preview?step=20")).content == b"\x89PNG, step 20"
    assert (await client.get(f"/training-runs/{run}/preview?step=21")).status_code == 404


@pytest.mark.parametrize("id", ["nobody", ".hidden", "%2e%2e%2fstorage", "A" * 65])
async def test_an_unknown_run_is_404_or_400(client: httpx.AsyncClient, id: str) -> None:
    """No id leads out of the folder of runs."""
    for call in ("", "/history", "/preview"):
        assert (await client.get(f"/training-runs/{id}{call}")).status_code in (400, 404)


async def test_nothing_is_left_of_a_run_that_no_queue_takes(
    client: httpx.AsyncClient, worker_settings: WorkerSettings
) -> None:
    """429 when the queue is full, and the run does not exist."""
    for _ in range(4):
        await begin(client)
    answer = await client.post("/training-runs", json=ORDER)
    assert answer.status_code == 429
    assert len(list(worker_settings.runs_dir.iterdir())) == 4
    assert len((await client.get("/training-runs")).json()["runs"]) == 4


async def test_data_sets_are_listed_by_name_alone(client: httpx.AsyncClient, worker_settings: WorkerSettings) -> None:
    """A client learns what can be trained on, not where it lies; a list that is broken is 503."""
    answer = await client.get("/datasets")
    assert answer.json() == {"datasets": ["faces"]}
    (worker_settings.data_dir / "datasets.toml").write_text("broken")
    assert (await client.get("/datasets")).status_code == 503
    assert (await client.post("/training-runs", json=ORDER)).status_code == 503


async def test_a_key_sees_its_own_runs_alone(worker_settings: WorkerSettings) -> None:
    """Another key's run is as unknown as one that never was."""
    app: FastAPI = create_app(ApiSettings.model_validate({"api_keys": "one, two"}), worker_settings)
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        mine, other = {"X-API-Key": "one"}, {"X-API-Key": "two"}
        assert (await client.post("/training-runs", json=ORDER)).status_code == 401
        run = (await client.post("/training-runs", json=ORDER, headers=mine)).json()["id"]
        assert (await client.get(f"/training-runs/{run}", headers=mine)).status_code == 200
        for call in (client.get(f"/training-runs/{run}", headers=other), client.get("/training-runs", headers=other)):
            answer = await call
            assert answer.status_code == 404 or answer.json() == {"runs": []}
        assert (await client.post(f"/training-runs/{run}/promote", headers=other)).status_code == 404


async def test_of_several_resumptions_at_once_one_goes_on(
    app: FastAPI, client: httpx.AsyncClient, ledger: Ledger, worker_settings: WorkerSettings
) -> None:
    """A run's folder has one job at a time. Who asks for the same finds it, who asks for something else is told."""
    run = await begin(client)
    await client.post(f"/training-runs/{run}/cancel")
    runs = Runs(worker_settings.runs_dir)
    seen_by_all = runs.get(run)

    def resume(lr: float) -> RunView:
        return _resume(app.state.clients, runs, seen_by_all, {"lr": lr}, None, "")

    first, second = resume(1e-4), resume(1e-4)
    assert first.links.job == second.links.job
    with pytest.raises(ProblemError, match="other options") as refused:
        resume(1e-5)
    assert refused.value.status == 409
    assert ledger.depth("training") == 1
    assert (runs.get(run).overrides, len(runs.get(run).jobs)) == ({"lr": 1e-4}, 2)


async def test_a_run_whose_job_may_be_queued_is_kept(
    client: httpx.AsyncClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker's answer was lost: the run can be found, and the same request again begins it once."""
    submit = Ledger.submit

    def lose(*arguments: Any, **options: Any) -> None:
        submit(*arguments, **options)
        raise redis.ConnectionError("gone")

    headers = {"Idempotency-Key": "mine"}
    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "submit", lose)
        assert (await client.post("/training-runs", json=ORDER, headers=headers)).status_code == 503
    (run,) = (await client.get("/training-runs")).json()["runs"]
    again = await client.post("/training-runs", json=ORDER, headers=headers)
    assert (again.status_code, again.json()["id"], ledger.depth("training")) == (202, run["id"], 1)


async def test_a_key_is_remembered_longer_than_its_job(
    client: httpx.AsyncClient, ledger: Ledger, worker_settings: WorkerSettings
) -> None:
    """As long as its run: the same request finds that, and begins nothing; another body is refused."""
    headers = {"Idempotency-Key": "mine"}
    run = (await client.post("/training-runs", json=ORDER, headers=headers)).json()["id"]
    write_log(worker_settings, run, event="finished", step=10)
    with connect(worker_settings.redis_url) as broker:
        broker.flushall()
    same = await client.post("/training-runs", json=ORDER, headers=headers)
    assert (same.json()["id"], same.json()["state"], ledger.depth("training")) == (run, "succeeded", 0)
    other = await client.post("/training-runs", json=ORDER | {"preset": "course"}, headers=headers)
    assert other.status_code == 422


async def test_a_full_disk_is_said(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the run is noted, too: it is no fault of the service."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Runs, "write", full)
    answer = await client.post("/training-runs", json=ORDER)
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:inpaint:problem:storage-unavailable")
