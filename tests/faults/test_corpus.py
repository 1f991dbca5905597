"""Whatever is sent: the documented status, a sentence that helps, never a 500, little memory, and nothing left."""

import io
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.faults.api import Answer, Api, serving
from tests.faults.corpus import Case, all_cases
from tests.faults.corpus.case import HOLE
from worker.connection import connect
from worker.ledger import Ledger

_MOST_MIB = 400
_PATIENCE_SECONDS = 30.0
_REPR = re.compile(
    r"<class|Traceback|object at 0x|Error\(|Exception|[Vv]alue error|^b'|\\x[0-9a-f]{2}|\bNone\b|pydantic|starlette"
)
"""What a sentence for people does not have."""


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    # Not pytest's tmp_path: the path of the broker's socket must stay below 100 characters.
    with tempfile.TemporaryDirectory(prefix="inpaint-corpus-") as folder, serving(Path(folder)) as api:
        yield api


def test_every_case_is_answered_as_documented(api: Api) -> None:
    """All of them, one after the other, to one API process: it lives to the end, and has never had 400 MiB."""
    cases = list(all_cases())
    assert len(cases) > 700
    assert len({case.name for case in cases}) == len(cases)
    pid = api.process.pid
    wrong = {case.name: fault for case in cases if (fault := _fault(case, api.send(case)))}
    assert not wrong, "\n".join(f"{name}: {fault}" for name, fault in wrong.items())
    assert api.process.poll() is None
    assert api.process.pid == pid
    assert api.peak_memory() < _MOST_MIB


def test_what_was_refused_leaves_nothing(api: Api) -> None:
    """After the corpus all inputs in storage belong to jobs that were accepted, and none of those is open."""
    with connect(api.settings.redis_url) as client:
        jobs = [job for job in Ledger(client, api.settings).recent(limit=1000) if job.request.kind == "inpaint"]
    assert len(jobs) > 100
    assert all(job.state.ended for job in jobs)
    stored = {file.name.partition(".")[0] for file in (api.settings.storage_dir / "inputs").iterdir()}
    assert stored <= {job.id for job in jobs}  # this worker is not tidy


def _fault(case: Case, answer: Answer) -> str:
    """What is wrong with the answer; empty where nothing is."""
    if answer.status not in case.statuses:
        return f"{answer.status} {answer.body[:300]!r}"
    if answer.seconds > _PATIENCE_SECONDS:
        return f"took {answer.seconds:.0f} s"
    if answer.status >= 400 and case.method != "HEAD":
        return _fault_of_problem(case, answer)
    if case.pixels is not None and answer.status == 200:
        return _fault_of_picture(case, answer)
    return ""


def _fault_of_problem(case: Case, answer: Answer) -> str:
    if answer.headers.get("content-type") != "application/problem+json":
        return f"no problem: {answer.headers.get('content-type')} {answer.body[:300]!r}"
    problem = json.loads(answer.body)
    detail = problem["detail"]
    if problem["status"] != answer.status or not problem["type"].startswith("urn:inpaint:problem:"):
        return f"contradicts itself: {problem}"
    if not detail.endswith(".") or len(detail) < 20 or len(detail) > 700 or _REPR.search(detail):
        return f"no sentence: {detail}"
    if not any(word in detail for word in case.says.split("|")):
        return f"does not say {case.says}: {detail}"
    return ""


def _fault_of_picture(case: Case, answer: Answer) -> str:
    """Outside the hole every pixel is as it was sent; inside something was painted."""
    assert case.pixels is not None
    got = np.asarray(Image.open(io.BytesIO(answer.body)))
    got = got[..., None] if got.ndim == 2 else got
    expected = case.pixels[..., None] if case.pixels.ndim == 2 else case.pixels
    if got.shape != expected.shape:
        return f"is {got.shape} instead of {expected.shape}"
    x, y, w, h = HOLE
    outside = np.ones(got.shape[:2], bool)
    outside[y : y + h, x : x + w] = False
    off = np.abs(got.astype(int) - expected)[outside].max()
    return f"differs by {off} outside the hole" if off > case.tolerance else ""
