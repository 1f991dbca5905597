"""Training of the alignment network: made pictures, and runs that build on one another."""

import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from models.catalog import Card
from models.glcic import align_samples, align_train
from models.glcic.align import ANCHORS, EYES, FRAME, MOUTH
from models.glcic.align_samples import SHARES, SIDE, make_sample, pose_of_longer
from models.glcic.align_train import AlignOptions, AlignRecipe
from models.training.data import open_pictures
from models.training.errors import TrainingError
from tests.models.training.pictures import write_pictures

pytestmark = pytest.mark.usefixtures("flushed")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "cache"))
    for kind in ("faces", "scenes"):
        for split in ("train", "val"):
            write_pictures(tmp_path / kind / split, 3)
    return tmp_path


def test_a_run_ends_with_weights_that_the_next_starts_from(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps leave weights and a card with figures and command; `--init` begins with just these weights."""
    monkeypatch.setattr(align_train, "_MEASURED", 4)
    run = data / "run"
    folders = ["--faces", str(data / "faces"), "--scenes", str(data / "scenes")]
    monkeypatch.setattr(sys, "argv", ["align_train", *folders, "--out", str(run), "--steps", "2"])
    align_train.main()
    card = Card.model_validate_json((run / "card.json").read_bytes())
    assert (card.family, card.images_seen) == ("face-align", 2 * AlignOptions().batch_size)
    assert "models.glcic.align_train --faces" in card.command
    faces, scenes = ({"train": open_pictures(data / kind, size=SIDE)} for kind in ("faces", "scenes"))
    weights = run / "weights.safetensors"
    begun = AlignRecipe(AlignOptions(steps=2), faces, scenes, init=weights).weights()
    for name, value in safetensors.torch.load_file(weights).items():
        assert torch.equal(begun[name].to(value.dtype), value), name
    other = Path(align_train.__file__).parents[1] / "weights" / "vanilla-gan-mnist.safetensors"
    with pytest.raises(TrainingError, match=f"{other} cannot be started from, it is not a network that finds faces"):
        AlignRecipe(AlignOptions(steps=2), faces, scenes, init=other)


def test_made_pictures_are_of_every_kind_and_many_hide_the_middle() -> None:
    """Of some hundred, each kind is there; in more than a tenth of the faces eyes and mouth lie all in the hole."""
    chance = np.random.default_rng(0)
    faces, scenes = (chance.integers(0, 256, (4, SIDE, SIDE, 3), np.uint8) for _ in "fs")
    samples = [make_sample(chance, faces, scenes) for _ in range(300)]
    assert {sample.kind for sample in samples} == set(SHARES)
    hidden = [_hides_the_middle(sample) for sample in samples if sample.is_face]
    assert np.mean(hidden) > 0.1


def _hides_the_middle(sample: align_train.Sample) -> bool:
    points = (sample.turn * align_train.ANCHORS + sample.shift + 1 + 1j) * len(sample.mask) / 2
    inside = [complex(p) for p in points if 0 <= p.real < len(sample.mask) and 0 <= p.imag < len(sample.mask)]
    return len(inside) == len(points) and all(sample.mask[int(p.imag), int(p.real)] > 127 for p in inside)


def test_a_longer_face_has_the_pose_that_suits_eyes_and_mouth_best() -> None:
    """As CelebA's own alignment, which was by eyes, nose and mouth: the longer face is seen as a larger one, and no
    other similarity brings the anchors nearer to it."""
    for longer in (0.85, 1.0, 1.2):
        turn, shift = pose_of_longer(longer)
        eyes = ANCHORS[0].imag
        there = ANCHORS.real + 1j * (eyes + longer * (ANCHORS.imag - eyes))
        off = np.abs(turn * ANCHORS + shift - there)
        for other_turn, other_shift in ((0.01, 0), (-0.01, 0), (0.01j, 0), (0, 0.01), (0, 0.01j), (0, -0.01j)):
            other = np.abs((turn + other_turn) * ANCHORS + shift + other_shift - there)
            assert np.sum(other**2) > np.sum(off**2)
        assert turn.imag == pytest.approx(0, abs=0.01)
        assert (turn.real > 1) == (longer > 1)
    assert pose_of_longer(1.0) == (pytest.approx(1), pytest.approx(0))


def test_made_faces_stand_where_their_pose_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """White dots at the eyes and corners of the mouth of a face that is made a third longer lie about the pose's."""
    monkeypatch.setattr(align_samples, "_LONGER", np.log(1.3))
    monkeypatch.setattr(align_samples, "_LENGTHS", 0.0)
    monkeypatch.setattr(align_samples, "SHARES", {"face": 1.0})
    monkeypatch.setattr(align_samples, "_disturb", lambda _, picture: picture)
    faces = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    for anchor in (*EYES, *MOUTH):
        x, y = round(anchor.real * SIDE / FRAME), round(anchor.imag * SIDE / FRAME)
        faces[0, y - 1 : y + 2, x - 1 : x + 2] = 255
    scenes = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    chance = np.random.default_rng(0)
    seen = 0
    for _ in range(40):
        sample = make_sample(chance, faces, scenes, size=192)
        points = (sample.turn * ANCHORS + sample.shift + 1 + 1j) * 96
        if abs(sample.turn) < 0.5 or min(points.real.min(), points.imag.min(), 192 - points.real.max()) < 0:
            continue
        if points.imag.max() > 192:
            continue
        rows, columns = np.nonzero(sample.picture[..., 0] > 100)
        dots = columns + 1j * rows
        off = [np.abs(dots - point).min() / (96 * abs(sample.turn)) for point in points]
        assert max(off) < 0.1, off  # of the face's radius; the pose of the face as it was is off by 0.18
        seen += 1
    assert seen > 5
