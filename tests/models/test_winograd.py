"""Convolutions in Winograd's domain: the same numbers as PyTorch's, forwards and backwards."""

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
        winograd.Differentiable.apply(x, weight, bias, dilation, zeros),
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


@pytest.mark.parametrize("matrix", [winograd._INPUT, winograd._KERNEL, winograd._OUTPUT])
def test_the_ways_into_the_domain_and_back_are_exact_in_bfloat16(matrix: Tensor) -> None:
    """What is lost there is lost by the picture's numbers alone."""
    assert torch.equal(matrix.bfloat16().float(), matrix)


@pytest.mark.parametrize("most", [1, 7, 1024])
def test_a_picture_cut_into_portions_is_the_same_picture(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Large pictures go through in portions of rows, small ones several at a time."""
    monkeypatch.setattr(winograd, "_MOST_TILES", most)
    torch.manual_seed(0)
    x, weight = torch.randn(3, 8, 36, 52), torch.randn(8, 8, 3, 3)
    ours = winograd.convolve(x, winograd.transform_kernels(weight, x.dtype), None, 2, (2, 2, 2, 2))
    assert _difference(ours, F.conv2d(x, weight, padding=2, dilation=2)) < CLOSE
