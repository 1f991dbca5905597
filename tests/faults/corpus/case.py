"""One request of the corpus, and what it must be answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

BOUNDARY = "corpus-boundary"
WIDTH, HEIGHT = 48, 32
HOLE = (8, 6, 12, 10)
"""x, y, width, height of the hole, in a picture of `WIDTH` x `HEIGHT`."""


@dataclass(frozen=True)
class Case:
    """`status`: the one, or those, that are documented for it. `says`: words that help, in the problem's detail."""

    name: str
    status: int | tuple[int, ...]
    says: str = ""
    body: bytes = b""
    method: str = "POST"
    path: str = "/inpaint"
    headers: Mapping[str, str | bytes] = field(default_factory=dict)
    pixels: np.ndarray | None = None
    """(H, W, C) uint8: what the result must be outside `HOLE`."""
    tolerance: int = 0
    """Of `pixels`, where a file's colours are converted."""

    @property
    def statuses(self) -> tuple[int, ...]:
        return self.status if isinstance(self.status, tuple) else (self.status,)


@dataclass(frozen=True)
class Part:
    """One part of a form."""

    name: str
    content: bytes
    filename: str | None = None
    media_type: str = ""
    raw_headers: bytes | None = None
    """Instead of all that comes from the other fields."""

    def encoded(self) -> bytes:
        if self.raw_headers is not None:
            return self.raw_headers + b"\r\n\r\n" + self.content
        disposition = f'Content-Disposition: form-data; name="{self.name}"'
        if self.filename is not None:
            disposition += f'; filename="{self.filename}"'
        kind = f"\r\nContent-Type: {self.media_type}" if self.media_type else ""
        return f"{disposition}{kind}\r\n\r\n".encode() + self.content


def form(*parts: Part, boundary: str = BOUNDARY) -> bytes:
    """A body as multipart/form-data."""
    mark = boundary.encode()
    return b"".join(b"--" + mark + b"\r\n" + part.encoded() + b"\r\n" for part in parts) + b"--" + mark + b"--\r\n"


def form_headers(boundary: str = BOUNDARY) -> dict[str, str]:
    """What goes with `form`."""
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def image_part(content: bytes, filename: str = "photo.png", media_type: str = "image/png") -> Part:
    return Part("image", content, filename, media_type)


def box_part(box: str = ",".join(map(str, HOLE))) -> Part:
    return Part("box", box.encode())


def post(name: str, status: int | tuple[int, ...], says: str, *parts: Part, **more: Any) -> Case:
    """A form sent to `/inpaint`."""
    return Case(name, status, says, form(*parts), headers=form_headers() | more.pop("headers", {}), **more)


def photo(seed: int = 1, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """(height, width, 3) uint8 noise: a lost or turned pixel is seen."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def smooth(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """(height, width, 3) uint8 without edges, for formats that lose detail."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.stack([200 * x + 20, 200 * y + 20, 120 + 60 * x * y], axis=-1).round().astype(np.uint8)


def saved(pixels: np.ndarray | Image.Image, format: str = "PNG", **options: Any) -> bytes:
    """The file that Pillow makes of it."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def hole_mask(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """(height, width) uint8: `HOLE` in white."""
    mask = np.zeros((height, width), np.uint8)
    x, y, w, h = HOLE
    mask[y : y + h, x : x + w] = 255
    return mask
