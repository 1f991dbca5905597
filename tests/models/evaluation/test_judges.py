"""What judges pictures: the digit classifier, the feature network; and what completion is compared with."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.evaluation import baselines, digit_classifier, protocol
from models.evaluation.baselines import Fill
from models.evaluation.digit_classifier import accuracy, judge, load_classifier
from models.features import embed, load_features
from tests.models.evaluation.idx import write_digits

CPU = torch.device("cpu")
DIGITS = Path(__file__).with_name("digits.png")  # of MNIST's test set: row d holds the first ten digits d


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    """(100, 28, 28): ten of each, 0 first."""
    sheet = np.asarray(Image.open(DIGITS))
    return sheet.reshape(10, 28, 10, 28).swapaxes(1, 2).reshape(100, 28, 28)


def test_the_classifier_reads_digits(digits: np.ndarray) -> None:
    """At most one of a hundred test digits is misread, it is sure of nine in ten, and finds ten of each."""
    classifier = load_classifier(CPU)
    assert accuracy(classifier, digits, np.repeat(np.arange(10), 10).astype(np.uint8)) >= 0.99
    found = judge(classifier, digits, CPU)
    assert found.sure >= 0.9
    assert found.shares == pytest.approx([0.1] * 10, abs=0.011)
    assert found.features.shape == (100, 64)


def test_a_classifier_that_reads_badly_is_not_kept(
    digits: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script that made the weights trains, measures, and refuses below 99 % test accuracy."""
    labels = np.repeat(np.arange(10), 10).astype(np.uint8)
    write_digits(tmp_path, "train", np.tile(digits, (52, 1, 1)), np.tile(labels, 52))  # the last 5,000 are held out
    write_digits(tmp_path, "t10k", digits, labels)
    monkeypatch.setattr(digit_classifier, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr("sys.argv", ["digit_classifier", "--data", str(tmp_path), "--epochs", "1"])
    with pytest.raises(SystemExit, match="Below 99 %"):
        digit_classifier.main()
    assert not (tmp_path / "weights").exists()


def test_features_are_those_of_the_published_network() -> None:
    """For one picture, the values that `efficientnet-lite-pytorch`, which the weights were published with, gives."""
    y, x = np.mgrid[0:224, 0:224]
    picture = np.stack([x, y, (x * y) // 224], axis=2).astype(np.uint8)
    network = load_features(CPU)
    batch = (torch.from_numpy(picture).permute(2, 0, 1)[None].float() - 127) / 128
    with torch.inference_mode():
        features = network(batch)[0]
    expected = {1006: 3.8879, 897: 3.7976, 113: 3.6683, 689: 3.2489, 71: 2.9549}
    assert {place: features[place].item() for place in expected} == pytest.approx(expected, abs=2e-3)
    assert features.sum().item() == pytest.approx(101.0358, abs=0.05)


def test_features_take_pictures_of_any_side() -> None:
    """They are scaled first: the same picture at two sizes is nearer to itself than to another."""
    network = load_features(CPU)
    rng = np.random.default_rng(0)
    smooth = np.asarray(Image.fromarray(rng.integers(0, 256, (4, 4, 3)).astype(np.uint8)).resize((64, 64)))
    other = np.asarray(Image.fromarray(rng.integers(0, 256, (9, 9, 3)).astype(np.uint8)).resize((64, 64)))
    large = np.asarray(Image.fromarray(smooth).resize((200, 200)))
    small, another, big = (embed(network, picture[None], CPU)[0] for picture in (smooth, other, large))
    assert small.shape == (1280,)
    assert np.linalg.norm(small - big) < np.linalg.norm(small - another)


def test_all_baselines_run_here() -> None:
    """PatchMatch too, where the extra `evaluation` is installed, as it is for development."""
    assert list(baselines.available()) == ["Telea", "Navier-Stokes", "PatchMatch"]


@pytest.mark.parametrize("fill", [baselines.telea, baselines.navier_stokes, baselines.patch_match])
def test_baselines_keep_to_the_hole_and_do_not_peek(fill: Fill) -> None:
    """Outside the hole nothing changes; what lies in it has no influence; the same input gives the same bytes."""
    rng = np.random.default_rng(0)
    image = np.asarray(Image.fromarray(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8)).resize((64, 64)))
    hole = np.zeros((64, 64), bool)
    hole[20:36, 24:44] = True
    other = image.copy()
    other[hole] = rng.integers(0, 256, (hole.sum(), 3))
    completed = fill(image, hole)
    assert np.array_equal(completed[~hole], image[~hole])
    assert np.array_equal(fill(other, hole), completed)
    assert completed[hole].std() > 0


@pytest.mark.parametrize("kind", list(protocol.HOLES))
def test_holes_depend_on_kind_and_picture_alone(kind: str) -> None:
    """So every method, and every run, is measured on the same ones; scattered ones have exactly their share."""
    holes = [protocol.hole(kind, number, 64) for number in range(3)]
    assert all(np.array_equal(hole, protocol.hole(kind, number, 64)) for number, hole in enumerate(holes))
    assert all(0 < hole.sum() < hole.size for hole in holes)
    if kind == "centre box":
        assert holes[0][16:48, 16:48].all()
        assert holes[0].sum() == 32 * 32
    else:
        assert not np.array_equal(holes[0], holes[1])
    if kind.startswith("scattered"):
        share = int(kind.split()[1]) / 100
        assert holes[0].mean() == pytest.approx(share, abs=1 / 64**2)
