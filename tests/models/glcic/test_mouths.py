"""Which faces have a closed mouth, and how often each is named."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.features import MissingFeaturesError
from models.glcic import mouths
from models.glcic.mouths import SIDE, closed_mouths
from models.training.data import Pictures
from models.training.errors import DataError
from tests.models.training.pictures import write_pictures

COUNT, LAUGHING = 400, 100


class Averages:
    """In place of the network of features: the colours themselves."""

    def at_scales(self, pictures: Tensor) -> list[Tensor]:
        return [pictures, torch.nn.functional.avg_pool2d(pictures, 4)]


@pytest.fixture
def faces() -> Pictures:
    """Grey faces: in open mouths red is bright, and in cheeks of the last `LAUGHING`, nine in ten of which open it."""
    random = np.random.default_rng(0)
    pixels = np.full((COUNT, SIDE, SIDE, 3), 100, np.uint8)
    for number in range(COUNT):
        laughs = number >= COUNT - LAUGHING
        pixels[number, 60:90, 30:130, 0] = 200 if laughs else 100
        pixels[number, 98:142, 49:111, 0] = 220 if _is_open(number) else 80
        pixels[number] += random.integers(0, 8, (SIDE, SIDE, 3), np.uint8)
    names = tuple(f"img_align_celeba/{number:03}.jpg" for number in range(COUNT))
    return Pictures(pixels, names, (), (0.4, 0.4, 0.4), "faces", "", aligned=True)


def _is_open(number: int) -> bool:
    return number % 10 != 0 if number >= COUNT - LAUGHING else number % 2 == 0


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Of some of them, and of one that is not among them."""
    file = tmp_path / "labels.csv"
    told = [f"{number:03},{'open' if _is_open(number) else 'closed'}" for number in range(0, COUNT, 7)]
    file.write_text("\n".join(["face,mouth", *told, "nobody,open"]) + "\n")
    return file


def test_closed_mouths_are_named_and_those_of_laughing_faces_oftener(
    faces: Pictures, labels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No open mouth is named; of a crowd in which few are closed each comes as often as makes up for the open ones."""
    monkeypatch.setattr(mouths, "_CLOSED", sum(not _is_open(number) for number in range(COUNT)) / COUNT)
    named = Counter(closed_mouths(faces, Averages(), labels))  # type: ignore[arg-type]
    numbers = {int(Path(name).stem): count for name, count in named.items()}
    assert not any(_is_open(number) for number in numbers)
    laughing = [count for number, count in numbers.items() if number >= COUNT - LAUGHING]
    others = [count for number, count in numbers.items() if number < COUNT - LAUGHING]
    assert len(laughing) == LAUGHING // 10
    assert min(laughing) >= 5
    assert np.median(others) <= 3


def test_labels_of_other_faces_are_refused(faces: Pictures, labels: Path) -> None:
    """Rather than to guess."""
    labels.write_text("face,mouth\nnobody,open\n000,open\n")
    with pytest.raises(DataError, match="tells of no faces with open and closed mouths"):
        closed_mouths(faces, Averages(), labels)  # type: ignore[arg-type]


def test_the_labels_that_come_with_the_package_tell_of_both() -> None:
    """Each line is a face of CelebA, and open or closed."""
    lines = mouths.LABELS.read_text().splitlines()[1:]
    names, told = zip(*(line.split(",") for line in lines), strict=True)
    assert len(set(names)) == len(lines) >= 400
    assert all(name.isdigit() and len(name) == 6 for name in names)  # whatever the copy's folder and format
    assert set(told) == {"open", "closed"}


def test_the_command_says_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Faces that nobody labelled, and the extra that brings the network of features."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "cache"))
    write_pictures(tmp_path / "faces", 3, SIDE, SIDE)
    monkeypatch.setattr(sys, "argv", ["mouths", "--faces", str(tmp_path / "faces"), "--out", str(tmp_path / "out.txt")])
    assert mouths.main() == 1
    assert "tells of no faces" in capsys.readouterr().err

    monkeypatch.setattr(sys, "argv", [*sys.argv[:-1], str(Path(__file__) / "out.txt")])
    assert mouths.main() == 1
    assert "No mouths were named." in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", [*sys.argv[:-1], str(tmp_path / "out.txt")])

    def absent(_: torch.device) -> None:
        raise MissingFeaturesError("pip install 'inpaint-service[evaluation]'")

    monkeypatch.setattr(mouths, "load_features", absent)
    assert mouths.main() == 1
    assert "[evaluation]" in capsys.readouterr().err
