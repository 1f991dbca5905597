"""Refines a completion network: of faces where people look first, at mouths and eyes, or of scenes.

    python -m models.glcic.refine_train --faces DATA/celeba --first glcic-celeba --out RUN [--resume]
    python -m models.glcic.refine_train --scenes DATA/scenes --first glcic-scenes --out RUN [--resume]
    torchrun --nproc-per-node 8 -m models.glcic.refine_train ... --set batch_size=16    # eight GPUs, 128 in all

Of faces most holes lie over a mouth or an eye. The critics of `critics.py` look at the neighbourhood of each hole,
enlarged, and at the whole picture, as GLCIC's local and global discriminator do; squared error and the distance of
features (Johnson et al. 2016) keep the network near what was there. Pictures are cleaned first of what lossy
compression left beside their edges, and faces softened: both would be learned, and show when a face is enlarged. Many
are turned and lit as few in CelebA are (`variety.py`). Dark faces are brightened as they are in service
(`face_view.brightening`). Batch norm stays as it is served. RUN ends with
`weights.safetensors` and `card.json`, as after `inpaint train`. With `--only FILE` it learns from the pictures whose
names are the lines of FILE. Needs the extra `evaluation`.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from models.engine import autocast, prepare_process, training_precision
from models.features import FeatureNetwork, MissingFeaturesError, load_features
from models.glcic.critics import Critics, Logits, View, mean_where_hole
from models.glcic.face_view import TurnedView, brightening
from models.glcic.helper_train import Splits, train
from models.glcic.network import CompletionNetwork, composite
from models.glcic.train import Batch, as_images, as_pixels, course_figures, hole_mse, load_initial
from models.glcic.variety import lit, posed, softened
from models.training import loop, moves, processes
from models.training.checkpoint import load_optimiser
from models.training.data import Pictures, open_pictures
from models.training.ema import Average
from models.training.errors import DataError, OptionsError, TrainingError
from models.training.holes import HoleShape, Mask, sample_hole
from models.training.options import HoleKind, Options, parse_overrides, with_overrides
from models.training.report import ACCURACY, grid
from models.training.start import find_weights

SIDE, NEAR = 160, 80
"""Sides of the pictures, and of what of them is enlarged to be looked at."""

_MOUTH, _EYE = (80, 119), (62, 82)  # x and y in an aligned face of SIDE; the other eye comes by mirroring
_MOUTH_SIDES, _EYE_SIDES = ((34, 84), (22, 56)), ((24, 60), (18, 44))  # widths and heights of holes over them
_SPREAD, _AWAY = (7.0, 4.0), 10  # how far such a hole lies from there, and NEAR's middle from the hole's, in pixels
_OTHERS: dict[HoleKind, float] = {"patch": 0.45, "stroke": 0.25, "box": 0.1, "scattered": 0.2}
_SHAPE = HoleShape(smallest=0.125)
_FACE = TurnedView(1 + 0j, 0j, (SIDE, SIDE)).face
_LEAST_AREA = 0.03  # of a hole in what is looked at near it: smaller ones count no more
_MEASURED, _SHOWN = 64, 8

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Subject:
    """What is in the pictures, and how they are made ready."""

    name: Literal["faces", "scenes"]
    describes: str
    moves: moves.MoveRange
    softness: float
    """Standard deviation of a blur, in pixels."""

    def options(self) -> "RefineOptions":
        """The usual ones. What stood in a scene is harder to guess than in a face, so squared error is larger, and
        drowns what asks for sharp pictures at the weights that faces have."""
        if self.name == "faces":
            return RefineOptions()
        return RefineOptions(mouths=0, eyes=0, varied=0, feature_distance=0.02, deceit=0.01, deceit_whole=0.005)


FACES = Subject(
    "faces",
    "Completes holes in aligned faces; mouths and eyes were looked at most.",
    moves.MoveRange(scale=(0.87, 1.15), shift=0.05, degrees=9.0),  # a found face is as far from upright
    0.7,  # sharper pictures have grain, which becomes crumbs
)
SCENES = Subject(
    "scenes",
    "Completes holes in photographs in which no face is.",
    moves.MoveRange(scale=(1.0, 1.3), shift=0.05, degrees=5.0),
    0.0,
)


class RefineOptions(Options):
    """How a completion network is refined."""

    batch_size: int = 64
    steps: int = Field(default=5000, ge=1)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    ema: float = Field(default=0.998, ge=0, lt=1)
    data_threads: int = Field(default=2, ge=1)
    lr: float = Field(default=2e-4, gt=0)
    critic_lr: float = Field(default=4e-4, gt=0)
    critics_alone: int = Field(default=200, ge=0, description="First steps, in which only the critics learn.")
    rising: int = Field(default=100, ge=1, description="Steps after these in which the learning rate rises.")
    falling: float = Field(default=0.2, gt=0, le=1, description="Share of the steps, the last, in which it falls.")
    mouths: float = Field(default=0.45, ge=0, le=1, description="Share of the holes that lie over a mouth; of faces.")
    eyes: float = Field(default=0.15, ge=0, le=1, description="Likewise over an eye.")
    varied: float = Field(
        default=0.6, ge=0, le=1, description="Share of the pictures made to look as few of CelebA do; of faces."
    )
    moved: float = Field(default=0.5, ge=0, le=1, description="Share of the other pictures that are moved a little.")
    feature_distance: float = Field(default=6e-3, ge=0, description="Its weight beside the squared error.")
    deceit: float = Field(default=2.5e-3, ge=0, description="Likewise of the critics who look near.")
    deceit_whole: float = Field(default=1.25e-3, ge=0, description="Likewise of those who look at the whole picture.")
    validation_pictures: int = Field(default=512, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mouths + self.eyes > 1:
            raise ValueError("mouths and eyes are shares of the holes and may add up to 1 at most")
        return self


class RefineRecipe(loop.Recipe[Batch]):
    """Squared error, distance of features, and the deceit of critics."""

    options: RefineOptions

    def __init__(
        self,
        options: RefineOptions,
        pictures: Splits,
        first: Path,
        device: torch.device,
        subject: Subject = FACES,
        only: Path | None = None,
    ) -> None:
        if options.varied and subject is not FACES:
            raise OptionsError("What varied does, to turn heads, is for faces: set varied=0.")
        self.options, self.steps, self._subject = options, options.steps, subject
        self._pictures, self._first, self._device, self._only = pictures, first, device, only
        self._learned = np.arange(len(pictures["train"])) if only is None else _named(only, pictures["train"])
        self._features: FeatureNetwork = load_features(device)
        torch.manual_seed(options.seed)
        network = CompletionNetwork()
        load_initial(network, first)
        self.network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]  # torch's stub omits memory_format
        self.critics = Critics().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = Average(self.network, options.ema)
        self._optimiser = _adam(_learning(self.network), options.lr, (0.5, 0.99))
        self._taught = _learning(self.critics)
        self._critics_optimiser = _adam(self._taught, options.critic_lr, (0.0, 0.99))
        self._spreads = self._measure()

    @torch.no_grad()
    def _measure(self) -> list[Tensor]:
        """Spread of each channel of what is seen where mouths are, (1, C, 1, 1) each; the critics measure theirs."""
        pictures = np.array(self._pictures["train"].pixels[:_MEASURED])
        corner = (_MOUTH[1] - NEAR // 2, _MOUTH[0] - NEAR // 2)
        view = self._view(
            as_images(pictures).to(self._device), torch.tensor([corner] * len(pictures), device=self._device)
        )
        self.critics.measure(view)
        return [features.float().std(dim=(0, 2, 3), keepdim=True) for features in view.seen_near]

    def batch(self, step: int) -> Batch:
        """See `Recipe.batch`."""
        chance = moves.generator(self.options.seed, processes.rank(), step)
        pictures, subject = self._pictures["train"].pixels, self._subject
        pixels, holes, corners = [], [], []
        for place in chance.integers(0, len(self._learned), self.options.batch_size):
            index = self._learned[place]
            picture = self._prepared(chance, moves.mirror(chance, pictures[index]))
            hole, middle = self._hole(chance)
            pixels.append(_brightened(picture, hole) if subject is FACES else picture)
            holes.append(hole)
            corners.append(_corner(chance, middle))
        return Batch(torch.from_numpy(np.stack(pixels)), torch.from_numpy(np.stack(holes)), corners, corners)

    def _prepared(self, chance: np.random.Generator, picture: Pixels) -> Pixels:
        subject, options = self._subject, self.options
        picture = cleaned(picture)
        if chance.random() < options.varied:
            return lit(chance, softened(chance, posed(chance, picture, subject.moves)))
        if subject.softness:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), subject.softness), np.uint8)
        if chance.random() < options.moved:
            picture = moves.move(chance, picture, SIDE, subject.moves)
        return picture

    def _hole(self, chance: np.random.Generator) -> tuple[Mask, tuple[float, float]]:
        """A hole and the x and y of its middle, or of any place in it."""
        kind = chance.random()
        if kind < self.options.mouths:
            return _over(chance, _MOUTH, _MOUTH_SIDES)
        if kind < self.options.mouths + self.options.eyes:
            return _over(chance, _EYE, _EYE_SIDES)
        hole = sample_hole(chance, SIDE, _OTHERS, _SHAPE).mask
        rows, columns = np.nonzero(hole)
        somewhere = chance.integers(len(rows))
        return hole, (float(columns[somewhere]), float(rows[somewhere]))

    def step(self, step: int, batch: Batch) -> loop.Figures:
        """See `Recipe.step`."""
        options = self.options
        for group in self._optimiser.param_groups:
            group["lr"] = options.lr * self._share(step)
        image, mask = batch.to(self._device)
        corners = torch.tensor(batch.corners, device=self._device)
        near = _cut(mask, corners)
        alone = step < options.critics_alone
        with torch.set_grad_enabled(not alone), self._autocast():
            raw = self.network(image, mask)
            drawn = self._view(composite(raw, image, mask), corners)
        with torch.no_grad(), self._autocast():
            real = self._view(image, corners)
        figures = self._teach(real, drawn.detach(), near, mask)
        if alone:
            return figures
        error = hole_mse(raw, image, mask)
        distance = self._distance(drawn, real, near)
        deceit_near, deceit_whole = self._deceit(drawn, near, mask)
        loss = error + options.feature_distance * distance
        loss = loss + options.deceit * deceit_near + options.deceit_whole * deceit_whole
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        processes.average_gradients(self.network)
        self._optimiser.step()
        self.average.update(self.network, step)
        losses = {"hole_mse": error, "feature_distance": distance, "near": deceit_near, "whole": deceit_whole}
        return figures | {name: value.detach() for name, value in losses.items()}

    def _teach(self, real: View, drawn: View, near: Tensor, whole: Tensor) -> loop.Figures:
        """A step of the critics, by hinge loss."""
        losses, right = [], []
        together = self._judge(real.beside(drawn))
        for half, sign in ((slice(len(near)), 1), (slice(len(near), None), -1)):
            for both, mask in zip(together, (near, whole), strict=True):
                logits = [each[half] for each in both]
                losses.append(mean_where_hole(logits, mask, lambda each, sign=sign: F.relu(1 - sign * each)))  # type: ignore[misc]
                right.append(mean_where_hole(logits, mask, lambda each, sign=sign: (sign * each > 0).float()))  # type: ignore[misc]
        loss = torch.stack(losses).sum()
        self._critics_optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        processes.average_gradients(self.critics)
        self._critics_optimiser.step()
        return {"critics_loss": loss.detach(), ACCURACY: torch.stack(right).mean().detach()}

    def _deceit(self, drawn: View, near: Tensor, whole: Tensor) -> list[Tensor]:
        """How little the critics who look near, and at the whole, are deceived."""
        for parameter in self._taught:  # so that the generator's loss leaves no gradient in them
            parameter.requires_grad_(False)
        judged = zip(self._judge(drawn), (near, whole), strict=True)
        deceit = [-mean_where_hole(logits, mask, lambda each: each) for logits, mask in judged]
        for parameter in self._taught:
            parameter.requires_grad_(True)
        return deceit

    def _judge(self, view: View) -> tuple[Logits, Logits]:
        with self._autocast():
            verdict: tuple[Logits, Logits] = self.critics(view)
        return verdict

    def _view(self, pictures: Tensor, corners: Tensor) -> View:
        near = _cut(pictures, corners)
        large = F.interpolate(near, size=(SIDE, SIDE), mode="bilinear")
        seen = self._features.at_scales(torch.cat([large, pictures]).contiguous(memory_format=torch.channels_last))
        return View(near, [each[: len(near)] for each in seen], [each[len(near) :] for each in seen])

    def _distance(self, drawn: View, real: View, near: Tensor) -> Tensor:
        """Absolute distance of features near holes in units of their spread, per pixel of hole as `hole_mse` is."""
        area = near.mean(dim=(1, 2, 3)).clamp_min(_LEAST_AREA)
        scales = zip(drawn.seen_near, real.seen_near, self._spreads, strict=True)
        distances = [((a.float() - b.float()) / spread).abs().mean(dim=(1, 2, 3)) for a, b, spread in scales]
        return (torch.stack(distances).mean(dim=0) / area).mean()

    def _share(self, step: int) -> float:
        """Of the learning rate: it rises, stays, and falls along a line."""
        options = self.options
        rising = (step - options.critics_alone + 1) / options.rising
        falling = (self.steps - step) / (options.falling * self.steps)
        return max(0.0, min(1.0, rising, falling))

    def _autocast(self) -> torch.autocast:
        return autocast(self._device, self.options.precision)

    def state_dict(self) -> dict[str, Any]:
        """See `Recipe.state_dict`."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Recipe.load_state_dict`."""
        for name, part in self._parts().items():
            if isinstance(part, torch.optim.Optimizer):
                load_optimiser(part, state[name])
            else:
                part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "average": self.average.network,
            "critics": self.critics,
            "optimiser": self._optimiser,
            "critics_optimiser": self._critics_optimiser,
        }

    def weights(self) -> dict[str, Tensor]:
        """See `Recipe.weights`."""
        state = self.average.network.state_dict()
        return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}

    @torch.no_grad()
    def _complete(self, image: Tensor, mask: Tensor) -> Tensor:
        image, mask = image.to(self._device), mask.to(self._device)
        with self._autocast():
            return composite(self.average.network(image, mask).float(), image, mask)

    def validate(self) -> dict[str, float]:
        """See `course_figures`."""
        pictures = self._pictures["validation"].pixels[: self.options.validation_pictures]
        return course_figures(self._complete, pictures, SIDE, self.options.batch_size)

    def preview(self) -> Pixels:
        """Three rows: held-out pictures with a hole where faces have a mouth, completed, as they were."""
        pixels = np.array(self._pictures["validation"].pixels[:_SHOWN])
        width, height = (sum(sides) / 2 for sides in _MOUTH_SIDES)
        image, mask = as_images(pixels), torch.zeros(1, 1, SIDE, SIDE)
        mask[..., _around(_MOUTH[1], height), _around(_MOUTH[0], width)] = 1
        holed = as_pixels(composite(self.network.mean_pixel.cpu().view(1, 3, 1, 1), image, mask))
        return grid(
            [list(holed), list(as_pixels(self._complete(image, mask.expand(len(image), -1, -1, -1)))), list(pixels)]
        )

    def about(self) -> loop.About:
        """See `Recipe.about`."""
        options, pictures, subject = self.options, self._pictures["train"], self._subject
        others = 1 - options.mouths - options.eyes
        chosen = f", {len(np.unique(self._learned))} of them, named in {self._only.name}" if self._only else ""
        varied = f"{options.varied:.0%} turned, longer or wider, moved and lit otherwise, of the others "
        return loop.About(
            family="glcic",
            name=f"glcic-{subject.name}-refined",
            title=f"GLCIC completion network, refined ({pictures.description.split(',')[0]})",
            description=subject.describes,
            data=(
                f"{pictures.description}{chosen}, mirror images, {varied if options.varied else ''}"
                f"{options.moved:.0%} moved"
            ),
            licence=options.licence or pictures.licence,
            recipe=(
                f"From {self._first.stem}; holes {options.mouths:.0%} mouths, {options.eyes:.0%} eyes, {others:.0%} "
                f"{', '.join(sorted(_OTHERS))}; hole-normalised squared error, distance of features with weight "
                f"{options.feature_distance:g}, projected discriminators with {options.deceit:g} near and "
                f"{options.deceit_whole:g} whole; AdamW {options.lr:g}, "
                f"{training_precision(options.precision, self._device)}, batch {options.batch_size}, "
                f"EMA {options.ema:g}"
            ),
            image_size=SIDE,
            options={},
            aligned=pictures.aligned,
        )


