"""Bytes <-> pictures and masks. The only place that decodes bytes from outside.

    uploads --decode_both--> Picture, mask --pack--> storage --unpack--> Picture, mask --with_completed--> Picture

A picture is decoded once, to 8 bits in sRGB, upright, with its alpha kept; the
same pixels travel raw through storage, because coding a PNG of 12 megapixels
costs more than completing it. worker/codecs writes the result.
"""

import io
import re
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal

import numpy as np
import simplejpeg
from PIL import ExifTags, Image, UnidentifiedImageError

from worker.codecs.plain_png import read_plain_png
from worker.colour import UnknownRangeError, eight_bit, is_srgb, to_srgb
from worker.contracts import ImageFormat

Mode = Literal["L", "LA", "RGB", "RGBA"]
Box = tuple[int, int, int, int]
"""x, y, width, height in pixels, from the upper left corner."""

READABLE = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "AVIF", "GIF")
READABLE_SENTENCE = "Send PNG, JPEG, WebP, AVIF, TIFF, BMP or a GIF of one frame."

MEDIA_TYPES = {ImageFormat.PNG: "image/png", ImageFormat.JPEG: "image/jpeg", ImageFormat.WEBP: "image/webp"}

_MODES: dict[int, Mode] = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_LONGEST_SIDE = {ImageFormat.JPEG: 65_500, ImageFormat.WEBP: 16_383}
_THRESHOLD = 128
_SMALL_UPLOAD = 256 << 10  # bytes
_MOST_SCANS = 64  # of a JPEG; an encoder writes about ten, and each costs as much as a picture, however little it says
_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}
"""What undoes each EXIF orientation, on (H, W, C)."""
_HEADER = struct.Struct("<4sBII")  # of what is stored: its kind, channels, width, height
_KIND = b"IPX2"


class ImageError(ValueError):
    """What was sent cannot be used as it is; the message tells the sender what to send instead."""


class NotAnImageError(ImageError):
    """Not a picture in a format that we read."""


class DamagedImageError(ImageError):
    """A picture that breaks off or contradicts itself."""


class TooLargeError(ImageError):
    """More pixels than this service accepts."""


class BadMaskError(ImageError):
    """A mask that marks nothing, or that cannot be made from what was sent."""


class MaskSizeError(BadMaskError):
    """A mask of another size than its picture."""


class FormatLimitError(ImageError):
    """The picture does not fit the format that was asked for."""


