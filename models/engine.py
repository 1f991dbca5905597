"""How a network is run: device, precision, memory format. The one place that decides it."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.glcic.network import CompletionNetwork


def choose_device(wanted: str = "auto") -> torch.device:
    """`auto` is the first CUDA device, else the CPU; any other value is torch's name for a device."""
    if wanted != "auto":
        return torch.device(wanted)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def prepare_process(threads: int | None = None) -> None:
    """Once in each process that computes.

    Denormals cost a trained network several times its running time on a CPU
    (1598 ms against 336 ms a training step), so they are flushed to zero.
    """
    torch.set_flush_denormal(True)
    if threads:
        torch.set_num_threads(threads)


class CompletionEngine:
    """Runs a completion network for inference; `image_size` is the side of the pictures it was trained at."""

    def __init__(self, network: CompletionNetwork, device: torch.device, image_size: int = 128) -> None:
        self.device = device
        self.image_size = image_size
        # On a CPU a batch costs as much as its pictures one by one, and a picture's bytes would depend on the others'.
        self.batch_limit = 1 if device.type == "cpu" else 16
        self._network = _fold_batch_norm(network).to(device).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, image: Tensor, mask: Tensor) -> Tensor:
        """As `CompletionNetwork.forward`: float32 on the CPU in, float32 on the CPU out."""
        image = image.to(self.device, memory_format=torch.channels_last)
        out: Tensor = self._network(image, mask.to(self.device))
        return out.float().cpu()


def _fold_batch_norm(network: CompletionNetwork) -> CompletionNetwork:
    """A copy of `network` in which each batch norm is part of the convolution before it."""
    folded = copy.deepcopy(network)
    for block in folded.blocks():
        if isinstance(block.norm, nn.BatchNorm2d):
            block.conv = _fuse(block.conv, block.norm)
            block.norm = nn.Identity()
    return folded


def _fuse(conv: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> nn.Conv2d | nn.ConvTranspose2d:
    if isinstance(conv, nn.ConvTranspose2d):
        return fuse_conv_bn_eval(conv, norm, transpose=True)
    return fuse_conv_bn_eval(conv, norm)
