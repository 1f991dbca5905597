"""Wakes the requests that wait for a job: one subscription for the whole process, however many wait."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
import redis
import redis.asyncio

from worker.connection import SOCKET_OPTIONS
from worker.contracts import ENDS, Job
from worker.ledger import CHANNEL, Told

_RECONNECT_SECONDS = 0.5
_ENDS_REMEMBERED = 4096  # of the latest jobs: longer than it takes from a look at a job to a watch on it

log = logging.getLogger(__name__)


class JobWatcher:
    """Listens on the ledger's channel, where every change of a job is told.

    A message can be missed while the broker is away, so who waits also looks
    for itself now and then: `Watch.changed` returns after a while in any case.
    """

    def __init__(self, redis_url: str, poll_seconds: float = 1.0) -> None:
        self._redis_url = redis_url
        self._poll_seconds = poll_seconds
        self._watches: dict[str, set[Watch]] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["JobWatcher"]:
        """Listens for as long as the context is open."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen)
            yield self
            # anyio cancels until the task has ended; redis-py takes a single cancellation for a lost connection.
            tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def watching(self, job_id: str, *, for_its_end: bool = False) -> AsyncIterator["Watch"]:
        """A watch on one job. Open it before the first look at the job: then no change falls between.

        One `for_its_end` wakes for nothing else, and may be opened after that look: it wakes for an end before, too.
        """
        watch = Watch(self._poll_seconds, for_its_end=for_its_end)
        self._watches.setdefault(job_id, set()).add(watch)
        if job_id in self._ended:
            watch.wake()
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
                            self._hear(message["data"])
            except (redis.RedisError, OSError) as error:
                if not away:
                    log.warning("The broker is away, waiting requests look for themselves: %s", error)
                away = True
            await asyncio.sleep(_RECONNECT_SECONDS)

    def _hear(self, message: str) -> None:
        told = Told.read(message)
        if told.what in ENDS:
            self._ended[told.job_id] = None
            if len(self._ended) > _ENDS_REMEMBERED:
                self._ended.popitem(last=False)
        for watch in self._watches.get(told.job_id, ()):
            if told.what in ENDS:
                watch.wake(told.ended())
            elif not watch.for_its_end:
                watch.wake()

    def _wake_all(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.wake()


class Watch:
    """One request's view of one job."""

    def __init__(self, poll_seconds: float, *, for_its_end: bool) -> None:
        self.for_its_end = for_its_end
        self._event = asyncio.Event()
        self._ended: Job | None = None
        self._poll_seconds = poll_seconds

    def wake(self, ended: Job | None = None) -> None:
        """Something happened to the job; where it ended, it stays as `ended`, if that is known."""
        self._ended = self._ended or ended
        self._event.set()

    async def changed(self, seconds: float) -> Job | None:
        """Returns when something happened since the last call, or it is time to look, or after `seconds`: the job if
        it ended and was told, None where who wants to know has to look."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), min(seconds, self._poll_seconds))
        self._event.clear()
        return self._ended
