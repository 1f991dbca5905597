"""The engine computes what the network computes, only faster."""

import copy
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
import torch
from hypothesis import given, settings, strategies

from models import engine
from models.engine import CompletionEngine, choose_precision, cpu_gain_of_bfloat16, training_precision
from models.glcic.geometry import Box
from models.glcic.network import MARGIN, CompletionNetwork, composite
from models.glcic.reach import parts_needed

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


@cache
def made_once() -> tuple[CompletionNetwork, CompletionEngine]:
    network = make_network()
    return network, CompletionEngine(network, CPU, precision=torch.float32)


@pytest.mark.parametrize(("precision", "mean"), [(torch.float32, 1e-4), (torch.bfloat16, 2 / 255)])
def test_engine_gives_the_network_s_picture(precision: torch.dtype, mean: float) -> None:
    """In the holes; folded batch norms and lower precision change it by no more than each may cost."""
    network = make_network()
    image, mask = torch.rand(2, 3, 48, 32), (torch.rand(2, 1, 48, 32) < 0.3).float()
    with torch.inference_mode():
        expected = composite(network(image, mask), image, mask)
    out = CompletionEngine(network, CPU, precision=precision)(image, mask)
    assert out.dtype == torch.float32
    assert out.device == CPU
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1
    assert float((out - expected).abs().mean()) < mean


@settings(max_examples=20, deadline=None)
@given(strategies.data())
def test_a_hole_comes_out_as_if_all_had_been_computed(data: strategies.DataObject) -> None:
    """Wherever it lies: layers that compute only what it depends on give the same pixels, and the rest as it came."""
    height, width = (4 * data.draw(strategies.integers(1, 30)) for _ in "hw")
    top, left = data.draw(strategies.integers(0, height - 1)), data.draw(strategies.integers(0, width - 1))
    bottom, right = data.draw(strategies.integers(top + 1, height)), data.draw(strategies.integers(left + 1, width))
    generator = torch.Generator().manual_seed(height)
    image, mask = torch.rand(1, 3, height, width, generator=generator), torch.zeros(1, 1, height, width)
    mask[..., top:bottom, left:right] = 1
    network, engine = made_once()
    with torch.inference_mode():
        expected = composite(network(image, mask), image, mask)
    assert float((engine(image, mask) - expected).abs().max()) < 1e-4


@pytest.mark.parametrize("at", [0, 300, 508])
def test_what_the_network_does_not_look_at_is_not_computed(at: int) -> None:
    """In a picture wider than its receptive field even the first layer runs over a part only."""
    network, engine = made_once()
    image, mask = torch.rand(1, 3, 16, 512), torch.zeros(1, 1, 16, 512)
    mask[..., at : at + 4] = 1
    with torch.inference_mode():
        expected = composite(network(image, mask), image, mask)
    assert float((engine(image, mask) - expected).abs().max()) < 1e-4
    assert parts_needed(Box(0, at, 16, at + 4), (16, 512))[0].taken.width <= 4 + 2 * MARGIN


def test_a_batch_is_completed_wherever_its_holes_are() -> None:
    """Pictures with holes in opposite corners, and one without any."""
    network, engine = made_once()
    image, mask = torch.rand(3, 3, 64, 64), torch.zeros(3, 1, 64, 64)
    mask[0, :, :9, :9] = mask[1, :, -5:, -7:] = 1
    with torch.inference_mode():
        expected = composite(network(image, mask), image, mask)
    assert float((engine(image, mask) - expected).abs().max()) < 1e-4
    assert torch.equal(engine(image[2:], mask[2:]), image[2:])


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_two_pictures_at_once_come_out_as_each_does_alone(precision: torch.dtype) -> None:
    """Byte for byte: a worker may complete them side by side, each in a thread."""
    engine = CompletionEngine(make_network(), CPU, precision=precision)
    pictures = []
    for side in (36, 48, 52, 64):
        image, mask = torch.rand(1, 3, side, side), torch.zeros(1, 1, side, side)
        mask[..., side // 4 : side // 2, side // 4 : side // 2] = 1
        pictures.append((image, mask))
    alone = [engine(*picture) for picture in pictures]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda picture: engine(*picture), pictures * 2))
    assert all(torch.equal(out, expected) for out, expected in zip(together, alone * 2, strict=True))


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


@pytest.mark.parametrize(
    ("has", "gain", "expected"),
    [
        ({}, 2.0, "float32"),
        ({"avx512_bf16": True}, 2.0, "bfloat16"),
        ({"avx512_bf16": True}, 0.5, "float32"),
        ({"avx512_bf16": True, "amx_bf16": True}, 8.0, "bfloat16"),
    ],
)
def test_auto_is_bfloat16_only_where_the_processor_is_faster_in_it(
    has: dict[str, bool], gain: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Emulated bfloat16 makes a training step thirty times slower, and Intel's without AMX a picture three times."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    monkeypatch.setattr(engine, "cpu_gain_of_bfloat16", lambda: gain)
    assert training_precision("auto", CPU) == expected
    assert training_precision("float32", CPU) == "float32"
    assert str(choose_precision(CPU)) == f"torch.{expected}"


def test_gain_of_bfloat16_is_measured_once() -> None:
    """All of a process computes in one precision, whatever else the machine does meanwhile."""
    assert cpu_gain_of_bfloat16() == cpu_gain_of_bfloat16() > 0
