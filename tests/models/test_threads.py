"""How threads wait for each other is said once, and the environment has the last word."""

import os

import pytest

from models.threads import wait_briefly


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, {"GOMP_SPINCOUNT": "2000"}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
    ],
)
def test_the_environment_has_the_last_word(
    said: dict[str, str], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is set where it says how to wait."""
    monkeypatch.setattr(os, "environ", dict(said))
    wait_briefly()
    assert os.environ == expected
