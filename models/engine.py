"""How a network is run: device, precision, memory format. The one place that decides it."""

import copy
import ctypes
from contextlib import suppress
from functools import cache, partial
from time import perf_counter
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.catalog import Card, Catalog
from models.glcic.align import AlignmentNetwork, FindFaces, align
from models.glcic.enlarge import Enlarge, EnlargingNetwork, enlarge
from models.glcic.geometry import Box, bounding_box
from models.glcic.network import CompletionNetwork, composite
from models.glcic.reach import parts_needed
from models.loading import WeightsError, load

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""glibc's numbers of what mallopt(3) sets."""

_GAIN_WORTH_ROUNDING = 1.5
"""What bfloat16 has to gain. Known processors are far from it, 0.5, 2 and 8, so that noise does not decide."""

ALIGNER, ENLARGER = "face-align", "face-enlarge"
"""The models that find faces, and that enlarge what was drawn of one."""


class DeviceError(RuntimeError):
    """The device that was asked for is not here; the message says what is."""


def choose_device(wanted: str = "auto") -> torch.device:
    """`auto` is the first CUDA device, else the CPU; all else is torch's name for a device. Raises DeviceError."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise DeviceError(f"There is no device '{wanted}': choose auto, cpu, cuda, or cuda:1 for the second.") from None
    found = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= found:
        raise DeviceError(f"There is no device '{wanted}': torch finds {found} GPUs here. Choose auto or cpu.")
    return device


def prepare_process(threads: int | None = None) -> None:
    """Once in each process that computes.

    Denormals cost a trained network several times its running time on a CPU
    (1598 ms against 336 ms a training step), so they are flushed to zero.
    """
    torch.set_flush_denormal(True)
    _keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)


def _keep_freed_memory() -> None:
    """Have glibc reuse the memory of one layer for the next; other C libraries go on as they do.

    It returns large pieces to the system at once, and each page that comes back
    costs a fault and a cleared page: up to 40,000 of them in a run at 256x256.
    Up to 256 MiB are kept; pieces of more than 32 MiB are still returned.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, mebibytes in ((_MMAP_THRESHOLD, 32), (_TRIM_THRESHOLD, 256), (_TOP_PAD, 64)):
            mallopt(option, mebibytes << 20)


def choose_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the device is faster in it, else float32.

    Where it is, it changes the picture by 0.4 of 255 levels on average.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if cpu_has_bfloat16() and cpu_gain_of_bfloat16() > _GAIN_WORTH_ROUNDING else torch.float32


def cpu_has_bfloat16() -> bool:
    """Whether this CPU has instructions for it; without, it is emulated, some hundred times slower."""
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


@cache
def cpu_gain_of_bfloat16() -> float:
    """How many times faster this CPU multiplies matrices in bfloat16 than in float32, measured in 20 ms.

    To have the instructions is not enough: AMD's processors gain 2 times by AVX-512 BF16, Intel's without AMX lose as
    much, and a virtual machine may hide AMX (decision 0034).
    """
    side, rounds = 512, 5
    seconds: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    for _ in range(rounds):
        for dtype, taken in seconds.items():
            matrix = torch.ones(side, side, dtype=dtype)
            start = perf_counter()
            matrix @ matrix
            taken.append(perf_counter() - start)
    return min(seconds[torch.float32]) / min(seconds[torch.bfloat16])


def training_precision(wanted: str, device: torch.device) -> str:
    """`float32` or `bfloat16`; `auto` is what `choose_precision` says."""
    return str(choose_precision(device)).removeprefix("torch.") if wanted == "auto" else wanted


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which a training step computes; `precision` as in `training_precision`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=training_precision(precision, device) == "bfloat16")


