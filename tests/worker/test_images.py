"""Uploads of every kind become pictures, and outside the hole nothing of them changes."""

import io
import struct
import tracemalloc
import zlib
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageCms

from worker.codecs.encode import encode
from worker.contracts import ImageFormat
from worker.images import (
    BadMaskError,
    DamagedImageError,
    FormatLimitError,
    ImageError,
    MaskSizeError,
    NotAnImageError,
    Picture,
    TooLargeError,
    decode_image,
    decode_mask,
    mask_from_alpha,
    mask_from_boxes,
    opaque_in,
    pack,
    pixels_in,
    unpack,
    with_completed,
)

MAX_PIXELS = 1_000_000
RNG = np.random.default_rng(3)


def save(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def decode(data: bytes) -> Picture:
    return decode_image(data, max_pixels=MAX_PIXELS)


def noise(mode: str, size: tuple[int, int] = (23, 17)) -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = RNG.integers(0, 256, (size[1], size[0], channels), np.uint8)
    return Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode=None if mode != "CMYK" else mode)


pictures = (
    st.sampled_from([1, 2, 3, 4])
    .flatmap(
        lambda channels: hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(channels)))
    )
    .map(Picture)
)


class TestRoundTrip:
    """What comes in goes out, but for the hole."""

    @settings(max_examples=150, deadline=None)
    @given(picture=pictures, data=st.data())
    def test_outside_the_mask_every_mode_comes_back_identical(self, picture: Picture, data: st.DataObject) -> None:
        """Through upload, storage, completion and PNG: same size, same mode, same bytes; inside, the new colour."""
        mask = data.draw(hnp.arrays(bool, picture.pixels.shape[:2]))
        upload = save(Image.fromarray(picture.pixels[..., 0] if picture.mode == "L" else picture.pixels))
        stored, stored_mask = unpack(b"".join(pack(decode(upload), mask)))
        assert np.array_equal(stored_mask, mask)
        completed = stored.rgb.copy()
        completed[mask] = 137
        out = encode(with_completed(stored, completed, stored_mask), ImageFormat.PNG)
        back = Image.open(io.BytesIO(out))
        assert back.mode == picture.mode
        pixels = np.asarray(back).reshape(picture.pixels.shape)
        assert np.array_equal(pixels[~mask], picture.pixels[~mask])
        colour = pixels[..., :-1] if picture.alpha is not None else pixels
        assert (colour[mask] == 137).all()
        if picture.alpha is not None:
            assert np.array_equal(pixels[..., -1], picture.alpha)

    def test_nothing_but_pixels_is_written(self) -> None:
        """No EXIF, no text, no profile of the upload comes out again."""
        exif = Image.Exif()
        exif[0x010F] = "secret camera"
        upload = save(noise("RGB"), "JPEG", exif=exif, comment=b"secret comment")
        for image_format in ImageFormat:
            out = encode(decode(upload), image_format)
            assert b"secret" not in out
            assert not Image.open(io.BytesIO(out)).getexif()

    def test_damaged_storage_is_noticed(self) -> None:
        """Nothing is read from other, shortened or lengthened bytes."""
        packed = b"".join(pack(Picture(np.zeros((3, 3, 3), np.uint8)), np.ones((3, 3), bool)))
        for bad in (b"", packed[:5], packed[:-1], packed + b"\0", b"X" + packed[1:]):
            with pytest.raises(ValueError, match=r"[Ss]tored"):
                unpack(bad)


