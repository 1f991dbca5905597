"""A reader for the PNG that most masks are: flat areas, whose rows are stored plain or as differences to the pixels on
their left or above.

Pillow takes 46 ms for a mask of 12 megapixels in grey, 180 to 300 in colours, longer than the photograph takes; this
takes 5, and 35 to 60: igzip inflates it, and most of its rows are plain or repeat others. Whatever is not just so is
left to Pillow, also to say what is wrong with it.
"""

import struct

import numpy as np
from isal import isal_zlib

from worker.codecs.png import COLOUR_TYPES, SIGNATURE

_NO_MATTER = (b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"bKGD", b"tIME")
"""Chunks that say nothing about a mask. A text may: which way is up; and so does `tRNS`: what is see-through."""
_CHANNELS = {colour: channels for channels, colour in COLOUR_TYPES.items()}
_ORDINARY = bytes(3)  # deflate, the five filters, not interlaced
_PLAIN, _LEFT, _UP, _PAETH = 0, 1, 2, 4
_MOST_CHUNKS, _MOST_FILTERED = 10_000, 20_000  # which Python goes through one by one


def read_plain_png(data: bytes) -> np.ndarray | None:
    """(H, W, C) uint8 of such a PNG, C = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA, of 8 bits or grey of 1.

    None of any other bytes. Takes no more memory than the size in its header says.
    """
    chunks = _chunks(data)
    if chunks is None or chunks[0][0] != b"IHDR" or chunks[-1] != (b"IEND", b""):
        return None
    header, inner = chunks[0][1], chunks[1:-1]
    if len(header) != 13 or header[10:] != _ORDINARY:
        return None
    if not all(name == b"IDAT" or name in _NO_MATTER for name, _ in inner):
        return None
    width, height, depth, colour = struct.unpack_from(">IIBB", header)
    channels = _CHANNELS.get(colour, 0)
    if not channels or not (depth == 8 or (depth, colour) == (1, 0)):
        return None
    stride = (width * channels * depth + 7) // 8
    rows = _inflate(b"".join(body for name, body in inner if name == b"IDAT"), height * (1 + stride))
    pixels = None if rows is None else _unfilter(rows.reshape(height, 1 + stride), channels)
    if pixels is None:
        return None
    if depth == 1:
        pixels = np.unpackbits(pixels, axis=1, count=width) * np.uint8(255)
    return pixels.reshape(height, width, channels)


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


def _unfilter(rows: np.ndarray, channels: int) -> np.ndarray | None:
    """(H, n) uint8 from (H, 1 + n), the number of its filter before each row; None where one weighs several pixels."""
    filters, pixels = rows[:, 0], rows[:, 1:]
    filtered = np.flatnonzero(filters != _PLAIN)
    if filtered.size > _MOST_FILTERED:
        return None
    if filtered.size:
        pixels = pixels.copy()
    for number in filtered:
        row, above = pixels[number], pixels[number - 1] if number else np.zeros_like(pixels[0])
        kind = filters[number]
        if kind == _UP:
            row += above
            continue
        across, level = row.reshape(-1, channels), above.reshape(-1, channels)
        if kind == _PAETH and (level == level[0]).all():
            across[0] += level[0]  # below an even row it means the pixel on the left, and for the first the one above
        elif kind != _LEFT:
            return None
        if row.any():
            np.add.accumulate(across, axis=0, out=across)
    return pixels
