"""`training`: a job trains a model in a process of its own, which this module watches over.

    job -> run folder -> python -m models.training.start (under torchrun for several) -> log -> ledger
                                   SIGTERM: checkpoint after the step under way

The training process dies with the worker. The next worker that gets the job
goes on from the last checkpoint, because the run's folder says where that is.
"""

import contextlib
import json
import logging
import os
import signal
import subprocess  # nosec B404: our own module, arguments as JSON
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from models.catalog import UnknownModelError
from models.training.errors import DivergedError, OptionsError, TrainingError, UnsavedError
from models.training.families import options_for
from worker.contracts import Failure, FailureType, Result, TrainingRequest
from worker.datasets import DatasetsError, UnknownDatasetError, path_of
from worker.processes import die_with_parent
from worker.runs import LogTail, Runs
from worker.settings import WorkerSettings
from worker.shared import RunKeeper, open_catalog, open_storage
from worker.storage import Storage
from worker.work import Work

_LOOK_SECONDS: Final = 0.1
_GRACE_SECONDS: Final = 25.0
"""How long a process may take for its last step and checkpoint; below the 30 s that a stopping worker has."""

_FINISHED, _STOPPED = 0, 75  # exit statuses of models.training.start
_OPERATORS: Final = ("device", "threads")
_MESSAGE_LENGTH: Final = 1000
_KILLED: Final = Failure(
    type="out-of-memory",
    detail="It was killed each time, most likely for want of memory. Resume with a smaller batch_size.",
)
_FAILURES: Final[dict[str, FailureType]] = {
    TrainingError.told: "bad-input",
    DivergedError.told: "diverged",
    UnsavedError.told: "not-saved",
}
"""By how a training process begins its last words."""
_NOT_DETAILS: Final = frozenset({"step", "of", "time", "done", "total"})

_log = logging.getLogger(__name__)


def check_request(request: TrainingRequest, settings: WorkerSettings) -> None:
    """Whether it can be run, without torch. Raises OptionsError, UnknownDatasetError, DatasetsError."""
    reserved = sorted(set(_OPERATORS) & request.overrides.keys())
    if reserved:
        raise OptionsError(f"{', '.join(reserved)}: where a run computes is the operator's choice. Leave it out.")
    options_for(request.family, request.preset, request.overrides)
    path_of(request.dataset, settings)


