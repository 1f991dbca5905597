"""Training the vanilla GAN, on a few digits."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.catalog import Card, Catalog
from models.loading import load
from models.training.loop import Outcome
from models.vanilla_gan.options import PRESETS, VanillaGanOptions
from models.vanilla_gan.sample import draw
from models.vanilla_gan.train import VanillaGanRecipe, train
from tests.models.evaluation.idx import write_digits

CPU = torch.device("cpu")
OPTIONS = VanillaGanOptions(
    batch_size=8, epochs=2, ema=0.9, threads=1, checkpoint_seconds=1e9, log_every=1, preview_every=10**9,
    validate_every=10**9, device="cpu",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MNIST's own files with 24 digits of noise to train on, beside the two that are held out."""
    folder = tmp_path_factory.mktemp("mnist")
    rng = np.random.default_rng(0)
    digits = np.zeros((26, 28, 28), np.uint8)
    digits[:24] = rng.integers(0, 256, (24, 28, 28))
    write_digits(folder, "train", digits, np.zeros(26, np.uint8))
    return folder


def test_a_resumed_run_ends_in_the_same_bits(data: Path, tmp_path: Path) -> None:
    """Half the run, then the rest from its checkpoint: the same weights as in one go, dropout included."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(data, whole, OPTIONS) is Outcome.FINISHED
    train(data, parts, OPTIONS.model_copy(update={"epochs": 1}))
    train(data, parts, OPTIONS, resume=True)
    assert (parts / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    states = [torch.load(folder / "checkpoint-000000006.pt", weights_only=True)["recipe"] for folder in (parts, whole)]
    for name in ("generator", "discriminator", "average"):
        assert all(torch.equal(states[0][name][key], states[1][name][key]) for key in states[1][name])

    card = Card.model_validate_json((whole / "card.json").read_bytes())
    catalog = Catalog(store=tmp_path / "store", shipped=tmp_path / "none")
    catalog.add(card, (whole / "weights.safetensors").read_bytes())
    assert (card.family, card.image_size, card.images_seen) == ("vanilla-gan", 28, 48)
    assert draw(load(catalog, card, CPU), 2, 0).std() > 0


def test_a_resumed_run_learns_by_the_decay_it_is_given() -> None:
    """Adam's first decay is an option like any other: that of the checkpoint is not kept against it."""
    digits = np.zeros((8, 28, 28), np.uint8)
    before = VanillaGanRecipe(digits, OPTIONS.model_copy(update={"beta1": 0.3}), CPU)
    before.step(0, before.batch(0))
    after = VanillaGanRecipe(digits, OPTIONS.model_copy(update={"beta1": 0.7}), CPU)
    after.load_state_dict(before.state_dict())
    state = after.state_dict()
    assert state["generator_optimiser"]["param_groups"][0]["betas"] == (0.7, 0.999)
    assert state["discriminator_optimiser"]["param_groups"][0]["betas"] == (0.7, 0.999)


def test_digits_are_shown_from_minus_one_to_one() -> None:
    """Black is -1 and white is 1, the range of the generator's tanh."""
    digits = np.zeros((4, 28, 28), np.uint8)
    digits[:, 14:] = 255
    batch = VanillaGanRecipe(digits, OPTIONS.model_copy(update={"batch_size": 4}), CPU).batch(0)
    assert batch.shape == (4, 1, 28, 28)
    assert (batch[:, :, :14] == -1).all()
    assert (batch[:, :, 14:] == 1).all()


def test_course_preset_is_the_courses() -> None:
    """Adam 2e-4, batch 100, 200 epochs."""
    course = PRESETS["course"]
    assert (course.lr, course.batch_size, course.epochs) == (2e-4, 100, 200)


def test_the_discriminator_learns_at_its_own_pace() -> None:
    """Adam's first step moves a weight by the learning rate, whatever the gradient; the card tells of both rates."""
    options = OPTIONS.model_copy(update={"lr": 1e-3, "discriminator_pace": 3.0})
    torch.manual_seed(0)
    recipe = VanillaGanRecipe(np.zeros((8, 28, 28), np.uint8), options, CPU)
    networks = {recipe.generator: 1e-3, recipe.discriminator: 3e-3}
    before = {network: [weight.detach().clone() for weight in network.parameters()] for network in networks}
    recipe.step(0, recipe.batch(0))
    for network, rate in networks.items():
        pairs = zip(network.parameters(), before[network], strict=True)
        moved = max(float((now.detach() - then).abs().max()) for now, then in pairs)
        assert moved == pytest.approx(rate, rel=1e-2)
    assert "Adam 0.001 to 0.001, beta1 0.9, discriminator 3 times as fast" in recipe.about().recipe