def _named(only: Path, pictures: Pictures) -> npt.NDArray[np.intp]:
    """Where the pictures are that the lines of a file name, as often as it does. Raises DataError."""
    known = {name: index for index, name in enumerate(pictures.names)}
    try:
        learned = [known[name] for name in only.read_text().split("\n") if name]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{only} cannot be read: {error}.") from error
    except KeyError as error:
        raise DataError(f"{only} names {error}, which is not among the pictures ({pictures.description}).") from error
    if not learned:
        raise DataError(f"{only} names no pictures.")
    return np.array(learned, np.intp)


def _over(
    chance: np.random.Generator, middle: tuple[int, int], sides: tuple[tuple[int, int], tuple[int, int]]
) -> tuple[Mask, tuple[float, float]]:
    """A box or an ellipse about there, and its middle."""
    x, y = (float(place + chance.normal(0, spread)) for place, spread in zip(middle, _SPREAD, strict=True))
    width, height = (float(chance.uniform(*limits)) for limits in sides)
    hole = np.zeros((SIDE, SIDE), np.uint8)
    if chance.random() < 0.5:
        cv2.ellipse(hole, (round(x), round(y)), (round(width / 2), round(height / 2)), 0, 0, 360, 1, -1)
    else:
        hole[_around(y, height), _around(x, width)] = 1
    return hole.astype(bool), (x, y)


