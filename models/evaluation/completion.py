"""GLCIC beside the classical methods, on the same holes in the same held-out pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from models.catalog import Card
from models.engine import CompletionEngine
from models.evaluation import baselines, protocol
from models.evaluation.baselines import Fill, Mask, Pixels
from models.evaluation.metrics import completion_figures, frechet_distance
from models.evaluation.report import Report, Row, sheet
from models.features import FeatureNetwork, embed
from models.glcic.complete import complete
from models.training.data import open_pictures

SHOWN = 4
"""Pictures of each hole kind in the figure: the first ones, not chosen."""

_NOTES = [
    "Means over all pictures. L1 in percent of the range; PSNR in dB; SSIM by Wang et al. 2004; Frechet: squared",
    "distance between Gaussians over EfficientNet-Lite0 features of whole pictures, not FID; it falls with the number",
    "of pictures, so compare it within one table. Truth: the distance between two halves of the true pictures.",
]


def evaluate_completion(
    card: Card,
    engine: CompletionEngine,
    data: Path,
    *,
    features: FeatureNetwork | None,
    limit: int | None = None,
    size: int = 160,
    cache: Path | None = None,
    report: Callable[[str], None] = print,
) -> Report:
    """Measure the completion network of `card` on the validation split in `data` at `size` x `size`.

    features: for the Frechet distance, left out where there are none. limit: first pictures only. Raises DataError.
    """
    pictures = open_pictures(data, size=size, split="validation", cache=cache, report=report)
    truth = pictures.pixels[:limit]
    device = torch.device("cpu") if features is None else next(features.parameters()).device
    true_features = None if features is None else embed(features, truth, device)
    methods = _methods(engine)
    rows: list[Row] = []
    shown: list[list[Pixels]] = []
    for kind in protocol.HOLES:
        holes = [protocol.hole(kind, number, size) for number in range(len(truth))]
        figure = [[truth[number], _holed(truth[number], holes[number])] for number in range(min(SHOWN, len(truth)))]
        for name, fill in methods.items():
            completed = np.stack([fill(picture, hole) for picture, hole in zip(truth, holes, strict=True)])
            row: dict[str, float | str] = {"hole": kind, "method": name, **_means(completed, truth, holes)}
            if features is not None and true_features is not None:
                row["frechet"] = frechet_distance(embed(features, completed, device), true_features)
            rows.append(row)
            for number, line in enumerate(figure):
                line.append(completed[number])
            report(f"{kind}, {name}: hole PSNR {row['hole_psnr_db']:.2f} dB")
        shown += figure
    about = {
        "model": card.reference,
        "data": pictures.description,
        "pictures": len(truth),
        "size": f"{size}x{size}",
        "holes": "seeded by kind and picture: the same for every method",
    }
    if true_features is not None and len(truth) >= 4:
        half = len(truth) // 2
        floor = frechet_distance(true_features[:half], true_features[half : 2 * half])
        about["frechet between two halves of the truth"] = f"{floor:.4g}"
    labels = ["truth", "hole", *methods]
    return Report(f"Completion: {card.name}", about, rows, sheet(shown, labels), _NOTES)


def _methods(engine: CompletionEngine) -> dict[str, Fill]:
    """Ours as the network draws it and as it is served, with and without what it borrows, and the classical ones."""

    def network(image: Pixels, hole: Mask) -> Pixels:
        return complete(image, hole, engine, strategy="original", blend="none")

    def served(image: Pixels, hole: Mask) -> Pixels:
        return complete(image, hole, engine)

    def plain(image: Pixels, hole: Mask) -> Pixels:
        return complete(image, hole, engine, blend="poisson")

    ours: dict[str, Fill] = {"GLCIC": network, "GLCIC, served": served}
    if engine.find_faces is None:
        ours["GLCIC, nothing borrowed"] = plain
    return ours | baselines.available()


def _means(completed: Pixels, truth: Pixels, holes: list[Mask]) -> dict[str, float]:
    figures = [completion_figures(*each) for each in zip(completed, truth, holes, strict=True)]
    return {name: float(np.mean([figure[name] for figure in figures])) for name in figures[0]}


def _holed(picture: Pixels, hole: Mask) -> Pixels:
    holed = picture.copy()
    holed[hole] = 255
    return holed
