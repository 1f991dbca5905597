"""Options from a command line."""

from itertools import pairwise

import pytest

from models.glcic.options import PRESETS
from models.training.errors import OptionsError
from models.training.options import cosine_share, parse_overrides, with_overrides


def test_assignments_are_json_or_text() -> None:
    """Numbers, lists and objects are read as JSON, everything else as it stands."""
    assert parse_overrides(["lr=3e-4", "sizes=[64,128]", "device=cuda:1", 'holes={"box": 1}']) == {
        "lr": 3e-4,
        "sizes": [64, 128],
        "device": "cuda:1",
        "holes": {"box": 1},
    }


@pytest.mark.parametrize("assignment", ["lr", "=3", ""])
def test_an_assignment_without_a_name_or_a_value_is_refused(assignment: str) -> None:
    """The message shows the form that is wanted."""
    with pytest.raises(OptionsError, match="NAME=VALUE"):
        parse_overrides([assignment])


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"learning_rate": 1}, "no option learning_rate"),
        ({"lr": -1}, "lr: Input should be greater than 0"),
        ({"sizes": [64, 130, 160]}, "multiples of 4"),
        ({"sizes": [160, 128, 64]}, "must not shrink"),
        ({"sizes": [64]}, "one entry per stage"),
        ({"smallest_hole": 0.9}, "smallest_hole <= largest_hole <= patch"),
        ({"holes": {}}, "at least one kind"),
        ({"holes": {"star": 1}}, "holes"),
        ({"completion_steps": [0, 0, 0], "discriminator_steps": [0, 0, 0], "joint_steps": [0, 0, 0]}, "at least one"),
    ],
)
def test_wrong_options_are_refused_in_words(overrides: dict[str, object], says: str) -> None:
    """Unknown, out of range, or not fitting together: the message names the option."""
    with pytest.raises(OptionsError, match=says):
        with_overrides(PRESETS["cpu"], overrides)


def test_every_option_has_a_sentence() -> None:
    """What `inpaint train` can be told is explained, option by option."""
    fields = type(PRESETS["cpu"]).model_fields
    assert all(field.description and field.description.endswith(".") for field in fields.values())


def test_an_override_leaves_the_preset_as_it_was() -> None:
    """Presets are frozen; an override makes another."""
    changed = with_overrides(PRESETS["cpu"], {"lr": 1e-3})
    assert changed.lr == 1e-3
    assert PRESETS["cpu"].lr == 5e-4


def test_the_learning_rate_falls_from_all_of_it_to_its_last_share() -> None:
    """Half a cosine: no jump at either end."""
    shares = [cosine_share(step, 100, 0.1) for step in range(101)]
    assert (shares[0], shares[-1]) == (1.0, pytest.approx(0.1))
    assert all(later < earlier for earlier, later in pairwise(shares))