def run(work: Work, settings: WorkerSettings) -> None:
    """Train until the run has finished, is cancelled, fails, or the worker has to stop; settles `work`."""
    request = work.job.request
    if not isinstance(request, TrainingRequest):
        raise TypeError(f"A {request.kind} job came to the training worker.")
    try:
        check_request(request, settings)
        data = path_of(request.dataset, settings)
    except (OptionsError, UnknownDatasetError, DatasetsError) as error:
        work.fail(Failure(type="bad-input", detail=str(error)))
        return
    runs = Runs(settings.runs_dir)
    run_id = request.run or work.job.id
    keeper = RunKeeper(settings, run_id)
    folder = runs.folder(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    keeper.bring()
    _bring_weights(request, settings)
    with tempfile.TemporaryFile() as errors:
        with _training_process(_arguments(request, data, folder, settings), settings, errors) as process:
            asked_to_stop = _follow(process, work, LogTail(folder / "log.jsonl"), keeper)
        # A client knows a data set by its name, and where things lie is the operator's business.
        names = {data: f"'{request.dataset}'", folder: "the run's folder", settings.data_dir: "the data folder"}
        _settle(work, process.returncode, asked_to_stop, runs, run_id, errors, names, open_storage(settings))


def _arguments(request: TrainingRequest, data: Path, folder: Path, settings: WorkerSettings) -> dict[str, Any]:
    where: dict[str, Any] = {"device": settings.device}
    if settings.threads:
        where["threads"] = settings.threads
    return {
        "family": request.family,
        "data": str(data.resolve()),
        "out": str(folder.resolve()),
        "preset": request.preset,
        "overrides": request.overrides | where,
        "resume": True,
        "store": str(settings.weights_dir.resolve()),
    }


@contextlib.contextmanager
def _training_process(
    arguments: dict[str, Any], settings: WorkerSettings, errors: IO[bytes]
) -> Iterator["subprocess.Popen[bytes]"]:
    """The process, which is gone when the block is left, whatever happened in it."""
    module = ["models.training.start", json.dumps(arguments)]
    launcher = ["-m"]
    if settings.training_processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={settings.training_processes}"]
        launcher.append("-m")
    environment = os.environ | {"DATA_DIR": str(settings.data_dir.resolve()), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(  # nosec B603: no shell; the only words from outside are inside the JSON
        [sys.executable, *launcher, *module],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        preexec_fn=partial(die_with_parent, os.getpid()),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _bring_weights(request: TrainingRequest, settings: WorkerSettings) -> None:
    """Where it starts from weights that were promoted on another host, have them here."""
    if init := request.overrides.get("init"):
        catalog = open_catalog(settings)
        with contextlib.suppress(UnknownModelError):  # the training process says so, in a sentence
            catalog.weights_path(catalog.get(str(init)))


def _follow(process: "subprocess.Popen[bytes]", work: Work, log: LogTail, keeper: RunKeeper) -> bool:
    """Pass on what the process tells, and keep what it writes, until it ends; whether it was asked to."""
    log.skip()  # of an earlier attempt
    teller, kill_at = _Teller(work), 0.0
    while process.poll() is None:
        keeper.keep()
        teller.tell(log.read())
        if not kill_at and (work.cancelled() or work.stopping()):
            process.send_signal(signal.SIGTERM)
            kill_at = time.monotonic() + _GRACE_SECONDS
        elif kill_at and time.monotonic() > kill_at:
            process.kill()  # what the last checkpoint holds is kept
        time.sleep(_LOOK_SECONDS)
    keeper.keep(hurry=True)
    teller.tell(log.read())
    return bool(kill_at)


class _Teller:
    """From the run's log to the ledger: the latest of each figure, so that a preview does not hide the losses."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._done, self._total = 0, 1
        self._details: dict[str, Any] = {}

    def tell(self, lines: Sequence[dict[str, Any]]) -> None:
        """Several lines make one progress."""
        for line in lines:
            self._done, self._total = int(line["step"]), int(line.get("of", self._total))
            self._details |= {name: value for name, value in line.items() if name not in _NOT_DETAILS}
        if any(line["event"] == "checkpoint" for line in lines):
            self._work.keep()
        if lines:
            self._work.progress(self._done, self._total, str(self._details.get("phase", "")), self._details)


def _settle(
    work: Work,
    status: int,
    asked_to_stop: bool,
    runs: Runs,
    run_id: str,
    errors: IO[bytes],
    names: dict[Path, str],
    storage: Storage,
) -> None:
    if status == _FINISHED:
        exported = runs.export(run_id)
        if exported is None:
            work.fail(Failure(type="internal", detail="The run finished without weights; the worker's log has more."))
            return
        card, _ = exported
        key = f"results/{work.job.id}"
        storage.put(key, card.model_dump_json(indent=2).encode())
        work.succeed(Result(key=key, media_type="application/json", model=card.reference))
    elif asked_to_stop and work.cancelled():
        work.acknowledge_cancel()
    elif asked_to_stop or status in (_STOPPED, -signal.SIGTERM):  # the latter before it could listen to signals
        work.release()  # the worker stops, or somebody stopped the process: it goes on elsewhere, or later
    elif status == -signal.SIGKILL:  # by somebody, or by the kernel that had no more memory: the next attempt tells
        work.lose(_KILLED)
    else:
        work.fail(_failure(status, errors, names))


def _failure(status: int, errors: IO[bytes], names: dict[Path, str]) -> Failure:
    """What to tell the person who started the run: the process's own last words, with `names` for paths."""
    errors.seek(0)
    told = errors.read().decode(errors="replace")
    for path, name in names.items():
        told = told.replace(str(path.resolve()), name)
    lines = [line for line in told.splitlines() if line.strip()]
    for line in reversed(lines):
        head, _, detail = line.partition(": ")
        if head in _FAILURES:
            return Failure(type=_FAILURES[head], detail=detail[:_MESSAGE_LENGTH])
    _log.error("The training process ended:\n%s", "\n".join(lines[-40:]))  # the operator's, not the client's
    last = lines[-1] if lines else "it said nothing"
    return Failure(type="internal", detail=f"The training process ended with status {status}: {last}"[:_MESSAGE_LENGTH])
