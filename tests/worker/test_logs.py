"""Log lines: one format for all that logs, with the job and the trace they belong to."""

import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from worker.contracts import InpaintRequest, Job
from worker.logs import LogSettings, bound, configure_logs
from worker.trace import Trace
from worker.work import trace_id

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    logging.captureWarnings(False)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_each_line_is_an_object_that_says_what_it_belongs_to(capsys: pytest.CaptureFixture[str]) -> None:
    """Time, level, message, process and logger; what is bound, and what the call adds, which goes first."""
    configure_logs("api", LogSettings(log_format="json"))
    log = logging.getLogger("some.module")
    with bound(job="a", trace="t", owner=""):
        log.info("Took %d", 3, extra={"job": "b", "path": "/x"})
        log.debug("not told")
    log.warning("outside")
    inside, outside = lines(capsys)
    assert list(inside)[:6] == ["time", "level", "message", "process", "pid", "logger"]
    assert inside | {"time": "", "pid": 0} == {
        "time": "", "level": "info", "message": "Took 3", "process": "api", "pid": 0, "logger": "some.module",
        "job": "b", "trace": "t", "path": "/x",
    }  # fmt: skip
    assert "job" not in outside
    assert outside["time"].endswith("Z")


def test_errors_and_warnings_are_lines_too(capsys: pytest.CaptureFixture[str]) -> None:
    """A stack trace is one field of one line; `warnings.warn` comes through the log."""
    configure_logs("inference", LogSettings(log_format="json"))
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("x").exception("It broke")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    broke, warned = lines(capsys)
    assert broke["exception"].endswith("ValueError: two\nlines")
    assert (warned["logger"], warned["level"]) == ("py.warnings", "warning")
    assert "old" in warned["message"]


def test_people_read_lines_without_braces(capsys: pytest.CaptureFixture[str]) -> None:
    """The message and the job, but no trace id, and no colours where there is no terminal."""
    configure_logs("api", LogSettings(log_format="console"))
    with bound(job="abc", trace="0af7"):
        logging.getLogger("x").info("Job succeeded")
    said = capsys.readouterr().err
    assert "Job succeeded" in said
    assert "job=abc" in said
    assert "0af7" not in said
    assert "{" not in said
    assert "\x1b" not in said


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`LOG_FORMAT` in any case; `auto` is JSON where no terminal listens; `LOG_LEVEL` is obeyed."""
    monkeypatch.setenv("LOG_FORMAT", "Auto")
    monkeypatch.setenv("LOG_LEVEL", "WARNING")
    configure_logs("api")
    logging.getLogger("x").info("not told")
    logging.getLogger("x").warning("told")
    assert [line["message"] for line in lines(capsys)] == ["told"]


def test_celery_leaves_the_format_alone() -> None:
    """Celery's own lines come out as all others do, in a worker's every process."""
    code = (
        "import logging; from worker.celery_app import celery_app;"
        "celery_app.log.setup(loglevel='INFO'); logging.getLogger('celery.worker').warning('told')"
    )
    environment = {"LOG_FORMAT": "json", "INPAINT_QUEUE": "training", "PATH": ""}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    line = json.loads(said.stderr)
    assert (line["message"], line["logger"], line["process"]) == ("told", "celery.worker", "training")


def test_a_trace_is_gone_on_with() -> None:
    """The same trace, another step of it; the flags stay."""
    trace = Trace.of(TRACEPARENT)
    assert trace is not None
    step = trace.step()
    assert (step.id, step.flags) == (trace.id, "01")
    assert step.span != trace.span
    assert Trace.of(str(step)) == step


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        TRACEPARENT.upper(),
        TRACEPARENT + "-more",
        "ff" + TRACEPARENT[2:],
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        TRACEPARENT[:-1],
    ],
)
def test_what_is_no_traceparent_is_none(header: str) -> None:
    """As the specification wants it; then a new trace begins."""
    assert Trace.of(header) is None


def test_a_later_version_is_read_as_far_as_ours_goes() -> None:
    """Version 01 may have more parts behind."""
    trace = Trace.of("01" + TRACEPARENT[2:] + "-what-the-future-brings")
    assert trace is not None
    assert trace.id == "0af7651916cd43dd8448eb211c80319c"


def test_a_jobs_trace_is_found_in_its_record() -> None:
    """Empty for a job that was made without one."""
    request = InpaintRequest(model="m@00000000", inputs_key="a")
    assert trace_id(Job(id="a", request=request, created_at=0, trace=TRACEPARENT)) == TRACEPARENT[3:35]
    assert trace_id(Job(id="a", request=request, created_at=0)) == ""
