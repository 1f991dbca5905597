"""The loop: exact resume, signals, runs gone wrong, what a run tells."""

import hashlib
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.catalog import Card, Catalog
from models.training import checkpoint, loop
from models.training.errors import CheckpointError, DivergedError, TrainingError, UnsavedError
from models.training.report import VictoryWatch
from tests.models.training.pictures import ToyOptions, ToyRecipe
from tests.models.training.torchrun import run_in_two

CPU = torch.device("cpu")


def run(recipe: ToyRecipe, out: Path, *, resume: bool = False) -> loop.Outcome:
    return loop.run(recipe, out, device=CPU, resume=resume, tensorboard=False)


def events(out: Path, kind: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


class Interrupted(ToyRecipe):
    """Gets SIGTERM in the middle of its third step."""

    def step(self, step: int, batch: Tensor) -> loop.Figures:
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().step(step, batch)


def test_a_resumed_run_ends_in_the_same_bits(tmp_path: Path) -> None:
    """Stopped at step 3 and resumed, weights and optimiser equal those of the run that never stopped."""
    whole, first, second = ToyRecipe(ToyOptions()), Interrupted(ToyOptions()), ToyRecipe(ToyOptions())
    assert run(whole, tmp_path / "whole") is loop.Outcome.FINISHED
    assert run(first, tmp_path / "stopped") is loop.Outcome.STOPPED
    assert run(second, tmp_path / "stopped", resume=True) is loop.Outcome.FINISHED
    ends = [checkpoint.load_newest(tmp_path / name, CPU)[0] for name in ("whole", "stopped")]
    one, other = (dict(checkpoint._tensors(end["recipe"])) for end in ends if end is not None)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    files = [(tmp_path / name / loop.WEIGHTS).read_bytes() for name in ("whole", "stopped")]
    assert files[0] == files[1]


def test_sigterm_stops_after_the_step_with_a_checkpoint(tmp_path: Path) -> None:
    """The step under way is finished, saved and can be loaded; the signals mean afterwards what they meant before."""
    before = signal.getsignal(signal.SIGTERM)
    assert run(Interrupted(ToyOptions()), tmp_path) is loop.Outcome.STOPPED
    assert signal.getsignal(signal.SIGTERM) is before
    state, _ = checkpoint.load_newest(tmp_path, CPU)
    assert state is not None
    assert state["step"] == 3
    assert events(tmp_path, "stopped")[0]["reason"] == "SIGTERM"


def test_two_processes_stop_together_and_resume_exactly(tmp_path: Path) -> None:
    """Under torchrun with gloo: a SIGTERM to one stops both at one step; resumed, the end is the same bits."""
    run_in_two(Path(__file__).with_name("two_processes.py"), tmp_path)
    assert events(tmp_path / "stopped", "stopped")[0]["step"] == 3
    card = Card.model_validate_json((tmp_path / "whole" / loop.CARD).read_bytes())
    assert card.recipe.endswith("; 2 processes, each with batches of its own")


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    """NaN at step 4: the message says so, and the checkpoint from before is intact and the newest."""

    class Diverging(ToyRecipe):
        def step(self, step: int, batch: Tensor) -> loop.Figures:
            figures = super().step(step, batch)
            return figures | {"loss": torch.tensor(float("nan"))} if step == 3 else figures

    options = ToyOptions(log_every=100, checkpoint_seconds=0)
    with pytest.raises(DivergedError, match="NaN or infinite"):
        run(Diverging(options), tmp_path)
    state, passed_over = checkpoint.load_newest(tmp_path, CPU)
    assert state is not None
    assert (state["step"], passed_over) == (3, [])
    assert events(tmp_path, "diverged")[0]["step"] == 4


def test_a_run_is_not_begun_over_another(tmp_path: Path) -> None:
    """Without `resume`, a folder that holds checkpoints is refused and left alone."""
    run(ToyRecipe(ToyOptions()), tmp_path)
    with pytest.raises(TrainingError, match="holds a run already"):
        run(ToyRecipe(ToyOptions()), tmp_path)


def test_a_finished_run_resumed_does_nothing(tmp_path: Path) -> None:
    """Resuming what is finished says so and changes no weight."""
    run(ToyRecipe(ToyOptions()), tmp_path)
    before = (tmp_path / loop.WEIGHTS).read_bytes()
    assert run(ToyRecipe(ToyOptions()), tmp_path, resume=True) is loop.Outcome.FINISHED
    assert (tmp_path / loop.WEIGHTS).read_bytes() == before


@pytest.mark.parametrize("lost", [loop.WEIGHTS, loop.CARD])
def test_a_run_killed_between_its_last_checkpoint_and_its_export_has_weights(tmp_path: Path, lost: str) -> None:
    """Resumed, it writes weights and card again, and they fit."""
    run(ToyRecipe(ToyOptions()), tmp_path)
    (tmp_path / lost).write_bytes(b"of an earlier checkpoint")
    assert run(ToyRecipe(ToyOptions()), tmp_path, resume=True) is loop.Outcome.FINISHED
    card = Card.model_validate_json((tmp_path / loop.CARD).read_bytes())
    assert hashlib.sha256((tmp_path / loop.WEIGHTS).read_bytes()).hexdigest() == card.sha256


def test_a_checkpoint_of_another_network_is_refused_in_words(tmp_path: Path) -> None:
    """Options under which the checkpoint does not fit are an error that names what was changed."""

    class Wider(ToyRecipe):
        def __init__(self, options: ToyOptions) -> None:
            super().__init__(options)
            self.network[3] = torch.nn.Linear(8, 2)

    run(ToyRecipe(ToyOptions(), steps=1), tmp_path)
    with pytest.raises(CheckpointError, match=r"changed: batch_size"):
        run(Wider(ToyOptions(batch_size=8)), tmp_path, resume=True)


def test_what_a_run_tells(tmp_path: Path) -> None:
    """JSON lines with losses, phase, images/s and ETA; a preview; the options; weights with a card that fits them."""
    run(ToyRecipe(ToyOptions()), tmp_path)
    lines = events(tmp_path, "progress")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "discriminator_accuracy", "images", "images_per_second", "eta_seconds", "phase", "of"} <= set(
        lines[1]
    )
    assert (tmp_path / "preview.png").exists()
    assert json.loads((tmp_path / loop.OPTIONS).read_text())["batch_size"] == 16
    card = Card.model_validate_json((tmp_path / loop.CARD).read_text())
    assert card.images_seen == 6 * 16
    added = Catalog(store=tmp_path / "store").add(card, (tmp_path / loop.WEIGHTS).read_bytes())
    assert added.reference == card.reference


