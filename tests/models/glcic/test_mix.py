"""Weights between two networks."""

import pytest
import torch

from models.glcic.mix import mix


def test_a_mix_lies_on_the_line_between_the_two() -> None:
    """Its ends are the two themselves; what is no kernel keeps its precision."""
    first = {"conv.weight": torch.zeros(2, 3), "norm.running_var": torch.ones(2)}
    second = {"conv.weight": torch.full((2, 3), 2.0), "norm.running_var": torch.full((2,), 3.0)}
    assert torch.equal(mix(first, second, 0.0)["conv.weight"].float(), first["conv.weight"])
    assert torch.equal(mix(first, second, 1.0)["norm.running_var"], second["norm.running_var"])
    between = mix(first, second, 0.25)
    assert torch.equal(between["conv.weight"].float(), torch.full((2, 3), 0.5))
    assert between["norm.running_var"].dtype == torch.float32


def test_what_does_not_fit_is_refused() -> None:
    """Another network, and a share that is none."""
    weights = {"a.weight": torch.zeros(2)}
    for other, share in (({"a.weight": torch.zeros(3)}, 0.5), ({}, 0.5), (weights, 1.5)):
        with pytest.raises(ValueError, match=r"same network|between 0 and 1"):
            mix(weights, other, share)
