"""Reading and writing 12 megapixels, against Pillow's own way."""

import io
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image

from tests.benchmarks.figures import Figure, against, baseline, milliseconds
from tests.benchmarks.pictures import jpeg, picture
from worker.codecs.encode import encode
from worker.contracts import ImageFormat
from worker.images import Picture, decode_image

WIDTH, HEIGHT = 4000, 3000


def measure() -> list[Figure]:
    pixels = picture(WIDTH, HEIGHT)
    photograph, image = jpeg(pixels), Image.fromarray(pixels)
    read = baseline("read JPEG, Pillow", milliseconds(lambda: np.asarray(Image.open(io.BytesIO(photograph)))))
    figures = [
        read,
        against(read, "read JPEG", milliseconds(partial(decode_image, photograph, max_pixels=WIDTH * HEIGHT))),
    ]
    for kind, options in (("PNG", {"compress_level": 1}), ("JPEG", {"quality": 95, "subsampling": 0})):
        plain = baseline(
            f"write {kind}, Pillow {options}", milliseconds(partial(_save, image, kind, options), rounds=3)
        )
        figures += [plain, against(plain, f"write {kind}", milliseconds(_writing(pixels, ImageFormat(kind.lower()))))]
    webp = milliseconds(_writing(pixels, ImageFormat.WEBP), rounds=3)
    return [*figures, baseline("write WebP", webp)]


def _save(image: Image.Image, kind: str, options: dict[str, int]) -> None:
    image.save(io.BytesIO(), kind, **options)


def _writing(pixels: np.ndarray, kind: ImageFormat) -> Callable[[], bytes]:
    return partial(encode, Picture(pixels), kind)