@pytest.mark.parametrize("begun", [ToyRecipe, Interrupted])
def test_the_log_is_the_same_wherever_checkpoints_fall(tmp_path: Path, begun: type[ToyRecipe]) -> None:
    """A line has the means of all steps since the line before, though a checkpoint or a stop came between."""
    usual, often = (ToyOptions(log_every=2, checkpoint_seconds=seconds) for seconds in (1e9, 0))
    run(ToyRecipe(usual), tmp_path / "whole")
    run(begun(often), tmp_path / "saved")
    run(ToyRecipe(often), tmp_path / "saved", resume=True)
    losses = [[line["loss"] for line in events(tmp_path / name, "progress")] for name in ("whole", "saved")]
    assert losses[0] == losses[1]


def test_a_full_disk_stops_the_run_in_words(tmp_path: Path) -> None:
    """When even the log cannot be written, the error says what to do."""
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(UnsavedError, match="make room and resume"):
        run(ToyRecipe(ToyOptions()), tmp_path)


def test_a_folder_that_cannot_be_made_is_no_full_disk(tmp_path: Path) -> None:
    """A file stands where the run should be: the sentence asks for another folder, not for room."""
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="choose another") as caught:
        run(ToyRecipe(ToyOptions()), tmp_path / "file" / "run")
    assert not isinstance(caught.value, UnsavedError)


def test_the_discriminators_victory_is_said_once() -> None:
    """A window of always being right warns once; it warns again only after it was beaten in between."""
    watch = VictoryWatch(window=10)
    said = [watch.add(accuracy) for accuracy in [1.0] * 30]
    assert [index for index, warning in enumerate(said) if warning] == [9]
    assert not any(watch.add(0.5) for _ in range(10))
    assert any(watch.add(1.0) for _ in range(10))


def test_a_won_game_reaches_the_log(tmp_path: Path) -> None:
    """A discriminator that sits at 100 % is a warning in the run's own log."""
    recipe = ToyRecipe(ToyOptions(), steps=110)
    recipe.accuracy = 1.0
    run(recipe, tmp_path)
    assert "has won" in str(events(tmp_path, "warning")[0]["message"])


def test_half_precision_only_where_it_fits() -> None:
    """Kernels are exported as halves unless a value would overflow; running statistics stay as they are."""
    small, large = torch.tensor([1.0]), torch.tensor([1e6])
    assert loop.compact("conv.weight", small).dtype is torch.float16
    assert loop.compact("conv.weight", large).dtype is torch.float32
    assert loop.compact("norm.running_var", small).dtype is torch.float32
    np.testing.assert_array_equal(loop.compact("conv.weight", large).numpy(), large.numpy())


def test_a_card_tells_the_command_without_where_things_lay() -> None:
    """Of absolute paths the last part is kept; what contains blanks can be typed again as it stands."""
    arguments = [
        "/opt/venv/bin/inpaint",
        "train",
        "glcic",
        "--data",
        "/home/ann/celeba",
        "--set",
        "lr=3e-4",
        "-o",
        "a b",
    ]
    assert loop.command_line(arguments) == "inpaint train glcic --data celeba --set lr=3e-4 -o 'a b'"