class CompletionEngine:
    """Runs a completion network for inference.

    `image_size` is the side of the pictures it was trained at; `precision` is
    chosen by the device where it is not given; `find_faces` says where the faces
    are that it completes best when they are upright and in their place, and
    `enlarge` makes what it drew of them larger.
    """

    def __init__(
        self,
        network: CompletionNetwork,
        device: torch.device,
        image_size: int = 128,
        precision: torch.dtype | None = None,
        find_faces: FindFaces | None = None,
        enlarge: Enlarge | None = None,
    ) -> None:
        self.device = device
        self.image_size = image_size
        self.find_faces = find_faces
        self.enlarge = enlarge
        # On a CPU a batch costs as much as its pictures one by one, and a picture's bytes would depend on the others'.
        self.batch_limit = 1 if device.type == "cpu" else 16
        self.precision = precision or choose_precision(device)
        folded = _fold_batch_norm(network).to(device).to(memory_format=torch.channels_last)
        self._mean_pixel = folded.mean_pixel.cpu().view(1, 3, 1, 1)
        *hidden, last = folded.blocks()
        # The last in float32, so that the picture is not rounded to steps of bfloat16.
        self._blocks = [*(block.to(self.precision) for block in hidden), last]

    @torch.inference_mode()
    def __call__(self, image: Tensor, mask: Tensor) -> Tensor:
        """The completed pictures of a batch: `image` where `mask` is 0, the network's picture where it is 1.

        image (B, 3, H, W) and mask (B, 1, H, W) as `CompletionNetwork.forward` takes them, float32 on the CPU, and so
        is what it returns. Each layer computes only what the batch's holes depend on.
        """
        box = bounding_box(mask.amax(dim=(0, 1)).numpy() > 0)
        if box is None:
            return image.clone()
        height, width = image.shape[2:]
        x = torch.cat([composite(self._mean_pixel, image, mask), mask], dim=1)  # (B, 4, H, W)
        x, held = x.to(self.device), Box(0, 0, height, width)
        for part, block in zip(parts_needed(box, (height, width)), self._blocks, strict=True):
            x = _cut(x, part.taken, held).to(block.conv.weight.dtype, memory_format=torch.channels_last)
            x, held = block(x, part.zeros), part.made
        completed = image.clone()
        completed[:, :, *box.slices] = torch.sigmoid(_cut(x, box, held)).cpu()
        return composite(completed, image, mask)


def _cut(x: Tensor, part: Box, held: Box) -> Tensor:
    """The `part` of a layer's input (B, C, H, W) of which `x` is the part `held`."""
    return x[:, :, *part.within(held).slices]


def open_engine(catalog: Catalog, card: Card, device: torch.device) -> CompletionEngine:
    """The engine of a completion model; it finds faces where that helps and the catalogue can. Raises WeightsError."""
    network = load(catalog, card, device)
    if not isinstance(network, CompletionNetwork):
        raise WeightsError(f"{card.reference} does not complete pictures.")
    find_faces: FindFaces | None = None
    if card.aligned and ALIGNER in catalog.names():
        aligner = load(catalog, catalog.get(ALIGNER), torch.device("cpu"))  # so small that the way to a GPU is longer
        if not isinstance(aligner, AlignmentNetwork):
            raise WeightsError(f"{ALIGNER} does not find faces.")
        find_faces = partial(align, network=_fast_aligner(aligner))
    larger: Enlarge | None = None
    if find_faces is not None and ENLARGER in catalog.names():
        enlarger = load(catalog, catalog.get(ENLARGER), device)
        if not isinstance(enlarger, EnlargingNetwork):
            raise WeightsError(f"{ENLARGER} does not enlarge pictures.")
        enlarger.to(memory_format=torch.channels_last).compute_in(choose_precision(device))
        larger = partial(enlarge, network=enlarger)
    return CompletionEngine(network, device, card.image_size, find_faces=find_faces, enlarge=larger)


def _fast_aligner(network: AlignmentNetwork) -> AlignmentNetwork:
    """A copy of `network` for the CPU: batch norms folded, its features in the precision that is faster."""
    fast = copy.deepcopy(network)
    layers: list[nn.Module] = []
    for layer in fast.features:
        if isinstance(layer, nn.BatchNorm2d):
            layers[-1] = fuse_conv_bn_eval(cast(nn.Conv2d, layers[-1]), layer)
        else:
            layers.append(layer)
    fast.features = nn.Sequential(*layers).to(memory_format=torch.channels_last)
    fast.features.to(choose_precision(torch.device("cpu")))
    return fast


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
