"""`inpaint worker`: run the jobs of one queue, on this host or in a container."""

import os
import socket
import sys
import warnings
from uuid import uuid4

from celery.platforms import SecurityWarning

from worker.celery_app import QUEUE_VARIABLE, TASKS, make_celery
from worker.connection import OUTAGES, connect
from worker.ledger import Ledger
from worker.logs import configure_logs
from worker.settings import WorkerSettings
from worker.tasks import NODE_VARIABLE, START_VARIABLE
from worker.watch import install


def worker(queue: str, name: str | None = None, check: bool = False, log_level: str | None = None) -> None:
    """Take jobs of `queue` (`inference` or `training`) until SIGTERM or Ctrl-C; what runs is finished first.

    `name` tells this worker from all others that share its broker, and should stay the same when it is started
    again; by default it is made of queue, host and process id. With `check`, only say by the exit code whether a
    worker of that queue and host (or name) lives and has loaded its networks.
    """
    if queue not in TASKS:
        raise SystemExit(f"There is no queue '{queue}'. Queues: {', '.join(TASKS)}.")
    settings = WorkerSettings.read()
    if check:
        _check(settings, name or _host_name(queue))
        return
    node = name or f"{_host_name(queue)}-{os.getpid()}"
    start = uuid4().hex[:8]
    os.environ |= {NODE_VARIABLE: node, START_VARIABLE: start, QUEUE_VARIABLE: queue}
    if log_level is not None:
        os.environ["LOG_LEVEL"] = log_level  # for the processes that run the jobs, too
    configure_logs(queue)
    # Celery warns root because a message could carry code; ours are JSON, and an id alone.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    celery = make_celery(settings)
    install(celery, node, start, queue, settings)
    celery.worker_main(
        [
            "--quiet",
            "worker",
            f"--queues={queue}",
            f"--hostname={node}@%h",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )


def _host_name(queue: str) -> str:
    return f"{queue}-{socket.gethostname()}"


def _check(settings: WorkerSettings, prefix: str) -> None:
    try:
        living = [info.id for info in Ledger(connect(settings.redis_url, 0), settings).workers()]
    except OUTAGES as error:
        raise SystemExit(f"The broker cannot be reached: {error}") from None
    if not any(worker_id.startswith(prefix) for worker_id in living):
        raise SystemExit(f"No worker '{prefix}' is ready.")


if __name__ == "__main__":
    worker(sys.argv[1], sys.argv[2])
