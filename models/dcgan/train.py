"""Training the DCGAN on pictures of any kind, 64x64: options, data, step, what gets served."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.dcgan.network import LATENT, SIZE, Discriminator, Generator
from models.dcgan.options import DcganOptions
from models.dcgan.sample import BATCH
from models.engine import prepare_process, training_precision
from models.evaluation.metrics import sliced_wasserstein
from models.sampling import draw_latents, render
from models.training import loop, processes
from models.training.adversarial import GanRecipe
from models.training.data import Pictures, open_pictures
from models.training.ema import settle
from models.training.errors import DataError
from models.training.families import command_for
from models.training.loop import About, Outcome
from models.training.moves import generator as chance
from models.training.moves import mirror
from models.training.report import grid

PREVIEW_SEED = 0
SETTLING = 512  # latents from which the served batch norm statistics are measured


class DcganRecipe(GanRecipe):
    """Pictures (N, 64, 64, 3) uint8 in, a generator out."""

    latent = LATENT

    def __init__(
        self, pictures: Pictures, held_out: Pictures | None, options: DcganOptions, device: torch.device
    ) -> None:
        super().__init__(Generator(options.width), Discriminator(options.width), options, len(pictures), device)
        self._pictures = pictures
        self._held_out = held_out
        self._dcgan = options
        self._preview_latents = draw_latents(64, PREVIEW_SEED, LATENT)

    def batch(self, step: int) -> Tensor:
        """(B, 3, 64, 64) in [-1, 1]."""
        rows = self.rows(step, len(self._pictures))
        pictures = [self._pictures.pixels[row] for row in rows]
        if self._dcgan.mirror:
            rng = chance(self.options.seed, processes.rank(), step)
            pictures = [mirror(rng, picture) for picture in pictures]
        return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div(127.5).sub(1)

    def preview(self) -> npt.NDArray[np.uint8]:
        """Eight by eight pictures from the same latents each time, as the weights that would be served draw them."""
        pixels = render(self._settled(), self._preview_latents, BATCH, self._device)
        return grid([list(pixels[first : first + 8]) for first in range(0, 64, 8)])

    def validate(self) -> dict[str, float]:
        """Sliced Wasserstein distance of as many samples as there are held-out pictures, at most 1,000."""
        if self._held_out is None:
            return {}
        real = self._held_out.pixels[:1000]
        drawn = render(self._settled(), draw_latents(len(real), PREVIEW_SEED, LATENT), BATCH, self._device)
        return {"sliced_wasserstein": sliced_wasserstein(drawn, real)}

    def weights(self) -> dict[str, Tensor]:
        """The averaged generator, with batch norm statistics of its own."""
        state = self._settled().state_dict()
        return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}

    def about(self) -> About:
        options = self._dcgan
        precision = training_precision(options.precision, self._device)
        kind = "averaged weights" if options.ema else "last weights"
        return About(
            family="dcgan",
            name=options.name,
            title="DCGAN generator, 64x64",
            description="Draws pictures like those it was trained on, from noise.",
            data=self._pictures.description + (", mirror images" if options.mirror else ""),
            licence=options.licence or self._pictures.licence or "unknown: that of the data",
            recipe=(
                f"Non-saturating loss on logits, {options.adam()}, batch {options.batch_size}, {precision}; {kind}"
                + (f" (decay {options.ema:g})" if options.ema else "")
            ),
            image_size=SIZE,
            options={"width": options.width},
        )

    def _settled(self) -> nn.Module:
        latents = torch.from_numpy(draw_latents(SETTLING, PREVIEW_SEED + 1, LATENT)).to(self._device)
        return settle(self.average.network, ((rows,) for rows in latents.view(-1, 64, LATENT)))


def train(data: Path, out: Path, options: DcganOptions, *, resume: bool = False, cache: Path | None = None) -> Outcome:
    """Train on the pictures in `data`, into `out`. Raises TrainingError."""
    device = processes.start(options.device)
    try:
        prepare_process(options.threads)
        torch.manual_seed(options.seed)  # the same start in every process
        pictures = open_pictures(data, size=SIZE, cache=cache)
        recipe = DcganRecipe(pictures, _held_out(data, cache), options, device)
        command = command_for("dcgan", data, out, options, processes=processes.world())
        return loop.run(recipe, out, device=device, resume=resume, command=command)
    finally:
        processes.stop()


def _held_out(data: Path, cache: Path | None) -> Pictures | None:
    try:
        return open_pictures(data, size=SIZE, split="validation", cache=cache)
    except DataError:
        return None  # a few pictures may have no such split; the run then goes without that figure
