"""The configured Celery application, and how a job's message is sent.

A message is the id of a job and nothing else: it may be lost, repeated or late
without harm, because the ledger decides who runs what.
"""

import logging
import os
from typing import Any, Final

from celery import Celery
from celery.signals import setup_logging
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from worker.connection import SOCKET_OPTIONS, celery_url
from worker.contracts import INFERENCE_QUEUE, RUN_INFERENCE, RUN_TRAINING, TRAINING_QUEUE, Job
from worker.ledger import queue_of
from worker.logs import configure_logs
from worker.settings import WorkerSettings

SOFT_LIMIT_SECONDS: Final = 60
HARD_LIMIT_SECONDS: Final = 90
"""For a task of the inference queue; training has no limit."""

TASKS: Final = {INFERENCE_QUEUE: RUN_INFERENCE, TRAINING_QUEUE: RUN_TRAINING}

QUEUE_VARIABLE: Final = "INPAINT_QUEUE"
"""How a worker's main process tells its children whose jobs they run."""

_AT_ONCE: Final = {"max_retries": 1, "interval_start": 0, "interval_step": 0}
"""Once more over a new connection: the pooled one is dead after a broker restart."""

_log = logging.getLogger(__name__)


def make_celery(settings: WorkerSettings) -> Celery:
    """An application for this broker. Making it connects to nothing."""
    celery = Celery("inpaint", broker=celery_url(settings.redis_url), include=["worker.tasks"])
    celery.conf.update(
        task_default_queue=INFERENCE_QUEUE,
        task_serializer="json",
        accept_content=["json"],
        # One job at a time per process and device; a message stays until its job is done.
        worker_concurrency=1,
        worker_prefetch_multiplier=1,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        # The ledger holds results. A result backend would make a dead broker block the sender for 19 s.
        task_ignore_result=True,
        # CUDA cannot be used after a fork.
        worker_pool="prefork",
        worker_pool_start_method="spawn",
        # A child imports torch and loads networks before it says that it is up; at the default of 4 s it is killed
        # and started in a loop on a slow disk.
        worker_proc_alive_timeout=120,
        # How long the worker waits for the result of a child that died. The ledger has its own view of that.
        worker_lost_wait=1.0,
        # SIGTERM: finish what runs, for so long at most.
        worker_soft_shutdown_timeout=30,
        worker_enable_soft_shutdown_on_idle=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_send_task_events=False,
        # Nobody sends remote control, and it can hang the worker for ever: when the broker is killed, redis-py may
        # subscribe anew inside the event loop, and then reads from a connection on which nothing will come.
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={**SOCKET_OPTIONS, "socket_keepalive": True, "retry_on_timeout": True},
    )
    return celery


def _log_as_all_else(**_: Any) -> None:
    """Celery asks in each of a worker's processes, and leaves logging alone where somebody answers."""
    configure_logs(os.environ.get(QUEUE_VARIABLE, "worker"))


setup_logging.connect(_log_as_all_else)

celery_app = make_celery(WorkerSettings.read())
"""The application of this process, from its environment."""


def publish(job: Job, celery: Celery = celery_app) -> None:
    """Send the job's id to its queue.

    Never raises for a broker that is away: the job stands in the ledger, and the workers' sweep publishes what
    waits there without a message.
    """
    publish_id(job.id, queue_of(job.request), celery)


def publish_id(job_id: str, queue: str, celery: Celery = celery_app) -> None:
    """`publish`, where the job's record is not at hand."""
    try:
        celery.send_task(TASKS[queue], args=[job_id], queue=queue, ignore_result=True, retry_policy=_AT_ONCE)
    except (OperationalError, RedisError) as error:
        _log.warning("Job %s has no message yet, the next sweep sends it: %s", job_id, error)
