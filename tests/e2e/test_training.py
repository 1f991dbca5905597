"""A training run over HTTP on the whole service: begun, killed, resumed, promoted, used by the next request."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.service import Service, form, until
from tests.models.training.pictures import write_pictures

ORDER = {
    "family": "glcic",
    "dataset": "faces",
    "overrides": {
        "name": "faces-test", "sizes": [16], "completion_steps": [1_000_000], "discriminator_steps": [0],
        "joint_steps": [0], "batch_size": 2, "log_every": 1, "checkpoint_seconds": 1, "preview_every": 1_000_000,
        "validate_every": 1_000_000, "validation_pictures": 1,
    },
}  # fmt: skip


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    for split, count in (("train", 4), ("val", 1)):
        write_pictures(tmp_path / "faces" / split, count)
    monkeypatch.setenv("DATASETS", json.dumps({"faces": str(tmp_path / "faces")}))
    monkeypatch.setenv("THREADS", "1")
    service = Service(tmp_path / "data")
    yield service
    service.kill()
    until(lambda: not service.processes(), 10, service.processes)


def test_a_run_survives_its_worker_and_its_weights_serve_the_next_request(service: Service) -> None:
    """Killed with -9 the run goes on from its checkpoint unasked; promoted, `/inpaint` uses it without a restart."""
    with httpx.Client(base_url=service.wait_until_ready(), timeout=60) as client:
        run = client.post("/training-runs", json=ORDER).json()["id"]
        log = service.data_dir / "runs" / run / "log.jsonl"

        def said(event: str) -> list[dict[str, int]]:
            lines = log.read_text().splitlines() if log.exists() else []
            return [line for line in map(json.loads, lines) if line["event"] == event]

        until(lambda: said("checkpoint"), 90, service.output)
        worker = service.pid("app.commands.worker", "training")
        assert worker is not None
        computing = service.pid("spawn_main", parent=worker)
        assert computing is not None
        saved = said("checkpoint")[-1]["step"]
        os.kill(computing, signal.SIGKILL)
        until(lambda: said("resumed"), 90, service.output)
        assert said("resumed")[0]["step"] >= saved

        promotion = client.post(f"/training-runs/{run}/promote").json()
        assert promotion["previous"] is None
        answer = client.post("/inpaint", files=form(), data={"model": "faces-test"})
        assert (answer.status_code, answer.headers["X-Model"]) == (200, promotion["model"]), answer.text

        client.post(f"/training-runs/{run}/cancel")
        until(lambda: client.get(f"/training-runs/{run}").json()["state"] == "cancelled", 60, service.output)
        assert said("stopped")
        assert client.get(f"/training-runs/{run}/preview").content.startswith(b"\x89PNG")
