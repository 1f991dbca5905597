"""The thread of a worker process that keeps its leases alive and says that it lives."""

import logging
import threading
import time
from collections.abc import Callable

from worker.connection import OUTAGES
from worker.ledger import Lease, Ledger, RenewState, WorkerInfo

_ANNOUNCE_SECONDS = 3.0

_log = logging.getLogger(__name__)


class Heartbeat:
    """Renews every held lease several times in its life, and announces the worker.

    It goes on while the broker is away: the ledger takes a late renewal as long as nobody else has the job.
    """

    def __init__(self, ledger: Ledger, info: Callable[[], WorkerInfo], lease_seconds: float) -> None:
        self._ledger = ledger
        self._info = info
        self._interval = min(1.0, lease_seconds / 5)  # also how soon a running job hears that it is cancelled
        self._ttl = max(4 * _ANNOUNCE_SECONDS, lease_seconds)
        self._states: dict[str, RenewState] = {}
        self._leases: dict[str, Lease] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin; the thread ends with the process, or at `stop`."""
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Renew and announce nothing any more."""
        self._stopped.set()

    def hold(self, lease: Lease) -> None:
        """Renew this lease from now on."""
        with self._lock:
            self._leases[lease.token] = lease
            self._states[lease.token] = RenewState.HELD

    def drop(self, lease: Lease) -> None:
        """Renew it no more."""
        with self._lock:
            self._leases.pop(lease.token, None)
            self._states.pop(lease.token, None)

    def state(self, lease: Lease) -> RenewState:
        """What the last renewal said. A lease that is not held here is lost."""
        return self._states.get(lease.token, RenewState.LOST)

    def _beat(self) -> None:
        announce_at = 0.0
        away = False
        while not self._stopped.is_set():
            try:
                if time.monotonic() >= announce_at:
                    info = self._info()
                    self._ledger.announce(info.id, info, self._ttl)
                    announce_at = time.monotonic() + _ANNOUNCE_SECONDS
                self._renew()
                away = False
            except OUTAGES as error:
                if not away:
                    _log.warning("The broker is away: %s", error)
                away = True
            except Exception:  # a worker without a heartbeat is taken for dead while it works
                _log.exception("The heartbeat failed, and goes on")
            self._stopped.wait(self._interval)

    def _renew(self) -> None:
        with self._lock:
            leases = [lease for token, lease in self._leases.items() if self._states[token] is not RenewState.LOST]
        for lease in leases:
            state = self._ledger.renew(lease)
            with self._lock:
                if lease.token in self._states:
                    self._states[lease.token] = state
