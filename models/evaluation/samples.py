"""The generators: how far their pictures are from held-out ones, beside how far real pictures are from each other."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import nn

from models.catalog import Card
from models.dcgan.network import SIZE
from models.dcgan.sample import draw as draw_faces
from models.evaluation.digit_classifier import SURE, judge, load_classifier
from models.evaluation.metrics import frechet_distance, sliced_wasserstein
from models.evaluation.report import Report, Row, sheet
from models.features import FeatureNetwork, embed
from models.training.data import open_digits, open_pictures
from models.vanilla_gan.sample import draw as draw_digits

SEED = 0
"""Of every sample drawn here: nothing is picked."""


def evaluate_faces(
    card: Card,
    network: nn.Module,
    data: Path,
    *,
    features: FeatureNetwork | None,
    limit: int | None = None,
    cache: Path | None = None,
    report: Callable[[str], None] = print,
) -> Report:
    """Sliced Wasserstein and Frechet distance of a DCGAN to the validation split in `data`. Raises DataError.

    As many samples as there are held-out pictures (`limit` of them); the floor
    is the distance of as many training pictures to the same ones.
    """
    held_out = open_pictures(data, size=SIZE, split="validation", cache=cache, report=report)
    training = open_pictures(data, size=SIZE, split="train", cache=cache, report=report)
    n = min(len(held_out), len(training), limit or len(held_out))
    real, others = held_out.pixels[:n], training.pixels[:n]
    device = next(network.parameters()).device
    drawn = draw_faces(network, n, SEED, device=device)
    rows: list[Row] = []
    real_features = None if features is None else embed(features, real, device)
    for name, pictures in ((card.name, drawn), ("real: training pictures", others)):
        row: dict[str, float | str] = {
            "pictures": name,
            "sliced_wasserstein": sliced_wasserstein(np.ascontiguousarray(pictures), np.ascontiguousarray(real)),
        }
        if features is not None and real_features is not None:
            row["frechet"] = frechet_distance(embed(features, pictures, device), real_features)
        rows.append(row)
    about = {"model": card.reference, "data": held_out.description, "pictures": n, "seed": SEED}
    notes = [
        "Against held-out pictures. Sliced Wasserstein after Karras et al. 2018, times 1000: larger with fewer",
        "pictures and patches, so compare it with as many, not with what is published. Frechet: over features of",
        "EfficientNet-Lite0, not FID. The last row is the floor: what real pictures get.",
    ]
    shown = [list(drawn[first : first + 8]) for first in range(0, min(n, 64), 8)]
    return Report(f"Samples: {card.name}", about, rows, sheet(shown), notes)


def evaluate_digits(card: Card, network: nn.Module, data: Path, *, limit: int | None = None) -> Report:
    """What the digit classifier makes of a vanilla GAN's samples (10,000, or `limit`). Raises DataError."""
    n = limit or 10_000
    device = next(network.parameters()).device
    classifier = load_classifier(device)
    test, _ = open_digits(data, "test")
    training, _ = open_digits(data, "train")
    drawn = draw_digits(network, n, SEED, device=device)
    real = judge(classifier, test, device)
    rows: list[Row] = []
    for name, digits in ((card.name, drawn), ("real: training digits", training[:n])):
        found = judge(classifier, digits, device)
        rows.append(
            {
                "digits": name,
                "sure_percent": found.sure * 100,
                **{str(digit): share * 100 for digit, share in enumerate(found.shares)},
                "frechet": frechet_distance(found.features, real.features),
            }
        )
    about = {"model": card.reference, "data": "MNIST, test digits for the distance", "samples": n, "seed": SEED}
    notes = [
        f"sure_percent: samples whose likeliest digit has a probability of {SURE:.0%} or more; 0 to 9: percent of the",
        "samples read as that digit; frechet: over the classifier's own features, against test digits. The last row is",
        "the floor: what real digits get.",
    ]
    shown = [list(drawn[first : first + 10]) for first in range(0, min(n, 100), 10)]
    return Report(f"Samples: {card.name}", about, rows, sheet(shown), notes)
