"""What hosts without a common disk see of each other: promoted weights, training runs. A host is a data directory."""

import hashlib
from pathlib import Path

import pytest

from models.catalog import Card, UnknownModelError
from worker.bucket import Bucket
from worker.runs import RunRecord, UnknownRunError
from worker.settings import WorkerSettings
from worker.shared import RunKeeper, SharedRuns, open_catalog, open_runs


@pytest.fixture
def hosts(bucket_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[WorkerSettings]:
    """Two; each look is a fresh one."""
    monkeypatch.setattr("worker.shared._FRESH_SECONDS", 0.0)
    monkeypatch.setattr("worker.shared.Mirror.pull.__defaults__", ("", 0.0))
    return [WorkerSettings(data_dir=tmp_path / name, storage_url=bucket_url) for name in ("here", "there")]


def card(weights: bytes, name: str = "glcic-test") -> Card:
    fields = dict.fromkeys(("title", "description", "data", "licence", "recipe", "command", "commit"), "x")
    numbers = {"images_seen": 1, "hours": 1, "image_size": 160, "created": "2026-01-01"}
    return Card.model_validate(
        {"name": name, "family": "glcic", "sha256": hashlib.sha256(weights).hexdigest(), **fields, **numbers}
    )


def test_what_is_promoted_on_one_host_serves_on_all(hosts: list[WorkerSettings]) -> None:
    """Cards and the active version are seen everywhere; weights come when they are wanted; rolling back too."""
    here, there = (open_catalog(settings) for settings in hosts)
    one, two = card(b"one"), card(b"two")
    for version, weights in ((one, b"one"), (two, b"two")):
        here.add(version, weights)
    here.activate("glcic-test", two.version)
    assert there.get("glcic-test") == two
    assert {known.version for known in there.versions("glcic-test")} == {one.version, two.version}
    assert there.weights_path(two).read_bytes() == b"two"
    there.activate("glcic-test", one.version)
    assert here.get("glcic-test") == one


def test_a_copy_that_is_damaged_is_fetched_again(hosts: list[WorkerSettings]) -> None:
    """The card's hash tells; a version that ships with the package is never asked for."""
    here, there = (open_catalog(settings) for settings in hosts)
    version = here.add(card(b"weights"), b"weights")
    path = there.weights_path(there.get(version.reference))
    path.write_bytes(b"half")
    assert there.weights_path(version).read_bytes() == b"weights"
    shipped = there.versions("glcic-celeba")[0]
    assert there.weights_path(shipped).parent.name == "weights"


def test_a_host_goes_on_with_what_it_knows(hosts: list[WorkerSettings], monkeypatch: pytest.MonkeyPatch) -> None:
    """While the bucket is away, models are listed as they were, and what needs the bucket says so."""
    here, _ = (open_catalog(settings) for settings in hosts)
    version = here.add(card(b"weights"), b"weights")
    monkeypatch.setattr("worker.bucket._PATIENCE", {"connect_timeout": 1, "retries": {"max_attempts": 0}})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    cut_off = open_catalog(hosts[0])
    assert cut_off.get(version.reference) == version
    assert cut_off.weights_path(version).read_bytes() == b"weights"
    with pytest.raises(OSError, match="bucket"):
        cut_off.activate("glcic-test", version.version)
    assert cut_off.get("glcic-celeba").name == "glcic-celeba"
    with pytest.raises(UnknownModelError):
        cut_off.get("never-seen")


def record(run: str) -> RunRecord:
    return RunRecord(id=run, owner="", family="glcic", dataset="faces", preset="cpu", created_at=1.0, jobs=(run,))


def train(keeper: RunKeeper, folder: Path, step: int, weights: bytes) -> None:
    """What a training process writes between two checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("checkpoint-*.pt"):
        old.unlink()
    (folder / f"checkpoint-{step:09d}.pt").write_bytes(b"state %d" % step)
    (folder / "weights.safetensors").write_bytes(weights)
    (folder / "card.json").write_text(card(weights).model_dump_json())
    (folder / "preview.png").write_bytes(b"newest")
    (folder / "previews").mkdir(exist_ok=True)
    (folder / f"previews/{step:09d}.png").write_bytes(b"png")
    with (folder / "log.jsonl").open("a") as log:
        log.write(f'{{"event": "progress", "step": {step}, "of": 100}}\n')
    keeper.keep(hurry=True)


def test_a_run_is_watched_from_a_host_that_does_not_train(hosts: list[WorkerSettings]) -> None:
    """The API here begins it, the worker there writes it: its log, previews and weights are seen here."""
    here, there = hosts
    runs = open_runs(here)
    runs.write(record("run-1"))
    assert open_runs(there).get("run-1") == record("run-1")
    train(RunKeeper(there, "run-1"), there.runs_dir / "run-1", 10, b"first")
    assert runs.last("run-1")["progress"]["step"] == 10
    assert runs.preview("run-1") == b"newest"
    assert runs.preview("run-1", 10) == b"png"
    assert runs.preview("run-1", 11) is None
    exported = runs.export("run-1")
    assert exported is not None
    assert exported[1] == b"first"
    assert [run.id for run in runs.recent("", 5)] == ["run-1"]
    assert not list((here.data_dir / "runs-seen").rglob("*.pt"))


def test_another_host_goes_on_from_the_last_checkpoint(hosts: list[WorkerSettings]) -> None:
    """The bucket says what is true: what a host kept from an earlier attempt of its own is replaced or goes."""
    here, there = hosts
    train(RunKeeper(here, "run-1"), here.runs_dir / "run-1", 10, b"first")
    second = RunKeeper(there, "run-1")
    second.bring()
    assert (there.runs_dir / "run-1/checkpoint-000000010.pt").read_bytes() == b"state 10"
    train(second, there.runs_dir / "run-1", 20, b"second")
    RunKeeper(here, "run-1").bring()
    assert [path.name for path in (here.runs_dir / "run-1").glob("checkpoint-*.pt")] == ["checkpoint-000000020.pt"]
    assert (here.runs_dir / "run-1/weights.safetensors").read_bytes() == b"second"
    assert len((here.runs_dir / "run-1/log.jsonl").read_text().splitlines()) == 2


def test_a_run_that_no_queue_took_is_forgotten_everywhere(hosts: list[WorkerSettings], bucket_url: str) -> None:
    """Nothing of it is left in the bucket, nor where it was seen."""
    here, there = (open_runs(settings) for settings in hosts)
    here.write(record("run-1"))
    assert there.get("run-1").id == "run-1"
    here.forget("run-1")
    for runs in (here, there):
        assert isinstance(runs, SharedRuns)
        with pytest.raises(UnknownRunError):
            runs.get("run-1")
    assert Bucket(bucket_url).list("runs") == {}
