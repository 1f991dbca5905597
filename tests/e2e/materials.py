"""What the page's service is given: data to train on, and generators that are quick to load.

The generators have random weights: what is tested is that the page shows what the
service draws, not how well it draws.
"""

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn

from models.catalog import Card, Catalog, Family
from models.dcgan.network import Generator as Dcgan
from models.vanilla_gan.network import Generator as VanillaGan


def add_generators(store: Path) -> None:
    """A DCGAN and a vanilla GAN, in service under the names that the samples are drawn from."""
    torch.manual_seed(0)
    _add(store, "dcgan-celeba", "dcgan", Dcgan(width=8), {"width": 8})
    _add(store, "vanilla-gan-mnist", "vanilla-gan", VanillaGan(), {})


def write_digits(folder: Path, pictures: int = 654) -> None:
    """MNIST's four files, with bars instead of digits; a twelfth is held out, so 600 are left to train on."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images = np.zeros((pictures, 28, 28), np.uint8)
    labels = rng.integers(0, 10, pictures).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[4:24, 4 + 2 * label : 8 + 2 * label] = 255
    for stem in ("train", "t10k"):
        _write_idx(folder / f"{stem}-images-idx3-ubyte.gz", images)
        _write_idx(folder / f"{stem}-labels-idx1-ubyte.gz", labels)


def _write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


def _add(store: Path, name: str, family: Family, network: nn.Module, options: dict[str, int]) -> None:
    weights = safetensors.torch.save(
        {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    )
    card = Card(
        name=name,
        family=family,
        title=f"{name}, untrained",
        description="Random weights, for tests.",
        sha256=hashlib.sha256(weights).hexdigest(),
        data="none",
        licence="MIT",
        recipe="none",
        images_seen=0,
        hours=0,
        image_size=64,
        metrics={"sliced_wasserstein": 1.0},
        command="tests/e2e/materials.py",
        commit="none",
        created="2026-11-22",
        options=options,
    )
    catalog = Catalog(store)
    catalog.add(card, weights)
    catalog.activate(name, card.version)