class TestKinds:
    """Formats, modes and depths."""

    @pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 2, "progressive": True}, {"quality": 20}])
    @pytest.mark.parametrize("format", ["JPEG", "MPO"])
    def test_a_photograph_is_read_to_the_pixels_that_pillow_gives(self, format: str, options: dict[str, Any]) -> None:
        """The quicker way to a JPEG's pixels is no other way to other pixels, with an sRGB profile or none."""
        image = noise("RGB", (203, 101)).resize((403, 207), Image.Resampling.BICUBIC)
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        for profiled in ({}, {"icc_profile": profile}):
            upload = save(image, format, **options, **profiled)
            assert np.array_equal(decode(upload).pixels, np.asarray(Image.open(io.BytesIO(upload))))

    @pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "AVIF", "GIF"])
    def test_each_format_is_read(self, format: str) -> None:
        """As large as it was, and of its colour."""
        image = Image.new("RGB", (31, 20), (200, 30, 60))
        picture = decode(save(image, format))
        assert picture.size == (31, 20)
        assert np.abs(picture.rgb.astype(int) - (200, 30, 60)).max() <= 4

    @pytest.mark.parametrize("format", ["PNG", "TIFF"])
    def test_sixteen_bits_are_rescaled(self, format: str) -> None:
        """A 16-bit ramp comes out as an 8-bit ramp, and not white."""
        ramp = np.linspace(0, 65535, 256).round().astype(np.uint16)[None].repeat(4, axis=0)
        picture = decode(save(Image.fromarray(ramp), format))
        assert picture.mode == "L"
        assert np.array_equal(picture.pixels[0, :, 0], np.arange(256))

    def test_sixteen_bit_colour_is_read(self) -> None:
        """A PNG of 16 bits in three channels keeps its upper byte."""
        rows = b"".join(b"\0" + struct.pack(">6H", 0, 32896, 65535, 257, 514, 25700) for _ in range(2))
        header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
        chunks = [b"IHDR" + header, b"IDAT" + zlib.compress(rows), b"IEND"]
        data = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
        assert decode(b"\x89PNG\r\n\x1a\n" + data).pixels[0].tolist() == [[0, 128, 255], [1, 2, 100]]

    def test_reals_between_0_and_1_are_read_and_others_explained(self) -> None:
        """A float TIFF has the range that float TIFFs have; any other 32 bits are refused in a sentence."""
        ramp = np.linspace(0, 1, 256, dtype=np.float32)[None]
        assert np.array_equal(decode(save(Image.fromarray(ramp), "TIFF")).pixels[0, :, 0], np.arange(256))
        for other in (ramp * 900, np.full((2, 2), np.nan, np.float32), np.ones((2, 2), np.int32)):
            with pytest.raises(NotAnImageError, match="8 or 16 bits"):
                decode(save(Image.fromarray(other), "TIFF"))

    def test_one_bit_becomes_grey(self) -> None:
        """Black and white, as 0 and 255."""
        bits = RNG.integers(0, 2, (9, 21)).astype(bool)
        picture = decode(save(Image.fromarray(bits)))
        assert np.array_equal(picture.pixels[..., 0], bits * np.uint8(255))

    def test_a_palette_becomes_colour_and_its_transparency_alpha(self) -> None:
        """Index 0 transparent, index 1 half, the rest opaque."""
        image = Image.new("P", (3, 1))
        image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
        image.putdata([0, 1, 2])
        expected = [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
        assert decode(save(image)).pixels[0].tolist() == expected
        picture = decode(save(image, transparency=bytes([0, 128, 255])))
        assert picture.mode == "RGBA"
        assert picture.pixels[0].tolist() == [[*c, a] for c, a in zip(expected, (0, 128, 255), strict=True)]

    @pytest.mark.parametrize(
        ("mode", "key", "becomes"),
        [("L", 7, "LA"), ("RGB", (7, 7, 7), "RGBA"), ("1", 0, "LA"), ("I;16", 7 * 257, "LA")],
    )
    def test_a_transparent_colour_becomes_alpha(self, mode: str, key: Any, becomes: str) -> None:
        """PNG's `tRNS` in a picture without alpha."""
        image = Image.new(mode, (2, 1), key)
        image.putpixel((1, 0), (9, 9, 9) if mode == "RGB" else 255)
        picture = decode(save(image, transparency=key))
        assert picture.mode == becomes
        assert picture.alpha is not None
        assert picture.alpha.tolist() == [[0, 255]]

    def test_cmyk_becomes_rgb(self) -> None:
        """Also the inverted kind that photo programs write."""
        picture = decode(save(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100))
        assert picture.mode == "RGB"
        assert np.abs(picture.pixels.astype(int) - (255, 0, 0)).max() < 12

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
    def test_pictures_are_turned_upright(self, orientation: int, format: str) -> None:
        """Each of the eight EXIF orientations, once and not twice."""
        upright = np.zeros((4, 6, 3), np.uint8)
        upright[0, 0], upright[0, -1], upright[-1, 0] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
        undo = {
            1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
            5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, 1),
            7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: lambda a: np.rot90(a, -1),
        }  # fmt: skip
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = Image.fromarray(np.ascontiguousarray(undo[orientation](upright)))
        options = {"lossless": True} if format == "WEBP" else {}
        assert np.array_equal(decode(save(stored, format, exif=exif, **options)).pixels, upright)

    @pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the damage
    def test_a_damaged_exif_block_is_no_obstacle(self) -> None:
        """The picture is read as if it had none."""
        data = save(noise("RGB"), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
        assert decode(data).size == (23, 17)

    def test_a_phones_jpeg_with_a_second_picture_is_its_first(self) -> None:
        """MPO, as phones write for depth and HDR, is a photograph and no animation."""
        first, second = Image.new("RGB", (32, 32), (255, 0, 0)), Image.new("RGB", (16, 16), (0, 0, 255))
        picture = decode(save(first, "MPO", save_all=True, append_images=[second]))
        assert picture.size == (32, 32)
        assert picture.pixels[5, 5, 0] > 240


class TestColour:
    """ICC profiles."""

    def test_a_profile_that_says_srgb_leaves_the_pixels_alone(self) -> None:
        """Byte for byte, so that a photograph keeps its pixels outside the hole."""
        image = noise("RGB")
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        assert np.array_equal(decode(save(image, icc_profile=profile)).pixels, np.asarray(image))

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK"])
    def test_a_profile_of_the_wrong_kind_is_ignored(self, mode: str) -> None:
        """A damaged profile, and a Lab profile, change nothing and refuse nothing."""
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
        image = noise("RGB").quantize(8) if mode == "P" else noise(mode)
        format = "TIFF" if mode == "CMYK" else "PNG"
        plain = decode(save(image, format))
        for profile in (b"junk", lab):
            assert np.array_equal(decode(save(image, format, icc_profile=profile)).pixels, plain.pixels)

    @pytest.mark.parametrize("mode", ["RGB", "RGBA"])
    def test_another_colour_space_is_converted_and_alpha_kept(self, mode: str) -> None:
        """With a profile whose red and blue are exchanged, red becomes blue; alpha stays as it came."""
        image = Image.new(mode, (4, 4), (255, 0, 0, 77)[: len(mode)])
        picture = decode(save(image, icc_profile=_exchanged_profile()))
        assert picture.mode == mode
        red, _, blue = picture.rgb[0, 0].astype(int)
        assert blue > 200 > 60 > red
        if picture.alpha is not None:
            assert (picture.alpha == 77).all()


def _exchanged_profile() -> bytes:
    """The sRGB profile with its `rXYZ` and `bXYZ` tags exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ", 128), profile.index(b"bXYZ", 128)
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


class TestRefusals:
    """What is no usable picture is refused with an ImageError, whatever it is."""

    def test_the_size_is_checked_before_decoding(self) -> None:
        """A file of 30 kB that says 900 megapixels costs no memory."""
        header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
        chunks = [header, b"IDAT" + zlib.compress(bytes(30_000_000)), b"IEND"]
        data = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
        tracemalloc.start()
        try:
            with pytest.raises(TooLargeError):
                decode(b"\x89PNG\r\n\x1a\n" + data)
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()

    def test_a_jpeg_of_very_many_scans_is_refused(self) -> None:
        """Each is a few bytes that cost as much as the picture."""
        data = save(noise("RGB"), "JPEG", progressive=True)
        last = data.rindex(b"\xff\xda")
        bomb = data[:-2] + data[last:-2] * 100 + data[-2:]
        with pytest.raises(DamagedImageError, match="more than 64 scans"):
            decode(bomb)

    def test_what_only_looks_like_scans_is_no_obstacle(self) -> None:
        """In a thumbnail's block, and behind the picture, where phones put a film."""
        image = noise("RGB")
        data = save(image, "JPEG", progressive=True, comment=b"\xff\xda" * 200)
        expected = np.asarray(Image.open(io.BytesIO(data)))
        assert np.array_equal(decode(data + b"\xff\xda" * 1000).pixels, expected)

    def test_the_header_tells_how_much_there_is_to_decode(self) -> None:
        """From a file, which is at its start afterwards; what says nothing has nothing."""
        for data, pixels in ((save(Image.new("RGB", (32, 20))), 640), (b"rubbish", 0), (b"", 0)):
            file = io.BytesIO(data)
            assert pixels_in(file) == pixels
            assert file.read() == data

    @pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
    def test_several_frames_are_refused(self, format: str) -> None:
        """Animations and documents of several pages."""
        frames = [Image.new("RGB", (32, 32), (shade, 0, 0)) for shade in (0, 90, 180)]
        with pytest.raises(NotAnImageError, match="several frames"):
            decode(save(frames[0], format, save_all=True, append_images=frames[1:]))

    @pytest.mark.parametrize("format", ["EPS", "PDF", "ICO", "PPM", "TGA", "PCX", "JPEG2000"])
    def test_other_formats_are_refused(self, format: str) -> None:
        """Although Pillow could read some: what is not needed is no risk."""
        with pytest.raises(NotAnImageError, match="Send PNG, JPEG"):
            decode(save(Image.new("RGB", (32, 32)), format))

    @pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "AVIF", "GIF"])
    def test_a_file_that_breaks_off_is_refused(self, format: str) -> None:
        """At three quarters of its length."""
        data = save(noise("RGB", (64, 64)), format)
        with pytest.raises((DamagedImageError, NotAnImageError), match=r"breaks off|no format"):
            decode(data[: len(data) * 3 // 4])

    def test_a_gif_that_announces_a_frame_and_ends_is_refused(self) -> None:
        """Pillow looks for a second frame and trips over the end."""
        with pytest.raises(DamagedImageError, match="GIF"):
            decode(save(noise("L"), "GIF")[:-1] + b"," + bytes(9))

    @pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the damage
    @settings(max_examples=200, deadline=None)
    @given(format=st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF", "BMP", "AVIF", "GIF"]), data=st.data())
    def test_damage_never_leads_to_another_error(self, format: str, data: st.DataObject) -> None:
        """Any bytes of any file changed: a picture, or an ImageError, nothing else."""
        upload = bytearray(_samples()[format])
        for _ in range(data.draw(st.integers(1, 6))):
            upload[data.draw(st.integers(0, len(upload) - 1))] = data.draw(st.integers(0, 255))
        with suppress(ImageError):
            assert decode(bytes(upload)).pixels.dtype == np.uint8

    def test_a_format_too_small_for_the_picture_is_refused(self) -> None:
        """WebP ends at 16383 pixels a side, JPEG at 65500."""
        with pytest.raises(FormatLimitError, match="format=png"):
            encode(Picture(np.zeros((1, 17_000, 1), np.uint8)), ImageFormat.WEBP)
        with pytest.raises(FormatLimitError, match="format=png"):
            encode(Picture(np.zeros((66_000, 1, 1), np.uint8)), ImageFormat.JPEG)


def _samples() -> dict[str, bytes]:
    if not _SAMPLES:
        exif = Image.Exif()
        exif[0x0112] = 6
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        for format in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "AVIF", "GIF"):
            options = {"exif": exif, "icc_profile": profile} if format not in ("BMP", "GIF") else {}
            _SAMPLES[format] = save(noise("RGB"), format, **options)
    return _SAMPLES


_SAMPLES: dict[str, bytes] = {}


class TestMasks:
    """Which pixels are the hole."""

    BOX = np.s_[2:5, 3:9]

    def expected(self) -> np.ndarray:
        mask = np.zeros((10, 12), bool)
        mask[self.BOX] = True
        return mask

    def read(self, image: Image.Image, format: str = "PNG", **options: Any) -> np.ndarray:
        return decode_mask(save(image, format, **options), size=(12, 10), max_pixels=MAX_PIXELS)

    @pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "I;16"])
    def test_white_is_the_hole(self, mode: str) -> None:
        """In every mode without transparency; for an opaque RGBA too."""
        white = Image.fromarray(self.expected() * np.uint8(255))
        if mode == "I;16":
            image = Image.fromarray(self.expected() * np.uint16(65535))
        else:
            image = white.convert("RGB").convert(mode) if mode == "CMYK" else white.convert(mode)
        assert np.array_equal(self.read(image, "TIFF" if mode == "CMYK" else "PNG"), self.expected())
        assert np.array_equal(self.read(white.convert("RGBA")), self.expected())

    @pytest.mark.parametrize("shade", [0, 255])
    def test_opaque_is_the_hole_where_alpha_varies(self, shade: int) -> None:
        """Whatever its colour: what a drawing program's layer holds."""
        pixels = np.full((10, 12, 4), shade, np.uint8)
        pixels[..., 3] = self.expected() * np.uint8(255)
        assert np.array_equal(self.read(Image.fromarray(pixels)), self.expected())

    def test_half_is_where_the_hole_begins(self) -> None:
        """128 fills, 127 does not; a JPEG's noise around black and white does no harm."""
        grey = np.full((10, 12), 127, np.uint8)
        grey[self.BOX] = 128
        assert np.array_equal(self.read(Image.fromarray(grey)), self.expected())
        big = self.expected().repeat(8, 0).repeat(8, 1)
        jpeg = save(Image.fromarray(big * np.uint8(255)), "JPEG", quality=50)
        assert np.array_equal(decode_mask(jpeg, size=(96, 80), max_pixels=MAX_PIXELS), big)

    @pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
    def test_colours_count_by_their_luminance(self, mode: str) -> None:
        """Pixel by pixel, dark rows and bright ones, as Pillow weighs red, green and blue."""
        pixels = RNG.integers(0, 256, (60, 70, 3), np.uint8) // np.uint8(2)
        pixels[::3] *= 2
        pixels[::7, 5] = 255
        image = Image.fromarray(pixels).convert(mode)
        mask = decode_mask(save(image), size=(70, 60), max_pixels=MAX_PIXELS)
        expected = np.asarray(Image.fromarray(pixels).convert("L")) >= 128
        assert expected.any()
        assert not expected.all()
        assert np.array_equal(mask, expected)

    def test_another_size_names_both(self) -> None:
        """And says so when the mask only lies on its side."""
        with pytest.raises(MaskSizeError, match="5x4 but the image is 12x10"):
            self.read(Image.new("L", (5, 4), 255))
        with pytest.raises(MaskSizeError, match="orientation"):
            self.read(Image.new("L", (10, 12), 255))

    def test_an_empty_mask_is_refused(self) -> None:
        """It says what should be painted."""
        with pytest.raises(BadMaskError, match="no white pixel"):
            self.read(Image.new("RGB", (12, 10)))
        with pytest.raises(BadMaskError, match="no opaque pixel"):
            self.read(Image.new("RGBA", (12, 10)))

    def test_boxes_are_joined_and_cut_at_the_border(self) -> None:
        """x, y, width, height; what lies outside, or has no area, is refused."""
        mask = mask_from_boxes([(3, 2, 6, 3), (-2, 8, 4, 9)], (12, 10))
        expected = self.expected()
        expected[8:, :2] = True
        assert np.array_equal(mask, expected)
        for box in ((12, 0, 1, 1), (0, 0, 0, 1), (0, -5, 3, 5)):
            with pytest.raises(BadMaskError):
                mask_from_boxes([box], (12, 10))

    def test_a_pictures_transparency_is_its_hole(self) -> None:
        """Opaque there afterwards; a picture without any says what to send."""
        pixels = np.full((10, 12, 4), 200, np.uint8)
        pixels[self.BOX][..., 3] = 5
        picture = Picture(pixels)
        mask = mask_from_alpha(picture)
        assert np.array_equal(mask, self.expected())
        filled = opaque_in(picture, mask)
        assert filled.alpha is not None
        assert np.array_equal(filled.alpha, np.where(mask, 255, 200))
        for bad in (Picture(pixels[..., :3]), filled):
            with pytest.raises(BadMaskError, match="`mask`"):
                mask_from_alpha(bad)
