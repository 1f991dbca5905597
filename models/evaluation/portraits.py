"""Faces as people upload them, with holes over mouth, eye, cheek, the middle, and strokes: a contact sheet to look at.

    python -m models.evaluation.portraits FOLDER --out sheet.jpg

The holes follow each face, so that the same part is missing everywhere. How unlike photographs what was drawn is, for
each part, is told in figures (`unlikeness.py`; needs the extra `evaluation`); whether a face looks right they do not
tell: whoever reads the report looks.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from models.catalog import Catalog
from models.engine import choose_device, open_engine, prepare_process
from models.evaluation.report import sheet
from models.evaluation.unlikeness import STEPS, unlikeness
from models.features import FeatureNetwork, MissingFeaturesError, load_features
from models.glcic.align import EYES, FRAME, FacePose
from models.glcic.complete import Engine, complete
from models.glcic.face_view import TurnedView
from models.glcic.geometry import Box, Mask, Pixels
from models.training.holes import stroke_hole

THUMBNAIL = 112
_FINE = 4  # holes are drawn at so many times the canonical frame's size
_AROUND = 0.25  # of the frame, that is shown on each side of it

_SEEN = 384  # side of the canonical frame in which figures are measured

HoleMaker = Callable[[int], Mask]
"""Number of the portrait -> (FRAME * _FINE, FRAME * _FINE) bool in the canonical frame."""


def _box(left: float, top: float, right: float, bottom: float) -> HoleMaker:
    def make(_: int) -> Mask:
        mask = np.zeros((FRAME * _FINE, FRAME * _FINE), bool)
        mask[round(top * _FINE) : round(bottom * _FINE), round(left * _FINE) : round(right * _FINE)] = True
        return mask

    return make


def _eye(_: int) -> Mask:
    mask = np.zeros((FRAME * _FINE, FRAME * _FINE), np.uint8)
    middle = (round(EYES[0].real * _FINE), round(EYES[0].imag * _FINE))
    cv2.ellipse(mask, middle, (16 * _FINE, 12 * _FINE), 0, 0, 360, 1, -1)
    return mask.astype(bool)


def _strokes(number: int) -> Mask:
    return stroke_hole(np.random.default_rng(number), FRAME * _FINE, 0.12)


HOLES: dict[str, HoleMaker] = {
    "mouth": _box(54, 106, 106, 134),
    "eye": _eye,
    "cheek": _box(98, 96, 118, 118),
    "middle": _box(44, 64, 116, 136),
    "strokes": _strokes,
}


def find_face(image: Pixels, engine: Engine) -> FacePose | None:
    """The face of a portrait that has no hole: in the middle, or above it."""
    if engine.find_faces is None:
        return None
    height, width = image.shape[:2]
    tenths = [Box(height * n // 10, width * 9 // 20, height * (n + 1) // 10, width * 11 // 20) for n in range(1, 6)]
    poses = engine.find_faces(image, np.zeros((height, width), bool), tenths)
    return max((pose for pose in poses if pose is not None), key=lambda pose: pose.score, default=None)


def in_picture(hole: Mask, pose: FacePose, size: tuple[int, int]) -> Mask:
    """(height, width) `size` bool: a hole of the canonical frame where it lies in the picture."""
    turn = pose.turn / _FINE
    matrix = np.array([[turn.real, -turn.imag, pose.shift.real], [turn.imag, turn.real, pose.shift.imag]])
    warped = cv2.warpAffine(hole.astype(np.uint8), matrix, (size[1], size[0]), flags=cv2.INTER_NEAREST)
    return np.asarray(warped, bool)


@dataclass(frozen=True)
class Portrait:
    """A portrait whose face was found, and what was done to it."""

    image: Pixels
    pose: FacePose
    holes: dict[str, Mask]
    """(height, width) bool, by the names of `HOLES`."""
    completed: dict[str, Pixels]


def completed_portraits(images: list[Pixels], engine: Engine, elsewhere: Engine | None = None) -> list[Portrait]:
    """Each portrait, completed with each hole; those in which no face is found are left out."""
    portraits = []
    for number, image in enumerate(images):
        pose = find_face(image, engine)
        if pose is None:
            continue
        size = image.shape[0], image.shape[1]
        holes = {name: in_picture(make(number), pose, size) for name, make in HOLES.items()}
        completed = {name: complete(image, mask, engine, elsewhere=elsewhere) for name, mask in holes.items()}
        portraits.append(Portrait(image, pose, holes, completed))
    return portraits


def contact_sheet(portraits: list[Portrait]) -> Pixels:
    """Rows of pairs, hole and completed, two portraits to a row."""
    rows: list[list[npt.NDArray[np.uint8]]] = []
    for portrait in portraits:
        row = []
        for name, mask in portrait.holes.items():
            holed = portrait.image.copy()
            holed[mask] = 255
            row += [_face(holed, portrait.pose), _face(portrait.completed[name], portrait.pose)]
        rows.append(row)
    blank = np.full_like(rows[0][0], 255)
    padded = [*rows, [blank] * (2 * len(HOLES))] if len(rows) % 2 else rows
    pairs = [left + right for left, right in zip(padded[::2], padded[1::2], strict=True)]
    return sheet(pairs, [text for name in HOLES for text in (name, "")] * 2)


def figures(portraits: list[Portrait], network: FeatureNetwork) -> dict[str, tuple[float, ...]]:
    """See `unlikeness`, by the names of `HOLES`, of the faces as they stand in the canonical frame."""
    told = {}
    for name in HOLES:
        true, drawn, holes = [], [], []
        for portrait in portraits:
            view = TurnedView(portrait.pose.turn * FRAME / _SEEN, portrait.pose.shift, (_SEEN, _SEEN))
            nothing, mask = np.zeros_like(portrait.holes[name]), portrait.holes[name]
            true.append(view.take(portrait.image, nothing)[0])
            drawn.append(view.take(portrait.completed[name], nothing)[0])
            holes.append(view.shown(mask, Box(0, 0, *mask.shape)))
        told[name] = unlikeness(true, drawn, holes, network)
    return told


def _face(image: Pixels, pose: FacePose) -> Pixels:
    """The face and a little around it, as it stands in the picture."""
    height, width = image.shape[:2]
    middle = pose.turn * (FRAME / 2 + FRAME / 2 * 1j) + pose.shift
    side = min(round(abs(pose.turn) * FRAME * (1 + 2 * _AROUND)), height, width)
    top = min(max(0, round(middle.imag - side / 2)), height - side)
    left = min(max(0, round(middle.real - side / 2)), width - side)
    part = np.ascontiguousarray(image[top : top + side, left : left + side])
    return np.asarray(cv2.resize(part, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA), np.uint8)


def main() -> int:
    """The command above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="portraits, JPEG or PNG")
    parser.add_argument("--out", type=Path, required=True, help="the sheet, JPEG")
    parser.add_argument("--model", default="glcic-celeba")
    parser.add_argument("--elsewhere", default="glcic-scenes", help="completes holes in which no face is; may be empty")
    chosen = parser.parse_args()
    prepare_process()
    catalog = Catalog()
    engines = [
        open_engine(catalog, catalog.get(name), choose_device()) for name in (chosen.model, chosen.elsewhere) if name
    ]
    files = sorted(path for path in chosen.folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    images = [np.asarray(Image.open(path).convert("RGB")) for path in files]
    portraits = completed_portraits(images, engines[0], engines[1] if len(engines) > 1 else None)
    print(f"{len(portraits)} of {len(images)} portraits; in the others no face was found.")
    if not portraits:
        return 1
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(contact_sheet(portraits)).save(chosen.out, quality=80)
    try:
        told = figures(portraits, load_features(torch.device("cpu")))
    except MissingFeaturesError as error:
        print(f"No figures. {error}", file=sys.stderr)
        return 0
    print("| hole |", " | ".join(f"{step} pixels" for step in STEPS), "|")
    for name, values in told.items():
        print(f"| {name} |", " | ".join(f"{value:.4f}" for value in values), "|")
    return 0


if __name__ == "__main__":
    sys.exit(main())
