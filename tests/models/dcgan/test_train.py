"""Training the DCGAN, on a few small pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from models.catalog import Card, Catalog
from models.dcgan.network import LATENT, Generator
from models.dcgan.options import PRESETS, DcganOptions
from models.dcgan.sample import draw
from models.dcgan.train import train
from models.loading import load
from models.sampling import draw_latents
from models.training.ema import settle
from models.training.loop import Outcome
from tests.models.training.pictures import write_pictures

CPU = torch.device("cpu")
OPTIONS = DcganOptions(
    batch_size=4, width=4, epochs=2, mirror=True, ema=0.9, threads=1, checkpoint_seconds=1e9, log_every=1,
    preview_every=10**9, validate_every=10**9, device="cpu",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_pictures(folder / "train", 12)
    write_pictures(folder / "val", 4)
    return folder


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs, six steps, never stopped."""
    out = tmp_path_factory.mktemp("whole")
    assert train(data, out, OPTIONS, cache=out / "cache") is Outcome.FINISHED
    return out


def test_a_resumed_run_ends_in_the_same_bits(data: Path, whole: Path, tmp_path: Path) -> None:
    """Half the run, then the rest from its checkpoint: the same weights as in one go."""
    train(data, tmp_path, OPTIONS.model_copy(update={"epochs": 1}), cache=whole / "cache")
    train(data, tmp_path, OPTIONS, resume=True, cache=whole / "cache")
    assert (tmp_path / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    states = [
        torch.load(folder / "checkpoint-000000006.pt", weights_only=True)["recipe"] for folder in (tmp_path, whole)
    ]
    for name in ("generator", "discriminator", "average"):
        assert all(torch.equal(states[0][name][key], states[1][name][key]) for key in states[1][name])


def test_what_a_run_exports_can_be_served(whole: Path, tmp_path: Path) -> None:
    """Weights and card go through the catalogue and the strict loader, and draw."""
    card = Card.model_validate_json((whole / "card.json").read_bytes())
    catalog = Catalog(store=tmp_path, shipped=tmp_path / "none")
    catalog.add(card, (whole / "weights.safetensors").read_bytes())
    assert (card.family, card.options, card.image_size, card.images_seen) == ("dcgan", {"width": 4}, 64, 24)
    assert card.metrics["sliced_wasserstein"] > 0
    assert draw(load(catalog, card, CPU), 2, 0).std() > 0


def test_both_networks_learn_and_tell(whole: Path) -> None:
    """Each step tells both losses and how often the discriminator is right; the networks change."""
    lines = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["event"] == "progress"]
    assert len(steps) == 6
    assert all({"discriminator_loss", "generator_loss", "discriminator_accuracy"} <= step.keys() for step in steps)
    state = torch.load(whole / "checkpoint-000000006.pt", weights_only=True)["recipe"]
    torch.manual_seed(OPTIONS.seed)
    started = Generator(4).state_dict()
    assert not torch.equal(started["layers.up8.0.weight"], state["generator"]["layers.up8.0.weight"])
    assert not torch.equal(state["average"]["layers.up8.0.weight"], state["generator"]["layers.up8.0.weight"])


@torch.no_grad()
def test_served_statistics_are_those_of_the_served_weights() -> None:
    """After `settle`, eval mode normalises as train mode does on a large batch, whatever the statistics were before."""
    torch.manual_seed(0)
    network = Generator(4).eval()
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.fill_(3.0)
    settled = settle(network, ((rows,) for rows in torch.from_numpy(draw_latents(512, 1, LATENT)).view(-1, 64, LATENT)))
    latents = torch.from_numpy(draw_latents(512, 99, LATENT))
    batchwise = network.train()(latents)
    assert not settled.training
    assert (settled(latents) - batchwise).abs().mean() < 0.05 * batchwise.std()


def test_presets_are_as_the_papers_say() -> None:
    """Adam 2e-4 with beta1 0.5, batch 128; `paper` as wide as figure 1; what makes no sense is refused."""
    paper = PRESETS["paper"]
    assert (paper.lr, paper.beta1, paper.batch_size, paper.width, paper.ema) == (2e-4, 0.5, 128, 128, 0)
    assert PRESETS["course"].width == 64
    assert np.isclose(PRESETS["cpu"].ema, 0.999)
    with pytest.raises(ValidationError):
        DcganOptions(lr=-1)
