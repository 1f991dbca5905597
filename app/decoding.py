"""Room for pictures that are being decoded: small ones side by side, a large one alone."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class DecodingRoom:
    """Bounds the memory of decoding by pixels and its CPU time by pictures; who waits is let in by turns.

    For one event loop. A picture larger than the room has it to itself.
    """

    def __init__(self, *, pixels: int, pictures: int) -> None:
        self._free_pixels = self._pixels = pixels
        self._free_places = pictures
        self._waiting: deque[tuple[int, anyio.Event]] = deque()

    @asynccontextmanager
    async def holding(self, pixels: int) -> AsyncIterator[None]:
        """Room for a picture of `pixels` while the body runs."""
        pixels = min(pixels, self._pixels)
        ticket = pixels, anyio.Event()
        self._waiting.append(ticket)
        self._let_in()
        try:
            await ticket[1].wait()
            yield
        finally:
            if ticket[1].is_set():
                self._free_pixels += pixels
                self._free_places += 1
            else:  # given up while waiting
                self._waiting.remove(ticket)
            self._let_in()

    def _let_in(self) -> None:
        """Strictly by turns: a large picture is not overtaken for ever."""
        while self._waiting and self._free_places and self._waiting[0][0] <= self._free_pixels:
            pixels, entered = self._waiting.popleft()
            self._free_pixels -= pixels
            self._free_places -= 1
            entered.set()
