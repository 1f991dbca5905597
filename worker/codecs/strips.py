"""A picture written in strips of rows: by all cores at once, and what is known early while the network runs.

A large picture with a small hole is mostly known before the hole is: writing that costs no time, but for the gaps that
the network leaves on the processor.
"""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Generic, TypeVar

import numpy as np

Span = tuple[int, int]
"""Rows from, to."""

Strip = TypeVar("Strip")
"""What is written of the rows of a span."""


class Strips(Generic[Strip]):
    """One picture's strips; `write` makes that of the rows `top` to `bottom` of the picture, and lets other threads run
    meanwhile."""

    def __init__(self, spans: Sequence[Span], write: Callable[[np.ndarray, int, int], Strip]) -> None:
        self._spans = spans
        self._write = write
        self._begun: dict[Span, Future[Strip]] = {}

    def begin(self, pixels: np.ndarray, known: Callable[[int, int], bool]) -> None:
        """Write the strips that are `known` (asked with `top`, `bottom`) to be as in `pixels` (H, W, C), beside all
        else."""
        self._begun = {span: _background().submit(self._write, pixels, *span) for span in self._spans if known(*span)}

    def finish(self, pixels: np.ndarray) -> list[Strip]:
        """All strips of `pixels` (H, W, C), those that were begun as they are."""
        # What is not done by now is not left to a thread that gives way to everybody.
        done = {span: strip.result() for span, strip in self._begun.items() if not strip.cancel() and strip.done()}
        missing = [span for span in self._spans if span not in done]
        if len(missing) == 1:
            done[missing[0]] = self._write(pixels, *missing[0])
        else:
            with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
                done.update(zip(missing, pool.map(lambda span: self._write(pixels, *span), missing), strict=True))
        return [done[span] for span in self._spans]


def cut(height: int, rows: int) -> list[Span]:
    """A picture of so many rows in strips of `rows`, the last one what is left."""
    return [(top, min(height, top + rows)) for top in range(0, height, rows)]


@cache
def _background() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "strips", initializer=_give_way)


def _give_way() -> None:
    """Have this thread run when no other wants to, where the system can (Linux).

    Niceness does not do: a nice thread keeps its core to the end of its slice, and the network's other threads wait.
    Nor does this alone: where the thread may change its core, the system moves the network's threads out of its way.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it
            thread, cores = threading.get_native_id(), sorted(os.sched_getaffinity(0))
            os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
            os.sched_setaffinity(thread, {cores[os.getpid() % len(cores)]})
