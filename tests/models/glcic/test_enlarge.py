"""Enlarging what was drawn of a face: with a network of random weights, with the one that ships, and its training."""

import os
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.catalog import SHIPPED, Card, Catalog
from models.engine import open_engine
from models.glcic import enlarge_train
from models.glcic.enlarge import EnlargingNetwork, doublings, enlarge
from models.glcic.enlarge_train import PORTRAIT_SIDE, SIDE, Batch, EnlargeOptions, EnlargeRecipe
from models.loading import load
from models.training import loop
from models.training.data import Pictures, open_pictures
from tests.models.training.pictures import write_pictures
from tests.models.training.resuming import assert_resumes_to_the_bit

pytestmark = pytest.mark.usefixtures("flushed")

CPU = torch.device("cpu")


def random_network() -> EnlargingNetwork:
    """One that does something everywhere."""
    torch.manual_seed(0)
    network = EnlargingNetwork()
    for doubler in (network.restoring, network.doubling):
        torch.nn.init.normal_(doubler.last.weight, std=0.05)
    return network


@pytest.mark.parametrize(
    ("enlarged", "times"), [(0.3, 0), (1, 0), (1.3, 0), (1.6, 1), (2, 1), (2.7, 1), (3, 2), (4, 2), (40, 2)]
)
def test_a_canvas_is_doubled_until_it_has_about_the_pictures_pixels(enlarged: float, times: int) -> None:
    """Not where nothing is enlarged, and never more than twice."""
    assert doublings(1 / enlarged) == times


@settings(deadline=None, max_examples=40)
@given(st.data(), st.sampled_from([0.5, 0.25]))
def test_a_part_comes_out_as_if_the_whole_had_been_enlarged(data: st.DataObject, scale: float) -> None:
    """Wherever the hole lies; what is not near it comes from interpolation alone."""
    height, width = (data.draw(st.integers(8, 40)) for _ in range(2))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    canvas = cv2.GaussianBlur(random.random((height, width, 3), np.float32), (0, 0), 1)
    hole = np.zeros((height, width), bool)
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    hole[top : top + data.draw(st.integers(1, 9)), left : left + data.draw(st.integers(1, 9))] = True
    network = random_network()
    factor = round(1 / scale)
    part, whole = enlarge(canvas, hole, scale, network), enlarge(canvas, np.ones_like(hole), scale, network)
    assert part.shape == (factor * height, factor * width, 3)
    assert part.dtype == np.float32
    assert part.min() >= 0
    assert part.max() <= 1
    inside = hole.repeat(factor, 0).repeat(factor, 1)
    np.testing.assert_allclose(part[inside], whole[inside], atol=1e-5)
    far = cv2.dilate(hole.astype(np.uint8), np.ones((9, 9))).repeat(factor, 0).repeat(factor, 1) == 0
    cubic = cv2.resize(canvas, (factor * width, factor * height), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    np.testing.assert_array_equal(part[far], cubic[far])


def test_without_a_hole_or_where_the_picture_has_fewer_pixels_nothing_is_done() -> None:
    """The canvas itself comes back."""
    canvas, hole = np.random.default_rng(0).random((12, 9, 3), np.float32), np.ones((12, 9), bool)
    network = random_network()
    assert enlarge(canvas, hole, 1.5, network) is canvas
    assert enlarge(canvas, ~hole, 0.3, network) is canvas
    assert enlarge(canvas, ~hole, 1.0, network) is canvas


def test_at_its_own_size_what_was_drawn_is_restored_half_way() -> None:
    """And what was not stays."""
    canvas, hole = np.random.default_rng(0).random((24, 20, 3), np.float32), np.zeros((24, 20), bool)
    hole[6:15, 5:12] = True
    network = random_network()
    restored = enlarge(canvas, hole, 1.0, network)
    np.testing.assert_array_equal(restored[~hole], canvas[~hole])
    whole = cv2.resize(enlarge(canvas, hole, 0.5, network), (20, 24), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(restored[hole], ((canvas + whole) / 2)[hole], atol=1e-5)


@pytest.mark.parametrize(("factor", "blur"), [(2, 1.0), (2, 1.6), (4, 1.0)])
def test_the_network_that_ships_beats_interpolation(factor: int, blur: float) -> None:
    """On a face that it has not seen, soft as what is drawn is soft; in bfloat16 too, where a processor gains by it."""
    file = Path(__file__).parents[3] / "app/static/examples/astronaut.jpg"
    face = np.array(Image.open(file).convert("RGB"))[40:200, 140:300].astype(np.float32) / 255
    small = cv2.resize(face, (160 // factor, 160 // factor), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), blur)
    catalog = Catalog(shipped=SHIPPED)
    network = load(catalog, catalog.get("face-enlarge"), CPU)
    assert isinstance(network, EnlargingNetwork)
    cubic = cv2.resize(small, (160, 160), interpolation=cv2.INTER_CUBIC)
    for precision in (torch.float32, torch.bfloat16):
        network.compute_in(precision)
        enlarged = enlarge(small, np.ones(small.shape[:2], bool), 1 / factor, network)
        assert np.abs(enlarged - face).mean() < 0.8 * np.abs(cubic - face).mean()


def test_an_engine_for_aligned_faces_enlarges() -> None:
    """And one for anything else does not."""
    catalog = Catalog(shipped=SHIPPED)
    assert open_engine(catalog, catalog.get("glcic-celeba"), CPU).enlarge is not None
    assert open_engine(catalog, catalog.get("glcic-scenes"), CPU).enlarge is None


class Interrupted(EnlargeRecipe):
    """Gets SIGTERM in its second step."""

    def step(self, step: int, batch: Batch) -> loop.Figures:
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().step(step, batch)


def test_training_resumes_to_the_bit_and_ends_with_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was stopped ends as one that was not; the command line writes weights, card, figures, command."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "cache"))
    write_pictures(tmp_path / "portraits" / "train", 3)
    for kind in ("faces", "scenes"):
        for split in ("train", "val"):
            write_pictures(tmp_path / kind / split, 3)
    options = EnlargeOptions(batch_size=2, steps=3, threads=1)

    def pictures(kind: str) -> dict[str, Pictures]:
        return {name: open_pictures(tmp_path / kind, size=SIDE, split=name) for name in ("train", "validation")}  # type: ignore[arg-type]

    portraits = open_pictures(tmp_path / "portraits", size=PORTRAIT_SIDE)
    faces, scenes = pictures("faces"), pictures("scenes")
    whole, first, second = (
        recipe(options, portraits, faces, scenes) for recipe in (EnlargeRecipe, Interrupted, EnlargeRecipe)
    )
    assert_resumes_to_the_bit(whole, first, second, tmp_path)

    run, kinds = tmp_path / "run", ("portraits", "faces", "scenes")
    sources = [part for kind in kinds for part in (f"--{kind}", str(tmp_path / kind))]
    monkeypatch.setattr(sys, "argv", ["enlarge_train", *sources, "--out", str(run), "--steps", "2", "--threads", "1"])
    enlarge_train.main()
    card = Card.model_validate_json((run / "card.json").read_bytes())
    ways = {"psnr_db", "psnr_db_cubic", "doubling_psnr_db", "doubling_psnr_db_cubic"}
    assert (card.family, set(card.metrics)) == ("face-enlarge", ways)
    assert "models.glcic.enlarge_train --portraits" in card.command
