"""Convolutions that take the way which is fastest on a CPU; the numbers differ from PyTorch's by roundings."""

from functools import cache
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import winograd
from models.winograd import Zeros


class Conv2d(nn.Conv2d):
    """`nn.Conv2d`, with the same parameters.

    3x3 kernels of stride 1 go through Winograd's domain where that saves enough, and
    learn tap by tap where they reach far; anything else goes PyTorch's way.
    """

    _prepared: tuple[Tensor, int, Tensor] | None = None

    def forward(self, input: Tensor, zeros: Zeros | None = None) -> Tensor:
        """As `nn.Conv2d`; `zeros` takes the place of `padding`."""
        out: Tensor
        own, dilation = self._own_zeros(), self.dilation[0]
        zeros = zeros or own
        # Autocast does not see into a Function.
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input.dtype
        if self._suits_winograd(input, zeros, dtype):
            input = input.to(dtype)
            if torch.is_grad_enabled():
                out = winograd.Differentiable.apply(input, self.weight, self.bias, dilation, zeros)
            else:
                out = winograd.convolve(input, self._kernels(self.weight, dtype), self.bias, dilation, zeros)
        elif zeros != own:
            padded = F.pad(input, zeros)
            out = F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
        elif self._reaches_far(input):
            bias = self.bias if self.bias is None else self.bias.to(dtype)
            out = FarReaching.apply(input.to(dtype), self.weight.to(dtype), bias, dilation)
        else:
            out = super().forward(input)
        return out

    def _own_zeros(self) -> Zeros:
        if isinstance(self.padding, str):
            raise ValueError("padding must be numbers")
        down, across = self.padding
        return across, across, down, down

    def _is_simple(self, x: Tensor) -> bool:
        """3x3, stride 1, on a CPU."""
        dilation = self.dilation[0]
        return (
            self.kernel_size == (3, 3)
            and self.stride == (1, 1)
            and self.dilation == (dilation, dilation)
            and self.padding_mode == "zeros"
            and self.groups == 1
            and x.dim() == 4
            and x.device.type == "cpu"
        )

    def _suits_winograd(self, x: Tensor, zeros: Zeros, dtype: torch.dtype) -> bool:
        return (
            self._is_simple(x)
            and multiplications_matter(dtype)
            and (dtype == self.weight.dtype or torch.is_autocast_enabled("cpu"))  # else PyTorch says what is wrong
            and not self.weight.is_inference()  # nothing would tell that it has changed
            and winograd.suits(x, self.out_channels, self.dilation[0], zeros)
        )

    def _kernels(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        """As `winograd.transform_kernels`, kept until `weight` changes."""
        kept = self._prepared
        if kept is None or kept[0] is not weight or kept[1] != weight._version or kept[2].dtype != dtype:
            kernels = winograd.transform_kernels(weight.detach(), dtype).contiguous()
            kept = self._prepared = (weight, weight._version, kernels)
        return kept[2]

    def _reaches_far(self, x: Tensor) -> bool:
        """Whether the outer taps see at most half of a picture's height or width, and the kernels learn."""
        dilation = self.dilation[0]
        return (
            torch.is_grad_enabled()
            and self.weight.requires_grad
            and self._is_simple(x)
            and self.padding == (dilation, dilation)
            and 2 * dilation >= min(x.shape[2:])
        )


@cache
def multiplications_matter(dtype: torch.dtype) -> bool:
    """Whether a CPU spends a convolution in `dtype` on multiplying, so that fewer are faster.

    With a matrix unit (AMX) it spends more on moving numbers, of which Winograd's domain has more.
    """
    return dtype == torch.float32 or (dtype == torch.bfloat16 and not torch.cpu.get_capabilities().get("amx_bf16"))


class FarReaching(torch.autograd.Function):
    """A dilated 3x3 convolution of a picture that is hardly larger than its kernel.

    Most of what the outer taps see is the zeros around the picture. PyTorch leaves
    these out forwards and in the input's gradient, but not in the kernels', which
    take up to eleven times as long as the product over what each tap does see.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
        """(B, in, H, W) and (out, in, 3, 3) to (B, out, H, W), with `dilation` zeros around."""
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        return F.conv2d(x, weight, bias, padding=dilation, dilation=dilation)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        to_x, _, to_bias = torch.ops.aten.convolution_backward(
            gradient,
            x,
            weight,
            [len(weight)],
            stride=[1, 1],
            padding=2 * [ctx.dilation],
            dilation=2 * [ctx.dilation],
            transposed=False,
            output_padding=[0, 0],
            groups=1,
            output_mask=[ctx.needs_input_grad[0], False, ctx.needs_input_grad[2]],
        )
        return to_x, weight_gradient(x, gradient, ctx.dilation), to_bias, None


def weight_gradient(x: Tensor, gradient: Tensor, dilation: int) -> Tensor:
    """The gradient of the kernels, (out, in, 3, 3), where that of the output is `gradient`, (B, out, H, W)."""
    channels_in, height, width = x.shape[1:]
    x, gradient = x.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)  # (B, H, W, C), which is how they lie
    taps = x.new_zeros(3, 3, gradient.shape[3], channels_in)
    for row, column in product(range(3), range(3)):
        down, right = (row - 1) * dilation, (column - 1) * dilation
        if abs(down) < height and abs(right) < width:
            seen = x[:, _from(down, height), _from(right, width)].flatten(0, 2)
            by = gradient[:, _from(-down, height), _from(-right, width)].flatten(0, 2)
            taps[row, column] = by.t() @ seen
    return taps.permute(2, 3, 0, 1)


def _from(offset: int, length: int) -> slice:
    """What is left of `length` where it is looked at from `offset` on, or up to it where that is negative."""
    return slice(max(0, offset), length + min(0, offset))
