"""Convolutions in Winograd's domain: the same numbers as PyTorch's, forwards and backwards."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from models import winograd

CLOSE = 2e-5
"""Largest difference that float32 explains, as a share of the largest value, or of the largest sum of magnitudes."""


def _difference(ours: Tensor, exact: Tensor, magnitudes: Tensor | None = None) -> float:
    scale = exact if magnitudes is None else magnitudes
    largest = scale.detach().abs().max().clamp(min=1e-12)  # a kernel that meets nothing but zeros gives zero exactly
    return float((ours - exact).detach().abs().max() / largest)


shapes = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 5),
        "height": st.integers(1, 40),
        "width": st.integers(1, 40),
        "dilation": st.sampled_from([1, 2, 3, 4, 8]),
        "channels_in": st.sampled_from([1, 3, 16]),
        "channels_out": st.sampled_from([1, 8]),
        "biased": st.booleans(),
        "zeros": st.none() | st.tuples(*(4 * [st.integers(0, 9)])),
    }
)


@settings(max_examples=200, deadline=None)
@given(shape=shapes, seed=st.integers(0, 2**31))
def test_results_and_gradients_are_those_of_an_ordinary_convolution(shape: dict[str, Any], seed: int) -> None:
    """Any size, dilation, number of channels and zeros around, beside PyTorch's in float64."""
    torch.manual_seed(seed)
    dilation = shape["dilation"]
    zeros = shape["zeros"] or 4 * (dilation,)
    assume(shape["width"] + sum(zeros[:2]) > 2 * dilation and shape["height"] + sum(zeros[2:]) > 2 * dilation)
    x = torch.randn(shape["batch"], shape["channels_in"], shape["height"], shape["width"], requires_grad=True)
    weight = torch.randn(shape["channels_out"], shape["channels_in"], 3, 3, requires_grad=True)
    bias = torch.randn(shape["channels_out"], requires_grad=True) if shape["biased"] else None
    inputs = [tensor for tensor in (x, weight, bias) if tensor is not None]

    def exactly(*tensors: Tensor) -> Tensor:
        picture, *kernels = (tensor.double() for tensor in tensors)
        return F.conv2d(F.pad(picture, zeros), *kernels, dilation=dilation)

    # The same sums without signs: where terms cancel out, what is left of them says nothing about rounding.
    unsigned = [tensor.detach().abs().requires_grad_() for tensor in inputs]
    ours, exact, magnitudes = (
        winograd._Differentiable.apply(x, weight, bias, dilation, zeros),
        exactly(*inputs),
        exactly(*unsigned),
    )
    assert ours.shape == exact.shape
    assert _difference(ours, exact, magnitudes) < CLOSE

    towards = torch.randn_like(ours)
    for mine, true, sums in zip(
        torch.autograd.grad((ours * towards).sum(), inputs),
        torch.autograd.grad((exact * towards).sum(), inputs),
        torch.autograd.grad((magnitudes * towards.abs()).sum(), unsigned),
        strict=True,
    ):
        assert mine.shape == true.shape
        assert _difference(mine, true, sums) < CLOSE


@pytest.mark.parametrize("most", [1, 7, 1024])
def test_a_picture_cut_into_portions_is_the_same_picture(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Large pictures go through in portions of rows, small ones several at a time."""
    monkeypatch.setattr(winograd, "_MOST_TILES", most)
    torch.manual_seed(0)
    x, weight = torch.randn(3, 8, 36, 52), torch.randn(8, 8, 3, 3)
    ours = winograd.convolve(x, winograd.transform_kernels(weight), None, 2, (2, 2, 2, 2))
    assert _difference(ours, F.conv2d(x, weight, padding=2, dilation=2)) < CLOSE


def test_the_layer_takes_the_faster_way_only_where_it_is_one() -> None:
    """Stride, few channels, half precision and pictures that fill no tiles go PyTorch's way."""
    x = torch.randn(1, 128, 16, 16)
    layer = winograd.Conv2d(128, 128, 3, padding=1)
    one = (1, 1, 1, 1)
    assert layer._is_faster(x, one)
    assert not layer._is_faster(x.bfloat16(), one)
    assert not layer._is_faster(x[:, :, :2, :2], one)
    assert not winograd.Conv2d(128, 128, 3, padding=16, dilation=16)._is_faster(x, (16, 16, 16, 16))
    assert not winograd.Conv2d(128, 128, 3, padding=1, stride=2)._is_faster(x, one)
    assert not winograd.Conv2d(128, 128, 5, padding=2)._is_faster(x, (2, 2, 2, 2))
    assert not winograd.Conv2d(128, 32, 3, padding=1)._is_faster(x, one)
    with torch.autocast("cpu", torch.bfloat16):
        assert not layer._is_faster(x, one)
        assert layer(x).dtype == torch.bfloat16


@settings(max_examples=50, deadline=None)
@given(zeros=st.tuples(*(4 * [st.integers(0, 3)])), channels=st.sampled_from([8, 128]), stride=st.sampled_from([1, 2]))
def test_zeros_that_are_named_take_the_place_of_padding(zeros: winograd.Zeros, channels: int, stride: int) -> None:
    """On each side another number, whichever way the layer goes."""
    x = torch.randn(1, channels, 16, 16)
    layer = winograd.Conv2d(channels, channels, 3, stride, padding=1)
    exact = F.conv2d(F.pad(x, zeros), layer.weight, layer.bias, stride)
    assert layer(x, zeros).shape == exact.shape
    assert _difference(layer(x, zeros), exact) < CLOSE


def test_the_layer_notices_that_its_weights_changed() -> None:
    """Kernels kept between calls are those of the present weights: after a step, after loading, in a copy."""
    torch.manual_seed(0)
    x = torch.randn(1, 128, 16, 16)
    layer = winograd.Conv2d(128, 128, 3, padding=1)

    def is_right(one: winograd.Conv2d) -> bool:
        with torch.no_grad():
            return _difference(one(x), F.conv2d(x, one.weight, one.bias, padding=1)) < CLOSE

    assert is_right(layer)
    with torch.no_grad():
        layer.weight.mul_(-2)
    assert is_right(layer)
    layer.load_state_dict(winograd.Conv2d(128, 128, 3, padding=1).state_dict())
    assert is_right(layer)
    twin = copy.deepcopy(layer)
    twin.weight = torch.nn.Parameter(layer.weight.detach() * 3)
    assert is_right(twin)
    assert is_right(layer)
    torch.optim.SGD(layer.parameters(), lr=0.1).zero_grad()
    layer(x).sum().backward()
    torch.optim.SGD(layer.parameters(), lr=0.1).step()
    assert is_right(layer)
