"""What is written of a picture is what any reader reads, however it was cut and begun."""

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageDraw

from worker.codecs import jpeg
from worker.codecs.encode import begin_encoding, encode
from worker.codecs.jpeg import encode_jpeg
from worker.codecs.plain_png import read_plain_png
from worker.codecs.png import COLOUR_TYPES, encode_png, join_chunks
from worker.contracts import ImageFormat
from worker.images import Picture, decode_image

RNG = np.random.default_rng(3)
CHANNELS = (1, 2, 3, 4)

small_pictures = st.sampled_from(CHANNELS).flatmap(
    lambda channels: hnp.arrays(np.uint8, st.tuples(st.integers(1, 70), st.integers(1, 70), st.just(channels)))
)


def noise(height: int, width: int, channels: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, channels), np.uint8)


def read(data: bytes) -> np.ndarray:
    """(H, W, C) as Pillow sees it, black and white as 0 and 255."""
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    pixels = pixels * np.uint8(255) if pixels.dtype == bool else pixels
    return pixels[..., None] if pixels.ndim == 2 else pixels


def by_pillow(pixels: np.ndarray, quality: int) -> np.ndarray:
    """What Pillow's JPEG of (H, W, 1 or 3) looks like, with whole colour from 90 on."""
    file = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.save(file, "JPEG", quality=quality, subsampling=0 if quality >= 90 else 2)
    return read(file.getvalue())


def saved(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def plain_png(
    rows: bytes, width: int, height: int, channels: int = 1, *more: tuple[bytes, bytes], depth: int = 8
) -> bytes:
    """A PNG of filtered rows, with `more` chunks before them."""
    header = struct.pack(">IIBBBBB", width, height, depth, COLOUR_TYPES[channels], 0, 0, 0)
    return join_chunks((b"IHDR", header), *more, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))


def filtered(height: int, width: int, filters: Sequence[int], among: slice = slice(None)) -> bytes:
    """Rows of noise, those `among` them with all of the `filters` where there is room, the others plain."""
    rows = RNG.integers(0, 256, (height, 1 + width), np.uint8)
    rows[:, 0] = 0
    rows[among, 0] = RNG.permutation(np.resize(filters, len(rows[among])))
    return rows.tobytes()


