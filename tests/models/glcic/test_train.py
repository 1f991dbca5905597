"""Training of the completion network: exact resume over every phase, what each phase may change, what is served."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from models.catalog import Card, Catalog
from models.glcic import train as glcic
from models.glcic.network import CompletionNetwork
from models.glcic.options import PRESETS, GlcicOptions
from models.glcic.train import Batch, GlcicRecipe, feature_distance, hole_mse
from models.loading import load
from models.training import checkpoint, loop
from models.training.data import Pictures, open_pictures
from models.training.errors import DataError, TrainingError
from models.training.options import with_overrides
from tests.models.training.pictures import write_pictures

CPU = torch.device("cpu")

TINY = with_overrides(
    PRESETS["cpu"],
    {
        "batch_size": 2,
        "sizes": [16, 20],
        "completion_steps": [2, 1],
        "discriminator_steps": [1, 0],
        "joint_steps": [1, 2],
        "warmup": 0,
        "threads": 1,
        "log_every": 1,
        "preview_every": 10**6,
        "validate_every": 10**6,
        "checkpoint_seconds": 10**6,
        "validation_pictures": 2,
        "name": "tiny",
    },
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """Twelve smooth pictures of 20x20."""
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder / "train", 12)
    return open_pictures(folder, size=20, cache=folder.parent / "cache")


@pytest.fixture(autouse=True)
def one_thread() -> object:
    """Small work is slower on several threads, and slower still beside other tests."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def recipe(pictures: Pictures, options: GlcicOptions = TINY) -> GlcicRecipe:
    return GlcicRecipe(options, pictures, pictures, CPU)


def advance(trained: GlcicRecipe, steps: range) -> list[loop.Figures]:
    return [trained.step(step, trained.batch(step)) for step in steps]


def snapshot(network: torch.nn.Module) -> Tensor:
    return torch.cat([value.detach().double().flatten() for value in network.state_dict().values()])


class Interrupted(GlcicRecipe):
    """Gets SIGTERM in the joint phase of the first stage, so that it goes on at the next size."""

    def step(self, step: int, batch: Batch) -> loop.Figures:
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().step(step, batch)


def test_a_resumed_run_ends_in_the_same_bits(pictures: Pictures, tmp_path: Path) -> None:
    """Networks, optimisers and average after a stop and a resume equal those of a run that never stopped.

    The SIGTERM comes with all phases behind and a larger size ahead; its checkpoint loads.
    """
    whole, first = recipe(pictures), Interrupted(TINY, pictures, pictures, CPU)
    assert loop.run(whole, tmp_path / "whole", device=CPU, tensorboard=False) is loop.Outcome.FINISHED
    assert loop.run(first, tmp_path / "stopped", device=CPU, tensorboard=False) is loop.Outcome.STOPPED
    second = recipe(pictures)
    assert loop.run(second, tmp_path / "stopped", device=CPU, resume=True, tensorboard=False) is loop.Outcome.FINISHED
    one = dict(checkpoint._tensors(whole.state_dict()))
    other = dict(checkpoint._tensors(second.state_dict()))
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_options_given_to_a_resumed_run_reach_its_optimisers(pictures: Pictures) -> None:
    """Weight decay is what the options say now, and what the optimiser remembers is as it was; another kind of
    optimiser could not go on with that, and is refused."""
    before = recipe(pictures)
    advance(before, range(4))
    after = recipe(pictures, with_overrides(TINY, {"weight_decay": 0.25}))
    after.load_state_dict(before.state_dict())
    assert [group["weight_decay"] for group in after.optimiser.param_groups] == [0.25]
    memories = (dict(checkpoint._tensors(each.optimiser.state_dict()["state"])) for each in (before, after))
    one, other = memories
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(ValueError, match="another kind"):
        recipe(pictures, with_overrides(TINY, {"optimiser": "adadelta"})).load_state_dict(before.state_dict())


def test_a_plan_may_get_discriminators_while_it_runs(pictures: Pictures, tmp_path: Path) -> None:
    """Stopped among steps of the completion network alone, in a stage that had none of the other kind, and resumed."""
    plain, longer = (
        with_overrides(TINY, {"sizes": [16], "completion_steps": [2], "discriminator_steps": [d], "joint_steps": [d]})
        for d in (0, 1)
    )
    assert loop.run(recipe(pictures, plain), tmp_path, device=CPU, tensorboard=False) is loop.Outcome.FINISHED
    second = recipe(pictures, longer)
    assert loop.run(second, tmp_path, device=CPU, resume=True, tensorboard=False) is loop.Outcome.FINISHED
    assert second.discriminator is not None


