"""What requests and jobs leave behind: log lines, traces, metrics."""

import logging
import os
from pathlib import Path
from typing import get_args

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from app.main import create_app
from app.settings import ApiSettings
from tests.app.conftest import FakeWorker, until
from worker.contracts import (
    Failure,
    FailureType,
    InpaintRequest,
    JobRequest,
    Result,
    SampleRequest,
    TrainingRequest,
)
from worker.ledger import Ledger, QueueFullError, Room, StorageFullError
from worker.processes import resident_bytes
from worker.settings import WorkerSettings

pytestmark = pytest.mark.anyio
Form = dict[str, tuple[str, bytes, str]]

TRACE = "0af7651916cd43dd8448eb211c80319c"


async def metrics(client: httpx.AsyncClient) -> dict[str, float]:
    """By name and the values of the labels, in the labels' alphabetical order: `inpaint_jobs inference queued`."""
    text = (await client.get("/metrics")).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        " ".join([sample.name, *(value for _, value in sorted(sample.labels.items()))]): sample.value
        for sample in samples
    }


async def test_a_trace_goes_from_the_request_into_the_jobs_record(
    client: httpx.AsyncClient, ledger: Ledger, form: Form
) -> None:
    """The client's trace is joined as a new step, which is returned and stored with the job."""
    sent = f"00-{TRACE}-b7ad6b7169203331-01"
    answer = await client.post("/inpaint", files=form, headers={"Prefer": "respond-async", "traceparent": sent})
    returned = answer.headers["traceparent"]
    assert returned.startswith(f"00-{TRACE}-")
    assert returned != sent
    assert ledger.get(answer.json()["id"]).trace == returned


async def test_a_request_without_a_trace_begins_one(client: httpx.AsyncClient) -> None:
    """Each its own; what is no `traceparent` counts as none."""
    answers = [await client.get("/models", headers={"traceparent": header}) for header in ("", "00-zz", "")]
    assert len({answer.headers["traceparent"] for answer in answers}) == 3


