"""`inpaint train`: how a run is begun and gone on with from the command line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.commands.train import train
from models.catalog import Card
from models.training.families import command_for, options_for
from models.training.options import parse_overrides
from models.training.start import start
from tests.models.evaluation.idx import write_digits

SHORT = ("batch_size=8", "epochs=1", "ema=0.9", "seed=5", "beta1=0.3", "threads=1", "preview_every=1000000")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """MNIST's own files, with 24 digits of noise to train on."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    digits = np.random.default_rng(0).integers(0, 256, (26, 28, 28)).astype(np.uint8)
    folder = tmp_path / "mnist"
    folder.mkdir()
    write_digits(folder, "train", digits, np.zeros(26, np.uint8))
    return folder


def kept(out: Path) -> dict[str, Any]:
    """The options of the run in `out`."""
    content: dict[str, Any] = json.loads((out / "options.json").read_bytes())
    return content


def card_of(out: Path) -> Card:
    return Card.model_validate_json((out / "card.json").read_bytes())


def test_a_resumed_run_keeps_the_options_it_was_begun_with(data: Path, tmp_path: Path) -> None:
    """Only what is given now changes; the card tells the first command, and what was changed at which step."""
    out = tmp_path / "run"
    assert train("vanilla-gan", data, out, preset="course", assignments=SHORT) == 0
    begun, command = kept(out), card_of(out).command
    assert train("vanilla-gan", data, out, assignments=("epochs=2",), resume=True) == 0
    assert kept(out) == begun | {"epochs": 2}
    assert card_of(out).command == command
    assert card_of(out).images_seen == 48
    assert card_of(out).recipe.endswith("; from step 3 on epochs=2.0")


@pytest.mark.parametrize(
    ("preset", "assignments", "says"),
    [
        ("cpu", (), "was begun with the preset 'course'"),
        (None, ("epochs=0.5",), "has done 3 steps, and these options have 2 in all"),
    ],
)
def test_a_run_is_not_made_another_on_the_way(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    preset: str | None,
    assignments: tuple[str, ...],
    says: str,
) -> None:
    """Another preset, or fewer steps than are done, are refused in a sentence, and the run stays as it was."""
    out = tmp_path / "run"
    assert train("vanilla-gan", data, out, preset="course", assignments=SHORT) == 0
    before = {file: (out / file).read_bytes() for file in ("options.json", "card.json")}
    assert train("vanilla-gan", data, out, preset=preset, assignments=assignments, resume=True) == 1
    assert says in capsys.readouterr().err
    assert {file: (out / file).read_bytes() for file in before} == before
    assert train("vanilla-gan", data, out, preset="course", resume=True) == 0, "its own preset may be named again"


def test_where_nothing_was_begun_there_is_nothing_to_resume(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command line says so and makes no folder; a job, which may have been killed before, begins."""
    out = tmp_path / "run"
    assert train("vanilla-gan", data, out, resume=True) == 1
    assert "nothing to resume" in capsys.readouterr().err
    assert not out.exists()
    assert start("vanilla-gan", data, out, overrides=parse_overrides(SHORT), resume=True) == 0


def test_a_card_tells_the_whole_command_however_the_run_was_begun(data: Path, tmp_path: Path) -> None:
    """Preset, data and what differs from the preset, of a job's run too; typed again, it gives the same options."""
    out = tmp_path / "job-1"
    assert start("vanilla-gan", data, out, preset="course", overrides=parse_overrides(SHORT), resume=True) == 0
    command = card_of(out).command
    assert command.startswith("inpaint train vanilla-gan --data mnist --out job-1 --preset course --set ")
    words = command.split()
    typed = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
    assert parse_overrides(typed) == parse_overrides(SHORT)
    assert options_for("vanilla-gan", "course", parse_overrides(typed)).model_dump(mode="json") == kept(out)


def test_a_command_tells_of_every_kind_of_option_and_of_processes() -> None:
    """Lists, dictionaries and text that looks like a number are read as what they were; torchrun begins several."""
    overrides = {"sizes": [16], "completion_steps": [1], "discriminator_steps": [0], "joint_steps": [0]}
    given = overrides | {"holes": {"box": 1.0}, "name": "7", "moved": 0.5}
    options = options_for("glcic", "gpu", given)
    words = command_for("glcic", Path("faces"), Path("runs/a"), options, init=Path("first.safetensors"), processes=2)
    assert words[:6] == ["torchrun", "--nproc-per-node", "2", "-m", "app.cli", "train"]
    assert words[words.index("--init") + 1] == "first.safetensors"
    typed = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
    assert parse_overrides(typed) == given


def test_weights_to_start_from_that_are_not_there_are_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that does not exist is no model's name."""
    assert train("glcic", tmp_path, tmp_path / "run", init="./missing.safetensors") == 1
    assert "There is no file ./missing.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize("device", ["cuda:99", "gpu0"])
def test_a_device_that_is_not_there_is_refused_in_a_sentence(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], device: str
) -> None:
    """Before anything is made, and with what there is instead."""
    assert train("vanilla-gan", data, tmp_path / "run", assignments=(f"device={device}",)) == 1
    assert f"There is no device '{device}'" in capsys.readouterr().err


def test_digits_that_are_not_there_are_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that does not exist is not one that holds something else."""
    assert train("vanilla-gan", tmp_path / "nowhere", tmp_path / "run") == 1
    assert f"There is no {tmp_path / 'nowhere'}" in capsys.readouterr().err
