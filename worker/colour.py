"""Colour and depth: any of Pillow's modes to 8-bit sRGB."""

import io
from functools import cache, lru_cache

import numpy as np
from PIL import Image, ImageCms

MODES = ("L", "LA", "RGB", "RGBA")
_PROFILE_TOLERANCE = 2


class UnknownRangeError(ValueError):
    """Samples of 32 bits without a word on which value is white."""


def eight_bit(image: Image.Image) -> Image.Image:
    """The same picture in L, LA, RGB, RGBA or CMYK."""
    if image.mode.startswith("I;16"):
        samples = np.asarray(image).astype(np.uint32)
        grey = Image.fromarray(((samples + 128) // 257).astype(np.uint8))  # 65535 -> 255; `convert` would clip
        key = image.info.get("transparency")
        if isinstance(key, int):
            grey.putalpha(Image.fromarray(np.where(samples == key, 0, 255).astype(np.uint8)))
        return grey
    if image.mode == "F":
        real = np.asarray(image)
        if np.isfinite(real).all() and real.min() >= 0 and real.max() <= 1:
            return Image.fromarray((real * 255).round().astype(np.uint8))
    if image.mode in ("F", "I"):
        raise UnknownRangeError(
            "It holds 32-bit samples, and nothing says which value is white. Save it with 8 or 16 bits per channel."
        )
    if image.mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        return ImageCms.buildTransform(lab, _srgb(), "LAB", "RGB").apply(image)
    if image.mode == "CMYK" or (image.mode in MODES and "transparency" not in image.info):
        return image
    colour = "L" if image.mode in ("1", "L", "La") else "RGB"
    return image.convert(colour + ("A" if image.has_transparency_data else ""))


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """`image` (L, LA, RGB, RGBA, CMYK) in sRGB by its ICC `profile`, in L, LA, RGB or RGBA."""
    base = image.mode.removesuffix("A")
    plain = image.convert("RGB") if base == "CMYK" else image
    if not profile:
        return plain
    try:
        transform = _transform(profile, base)
    except (ImageCms.PyCMSError, OSError):  # damaged, or of another kind of picture: as if there were none
        return plain
    if transform is None:
        return plain
    out = transform.apply(image.convert(base))
    if base == "L":
        out = out.getchannel("R")
    if base != image.mode:
        out.putalpha(image.getchannel("A"))
    return out


def is_srgb(profile: bytes | None, mode: str) -> bool:
    """Whether pixels in `mode` (L, RGB) with this ICC `profile` are sRGB as they are, as far as `to_srgb` would say."""
    try:
        return not profile or _transform(profile, mode) is None
    except (ImageCms.PyCMSError, OSError):
        return True


@lru_cache(maxsize=8)  # profiles for print are large
def _transform(profile: bytes, base: str) -> ImageCms.ImageCmsTransform | None:
    """From the ICC `profile` of pixels in mode `base` to sRGB; None where nothing but rounding would change.

    Most profiles in the wild are some maker's sRGB. Taking those at their word
    keeps the pixels exactly as they came.
    """
    transform = ImageCms.buildTransform(
        io.BytesIO(profile), _srgb(), base, "RGB", renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    if base == "CMYK":
        return transform
    levels = np.linspace(0, 255, 18).round().astype(np.uint8)
    channels = 1 if base == "L" else 3
    grid = np.stack(np.meshgrid(*[levels] * channels), axis=-1).reshape(1, -1, channels)
    after = np.asarray(transform.apply(Image.fromarray(grid[..., 0] if base == "L" else grid))).astype(int)  # (1, N, 3)
    return None if np.abs(after - grid).max() <= _PROFILE_TOLERANCE else transform


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
