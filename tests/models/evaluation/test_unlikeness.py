"""How unlike photographs what was drawn is: zero for the truth, more for a blur and for crumbs, whatever is shown."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from models.evaluation.unlikeness import STEPS, unlikeness
from models.features import load_features

EXAMPLES = Path(__file__).parents[3] / "app/static/examples"
SIDE = 256


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    """Parts of two photographs, of a woman and a cat."""
    whole = [np.asarray(Image.open(EXAMPLES / f"{name}.jpg").convert("RGB")) for name in ("astronaut", "chelsea")]
    parts = [picture[:SIDE, left : left + SIDE] for picture in whole for left in (0, 60, 120)]
    return [np.float32(part) / np.float32(255) for part in parts]


def test_blur_and_crumbs_are_unlike_and_a_mirrored_picture_is_not(photographs: list[np.ndarray]) -> None:
    """What is shown may be something else; what no photograph shows counts, the more the more of it there is."""
    network = load_features(torch.device("cpu"))
    hole = np.zeros((SIDE, SIDE), bool)
    hole[64:192, 64:192] = True
    chance = np.random.default_rng(0)

    def told(change: object) -> np.ndarray:
        changed = [np.where(hole[..., None], change(picture), picture) for picture in photographs]  # type: ignore[operator]
        return np.array(unlikeness(photographs, changed, [hole] * len(photographs), network))

    def crumbs(picture: np.ndarray) -> np.ndarray:
        return np.float32(np.clip(picture + (chance.random((SIDE, SIDE, 1)) > 0.97) * 0.5, 0, 1))

    assert np.abs(told(lambda picture: picture)).max() < 1e-4
    mirrored = told(lambda picture: picture[:, ::-1])
    little, much = (told(lambda picture, s=s: cv2.GaussianBlur(picture, (0, 0), s)) for s in (2, 5))  # type: ignore[misc]
    assert len(mirrored) == len(STEPS)
    assert (mirrored < little).all()
    assert (little < much).all()
    assert (mirrored[:2] < told(crumbs)[:2]).all()


def test_holes_too_small_to_tell_are_refused(photographs: list[np.ndarray]) -> None:
    """In a sentence, and not with a figure of nothing."""
    hole = np.zeros((SIDE, SIDE), bool)
    hole[100:103, 100:103] = True
    with pytest.raises(ValueError, match="smaller than what is seen"):
        unlikeness(photographs[:1], photographs[:1], [hole], load_features(torch.device("cpu")))
