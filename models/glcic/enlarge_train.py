"""Trains the two enlarging networks of `enlarge.py`.

    python -m models.glcic.enlarge_train --portraits FACES --faces DATA/celeba --scenes DATA/scenes --out RUN

Pictures are reduced to half and made what a completion network would have drawn: blurred, pale, with outlines that
waver or are there twice and with blotches. The restoring network learns to get back what they were, the doubling one
the same from half a picture that is soft at most. Portraits are photographs that a face fills, at least half of 400
pixels wide (decision 51 lists those it was trained on), so that lips and eyes have the size at which they will be
restored; of smaller faces and of scenes only what was reduced is shown, since they are not sharp as they are. RUN ends
with `weights.safetensors` and `card.json`, as after `inpaint train`.
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
from models.glcic.helper_train import CPU, HelperOptions, HelperRecipe, Splits, train
from models.glcic.refine_train import cleaned
from models.glcic.train import as_pixels
from models.training import loop
from models.training.data import Pictures, open_pictures
from models.training.moves import generator, mirror
from models.training.report import grid

SIDE, PORTRAIT_SIDE, CROP = 160, 400, 80
"""Sides of faces and scenes, of portraits, and of what of either is shown."""

_PORTRAITS, _FACES = 0.7, 0.2  # of the pictures; the rest are scenes, so that not every edge is a lip
_PORTRAIT_SCALES, _SCALES = (0.6, 1.0), (0.5, 0.72)  # as far as they are reduced before anything is learned from them
_PLACE, _SPREAD = (0.5, 0.53), 0.12  # x and y where most of a portrait's crops have their middle: mouths and eyes
_CONTRASTS, _LIGHTS, _TINTS = (0.7, 1.25), 0.1, 0.04  # of a crop, so that all skins and lights are seen
# What makes a drawing of a picture; lengths in pixels of what is enlarged.
_SOFT, _SOFT_TWICE = (1.0, 1.9), (0.6, 1.5)  # a blur's standard deviation, of a drawing and of the mean of two
_WAVERING, _WAVES = 0.15, (1.0, 2.2)  # most that outlines waver, and over which distance
_TWICE, _APART, _APART_OVER = 0.3, (0.15, 0.6), (3.0, 6.0)  # share of means of two; how far their outlines are apart
_PALE, _PALE_OVER = 0.4, (3.0, 6.0)  # most of its contrast that a drawing lacks, beside what is so wide
_BLOTCHES, _BLOTCH_OVER = 2.0 / 255, (0.7, 2.0)  # the strongest blotches, and how wide they are
_MOST_BLUR = 0.9  # of what the doubling network is given
_GRADIENTS = 0.5  # weight of their error beside that of the pixels
_MEASURED, _SHOWN = 128, 8

Crop = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class EnlargeOptions(HelperOptions):
    """How the enlarging networks are trained."""

    batch_size: int = 16
    steps: int = 8000
    lr: float = 1e-3
    channels_last: bool = True
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


class Batch(NamedTuple):
    """Small pictures (B, 3, CROP / 2, CROP / 2), as drawn and reduced, and what they were (B, 3, CROP, CROP), float32
    in [0, 1]."""

    drawn: Tensor
    reduced: Tensor
    large: Tensor


class EnlargeRecipe(HelperRecipe[Batch]):
    """Absolute error, of pixels and of what is between neighbours."""

    options: EnlargeOptions
    _network: EnlargingNetwork

    def __init__(self, options: EnlargeOptions, portraits: Pictures, faces: Splits, scenes: Splits) -> None:
        torch.manual_seed(options.seed)
        super().__init__(options, faces, scenes, EnlargingNetwork(), weight_decay=0.0, rising=0.05)
        self._portraits = portraits

    def batch(self, step: int) -> Batch:
        """See `Recipe.batch`."""
        chance = generator(self.options.seed, 0, step)
        return _collate([self._crop(chance) for _ in range(self.options.batch_size)], chance)

    def _crop(self, chance: np.random.Generator) -> Floats:
        kind = chance.random()
        if kind < _PORTRAITS:
            crop = _cut(chance, _any(chance, self._portraits), _PORTRAIT_SCALES, _SPREAD)
        else:
            pictures = self._faces if kind < _PORTRAITS + _FACES else self._scenes
            crop = _cut(chance, _any(chance, pictures["train"]), _SCALES, None)
        return _lit(chance, mirror(chance, crop))

    def step(self, step: int, batch: Batch) -> loop.Figures:
        """See `Recipe.step`."""
        with autocast(CPU, self.options.precision):
            enlarged = self._network.restoring(batch.drawn), self._network.doubling(batch.reduced)
        losses = [_error(each, batch.large) for each in enlarged]
        self.descend(step, torch.stack(losses).sum())
        return {name: loss.detach() for name, loss in zip(("restoring", "doubling"), losses, strict=True)}

    def validate(self) -> dict[str, float]:
        """On held-out faces, beside cubic interpolation."""
        drawn, reduced, large = self._held_out(_MEASURED, 0)
        with torch.inference_mode():
            ways = {
                "psnr_db": self._network.restoring(drawn),
                "psnr_db_cubic": _cubic(drawn),
                "doubling_psnr_db": self._network.doubling(reduced),
                "doubling_psnr_db_cubic": _cubic(reduced),
            }
        return {name: float(-10 * (enlarged - large).square().mean().log10()) for name, enlarged in ways.items()}

    def preview(self) -> Crop:
        """Held-out faces as drawn and enlarged by cubic interpolation, restored, and as they were."""
        drawn, _, large = self._held_out(_SHOWN, 1)
        with torch.inference_mode():
            rows = (_cubic(drawn), self._network.restoring(drawn), large)
        return grid([list(as_pixels(row)) for row in rows])

    def _held_out(self, count: int, seed: int) -> Batch:
        chance = np.random.default_rng(seed)
        pictures = self._faces["validation"].pixels[:count]
        return _collate([_floats(_reduced(picture)) for picture in pictures], chance)

    def about(self) -> loop.About:
        """See `Recipe.about`."""
        sources = (self._portraits, self._faces["train"], self._scenes["train"])
        return loop.About(
            family="face-enlarge",
            name="face-enlarge",
            title="Enlarging, for completed faces in large pictures",
            description="Doubles the sides of what a glcic model drew of a face, and makes its outlines clear.",
            data="; ".join(source.description for source in sources),
            licence=self.options.licence or self._faces["train"].licence,
            recipe=f"{_PORTRAITS:.0%} portraits, {_FACES:.0%} faces; halved and made as if drawn (restoring), halved "
            f"and blurred (doubling); absolute error of pixels and, with weight {_GRADIENTS:g}, of gradients; AdamW "
            f"{self.options.lr:g}, one cycle, batch {self.options.batch_size}",
            image_size=CROP,
            options={},
        )


def _any(chance: np.random.Generator, pictures: Pictures) -> Crop:
    return np.asarray(pictures.pixels[chance.integers(len(pictures))])


def _cut(chance: np.random.Generator, picture: Crop, scales: tuple[float, float], spread: float | None) -> Crop:
    """(CROP, CROP, 3) of the picture, reduced to a scale in that range: about _PLACE, or anywhere."""
    side = min(round(CROP / float(chance.uniform(*scales))), picture.shape[0])
    most = picture.shape[0] - side
    if spread is None:
        left, top = (int(chance.integers(0, most + 1)) for _ in range(2))
    else:
        middles = (chance.normal(place, spread) * picture.shape[0] for place in _PLACE)
        left, top = (int(np.clip(middle - side / 2, 0, most)) for middle in middles)
    return _reduced(picture[top : top + side, left : left + side])


def _reduced(picture: Crop) -> Crop:
    """(CROP, CROP, 3), without the ringing that lossy compression leaves beside edges."""
    return np.asarray(cv2.resize(cleaned(picture), (CROP, CROP), interpolation=cv2.INTER_AREA), np.uint8)


def _lit(chance: np.random.Generator, crop: Crop) -> Floats:
    light = chance.uniform(-_LIGHTS, _LIGHTS) + chance.normal(0, _TINTS, 3)
    return _floats(np.clip((_floats(crop) - 0.5) * chance.uniform(*_CONTRASTS) + 0.5 + light, 0, 1))


def _drawn(chance: np.random.Generator, picture: Floats) -> Floats:
    """(CROP / 2, CROP / 2, 3): what a completion network would have drawn of a picture (CROP, CROP, 3)."""
    picture = _moved(picture, _field(chance, _WAVES) * chance.uniform(0, _WAVERING))
    if chance.random() < _TWICE:
        apart = _field(chance, _APART_OVER) * chance.uniform(*_APART)
        picture, soft = _floats((_moved(picture, apart) + _moved(picture, -apart)) / 2), _SOFT_TWICE
    else:
        soft = _SOFT
    small = _half(_blurred(picture, 2 * chance.uniform(*soft)))
    pale = np.float32(chance.uniform(0, _PALE))
    small = _floats((1 - pale) * small + pale * _blurred(small, chance.uniform(*_PALE_OVER)))
    wide = float(chance.uniform(*_BLOTCH_OVER))
    blotches = _noise(chance, small.shape[:2], wide)[..., None] * np.float32(chance.uniform(0, _BLOTCHES))
    return _floats(np.clip(small + blotches, 0, 1))


def _field(chance: np.random.Generator, widths: tuple[float, float]) -> Floats:
    """(2, CROP, CROP): ways along x and y, of spread 1 in pixels of what is enlarged."""
    wide = 2 * float(chance.uniform(*widths))
    return _floats(2 * np.stack([_noise(chance, (CROP, CROP), wide) for _ in range(2)]))


def _noise(chance: np.random.Generator, shape: tuple[int, ...], wide: float) -> Floats:
    """Of spread 1, and alike over a distance of `wide` pixels."""
    noise = _blurred(_floats(chance.standard_normal(shape)), wide)
    return _floats(noise * (2 * wide * np.sqrt(np.pi)))  # what the blur left of its spread


def _moved(picture: Floats, field: Floats) -> Floats:
    rows, columns = np.indices(picture.shape[:2], np.float32)
    x, y = _floats(columns + field[0]), _floats(rows + field[1])
    return _floats(cv2.remap(picture, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT))


def _blurred(picture: Floats, spread: float) -> Floats:
    return _floats(cv2.GaussianBlur(picture, (0, 0), spread))


def _half(picture: Floats) -> Floats:
    side = picture.shape[0] // 2
    return _floats(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA))


def _collate(crops: list[Floats], chance: np.random.Generator) -> Batch:
    drawn, reduced = [], []
    for crop in crops:
        drawn.append(_drawn(chance, crop))
        reduced.append(_blurred(_half(crop), chance.uniform(0.2, _MOST_BLUR)))
    return Batch(*(torch.from_numpy(np.stack(each)).permute(0, 3, 1, 2) for each in (drawn, reduced, crops)))


def _error(enlarged: Tensor, large: Tensor) -> Tensor:
    off = enlarged - large
    gradients = off.diff(dim=2).abs().mean() + off.diff(dim=3).abs().mean()
    return off.abs().mean() + _GRADIENTS * gradients


def _cubic(small: Tensor) -> Tensor:
    return F.interpolate(small, scale_factor=2, mode="bicubic", align_corners=False).clamp(0, 1)


def _floats(values: npt.NDArray[np.generic]) -> Floats:
    return values.astype(np.float32) / np.float32(255) if values.dtype == np.uint8 else values.astype(np.float32)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=Path, required=True, help="folder or zip of photographs full of a face")
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
    portraits = open_pictures(arguments.portraits, size=PORTRAIT_SIDE)
    faces, scenes = (
        {name: open_pictures(path, size=SIDE, split=name) for name in ("train", "validation")}
        for path in (arguments.faces, arguments.scenes)
    )
    recipe = EnlargeRecipe(options, portraits, faces, scenes)
    train(recipe, arguments.out, "models.glcic.enlarge_train", resume=arguments.resume)


if __name__ == "__main__":
    main()
