"""A picture as the bytes that a client asked for. What the API writes itself, it writes with one of the codecs."""

from typing import Protocol

import numpy as np

from worker.codecs.jpeg import JpegWriter, encode_jpeg
from worker.codecs.png import PngWriter, encode_png
from worker.codecs.webp import encode_webp
from worker.contracts import ImageFormat
from worker.images import Picture, check_fits


class Begun(Protocol):
    """A picture whose known part is being written."""

    def finish(self, pixels: np.ndarray) -> bytes:
        """What `encode` gives for `pixels` (H, W, C), which is the picture as it was but for the rows with holes."""
        ...


def begin_encoding(picture: Picture, image_format: ImageFormat, quality: int, mask: np.ndarray) -> Begun | None:
    """Write what will not change of a picture that is completed in `mask` (H, W) now, where the format allows it."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not rows.size:
        return None
    writer: PngWriter | JpegWriter
    if image_format is ImageFormat.PNG:
        writer = PngWriter(picture.pixels)
    elif image_format is ImageFormat.JPEG:
        writer = JpegWriter(picture.pixels, quality)
    else:
        return None
    writer.begin(picture.pixels, int(rows[0]), int(rows[-1]) + 1)
    return writer


def encode(picture: Picture, image_format: ImageFormat, quality: int = 95) -> bytes:
    """The bytes of `picture` without metadata. Raises FormatLimitError.

    PNG is exact, and so is WebP at `quality` 100. JPEG has no transparency: it is put on white.
    """
    check_fits(picture.size, image_format)
    match image_format:
        case ImageFormat.PNG:
            return encode_png(picture.pixels)
        case ImageFormat.JPEG:
            return encode_jpeg(picture.pixels, quality)
        case ImageFormat.WEBP:
            return encode_webp(picture.pixels, quality)
