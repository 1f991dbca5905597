"""Generator and discriminator of DCGAN.

Radford, Metz, Chintala: "Unsupervised Representation Learning with Deep
Convolutional Generative Adversarial Networks", ICLR 2016, section 3 and figure
1: strides in place of pooling, batch norm in both networks except at the
generator's output and the discriminator's input, ReLU against LeakyReLU, no
fully connected hidden layers. Kernels are 4x4 and latents normal, where figure 1
has 5x5 and uniform ones. Pictures are RGB in [-1, 1], 64x64.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

LATENT = 100
"""Numbers, drawn from N(0, 1), that one picture is made from."""

SIZE = 64
"""Height and width of a picture."""

WIDTH = 64
"""Channels at 32x32; they double each time the side halves. Figure 1 of the paper draws 128."""


class Up(nn.Sequential):
    """Transposed convolution -> batch norm -> ReLU: twice the side (from 1x1: four times)."""

    def __init__(self, channels_in: int, channels: int, *, first: bool = False) -> None:
        stride, padding = (1, 0) if first else (2, 1)
        super().__init__(
            nn.ConvTranspose2d(channels_in, channels, 4, stride, padding, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )


class Down(nn.Sequential):
    """Convolution -> batch norm (not on the first layer) -> LeakyReLU: half the side."""

    def __init__(self, channels_in: int, channels: int, *, first: bool = False) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels, 4, 2, 1, bias=first),
            nn.Identity() if first else nn.BatchNorm2d(channels),
            nn.LeakyReLU(0.2, inplace=True),
        )


class Generator(nn.Module):
    """Latent in, picture out. 3,576,707 parameters at width 64."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            OrderedDict(
                up4=Up(LATENT, 8 * width, first=True),
                up8=Up(8 * width, 4 * width),
                up16=Up(4 * width, 2 * width),
                up32=Up(2 * width, width),
                up64=nn.ConvTranspose2d(width, 3, 4, 2, 1),
            )
        )
        self.apply(_initialise)

    def forward(self, latents: Tensor) -> Tensor:
        """latents: (B, 100). Returns (B, 3, 64, 64) in [-1, 1]."""
        x = self.layers(latents.view(-1, LATENT, 1, 1))  # (B, 100, 1, 1) -> 512x4x4 -> ... -> (B, 3, 64, 64)
        return torch.tanh(x)


class Discriminator(nn.Module):
    """Picture in, logit out: positive where it takes the picture for a real one."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            OrderedDict(
                down32=Down(3, width, first=True),
                down16=Down(width, 2 * width),
                down8=Down(2 * width, 4 * width),
                down4=Down(4 * width, 8 * width),
                logit=nn.Conv2d(8 * width, 1, 4),
            )
        )
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """images: (B, 3, 64, 64) in [-1, 1]. Returns (B,) logits."""
        out: Tensor = self.layers(images).view(-1)  # 64x32x32 -> ... -> 512x4x4 -> (B, 1, 1, 1) -> (B,)
        return out


def _initialise(module: nn.Module) -> None:
    """Section 4: all weights from N(0, 0.02); the scale of a batch norm from N(1, 0.02)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