def test_each_phase_changes_what_it_should(pictures: Pictures) -> None:
    """Phase 1 leaves no discriminator's trace, phase 2 freezes the completion network, phase 3 moves both."""
    trained = recipe(pictures)
    assert [trained.place(step).phase for step in range(7)] == [
        "completion", "completion", "discriminator", "joint", "completion", "joint", "joint",
    ]  # fmt: skip

    advance(trained, range(2))
    before = snapshot(trained.network)
    advance(trained, range(2, 3))
    assert torch.equal(snapshot(trained.network), before), "statistics of batch norm included"
    assert trained.discriminator is not None
    judge = snapshot(trained.discriminator)
    advance(trained, range(3, 4))
    assert not torch.equal(snapshot(trained.network), before)
    assert not torch.equal(snapshot(trained.discriminator), judge)


def test_the_generators_loss_leaves_no_gradient_in_the_discriminator(pictures: Pictures) -> None:
    """After a joint step the discriminator holds the gradient of its own loss and nothing more."""
    trained = recipe(pictures)
    advance(trained, range(3))
    batch = trained.batch(3)
    seen: list[list[Tensor]] = []
    original = trained._discriminator_step

    _, mask = batch.to(CPU)

    def spy(step: int, batch: Batch, image: Tensor, completed: Tensor) -> loop.Figures:
        figures = original(step, batch, image, completed)
        assert trained.discriminator is not None
        assert torch.equal(completed * (1 - mask), image * (1 - mask)), "the composite, not the raw output"
        seen.append([p.grad.clone() for p in trained.discriminator.parameters() if p.grad is not None])
        return figures

    trained._discriminator_step = spy  # type: ignore[method-assign]
    trained.step(3, batch)
    assert trained.discriminator is not None
    after = [p.grad for p in trained.discriminator.parameters() if p.grad is not None]
    assert len(after) == len(seen[0]) > 0
    assert all(torch.equal(one, other) for one, other in zip(seen[0], after, strict=True))


def test_losses_are_finite_and_go_down_on_a_tiny_set(pictures: Pictures) -> None:
    """Twenty steps of squared error on twelve pictures at least halve it."""
    options = with_overrides(
        TINY,
        {
            "sizes": [16], "completion_steps": [20], "discriminator_steps": [0], "joint_steps": [0], "moved": 0,
            "batch_size": 4, "holes": {"patch": 1.0}, "lr": 1e-3, "final_lr": 1,
        },
    )  # fmt: skip
    losses = [float(figures["hole_mse"]) for figures in advance(recipe(pictures, options), range(20))]
    assert np.isfinite(losses).all()
    assert np.mean(losses[-4:]) < 0.5 * losses[0]


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_make_the_batches_that_threads_make(pictures: Pictures, workers: int) -> None:
    """What a GPU's run is fed is the same, in the same order, and a signal to the whole group does not end it."""
    trained = recipe(pictures)
    made = list(loop._made_by_processes(trained.batch, range(2, 7), workers, pinned=False))
    assert len(made) == 5
    for step, batch in enumerate(made, start=2):
        expected = trained.batch(step)
        assert torch.equal(batch.pixels, expected.pixels)
        assert torch.equal(batch.holes, expected.holes)
        assert [tuple(corner) for corner in batch.corners] == list(expected.corners)
        assert [tuple(corner) for corner in batch.real_corners] == list(expected.real_corners)


def test_without_a_compiler_a_run_goes_on_uncompiled(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    """`compiled` is a matter of speed alone: where nothing can be compiled the steps are those of any other run."""
    import torch._inductor.config as inductor

    monkeypatch.setattr(inductor.cpp, "cxx", ("/no/such/compiler",))
    with torch._dynamo.config.patch(suppress_errors=False):  # put back as it was, whatever the recipe does to it
        plain, compiled = (recipe(pictures, with_overrides(TINY, {"compiled": way})) for way in (False, True))
        advance(plain, range(3))
        advance(compiled, range(3))
    assert torch.equal(snapshot(plain.network), snapshot(compiled.network))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_trains_over_every_phase_stops_and_resumes(pictures: Pictures, tmp_path: Path) -> None:
    """On a GPU, fed by processes: SIGTERM leaves a checkpoint, and the run goes on from it to its end."""
    options, cuda = with_overrides(TINY, {"data_threads": 2, "precision": "auto"}), torch.device("cuda")
    first = Interrupted(options, pictures, pictures, cuda)
    assert loop.run(first, tmp_path, device=cuda, tensorboard=False) is loop.Outcome.STOPPED
    second = GlcicRecipe(options, pictures, pictures, cuda)
    assert loop.run(second, tmp_path, device=cuda, resume=True, tensorboard=False) is loop.Outcome.FINISHED
    assert all(value.isfinite().all() for value in safetensors.torch.load_file(tmp_path / loop.WEIGHTS).values())


def test_batches_are_a_function_of_the_step(pictures: Pictures) -> None:
    """Two recipes make the same batch for the same step, in any order; masks are 0 or 1 and never empty."""
    one, other = recipe(pictures), recipe(pictures)
    other.batch(0)
    first, second = one.batch(5), other.batch(5)
    assert torch.equal(first.pixels, second.pixels)
    assert torch.equal(first.holes, second.holes)
    assert first.corners == second.corners
    image, mask = first.to(CPU)
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    assert (mask.sum(dim=(1, 2, 3)) > 0).all()
    assert image.shape == (2, 3, 20, 20)
    assert 0 <= image.min() < image.max() <= 1


def test_a_small_hole_counts_as_much_as_a_large_one() -> None:
    """The squared error is normalised by each hole's own area; what lies outside does not count."""
    image, raw = torch.zeros(2, 3, 8, 8), torch.full((2, 3, 8, 8), 0.5)
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, :, :1, :1], mask[1, :, :6] = 1, 1
    assert float(hole_mse(raw, image, mask)) == pytest.approx(0.25)
    assert float(hole_mse(raw * (1 - mask), image, mask)) == 0


