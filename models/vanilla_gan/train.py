"""Training the vanilla GAN on MNIST: options, data, step, what gets served."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.engine import prepare_process, training_precision
from models.evaluation.digit_classifier import judge, load_classifier
from models.sampling import draw_latents, render
from models.training import loop, processes
from models.training.adversarial import GanRecipe
from models.training.data import open_digits
from models.training.families import command_for
from models.training.loop import About, Outcome
from models.training.report import grid
from models.vanilla_gan.network import LATENT, SIZE, Discriminator, Generator
from models.vanilla_gan.options import VanillaGanOptions
from models.vanilla_gan.sample import BATCH

PREVIEW_SEED = 0
JUDGED = 2048  # samples that the digit classifier looks at during training


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
        precision = training_precision(options.precision, self._device)
        kind = f"averaged weights (decay {options.ema:g})" if options.ema else "last weights"
        return About(
            family="vanilla-gan",
            name=options.name,
            title="Vanilla GAN generator, digits (MNIST)",
            description="Draws handwritten digits, 28x28, from noise.",
            data=f"MNIST: {len(self._digits)} of its 60,000 training digits",
            licence=options.licence or "MNIST: Creative Commons Attribution-ShareAlike 3.0",
            recipe=(
                f"Non-saturating loss on logits, {options.adam()}, batch {options.batch_size}, {precision}; {kind}"
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
        command = command_for("vanilla-gan", data, out, options, processes=processes.world())
        return loop.run(recipe, out, device=device, resume=resume, command=command)
    finally:
        processes.stop()
