"""The completion network as the engine runs it, against a plain implementation and against the processor's limit.

The limit is the fastest product of two large matrices that torch does here, in float32 and in bfloat16: a convolution
is little else. The network has 65.1 GFLOP to do at 256x256; an engine that needs fewer may pass the limit.
"""

from functools import partial

import torch

from models.catalog import Catalog
from models.engine import choose_device, cpu_has_bfloat16, open_engine, prepare_process
from models.glcic.network import CompletionNetwork
from models.loading import load
from tests.benchmarks.figures import Figure, against, baseline, milliseconds
from tests.benchmarks.plain import plain

SIDES = (128, 256, 512)
GFLOP_AT_256 = 65.1
MATRIX, MATRIX_EMULATED = 2048, 256


def measure() -> list[Figure]:
    prepare_process()
    catalog, device = Catalog(), choose_device()
    card = catalog.get("glcic-celeba")
    network = load(catalog, card, device)
    assert isinstance(network, CompletionNetwork)
    plain(network).to(device)
    engine = open_engine(catalog, card, device)
    figures = []
    for side in SIDES:
        image, mask = torch.rand(1, 3, side, side), torch.zeros(1, 1, side, side)
        mask[..., side // 4 : side // 2, side // 4 : side // 2] = 1
        eager = baseline(f"{side}x{side}, eager float32", milliseconds(partial(_eager, network, image, mask, device)))
        ours = against(eager, f"{side}x{side}, engine", milliseconds(partial(engine, image, mask)))
        figures += [eager, ours]
    for kind in (torch.float32, torch.bfloat16):
        emulated = kind is torch.bfloat16 and device.type == "cpu" and not cpu_has_bfloat16()
        side = MATRIX_EMULATED if emulated else MATRIX
        name = str(kind).removeprefix("torch.")
        limit = baseline(f"matrix product {side}x{side}, {name}", _matrix_peak(kind, device, side), "GFLOP/s")
        milliseconds_at_256 = next(each.value for each in figures if each.name == "256x256, engine")
        figures += [limit, against(limit, f"256x256, engine, of {name}", GFLOP_AT_256 / milliseconds_at_256 * 1000)]
    return figures


@torch.inference_mode()
def _eager(network: CompletionNetwork, image: torch.Tensor, mask: torch.Tensor, device: torch.device) -> object:
    """As the public implementations run it: NCHW, batch norm not folded, every convolution PyTorch's."""
    return network(image.to(device), mask.to(device)).cpu()


@torch.inference_mode()
def _matrix_peak(kind: torch.dtype, device: torch.device, side: int) -> float:
    """GFLOP/s."""
    a, b = (torch.rand(side, side, device=device).to(kind) for _ in range(2))

    def multiply() -> object:
        return torch.mm(a, b)[0, 0].item()  # asks for a number, so that a GPU has finished

    return float(2 * side**3 / milliseconds(multiply) / 1e6)
