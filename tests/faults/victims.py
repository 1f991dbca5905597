"""The processes of a service, and what is done to them: killed, asked to stop, frozen, cut off from their broker."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.service import Service, until

VICTIMS: dict[str, tuple[tuple[str, ...], bool]] = {
    "inference worker": (("app.commands.worker", " inference "), False),
    "inference child": (("app.commands.worker", " inference "), True),
    "training worker": (("app.commands.worker", " training "), False),
    "training child": (("app.commands.worker", " training "), True),
    "training process": (("models.training.start",), False),
    "broker": (("valkey-server",), False),
    "API": (("app.commands.api",), False),
}
"""By name: the words of the command line, and whether it is that process's child which computes."""

SUPERVISOR = "supervisor"
KILLED = {
    **dict.fromkeys(VICTIMS, 2),
    "inference child": 5,
    "inference worker": 3,
    "API": 3,
    "broker": 3,
    SUPERVISOR: 1,
}
FROZEN = {**dict.fromkeys(VICTIMS, 1), "inference child": 3, "broker": 2, "API": 2}
"""How often each is chosen, relative to the others."""

_BEYOND_A_LEASE = 20.0


@dataclass(frozen=True)
class Fault:
    """What is done, to which victim, for how long."""

    name: str
    victim: str
    seconds: float = 0.0

    @property
    def kills(self) -> bool:
        return self.name in ("SIGKILL", "SIGTERM")


def choose(rng: random.Random, *, frozen: bool, due: Collection[str] = ()) -> Fault:
    """The next fault: a process frozen for a while, one time in six for longer than a lease, or one ended.

    Its victim is one of those that are `due`, where any are.
    """
    chances = FROZEN if frozen else KILLED
    victim = rng.choice(sorted(due)) if due else rng.choices(list(chances), list(chances.values()))[0]
    if frozen:
        return Fault("SIGSTOP", victim, _BEYOND_A_LEASE if rng.random() < 1 / 6 else rng.uniform(0.3, 6))
    return Fault(rng.choices(("SIGKILL", "SIGTERM"), (3, 1))[0], victim)


class Victims:
    """The processes below one supervisor. `start` makes the service again, after its supervisor was ended."""

    def __init__(self, start: Callable[[], Service]) -> None:
        self._start = start
        self._thaws: list[threading.Thread] = []
        self.service = start()

    def find(self, victim: str) -> int | None:
        """Its process id; None while it is not there."""
        if victim == SUPERVISOR:
            return self.service.process.pid
        words, child = VICTIMS[victim]
        pid = self.service.pid(*words)
        return self.service.pid("spawn_main", parent=pid) if child and pid else pid

    def suffer(self, fault: Fault, patience: float = 2.0) -> bool:
        """Does it; False where the victim does not come within `patience` seconds."""
        deadline = time.monotonic() + patience
        while (pid := self.find(fault.victim)) is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        try:
            os.kill(pid, signal.Signals[fault.name])
        except ProcessLookupError:
            return False  # it ended by itself meanwhile
        if fault.name == "SIGSTOP":
            self._thaws.append(threading.Thread(target=_thaw_later, args=(pid, fault.seconds)))
            self._thaws[-1].start()
        elif fault.victim == SUPERVISOR:
            self._start_again()
        return True

    def without_broker(self, seconds: float) -> None:
        """The broker is gone, and nobody starts it again before `seconds` are over."""
        self.service.process.send_signal(signal.SIGSTOP)
        pid = self.find("broker")
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        time.sleep(seconds)
        self.service.process.send_signal(signal.SIGCONT)

    def settle(self) -> None:
        """Waits until nobody is frozen."""
        for thaw in self._thaws:
            thaw.join()
        self._thaws.clear()

    def end(self) -> int:
        """Stops the service; its exit code. Nothing of it may be left."""
        self.settle()
        code = self.service.stop()
        assert not self.service.processes(), self.service.processes()
        return code

    def _start_again(self) -> None:
        """As an operator does, once all that was below the supervisor has gone with it. Who is frozen cannot go."""
        self.service.process.wait(60)
        self.settle()
        until(lambda: not self.service.processes(), 10, self.service.processes)
        self.service = self._start()


def _thaw_later(pid: int, seconds: float) -> None:
    time.sleep(seconds)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def peak_memory(pid: int) -> int:
    """The most memory the process has had, in MiB."""
    for line in Path("/proc", str(pid), "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    return 0
