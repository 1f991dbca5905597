"""Killing any process at any moment loses no job: a small round of `python -m tests.faults.chaos`."""

from pathlib import Path

import pytest

from tests.faults.chaos import run
from tests.faults.victims import SUPERVISOR


@pytest.mark.timeout(300)
def test_killing_any_process_loses_no_job(tmp_path: Path) -> None:
    """Sixty jobs and a training run end in the bytes of the undisturbed service, once each, though every process is
    killed or stopped, one is frozen and the broker is away for a while; nothing is left over, in the end no process."""
    (found,) = run(kills=10, jobs=60, seed=574, outage=3, folder=tmp_path)
    assert found.audit.faultless(), found
    assert found.states["succeeded"] + found.states["cancelled"] == found.jobs == 65
    assert found.under_load >= found.kills / 2, "too few of the faults came while jobs were under way"
    hit = {fault.partition(" ")[2] for fault in found.faults}
    assert {"inference worker", "inference child", "training child", "broker", "API", SUPERVISOR} <= hit
    assert not list(tmp_path.rglob("*.sock"))
