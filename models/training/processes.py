"""Several processes under `torchrun`: gloo on CPUs, nccl on GPUs. All of it is idle in a single process.

Gradients are averaged by hand, between `backward()` and the optimiser's step,
rather than by DistributedDataParallel: a GAN's step runs each network several
times and freezes one of them on the way, which that wrapper takes badly, and
the sum over two processes stays the same bits whatever was overlapped.
"""

import importlib
import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from models.engine import DeviceError, choose_device
from models.training.errors import OptionsError


def start(wanted: str) -> torch.device:
    """Join the other processes, if `torchrun` started any, and return this process's device. Raises OptionsError."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    try:
        device = choose_device(wanted)
    except DeviceError as error:
        raise OptionsError(str(error)) from error
    if device.type == "cuda":
        if device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True  # each shape comes thousands of times: the search for its kernel pays
    if world > 1 and not dist.is_initialized():
        # Whoever imports it later, as optimisers do, makes the group a default argument of its functions. Then it and
        # its threads outlive `stop`, and one that still lets go of a tensor while Python ends aborts the process.
        importlib.import_module("torch.distributed.nn.functional")
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def stop() -> None:
    """Leave the group, once all others are about to: who leaves while another still talks to it dies of that."""
    if dist.is_initialized():
        wait()
        dist.destroy_process_group()


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def average_gradients(*networks: nn.Module) -> None:
    """Make each gradient the mean over all processes, in place."""
    _average(parameter.grad for network in networks for parameter in network.parameters() if parameter.grad is not None)


def average_statistics(*networks: nn.Module) -> None:
    """Make the running statistics of batch norm the mean over all processes, in place.

    Each process normalises by its own batch; what inference will use, and what is saved, has seen them all.
    """
    _average(buffer for network in networks for buffer in network.buffers() if buffer.is_floating_point())


def agree(flag: bool, device: torch.device) -> bool:
    """Whether `flag` is true in any process: all of them stop at the same step or none does."""
    if world() == 1:
        return flag
    shared = torch.tensor([float(flag)], device=device)
    dist.all_reduce(shared, dist.ReduceOp.MAX)
    return bool(shared.item())


def wait() -> None:
    """Until all processes are here."""
    if world() > 1:
        dist.barrier()


def _average(tensors: Iterable[Tensor]) -> None:
    if world() == 1:
        return
    parts = list(tensors)
    if not parts:
        return
    bucket = torch.cat([part.detach().reshape(-1) for part in parts])  # one message instead of one per tensor
    dist.all_reduce(bucket)
    bucket /= world()
    for part, mean in zip(parts, torch.split(bucket, [part.numel() for part in parts]), strict=True):
        part.detach().copy_(mean.view(part.shape))
