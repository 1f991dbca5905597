"""What every process writes to standard error: one line an event, JSON for machines or coloured for people.

All that logs through the standard library comes out the same way: our modules,
uvicorn, Celery, warnings. A line carries what is bound to the work under way
(`bound`): the job's id, and the trace that its request began.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

import structlog
from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict
from structlog.typing import EventDict, Processor, WrappedLogger

from worker.settings import Settings

Level = Literal["debug", "info", "warning", "error"]

_NOISE: Final = (  # that a job was taken and done is told by the worker itself, with more
    "celery.app.trace",
    "celery.worker.strategy",
    "botocore",
    "aiobotocore",
    "s3fs",
    "fsspec",
    "urllib3",
    "asyncio",
    "PIL",
)


class LogSettings(Settings):
    """How to log."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto`: for people on a terminal, else JSON."
    )
    log_level: Level = Field(default="info", description="`debug`, `info`, `warning`, `error`.")

    @field_validator("log_format", "log_level", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value


def configure_logs(process: str, settings: LogSettings | None = None) -> None:
    """Have this process log so, from now on, under the name `process` (`api`, `inference`, `training`)."""
    settings = settings or LogSettings.read()
    json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _without_colours,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time") if json else _local_time(),
    ]
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(_for_machines(process) if json else _for_people()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    logging.captureWarnings(True)
    for name in _NOISE:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


@contextmanager
def bound(**values: str) -> Iterator[None]:
    """Every line that is logged inside, by this thread or task, carries `values` that are not empty."""
    with structlog.contextvars.bound_contextvars(**{name: value for name, value in values.items() if value}):
        yield


def _for_machines(process: str) -> list[Processor]:
    def name_process(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {"process": process, "pid": os.getpid(), **event}

    return [
        name_process,
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        _in_order,
        structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
    ]


def _for_people() -> list[Processor]:
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        timestamp_key="time",
        pad_event_to=0,
        exception_formatter=structlog.dev.plain_traceback,  # the default one prints every local variable
    )
    return [_in_short, renderer]


def _local_time() -> Processor:
    return structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False, key="time")


def _in_order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    first = ("time", "level", "message", "process", "pid", "logger")
    return {name: event[name] for name in first if name in event} | dict(event)


def _without_colours(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)  # uvicorn says everything twice
    return event


def _in_short(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for name in ("trace", "method", "path", "status"):  # of no use to who reads along, or in the message
        event.pop(name, None)
    return event
