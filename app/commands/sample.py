"""`inpaint sample`: draw pictures from a generator here, without the service."""

import sys
from pathlib import Path

from app.settings import ApiSettings
from app.sheets import SheetFormat, write_sheet
from models.catalog import Catalog, UnknownModelError, write_atomically
from models.dcgan.sample import draw as draw_faces
from models.engine import DeviceError, choose_device, prepare_process
from models.loading import WeightsError, load
from models.vanilla_gan.sample import draw as draw_digits
from worker.settings import WorkerSettings

DONE, FAILED = 0, 1


def sample(
    model: str,
    output: Path,
    *,
    n: int = 16,
    seed: int = 0,
    columns: int | None = None,
    interpolate: int | None = None,
    device: str = "auto",
) -> int:
    """Draw `n` pictures into `output` and return the exit status.

    `model` is `dcgan`, `vanilla-gan`, a name, NAME@VERSION or a run's folder; the
    ending of `output` says what is written: `.png` and `.webp` a grid, `.zip` single
    pictures, `.json` as the service answers.
    """
    api, settings = ApiSettings.read(), WorkerSettings.read()
    sheet_format = output.suffix.lower().removeprefix(".")
    if sheet_format not in list(SheetFormat):
        return _fail(f"{output} should end in one of {', '.join('.' + kind for kind in SheetFormat)}.")
    families = {"dcgan": api.dcgan_model, "vanilla-gan": api.vanilla_gan_model}
    catalog = Catalog(store=settings.weights_dir)
    try:
        card = catalog.find(families.get(model, model))
        if card.family not in ("dcgan", "vanilla-gan"):
            return _fail(f"{card.name} draws no pictures: choose a DCGAN or a vanilla GAN.")
        prepare_process(settings.threads)
        place = choose_device(device)
        network = load(catalog, card, place)
    except (UnknownModelError, WeightsError, DeviceError) as error:
        return _fail(str(error))
    draw = draw_faces if card.family == "dcgan" else draw_digits
    pictures = draw(network, n, seed, interpolate, place)
    about = {"model": card.reference, "seed": seed, "interpolate": interpolate}
    try:
        write_atomically(output, write_sheet(pictures, SheetFormat(sheet_format), columns, about))
    except OSError as error:
        return _fail(f"{output} cannot be written: {error}.")
    print(f"{output}: {n} pictures of {card.reference}, seed {seed}")
    return DONE


def _fail(message: str) -> int:
    print(f"inpaint sample: {message}", file=sys.stderr)
    return FAILED
