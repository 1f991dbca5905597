"""The engine computes what the network computes, only faster."""

import copy

import pytest
import torch

from models.engine import CompletionEngine, choose_precision, training_precision
from models.glcic.network import CompletionNetwork

CPU = torch.device("cpu")


def make_network() -> CompletionNetwork:
    """Random weights that keep signals alive, and batch norms that do something."""
    torch.manual_seed(0)
    network = CompletionNetwork().eval()
    for block in network.blocks():
        torch.nn.init.kaiming_normal_(block.conv.weight)
        if isinstance(block.norm, torch.nn.BatchNorm2d):
            for values in (block.norm.weight, block.norm.running_var):
                torch.nn.init.uniform_(values, 0.5, 1.5)
            for values in (block.norm.bias, block.norm.running_mean):
                torch.nn.init.normal_(values, std=0.1)
    network.mean_pixel.copy_(torch.tensor([0.5, 0.4, 0.3]))
    return network


@pytest.mark.parametrize(("precision", "mean"), [(torch.float32, 1e-4), (torch.bfloat16, 2 / 255)])
def test_engine_gives_the_network_s_picture(precision: torch.dtype, mean: float) -> None:
    """Folded batch norms and lower precision leave the picture as it is, within what each may cost."""
    network = make_network()
    image, mask = torch.rand(2, 3, 48, 32), (torch.rand(2, 1, 48, 32) < 0.3).float()
    with torch.inference_mode():
        expected = network(image, mask)
    out = CompletionEngine(network, CPU, precision=precision)(image, mask)
    assert out.dtype == torch.float32
    assert out.device == CPU
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1
    assert float((out - expected).abs().mean()) < mean


def test_the_network_itself_is_left_as_it_was() -> None:
    """An engine works on its own copy: the network that it was made from has the same weights as before."""
    network = make_network()
    before = copy.deepcopy(network.state_dict())
    CompletionEngine(network, CPU)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_picture_of_the_cpu() -> None:
    """On a CUDA device the picture is that of the CPU, within the device's precision."""
    network = make_network()
    image, mask = torch.rand(1, 3, 64, 64), (torch.rand(1, 1, 64, 64) < 0.3).float()
    out = CompletionEngine(network, torch.device("cuda"))(image, mask)
    expected = CompletionEngine(network, CPU, precision=torch.float32)(image, mask)
    assert float((out - expected).abs().mean()) < 2 / 255


@pytest.mark.parametrize(("has", "expected"), [({}, "float32"), ({"avx512_bf16": True}, "bfloat16")])
def test_auto_is_bfloat16_only_where_the_processor_has_it(
    has: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Emulated bfloat16 makes a training step thirty times slower, so `auto` never chooses it."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert training_precision("auto", CPU) == expected
    assert training_precision("float32", CPU) == "float32"
    assert str(choose_precision(CPU)) == f"torch.{expected}"
