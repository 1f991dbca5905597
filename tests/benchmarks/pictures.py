"""Pictures to measure with: smooth with a little noise, as photographs are; always the same."""

import io

import numpy as np
from PIL import Image

from models.glcic.geometry import Mask, Pixels


def picture(width: int, height: int) -> Pixels:
    """(height, width, 3) uint8."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = np.stack([np.sin(rows / 90), np.sin(columns / 70), np.sin((rows + columns) / 110)], axis=-1)
    noise = rng.normal(0, 3, (height, width, 1)).astype(np.float32)
    return np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8)


def hole(width: int, height: int, side: int) -> Mask:
    """(height, width) bool: a square in the middle."""
    mask = np.zeros((height, width), bool)
    mask[(height - side) // 2 :, (width - side) // 2 :][:side, :side] = True
    return mask


def jpeg(pixels: Pixels) -> bytes:
    """As a camera writes it."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def png(pixels: Pixels | Mask) -> bytes:
    """Without loss; a mask white on black, as the page sends it."""
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels).save(file, "PNG")
    return file.getvalue()
