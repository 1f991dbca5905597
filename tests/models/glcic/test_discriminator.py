"""The context discriminators against an independent restatement of the paper's table 2."""

import pytest
import torch
from torch import nn

from models.glcic.discriminator import ContextDiscriminator, channels_for

# (whole, patch): for each branch the channels of its convolutions and the side that the linear layer sees.
TABLES = {
    # Table 2: Places2 at 256 with patches of 128.
    (256, 128): (([64, 128, 256, 512, 512, 512], 4), ([64, 128, 256, 512, 512], 4)),
    # The course project: CelebA at 160 with patches of 96.
    (160, 96): (([64, 128, 256, 512, 512], 5), ([64, 128, 256, 512, 512], 3)),
}


@pytest.mark.parametrize(("whole", "patch"), TABLES)
def test_layers_are_those_of_the_table(whole: int, patch: int) -> None:
    """Every convolution is 5x5 with stride 2, has the table's channels, and both branches end in 1024."""
    network = ContextDiscriminator(whole, patch)
    for branch, (channels, side) in zip((network.whole, network.local), TABLES[whole, patch], strict=True):
        convolutions = [module for module in branch.modules() if isinstance(module, nn.Conv2d)]
        assert [layer.out_channels for layer in convolutions] == channels
        assert [layer.in_channels for layer in convolutions] == [3, *channels[:-1]]
        assert {(layer.kernel_size, layer.stride) for layer in convolutions} == {((5, 5), (2, 2))}
        (linear,) = [module for module in branch.modules() if isinstance(module, nn.Linear)]
        assert (linear.in_features, linear.out_features) == (channels[-1] * side * side, 1024)
    assert (network.judge.in_features, network.judge.out_features) == (2048, 1)


@pytest.mark.parametrize(("whole", "patch"), TABLES)
def test_parameters_are_those_counted_by_hand(whole: int, patch: int) -> None:
    """Weights and biases of the table, and two numbers per channel of batch norm."""
    expected = 2048 + 1
    for channels, side in TABLES[whole, patch]:
        for before, after in zip([3, *channels], channels, strict=False):
            expected += 25 * before * after + after + 2 * after
        expected += channels[-1] * side * side * 1024 + 1024
    with torch.device("meta"):
        network = ContextDiscriminator(whole, patch)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@pytest.mark.parametrize(("whole", "patch"), [(16, 10), (64, 38), (100, 52)])
def test_any_size_gives_one_logit_a_picture(whole: int, patch: int) -> None:
    """The depth follows from the input, also where halving leaves a remainder."""
    network = ContextDiscriminator(whole, patch)
    logits, features = network(torch.rand(2, 3, whole, whole), torch.rand(2, 3, patch, patch))
    assert logits.shape == (2,)
    assert logits.min() < 0 or logits.max() > 0  # a logit, not squashed into 0..1
    assert [layer.shape[1] for layer in features] == [*channels_for(whole), *channels_for(patch)]
    assert all(layer.shape[0] == 2 and layer.min() >= 0 for layer in features)


def test_growing_keeps_the_convolutions() -> None:
    """A discriminator for the next size starts from the convolutions it shares with the one before."""
    small, large = ContextDiscriminator(32, 20), ContextDiscriminator(64, 38)
    large.inherit(small)
    assert channels_for(64)[:3] == channels_for(32)
    assert torch.equal(large.whole.convolutions[0].weight, small.whole.convolutions[0].weight)
    assert torch.equal(large.whole.convolutions[6].weight, small.whole.convolutions[6].weight)
