"""The completion network against an independent statement of the paper's table 1."""

import math

import pytest
import torch
from torch import Tensor, nn

from models.glcic.network import MARGIN, RECEPTIVE_FIELD, STRIDE, CompletionNetwork

pytestmark = pytest.mark.usefixtures("flushed")

# Iizuka et al. 2017, table 1, as printed: type, kernel, dilation, stride, outputs.
TABLE = """
conv.    5 1 1    64
conv.    3 1 2   128
conv.    3 1 1   128
conv.    3 1 2   256
conv.    3 1 1   256
conv.    3 1 1   256
dilated  3 2 1   256
dilated  3 4 1   256
dilated  3 8 1   256
dilated  3 16 1  256
conv.    3 1 1   256
conv.    3 1 1   256
deconv.  4 1 1/2 128
conv.    3 1 1   128
deconv.  4 1 1/2  64
conv.    3 1 1    32
output   3 1 1     3
"""
ROWS = [line.split() for line in TABLE.strip().splitlines()]


def restated() -> nn.Sequential:
    """Table 1 as a plain chain of torch's modules, written without a look at the product's."""
    chain: list[nn.Module] = []
    inputs = 4
    for kind, kernel, dilation, stride, outputs in ROWS:
        k, d, n = int(kernel), int(dilation), int(outputs)
        if kind == "deconv.":
            chain.append(nn.ConvTranspose2d(inputs, n, k, stride=2, padding=1))
        else:
            chain.append(nn.Conv2d(inputs, n, k, stride=int(stride), padding=d * (k // 2), dilation=d))
        chain += [nn.Sigmoid()] if kind == "output" else [nn.BatchNorm2d(n), nn.ReLU()]
        inputs = n
    return nn.Sequential(*chain)


def pixels_seen(row: int) -> tuple[int, int]:
    """First and last input row that output row `row` depends on, by arithmetic on the table."""
    first = last = row
    for kind, kernel, dilation, stride, _ in reversed(ROWS):
        k, d = int(kernel), int(dilation)
        if kind == "deconv.":  # row o takes from rows i where o = 2i - 1 + (0..3)
            first, last = math.ceil((first - 2) / 2), math.floor((last + 1) / 2)
        else:
            reach = d * (k // 2)
            first, last = first * int(stride) - reach, last * int(stride) + reach
    return first, last


def test_parameter_count_is_that_of_the_table() -> None:
    """The network has the parameters of table 1 with batch norm: 6,072,131."""
    count = sum(parameter.numel() for parameter in CompletionNetwork().parameters())
    assert count == sum(parameter.numel() for parameter in restated().parameters()) == 6_072_131


def test_computes_what_the_table_says() -> None:
    """With equal weights, network and restated table give equal pictures from RGB with the mean in the hole + mask."""
    torch.manual_seed(0)
    network, reference = CompletionNetwork().eval(), restated().eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    state = [value for name, value in network.state_dict().items() if name != "mean_pixel"]
    reference.load_state_dict(dict(zip(reference.state_dict(), state, strict=True)))
    image, mask = torch.rand(2, 3, 32, 48), (torch.rand(2, 1, 32, 48) < 0.5).float()
    network.mean_pixel.copy_(torch.tensor([0.1, 0.6, 0.9]))
    with torch.inference_mode():
        filled = torch.where(mask > 0, network.mean_pixel.view(1, 3, 1, 1), image)
        torch.testing.assert_close(network(image, mask), reference(torch.cat([filled, mask], dim=1)))


def test_takes_any_multiple_of_its_stride() -> None:
    """Any height and width that are multiples of STRIDE come back as they went in, in [0, 1]."""
    network = CompletionNetwork().eval()
    for height, width in ((STRIDE, STRIDE), (8, 36), (64, 20)):
        with torch.inference_mode():
            out = network(torch.rand(1, 3, height, width), torch.ones(1, 1, height, width))
        assert out.shape == (1, 3, height, width)
        assert 0 <= float(out.min()) <= float(out.max()) <= 1


def test_what_is_in_the_hole_is_not_seen() -> None:
    """Input pixels under the mask have no influence on any output pixel."""
    network = CompletionNetwork().eval()
    image, mask = torch.rand(1, 3, 32, 32), (torch.rand(1, 1, 32, 32) < 0.5).float()
    poisoned = torch.where(mask > 0, torch.rand_like(image), image)
    with torch.inference_mode():
        assert torch.equal(network(image, mask), network(poisoned, mask))


def test_receptive_field_follows_from_the_table() -> None:
    """RECEPTIVE_FIELD is the table's widest field, MARGIN the longer arm rounded up to the stride."""
    seen = [(row - pixels_seen(row)[0], pixels_seen(row)[1] - row) for row in range(1000, 1000 + STRIDE)]
    assert max(left + 1 + right for left, right in seen) == RECEPTIVE_FIELD
    assert math.ceil(max(max(arms) for arms in seen) / STRIDE) * STRIDE == MARGIN


def test_receptive_field_is_what_gradients_reach() -> None:
    """The gradient of one output pixel reaches exactly the rows that the arithmetic says."""
    network = CompletionNetwork().eval()
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.01)  # positive everywhere, so that nothing cancels
    side = 320
    for row in (160, 162):
        image = torch.zeros(1, 3, side, STRIDE, requires_grad=True)
        reached = _rows_reached(network(image, torch.zeros(1, 1, side, STRIDE))[0, :, row, 0].sum(), image)
        assert (reached[0], reached[-1]) == pixels_seen(row)


def _rows_reached(output: Tensor, image: Tensor) -> list[int]:
    (gradient,) = torch.autograd.grad(output, image)
    return [int(row) for row in gradient.abs().sum(dim=(0, 1, 3)).nonzero().flatten()]


def test_what_batch_norm_takes_away_is_not_trained() -> None:
    """A constant before batch norm changes nothing, so only the output layer's biases learn."""
    network = CompletionNetwork()
    learning = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    assert [name for name in learning if name.endswith("conv.bias")] == ["layers.17.conv.bias"]
    assert sum(name.endswith("conv.weight") for name in learning) == 17
