"""Faces as people upload them, with holes over mouth, eye, cheek, the middle, and strokes: a contact sheet to look at.

    python -m models.evaluation.portraits FOLDER --out sheet.jpg

The holes follow each face, so that the same part is missing everywhere. There
is no figure for whether a face looks right: whoever reads the report looks.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from models.catalog import Catalog
from models.engine import choose_device, open_engine, prepare_process
from models.evaluation.report import sheet
from models.glcic.align import EYES, FRAME, FacePose
from models.glcic.complete import Engine, complete
from models.glcic.geometry import Box, Mask, Pixels
from models.training.holes import stroke_hole

THUMBNAIL = 112
_FINE = 4  # holes are drawn at so many times the canonical frame's size
_AROUND = 0.25  # of the frame, that is shown on each side of it

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


def contact_sheet(images: list[Pixels], engine: Engine, elsewhere: Engine | None = None) -> tuple[Pixels, int]:
    """Rows of pairs, hole and completed, two portraits to a row; and how many had a face that was found."""
    rows: list[list[npt.NDArray[np.uint8]]] = []
    for number, image in enumerate(images):
        pose = find_face(image, engine)
        if pose is None:
            continue
        row = []
        for make in HOLES.values():
            mask = in_picture(make(number), pose, (image.shape[0], image.shape[1]))
            holed = image.copy()
            holed[mask] = 255
            row += [_face(holed, pose), _face(complete(image, mask, engine, elsewhere=elsewhere), pose)]
        rows.append(row)
    blank = np.full_like(rows[0][0], 255)
    padded = [*rows, [blank] * (2 * len(HOLES))] if len(rows) % 2 else rows
    pairs = [left + right for left, right in zip(padded[::2], padded[1::2], strict=True)]
    labels = [text for name in HOLES for text in (name, "")] * 2
    return sheet(pairs, labels), len(rows)


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
    pixels, found = contact_sheet(images, engines[0], engines[1] if len(engines) > 1 else None)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(chosen.out, quality=80)
    print(f"{chosen.out}: {found} of {len(images)} portraits; in the others no face was found.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
