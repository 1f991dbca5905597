"""`inpaint evaluate`: measure a model on held-out pictures, print the table, keep JSON and a figure."""

import sys
from pathlib import Path

from app.settings import ApiSettings
from models.catalog import Card, Catalog, Family, UnknownModelError
from models.engine import DeviceError, choose_device, open_engine, prepare_process
from models.evaluation.completion import evaluate_completion
from models.evaluation.report import Report
from models.evaluation.samples import evaluate_digits, evaluate_faces
from models.features import FeatureNetwork, MissingFeaturesError, load_features
from models.loading import WeightsError, load
from models.training.errors import TrainingError
from worker.settings import WorkerSettings

DONE, FAILED = 0, 1


def evaluate(
    family: Family,
    data: Path,
    out: Path,
    *,
    model: str | None = None,
    limit: int | None = None,
    device: str = "auto",
) -> int:
    """Measure `model` (or the family's own) on `data` and return the exit status.

    family: `glcic`, `dcgan` or `vanilla-gan`. model: a name, NAME@VERSION or a run's folder.
    limit: pictures to measure on (samples, for the vanilla GAN).
    out: folder for `MODEL.json`, `.md` and `.png`.
    """
    api, settings = ApiSettings.read(), WorkerSettings.read()
    families = {"glcic": api.inpaint_model, "dcgan": api.dcgan_model, "vanilla-gan": api.vanilla_gan_model}
    try:
        catalog = Catalog(store=settings.weights_dir)
        card = catalog.find(model or families[family])
        if card.family != family:
            raise UnknownModelError(f"{card.name} is of the family {card.family}, not {family}.")
        report = _measure(catalog, card, data, limit, settings, device)
        print("\n" + report.text())
        for path in report.write(out, card.name):
            print(path)
    except (UnknownModelError, WeightsError, DeviceError, TrainingError, OSError) as error:
        print(f"inpaint evaluate: {error}", file=sys.stderr)
        return FAILED
    return DONE


def _measure(
    catalog: Catalog, card: Card, data: Path, limit: int | None, settings: WorkerSettings, device: str
) -> Report:
    prepare_process(settings.threads)
    place = choose_device(device)
    if card.family == "glcic":
        engine = open_engine(catalog, card, place)
        return evaluate_completion(card, engine, data, features=_features(device), limit=limit)
    network = load(catalog, card, place)
    if card.family == "vanilla-gan":
        return evaluate_digits(card, network, data, limit=limit)
    return evaluate_faces(card, network, data, features=_features(device), limit=limit)


def _features(device: str) -> FeatureNetwork | None:
    try:
        return load_features(choose_device(device))
    except MissingFeaturesError as error:
        print(f"Without Frechet distances. {error}", file=sys.stderr)
        return None
