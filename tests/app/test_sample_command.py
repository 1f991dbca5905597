"""`inpaint sample`: what the service draws, drawn here."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from app.commands.sample import sample
from models.catalog import Card, Catalog, UnknownModelError
from models.dcgan.network import Generator
from models.dcgan.sample import draw
from models.loading import load


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Card:
    """A small untrained DCGAN in service under `DATA_DIR`."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    torch.manual_seed(0)
    state = Generator(4).state_dict()
    content = safetensors.torch.save({name: value for name, value in state.items() if not name.endswith("tracked")})
    text = dict.fromkeys(("title", "description", "data", "licence", "recipe", "command", "commit"), "")
    card = Card.model_validate(
        {
            **text,
            "name": "dcgan-celeba",
            "family": "dcgan",
            "sha256": hashlib.sha256(content).hexdigest(),
            "images_seen": 0,
            "hours": 0,
            "image_size": 64,
            "created": "2026-01-01",
            "options": {"width": 4},
        }
    )
    catalog = Catalog(store=tmp_path / "weights")
    catalog.add(card, content)
    return catalog.activate(card.name, card.version)


def test_the_files_ending_says_what_is_written(card: Card, tmp_path: Path) -> None:
    """A grid, single pictures, or JSON; all of the same pictures, and the same bytes each time."""
    grid, again, pack, listing = (tmp_path / name for name in ("a.png", "b.png", "c.zip", "d.json"))
    for path in (grid, again, pack, listing):
        assert sample("dcgan", path, n=3, seed=5, columns=3, device="cpu") == 0
    assert grid.read_bytes() == again.read_bytes()
    catalog = Catalog(store=tmp_path / "weights")
    drawn = draw(load(catalog, card, torch.device("cpu")), 3, 5)
    assert np.array_equal(np.asarray(Image.open(grid))[:, 66:130], drawn[1])
    with zipfile.ZipFile(pack) as archive:
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(archive.read("02.png")))), drawn[2])
    told = json.loads(listing.read_bytes())
    assert (told["model"], told["seed"], len(told["images"])) == (card.reference, 5, 3)


@pytest.mark.usefixtures("card")
def test_what_cannot_be_drawn_is_said_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown models, models that draw nothing and endings that mean nothing end with status 1 and a reason."""
    for model, name, reason in (
        ("stylegan", "a.png", "no model 'stylegan'"),
        ("glcic-celeba", "a.png", "draws no pictures"),
        ("dcgan", "a.gif", ".webp"),
    ):
        assert sample(model, tmp_path / name, device="cpu") == 1
        assert reason in capsys.readouterr().err
    assert sample("dcgan", tmp_path / "a.png", device="cuda:99") == 1
    assert "no device 'cuda:99'" in capsys.readouterr().err


def test_a_run_draws_by_its_folder(card: Card, tmp_path: Path) -> None:
    """The pictures are those of its weights; a model's name goes before a folder that has it too."""
    weights = Catalog(store=tmp_path / "weights").weights_path(card)
    run = tmp_path / "run"
    run.mkdir()
    (run / "weights.safetensors").write_bytes(weights.read_bytes())
    (run / "card.json").write_text(card.model_dump_json())
    assert sample(str(run), tmp_path / "run.png", n=2, device="cpu") == 0
    assert sample("dcgan", tmp_path / "name.png", n=2, device="cpu") == 0
    assert (tmp_path / "run.png").read_bytes() == (tmp_path / "name.png").read_bytes()
    catalog, missing = Catalog(store=tmp_path / "weights"), tmp_path / "empty"
    missing.mkdir()
    with pytest.raises(UnknownModelError, match="no run with weights"):
        catalog.find(str(missing))
    with pytest.raises(UnknownModelError, match="no model"):
        catalog.get(str(run))  # a request over HTTP reads no folder
