"""/jobs: follow, fetch, cancel."""

import json
from typing import Any

import anyio
import httpx
import pytest
import redis

from app.routers import jobs
from tests.app.conftest import FakeWorker
from worker.connection import connect
from worker.contracts import InpaintRequest, Progress
from worker.ledger import Ledger
from worker.settings import WorkerSettings
from worker.storage import Storage

pytestmark = pytest.mark.anyio
Form = dict[str, tuple[str, bytes, str]]
ASYNC = {"Prefer": "respond-async"}


def read_events(text: str) -> list[dict[str, Any]]:
    """`id`, `event` and `data` of each event in a stream."""
    events = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            events.append({**fields, "data": json.loads(fields["data"])})
    return events


async def accepted(client: httpx.AsyncClient, form: Form) -> str:
    answer = await client.post("/inpaint", files=form, headers=ASYNC)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def test_a_job_is_followed_from_queue_to_result(
    client: httpx.AsyncClient, worker: FakeWorker, form: Form
) -> None:
    """202, then events to the end, then the bytes, named after the job."""
    job_id = await accepted(client, form)
    stream = await client.get(f"/jobs/{job_id}/events")
    assert stream.headers["content-type"].startswith("text/event-stream")
    events = read_events(stream.text)
    assert [event["event"] for event in events] == ["queued", "running", "progress", "succeeded"]
    assert events[2]["data"]["progress"]["message"] == "network"
    result = await client.get(f"/jobs/{job_id}/result")
    assert result.status_code == 200
    assert result.headers["content-disposition"] == f'inline; filename="{job_id}.png"'
    assert worker.handled == [job_id]


@pytest.mark.usefixtures("worker")
async def test_events_go_on_after_the_last_one_seen(client: httpx.AsyncClient, form: Form) -> None:
    """`Last-Event-ID` leaves out what came before; after the end there is nothing more, and 204 says so."""
    job_id = await accepted(client, form)
    events = read_events((await client.get(f"/jobs/{job_id}/events")).text)
    later = await client.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": events[1]["id"]})
    assert read_events(later.text) == events[2:]
    after = await client.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": events[-1]["id"]})
    assert after.status_code == 204


