"""Trains the enlarging network of `enlarge.py`.

    python -m models.glcic.enlarge_train --faces DATA/celeba --scenes DATA/scenes --out RUN [--resume]

Pictures are halved, most of them blurred a little, since what a network draws is softer than a photograph that
was reduced; the network learns to get back what they were. RUN ends with `weights.safetensors` and `card.json`, as
after `inpaint train`.
"""

import argparse
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from models.engine import autocast, prepare_process
from models.glcic.enlarge import EnlargingNetwork
from models.glcic.helper_train import HelperOptions, HelperRecipe, Splits, train
from models.glcic.train import as_images, as_pixels
from models.training import loop
from models.training.data import open_pictures
from models.training.moves import generator, mirror
from models.training.report import grid

SIDE, CROP = 144, 96
_FACES = 0.7  # of the pictures; the rest are scenes, so that not every edge is a lip
_BLURRED, _MOST_BLUR = 0.6, 0.9  # share of the pictures; the widest Gaussian's sigma in pixels of what is enlarged
_MEASURED, _SHOWN = 128, 8
_MIDDLE = slice((SIDE - CROP) // 2, (SIDE + CROP) // 2)

Crop = npt.NDArray[np.uint8]


class EnlargeOptions(HelperOptions):
    """How the enlarging network is trained."""

    batch_size: int = 24
    steps: int = 4000
    lr: float = 1e-3
    channels_last: bool = True
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


class Batch(NamedTuple):
    """Small pictures (B, 3, CROP / 2, CROP / 2) and what they were (B, 3, CROP, CROP), float32 in [0, 1]."""

    small: Tensor
    large: Tensor


class EnlargeRecipe(HelperRecipe[Batch]):
    """Absolute error."""

    options: EnlargeOptions
    _network: EnlargingNetwork

    def __init__(self, options: EnlargeOptions, faces: Splits, scenes: Splits) -> None:
        torch.manual_seed(options.seed)
        super().__init__(options, faces, scenes, EnlargingNetwork(), weight_decay=0.0, rising=0.05)

    def batch(self, step: int) -> Batch:
        """See `Recipe.batch`."""
        chance = generator(self.options.seed, 0, step)
        return _collate([self._crop(chance) for _ in range(self.options.batch_size)], chance)

    def _crop(self, chance: np.random.Generator) -> Crop:
        pictures = (self._faces if chance.random() < _FACES else self._scenes)["train"].pixels
        picture = pictures[chance.integers(len(pictures))]
        top, left = (int(chance.integers(0, side - CROP + 1)) for side in picture.shape[:2])
        return mirror(chance, picture[top : top + CROP, left : left + CROP])

    def step(self, step: int, batch: Batch) -> loop.Figures:  # noqa: ARG002 - the schedule counts
        """See `Recipe.step`."""
        with autocast(torch.device("cpu"), self.options.precision):
            enlarged = self._network(batch.small)
        loss = (enlarged - batch.large).abs().mean()
        self.descend(loss)
        return {"absolute_error": loss.detach()}

    def validate(self) -> dict[str, float]:
        """On held-out faces, beside cubic interpolation."""
        crops = [picture[_MIDDLE, _MIDDLE] for picture in self._faces["validation"].pixels[:_MEASURED]]
        small, large = _collate(crops, np.random.default_rng(0))
        with torch.inference_mode():
            ways = {"psnr_db": self._network(small), "psnr_db_cubic": _cubic(small)}
        return {name: float(-10 * (enlarged - large).square().mean().log10()) for name, enlarged in ways.items()}

    def preview(self) -> Crop:
        """Held-out faces enlarged by cubic interpolation, by the network, and as they were."""
        crops = [picture[_MIDDLE, _MIDDLE] for picture in self._faces["validation"].pixels[:_SHOWN]]
        small, large = _collate(crops, np.random.default_rng(1))
        with torch.inference_mode():
            rows = (_cubic(small), self._network(small), large)
        return grid([list(as_pixels(row)) for row in rows])

    def about(self) -> loop.About:
        """See `Recipe.about`."""
        return loop.About(
            family="face-enlarge",
            name="face-enlarge",
            title="Enlarging, for completed faces in large pictures",
            description="Doubles the sides of what a glcic model drew of a face, and keeps its edges sharp.",
            data=f"{self._faces['train'].description}; {self._scenes['train'].description}",
            licence=self.options.licence or self._faces["train"].licence,
            recipe=f"Pictures halved, {_BLURRED:.0%} of them blurred; absolute error; AdamW {self.options.lr:g}, one "
            f"cycle, batch {self.options.batch_size}",
            image_size=CROP,
            options={},
        )


def _collate(crops: list[Crop], chance: np.random.Generator) -> Batch:
    """Crops (CROP, CROP, 3) uint8, and the same halved, some of them blurred."""
    small = []
    for crop in crops:
        half = cv2.resize(crop.astype(np.float32) / 255, (CROP // 2, CROP // 2), interpolation=cv2.INTER_AREA)
        if chance.random() < _BLURRED:
            half = cv2.GaussianBlur(half, (0, 0), float(chance.uniform(0.3, _MOST_BLUR)))
        small.append(half)
    return Batch(torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2), as_images(np.stack(crops)))


def _cubic(small: Tensor) -> Tensor:
    return F.interpolate(small, scale_factor=2, mode="bicubic", align_corners=False).clamp(0, 1)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="folder or zip of faces")
    parser.add_argument("--scenes", type=Path, required=True, help="folder or zip of any other pictures")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--steps", type=int, default=EnlargeOptions().steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    options = EnlargeOptions(steps=arguments.steps, seed=arguments.seed, threads=arguments.threads)
    prepare_process(options.threads)
    faces, scenes = (
        {name: open_pictures(path, size=SIDE, split=name) for name in ("train", "validation")}
        for path in (arguments.faces, arguments.scenes)
    )
    recipe = EnlargeRecipe(options, faces, scenes)
    train(recipe, arguments.out, "models.glcic.enlarge_train", resume=arguments.resume)


if __name__ == "__main__":
    main()
