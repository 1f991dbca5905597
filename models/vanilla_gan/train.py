"""Training the vanilla GAN on MNIST: options, data, step, what gets served."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from models.engine import prepare_process
from models.evaluation.digit_classifier import judge, load_classifier
from models.sampling import draw_latents, render
from models.training import loop, processes
from models.training.adversarial import GanOptions, GanRecipe
from models.training.data import open_digits
from models.training.loop import About, Outcome
from models.training.report import grid
from models.vanilla_gan.network import LATENT, SIZE, Discriminator, Generator
from models.vanilla_gan.sample import BATCH

PREVIEW_SEED = 0
JUDGED = 2048  # samples that the digit classifier looks at during training


class VanillaGanOptions(GanOptions):
    """How a vanilla GAN is trained."""

    batch_size: int = Field(default=100, ge=1, description="Pictures per step and process.")
    epochs: float = Field(default=200, gt=0, description="Times each training picture is shown.")
    beta1: float = Field(default=0.9, ge=0, lt=1, description="Adam's first decay.")
    name: str = Field(
        default="vanilla-gan-mnist", pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="Model name, for the card."
    )


PRESETS: dict[str, VanillaGanOptions] = {
    # The paper trains with plain momentum and names no rates; Adam stands in for it.
    "paper": VanillaGanOptions(smooth=0.0),
    # The course project: Adam 2e-4, batch 100, 200 epochs.
    "course": VanillaGanOptions(),
    # A lower first decay calms the game, and the average of the generator is better than any single step of it.
    "cpu": VanillaGanOptions(
        epochs=60, beta1=0.5, ema=0.999, precision="bfloat16", log_every=100, preview_every=5000, validate_every=5000
    ),
}


class VanillaGanRecipe(GanRecipe):
    """Digits (N, 28, 28) uint8 in, a generator out."""

    latent = LATENT

    def __init__(self, digits: npt.NDArray[np.uint8], options: VanillaGanOptions, device: torch.device) -> None:
        super().__init__(Generator(), Discriminator(), options, len(digits), device)
        self._digits = digits
        self._vanilla = options
        self._preview_latents = draw_latents(100, PREVIEW_SEED, LATENT)
        self._classifier = load_classifier(device)

    def batch(self, step: int) -> Tensor:
        """(B, 1, 28, 28) in [-1, 1]."""
        rows = self.rows(step, len(self._digits))
        return torch.from_numpy(self._digits[rows]).unsqueeze(1).float().div(127.5).sub(1)

    def preview(self) -> npt.NDArray[np.uint8]:
        """Ten by ten digits from the same latents each time, drawn by the averaged generator."""
        pixels = render(self.average.network, self._preview_latents, BATCH, self._device).repeat(3, axis=3)
        return grid([list(pixels[first : first + 10]) for first in range(0, 100, 10)])

    def validate(self) -> dict[str, float]:
        """What the digit classifier makes of samples: how many it is sure of, and the rarest and commonest digit."""
        drawn = render(self.average.network, draw_latents(JUDGED, PREVIEW_SEED, LATENT), BATCH, self._device)
        return judge(self._classifier, drawn, self._device).figures()

    def weights(self) -> dict[str, Tensor]:
        """The averaged generator."""
        return self.average.network.state_dict()

    def about(self) -> About:
        options = self._vanilla
        kind = f"averaged weights (decay {options.ema:g})" if options.ema else "last weights"
        return About(
            family="vanilla-gan",
            name=options.name,
            title="Vanilla GAN generator, digits (MNIST)",
            description="Draws handwritten digits, 28x28, from noise.",
            data=f"MNIST: {len(self._digits)} of its 60,000 training digits",
            licence=options.licence or "MNIST: Creative Commons Attribution-ShareAlike 3.0",
            recipe=(
                f"Non-saturating loss on logits, Adam {options.lr:g}, beta1 {options.beta1:g}, "
                f"batch {options.batch_size}, {options.precision}, {options.epochs:g} epochs; {kind}"
            ),
            image_size=SIZE,
            options={},
        )


def train(
    data: Path, out: Path, options: VanillaGanOptions, *, resume: bool = False, cache: Path | None = None
) -> Outcome:
    """Train on MNIST in `data`, into `out`; digits need no `cache`. Raises TrainingError."""
    del cache
    device = processes.start(options.device)
    try:
        prepare_process(options.threads)
        torch.manual_seed(options.seed)  # the same start in every process
        digits, _ = open_digits(data)
        recipe = VanillaGanRecipe(digits, options, device)
        return loop.run(recipe, out, device=device, resume=resume)
    finally:
        processes.stop()
