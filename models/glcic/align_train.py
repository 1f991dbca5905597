"""Trains the alignment network of `align.py`.

    python -m models.glcic.align_train --faces DATA/celeba --scenes DATA/scenes --out RUN [--init FILE] [--resume]

Faces must be aligned as CelebA is; scenes are any pictures without faces. RUN
ends with `weights.safetensors` and `card.json`, as after `inpaint train`.
"""

import argparse
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.engine import autocast, prepare_process
from models.glcic.align import ANCHORS, FACE_CENTRE, FACE_RADIUS, VIEW, AlignmentNetwork, Picture, align
from models.glcic.align_samples import SHARES, SIDE, Sample, make_sample
from models.glcic.geometry import Box
from models.glcic.helper_train import HelperOptions, HelperRecipe, Splits, train
from models.glcic.train import load_initial
from models.training import loop
from models.training.data import open_pictures
from models.training.moves import generator
from models.training.report import grid

_POSE_WEIGHT = 4.0
_MEASURED = 300  # made pictures per validation
_SHOWN = 32  # of a batch, in the preview


class AlignOptions(HelperOptions):
    """How the alignment network is trained."""

    batch_size: int = 96
    steps: int = 6000
    lr: float = 2e-3
    channels_last: bool = True
    validate_every: int = 1_000_000  # only at the end: it takes a minute
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


class Batch(NamedTuple):
    """Crops (B, 4, VIEW, VIEW) as the network takes them, poses (B, 4), and 1 or 0 for a face or none (B,)."""

    crops: Tensor
    poses: Tensor
    is_face: Tensor


class AlignRecipe(HelperRecipe[Batch]):
    """Samples are made on the way."""

    options: AlignOptions
    _network: AlignmentNetwork

    def __init__(
        self,
        options: AlignOptions,
        faces: Splits,
        scenes: Splits,
        *,
        init: Path | None = None,
    ) -> None:
        torch.manual_seed(options.seed)
        network = AlignmentNetwork()
        network.mean_pixel.copy_(torch.tensor(faces["train"].mean_pixel))
        if init is not None:
            load_initial(network, init, "network that finds faces")
        super().__init__(options, faces, scenes, network, weight_decay=0.02, rising=0.1)

    def batch(self, step: int) -> Batch:
        """See `Recipe.batch`."""
        random = generator(self.options.seed, 0, step)
        faces, scenes = self._faces["train"].pixels, self._scenes["train"].pixels
        return self._collate([make_sample(random, faces, scenes) for _ in range(self.options.batch_size)])

    def step(self, step: int, batch: Batch) -> loop.Figures:
        """See `Recipe.step`."""
        with autocast(torch.device("cpu"), self.options.precision):
            poses, logits = self._network(batch.crops)
        off = anchor_errors(poses, batch.poses)
        pose_loss = (off * batch.is_face).sum() / batch.is_face.sum().clamp(min=1)
        face_loss = F.binary_cross_entropy_with_logits(logits.float(), batch.is_face)
        self.descend(step, _POSE_WEIGHT * pose_loss + face_loss)
        right = ((logits > 0) == (batch.is_face > 0.5)).float().mean()
        return {"anchor_error_px": FACE_RADIUS * pose_loss.detach(), "face_loss": face_loss.detach(), "right": right}

    def _collate(self, samples: list[Sample]) -> Batch:
        mask = np.stack([sample.mask for sample in samples])[..., None].astype(np.float32) / 255
        picture = np.stack([sample.picture for sample in samples]).astype(np.float32) / 255
        filled = picture * (1 - mask) + self._network.mean_pixel.numpy() * mask
        crops = torch.from_numpy(np.concatenate([filled, mask], axis=3)).permute(0, 3, 1, 2)
        poses = [[s.turn.real, s.turn.imag, s.shift.real, s.shift.imag] for s in samples]
        return Batch(crops, torch.tensor(poses), torch.tensor([float(sample.is_face) for sample in samples]))

    def validate(self) -> dict[str, float]:
        """`align` on made pictures of held-out faces and scenes, with and without holes."""
        self._network.eval()
        random = np.random.default_rng(0)
        size = 3 * VIEW
        errors: dict[bool, list[float]] = {True: [], False: []}  # by whether there was a hole
        found: dict[str, list[bool]] = {"face": [], "scene": []}
        for _ in range(_MEASURED):
            sample = make_sample(random, self._faces["validation"].pixels, self._scenes["validation"].pixels, size)
            hole = sample.mask > 127
            rows, columns = np.nonzero(hole if hole.any() else ~hole)
            box = Box(int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1)
            (pose,) = align(sample.picture, hole, [box], self._network)
            found.setdefault(sample.kind, []).append(pose is not None)
            if sample.is_face and pose is not None:
                true = size / 2 * (sample.turn * ANCHORS + sample.shift + 1 + 1j)
                estimated = pose.turn * (ANCHORS * FACE_RADIUS + FACE_CENTRE) + pose.shift
                scale = size / 2 * abs(sample.turn) / FACE_RADIUS
                errors[bool(hole.any())].append(float(np.abs(estimated - true).mean() / scale))
        self._network.train()
        figures = {
            "anchor_error_px_without_holes": errors[False],
            "anchor_error_px_with_holes": errors[True],
            "faces_found_percent": [100.0 * hit for hit in found["face"]],
            "scenes_taken_for_faces_percent": [100.0 * hit for hit in found["scene"]],
        }
        return {name: float(np.mean(values)) for name, values in figures.items() if values}

    def preview(self) -> Picture:
        """Samples, with the anchors where they are (green) and where the network sees them (red)."""
        random = np.random.default_rng(1)
        faces, scenes = self._faces["validation"].pixels, self._scenes["validation"].pixels
        samples = [make_sample(random, faces, scenes) for _ in range(_SHOWN)]
        self._network.eval()
        with torch.inference_mode():
            poses = self._network(self._collate(samples).crops)[0].double().numpy()
        self._network.train()
        tiles = []
        for sample, pose in zip(samples, poses, strict=True):
            tile = np.ascontiguousarray(np.where(sample.mask[..., None] > 127, np.uint8(127), sample.picture))
            tile = np.asarray(cv2.resize(tile, (2 * VIEW, 2 * VIEW)), np.uint8)
            estimated = complex(pose[0], pose[1]) * ANCHORS + complex(pose[2], pose[3])
            for points, colour in ((sample.turn * ANCHORS + sample.shift, (0, 255, 0)), (estimated, (255, 0, 0))):
                for point in (points + 1 + 1j) * VIEW if sample.is_face else ():
                    cv2.circle(tile, (round(point.real), round(point.imag)), 2, colour, -1)
            tiles.append(tile)
        return grid([tiles[row : row + 8] for row in range(0, _SHOWN, 8)])

    def about(self) -> loop.About:
        """See `Recipe.about`."""
        return loop.About(
            family="face-align",
            name="face-align",
            title="Face alignment, for completing faces in their canonical frame",
            description="Finds the face that a hole belongs to and its scale, angle and place; serves glcic models "
            "that were trained on aligned faces. For faces that are turned by less than 35 degrees.",
            data=f"{self._faces['train'].description}; {self._scenes['train'].description}",
            licence=self.options.licence or self._faces["train"].licence,
            recipe=f"Faces under random similarities over scenes, with holes; {1 - SHARES['face']:.0%} no faces; anchor"
            f" distance and cross-entropy; AdamW {self.options.lr:g}, one cycle, batch {self.options.batch_size}",
            image_size=VIEW,
            options={},
        )


