"""Generator and discriminator of the original GAN, fully connected.

Goodfellow et al.: "Generative Adversarial Nets", NeurIPS 2014, section 5. The
paper names rectifiers and sigmoids for one, maxout and dropout for the other,
but no sizes. Both the sizes and the leaky rectifiers here, in place of maxout and
sigmoids, are those of the course project. Pictures are grey digits in [-1, 1], 28x28.
"""

import torch
from torch import Tensor, nn

LATENT = 100
"""Numbers, drawn from N(0, 1), that one picture is made from."""

SIZE = 28
"""Height and width of a picture."""

PIXELS = SIZE * SIZE

DROPOUT = 0.3
"""Share of the discriminator's hidden units that is silenced in training."""


class Generator(nn.Module):
    """Latent in, picture out. 1,486,352 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(LATENT, 256),
            nn.LeakyReLU(0.2),
            nn.Linear(256, 512),
            nn.LeakyReLU(0.2),
            nn.Linear(512, 1024),
            nn.LeakyReLU(0.2),
            nn.Linear(1024, PIXELS),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """latents: (B, 100). Returns (B, 1, 28, 28) in [-1, 1]."""
        return torch.tanh(self.layers(latents)).view(-1, 1, SIZE, SIZE)


class Discriminator(nn.Module):
    """Picture in, logit out: positive where it takes the picture for a real one."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(PIXELS, 1024),
            nn.LeakyReLU(0.2),
            nn.Dropout(DROPOUT),
            nn.Linear(1024, 512),
            nn.LeakyReLU(0.2),
            nn.Dropout(DROPOUT),
            nn.Linear(512, 256),
            nn.LeakyReLU(0.2),
            nn.Dropout(DROPOUT),
            nn.Linear(256, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """images: (B, 1, 28, 28) in [-1, 1]. Returns (B,) logits."""
        out: Tensor = self.layers(images.flatten(1)).squeeze(1)  # (B, 784) -> 1024 -> 512 -> 256 -> (B, 1) -> (B,)
        return out
