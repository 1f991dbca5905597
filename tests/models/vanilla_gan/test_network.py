"""The vanilla GAN's networks."""

import pytest
import torch

from models.vanilla_gan.network import LATENT, Discriminator, Generator


def leaky(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x > 0, x, 0.2 * x)


@torch.no_grad()
def test_generator_is_its_table_written_out() -> None:
    """100-256-512-1024-784, LeakyReLU 0.2 between, tanh at last, as pictures of 28x28."""
    torch.manual_seed(0)
    network = Generator().eval()
    weights = list(network.state_dict().values())
    assert [tuple(weight.shape) for weight in weights[::2]] == [(256, 100), (512, 256), (1024, 512), (784, 1024)]
    latents = torch.randn(3, LATENT)
    x = latents
    for weight, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = leaky(x @ weight.T + bias)
    expected = torch.tanh(x @ weights[-2].T + weights[-1]).reshape(3, 1, 28, 28)
    torch.testing.assert_close(network(latents), expected, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_discriminator_is_its_table_written_out() -> None:
    """784-1024-512-256-1, LeakyReLU 0.2 between; in eval mode nothing is dropped."""
    torch.manual_seed(0)
    network = Discriminator().eval()
    weights = list(network.state_dict().values())
    assert [tuple(weight.shape) for weight in weights[::2]] == [(1024, 784), (512, 1024), (256, 512), (1, 256)]
    pictures = torch.rand(3, 1, 28, 28) * 2 - 1
    x = pictures.reshape(3, 784)
    for weight, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = leaky(x @ weight.T + bias)
    expected = (x @ weights[-2].T + weights[-1])[:, 0]
    torch.testing.assert_close(network(pictures), expected, rtol=1e-4, atol=1e-6)


def test_discriminator_drops_three_tenths_of_its_hidden_units_in_training() -> None:
    """Dropout 0.3 after each hidden layer, and nowhere else."""
    layers = list(Discriminator().layers)
    drops = [place for place, layer in enumerate(layers) if isinstance(layer, torch.nn.Dropout)]
    assert drops == [2, 5, 8]
    assert all(layers[place].p == pytest.approx(0.3) for place in drops)


def test_number_of_parameters_is_as_documented() -> None:
    """What the docstring says, so that a change of the network does not go unnoticed."""
    assert sum(parameter.numel() for parameter in Generator().parameters()) == 1_486_352