def anchor_errors(estimated: Tensor, true: Tensor) -> Tensor:
    """(B, 4) poses twice -> (B,) mean distance of the anchors, in face squares' radii, at the true scale."""
    anchors = torch.from_numpy(ANCHORS).to(torch.complex64)
    off = torch.view_as_complex((estimated - true).float().reshape(-1, 2, 2))  # (B, 2): turn and shift
    turn = torch.view_as_complex(true.float().reshape(-1, 2, 2))[:, 0]
    squared = torch.view_as_real(off[:, :1] * anchors + off[:, 1:]).square().sum(-1) / turn.abs().square()[:, None]
    return (squared + 1e-6).sqrt().mean(dim=1)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="CelebA: folder or zip")
    parser.add_argument("--scenes", type=Path, required=True, help="pictures without faces: folder or zip")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--init", type=Path, help="weights to start from, safetensors")
    parser.add_argument("--lr", type=float, default=AlignOptions().lr)
    parser.add_argument("--steps", type=int, default=AlignOptions().steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    options = AlignOptions(steps=arguments.steps, lr=arguments.lr, seed=arguments.seed, threads=arguments.threads)
    prepare_process(options.threads)
    faces, scenes = (
        {"train": open_pictures(path, size=SIDE), "validation": open_pictures(path, size=SIDE, split="validation")}
        for path in (arguments.faces, arguments.scenes)
    )
    recipe = AlignRecipe(options, faces, scenes, init=arguments.init)
    train(recipe, arguments.out, "models.glcic.align_train", resume=arguments.resume)


if __name__ == "__main__":
    main()
