"""The completion network as one writes it first, for the baselines."""

from torch import nn

from models.convolution import Conv2d
from models.glcic.network import CompletionNetwork


def plain(network: CompletionNetwork) -> CompletionNetwork:
    """`network` itself, each convolution PyTorch's own again."""
    for block in network.blocks():
        conv = block.conv
        if isinstance(conv, Conv2d):
            shape = conv.in_channels, conv.out_channels, conv.kernel_size
            block.conv = nn.Conv2d(*shape, conv.stride, conv.padding, conv.dilation)
            block.conv.load_state_dict(conv.state_dict())
    return network