@dataclass(frozen=True, eq=False)
class Picture:
    """Upright sRGB: (H, W, C) uint8, C = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA (alpha not premultiplied)."""

    pixels: np.ndarray

    @property
    def mode(self) -> Mode:
        """Pillow's name for what the channels are."""
        return _MODES[self.pixels.shape[2]]

    @property
    def size(self) -> tuple[int, int]:
        """Width, height."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def rgb(self) -> np.ndarray:
        """(H, W, 3) uint8; grey three times."""
        if self.pixels.shape[2] < 3:
            return np.repeat(self.pixels[..., :1], 3, axis=2)
        return np.ascontiguousarray(self.pixels[..., :3])

    @property
    def alpha(self) -> np.ndarray | None:
        """(H, W) uint8, 255 = opaque; None where the picture has none."""
        return self.pixels[..., -1] if self.pixels.shape[2] in (2, 4) else None


def pixels_in(file: BinaryIO) -> int:
    """How many pixels an upload says that it has, 0 if it says nothing; nothing is decoded, `file` is at its start."""
    try:
        width, height = Image.open(file, formats=READABLE).size
        return width * height
    except Exception:  # `decode_image` says what is wrong
        return 0
    finally:
        file.seek(0)


def decode_image(data: bytes, *, max_pixels: int) -> Picture:
    """The picture in an upload.

    EXIF orientation is applied, colours are converted to sRGB by the picture's
    ICC profile, and CMYK, palette, 1-bit and 16-bit become 8-bit grey or RGB.
    Raises NotAnImageError, DamagedImageError, TooLargeError.
    """
    return _decode(data, max_pixels, "image")


def decode_mask(data: bytes, *, size: tuple[int, int], max_pixels: int) -> np.ndarray:
    """(H, W) bool, True = fill, from any image of the picture's `size` (W, H).

    An image whose alpha varies is a mask by its alpha: opaque (>= 128) = fill.
    Any other is a mask by its luminance: white (>= 128) = fill.
    Raises the errors of `decode_image`, MaskSizeError, and BadMaskError when nothing is marked.
    """
    return _marked(_decode(data, max_pixels, "mask"), size)


def decode_both(image: bytes, mask: bytes, *, max_pixels: int) -> tuple[Picture, np.ndarray]:
    """As `decode_image` and `decode_mask`, both at once where that takes longer than to start a thread."""
    if len(image) + len(mask) < _SMALL_UPLOAD:
        picture = decode_image(image, max_pixels=max_pixels)
        return picture, decode_mask(mask, size=picture.size, max_pixels=max_pixels)
    with ThreadPoolExecutor(1) as pool:
        marks = pool.submit(_decode, mask, max_pixels, "mask")
        picture = decode_image(image, max_pixels=max_pixels)
    return picture, _marked(marks.result(), picture.size)


def _marked(picture: Picture, size: tuple[int, int]) -> np.ndarray:
    """What a mask's `picture` marks, see `decode_mask`."""
    if picture.size != size:
        turned = ""
        if picture.size == size[::-1]:
            turned = " A picture is turned upright by its EXIF orientation first: turn the mask the same way."
        raise MaskSizeError(
            f"The mask is {_times(picture.size)} but the image is {_times(size)}. "
            f"Send a mask with exactly the image's width and height.{turned}"
        )
    if picture.alpha is not None and picture.alpha.min() < 255:
        marks, mask = "opaque", picture.alpha >= _THRESHOLD
    else:
        marks, mask = "white", _is_bright(picture.pixels)
    if not mask.any():
        raise BadMaskError(
            f"The mask marks nothing to fill: it has no {marks} pixel. Paint what should go {marks}, leave the rest "
            f"{'transparent' if marks == 'opaque' else 'black'}."
        )
    return mask


