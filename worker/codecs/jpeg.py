"""A JPEG writer for results: libjpeg-turbo by way of OpenCV, strips in parallel, joined by restart markers.

The pixels are those that Pillow's writer gives. Pillow keeps Python's lock while it writes, so one core at a time does;
OpenCV does not. A strip of whole MCUs (ISO/IEC 10918-1, the blocks that are coded together) is coded as a picture of
its own. What a restart marker stands between begins anew just as a picture does, so the coded parts of the strips with
such markers between them are the coded picture, under the head of the first with the height of all.
"""

import cv2
import numpy as np

from worker.codecs.strips import Strips, cut

_FULL_COLOUR_FROM = 90
"""Quality from which colour keeps its full resolution (4:4:4): halved, it shows at the border of a hole."""

_STRIP_ROWS = 64
_MOST_MCUS = 0xFFFF  # that a restart interval can say
_START, _END, _RESTART_INTERVAL = b"\xff\xd8", b"\xff\xd9", b"\xff\xdd"
_RESTARTS = [bytes((0xFF, 0xD0 + number)) for number in range(8)]
_START_OF_FRAME, _START_OF_SCAN = 0xC0, 0xDA


def encode_jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """JPEG of `pixels`: (H, W, C) uint8, C = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA; alpha is put on white.

    `quality` 1 to 100. Same input, same bytes.
    """
    return JpegWriter(pixels, quality).finish(pixels)


class JpegWriter:
    """As `encode_jpeg`, for a picture of which a part may be known before the rest is."""

    def __init__(self, pixels: np.ndarray, quality: int) -> None:
        height, width, channels = pixels.shape
        side = 8 if channels < 3 or quality >= _FULL_COLOUR_FROM else 16  # of an MCU, in pixels
        across = -(-width // side)
        down = min(_STRIP_ROWS // side, _MOST_MCUS // across)
        self._height, self._mcus = height, across * down
        self._strips = Strips(cut(height, side * down), lambda whole, *rows: _encode(whole[slice(*rows)], quality))

    def begin(self, pixels: np.ndarray, top: int, bottom: int) -> None:
        """Write meanwhile what the rows `top` to `bottom`, which are not known yet, have no part in."""
        self._strips.begin(pixels, lambda first, end: end <= top or first >= bottom)

    def finish(self, pixels: np.ndarray) -> bytes:
        """The whole JPEG."""
        strips = self._strips.finish(pixels)
        if len(strips) == 1:
            return strips[0]
        head, first = _split(strips[0])
        joined = [_START]
        for segment in head:
            if segment[1] == _START_OF_FRAME:
                segment = segment[:5] + self._height.to_bytes(2, "big") + segment[7:]
            elif segment[1] == _START_OF_SCAN:
                joined.append(_RESTART_INTERVAL + b"\x00\x04" + self._mcus.to_bytes(2, "big"))
            joined.append(segment)
        joined.append(first)
        for number, strip in enumerate(strips[1:]):
            joined += [_RESTARTS[number % 8], _split(strip)[1]]
        return b"".join([*joined, _END])


def _encode(pixels: np.ndarray, quality: int) -> bytes:
    """A JPEG of its own of one strip."""
    colour = _on_white(pixels)
    if colour.shape[2] == 3:
        # Not `cvtColor`, which shares its work out to OpenCV's threads: they would wait for one that gives way to all.
        colour = cv2.mixChannels([colour], [np.empty_like(colour)], [0, 2, 1, 1, 2, 0])[0]
    full = quality >= _FULL_COLOUR_FROM
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444 if full else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    how = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    return cv2.imencode(".jpg", colour, how)[1].tobytes()


def _on_white(pixels: np.ndarray) -> np.ndarray:
    if pixels.shape[2] in (1, 3):
        return pixels
    colour, alpha = pixels[..., :-1], pixels[..., -1:].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _split(jpeg: bytes) -> tuple[list[bytes], bytes]:
    """The segments between a JPEG's start and its coded blocks, and those blocks."""
    segments: list[bytes] = []
    at = len(_START)
    while not segments or segments[-1][1] != _START_OF_SCAN:
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")  # a length counts itself, not the marker
        segments.append(jpeg[at:end])
        at = end
    return segments, jpeg[at : -len(_END)]
