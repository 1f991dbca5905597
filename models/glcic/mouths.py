"""Which aligned faces have a closed mouth, and how often to learn from each.

    python -m models.glcic.mouths --faces DATA/celeba --out closed.txt

Whether a hidden mouth is open cannot be seen, and a network that learned from all mouths draws what lies between them:
a pale strip that is neither teeth nor lips. Closed ones are much alike. Which are closed is told from `mouths.csv`, 694
faces looked at by hand, by ridge regression on features of the mouth. Cheeks and eyes betray an open mouth, so that
few faces that laugh are among the closed ones; a second regression, on the face without its mouth, tells how open one
expects it to be, and faces of which one expects much are named oftener. For `refine_train --only closed.txt`; needs the
extra `evaluation`.
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from models.catalog import write_atomically
from models.engine import prepare_process
from models.features import FeatureNetwork, MissingFeaturesError, load_features
from models.training.data import Pictures, open_pictures
from models.training.errors import DataError, TrainingError

LABELS = Path(__file__).parent / "mouths.csv"

SIDE = 160
"""Of the faces."""

_MOUTH = (slice(94, 134), slice(50, 110))  # rows and columns of what is looked at
_HIDDEN = (slice(97, 143), slice(48, 112))  # and of what is not seen of a face without its mouth
_FACE = (slice(40, 150), slice(25, 135))
_SKIN = (0.5, 0.42, 0.38)  # RGB, in place of what is hidden
_MOUTH_SIDES, _FACE_SIDES = (128, 192), (128, 128)  # height and width at which they are looked at
_MOUTH_GRID, _FACE_GRID = (2, 3), (3, 3)  # over whose cells features are averaged
_MOUTH_RIDGE, _FACE_RIDGE = 1.0, 0.3
_CLOSED = 0.41  # of the mouths
_CROWDS = 10  # of faces whose mouths one expects to be about as open
_MOST = 25  # times that a face is named
_AT_ONCE = 64

Floats = npt.NDArray[np.float32]


def closed_mouths(pictures: Pictures, network: FeatureNetwork, labels: Path = LABELS) -> list[str]:
    """Names of faces with closed mouths; a name may come more than once, and as many faces are named of each crowd as
    it holds, or `_MOST` times those with closed mouths. Raises DataError where `labels` is about other faces."""
    known = {Path(name).stem: index for index, name in enumerate(pictures.names)}  # in any folder and format
    with labels.open(newline="") as file:
        told = [(known[row["face"]], row["mouth"] == "open") for row in csv.DictReader(file) if row["face"] in known]
    if len({is_open for _, is_open in told}) < 2:
        raise DataError(f"{labels} tells of no faces with open and closed mouths in {pictures.description}.")
    indices = [index for index, _ in told]
    mouths = _features(pictures, network, hidden=False)
    opened = _regress(mouths[indices], np.array([1.0 if is_open else -1.0 for _, is_open in told]), _MOUTH_RIDGE)
    openness = _with_one(mouths) @ opened
    faces = _features(pictures, network, hidden=True)
    expected = _with_one(faces) @ _regress(faces, openness, _FACE_RIDGE)
    closed = openness < np.quantile(openness, _CLOSED)
    limits = np.quantile(expected, np.linspace(0, 1, _CROWDS + 1)[1:-1])
    crowds = np.searchsorted(limits, expected)
    chance = np.random.default_rng(0)
    named: list[str] = []
    for crowd in range(_CROWDS):
        those = chance.permutation(np.flatnonzero(closed & (crowds == crowd)))
        count = min(int((crowds == crowd).sum()), _MOST * len(those))
        named += [pictures.names[index] for index in np.resize(those, (count,))]
    return named


@torch.inference_mode()
def _features(pictures: Pictures, network: FeatureNetwork, *, hidden: bool) -> Floats:
    """(N, C), of each mouth or of what is seen of a face without it; each feature with mean 0, all with length 1."""
    (rows, columns), sides, grid = (_FACE, _FACE_SIDES, _FACE_GRID) if hidden else (_MOUTH, _MOUTH_SIDES, _MOUTH_GRID)
    found = []
    for start in range(0, len(pictures), _AT_ONCE):
        pixels = np.asarray(pictures.pixels[start : start + _AT_ONCE], np.float32) / np.float32(255)
        if hidden:
            pixels[:, *_HIDDEN] = _SKIN
        part = torch.from_numpy(pixels[:, rows, columns]).permute(0, 3, 1, 2)
        large = F.interpolate(part, size=sides, mode="bilinear").contiguous(memory_format=torch.channels_last)
        seen = network.at_scales(large)[1:]  # the finest is of skin and grain
        found.append(torch.cat([F.adaptive_avg_pool2d(each, grid).flatten(1) for each in seen], dim=1).numpy())
    features = np.concatenate(found)
    features -= features.mean(axis=0)
    features /= (features.std(axis=0) + np.float32(1e-6)) * np.float32(np.sqrt(features.shape[1]))
    return features


def _regress(features: Floats, values: npt.NDArray[np.float64], ridge: float) -> npt.NDArray[np.float64]:
    """Weights (C + 1,) of what tells `values` from `features`."""
    known = _with_one(features)
    penalty = ridge * np.eye(known.shape[1])
    return np.asarray(np.linalg.solve(known.T @ known + penalty, known.T @ values))


def _with_one(features: Floats) -> npt.NDArray[np.float64]:
    return np.concatenate([features, np.ones((len(features), 1))], axis=1)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="folder or zip of CelebA's faces")
    parser.add_argument("--out", type=Path, required=True, help="file of names, one a line")
    arguments = parser.parse_args()
    prepare_process()
    try:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)  # now: the rest takes minutes
        pictures = open_pictures(arguments.faces, size=SIDE)
        names = closed_mouths(pictures, load_features(torch.device("cpu")))
        write_atomically(arguments.out, "".join(f"{name}\n" for name in names).encode())
    except (TrainingError, MissingFeaturesError, OSError) as error:
        print(f"No mouths were named. {error}", file=sys.stderr)
        return 1
    print(f"{len(set(names))} of {len(pictures)} faces have a closed mouth; with repeats {len(names)} are named.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
