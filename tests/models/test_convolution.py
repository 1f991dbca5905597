"""The layer that chooses its way: always the numbers of an ordinary convolution, forwards and backwards."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from models.convolution import Conv2d, FarReaching, multiplications_matter
from models.winograd import Zeros

CLOSE = 2e-5
"""Largest difference that float32 explains, as a share of the largest value."""


def _difference(ours: Tensor, exact: Tensor) -> float:
    return float((ours - exact).detach().abs().max() / exact.detach().abs().max().clamp(min=1e-12))


@settings(max_examples=100, deadline=None)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    dilation=st.sampled_from([1, 2, 3, 8, 16]),
    batch=st.integers(1, 3),
    biased=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_far_reaching_kernels_learn_what_they_would_otherwise(
    height: int, width: int, dilation: int, batch: int, biased: bool, seed: int
) -> None:
    """Results and all gradients beside PyTorch's in float64, at any size: taps that see all, some or none of it."""
    torch.manual_seed(seed)
    x = torch.randn(batch, 3, height, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64, requires_grad=True) if biased else None
    inputs = [tensor for tensor in (x, weight, bias) if tensor is not None]
    ours = FarReaching.apply(x, weight, bias, dilation)
    exact = F.conv2d(x, weight, bias, padding=dilation, dilation=dilation)
    torch.testing.assert_close(ours, exact)
    towards = torch.randn_like(exact)
    for mine, true in zip(
        torch.autograd.grad(ours, inputs, towards), torch.autograd.grad(exact, inputs, towards), strict=True
    ):
        torch.testing.assert_close(mine, true)


def test_the_layer_learns_tap_by_tap_only_where_its_kernel_reaches_far() -> None:
    """Half of the picture and more, with its own padding, and while kernels learn."""
    layer, x = Conv2d(4, 4, 3, padding=8, dilation=8), torch.randn(1, 4, 16, 16)
    assert layer._reaches_far(x)
    assert not layer._reaches_far(torch.randn(1, 4, 17, 17))
    assert not Conv2d(4, 4, 3, padding=1, dilation=8)._reaches_far(x)
    assert not Conv2d(4, 4, 3, stride=2, padding=8, dilation=8)._reaches_far(x)
    with torch.no_grad():
        assert not layer._reaches_far(x)
    layer.requires_grad_(False)
    assert not layer._reaches_far(x)


def test_a_far_reaching_layer_under_autocast_computes_in_bfloat16_and_learns_in_float32() -> None:
    """As PyTorch's own does: the same bytes forwards; the gradient as close as bfloat16 can tell."""
    torch.manual_seed(0)
    layer, x = Conv2d(32, 32, 3, padding=8, dilation=8), torch.randn(4, 32, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        ours, exact = layer(x), F.conv2d(x, layer.weight, layer.bias, padding=8, dilation=8)
    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours, exact)
    for output in (ours, exact):
        layer.zero_grad()
        output.float().square().mean().backward()
        assert layer.weight.grad is not None
        assert layer.weight.grad.dtype == torch.float32
        if output is ours:
            learned = layer.weight.grad.clone()
    assert _difference(learned, layer.weight.grad) < 0.01


Processor = Callable[..., None]


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Processor]:
    """Has the layers see a CPU of the capabilities that are named."""

    def pretend(*names: str) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(names, True))
        multiplications_matter.cache_clear()

    yield pretend
    multiplications_matter.cache_clear()


def test_the_layer_takes_winograds_way_only_where_it_is_faster(processor: Processor) -> None:
    """Stride, few channels, pictures that fill no tiles, and bfloat16 beside a matrix unit go PyTorch's way."""
    processor("avx512_bf16")
    full, half = torch.float32, torch.bfloat16
    x = torch.randn(1, 128, 16, 16)
    layer = Conv2d(128, 128, 3, padding=1)
    one = (1, 1, 1, 1)
    assert layer._suits_winograd(x, one, full)
    assert copy.deepcopy(layer).bfloat16()._suits_winograd(x.bfloat16(), one, half)
    assert not copy.deepcopy(layer).double()._suits_winograd(x.double(), one, torch.float64)
    assert not layer._suits_winograd(x[:, :, :2, :2], one, full)
    assert not Conv2d(128, 128, 3, padding=16, dilation=16)._suits_winograd(x, (16, 16, 16, 16), full)
    assert not Conv2d(128, 128, 3, padding=1, stride=2)._suits_winograd(x, one, full)
    assert not Conv2d(128, 128, 5, padding=2)._suits_winograd(x, (2, 2, 2, 2), full)
    assert not Conv2d(128, 32, 3, padding=1)._suits_winograd(x, one, full)

    with torch.autocast("cpu", torch.bfloat16):
        assert layer._suits_winograd(x, one, half)
        processor("avx512_bf16", "amx_bf16")
        assert not layer._suits_winograd(x, one, half)
        assert layer(x).dtype == half
    assert layer._suits_winograd(x, one, full)


