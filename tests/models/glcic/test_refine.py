"""Refining a completion network: what the critics see and say, where the holes lie, and the training."""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.catalog import SHIPPED, Card
from models.features import SCALES, load_features
from models.glcic import refine_train
from models.glcic.critics import Critics, mean_where_hole
from models.glcic.refine_train import FACES, NEAR, SCENES, SIDE, RefineOptions, RefineRecipe, Subject
from models.glcic.train import Batch
from models.training import loop, moves
from models.training.data import Pictures, open_pictures
from models.training.errors import DataError, OptionsError
from tests.models.training.pictures import write_pictures
from tests.models.training.resuming import assert_resumes_to_the_bit
from tests.models.training.torchrun import run_in_two

pytestmark = pytest.mark.usefixtures("flushed")

CPU = torch.device("cpu")
FIRST = SHIPPED / "glcic-celeba.safetensors"
OPTIONS = RefineOptions(batch_size=2, steps=3, critics_alone=1, rising=1, threads=1, precision="float32")


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Pictures]:
    """A few pictures that are no faces."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "cache"))
    for split in ("train", "val"):
        write_pictures(tmp_path / "faces" / split, 3, SIDE, SIDE)
    return {name: open_pictures(tmp_path / "faces", size=SIDE, split=name) for name in ("train", "validation")}  # type: ignore[arg-type]


def test_features_at_scales_are_those_that_lead_to_the_distance() -> None:
    """Sides of a quarter to a 32nd; the last is what the head of the network makes its vector of."""
    network = load_features(CPU)
    pictures = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    seen = network.at_scales(pictures)
    assert [tuple(each.shape[1:]) for each in seen] == list(
        zip(SCALES.values(), (40, 20, 10, 5), (40, 20, 10, 5), strict=True)
    )
    head = torch.nn.functional.relu6(network._bn1(network._conv_head(seen[-1]))).mean(dim=(2, 3))
    torch.testing.assert_close(head, network((pictures * 255 - 127) / 128))


@given(st.data())
def test_only_neighbourhoods_with_a_hole_are_judged(data: st.DataObject) -> None:
    """What critics say of others changes nothing, and where all is hole the mean is the plain one."""
    random = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    logits = [torch.randn(2, 1, side, side, generator=random) for side in (3, 7, 20)]
    mask = torch.zeros(2, 1, NEAR, NEAR)
    top, left = data.draw(st.integers(0, NEAR - 1)), data.draw(st.integers(0, NEAR - 1))
    mask[:, :, top : top + data.draw(st.integers(1, 30)), left : left + data.draw(st.integers(1, 30))] = 1

    def elsewhere(each: Tensor) -> Tensor:
        return each + 9 * (torch.nn.functional.adaptive_max_pool2d(mask, each.shape[2:]) == 0)

    assert mean_where_hole(logits, mask, torch.abs) == mean_where_hole(
        [elsewhere(each) for each in logits], mask, torch.abs
    )
    everywhere = mean_where_hole(logits, torch.ones_like(mask), torch.abs)
    torch.testing.assert_close(everywhere, torch.stack([each.abs().mean() for each in logits]).mean())


@given(st.integers(0, 9999))
def test_a_hole_is_never_empty_and_lies_in_what_is_looked_at_near_it(seed: int) -> None:
    """Of every kind, wherever chance puts it."""
    recipe = RefineRecipe.__new__(RefineRecipe)
    recipe.options = OPTIONS
    chance = moves.generator(seed, 0, 0)
    hole, middle = recipe._hole(chance)
    top, left = refine_train._corner(chance, middle)
    assert 0 <= top <= SIDE - NEAR
    assert 0 <= left <= SIDE - NEAR
    assert hole[top : top + NEAR, left : left + NEAR].any()


@pytest.mark.parametrize(
    ("subject", "dark", "shown"), [(FACES, 40, 143), (FACES, 100, 143), (FACES, 200, 200), (SCENES, 40, 40)]
)
def test_pictures_are_learned_as_bright_as_they_are_shown_in_service(subject: Subject, dark: int, shown: int) -> None:
    """A dark face as bright as CelebA's median (0.56), a bright one and a scene as they are."""
    recipe = RefineRecipe.__new__(RefineRecipe)
    recipe.options = RefineOptions(batch_size=4, mouths=0, eyes=1, varied=0)  # small holes: all of the face counts
    recipe._subject = subject
    recipe._pictures = {"train": SimpleNamespace(pixels=np.full((1, SIDE, SIDE, 3), dark, np.uint8))}  # type: ignore[dict-item]
    recipe._learned = np.zeros(1, np.intp)
    assert (recipe.batch(0).pixels == shown).all()


def test_faces_are_varied_and_scenes_are_not(faces: dict[str, Pictures]) -> None:
    """As large a share as was asked for; to turn heads where none are is refused."""
    recipe = RefineRecipe.__new__(RefineRecipe)
    recipe._subject, recipe._pictures = FACES, faces  # type: ignore[assignment]  # keyed by any text
    recipe._learned = np.arange(len(faces["train"]))
    still = moves.MoveRange(scale=(1.0, 1.0), shift=0.0, degrees=0.0)
    assert SCENES.options().varied == 0
    for varied in (0.0, 1.0):
        recipe.options = RefineOptions(batch_size=12, varied=varied, moved=0)
        recipe._subject = replace(FACES, moves=still)
        colours = {tuple(picture.float().mean(dim=(0, 1)).round().tolist()) for picture in recipe.batch(0).pixels}
        assert len(colours) <= 3 if varied == 0 else len(colours) == 12
    with pytest.raises(OptionsError, match="set varied=0"):
        RefineRecipe(OPTIONS, faces, FIRST, CPU, SCENES)