def test_features_are_compared_per_pixel_of_hole() -> None:
    """Equal ones are at no distance; each layer counts as much as any other, a small hole as much as a large one."""
    mask = torch.zeros(2, 1, 10, 10)
    mask[0, :, :5], mask[1, :, :, :2] = 1, 1  # half of the one picture, a fifth of the other
    real = [torch.rand(2, 3, 4, 4), torch.rand(2, 7, 2, 2)]
    drawn = [real[0].clone(), real[1].clone()]
    assert float(feature_distance(drawn, real, mask)) == 0
    drawn[0][0] += 1
    drawn[1][1] += 2
    assert float(feature_distance(drawn, real, mask)) == pytest.approx((1 / 0.5 + 4 / 0.2) / 2 / 2)


def test_the_completion_network_learns_from_what_the_discriminators_see(pictures: Pictures) -> None:
    """With the adversarial loss off the distance of features alone moves it, and not where its weight is nothing."""
    after = []
    for weight in (0.0, 1.0, 1.0):
        options = with_overrides(TINY, {"feature_matching": weight, "adversarial": 0.0, "lr": 1e-2})
        trained = recipe(pictures, options)
        figures = advance(trained, range(4))[-1]
        assert ("feature_distance" in figures) == (weight > 0)
        after.append(snapshot(trained.network))
    assert torch.equal(after[1], after[2])
    assert not torch.equal(after[0], after[1])


def test_a_steep_discriminator_is_made_flatter(pictures: Pictures) -> None:
    """Where the penalty is due, and large, the logits' gradient by real pictures shrinks; between, nothing is done."""
    steepness: dict[tuple[float, int], float] = {}
    for weight, due in ((0.0, 16), (1e3, 16), (1e3, 17)):
        trained = recipe(pictures, with_overrides(TINY, {"gradient_penalty": weight, "discriminator_lr": 1e-3}))
        advance(trained, range(3))
        batch = trained.batch(2)
        image, _ = batch.to(CPU)
        for _ in range(5):
            trained._discriminator_step(due, batch, image, image.flip(0))
        steepness[weight, due] = float(trained._steepness(image, batch.real_corners).detach())
    assert steepness[1e3, 16] < 0.5 * steepness[0.0, 16]
    assert steepness[1e3, 17] == steepness[0.0, 16]


def test_what_is_exported_is_what_the_service_loads(pictures: Pictures, tmp_path: Path) -> None:
    """The file and its card pass the strict loader, and hold the average, to half precision."""
    trained = recipe(pictures)
    advance(trained, range(2))
    card = loop.export(trained, tmp_path, images=4, seconds=1, metrics={"hole_psnr_db_16": 10.0})
    catalog = Catalog(store=tmp_path / "store", shipped=tmp_path / "none")
    catalog.add(Card.model_validate_json((tmp_path / loop.CARD).read_text()), (tmp_path / loop.WEIGHTS).read_bytes())
    loaded = load(catalog, catalog.get("tiny"), CPU)
    assert trained.average is not None
    average = dict(trained.average.network.named_parameters())
    for name, value in loaded.named_parameters():
        torch.testing.assert_close(value, average[name].detach(), rtol=1e-3, atol=1e-6)
    settled = dict(trained.served().named_buffers())
    for name, value in loaded.named_buffers():
        if not name.endswith("num_batches_tracked"):  # counts training batches; not part of the file
            assert torch.equal(value, settled[name])
    assert card.metrics == {"hole_psnr_db_16": 10.0}


