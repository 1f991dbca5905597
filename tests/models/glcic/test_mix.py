"""Weights between two networks."""

import hashlib
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from models.catalog import SHIPPED, Card
from models.glcic.mix import main, mix


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


def test_without_data_all_is_mixed_and_written_with_its_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of the catalogue and a run that left the statistics as they were: here that model itself."""
    run, out = tmp_path / "run", tmp_path / "out"
    run.mkdir()
    (run / "weights.safetensors").write_bytes((SHIPPED / "glcic-celeba.safetensors").read_bytes())
    (run / "card.json").write_bytes((SHIPPED / "glcic-celeba.json").read_bytes())
    monkeypatch.setattr(sys, "argv", ["mix", "glcic-celeba", str(run), "--share", "0.3", "--out", str(out)])
    assert main() == 0
    first, mixed = (safetensors.torch.load_file(folder / "weights.safetensors") for folder in (run, out))
    assert all(torch.equal(first[name], mixed[name]) for name in first)
    card = Card.model_validate_json((out / "card.json").read_bytes())
    assert card.sha256 == hashlib.sha256((out / "weights.safetensors").read_bytes()).hexdigest()
    assert "0.3 of its weights and 0.7 of glcic-celeba's" in card.recipe
