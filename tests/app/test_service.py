"""The service around the calls: health, metrics, models, docs, page, settings, what an import costs."""

import os
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app.commands.serve import _get_json
from app.exposure import ExposureError, check_exposure
from app.settings import ApiSettings
from tests.app.conftest import FakeWorker, until
from worker.ledger import Ledger, Room, WorkerInfo
from worker.settings import WorkerSettings

pytestmark = pytest.mark.anyio
Form = dict[str, tuple[str, bytes, str]]


def test_importing_the_api_loads_no_torch() -> None:
    """Not even indirectly: the API's process stays small and starts at once."""
    code = (
        "import sys, app.main, app.cli; app.main.create_app();"
        "print([name for name in ('torch', 'torchvision', 'cv2', 'safetensors') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


async def test_ready_means_that_a_picture_would_be_completed(client: httpx.AsyncClient) -> None:
    """503 that names what is missing until a worker has announced itself, then 200 with the worker."""
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["broker"]) == (503, True)
    assert "worker" in answer.json()["detail"]
    assert (await client.get("/healthz")).json()["status"] == "ok"


async def test_ready_with_a_worker(client: httpx.AsyncClient, ledger: Ledger, worker: FakeWorker) -> None:
    """200, who works, which model serves, and how large a picture may be."""
    await until(lambda: bool(ledger.workers()))
    answer = await client.get("/readyz")
    assert answer.status_code == 200
    assert (answer.json()["workers"][0]["id"], answer.json()["model"][:13]) == ("fake:1", "glcic-celeba@")
    assert answer.json()["max_pixels"] == 1_000_000
    assert worker.handled == []
    for path in ("/healthz", "/readyz"):  # as some load balancers ask
        assert (await client.head(path)).status_code == 200


async def test_ready_means_that_both_models_are_there(app: FastAPI, client: httpx.AsyncClient, ledger: Ledger) -> None:
    """The one for faces and the one for all else."""
    ledger.announce("node:1", WorkerInfo(id="node:1", queue="inference"), ttl_seconds=60)
    assert (await client.get("/readyz")).status_code == 200
    for name in ("inpaint_model", "scenes_model"):
        settings = ApiSettings.model_validate({name: "nowhere"})
        app.state.clients = replace(app.state.clients, settings=settings)
        answer = await client.get("/readyz")
        assert (answer.status_code, "nowhere" in answer.json()["detail"]) == (503, True)


async def test_ready_ends_with_what_it_takes(client: httpx.AsyncClient, ledger: Ledger) -> None:
    """A worker that falls silent is missed after its time, and a storage that is full is said to be; the process itself
    is well all the while."""
    ledger.announce("node:1", WorkerInfo(id="node:1", queue="inference"), ttl_seconds=1.5)
    assert (await client.get("/readyz")).status_code == 200
    ledger.note_room(Room(used=10, free=0, full=True))
    answer = await client.get("/readyz")
    assert (answer.status_code, "storage is full" in answer.json()["detail"]) == (503, True)
    ledger.note_room(Room(used=1, free=9, full=False))
    await until(lambda: not ledger.workers())
    answer = await client.get("/readyz")
    assert (answer.status_code, "No worker" in answer.json()["detail"]) == (503, True)
    assert (await client.get("/healthz")).status_code == 200


async def test_metrics_tell_the_queue_and_the_requests(client: httpx.AsyncClient, form: Form) -> None:
    """Depth by state, age, broker, and latency by route, not by path."""
    job = await client.post("/inpaint", files=form, headers={"Prefer": "respond-async"})
    await client.get(f"/jobs/{job.json()['id']}")
    text = (await client.get("/metrics")).text
    assert 'inpaint_jobs{queue="inference",state="queued"} 1.0' in text
    assert 'inpaint_queue_oldest_seconds{queue="inference"}' in text
    assert "inpaint_broker_up 1.0" in text
    assert 'inpaint_http_request_seconds_count{method="GET",route="/jobs/{id}",status="200"} 1.0' in text


