"""Drawn pictures as bytes: one grid, single pictures in a zip, or JSON. The same pictures give the same bytes."""

import base64
import io
import json
import math
import zipfile
from enum import StrEnum
from typing import Any

import numpy as np

from worker.codecs.png import encode_png
from worker.codecs.webp import encode_webp

GAP = 2
"""White pixels between the pictures of a grid."""

_WEBP_QUALITY = 95
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say; now would change the bytes


class SheetFormat(StrEnum):
    """How drawn pictures are sent."""

    PNG = "png"
    WEBP = "webp"
    ZIP = "zip"
    JSON = "json"


SHEET_TYPES = {
    SheetFormat.PNG: "image/png",
    SheetFormat.WEBP: "image/webp",
    SheetFormat.ZIP: "application/zip",
    SheetFormat.JSON: "application/json",
}


def write_sheet(
    pictures: np.ndarray, sheet_format: SheetFormat, columns: int | None = None, about: dict[str, Any] | None = None
) -> bytes:
    """pictures: (n, H, W, C) uint8, C 1 (grey) or 3 (RGB).

    columns: of a grid; as square as can be where it is None. about: more members for the JSON, such as model and seed.
    """
    match sheet_format:
        case SheetFormat.PNG:
            return encode_png(grid(pictures, columns))
        case SheetFormat.WEBP:
            return encode_webp(grid(pictures, columns), _WEBP_QUALITY)
        case SheetFormat.ZIP:
            return _zip(pictures)
        case SheetFormat.JSON:
            images = [base64.b64encode(png).decode() for png in _pngs(pictures)]
            _, height, width, _ = pictures.shape
            return json.dumps({**(about or {}), "width": width, "height": height, "images": images}).encode()


def grid(pictures: np.ndarray, columns: int | None = None) -> np.ndarray:
    """(n, H, W, C) -> (rows * (H + GAP) - GAP, columns * (W + GAP) - GAP, C), row by row on white."""
    n, height, width, channels = pictures.shape
    columns = min(n, columns or math.ceil(math.sqrt(n)))
    rows = math.ceil(n / columns)
    shape = (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels)
    sheet = np.full(shape, 255, dtype=np.uint8)
    for index, picture in enumerate(pictures):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def _pngs(pictures: np.ndarray) -> list[bytes]:
    return [encode_png(picture) for picture in pictures]


def _zip(pictures: np.ndarray) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for index, png in enumerate(_pngs(pictures)):
            archive.writestr(zipfile.ZipInfo(f"{index:02}.png", _LONG_AGO), png)
    return file.getvalue()
