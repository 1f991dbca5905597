"""A reader for the PNG that most masks are: grey, 8 bits or 1, rows plain or as differences to what is beside or above.

Pillow takes 46 ms for a mask of 12 megapixels, longer than the photograph takes, and this 5: igzip inflates it, and
most of its rows are plain. Whatever is not just so is left to Pillow, also to say what is wrong with it.
"""

import struct

import numpy as np
from isal import isal_zlib

from worker.codecs.png import SIGNATURE

_NO_MATTER = (b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"bKGD", b"tIME")
"""Chunks that say nothing about a mask. A text may: which way is up; and so does `tRNS`: what is see-through."""
_GREY = bytes(4)  # and deflate, the five filters, not interlaced
_PLAIN, _LEFT, _UP = 0, 1, 2
_MOST_CHUNKS, _MOST_FILTERED = 10_000, 20_000  # which Python goes through one by one


def read_grey_png(data: bytes) -> np.ndarray | None:
    """(H, W) uint8 of such a PNG, None of any other bytes; takes no more memory than the size in its header says."""
    chunks = _chunks(data)
    if chunks is None or chunks[0][0] != b"IHDR" or chunks[-1] != (b"IEND", b""):
        return None
    header, inner = chunks[0][1], chunks[1:-1]
    if len(header) != 13 or header[9:] != _GREY or not all(name == b"IDAT" or name in _NO_MATTER for name, _ in inner):
        return None
    width, height, depth = struct.unpack_from(">IIB", header)
    if depth not in (1, 8):
        return None
    stride = 1 + (width * depth + 7) // 8
    rows = _inflate(b"".join(body for name, body in inner if name == b"IDAT"), height * stride)
    pixels = None if rows is None else _unfilter(rows.reshape(height, stride))
    if pixels is None or depth == 8:
        return pixels
    return np.unpackbits(pixels, axis=1, count=width) * np.uint8(255)


def _chunks(data: bytes) -> list[tuple[bytes, bytes]] | None:
    """Name and content of each up to the last; None where they break off."""
    if not data.startswith(SIGNATURE):
        return None
    found: list[tuple[bytes, bytes]] = []
    at = len(SIGNATURE)
    while not found or found[-1][0] != b"IEND":
        if at + 12 > len(data) or len(found) == _MOST_CHUNKS:
            return None
        length, name = struct.unpack_from(">I4s", data, at)
        found.append((name, data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found if at <= len(data) else None


def _inflate(deflated: bytes, length: int) -> np.ndarray | None:
    """(length,) uint8; None where it is damaged, or expands to less or more."""
    stream = isal_zlib.decompressobj()
    try:
        inflated = stream.decompress(deflated, length + 1)
    except isal_zlib.error:  # type: ignore[misc]  # which its stub calls an instance
        return None
    return np.frombuffer(inflated, np.uint8) if stream.eof and len(inflated) == length else None


def _unfilter(rows: np.ndarray) -> np.ndarray | None:
    """(H, n) uint8 from (H, 1 + n), the number of its filter before each row; None where one weighs several bytes."""
    filters, pixels = rows[:, 0], rows[:, 1:]
    filtered = np.flatnonzero(filters != _PLAIN)
    if filters.max() > _UP or filtered.size > _MOST_FILTERED:
        return None
    if filtered.size:
        pixels = pixels.copy()
    for row in filtered:
        if filters[row] == _LEFT:
            np.add.accumulate(pixels[row], out=pixels[row])
        elif row:
            pixels[row] += pixels[row - 1]
    return pixels
