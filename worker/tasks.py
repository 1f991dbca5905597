"""The tasks that a message names. A worker process makes its `Runtime` once, when it starts."""

import gc
import logging
import os
import signal
from typing import Any

from celery import shared_task
from celery.signals import worker_process_init

from worker.celery_app import HARD_LIMIT_SECONDS, QUEUE_VARIABLE, SOFT_LIMIT_SECONDS
from worker.contracts import RUN_INFERENCE, RUN_TRAINING
from worker.runtime import Runtime
from worker.settings import WorkerSettings

NODE_VARIABLE = "INPAINT_NODE"
"""How a worker's main process tells its children whose they are."""

START_VARIABLE = "INPAINT_START"
"""Likewise of which start of it."""

_runtime: Runtime | None = None

_log = logging.getLogger(__name__)


def prepare(**_: Any) -> None:
    """Load what jobs need, before the process takes the first one."""
    global _runtime
    gc.disable()  # a tenth of the time that it takes to import torch goes into looking for garbage, and there is none
    try:
        runtime = Runtime(
            WorkerSettings(), os.environ[NODE_VARIABLE], os.environ[START_VARIABLE], os.environ[QUEUE_VARIABLE]
        )
        runtime.load()
    except Exception as error:
        # Celery would go on with a process that can run nothing, and take jobs for it.
        _log.exception("The worker cannot run jobs, and ends: %s", error)
        os.kill(os.getppid(), signal.SIGKILL)
        raise
    _runtime = runtime
    gc.freeze()  # what is loaded stays: no collection needs to look at it again
    gc.enable()


def _run(job_id: str) -> None:
    if _runtime is None:
        raise RuntimeError("Jobs run in the processes of `inpaint worker`.")
    _runtime.run(job_id)


worker_process_init.connect(prepare)
shared_task(name=RUN_INFERENCE, soft_time_limit=SOFT_LIMIT_SECONDS, time_limit=HARD_LIMIT_SECONDS)(_run)
shared_task(name=RUN_TRAINING)(_run)  # takes as long as it takes