def mask_from_boxes(boxes: Sequence[Box], size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: the union of `boxes`, each cut at the border of the picture of `size` (W, H).

    Raises BadMaskError for a box without area, or outside the picture.
    """
    width, height = size
    mask = np.zeros((height, width), bool)
    for x, y, w, h in boxes:
        if w < 1 or h < 1:
            raise BadMaskError(f"box={x},{y},{w},{h} has no area: width and height must be at least 1.")
        if x >= width or y >= height or x + w <= 0 or y + h <= 0:
            raise BadMaskError(f"box={x},{y},{w},{h} lies outside the image, which is {_times(size)}.")
        mask[max(0, y) : y + h, max(0, x) : x + w] = True
    return mask


def mask_from_alpha(picture: Picture) -> np.ndarray:
    """(H, W) bool: what is transparent (alpha < 128) is the hole. Raises BadMaskError where nothing is."""
    if picture.alpha is None:
        raise BadMaskError(
            "Nothing says what to fill. Send a `mask` image (white = fill), or `box=x,y,width,height`, "
            "or an image whose hole is transparent; this one has no transparency."
        )
    mask = picture.alpha < _THRESHOLD
    if not mask.any():
        raise BadMaskError(
            "Nothing says what to fill: no pixel of the image is transparent (alpha below 128). "
            "Send a `mask` image (white = fill) or `box=x,y,width,height`."
        )
    return mask


def opaque_in(picture: Picture, mask: np.ndarray) -> Picture:
    """`picture` with the hole made opaque: for a picture whose transparency was its mask, so that the result shows."""
    if picture.alpha is None:
        return picture
    pixels = picture.pixels.copy()
    pixels[mask, -1] = 255
    return replace(picture, pixels=pixels)


def with_completed(picture: Picture, completed: np.ndarray, mask: np.ndarray) -> Picture:
    """`picture` with its holes filled; mode, alpha and all else as they came.

    completed: (H, W, 3) uint8, `picture.rgb` but where `mask` (H, W) is True.
    """
    if picture.mode == "RGB":
        return replace(picture, pixels=completed)
    pixels = picture.pixels.copy()
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size:
        between = slice(rows[0], rows[-1] + 1)  # a large picture with a small hole is not searched whole
        part, inside = pixels[between], mask[between]
        hole = completed[between][inside]  # (N, 3)
        if pixels.shape[2] < 3:
            part[inside, 0] = _luminance(hole)
        else:
            part[inside, :3] = hole
    return replace(picture, pixels=pixels)


def check_fits(size: tuple[int, int], image_format: ImageFormat) -> None:
    """Raises FormatLimitError where a picture of `size` (W, H) is too long for the format."""
    longest = _LONGEST_SIDE.get(image_format)
    if longest is not None and max(size) > longest:
        raise FormatLimitError(
            f"The image is {_times(size)}, but {image_format} holds at most {longest} pixels a side: use format=png."
        )


def pack(picture: Picture, mask: np.ndarray) -> tuple[bytes, memoryview, memoryview]:
    """The raw form in which a picture and its `mask` (H, W) bool lie in storage between API and worker.

    Three parts, so that nothing is copied to join them; a pixel of the mask is a bit.
    """
    height, width, channels = picture.pixels.shape
    pixels = np.ascontiguousarray(picture.pixels).reshape(-1)
    return _HEADER.pack(_KIND, channels, width, height), pixels.data, np.packbits(mask).data


def unpack(data: bytes | memoryview) -> tuple[Picture, np.ndarray]:
    """What `pack` was given, the picture read-only. Raises ValueError for anything else."""
    if len(data) < _HEADER.size or data[:4] != _KIND:
        raise ValueError("Stored data are not a picture with its mask.")
    _, channels, width, height = _HEADER.unpack_from(data)
    size = width * height
    if channels not in _MODES or len(data) != _HEADER.size + size * channels + (size + 7) // 8:
        raise ValueError("A stored picture is damaged: its length does not fit its header.")
    stored = np.frombuffer(data, np.uint8, offset=_HEADER.size)
    pixels, bits = stored[: size * channels], stored[size * channels :]
    mask = np.unpackbits(bits, count=size).view(bool).reshape(height, width)
    return Picture(pixels.reshape(height, width, channels)), mask


def _decode(data: bytes, max_pixels: int, what: str) -> Picture:
    image = _open(data, max_pixels, what)
    if what == "mask" and (marks := read_plain_png(data)) is not None:
        return Picture(marks)
    try:
        # MPO is what phones call a JPEG with a gain map or a second view behind it: its first frame is the photograph.
        if image.format != "MPO" and getattr(image, "is_animated", False):
            raise NotAnImageError(f"The {what} has several frames or pages. Send one of them on its own.")
        # No profile for a mask: 50 % grey is 128 in the file, whatever it looks like on a screen.
        profile = image.info.get("icc_profile") if what == "image" and image.mode != "LAB" else None
        if image.format in ("JPEG", "MPO") and _scans(data) > _MOST_SCANS:
            raise DamagedImageError(f"The {what} is a JPEG of more than {_MOST_SCANS} scans. Save it anew.")
        pixels = _photograph(image, data, profile)
        if pixels is None:
            image.load()
            pixels = np.asarray(to_srgb(eight_bit(image), profile))
        turn = _TURNS.get(_orientation(image))  # after loading: Pillow turns a TIFF itself
    except ImageError:
        raise
    except UnknownRangeError as error:
        raise NotAnImageError(f"The {what} cannot be read. {error}") from error
    except Exception as error:  # Pillow's readers raise whatever a contradiction in a file leads to
        raise DamagedImageError(_damaged(image.format, what)) from error
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return Picture(pixels if turn is None else np.ascontiguousarray(turn(pixels)))


def _photograph(image: Image.Image, data: bytes, profile: bytes | None) -> np.ndarray | None:
    """(H, W, 3) uint8 of an ordinary photograph: JPEG in sRGB. None where Pillow has to look at it.

    Pillow's own decoder, so the same pixels, but straight into the array: 37 ms instead of 90 for 12 megapixels.
    """
    if image.format not in ("JPEG", "MPO") or image.mode != "RGB" or not is_srgb(profile, image.mode):
        return None
    width, height = image.size
    try:
        out: np.ndarray = simplejpeg.decode_jpeg(
            data, "RGB", strict=True, buffer=np.empty((height, width, 3), np.uint8)
        )
        return out
    except ValueError:  # whether it is damaged beyond use, Pillow says
        return None


def _scans(data: bytes) -> int:
    """How often the first picture in a JPEG is gone over."""
    at, scans = 0, 0
    while (marker := _MARKER.search(data, at)) and marker[1] != b"\xd9":  # its end
        at = marker.end()
        if marker[1] == b"\xda":
            scans += 1
        if not (marker[1] == b"\x01" or b"\xd0" <= marker[1] <= b"\xd8"):  # those have no length
            at += int.from_bytes(data[at : at + 2])
    return scans


def _open(data: bytes, max_pixels: int, what: str) -> Image.Image:
    """What is in `data`, not yet decoded, of a size that may be."""
    if not data:
        raise NotAnImageError(f"The file sent as {what} is empty. {READABLE_SENTENCE}")
    try:
        image = Image.open(io.BytesIO(data), formats=READABLE)
    except Image.DecompressionBombError as error:
        raise TooLargeError(
            f"The {what} has far too many pixels: at most {_millions(max_pixels)} megapixels are accepted. "
            "Reduce it and send it again."
        ) from error
    except UnidentifiedImageError as error:
        raise NotAnImageError(_not_an_image(data, what)) from error
    except Exception as error:  # as in `_decode`
        raise DamagedImageError(_damaged("a picture", what)) from error
    width, height = image.size
    if width * height > max_pixels:
        raise TooLargeError(
            f"The {what} is {_times(image.size)}: at most {_millions(max_pixels)} megapixels are accepted. "
            "Reduce it and send it again."
        )
    return image


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # an EXIF block that cannot be read says nothing about which way is up
        return 1


def _is_bright(pixels: np.ndarray) -> np.ndarray:
    """(H, W) bool, whether the luminance of (H, W, C) uint8 reaches the threshold."""
    height, _, channels = pixels.shape
    # Most rows of a mask are black. In one of which no sample has the highest bit no pixel is bright.
    if channels in (2, 4):
        together = pixels.view(f"u{channels}")[..., 0]
        bits = np.bitwise_or.reduce(together, axis=1).view(np.uint8).reshape(height, channels)[:, :-1].max(axis=1)
    else:
        bits = pixels.max(axis=(1, 2))
    rows = np.flatnonzero(bits >= _THRESHOLD)
    bright = np.zeros(pixels.shape[:2], bool)
    bright[rows] = _luminance(pixels[rows]) >= _THRESHOLD
    return bright


def _luminance(pixels: np.ndarray) -> np.ndarray:
    """(..., ) uint8 from (..., 1 to 4) uint8, by ITU-R 601; alpha is left out."""
    if pixels.shape[-1] < 3:
        return pixels[..., 0]
    colour = np.ascontiguousarray(pixels[..., :3]).reshape(1, -1, 3)
    return np.asarray(Image.fromarray(colour).convert("L")).reshape(pixels.shape[:-1])


def _not_an_image(data: bytes, what: str) -> str:
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        return f"The file sent as {what} is HEIC, which is not read here. {READABLE_SENTENCE}"
    return f"The file sent as {what} is in no format that is read here. {READABLE_SENTENCE}"


def _damaged(name: str | None, what: str) -> str:
    return f"The file sent as {what} begins as {name} but is damaged or breaks off. Save it anew, or upload it again."


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _millions(pixels: int) -> str:
    return f"{pixels / 1e6:.1f}".removesuffix(".0")
