"""The completion network of GLCIC.

Iizuka, Simo-Serra, Ishikawa: "Globally and Locally Consistent Image
Completion", SIGGRAPH 2017, section 3.2 and table 1. Fully convolutional: it
takes any height and width that are multiples of `STRIDE`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from models.convolution import Conv2d
from models.winograd import Zeros

STRIDE = 4
"""Height and width of the input must be multiples of this: two layers halve, two double."""

RECEPTIVE_FIELD = 303
"""Pixels of the input, along one side, that one output pixel can depend on (299 or 303, by its place in the stride)."""

MARGIN = 156
"""Context on each side of a hole after which more context changes nothing: the field's longer arm is 153 pixels."""


@dataclass(frozen=True)
class Layer:
    """One row of table 1. `kind` "up" is a transposed convolution of stride 1/2."""

    kind: Literal["conv", "up"]
    kernel: int
    dilation: int
    stride: int
    channels: int


LAYERS = (
    Layer("conv", 5, 1, 1, 64),
    Layer("conv", 3, 1, 2, 128),
    Layer("conv", 3, 1, 1, 128),
    Layer("conv", 3, 1, 2, 256),
    Layer("conv", 3, 1, 1, 256),
    Layer("conv", 3, 1, 1, 256),
    Layer("conv", 3, 2, 1, 256),
    Layer("conv", 3, 4, 1, 256),
    Layer("conv", 3, 8, 1, 256),
    Layer("conv", 3, 16, 1, 256),
    Layer("conv", 3, 1, 1, 256),
    Layer("conv", 3, 1, 1, 256),
    Layer("up", 4, 1, 2, 128),
    Layer("conv", 3, 1, 1, 128),
    Layer("up", 4, 1, 2, 64),
    Layer("conv", 3, 1, 1, 32),
    Layer("conv", 3, 1, 1, 3),
)


class Block(nn.Module):
    """Convolution -> batch norm -> ReLU; the output layer has the convolution alone."""

    def __init__(self, layer: Layer, channels_in: int, *, is_output: bool) -> None:
        super().__init__()
        self.conv: nn.Conv2d | nn.ConvTranspose2d
        if layer.kind == "up":
            self.conv = nn.ConvTranspose2d(channels_in, layer.channels, layer.kernel, layer.stride, padding=1)
        else:
            same = layer.dilation * (layer.kernel - 1) // 2
            self.conv = Conv2d(
                channels_in, layer.channels, layer.kernel, layer.stride, padding=same, dilation=layer.dilation
            )
        self.norm = nn.Identity() if is_output else nn.BatchNorm2d(layer.channels)
        if self.conv.bias is not None and not is_output:
            self.conv.bias.requires_grad_(False)  # batch norm takes away what it adds; its gradient is roundings
        self.activation = nn.Identity() if is_output else nn.ReLU(inplace=True)

    def forward(self, x: Tensor, zeros: Zeros | None = None) -> Tensor:
        """`zeros`, of a convolution, is put around `x` in place of its padding."""
        convolved = self.conv(x) if zeros is None else self.conv(x, zeros)
        out: Tensor = self.activation(self.norm(convolved))
        return out


class CompletionNetwork(nn.Module):
    """Image with a hole in, whole image out. 6,072,131 parameters.

    `mean_pixel`, a buffer of shape (3,), is the RGB colour in [0, 1] that a
    hole is filled with before the network sees it: the mean of its training
    data, so it travels with the weights.
    """

    mean_pixel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict()  # "1" to "17", as table 1 counts them
        channels = 4  # RGB and the mask
        for number, layer in enumerate(LAYERS, start=1):
            self.layers[str(number)] = Block(layer, channels, is_output=number == len(LAYERS))
            channels = layer.channels
        self.register_buffer("mean_pixel", torch.full((3,), 0.5))

    def blocks(self) -> Iterator[Block]:
        """The layers in the order in which they run."""
        for block in self.layers.values():
            assert isinstance(block, Block)  # nosec B101 - tells the type checker what __init__ put there
            yield block

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Complete a batch of images.

        image: (B, 3, H, W) float in [0, 1]; what it holds inside the hole is not seen.
        mask: (B, 1, H, W) float, 1 = fill, 0 = keep.
        Returns (B, 3, H, W) float in [0, 1]: the network's picture everywhere,
        not yet composited over the input (see `composite`).
        """
        x = torch.cat([composite(self.mean_pixel.view(1, 3, 1, 1), image, mask), mask], dim=1)  # (B, 4, H, W)
        for block in self.layers.values():
            x = block(x)
        return torch.sigmoid(x.float())  # in bfloat16 it would be rounded to whole levels, and take longer


def composite(inside: Tensor, outside: Tensor, mask: Tensor) -> Tensor:
    """`inside` where mask is 1, `outside` where it is 0; the one place where this formula stands."""
    return inside * mask + outside * (1 - mask)
