"""The game of the two plain GANs: a discriminator's step, then a generator's, on logits.

Goodfellow et al. 2014, algorithm 1, with the generator's loss that does not saturate
(section 3): maximise log D(G(z)). What differs between families - networks,
data, previews - stays in their own `train.py`.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.engine import autocast
from models.training import processes
from models.training.checkpoint import load_optimiser
from models.training.data import positions
from models.training.ema import Average
from models.training.loop import Figures, Recipe
from models.training.options import GanOptions, cosine_share
from models.training.report import ACCURACY


class GanRecipe(Recipe[Tensor]):
    """Two networks, their optimisers, and the average of the generator that gets served.

    A family adds what it trains on and how it shows itself: `batch` gives real
    pictures (B, C, H, W) in [-1, 1].
    """

    latent: int
    """Numbers that one picture is made from."""

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, options: GanOptions, pictures: int, device: torch.device
    ) -> None:
        layout = torch.channels_last if options.channels_last else torch.contiguous_format
        self.options: GanOptions = options
        self.steps = options.steps(pictures, processes.world())
        self.generator = generator.to(device).to(memory_format=layout)
        self.discriminator = discriminator.to(device).to(memory_format=layout)
        self.average = Average(self.generator, options.ema)
        self._device = device
        self._layout = layout
        self._generator_optimiser = self._adam(self.generator)
        self._discriminator_optimiser = self._adam(self.discriminator)

    def rows(self, step: int, pictures: int) -> npt.NDArray[np.intp]:
        """Which of `pictures` training pictures this process sees at `step`."""
        options = self.options
        return positions(step, options.batch_size, pictures, options.seed, processes.rank(), processes.world())

    def step(self, step: int, batch: Tensor) -> Figures:
        """One step of each network; fresh latents come from torch's generator, which the loop has seeded."""
        self._set_rates(step)
        real = batch.to(self._device, memory_format=self._layout)
        latents = torch.randn(len(real), self.latent, device=self._device)

        with self._autocast():
            fake = self.generator(latents)
            on_real, on_fake = self.discriminator(real), self.discriminator(fake.detach())
        on_real, on_fake = on_real.float(), on_fake.float()
        target = torch.full_like(on_real, 1 - self.options.smooth)
        loss = F.binary_cross_entropy_with_logits(on_real, target) + F.softplus(on_fake).mean()
        self._update(self.discriminator, self._discriminator_optimiser, loss)

        self.discriminator.requires_grad_(False)  # it judges here, it does not learn
        with self._autocast():
            judged = self.discriminator(fake)
        generator_loss = F.softplus(-judged.float()).mean()
        self._update(self.generator, self._generator_optimiser, generator_loss)
        self.discriminator.requires_grad_(True)

        processes.average_statistics(self.generator, self.discriminator)
        self.average.update(self.generator, step)
        accuracy = ((on_real > 0).float().mean() + (on_fake < 0).float().mean()) / 2
        return {
            "discriminator_loss": loss.detach(),
            "generator_loss": generator_loss.detach(),
            ACCURACY: accuracy,
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything that `step` changes."""
        return {name: part.state_dict() for name, part in self._parts()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Become what `state_dict` described."""
        for name, part in self._parts():
            if isinstance(part, torch.optim.Optimizer):
                load_optimiser(part, state[name])
            else:
                part.load_state_dict(state[name])

    def _parts(self) -> Iterable[tuple[str, nn.Module | torch.optim.Optimizer]]:
        return (
            ("generator", self.generator),
            ("discriminator", self.discriminator),
            ("average", self.average.network),
            ("generator_optimiser", self._generator_optimiser),
            ("discriminator_optimiser", self._discriminator_optimiser),
        )

    def _adam(self, network: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), self.options.lr, (self.options.beta1, 0.999), fused=True)

    def _set_rates(self, step: int) -> None:
        lr = self.options.lr * cosine_share(step, self.steps, self.options.final_lr)
        pace = self.options.discriminator_pace
        for optimiser, rate in ((self._generator_optimiser, lr), (self._discriminator_optimiser, lr * pace)):
            for group in optimiser.param_groups:
                group["lr"] = rate

    def _autocast(self) -> torch.autocast:
        return autocast(self._device, self.options.precision)

    def _update(self, network: nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        processes.average_gradients(network)
        optimiser.step()
