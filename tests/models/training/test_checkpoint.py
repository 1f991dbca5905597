"""Checkpoints: whole or not there."""

import resource
from pathlib import Path

import pytest
import torch

from models.training import checkpoint
from models.training.errors import CheckpointError, DivergedError, UnsavedError

CPU = torch.device("cpu")


def _state(value: float) -> dict[str, object]:
    return {"step": value, "nested": {"list": [torch.full((1000,), value)]}, "name": "x"}


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    """Tensors, numbers and text, however nested; the newest of several; the last two are kept."""
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, _state(step))
    state, passed_over = checkpoint.load_newest(tmp_path, CPU)
    assert state is not None
    assert (state["step"], state["name"], passed_over) == (3, "x", [])
    assert torch.equal(state["nested"]["list"][0], torch.full((1000,), 3.0))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["checkpoint-000000002.pt", "checkpoint-000000003.pt"]


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    """A file cut short, as after a power cut, is named, and the one before it is used."""
    checkpoint.save(tmp_path, 1, _state(1))
    newest = checkpoint.save(tmp_path, 2, _state(2))
    newest.write_bytes(newest.read_bytes()[:100])
    state, passed_over = checkpoint.load_newest(tmp_path, CPU)
    assert state is not None
    assert state["step"] == 1
    assert newest.name in passed_over[0]


def test_only_damaged_checkpoints_are_an_error(tmp_path: Path) -> None:
    """A run is never silently started anew over what is left of one."""
    (tmp_path / "checkpoint-000000001.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="checkpoint-000000001"):
        checkpoint.load_newest(tmp_path, CPU)


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    """A folder without checkpoints, or no folder, is a fresh start."""
    assert checkpoint.load_newest(tmp_path, CPU) == (None, [])
    assert checkpoint.load_newest(tmp_path / "missing", CPU) == (None, [])


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    """A pickle that would call a function is refused, not executed."""

    class Attack:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "attacked",)

    torch.save({"step": Attack()}, tmp_path / "checkpoint-000000001.pt")
    with pytest.raises(CheckpointError):
        checkpoint.load_newest(tmp_path, CPU)
    assert not (tmp_path / "attacked").exists()


def test_a_weight_that_is_no_number_is_never_saved(tmp_path: Path) -> None:
    """NaN anywhere in the state stops the run, names the tensor, and leaves the good checkpoint."""
    good = checkpoint.save(tmp_path, 1, _state(1))
    with pytest.raises(DivergedError, match=r"nested\.list\.0"):
        checkpoint.save(tmp_path, 2, _state(float("nan")))
    assert list(tmp_path.iterdir()) == [good]


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    """When the disk takes no more, the message says what to do, no half file stays, the last checkpoint loads."""
    good = checkpoint.save(tmp_path, 1, _state(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))  # writing past it fails as a full disk does
    try:
        with pytest.raises(UnsavedError, match="make room"):
            checkpoint.save(tmp_path, 2, _state(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [good]
    state, _ = checkpoint.load_newest(tmp_path, CPU)
    assert state is not None
    assert state["step"] == 1