async def test_models_are_listed_with_their_cards(client: httpx.AsyncClient) -> None:
    """Name, active version, licence; one alone; an unknown one is 404."""
    models = (await client.get("/models")).json()["models"]
    model = next(model for model in models if model["name"] == "glcic-celeba")
    assert model["active"] == model["versions"][0]["sha256"][:8]
    assert model["versions"][0]["licence"]
    assert (await client.get("/models/glcic-celeba")).json() == model
    assert (await client.get("/models/none-such")).status_code == 404


async def test_a_version_is_put_into_service(client: httpx.AsyncClient, form: Form) -> None:
    """PUT active takes a version that exists; the next job carries it."""
    version = (await client.get("/models/glcic-celeba")).json()["active"]
    answer = await client.put("/models/glcic-celeba/active", json={"version": version})
    assert (answer.status_code, answer.json()["active"]) == (200, version)
    job = await client.post("/inpaint", files=form, headers={"Prefer": "respond-async"})
    assert job.json()["model"] == f"glcic-celeba@{version}"
    unknown = await client.put("/models/glcic-celeba/active", json={"version": "00000000"})
    assert unknown.status_code == 404
    assert (await client.put("/models/glcic-celeba/active", json={"version": "../../x"})).status_code == 400


async def test_the_docs_describe_every_call(client: httpx.AsyncClient, app: FastAPI) -> None:
    """Each operation has a summary, a tag that is described, and its failures as problems."""
    assert (await client.get("/docs")).status_code == 200
    schema = (await client.get("/openapi.json")).json()
    tags = {tag["name"] for tag in schema["tags"]}
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            assert operation["summary"], (method, path)
            assert set(operation["tags"]) <= tags, (method, path)
            for status, answer in operation["responses"].items():
                if status == "default" or int(status) >= 400:
                    assert "application/problem+json" in answer["content"], (method, path, status)
    assert {route.path for route in app.routes if hasattr(route, "methods")} >= {"/openapi.json"}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    """A service that only this machine reaches starts as it is."""
    check_exposure(ApiSettings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
def test_beyond_loopback_needs_keys_or_a_word(host: str) -> None:
    """Refused in a sentence that names the ways out, each of which is then taken."""
    with pytest.raises(ExposureError, match="API_KEYS"):
        check_exposure(ApiSettings(host=host))
    check_exposure(ApiSettings.model_validate({"host": host, "api_keys": "secret"}))
    check_exposure(ApiSettings(host=host, allow_anonymous=True))


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The prefix with one slash, lists by commas."""
    monkeypatch.setenv("ROOT_PATH", "paint/")
    monkeypatch.setenv("API_KEYS", "one, two")
    settings = ApiSettings()
    assert (settings.root_path, len(settings.keyring)) == ("/paint", 2)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("LEASE_SECONDS", "abc", "LEASE_SECONDS: Input should be a valid number"),
        ("DATASETS", "celeba=/x", 'DATASETS: It must be JSON, such as {"celeba"'),
        ("REDIS_URL", "valkey://host", "REDIS_URL: It must begin with redis://"),
        ("STORAGE_URL", "gs://bucket", "STORAGE_URL: "),
        ("LOG_LEVEL", "verbose", "LOG_LEVEL: Input should be 'debug'"),
        ("DATA_DIR", "/dev/null/data", "/dev/null/data cannot be written to"),
    ],
)
def test_a_setting_that_cannot_be_used_is_said_once(variable: str, value: str, says: str, tmp_path: Path) -> None:
    """In a sentence, before anything starts: a worker that cannot read it would be started again for ever."""
    environment = {**os.environ, "DATA_DIR": str(tmp_path), "PORT": "0", variable: value}
    ended = subprocess.run(
        [sys.executable, "-c", "from app.cli import main; main()", "serve"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(says), ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose passes an empty line of `.env` on."""
    monkeypatch.setenv("STORAGE_QUOTA_BYTES", "")
    monkeypatch.setenv("LEASE_SECONDS", "")
    settings = WorkerSettings.read()
    assert (settings.storage_quota_bytes, settings.lease_seconds) == (None, 15)


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """`inpaint serve` looks whether its own API is ready; what is no JSON counts as no answer."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"status": "ready"}' if self.path == "/readyz" else b"<html>")

        def log_message(self, *_: object) -> None: ...

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert _get_json(f"{url}/readyz") == {"status": "ready"}
        assert _get_json(f"{url}/") is None
        server.shutdown()
