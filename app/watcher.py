"""Wakes the requests that wait for a job: one subscription for the whole process, however many wait."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
import redis
import redis.asyncio

from worker.connection import SOCKET_OPTIONS
from worker.ledger import CHANNEL

_RECONNECT_SECONDS = 0.5

log = logging.getLogger(__name__)


class JobWatcher:
    """Listens on the ledger's channel, where every change of a job is told by the job's id.

    A message can be missed while the broker is away, so who waits also looks
    for itself now and then: `Watch.changed` returns after a while in any case.
    """

    def __init__(self, redis_url: str, poll_seconds: float = 1.0) -> None:
        self._redis_url = redis_url
        self._poll_seconds = poll_seconds
        self._watches: dict[str, set[Watch]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator["JobWatcher"]:
        """Listens for as long as the context is open."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen)
            yield self
            # anyio cancels until the task has ended; redis-py takes a single cancellation for a lost connection.
            tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def watching(self, job_id: str) -> AsyncIterator["Watch"]:
        """A watch on one job. Open it before the first look at the job: then no change falls between."""
        watch = Watch(self._poll_seconds)
        self._watches.setdefault(job_id, set()).add(watch)
        try:
            yield watch
        finally:
            watches = self._watches[job_id]
            watches.discard(watch)
            if not watches:
                del self._watches[job_id]

    async def _listen(self) -> None:
        away = False
        while True:
            client = redis.asyncio.Redis.from_url(self._redis_url, decode_responses=True, **SOCKET_OPTIONS)
            try:
                async with client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(CHANNEL)
                    away = False
                    self._wake_all()  # whatever was told while nobody listened
                    while True:
                        message = await pubsub.get_message(timeout=5)
                        if message is not None:
                            self._wake(message["data"])
            except (redis.RedisError, OSError) as error:
                if not away:
                    log.warning("The broker is away, waiting requests look for themselves: %s", error)
                away = True
            await asyncio.sleep(_RECONNECT_SECONDS)

    def _wake(self, job_id: str) -> None:
        for watch in self._watches.get(job_id, ()):
            watch.wake()

    def _wake_all(self) -> None:
        for job_id in self._watches:
            self._wake(job_id)


class Watch:
    """One request's view of one job."""

    def __init__(self, poll_seconds: float) -> None:
        self._event = asyncio.Event()
        self._poll_seconds = poll_seconds

    def wake(self) -> None:
        """Something happened to the job."""
        self._event.set()

    async def changed(self, seconds: float) -> None:
        """Returns when something happened since the last call, or it is time to look, or after `seconds`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), min(seconds, self._poll_seconds))
        self._event.clear()