def test_the_critics_learn_first_and_the_network_after_them(faces: dict[str, Pictures]) -> None:
    """In `critics_alone` steps the network stays, then it changes, its batch norm's statistics never; what the critics
    start from, their projections, stays; and they come to tell one batch from its completions."""
    recipe = RefineRecipe(OPTIONS, faces, FIRST, CPU)
    network, critics = _copy(recipe.network), _copy(recipe.critics)
    figures = recipe.step(0, recipe.batch(0))
    assert "hole_mse" not in figures
    assert _same(network, recipe.network)
    recipe.step(1, recipe.batch(1))
    changed = {name for name, value in recipe.network.state_dict().items() if not torch.equal(value, network[name])}
    assert changed
    assert not any("running" in name or "mean_pixel" in name for name in changed)
    taught = recipe.critics.state_dict()
    assert all(
        torch.equal(taught[name], critics[name]) for name in taught if ".channels." in name or ".scales." in name
    )

    patient = RefineRecipe(OPTIONS.model_copy(update={"critics_alone": 99}), faces, FIRST, CPU)
    losses = [float(patient.step(step, recipe.batch(0))["critics_loss"]) for step in range(12)]
    assert losses[-1] < 0.8 * losses[0]


def test_a_pictures_verdict_does_not_depend_on_its_batch() -> None:
    """Whatever else the critics look at with it."""
    torch.manual_seed(0)
    critics, network = Critics().eval(), load_features(CPU)
    recipe = RefineRecipe.__new__(RefineRecipe)
    recipe._features = network
    pictures, corners = torch.rand(3, 3, SIDE, SIDE), torch.tensor([(0, 0), (10, 80), (40, 40)])
    with torch.no_grad():
        together = critics(recipe._view(pictures, corners))
        alone = critics(recipe._view(pictures[1:2], corners[1:2]))
    for many, one in zip(together, alone, strict=True):
        for several, single in zip(many, one, strict=True):
            torch.testing.assert_close(several[1:2], single, atol=1e-4, rtol=1e-4)


class Interrupted(RefineRecipe):
    """Gets SIGTERM in its second step."""

    def step(self, step: int, batch: Batch) -> loop.Figures:
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().step(step, batch)


def test_training_resumes_to_the_bit(tmp_path: Path, faces: dict[str, Pictures]) -> None:
    """A run that was stopped ends as one that was not."""
    whole, first, second = (recipe(OPTIONS, faces, FIRST, CPU) for recipe in (RefineRecipe, Interrupted, RefineRecipe))
    assert_resumes_to_the_bit(whole, first, second, tmp_path)


@pytest.mark.usefixtures("faces")
def test_two_processes_refine_one_network(tmp_path: Path) -> None:
    """Under torchrun each learns from batches of its own, and both hold the same weights."""
    run_in_two(Path(__file__).with_name("refined_in_two.py"), tmp_path / "faces", tmp_path / "run")


@pytest.mark.usefixtures("faces")
def test_the_command_ends_with_weights_that_can_be_served_and_their_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a model of the catalogue; what cannot be started from is said in a sentence."""

    def refine(first: str, *others: str) -> int:
        sources = ["--faces", str(tmp_path / "faces"), "--first", first, "--out", str(tmp_path / "run")]
        settings = [
            f"--set={name}={json.dumps(getattr(OPTIONS, name))}" for name in ("batch_size", "critics_alone", "threads")
        ]
        monkeypatch.setattr(sys, "argv", ["refine_train", *sources, *settings, *others])
        return refine_train.main()

    assert refine("glcic-celeba", "--set=steps=2") == 0
    card = Card.model_validate_json((tmp_path / "run/card.json").read_bytes())
    assert (card.family, set(card.metrics)) == ("glcic", {"validation_psnr_db_160", "validation_l1_percent_160"})
    assert "models.glcic.refine_train --faces" in card.command
    assert refine("face-align") == 1
    assert "no completion network" in capsys.readouterr().err
    assert refine("glcic-celeba", "--set=lips=1") == 1
    assert "no option lips" in capsys.readouterr().err
    assert refine("glcic-celeba", f"--only={tmp_path}") == 1
    assert "cannot be read" in capsys.readouterr().err
    assert refine("glcic-celeba", "--set=mouths=0.9") == 1
    assert "add up to 1 at most" in capsys.readouterr().err


def test_only_pictures_that_a_file_names_are_learned_from(faces: dict[str, Pictures], tmp_path: Path) -> None:
    """As often as it names them; what cannot be read, is not among the pictures or names none is said."""
    only, names = tmp_path / "only.txt", faces["train"].names
    only.write_text(f"{names[2]}\n{names[0]}\n{names[2]}\n")
    assert refine_train._named(only, faces["train"]).tolist() == [2, 0, 2]
    recipe = RefineRecipe.__new__(RefineRecipe)
    recipe._subject, recipe._pictures = SCENES, faces  # type: ignore[assignment]  # keyed by any text
    recipe.options = SCENES.options().model_copy(update={"batch_size": 8, "moved": 0})
    recipe._learned = np.array([2, 2])
    assert len(np.unique(recipe.batch(0).pixels.numpy(), axis=0)) <= 2  # it and its mirror image
    for content, said in (("nobody.png\n", "nobody.png"), ("\n", "names no pictures")):
        only.write_text(content)
        with pytest.raises(DataError, match=said):
            refine_train._named(only, faces["train"])
    with pytest.raises(DataError, match="cannot be read"):
        refine_train._named(tmp_path, faces["train"])


def _copy(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def _same(before: dict[str, Tensor], network: torch.nn.Module) -> bool:
    return all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
