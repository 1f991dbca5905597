"""A PNG writer for results, faster than a general one: one filter, igzip's deflate, strips in parallel.

Pillow tries every filter on every row: 1.0 s for a photograph of 12 megapixels
on two cores, most of a request. Here each row is stored as its difference to
the row above (filter 2, `Up`), and Intel's igzip, by way of `isal`, deflates it
several times faster than zlib's quickest strategy and a little smaller.
Every decoder reads the result: it is ordinary PNG (https://www.w3.org/TR/png-3/).
"""

import os
import struct
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache

import numpy as np
from isal import isal_zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
_UP = 2
_STRIP_BYTES = 1 << 20  # small enough for a core's cache, large enough that cutting costs no compression
_LEVEL = 1
_ADLER_MODULUS = 65521


def encode_png(pixels: np.ndarray) -> bytes:
    """PNG of `pixels`: (H, W, C) uint8, C = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA; same input, same bytes."""
    return _encode(pixels, {})


class PngBegun:
    """A PNG of a picture whose rows `top` to `bottom` are not known yet; the others are written meanwhile.

    That happens in the gaps that the network leaves on the processor, so most of a large picture costs no time.
    """

    def __init__(self, pixels: np.ndarray, top: int, bottom: int) -> None:
        rows = _rows(pixels)
        # The row below the unknown ones is stored as its difference to the last of them.
        known = [span for span in _spans(pixels) if span[1] <= top or span[0] > bottom]
        self._strips = {span: _background().submit(_deflate, rows, *span) for span in known}

    def finish(self, pixels: np.ndarray) -> bytes:
        """The bytes that `encode_png` gives for `pixels`, which is the picture as it was but for the unknown rows."""
        # What is not done by now is not left to a thread that gives way to everybody.
        done = {span: strip for span, strip in self._strips.items() if not strip.cancel() and strip.done()}
        return _encode(pixels, done)


Span = tuple[int, int]
"""Rows from, to."""

Strip = tuple[bytes, int]
"""Deflated rows, and the checksum of what they expand to."""


def _encode(pixels: np.ndarray, begun: "dict[Span, Future[Strip]]") -> bytes:
    height, width, channels = pixels.shape
    rows, spans = _rows(pixels), _spans(pixels)
    missing = [span for span in spans if span not in begun]
    if len(missing) == 1:
        written = {missing[0]: _deflate(rows, *missing[0])}
    else:
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            written = dict(zip(missing, pool.map(lambda span: _deflate(rows, *span), missing), strict=True))
    strips = [written[span] if span in written else begun[span].result() for span in spans]
    # A zlib stream is a header, raw deflate blocks, and the checksum of what they expand to.
    checksum = 1
    for (top, bottom), (_, adler) in zip(spans, strips, strict=True):
        checksum = _join_adler(checksum, adler, (bottom - top) * (1 + rows.shape[1]))
    bodies = [body for body, _ in strips]
    bodies[0] = b"\x78\x01" + bodies[0]
    bodies[-1] += struct.pack(">I", checksum)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPE[channels], 0, 0, 0)
    chunks = [_chunk(b"IHDR", header), *(_chunk(b"IDAT", body) for body in bodies), _chunk(b"IEND", b"")]
    return b"".join([_SIGNATURE, *(part for chunk in chunks for part in chunk)])


def _rows(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape(pixels.shape[0], -1)


def _spans(pixels: np.ndarray) -> list[Span]:
    """The strips of a picture."""
    height, width, channels = pixels.shape
    step = max(1, _STRIP_BYTES // (1 + width * channels))
    return [(top, min(height, top + step)) for top in range(0, height, step)]


@cache
def _background() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "png", initializer=_give_way)


def _give_way() -> None:
    """Have this thread run when no other wants to, where the system can (Linux).

    Niceness does not do: a nice thread keeps its core to the end of its slice, and the network's other threads wait.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))


def _deflate(rows: np.ndarray, top: int, bottom: int) -> Strip:
    """Rows `top` to `bottom` of (H, W * C) as raw deflate blocks, on a byte boundary, so that strips may be joined."""
    filtered = _filter_up(rows, top, bottom).reshape(-1).data
    deflate = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS)
    end = isal_zlib.Z_FINISH if bottom == len(rows) else isal_zlib.Z_SYNC_FLUSH
    return deflate.compress(filtered) + deflate.flush(end), isal_zlib.adler32(filtered)


def _filter_up(rows: np.ndarray, top: int, bottom: int) -> np.ndarray:
    """(n, 1 + W * C) uint8: each row as its filter's number and its difference, modulo 256, to the row above."""
    filtered = np.empty((bottom - top, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = _UP
    if top == 0:
        filtered[0, 1:] = rows[0]
        np.subtract(rows[1:bottom], rows[: bottom - 1], out=filtered[1:, 1:])
    else:
        np.subtract(rows[top:bottom], rows[top - 1 : bottom - 1], out=filtered[:, 1:])
    return filtered


def _join_adler(first: int, second: int, length: int) -> int:
    """Adler-32 of two texts, one after the other, from that of each; `length` bytes are in the second (RFC 1950)."""
    total = ((first & 0xFFFF) + (second & 0xFFFF) - 1) % _ADLER_MODULUS
    weighted = ((first >> 16) + (second >> 16) + length * ((first & 0xFFFF) - 1)) % _ADLER_MODULUS
    return weighted << 16 | total


def _chunk(name: bytes, body: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    checksum = isal_zlib.crc32(body, isal_zlib.crc32(name))
    return struct.pack(">I", len(body)), name, body, struct.pack(">I", checksum)
