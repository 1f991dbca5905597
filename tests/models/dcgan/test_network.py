"""The DCGAN's networks."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.dcgan.network import LATENT, Discriminator, Generator


def normalise(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    """Batch norm in eval mode, written out."""
    mean, variance, scale, shift = (
        state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
    )
    shape = (1, -1, 1, 1)
    x = (x - mean.view(shape)) / torch.sqrt(variance.view(shape) + 1e-5)
    return x * scale.view(shape) + shift.view(shape)


def moved(network: torch.nn.Module) -> torch.nn.Module:
    """In eval mode, with statistics that are not those of a fresh batch norm."""
    network.train()
    for _ in range(3):
        network(torch.randn(8, LATENT) if isinstance(network, Generator) else torch.rand(8, 3, 64, 64) * 2 - 1)
    return network.eval()


@torch.no_grad()
def test_generator_is_figure_1_written_out() -> None:
    """4x4 transposed convolutions 100-512-256-128-64-3, the first without stride, batch norm and ReLU, tanh at last."""
    torch.manual_seed(0)
    network = moved(Generator())
    state = network.state_dict()
    latents = torch.randn(2, LATENT)
    x = latents[:, :, None, None]
    for name, channels, side in (("up4", 512, 4), ("up8", 256, 8), ("up16", 128, 16), ("up32", 64, 32)):
        stride, padding = (1, 0) if name == "up4" else (2, 1)
        x = F.conv_transpose2d(x, state[f"layers.{name}.0.weight"], stride=stride, padding=padding)
        x = torch.relu(normalise(x, state, f"layers.{name}.1"))
        assert x.shape == (2, channels, side, side)
    x = F.conv_transpose2d(x, state["layers.up64.weight"], state["layers.up64.bias"], stride=2, padding=1)
    expected = torch.tanh(x)
    assert expected.shape == (2, 3, 64, 64)
    torch.testing.assert_close(network(latents), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_discriminator_mirrors_the_generator() -> None:
    """4x4 convolutions of stride 2, LeakyReLU 0.2, no batch norm on the first layer, one logit for each picture."""
    torch.manual_seed(0)
    network = moved(Discriminator())
    state = network.state_dict()
    assert not any(name.startswith("layers.down32.1") for name in state)
    pictures = torch.rand(2, 3, 64, 64) * 2 - 1
    x = F.conv2d(pictures, state["layers.down32.0.weight"], state["layers.down32.0.bias"], stride=2, padding=1)
    x = torch.where(x > 0, x, 0.2 * x)
    for name, channels, side in (("down16", 128, 16), ("down8", 256, 8), ("down4", 512, 4)):
        x = F.conv2d(x, state[f"layers.{name}.0.weight"], stride=2, padding=1)
        x = normalise(x, state, f"layers.{name}.1")
        x = torch.where(x > 0, x, 0.2 * x)
        assert x.shape == (2, channels, side, side)
    expected = F.conv2d(x, state["layers.logit.weight"], state["layers.logit.bias"]).flatten()
    torch.testing.assert_close(network(pictures), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("network", "count"), [(Generator(), 3_576_707), (Discriminator(), 2_765_633)])
def test_number_of_parameters_is_as_documented(network: torch.nn.Module, count: int) -> None:
    """What the docstring says, so that a change of the network does not go unnoticed."""
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def test_weights_start_from_the_papers_distribution() -> None:
    """All weights N(0, 0.02), batch norm's scale N(1, 0.02), its shift zero."""
    torch.manual_seed(0)
    state = Generator().state_dict()
    assert state["layers.up8.0.weight"].std().item() == pytest.approx(0.02, rel=0.02)
    assert state["layers.up8.0.weight"].mean().item() == pytest.approx(0, abs=1e-3)
    assert state["layers.up8.1.weight"].mean().item() == pytest.approx(1, abs=0.01)
    assert state["layers.up8.1.weight"].std().item() == pytest.approx(0.02, rel=0.2)
    assert not state["layers.up8.1.bias"].any()
