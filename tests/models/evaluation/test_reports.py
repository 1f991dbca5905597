"""Evaluations from data to table, and the command around them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from app.commands.evaluate import evaluate
from models.catalog import Card, Catalog
from models.dcgan.network import Generator as DcganGenerator
from models.engine import CompletionEngine
from models.evaluation import protocol
from models.evaluation.completion import evaluate_completion
from models.evaluation.report import sheet, table
from models.glcic.network import CompletionNetwork
from tests.models.training.pictures import write_pictures

CPU = torch.device("cpu")


def make_card(name: str, family: str, content: bytes, options: dict[str, int]) -> Card:
    empty = dict.fromkeys(("title", "description", "data", "licence", "recipe", "command", "commit"), "")
    sha256 = hashlib.sha256(content).hexdigest()
    numbers = {"images_seen": 0, "hours": 0, "image_size": 64}
    card = {"name": name, "family": family, "sha256": sha256, "created": "2026-01-01", "options": options}
    return Card.model_validate(empty | numbers | card)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    write_pictures(folder / "val", 3, 64, 64)
    write_pictures(folder / "train", 4, 32, 32)  # smaller: the same motifs, but not the same pixels
    return folder


def test_completion_is_measured_beside_the_baselines_on_every_kind_of_hole(data: Path, tmp_path: Path) -> None:
    """One row for each hole kind and method, with all figures; the figure shows the first pictures."""
    torch.manual_seed(0)
    engine = CompletionEngine(CompletionNetwork().eval(), CPU)
    card = make_card("glcic-test", "glcic", b"", {})
    report = evaluate_completion(
        card, engine, data, features=None, limit=2, size=32, cache=tmp_path, report=lambda _: None
    )
    methods = ["GLCIC", "GLCIC, served", "GLCIC, nothing borrowed", "Telea", "Navier-Stokes", "PatchMatch"]
    assert [(row["hole"], row["method"]) for row in report.rows] == [
        (kind, method) for kind in protocol.HOLES for method in methods
    ]
    figures = {"hole_l1_percent", "hole_psnr_db", "hole_ssim", "picture_psnr_db", "picture_ssim"}
    assert all(figures <= row.keys() for row in report.rows)
    by_telea = {row["hole"]: row for row in report.rows if row["method"] == "Telea"}
    assert float(by_telea["scattered 10 %"]["hole_psnr_db"]) > float(by_telea["scattered 90 %"]["hole_psnr_db"])
    assert report.figure.shape[1] == 8 * (32 + 4) - 4


def test_the_command_writes_table_json_and_figure(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`inpaint evaluate dcgan`: samples beside the floor that real pictures set; the same numbers in all of them."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    torch.manual_seed(0)
    state = DcganGenerator(4).state_dict()
    weights = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    content = safetensors.torch.save(weights)
    catalog = Catalog(store=tmp_path / "data" / "weights")
    card = catalog.add(make_card("dcgan-celeba", "dcgan", content, {"width": 4}), content)
    catalog.activate(card.name, card.version)

    assert evaluate("dcgan", data, tmp_path / "out", device="cpu") == 0
    written = json.loads((tmp_path / "out" / "dcgan-celeba.json").read_bytes())
    assert written["about"]["model"] == card.reference
    ours, real = written["rows"]
    assert (ours["pictures"], real["pictures"]) == ("dcgan-celeba", "real: training pictures")
    assert ours["sliced_wasserstein"] > 0
    assert ours["frechet"] > real["frechet"] > 0
    printed = capsys.readouterr().out
    assert f"{ours['sliced_wasserstein']:.4g}" in printed
    assert (tmp_path / "out" / "dcgan-celeba.md").read_text() in printed
    assert Image.open(tmp_path / "out" / "dcgan-celeba.png").size == (3 * 68 - 4, 64)

    assert evaluate("dcgan", data, tmp_path, model="glcic-celeba") == 1
    assert evaluate("dcgan", tmp_path / "nowhere", tmp_path) == 1
    errors = capsys.readouterr().err
    assert "not dcgan" in errors
    assert "nowhere" in errors


def test_a_run_is_measured_by_its_folder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a run trained, before anybody promoted it; a folder without weights is refused in a sentence."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    state = DcganGenerator(4).state_dict()
    content = safetensors.torch.save({name: value for name, value in state.items() if not name.endswith("tracked")})
    card = make_card("mine", "dcgan", content, {"width": 4})
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    (run / "weights.safetensors").write_bytes(content)
    (run / "card.json").write_text(card.model_dump_json())
    assert evaluate("dcgan", data, tmp_path / "out", model=str(run), device="cpu") == 0
    assert json.loads((tmp_path / "out" / "mine.json").read_bytes())["about"]["model"] == card.reference
    assert evaluate("dcgan", data, tmp_path / "out", model=str(run.parent), device="cpu") == 1
    assert "no run with weights" in capsys.readouterr().err


@pytest.mark.parametrize(("given", "says"), [({"limit": 1}, "two pictures or more"), ({"device": "gpu0"}, "gpu0")])
def test_what_cannot_be_measured_is_said_in_a_sentence(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: dict[str, Any],
    says: str,
) -> None:
    """One picture has no distribution, and a device may not be there."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    assert evaluate("dcgan", data, tmp_path / "out", **{"device": "cpu", **given}) == 1
    assert says in capsys.readouterr().err


def test_tables_line_up() -> None:
    """Text to the left, numbers to the right with four digits, valid as Markdown."""
    text = table([{"method": "ours", "psnr": 19.12345}, {"method": "Navier-Stokes", "psnr": 9.0}])
    assert text.splitlines() == [
        "| method        |  psnr |",
        "| ------------- | ----: |",
        "| ours          | 19.12 |",
        "| Navier-Stokes |     9 |",
    ]


def test_sheets_show_grey_and_coloured_pictures_under_labels() -> None:
    """Rows of pictures on white; a grey picture is shown grey."""
    colour = np.full((8, 8, 3), (10, 20, 30), np.uint8)
    grey = np.full((8, 8, 1), 77, np.uint8)
    shown = sheet([[colour, grey], [grey, colour]], ["a", "b"])
    assert shown.shape == (16 + 2 * 12 - 4, 2 * 12 - 4, 3)
    assert (shown[16:24, :8] == (10, 20, 30)).all()
    assert (shown[16:24, 12:20] == 77).all()
    assert (shown[16:24, 8:12] == 255).all()
