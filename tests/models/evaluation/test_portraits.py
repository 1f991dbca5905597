"""The contact sheet of portraits: each hole lies on its part of the face, wherever the face is."""

import numpy as np
import torch

from models.evaluation.portraits import HOLES, completed_portraits, contact_sheet, figures, in_picture
from models.features import load_features
from models.glcic.align import EYES, FRAME, MOUTH, FacePose
from tests.models.glcic.conftest import FakeEngine


def test_holes_follow_the_face() -> None:
    """The eye's hole covers the eye and not the mouth, for a face that is turned and moved."""
    pose = FacePose(2.5 + 0.6j, 90 + 40j, 1.0)
    eye, mouth = (pose.turn * point + pose.shift for point in (EYES[0], (MOUTH[0] + MOUTH[1]) / 2))
    for name, covered, left_alone in (("eye", eye, mouth), ("mouth", mouth, eye)):
        mask = in_picture(HOLES[name](0), pose, (600, 500))
        assert mask[round(covered.imag), round(covered.real)]
        assert not mask[round(left_alone.imag), round(left_alone.real)]
        assert 0.001 < mask.mean() < 0.1


def test_portraits_without_a_face_are_counted_and_left_out() -> None:
    """Two of three have one."""
    engine = FakeEngine(image_size=64)
    engine.find_faces = lambda image, _mask, boxes: [
        FacePose(1 + 0j, 20 + 20j, 1.0) if image[0, 0, 0] else None for _ in boxes
    ]
    images = [np.full((FRAME + 40, FRAME + 60, 3), value, np.uint8) for value in (0, 100, 200)]
    portraits = completed_portraits(images, engine)
    assert [int(portrait.image[0, 0, 0]) for portrait in portraits] == [100, 200]
    assert contact_sheet(portraits).ndim == 3
    told = figures(portraits, load_features(torch.device("cpu")))
    assert told.keys() == HOLES.keys()
    assert all(value >= 0 for values in told.values() for value in values)