async def test_a_path_makes_one_line(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever stands in it: nobody writes another line, or moves the cursor of who reads."""
    caplog.set_level(logging.INFO, "app.observation")
    await client.get("/x%0a12:00:00%20[info]%20PUT%20/models/a/active%20200%1b[2K")
    (line,) = [record.getMessage() for record in caplog.records if record.name == "app.observation"]
    assert line.isprintable()


async def test_each_request_is_a_line(client: httpx.AsyncClient, form: Form, caplog: pytest.LogCaptureFixture) -> None:
    """Method, path, status, time, size and job; no query, because people put secrets there; probes only at debug."""
    caplog.set_level(logging.INFO, "app.observation")
    job = await client.post("/inpaint?key=secret", files=form, headers={"Prefer": "respond-async"})
    await client.get("/jobs/nobody")
    await client.get("/readyz")
    accepted, unknown = [record.__dict__ for record in caplog.records if record.name == "app.observation"]
    assert (accepted["method"], accepted["path"], accepted["status"]) == ("POST", "/inpaint", 202)
    assert (accepted["job"], accepted["bytes"]) == (job.json()["id"], len(job.content))
    assert accepted["milliseconds"] > 0
    assert (unknown["status"], unknown["message"]) == (404, "GET /jobs/nobody 404")
    assert "secret" not in caplog.text


async def test_a_failure_of_the_service_is_a_line_and_a_number(
    client: httpx.AsyncClient, app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception that nobody foresaw is told as 500, although its answer is made elsewhere."""

    @app.get("/broken")
    async def broken() -> None:
        raise ZeroDivisionError

    assert (await client.get("/broken")).status_code == 500
    record = next(record for record in caplog.records if record.name == "app.observation")
    assert (record.levelname, record.__dict__["status"]) == ("ERROR", 500)
    assert (await metrics(client))["inpaint_http_request_seconds_count GET /broken 500"] == 1


async def test_totals_are_counted_where_the_state_changes(
    client: httpx.AsyncClient, worker: FakeWorker, form: Form, worker_settings: WorkerSettings
) -> None:
    """Accepted, ended by state and reason, pictures, stages; another API process, started later, tells the same."""
    assert (await client.post("/inpaint", files=form)).status_code == 200
    worker.fail(Failure(type="bad-input", detail="no"))
    assert (await client.post("/inpaint", files=form)).status_code == 422
    found = await metrics(client)
    assert found["inpaint_jobs_accepted_total inpaint"] == 2
    assert found["inpaint_jobs_ended_total inpaint  succeeded"] == 1
    assert found["inpaint_jobs_ended_total inpaint bad-input failed"] == 1
    assert found["inpaint_pictures_total inpaint"] == 1
    assert found["inpaint_job_seconds_count inpaint network"] == 1
    assert found["inpaint_job_seconds_sum inpaint network"] == pytest.approx(0.01)
    assert found["inpaint_job_seconds_bucket inpaint 0.005 network"] == 0
    assert found["inpaint_job_seconds_bucket inpaint 0.01 network"] == 1
    assert found["inpaint_job_seconds_bucket inpaint +Inf network"] == 1
    assert found["inpaint_job_seconds_count inpaint all"] == 1
    assert found["inpaint_job_batch_size_bucket inpaint 1"] == 1

    other = create_app(ApiSettings(), worker_settings)
    async with (
        other.router.lifespan_context(other),
        httpx.AsyncClient(transport=httpx.ASGITransport(other), base_url="http://other") as elsewhere,
    ):
        theirs = await metrics(elsewhere)
    assert {key: value for key, value in theirs.items() if "jobs_" in key} == {
        key: value for key, value in found.items() if "jobs_" in key
    }


async def test_what_may_be_counted_is_there_as_0_before_it_happens(client: httpx.AsyncClient, ledger: Ledger) -> None:
    """Prometheus's `increase` passes over the first of a series that begins with it: an alert would miss it."""
    kinds = {kind.model_fields["kind"].default for kind in get_args(get_args(JobRequest)[0])}
    before = await metrics(client)
    for kind in kinds:
        assert before[f"inpaint_jobs_accepted_total {kind}"] == 0
        for reason in get_args(FailureType):
            assert before[f"inpaint_jobs_ended_total {kind} {reason} failed"] == 0
    picture = InpaintRequest(model="m@00000000", inputs_key="a")
    run = TrainingRequest(family="dcgan", dataset="d")
    for job_id, request in {"a": picture, "b": picture, "c": SampleRequest(model="m@00000000"), "d": run}.items():
        ledger.submit(job_id, request)
    for job_id in "ad":
        assert (lost := ledger.lease(job_id, "node:1"))
        assert ledger.lose(lost)
    assert (done := ledger.lease("b", "node:1"))
    assert ledger.succeed(done, Result(key="k", media_type="image/png", model="m@00000000"))
    ledger.cancel("c")
    for number in range(3):
        ledger.submit(f"more-{number}", picture)
    with pytest.raises(QueueFullError):
        ledger.submit("one-too-many", picture)
    ledger.note_room(Room(1, 1, full=True))
    with pytest.raises(StorageFullError):
        ledger.submit("e", picture)
    after = await metrics(client)
    assert {name for name in after if "_total " in name} == {name for name in before if "_total " in name}


async def test_a_result_that_is_told_twice_counts_once(client: httpx.AsyncClient, ledger: Ledger) -> None:
    """A worker repeats what the broker may not have heard; sample jobs count each of their pictures."""
    ledger.submit("a", SampleRequest(model="dcgan-test@00000000", n=12))
    lease = ledger.lease("a", "node:1")
    assert lease is not None
    result = Result(key="results/a", media_type="image/png", model="dcgan-test@00000000", timings={"draw": 3.0})
    assert ledger.succeed(lease, result, batch=3)
    assert ledger.succeed(lease, result, batch=3)
    found = await metrics(client)
    assert found["inpaint_pictures_total sample"] == 12
    assert found["inpaint_job_seconds_count sample draw"] == 1
    assert found["inpaint_job_batch_size_bucket sample 2"] == 0
    assert found["inpaint_job_batch_size_bucket sample 4"] == 1


async def test_workers_are_seen_with_their_memory(
    client: httpx.AsyncClient, ledger: Ledger, worker: FakeWorker
) -> None:
    """How many for each queue, device and memory of each, and the API's own memory."""
    await until(lambda: bool(ledger.workers()))
    found = await metrics(client)
    assert (found["inpaint_workers inference"], found["inpaint_workers training"]) == (1, 0)
    assert "inpaint_worker_memory_bytes cpu inference fake:1" in found
    assert found["process_resident_memory_bytes"] > 1 << 20
    assert worker.handled == []


def test_memory_is_that_of_a_process_and_its_children() -> None:
    """In bytes; 0 for a process that is not there."""
    assert resident_bytes() > 10 << 20
    own = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert resident_bytes() >= own * 0.5
    assert resident_bytes(2**22 + 1) == 0
