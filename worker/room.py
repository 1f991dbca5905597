"""How full storage and broker are, and what is done about it: the oldest results make room; what is still too much is
refused.

used < 90 % of the quota      nothing
90 % and more                 sheets, which can be drawn again, and the results that ended longest ago are removed
100 %, or too little free     the ledger accepts no job until there is room
90 % of the broker's memory   the jobs that ended longest ago are forgotten, with their results
"""

import logging
from typing import Final

from worker.ledger import Ledger, Room
from worker.settings import WorkerSettings
from worker.storage import Storage

FOLDERS: Final = ("inputs", "results", "samples")

_EARLY: Final = 0.9
_AT_ONCE: Final = 100
_FETCHED_SECONDS: Final = 60.0
"""A result stays for so long at least, so that whoever waited for it gets it."""

_log = logging.getLogger(__name__)


def make_room(
    storage: Storage, ledger: Ledger, settings: WorkerSettings, fetched_seconds: float = _FETCHED_SECONDS
) -> Room:
    """Measure, tell the ledger, and remove what has to go; the figures are those of before.

    Call it again soon while it was more than 90 %: it removes a hundred results at most.
    """
    quota, least = settings.storage_quota_bytes, settings.storage_free_bytes
    used, free = storage.used(*FOLDERS), storage.free()
    taken, limit = ledger.memory()
    full = (quota is not None and used >= quota) or (free is not None and free < least)
    room = Room(used, free, full, broker=taken / limit if limit else 0.0)
    ledger.note_room(room)
    if is_tight(room, settings):
        sheets = storage.expire("samples", 0)
        jobs = ledger.evict(_AT_ONCE, fetched_seconds)
        for job_id in jobs:
            storage.delete(f"results/{job_id}")
        if sheets or jobs:
            _log.warning("To make room, %d results and %d sheets were removed", len(jobs), len(sheets))
    return room


def is_tight(room: Room, settings: WorkerSettings) -> bool:
    """Whether results have to go."""
    quota, least = settings.storage_quota_bytes, settings.storage_free_bytes
    over = quota is not None and room.used >= _EARLY * quota
    return over or room.broker >= _EARLY or (room.free is not None and room.free < least / _EARLY)