def _around(middle: float, length: float) -> slice:
    return slice(max(0, round(middle - length / 2)), round(middle + length / 2))


def _corner(chance: np.random.Generator, middle: tuple[float, float]) -> tuple[int, int]:
    """Top and left of the neighbourhood of a hole with its middle, x and y, there."""
    x, y = (float(place + chance.integers(-_AWAY, _AWAY + 1)) - NEAR / 2 for place in middle)
    return int(np.clip(y, 0, SIDE - NEAR)), int(np.clip(x, 0, SIDE - NEAR))


def _cut(pictures: Tensor, corners: Tensor) -> Tensor:
    """(B, C, NEAR, NEAR) of (B, C, SIDE, SIDE); corners (B, 2) int64, top and left. All at once: a GPU would wait for
    the launches of a batch's many small cuts."""
    near = torch.arange(NEAR, device=pictures.device)
    rows, columns = corners[:, :1] + near, corners[:, 1:] + near
    index = (rows[:, :, None] * SIDE + columns[:, None]).flatten(1)[:, None].expand(-1, pictures.shape[1], -1)
    return pictures.flatten(2).gather(2, index).view(*pictures.shape[:2], NEAR, NEAR)


def cleaned(picture: Pixels) -> Pixels:
    """Without the ringing that lossy compression leaves beside edges."""
    return np.asarray(cv2.bilateralFilter(np.ascontiguousarray(picture), 5, 20, 1.5), np.uint8)