class TestPlainPng:
    """Masks are read without Pillow where that gives the same, and by Pillow where not."""

    @settings(max_examples=100, deadline=None)
    @given(
        mask=hnp.arrays(bool, st.tuples(st.integers(1, 60), st.integers(1, 60))),
        mode=st.sampled_from(["1", "L", "LA", "RGB", "RGBA"]),
    )
    def test_a_mask_reads_as_with_pillow(self, mask: np.ndarray, mode: str) -> None:
        """What Pillow wrote, with whichever filters it chose, if it is read at all."""
        png = saved(Image.fromarray(mask).convert("L").convert(mode))
        marks = read_plain_png(png)
        assert marks is None or np.array_equal(marks, read(png))

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA"])
    def test_ordinary_masks_are_read(self, mode: str) -> None:
        """A box, as people send it: it is not left to Pillow, whatever the colours it is saved in."""
        image = Image.new("L", (300, 400))
        ImageDraw.Draw(image).rectangle((40, 30, 200, 160), fill=255)
        png = saved(image.convert(mode))
        marks = read_plain_png(png)
        assert marks is not None
        assert np.array_equal(marks, read(png))

    @pytest.mark.parametrize("channels", CHANNELS)
    @pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (40, 33)])
    def test_plain_rows_and_differences_are_read(self, height: int, width: int, channels: int) -> None:
        """Whatever stands above or beside them."""
        for _ in range(20):
            png = plain_png(filtered(height, width * channels, [0, 1, 2]), width, height, channels)
            marks = read_plain_png(png)
            assert marks is not None
            assert np.array_equal(marks, read(png))

    @pytest.mark.parametrize("channels", CHANNELS)
    def test_paeth_is_read_below_an_even_row(self, channels: int) -> None:
        """At the top, and where an area begins, encoders like it; below any other row it is left to Pillow."""
        rows = np.frombuffer(filtered(4, 7 * channels, [0]), np.uint8).reshape(4, 1 + 7 * channels).copy()
        rows[0, 0] = rows[2, 0] = 4
        assert read_plain_png(plain_png(rows.tobytes(), 7, 4, channels)) is None
        rows[1, 1:] = np.tile(RNG.integers(0, 256, channels, np.uint8), 7)
        png = plain_png(rows.tobytes(), 7, 4, channels)
        marks = read_plain_png(png)
        assert marks is not None
        assert np.array_equal(marks, read(png))

    @pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 8), (40, 33), (7, 15)])
    def test_masks_of_one_bit_are_read(self, height: int, width: int) -> None:
        """As the page sends them, and with differences between bytes."""
        for _ in range(20):
            png = plain_png(filtered(height, (width + 7) // 8, [0, 1, 2]), width, height, depth=1)
            marks = read_plain_png(png)
            assert marks is not None
            assert np.array_equal(marks, read(png))

    @pytest.mark.parametrize(("depth", "channels"), [(0, 1), (2, 1), (4, 1), (16, 1), (16, 3), (1, 3)])
    def test_other_depths_are_left_to_pillow(self, depth: int, channels: int) -> None:
        """Few send them."""
        stride = (4 * depth * channels + 7) // 8
        assert read_plain_png(plain_png(filtered(4, stride, [0]), 4, 4, channels, depth=depth)) is None

    def test_what_would_take_long_here_is_left_to_pillow(self) -> None:
        """A picture of very many short rows, a file of very many empty chunks."""
        rows = np.full((30_000, 2), 2, np.uint8)
        assert read_plain_png(plain_png(rows.tobytes(), 1, 30_000)) is None
        rows[:, 0] = 0
        assert read_plain_png(plain_png(rows.tobytes(), 1, 30_000)) is not None
        empty = [(b"IDAT", b"")] * 20_000
        assert read_plain_png(plain_png(filtered(4, 4, [0]), 4, 4, 1, *empty)) is None

    @pytest.mark.parametrize("other", [3, 4, 5, 255])
    def test_the_other_filters_are_left_to_pillow(self, other: int) -> None:
        """Average and Paeth, of which a row is no sum, and those that there are not."""
        assert read_plain_png(plain_png(filtered(40, 33, [other], slice(39, 40)), 33, 40)) is None

    @pytest.mark.parametrize("name", [b"tRNS", b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"acTL", b"PLTE", b"teST", b"IHDR"])
    def test_what_may_change_a_mask_is_left_to_pillow(self, name: bytes) -> None:
        """Transparency, a turn, frames, and chunks that nobody knows."""
        assert read_plain_png(plain_png(filtered(4, 4, [0]), 4, 4, 1, (name, b"\0\0"))) is None
        assert read_plain_png(plain_png(filtered(4, 4, [0]), 4, 4, 1, (b"pHYs", b"\0" * 9))) is not None

    @pytest.mark.parametrize("rows", [0, 3, 5, 4000])
    def test_fewer_or_more_rows_than_the_header_says_are_left_to_pillow(self, rows: int) -> None:
        """And never take more memory than the header says."""
        assert read_plain_png(plain_png(bytes(5 * rows), 4, 4)) is None

    def test_damage_is_left_to_pillow_or_changes_nothing(self) -> None:
        """Every byte changed, and the file cut anywhere: None, or what Pillow reads."""
        png = plain_png(filtered(6, 5, [1, 2], slice(2)), 5, 6)
        for at in range(len(png)):
            broken = bytearray(png)
            broken[at] ^= 0x15
            assert read_plain_png(png[:at]) is None
            marks = read_plain_png(bytes(broken))
            assert marks is None or np.array_equal(marks, read(png))


class TestPng:
    """The default: exact."""

    def test_a_large_one_is_written_in_strips_that_fit_together(self) -> None:
        """Beyond one strip, the joined stream is still what any reader reads, and the same each time."""
        pixels = noise(1500, 1500, 3)
        once, again = (encode_png(pixels) for _ in range(2))
        assert once == again
        assert np.array_equal(read(once), pixels)


class TestJpeg:
    """Strips joined by restart markers."""

    @settings(max_examples=100, deadline=None)
    @given(pixels=small_pictures.filter(lambda pixels: pixels.shape[2] in (1, 3)), quality=st.integers(1, 100))
    def test_strips_have_the_pixels_of_a_picture_in_one_piece(self, pixels: np.ndarray, quality: int) -> None:
        """Any size, any quality, strips of one row of MCUs: what Pillow writes of the whole, to the last pixel."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jpeg, "_STRIP_ROWS", 16)
            written = encode_jpeg(pixels, quality)
        assert np.array_equal(read(written), by_pillow(pixels, quality))

    @pytest.mark.parametrize("quality", [95, 80])
    @pytest.mark.parametrize(("height", "width"), [(1200, 40), (300, 9000), (40, 65_500), (2600, 3)])
    def test_large_ones_too(self, height: int, width: int, quality: int) -> None:
        """Strips of full size, more of them than there are numbers for markers, and the longest row there may be."""
        pixels = noise(height, width, 3)
        assert np.array_equal(read(encode_jpeg(pixels, quality)), by_pillow(pixels, quality))

    def test_transparency_is_put_on_white(self) -> None:
        """JPEG has no alpha: what was transparent is white, what was opaque keeps its colour."""
        pixels = np.zeros((16, 32, 4), np.uint8)
        pixels[:, 16:, 3] = 255
        back = read(encode_jpeg(pixels, 100))
        assert back.shape == (16, 32, 3)
        assert back[:, :8].min() > 250
        assert back[:, 24:].max() < 5


class TestWebp:
    """Exact where that is asked for."""

    @pytest.mark.parametrize("channels", CHANNELS)
    def test_at_full_quality_it_is_exact(self, channels: int) -> None:
        """`quality` 100 is lossless, also under transparent pixels."""
        picture = Picture(noise(17, 23, channels))
        back = decode_image(encode(picture, ImageFormat.WEBP, 100), max_pixels=1000)
        assert np.array_equal(back.rgb, picture.rgb)
        if picture.alpha is not None:
            assert np.array_equal(back.alpha, picture.alpha)


class TestBegun:
    """A picture of which a part is written before its hole is known."""

    @pytest.mark.parametrize("image_format", [ImageFormat.PNG, ImageFormat.JPEG])
    @pytest.mark.parametrize(
        ("top", "bottom"), [(0, 1), (0, 900), (256, 257), (349, 350), (350, 351), (511, 513), (899, 900), (100, 101)]
    )
    @pytest.mark.parametrize("channels", CHANNELS)
    def test_it_comes_out_the_same(self, top: int, bottom: int, channels: int, image_format: ImageFormat) -> None:
        """Wherever the hole lies: the bytes are those of the finished picture, none of what was in the hole before."""
        before = noise(900, 3000 // channels, channels)
        mask = np.zeros(before.shape[:2], bool)
        mask[top:bottom, 5:9] = True
        after = before.copy()
        after[top:bottom, 5:9] ^= 0xFF
        begun = begin_encoding(Picture(before), image_format, 80, mask)
        assert begun is not None
        assert begun.finish(after) == encode(Picture(after), image_format, 80)

    def test_what_is_not_ready_in_time_is_written_then(self) -> None:
        """The thread that writes meanwhile may never have had its turn: a picture begun and finished at once."""
        before = noise(2000, 2000, 3)
        mask = np.zeros(before.shape[:2], bool)
        mask[1000] = True
        for image_format in (ImageFormat.PNG, ImageFormat.JPEG):
            begun = [begin_encoding(Picture(before), image_format, 95, mask) for _ in range(3)]
            whole = encode(Picture(before), image_format)
            assert [each.finish(before) if each else None for each in begun] == [whole] * 3
