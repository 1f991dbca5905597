"""Training of GLCIC: Iizuka et al. 2017, section 4.

Three phases at each picture size: the completion network alone (squared error in
the hole), the discriminators alone, both. The `cpu` preset grows the pictures from
64 over 128 to 160; the network is fully convolutional and keeps its weights. What
is not as in the paper stands in the README's table.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.engine import autocast, prepare_process, training_precision
from models.glcic.discriminator import ContextDiscriminator, Verdict
from models.glcic.network import CompletionNetwork, composite
from models.glcic.options import GlcicOptions
from models.loading import WeightsError, fill
from models.training import loop, moves, processes
from models.training.checkpoint import load_optimiser
from models.training.data import Pictures, open_pictures, positions
from models.training.ema import Average, Network, settle
from models.training.errors import DataError, TrainingError
from models.training.families import command_for
from models.training.holes import COURSE, Hole, HoleShape, patch_hole, sample_hole
from models.training.options import HoleKind, cosine_share
from models.training.report import ACCURACY, grid

Phase = Literal["completion", "discriminator", "joint"]

PREVIEWED = 8
"""Pictures in a preview."""

SETTLING = 128
"""Pictures, at least, on which the batch norm statistics of what is served are measured."""


_PENALTY_EVERY = 16
"""Steps between two penalties, each then counted as many times: Karras et al. 2020, "StyleGAN2", section 3.1."""


class Place(NamedTuple):
    """Where in the plan a step lies."""

    stage: int
    size: int
    phase: Phase
    step: int
    """Within the stage."""
    steps: int
    """Of the stage."""


class Batch(NamedTuple):
    """Pictures with holes, as bytes until they are on the device, and where the local discriminator looks."""

    pixels: Tensor
    """(B, S, S, 3) uint8."""
    holes: Tensor
    """(B, S, S) bool, True = fill."""
    corners: Sequence[tuple[int, int]]
    """Top and left of each completed picture's patch."""
    real_corners: Sequence[tuple[int, int]]
    """Likewise of each real picture's: anywhere."""

    def to(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Images (B, 3, S, S) float32 in [0, 1], channels_last, and masks (B, 1, S, S) float32, 1 = fill."""
        pixels, holes = (part.to(device, non_blocking=True) for part in (self.pixels, self.holes))
        return _normalised(pixels), holes.unsqueeze(1).float()


class GlcicRecipe(loop.Recipe[Batch]):
    """GLCIC for the loop."""

    def __init__(
        self,
        options: GlcicOptions,
        pictures: Pictures,
        held_out: Pictures,
        device: torch.device,
        *,
        init: Path | None = None,
    ) -> None:
        if len(pictures) < options.batch_size * processes.world():
            raise DataError(f"{len(pictures)} pictures are fewer than one batch of {options.batch_size}.")
        self.options: GlcicOptions = options
        self.steps = sum(map(sum, (options.completion_steps, options.discriminator_steps, options.joint_steps)))
        self._pictures = pictures
        self._held_out = held_out
        self._device = device
        self._shape = HoleShape(options.patch, options.smallest_hole, options.largest_hole)
        self._moves = moves.MoveRange(options.move_scale, options.move_shift, options.move_degrees)
        self._rank, self._world = processes.rank(), processes.world()
        torch.manual_seed(options.seed)
        network = CompletionNetwork()
        network.mean_pixel.copy_(torch.tensor(pictures.mean_pixel))
        if init is not None:
            load_initial(network, init)
        self.network = _placed(network, device, options)
        self.optimiser = _optimiser(self.network, options, options.lr)
        self.average = Average(self.network, options.ema) if options.ema else None
        if options.compiled:
            torch._dynamo.config.suppress_errors = (
                True  # what cannot be compiled, for want of a compiler say, runs as it is
            )
            self.network.compile()
        self._stage = -1
        self.discriminator: ContextDiscriminator | None = None
        self.discriminator_optimiser: torch.optim.Optimizer | None = None

    def place(self, step: int) -> Place:
        """The stage, size and phase of `step`; past the end, of the last step."""
        options, left = self.options, min(step, self.steps - 1)
        plan = zip(
            options.sizes, options.completion_steps, options.discriminator_steps, options.joint_steps, strict=True
        )
        for stage, (size, completion, discriminator, joint) in enumerate(plan):
            total = completion + discriminator + joint
            if left < total:
                phase: Phase = "joint"
                if left < completion + discriminator:
                    phase = "completion" if left < completion else "discriminator"
                return Place(stage, size, phase, left, total)
            left -= total
        raise AssertionError("a step before the last lies in some stage")

    def phase(self, step: int) -> str:
        place = self.place(step)
        return f"{place.phase} {place.size}"

    def batch(self, step: int) -> Batch:
        options = self.options
        size = self.place(step).size
        rng = moves.generator(options.seed, self._rank, step)
        chosen = positions(step, options.batch_size, len(self._pictures), options.seed, self._rank, self._world)
        pixels = np.empty((len(chosen), size, size, 3), dtype=np.uint8)
        for row, position in enumerate(chosen):
            picture: npt.NDArray[np.uint8] = self._pictures.pixels[position]
            if options.mirrored:
                picture = np.ascontiguousarray(moves.mirror(rng, picture))
            moved = rng.random() < options.moved
            pixels[row] = moves.move(rng, picture, size, self._moves) if moved else moves.resize(picture, size)
        drawn = [sample_hole(rng, size, options.holes, self._shape) for _ in chosen]
        patch = self._shape.pixels(size)[0]
        anywhere = rng.integers(0, size - patch + 1, (len(chosen), 2))
        return Batch(
            pixels=torch.from_numpy(pixels),
            holes=torch.from_numpy(np.stack([hole.mask for hole in drawn])),
            corners=tuple((hole.top, hole.left) for hole in drawn),
            real_corners=tuple((int(top), int(left)) for top, left in anywhere),
        )

    def step(self, step: int, batch: Batch) -> loop.Figures:
        place = self.place(step)
        # A plan that was changed before it went on may have discriminators in a stage that was entered without.
        if place.stage != self._stage or (place.phase != "completion" and self.discriminator is None):
            self._enter(place.stage)
        self._set_rates(place)
        image, mask = batch.to(self._device)
        if place.phase == "discriminator":
            figures = self._discriminator_step(step, batch, image, self._frozen_completion(image, mask))
        else:
            figures = self._completion_step(step, batch, image, mask, joint=place.phase == "joint")
            if self.average is not None:
                self.average.update(self.network, step)
        return figures

    def _completion_step(self, step: int, batch: Batch, image: Tensor, mask: Tensor, *, joint: bool) -> loop.Figures:
        self.network.train()
        with self._autocast():
            raw = self.network(image, mask).float()
        completed = composite(raw, image, mask)
        mse = hole_mse(raw, image, mask)
        loss, figures = mse, {"hole_mse": mse.detach()}
        if joint:
            figures |= self._discriminator_step(step, batch, image, completed.detach())
            deceit, distance = self._judged(batch, image, completed, mask)
            loss = mse + self.options.adversarial * deceit
            figures["generator_loss"] = deceit.detach()
            if distance is not None:
                loss = loss + self.options.feature_matching * distance
                figures["feature_distance"] = distance.detach()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        processes.average_gradients(self.network)
        self.optimiser.step()
        processes.average_statistics(self.network)
        return figures

    def _frozen_completion(self, image: Tensor, mask: Tensor) -> Tensor:
        self.network.eval()
        with torch.no_grad(), self._autocast():
            # Not by way of __call__: so few steps are not worth compiling for this mode too.
            return composite(self.network.forward(image, mask).float(), image, mask)

    def _judged(self, batch: Batch, image: Tensor, completed: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """How badly the discriminators are deceived, and, if wanted, how far what they see is from that in `image`."""
        discriminator, _ = self._adversary()
        discriminator.requires_grad_(False)  # so the generator's loss leaves no gradient in it
        with self._autocast():
            logits, drawn = self._judge(completed, batch.corners)
            if self.options.feature_matching:
                with torch.no_grad():
                    _, wanted = self._judge(image, batch.corners)
        logits = logits.float()
        deceit = F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
        distance = feature_distance(drawn, wanted, mask) if self.options.feature_matching else None
        discriminator.requires_grad_(True)
        return deceit, distance

    def _discriminator_step(self, step: int, batch: Batch, image: Tensor, completed: Tensor) -> loop.Figures:
        """Real pictures against composites, never raw output: that would give the game away at the hole's border."""
        discriminator, optimiser = self._adversary()
        discriminator.train()
        with self._autocast():
            real = self._judge(image, batch.real_corners).logits.float()
            fake = self._judge(completed, batch.corners).logits.float()
        on_real = F.binary_cross_entropy_with_logits(real, torch.full_like(real, self.options.real_label))
        on_fake = F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
        loss = on_real + on_fake
        if self.options.gradient_penalty and step % _PENALTY_EVERY == 0:
            weight = self.options.gradient_penalty * _PENALTY_EVERY / 2
            loss = loss + weight * self._steepness(image, batch.real_corners)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        processes.average_gradients(discriminator)
        optimiser.step()
        processes.average_statistics(discriminator)
        right = ((real > 0).float().mean() + (fake < 0).float().mean()) / 2
        return {"discriminator_loss": loss.detach(), ACCURACY: right.detach()}

    def _steepness(self, image: Tensor, corners: Sequence[tuple[int, int]]) -> Tensor:
        """Squared gradient of the logits by real pictures, in float32: Mescheder et al. 2018, R1."""
        image = image.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self._judge(image, corners).logits.sum(), image, create_graph=True)
        return gradient.square().sum(dim=(1, 2, 3)).mean()

    def _judge(self, pictures: Tensor, corners: Sequence[tuple[int, int]]) -> Verdict:
        discriminator, _ = self._adversary()
        side = discriminator.patch
        patches = torch.stack(
            [
                picture[:, top : top + side, left : left + side]
                for picture, (top, left) in zip(pictures, corners, strict=True)
            ]
        )
        verdict: Verdict = discriminator(pictures, patches)
        return verdict

    def _adversary(self) -> tuple[ContextDiscriminator, torch.optim.Optimizer]:
        """The discriminators and their optimiser, which `_enter` made."""
        if self.discriminator is None or self.discriminator_optimiser is None:
            raise RuntimeError("This stage of the plan has no discriminators.")
        return self.discriminator, self.discriminator_optimiser

    def _enter(self, stage: int) -> None:
        """A new stage: discriminators for its size, which keep what they can of those before."""
        self._stage = stage
        size = self.options.sizes[stage]
        if not self.options.discriminator_steps[stage] + self.options.joint_steps[stage]:
            return
        before = self.discriminator
        torch.manual_seed(self.options.seed + 1 + stage)  # the same in every process
        fresh = ContextDiscriminator(size, self._shape.pixels(size)[0])
        if before is not None:
            fresh.inherit(before)
        self.discriminator = _placed(fresh, self._device, self.options)
        self.discriminator_optimiser = _optimiser(
            self.discriminator, self.options, self.options.discriminator_lr, adversary=True
        )

    def _set_rates(self, place: Place) -> None:
        options = self.options
        share = cosine_share(place.step, place.steps, options.final_lr)
        if place.step < options.warmup:
            share *= (place.step + 1) / options.warmup
        for group in self.optimiser.param_groups:
            group["lr"] = options.lr * share
        if self.discriminator_optimiser is not None:
            for group in self.discriminator_optimiser.param_groups:
                group["lr"] = options.discriminator_lr

    def _autocast(self) -> torch.autocast:
        return autocast(self._device, self.options.precision)

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "stage": self._stage,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        if self.average is not None:
            state["average"] = self.average.network.state_dict()
        if self.discriminator is not None and self.discriminator_optimiser is not None:
            state["discriminator_size"] = self.discriminator.size
            state["discriminator_patch"] = self.discriminator.patch
            state["discriminator"] = self.discriminator.state_dict()
            state["discriminator_optimiser"] = self.discriminator_optimiser.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._stage = state["stage"]
        self.network.load_state_dict(state["network"])
        load_optimiser(self.optimiser, state["optimiser"])
        if self.average is not None:
            self.average.network.load_state_dict(state["average"] if "average" in state else state["network"])
        if "discriminator" in state:
            kept = ContextDiscriminator(state["discriminator_size"], state["discriminator_patch"])
            kept.load_state_dict(state["discriminator"])
            self.discriminator = _placed(kept, self._device, self.options)
            self.discriminator_optimiser = _optimiser(
                self.discriminator, self.options, self.options.discriminator_lr, adversary=True
            )
            load_optimiser(self.discriminator_optimiser, state["discriminator_optimiser"])

    def served(self) -> CompletionNetwork:
        """What would be put into service: the average where there is one, settled on the run's last size."""
        return self.settled(self.average.network if self.average is not None else self.network)

    def settled(self, network: CompletionNetwork) -> CompletionNetwork:
        """A copy of `network` with batch norm statistics measured on the run's last batches."""
        last = range(self.steps - 1, max(-1, self.steps - 1 - -(-SETTLING // self.options.batch_size)), -1)
        with self._autocast():
            return settle(network, (self.batch(step).to(self._device) for step in last))

    def weights(self) -> dict[str, Tensor]:
        state = self.served().state_dict()
        return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}

    @torch.no_grad()
    def _complete(self, network: CompletionNetwork, image: Tensor, mask: Tensor) -> Tensor:
        """(B, 3, S, S) composites."""
        image, mask = image.to(self._device), mask.to(self._device)
        with self._autocast():
            return composite(network(image, mask).float(), image, mask)

    def preview(self) -> npt.NDArray[np.uint8]:
        """Three rows: held-out pictures with holes of every kind, completed, as they were."""
        size = self.options.sizes[-1]
        rng = np.random.default_rng(0)
        chosen = [self._held_out.pixels[index] for index in range(min(PREVIEWED, len(self._held_out)))]
        kinds: list[dict[HoleKind, float]] = [{kind: 1.0} for kind in sorted(self.options.holes)]
        drawn = [sample_hole(rng, size, kinds[index % len(kinds)], self._shape) for index in range(len(chosen))]
        pixels = np.stack([moves.resize(picture, size) for picture in chosen])
        image, mask = as_images(pixels), as_masks(drawn)
        completed = as_pixels(self._complete(self.served(), image, mask))
        holed = as_pixels(composite(self.network.mean_pixel.cpu().view(1, 3, 1, 1), image, mask))
        return grid([list(holed), list(completed), list(pixels)])

    def validate(self) -> dict[str, float]:
        """See `course_figures`."""
        network = self.served()
        count = min(self.options.validation_pictures, len(self._held_out))
        return course_figures(
            lambda image, mask: self._complete(network, image, mask),
            self._held_out.pixels[:count],
            self.options.sizes[-1],
            self.options.batch_size,
            self._shape,
        )

    def about(self) -> loop.About:
        options = self.options
        sizes = ", ".join(str(size) for size in options.sizes)
        precision = training_precision(options.precision, self._device)
        licence = options.licence or self._pictures.licence or "Terms of the training pictures; not stated"
        return loop.About(
            family="glcic",
            name=options.name,
            title=f"GLCIC completion network ({self._pictures.description.split(',')[0]})",
            description="Completes holes in pictures of the kind it was trained on.",
            data=self._pictures.description,
            licence=licence,
            recipe=(
                f"Sizes {sizes}; hole-normalised squared error, then both discriminators on logits with weight "
                f"{options.adversarial:g}; {options.optimiser} {options.lr:g}, {precision}, batch "
                f"{options.batch_size}; {options.moved:.0%} moved; holes {', '.join(sorted(options.holes))}"
            ),
            image_size=max(options.sizes),
            options={},
            aligned=self._pictures.aligned,
        )


def course_figures(
    complete: Callable[[Tensor, Tensor], Tensor],
    held_out: npt.NDArray[np.uint8],
    size: int,
    batch_size: int,
    shape: HoleShape = COURSE,
) -> dict[str, float]:
    """The course's protocol on held-out pictures, unmoved: squared error over all hole pixels together, in dB.

    Not what `inpaint evaluate` calls `hole_psnr_db`: that is the mean of each picture's, with other holes.
    complete: images (B, 3, S, S) and masks to composites, on any device. held_out: (N, S, S, 3).
    """
    rng = np.random.default_rng(1)
    error = area = absolute = 0.0
    for start in range(0, len(held_out), batch_size):
        pictures = held_out[start : start + batch_size]
        image = as_images(np.stack([moves.resize(picture, size) for picture in pictures]))
        mask = as_masks([patch_hole(rng, size, shape) for _ in pictures])
        difference = (complete(image, mask).cpu() - image).abs() * mask
        error += float(difference.square().sum())
        absolute += float(difference.sum())
        area += 3 * float(mask.sum())
    psnr = -10 * float(np.log10(max(error / area, 1e-10)))
    return {f"validation_psnr_db_{size}": psnr, f"validation_l1_percent_{size}": 100 * absolute / area}


def hole_mse(raw: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """Squared error inside the hole, averaged over its pixels and then over the batch: a small hole counts as a large.

    raw, image (B, 3, S, S); mask (B, 1, S, S), never empty.
    """
    per_picture = ((raw - image).square() * mask).sum(dim=(1, 2, 3)) / (3 * mask.sum(dim=(1, 2, 3)))
    return per_picture.mean()


def feature_distance(drawn: Sequence[Tensor], real: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Squared distance of features, averaged over layers, and per pixel of hole as `hole_mse` is.

    Wang et al. 2018, "pix2pixHD", section 3.3: what tells real from completed also tells what is missing.
    drawn, real: (B, C, H, W) each; mask (B, 1, S, S), never empty.
    """
    share = mask.float().mean(dim=(1, 2, 3)).clamp_min(0.02)
    layers = [(a.float() - b.float()).square().mean(dim=(1, 2, 3)) for a, b in zip(drawn, real, strict=True)]
    return (torch.stack(layers).mean(dim=0) / share).mean()


def as_images(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """(B, S, S, 3) uint8 to (B, 3, S, S) float32 in [0, 1], in the channels_last layout that it has already."""
    return _normalised(torch.from_numpy(pixels))


def _normalised(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2).float().div_(255)


def as_masks(holes: list[Hole]) -> Tensor:
    """(B, 1, S, S) float32, 1 = fill."""
    return torch.from_numpy(np.stack([hole.mask for hole in holes])).unsqueeze(1).float()


def as_pixels(images: Tensor) -> npt.NDArray[np.uint8]:
    """(B, 3, S, S) in [0, 1] to (B, S, S, 3) uint8."""
    pixels: npt.NDArray[np.uint8] = (
        images.detach().cpu().clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    )
    return pixels


def load_initial(network: nn.Module, path: Path, kind: str = "completion network") -> None:
    """Start from a safetensors file of such a network (`mean_pixel` included). Raises TrainingError."""
    try:
        fill(network, path.read_bytes())
    except OSError as error:
        raise TrainingError(f"{path} cannot be started from: {error}.") from error
    except WeightsError as error:
        raise TrainingError(f"{path} cannot be started from, it is not a {kind}: {error}.") from error


def _placed(network: Network, device: torch.device, options: GlcicOptions) -> Network:
    placed = network.to(device)
    return placed.to(memory_format=torch.channels_last) if options.channels_last else placed


def _optimiser(
    network: nn.Module, options: GlcicOptions, lr: float, *, adversary: bool = False
) -> torch.optim.Optimizer:
    if options.optimiser == "adadelta":
        return torch.optim.Adadelta(network.parameters(), lr=lr)
    betas = (0.5, 0.999) if adversary else (0.9, 0.999)
    decay = 0.0 if adversary else options.weight_decay
    return torch.optim.AdamW(network.parameters(), lr=lr, betas=betas, weight_decay=decay, fused=True)


def train(
    data: Path,
    out: Path,
    options: GlcicOptions,
    *,
    resume: bool = False,
    init: Path | None = None,
    cache: Path | None = None,
) -> loop.Outcome:
    """Train on the pictures in `data`, keeping everything in `out`. Raises TrainingError."""
    prepare_process(options.threads)
    device = processes.start(options.device)
    try:
        largest = max(options.sizes)
        pictures = open_pictures(data, size=largest, cache=cache)
        held_out = open_pictures(data, size=largest, split="validation", cache=cache)
        recipe = GlcicRecipe(options, pictures, held_out, device, init=init)
        command = command_for("glcic", data, out, options, init=init, processes=processes.world())
        return loop.run(recipe, out, device=device, resume=resume, command=command)
    finally:
        processes.stop()
