"""`complete` by the size of the picture and of the hole: what is computed should depend on the hole alone."""

from functools import partial

import torch

from models.catalog import Catalog
from models.engine import choose_device, open_engine, prepare_process
from models.glcic.complete import complete
from tests.benchmarks.figures import Figure, against, baseline, milliseconds
from tests.benchmarks.pictures import hole, picture

SIZES = ((512, 512), (1024, 1024), (4000, 3000))
HOLES = (64, 120, 240)


def measure() -> list[Figure]:
    prepare_process()
    catalog = Catalog()
    engine = open_engine(catalog, catalog.get("glcic-celeba"), choose_device())
    figures = []
    for side in HOLES:
        base: Figure | None = None
        for width, height in SIZES:
            image, mask = picture(width, height), hole(width, height, side)
            value = milliseconds(partial(complete, image, mask, engine))
            name = f"{width}x{height}, hole {side}x{side}"
            figures.append(against(base, name, value) if base else baseline(name, value))
            base = base or figures[-1]
    image, mask = picture(1024, 1024), hole(1024, 1024, 64)
    tensors = torch.rand(1, 3, 1024, 1024), torch.ones(1, 1, 1024, 1024)  # all of it is hole, so that all is computed
    whole = baseline(
        "original, all of 1024x1024 through the network", milliseconds(partial(engine, *tensors), rounds=3)
    )
    part = milliseconds(partial(complete, image, mask, engine, strategy="original"))
    return [*figures, whole, against(whole, "original, 1024x1024, hole 64x64", part)]