def test_what_is_served_is_normalised_by_its_own_statistics(pictures: Pictures) -> None:
    """In eval mode what is served draws on the run's pictures what train mode draws, whatever the run's last step
    left behind."""
    trained = recipe(pictures, with_overrides(TINY, {"batch_size": 12, "sizes": [20, 20]}))
    advance(trained, range(3))
    assert trained.average is not None
    for buffer in trained.average.network.buffers():
        buffer.fill_(2)
    served, batch = trained.served(), trained.batch(trained.steps - 1).to(CPU)
    assert not served.training
    with torch.no_grad():
        drawn, expected = served(*batch), served.train()(*batch)
    assert float((drawn - expected).abs().mean()) < 0.3 * float(expected.std())


def test_the_average_copies_the_statistics_of_batch_norm(pictures: Pictures) -> None:
    """Weights lag behind the network's, running statistics do not."""
    trained = recipe(pictures)
    advance(trained, range(3))
    assert trained.average is not None
    mine, theirs = trained.average.network.state_dict(), trained.network.state_dict()
    assert torch.equal(mine["layers.1.norm.running_var"], theirs["layers.1.norm.running_var"])
    assert not torch.equal(mine["layers.1.conv.weight"], theirs["layers.1.conv.weight"])


def test_it_starts_from_given_weights(pictures: Pictures, tmp_path: Path) -> None:
    """`init` is taken over, the fill colour included; a file of something else is refused in words."""
    start = CompletionNetwork()
    start.mean_pixel.copy_(torch.tensor([0.1, 0.2, 0.3]))
    state = {name: value for name, value in start.state_dict().items() if "num_batches" not in name}
    safetensors.torch.save_file(state, tmp_path / "start.safetensors")
    begun = GlcicRecipe(TINY, pictures, pictures, CPU, init=tmp_path / "start.safetensors")
    assert torch.equal(begun.network.mean_pixel, start.mean_pixel)
    assert torch.equal(begun.served().layers["3"].conv.weight, start.layers["3"].conv.weight)
    safetensors.torch.save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(TrainingError, match="not a completion network"):
        GlcicRecipe(TINY, pictures, pictures, CPU, init=tmp_path / "other.safetensors")
    with pytest.raises(TrainingError, match="cannot be started from"):
        GlcicRecipe(TINY, pictures, pictures, CPU, init=tmp_path / "missing.safetensors")


def test_validation_and_preview_change_nothing(pictures: Pictures) -> None:
    """Measuring leaves the training state alone, gives the same figures twice, and a preview of three rows."""
    trained = recipe(pictures)
    advance(trained, range(1))
    before = {name: value.clone() for name, value in checkpoint._tensors(trained.state_dict())}
    figures = trained.validate()
    preview = trained.preview()
    assert trained.validate() == figures
    assert set(figures) == {"validation_psnr_db_20", "validation_l1_percent_20"}  # none that `evaluate` has, too
    assert preview.shape == (3 * 22 - 2, 8 * 22 - 2, 3)
    after = dict(checkpoint._tensors(trained.state_dict()))
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_fewer_pictures_than_a_batch_are_refused(pictures: Pictures) -> None:
    """The message gives both numbers."""
    with pytest.raises(DataError, match="12 pictures are fewer than one batch of 13"):
        recipe(pictures, with_overrides(TINY, {"batch_size": 13}))


def test_train_reads_data_and_finishes(tmp_path: Path) -> None:
    """From a folder of pictures to weights with a card that says what they are."""
    write_pictures(tmp_path / "data" / "train", 4)
    write_pictures(tmp_path / "data" / "val", 2)
    once = {"sizes": [16], "completion_steps": [1], "discriminator_steps": [0], "joint_steps": [0]}
    outcome = glcic.train(
        tmp_path / "data", tmp_path / "run", with_overrides(TINY, once), cache=tmp_path / "cache", resume=True
    )
    assert outcome is loop.Outcome.FINISHED
    card = Card.model_validate_json((tmp_path / "run" / loop.CARD).read_text())
    assert (card.name, card.image_size, card.images_seen) == ("tiny", 16, 2)
    assert "validation_psnr_db_16" in card.metrics


def test_presets_say_what_the_papers_say() -> None:
    """Steps, batch, optimiser, weight of the adversarial loss: the paper's and the course's."""
    paper, course = PRESETS["paper"], PRESETS["course"]
    assert (paper.sizes, paper.batch_size, paper.optimiser, paper.adversarial) == ((256,), 96, "adadelta", 4e-4)
    assert (paper.completion_steps, paper.discriminator_steps, paper.joint_steps) == ((90_000,), (10_000,), (400_000,))
    assert (course.sizes, course.batch_size, course.optimiser) == ((160,), 16, "adadelta")
    assert (course.completion_steps, course.discriminator_steps, course.joint_steps) == ((1000,), (150,), (4000,))