def _brightened(face: Pixels, hole: Mask) -> Pixels:
    """As a face with such a hole is shown to the network in service."""
    power = brightening(face.astype(np.float32) / np.float32(255), hole, _FACE)
    return np.rint(255 * (np.arange(256) / 255) ** power).astype(np.uint8)[face]


def _learning(network: torch.nn.Module) -> list[torch.nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def _adam(parameters: list[torch.nn.Parameter], lr: float, betas: tuple[float, float]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=lr, betas=betas, weight_decay=0.0, fused=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--faces", type=Path, help="folder or zip of aligned faces")
    data.add_argument("--scenes", type=Path, help="folder or zip of photographs without faces")
    parser.add_argument("--first", required=True, help="a safetensors file, or a model of the catalogue")
    parser.add_argument("--only", type=Path, help="file that names the pictures to learn from, one a line")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="an option of RefineOptions")
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    try:
        subject = FACES if arguments.faces else SCENES
        options = with_overrides(subject.options(), parse_overrides(arguments.set))
        prepare_process(options.threads)
        device = processes.start(options.device)
        first = Path(arguments.first) if Path(arguments.first).is_file() else find_weights(arguments.first, store=None)
        data_set = arguments.faces or arguments.scenes
        pictures: Splits = {name: open_pictures(data_set, size=SIDE, split=name) for name in ("train", "validation")}
        recipe = RefineRecipe(options, pictures, first, device, subject, arguments.only)
        train(recipe, arguments.out, "models.glcic.refine_train", resume=arguments.resume, device=device)
    except (TrainingError, MissingFeaturesError) as error:
        print(f"Nothing more was refined. {error}", file=sys.stderr)
        return 1
    finally:
        processes.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
