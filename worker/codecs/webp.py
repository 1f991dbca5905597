"""WebP by Pillow."""

import io

import numpy as np
from PIL import Image


def encode_webp(pixels: np.ndarray, quality: int) -> bytes:
    """WebP of `pixels`: (H, W, C) uint8, C = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA.

    `quality` 1 to 100, exact at 100.
    """
    file = io.BytesIO()
    lossless = quality == 100
    # Method 0 takes a third of the default's time and comes out no larger on portraits.
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.save(file, "WEBP", quality=0 if lossless else quality, lossless=lossless, method=0, exact=True)
    return file.getvalue()