async def test_a_quiet_stream_is_kept_alive(
    client: httpx.AsyncClient, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing happens, comments keep proxies from closing the stream."""
    monkeypatch.setattr(jobs, "HEARTBEAT_SECONDS", 0.05)
    job_id = await accepted(client, form)
    async with anyio.create_task_group() as tasks:

        async def cancel_later() -> None:
            await anyio.sleep(0.4)
            await client.post(f"/jobs/{job_id}/cancel")

        tasks.start_soon(cancel_later)
        text = (await client.get(f"/jobs/{job_id}/events")).text
    assert text.count("\n:") >= 2
    assert read_events(text)[-1]["event"] == "cancelled"


async def test_head_of_a_stream_does_not_wait_for_its_end(client: httpx.AsyncClient, form: Form) -> None:
    """Nobody works on the job, so its events go on for ever."""
    job_id = await accepted(client, form)
    with anyio.fail_after(5):
        asked = await client.head(f"/jobs/{job_id}/events")
    assert asked.status_code == 200
    assert asked.headers["content-type"].startswith("text/event-stream")


async def test_a_queued_job_is_cancelled_at_once(
    client: httpx.AsyncClient, form: Form, worker_settings: WorkerSettings
) -> None:
    """It ends, its result is a 409 that says it was cancelled, and what was stored for it is gone."""
    job_id = await accepted(client, form)
    cancelled = await client.post(f"/jobs/{job_id}/cancel")
    assert cancelled.json()["state"] == "cancelled"
    result = await client.get(f"/jobs/{job_id}/result")
    assert (result.status_code, result.json()["type"]) == (409, "urn:inpaint:problem:job-cancelled")
    assert not [path for path in worker_settings.storage_dir.rglob("*") if path.is_file()]


async def test_a_job_that_has_not_ended_in_time_fails(client: httpx.AsyncClient, form: Form) -> None:
    """`Cancel-After`: with no worker in sight, who waits, who follows and who asks are all told `deadline`."""
    sent = await client.put("/inpaint/hasty", files=form, headers=ASYNC | {"Cancel-After": "1"})
    assert sent.json()["deadline"] > sent.json()["created_at"]
    waited = await client.put("/inpaint/hasty", files=form, headers={"Prefer": "wait=5"})
    assert (waited.status_code, waited.json()["type"]) == (504, "urn:inpaint:problem:job-deadline")
    assert "Cancel-After" in waited.json()["detail"]
    await client.put("/inpaint/followed", files=form, headers=ASYNC | {"Cancel-After": "1"})
    events = read_events((await client.get("/jobs/followed/events")).text)
    assert (events[-1]["event"], events[-1]["data"]["failure"]["type"]) == ("failed", "deadline")
    assert (await client.get("/jobs/followed")).json()["state"] == "failed"
    for wrong in ("0", "soon", "1e9", "-1"):
        refused = await client.post("/inpaint", files=form, headers={"Cancel-After": wrong})
        assert (refused.status_code, "Cancel-After" in refused.json()["detail"]) == (400, True)


async def test_a_running_job_is_asked_to_stop(client: httpx.AsyncClient, ledger: Ledger, form: Form) -> None:
    """`cancel_requested`, and a request that waits hears of the end."""
    job_id = await accepted(client, form)
    lease = ledger.lease(job_id, "node:1")
    assert lease is not None
    answer = (await client.post(f"/jobs/{job_id}/cancel")).json()
    assert (answer["state"], answer["cancel_requested"]) == ("running", True)
    ledger.acknowledge_cancel(lease)
    assert (await client.get(f"/jobs/{job_id}")).json()["state"] == "cancelled"


async def test_a_result_that_is_not_ready_is_a_conflict(client: httpx.AsyncClient, ledger: Ledger, form: Form) -> None:
    """409 with the state and when to ask again, queued and running; the job shows position and progress."""
    first, second = await accepted(client, form), await accepted(client, form)
    assert (await client.get(f"/jobs/{second}")).json()["position"] == 1
    lease = ledger.lease(first, "node:1")
    assert lease is not None
    ledger.progress(lease, Progress(done=1, total=3))
    shown = (await client.get(f"/jobs/{first}")).json()
    assert (shown["state"], shown["progress"]["done"], shown["attempts"]) == ("running", 1, 1)
    for job_id, state in ((first, "running"), (second, "queued")):
        answer = await client.get(f"/jobs/{job_id}/result")
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:inpaint:problem:not-ready")
        assert state in answer.json()["detail"]
        assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.usefixtures("worker")
async def test_a_result_that_was_removed_is_gone(client: httpx.AsyncClient, form: Form, storage: Storage) -> None:
    """410, which says how long results are kept."""
    job_id = (await client.post("/inpaint", files=form)).headers["x-job-id"]
    storage.delete(f"results/{job_id}")
    answer = await client.get(f"/jobs/{job_id}/result")
    assert (answer.status_code, answer.json()["type"]) == (410, "urn:inpaint:problem:result-expired")
    assert "24 hours" in answer.json()["detail"]


async def test_the_latest_jobs_come_first(client: httpx.AsyncClient, form: Form) -> None:
    """GET /jobs lists what was accepted, newest first, no more than asked for."""
    ids = [await accepted(client, form) for _ in range(3)]
    listed = (await client.get("/jobs", params={"limit": 2})).json()["jobs"]
    assert [job["id"] for job in listed] == ids[:0:-1]


@pytest.mark.parametrize("path", ["", "/result", "/events"])
async def test_an_unknown_job_is_404(client: httpx.AsyncClient, path: str) -> None:
    """On every path of it."""
    answer = await client.get(f"/jobs/nobody{path}")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:inpaint:problem:unknown-job")


async def test_waiting_survives_a_lost_subscription(
    client: httpx.AsyncClient, form: Form, ledger: Ledger, storage: Storage, redis_url: str
) -> None:
    """When every connection to the broker is cut, who waits still gets the result."""
    async with anyio.create_task_group() as tasks:
        answers: list[httpx.Response] = []

        async def wait() -> None:
            answers.append(await client.put("/inpaint/patient", files=form))

        tasks.start_soon(wait)
        await anyio.sleep(0.3)
        with redis.Redis.from_url(redis_url) as broker:
            broker.client_kill_filter(_type="pubsub")
            broker.client_kill_filter(_type="normal", skipme=True)
        lease = ledger.lease("patient", "node:1")
        assert lease is not None
        assert isinstance(lease.job.request, InpaintRequest)
        FakeWorker.complete(ledger, storage, lease)
    assert answers[0].status_code == 200
    assert answers[0].elapsed.total_seconds() < 5


async def test_the_stream_of_a_job_that_is_gone_ends(
    client: httpx.AsyncClient, form: Form, worker_settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker lost all it had: who follows comes again, and is told 404."""
    monkeypatch.setattr(jobs, "HEARTBEAT_SECONDS", 0.05)
    job_id = await accepted(client, form)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def forget() -> None:
                await anyio.sleep(0.2)
                with connect(worker_settings.redis_url) as broker:
                    broker.flushall()

            tasks.start_soon(forget)
            await client.get(f"/jobs/{job_id}/events")
    assert (await client.get(f"/jobs/{job_id}/events")).status_code == 404


@pytest.mark.usefixtures("worker")
async def test_a_cache_keeps_what_cannot_become_another_picture(client: httpx.AsyncClient, form: Form) -> None:
    """An id that a client chose may mean another picture for another key, or later; a job's state changes."""
    drawn = (await client.post("/inpaint", files=form)).headers["X-Job-Id"]
    await client.put("/inpaint/my-own", files=form)
    kept = {job_id: await client.get(f"/jobs/{job_id}/result") for job_id in (drawn, "my-own")}
    assert kept[drawn].headers["Cache-Control"] == "private, max-age=3600, immutable"
    assert kept["my-own"].headers["Cache-Control"] == "private, no-cache"
    assert all(answer.headers["Vary"] == "Authorization, X-API-Key" for answer in kept.values())
    assert (await client.get(f"/jobs/{drawn}")).headers["Cache-Control"] == "no-store"


async def test_a_cancelled_id_says_what_helps(client: httpx.AsyncClient, form: Form) -> None:
    """The same request under the same id finds the same job: another id is needed."""
    await client.put("/inpaint/my-own", files=form, headers=ASYNC)
    await client.post("/jobs/my-own/cancel")
    again = await client.put("/inpaint/my-own", files=form)
    assert (again.status_code, "with another" in again.json()["detail"]) == (409, True)


async def test_a_broker_that_refuses_is_an_outage(
    client: httpx.AsyncClient, form: Form, worker_settings: WorkerSettings
) -> None:
    """Its memory is full: 503, not a fault of the service; with room again the same process goes on."""
    with connect(worker_settings.redis_url) as broker:
        try:
            broker.config_set("maxmemory", 1)
            refused = await client.post("/inpaint", files=form, headers=ASYNC)
            metrics = await client.get("/metrics")
        finally:
            broker.config_set("maxmemory", 0)
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:inpaint:problem:broker-away")
    assert metrics.status_code == 200
    await accepted(client, form)
