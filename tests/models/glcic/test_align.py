"""Finding the face that a hole belongs to, with the weights that ship."""

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from models.catalog import Catalog
from models.engine import open_engine
from models.glcic.align import EYES, FRAME, MOUTH, AlignmentNetwork, FacePose, align
from models.glcic.geometry import Box
from models.loading import load

EXAMPLES = Path(__file__).parents[3] / "app/static/examples"
ASTRONAUT_EYES = (203 + 101j, 246 + 104j)  # in the 512x512 picture, as a person sees them
ASTRONAUT_MOUTH = 225 + 145j


@pytest.fixture(scope="module", params=["as trained", "as served"])
def network(request: pytest.FixtureRequest) -> AlignmentNetwork:
    """As served it is folded, and its features are computed in the precision that is fastest here."""
    catalog, cpu = Catalog(), torch.device("cpu")
    if request.param == "as trained":
        found = load(catalog, catalog.get("face-align"), cpu)
    else:
        find_faces = open_engine(catalog, catalog.get("glcic-celeba"), cpu).find_faces
        assert isinstance(find_faces, partial)
        found = find_faces.keywords["network"]
        assert not any(isinstance(layer, nn.BatchNorm2d) for layer in found.modules())
    assert isinstance(found, AlignmentNetwork)
    return found


def read(name: str) -> np.ndarray:
    return np.array(Image.open(EXAMPLES / f"{name}.jpg").convert("RGB"))


def hole_at(centre: complex, half: float, shape: tuple[int, ...]) -> tuple[np.ndarray, Box]:
    box = Box(
        *(round(value) for value in (centre.imag - half, centre.real - half, centre.imag + half, centre.real + half))
    )
    mask = np.zeros(shape[:2], bool)
    mask[box.slices] = True
    return mask, box


def errors(pose: FacePose, eyes: tuple[complex, complex], mouth: complex) -> np.ndarray:
    """Distances between found and true eyes and mouth, in canonical pixels."""
    found = pose.turn * np.array([*EYES, sum(MOUTH) / 2]) + pose.shift
    return np.abs(found - np.array([*eyes, mouth])) / abs(pose.turn)


@pytest.mark.parametrize("hidden", [ASTRONAUT_MOUTH, *ASTRONAUT_EYES, 224 + 125j])
def test_a_face_is_found_with_a_part_of_it_hidden(network: AlignmentNetwork, hidden: complex) -> None:
    """Eyes and mouth land within a few canonical pixels of their places, whichever of them the hole hides."""
    picture = read("astronaut")
    mask, box = hole_at(hidden, 18, picture.shape)
    (pose,) = align(picture, mask, [box], network)
    assert pose is not None
    assert errors(pose, ASTRONAUT_EYES, ASTRONAUT_MOUTH).max() < 8


@pytest.mark.parametrize("turn", [0.6 + 0j, 1.7 + 0j, 1 + 0.35j, 1.1 - 0.35j])
def test_the_pose_follows_a_turned_and_scaled_picture(network: AlignmentNetwork, turn: complex) -> None:
    """A face turned by 18 degrees, or at another scale, is found turned and at that scale."""
    shift = 256 + 256j - turn * (224 + 125j)
    matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    picture = cv2.warpAffine(read("astronaut"), matrix, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    first, second = (turn * eye + shift for eye in ASTRONAUT_EYES)
    mask, box = hole_at(turn * ASTRONAUT_MOUTH + shift, 18 * abs(turn), picture.shape)
    (pose,) = align(picture, mask, [box], network)
    assert pose is not None
    assert errors(pose, (first, second), turn * ASTRONAUT_MOUTH + shift).max() < 8


@pytest.mark.parametrize(
    ("name", "middle"),
    [("rocket", 200 + 200j), ("coffee", 150 + 150j), ("astronaut", 60 + 60j), ("astronaut", 315 + 195j)],
)
def test_where_there_is_no_face_none_is_found(network: AlignmentNetwork, name: str, middle: complex) -> None:
    """Things are not taken for faces, and a face elsewhere in the picture does not count, nor one beside
    which the hole lies."""
    picture = read(name)
    mask, box = hole_at(middle, 30, picture.shape)
    assert align(picture, mask, [box], network) == [None]


@pytest.mark.parametrize(("logit", "looks"), [(-0.1, 1), (0.1, 6)])
def test_where_nothing_looks_like_a_face_it_is_looked_at_once(logit: float, looks: int) -> None:
    """Most holes in photographs lie in none: they cost one look. What may be a face is looked at again and again."""
    seen: list[int] = []

    class Doubtful(AlignmentNetwork):
        def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            seen.append(len(crops))
            return torch.tensor([[1.0, 0, 0, 0]]).expand(len(crops), 4), torch.full((len(crops),), logit)

    picture = read("astronaut")
    mask, box = hole_at(256 + 256j, 30, picture.shape)
    assert align(picture, mask, [box], Doubtful()) == [None]
    assert len(seen) == looks


def test_what_the_hole_hides_is_not_seen(network: AlignmentNetwork) -> None:
    """The pose is the same, to the last bit, whatever the picture holds in its holes; and each time."""
    picture = read("astronaut")
    mask, box = hole_at(ASTRONAUT_MOUTH, 20, picture.shape)
    other = picture.copy()
    other[mask] = 255
    assert align(picture, mask, [box, box], network) == align(other, mask, [box, box], network)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (5, 7), (64, 63)])
def test_any_size_is_looked_at(network: AlignmentNetwork, size: tuple[int, int]) -> None:
    """However small or narrow the picture and its hole are, the answer is a pose or none, and no error."""
    mask = np.ones(size, bool)
    (pose,) = align(np.zeros((*size, 3), np.uint8), mask, [Box(0, 0, *size)], network)
    assert pose is None


def test_the_frame_is_the_canonical_one() -> None:
    """Eyes and mouth lie in the frame symmetrically, as in CelebA's aligned pictures."""
    points = np.array([*EYES, *MOUTH])
    assert np.abs(points.real.mean() - FRAME / 2) < 1
    assert (points.imag[:2] < points.imag[2:]).all()