def test_a_layer_refuses_pictures_of_another_precision_than_its_own() -> None:
    """As PyTorch's does; only autocast may convert."""
    layer, x = Conv2d(128, 128, 3, padding=1), torch.randn(1, 128, 16, 16)
    with pytest.raises(RuntimeError, match="type"):
        layer(x.bfloat16())
    with pytest.raises(RuntimeError, match="type"):
        layer.bfloat16()(x)


def test_a_layer_in_winograds_domain_under_autocast_computes_in_bfloat16_and_learns_in_float32(
    processor: Processor,
) -> None:
    """Forwards and backwards within 3 % of float64's, root mean square, on noise; PyTorch's is within 0.5 %."""
    processor("avx512_bf16")
    torch.manual_seed(0)
    layer, x = Conv2d(128, 128, 3, padding=1), torch.randn(4, 128, 16, 16).relu().requires_grad_()
    weight, exact_x = layer.weight.detach().double().requires_grad_(), x.detach().double().requires_grad_()
    assert layer.bias is not None
    exact = F.conv2d(exact_x, weight, layer.bias.double(), padding=1)
    towards = torch.randn_like(exact)
    with torch.autocast("cpu", torch.bfloat16):
        ours = layer(x)
    assert ours.dtype == torch.bfloat16
    assert _spread(ours.double(), exact) < 0.03
    found = torch.autograd.grad(ours, (x, layer.weight), towards.to(ours.dtype))
    wanted = torch.autograd.grad(exact, (exact_x, weight), towards)
    for mine, true in zip(found, wanted, strict=True):
        assert mine.dtype == torch.float32
        assert mine.shape == true.shape
        assert _spread(mine.double(), true) < 0.03


def _spread(ours: Tensor, exact: Tensor) -> float:
    return float((ours - exact).detach().square().mean().sqrt() / exact.detach().std())


@settings(max_examples=50, deadline=None)
@given(zeros=st.tuples(*(4 * [st.integers(0, 3)])), channels=st.sampled_from([8, 128]), stride=st.sampled_from([1, 2]))
def test_zeros_that_are_named_take_the_place_of_padding(zeros: Zeros, channels: int, stride: int) -> None:
    """On each side another number, whichever way the layer goes."""
    x = torch.randn(1, channels, 16, 16)
    layer = Conv2d(channels, channels, 3, stride, padding=1)
    exact = F.conv2d(F.pad(x, zeros), layer.weight, layer.bias, stride)
    assert layer(x, zeros).shape == exact.shape
    assert _difference(layer(x, zeros), exact) < CLOSE


def test_the_layer_notices_that_its_weights_changed() -> None:
    """Kernels kept between calls are those of the present weights: after a step, after loading, in a copy."""
    torch.manual_seed(0)
    x = torch.randn(1, 128, 16, 16)
    layer = Conv2d(128, 128, 3, padding=1)

    def is_right(one: Conv2d) -> bool:
        with torch.no_grad():
            return _difference(one(x), F.conv2d(x, one.weight, one.bias, padding=1)) < CLOSE

    assert is_right(layer)
    with torch.no_grad():
        layer.weight.mul_(-2)
    assert is_right(layer)
    layer.load_state_dict(Conv2d(128, 128, 3, padding=1).state_dict())
    assert is_right(layer)
    twin = copy.deepcopy(layer)
    twin.weight = torch.nn.Parameter(layer.weight.detach() * 3)
    assert is_right(twin)
    assert is_right(layer)
    torch.optim.SGD(layer.parameters(), lr=0.1).zero_grad()
    layer(x).sum().backward()
    torch.optim.SGD(layer.parameters(), lr=0.1).step()
    assert is_right(layer)
