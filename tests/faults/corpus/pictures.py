"""Files that are no pictures, broken ones, bombs, and good ones of kinds that are easy to get wrong."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache

import numpy as np
from PIL import ExifTags, Image, ImageCms

from tests.faults.corpus.case import Case, Part, box_part, image_part, photo, post, saved, smooth

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
SEND = "Send PNG, JPEG"


def picture_cases() -> Iterator[Case]:
    yield from truncated()
    yield from bombs()
    yield from no_pictures()
    yield from polyglots()
    yield from several_frames()
    yield from modes()
    yield from orientations()
    yield from profiles()
    yield from shapes()


def _sent(name: str, status: int | tuple[int, ...], says: str, content: bytes, **more: object) -> Case:
    return post(f"picture: {name}", status, says, image_part(content), box_part(), **more)


@cache
def _file(format: str) -> bytes:
    return saved(smooth(), format)


def truncated() -> Iterator[Case]:
    """Cut in the signature, in the header, in the data, and before the last byte."""
    for format in FORMATS:
        whole = _file(format)
        for where, length in (
            ("3 bytes", 3),
            ("24 bytes", 24),
            ("half", len(whole) // 2),
            ("90%", len(whole) * 9 // 10),
        ):
            yield _sent(f"{format} cut at {where}", (400, 415), "upload|Send PNG", whole[:length])
    for format in ("PNG", "JPEG", "WEBP"):
        whole = bytearray(_file(format))
        for place in (len(whole) // 3, len(whole) // 2):
            whole[place : place + 8] = b"\xff\x00\xff\x00\xff\x00\xff\x00"
        # A JPEG decoder goes on behind an error; what it makes of the data is a picture.
        yield _sent(f"{format} with bytes overwritten", (200, 400), "damaged" if format != "JPEG" else "", bytes(whole))
    yield _sent("PNG without its end", (200, 400), "", _file("PNG")[:-12])
    yield _sent(
        "PNG with a wrong checksum", (400, 415), "upload|Send PNG", _file("PNG")[:29] + b"XXXX" + _file("PNG")[33:]
    )
    yield _sent("PNG without data", 400, "damaged", png_chunks((8, 8)))


def png_chunks(size: tuple[int, int], *chunks: tuple[bytes, bytes], depth: int = 8, colour: int = 2) -> bytes:
    """A PNG of these chunks, whatever they say."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    body = b""
    for name, data in ((b"IHDR", header), *chunks, (b"IEND", b"")):
        body += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return b"\x89PNG\r\n\x1a\n" + body


@cache
def _zeros(count: int) -> bytes:
    """`count` zero bytes, deflated."""
    packer = zlib.compressobj(9)
    piece = bytes(1 << 20)
    whole, rest = divmod(count, len(piece))
    return b"".join(packer.compress(piece) for _ in range(whole)) + packer.compress(bytes(rest)) + packer.flush()


def bombs() -> Iterator[Case]:
    """Small files that say they are huge, or are."""
    large = "megapixels"
    data = (b"IDAT", zlib.compress(bytes(1000)))
    yield _sent("PNG of 2^31 - 1 squared", (400, 413, 415), "", png_chunks((2**31 - 1, 2**31 - 1), data))
    yield _sent("PNG of 60000 squared", 413, large, png_chunks((60_000, 60_000), data))
    yield _sent("PNG of 1 x 30 million", 413, large, png_chunks((1, 30_000_000), data))
    yield _sent("PNG of 0 x 5", (400, 415), "", png_chunks((0, 5), data))
    yield _sent(
        "PNG of 5200 squared, all there", 413, large, png_chunks((5200, 5200), (b"IDAT", _zeros(5200 * 15_601)))
    )
    yield _sent("PNG of 5000 squared with too little data", 400, "damaged", png_chunks((5000, 5000), data))
    yield _sent("PNG with more data than pixels", (200, 400), "", png_chunks((48, 32), (b"IDAT", _zeros(100 << 20))))
    yield _sent(
        "PNG with 100 MB of deflated text",
        (200, 400),
        "",
        png_chunks((48, 32), (b"zTXt", b"Comment\0\0" + _zeros(100 << 20)), (b"IDAT", _zeros(32 * 145))),
    )
    yield _sent(
        "PNG with 100 MB of deflated international text",
        (200, 400),
        "",
        png_chunks((48, 32), (b"iTXt", b"Comment\0\1\0\0\0" + _zeros(100 << 20)), (b"IDAT", _zeros(32 * 145))),
    )
    yield _sent(
        "PNG with a profile of 100 MB",
        (200, 400),
        "",
        png_chunks((48, 32), (b"iCCP", b"icc\0\0" + _zeros(100 << 20)), (b"IDAT", _zeros(32 * 145))),
    )
    yield _sent(
        "PNG with 20000 chunks",
        (200, 400),
        "",
        png_chunks((48, 32), *[(b"tEXt", b"a\0b")] * 20_000, (b"IDAT", _zeros(32 * 145))),
    )
    yield _sent(
        "GIF of 65535 squared",
        413,
        large,
        b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + b",\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;",
    )
    yield _sent(
        "GIF whose frame is larger than its screen",
        (200, 400, 413),
        "",
        b"GIF89a\x01\0\x01\0\x80\0\0" + bytes(6) + b",\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;",
    )
    bmp = bytearray(_file("BMP"))
    bmp[18:26] = struct.pack("<ii", 50_000, 50_000)
    yield _sent("BMP of 50000 squared", 413, large, bytes(bmp))
    bmp[18:26] = struct.pack("<ii", -48, -(2**31))
    yield _sent("BMP of negative size", (400, 413, 415), "", bytes(bmp))
    jpeg = bytearray(_file("JPEG"))
    start = jpeg.index(b"\xff\xc0")
    jpeg[start + 5 : start + 9] = struct.pack(">HH", 65_500, 65_500)
    yield _sent("JPEG of 65500 squared", 413, large, bytes(jpeg))
    tiff = bytearray(_file("TIFF"))
    for tag in (256, 257):
        place = tiff.index(
            struct.pack("<HH", tag, 4) if struct.pack("<HH", tag, 4) in tiff else struct.pack("<HH", tag, 3)
        )
        tiff[place + 2 : place + 12] = struct.pack("<HII", 4, 1, 100_000)
    yield _sent("TIFF of 100000 squared", 413, large, bytes(tiff))
    webp = bytearray(saved(smooth(), "WEBP", lossless=True))
    place = webp.index(b"VP8L") + 9
    webp[place : place + 4] = struct.pack("<I", 16_383 | 16_383 << 14)
    yield _sent("WebP of 16384 squared", 413, large, bytes(webp))
    loop = bytearray(_file("TIFF"))
    directory = struct.unpack_from("<I", loop, 4)[0]
    count = struct.unpack_from("<H", loop, directory)[0]
    loop[directory + 2 + 12 * count : directory + 6 + 12 * count] = struct.pack("<I", directory)
    yield _sent("TIFF whose pages go round in circles", (200, 400, 415), "", bytes(loop))


def no_pictures() -> Iterator[Case]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("photo.png", _file("PNG"))
    noise = np.random.default_rng(3).bytes(3000)
    for name, content, says in (
        ("nothing", b"", "empty"),
        ("one zero byte", b"\0", SEND),
        ("a megabyte of zeros", bytes(1 << 20), SEND),
        ("noise", noise, SEND),
        ("text", b"This is a photo of my cat.", SEND),
        ("HTML", b"<!doctype html><img src=x onerror=alert(1)>", SEND),
        ("SVG", b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>", SEND),
        ("SVG with an entity bomb", b"<!DOCTYPE s [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]><svg>&b;</svg>", SEND),
        ("JSON", b'{"image": "iVBORw0KGgo="}', SEND),
        ("base64 of a PNG", b"data:image/png;base64,iVBORw0KGgoAAAANSUhEUg==", SEND),
        ("an address", b"http://169.254.169.254/latest/meta-data/", SEND),
        ("a path", b"/etc/passwd", SEND),
        ("ZIP", archive.getvalue(), SEND),
        ("PDF", b"%PDF-1.7\n" + noise, SEND),
        ("PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(r) file\n", SEND),
        ("an executable", b"\x7fELF\x02\x01\x01" + noise, SEND),
        ("a pickle", b"\x80\x04\x95\x0f\0\0\0\0\0\0\0\x8c\x02os\x94\x8c\x06system\x94\x93\x94.", SEND),
        ("HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + noise, "HEIC"),
        ("MP4", b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + noise, SEND),
        ("WAV in RIFF", b"RIFF\x24\x08\0\0WAVEfmt " + noise, SEND),
        ("JPEG 2000", b"\0\0\0\x0cjP  \r\n\x87\n" + noise, SEND),
        ("Photoshop", b"8BPS\0\1" + noise, SEND),
        ("ICO", b"\0\0\1\0\1\0" + noise, SEND),
        ("a PPM", b"P6 2 2 255\n" + bytes(12), SEND),
        ("XBM, which is C", b"#define x_width 8\n#define x_height 8\nstatic char x_bits[] = {0};", SEND),
        ("PNG signature alone", b"\x89PNG\r\n\x1a\n", ""),
        ("PNG signature and noise", b"\x89PNG\r\n\x1a\n" + noise, ""),
        ("JPEG signature alone", b"\xff\xd8\xff", ""),
        ("JPEG signature and noise", b"\xff\xd8\xff\xe0" + noise, ""),
        ("GIF signature alone", b"GIF89a", ""),
        ("WebP signature and noise", b"RIFF\xff\xff\xff\xffWEBPVP8 " + noise, ""),
        ("TIFF signature and noise", b"II*\0\x08\0\0\0" + noise, ""),
        ("BMP signature and noise", b"BM" + noise, ""),
        ("AVIF signature and noise", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1" + noise, ""),
    ):  # fmt: skip
        yield _sent(name, 415 if says else (400, 413, 415), says, content)


def polyglots() -> Iterator[Case]:
    """Files that are two things at once: they are read as the picture that they are, and nothing else of them is."""
    pixels = photo(4)
    png = saved(pixels)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("evil.php", "<?php system($_GET[0]); ?>")
    yield _sent("PNG with a ZIP behind it", 200, "", png + archive.getvalue(), pixels=pixels)
    yield _sent("PNG with a script behind it", 200, "", png + b"<script>alert(1)</script>", pixels=pixels)
    yield _sent(
        "JPEG with PHP in its comment",
        200,
        "",
        saved(smooth(), "JPEG", quality=100, subsampling=0, comment=b"<?php x(); ?>"),
        pixels=smooth(),
        tolerance=4,
    )
    yield _sent("GIF that is JavaScript too", (200, 400, 415), "", b"GIF89a/*" + _file("GIF")[8:] + b"*/=1;alert(1)")
    yield _sent("PDF that holds a PNG", 415, SEND, b"%PDF-1.4\n" + png)
    yield _sent("ZIP that ends in a PNG", 415, SEND, archive.getvalue() + png)
    yield _sent("BMP that begins as HTML", 415, SEND, b"<html>" + _file("BMP"))
    for name, media_type in (
        ("photo.exe", "application/x-msdownload"), ("photo.html", "text/html"), ("photo.jpg", "image/jpeg"),
        ("photo", ""), ("photo.svg", "image/svg+xml"), ("photo.png", "multipart/mixed; boundary=x"),
    ):  # fmt: skip
        yield post(
            f"picture: PNG called {name} of type {media_type or 'nothing'}",
            200,
            "",
            image_part(png, name, media_type),
            box_part(),
            pixels=pixels,
        )
    for name in (
        "../../etc/passwd",
        "..\\..\\boot.ini",
        "/etc/passwd",
        "nul\\0.png",
        "a" * 3000,
        "фото 🐈.png",
        "",
        "con",
        "a;b=c",
    ):
        sent = post(f"picture: file called {name[:20]!r}", 200, "", image_part(png, name), box_part(), pixels=pixels)
        yield sent


def several_frames() -> Iterator[Case]:
    frames = [Image.fromarray(photo(seed)) for seed in (5, 6, 7)]
    for format in ("GIF", "WEBP", "PNG", "TIFF", "AVIF"):
        content = saved(frames[0], format, save_all=True, append_images=frames[1:])
        yield _sent(f"{format} of three frames", 415, "Send one of them", content)
    content = saved(frames[0], "MPO", save_all=True, append_images=frames[1:], quality=100, subsampling=0)
    yield _sent("MPO, a JPEG with more behind it", 200, "", content)


def modes() -> Iterator[Case]:
    """Every kind of pixel comes back as itself, or in the 8-bit kind nearest to it."""
    rgb, grey, alpha = photo(8), photo(9)[..., :1], photo(10)[..., :1]
    rgba, la = np.concatenate([rgb, alpha], axis=2), np.concatenate([grey, alpha], axis=2)
    yield _sent("RGB", 200, "", saved(rgb), pixels=rgb)
    yield _sent("RGBA", 200, "", saved(rgba), pixels=rgba)
    yield _sent("grey", 200, "", saved(grey[..., 0]), pixels=grey)
    yield _sent("grey with alpha", 200, "", saved(Image.fromarray(la, "LA")), pixels=la)
    bits = grey > 127
    yield _sent("1 bit", 200, "", saved(Image.fromarray(bits[..., 0])), pixels=(bits * 255).astype(np.uint8))
    sixteen = grey[..., 0].astype(np.uint16) * 257
    yield _sent("16-bit grey", 200, "", saved(Image.fromarray(sixteen)), pixels=grey)
    yield _sent(
        "16-bit grey TIFF, big-endian", 200, "", saved(Image.fromarray(sixteen.astype(">u2")), "TIFF"), pixels=grey
    )
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rgb.astype(np.uint16) * 257)
    yield _sent("16-bit RGB", 200, "", png_chunks((48, 32), (b"IDAT", zlib.compress(rows)), depth=16), pixels=rgb)
    palette = Image.fromarray(rgb).quantize(64)
    yield _sent("palette", 200, "", saved(palette), pixels=np.asarray(palette.convert("RGB")))
    see_through = palette.copy()
    see_through.info["transparency"] = bytes(range(64))
    content = saved(see_through, transparency=bytes(range(64)))
    yield _sent("palette with transparency", 200, "", content, pixels=np.asarray(see_through.convert("RGBA")))
    gif = saved(palette, "GIF", transparency=3)
    yield _sent("GIF with a transparent colour", 200, "", gif)
    soft = Image.fromarray(smooth())
    for format in ("JPEG", "TIFF"):
        content = saved(soft.convert("CMYK"), format, **({"quality": 100} if format == "JPEG" else {}))
        yield _sent(f"CMYK {format}", 200, "", content, pixels=smooth(), tolerance=5)
    yield _sent(
        "LAB TIFF",
        200,
        "",
        saved(
            ImageCms.applyTransform(
                soft,
                ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"),
            ),
            "TIFF",
        ),
        pixels=smooth(),
        tolerance=20,
    )
    yield _sent("YCbCr TIFF", 200, "", saved(soft.convert("YCbCr"), "TIFF"), pixels=smooth(), tolerance=5)
    unit = (smooth()[..., 0] / 255).astype(np.float32)
    yield _sent("TIFF of floats from 0 to 1", 200, "", saved(Image.fromarray(unit), "TIFF"), pixels=smooth()[..., :1])
    for name, value in (("NaN", np.nan), ("infinity", np.inf), ("-1", -1.0), ("7", 7.0)):
        odd = unit.copy()
        odd[0, 0] = value
        yield _sent(f"TIFF of floats with {name}", 415, "8 or 16 bits", saved(Image.fromarray(odd), "TIFF"))
    yield _sent(
        "TIFF of 32-bit integers",
        415,
        "8 or 16 bits",
        saved(Image.fromarray(smooth()[..., 0].astype(np.int32) * 9), "TIFF"),
    )
    yield _sent("interlaced PNG", 200, "", _interlaced(), pixels=np.zeros((32, 48, 1), np.uint8))
    yield _sent(
        "progressive JPEG",
        200,
        "",
        saved(smooth(), "JPEG", progressive=True, quality=100, subsampling=0),
        pixels=smooth(),
        tolerance=4,
    )
    yield _sent(
        "PNG of colour type 5, which there is not",
        (400, 415),
        "",
        png_chunks((48, 32), (b"IDAT", _zeros(9999)), colour=5),
    )
    yield _sent(
        "PNG of 3 bits, which there is not", (400, 415), "", png_chunks((48, 32), (b"IDAT", _zeros(9999)), depth=3)
    )
    yield _sent(
        "palette PNG without a palette", (200, 400), "", png_chunks((48, 32), (b"IDAT", _zeros(32 * 49)), colour=3)
    )


def _interlaced() -> bytes:
    """Adam7, black: seven passes, each row with its filter byte."""
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    size = sum(len(range(y, 32, dy)) * (1 + len(range(x, 48, dx))) for x, y, dx, dy in passes)
    header = struct.pack(">IIBBBBB", 48, 32, 8, 0, 0, 0, 1)
    whole = png_chunks((48, 32), (b"IDAT", _zeros(size)))
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return whole[:8] + chunk + whole[33:]


_TURNED = {
    1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2), 6: lambda p: np.rot90(p, 1), 7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p, -1),
}  # fmt: skip
"""How a camera stores an upright picture under each EXIF orientation."""


def _exif(orientation: object) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def orientations() -> Iterator[Case]:
    upright = photo(11)
    for number, turn in _TURNED.items():
        stored = np.ascontiguousarray(turn(upright))
        yield _sent(f"EXIF orientation {number} in PNG", 200, "", saved(stored, exif=_exif(number)), pixels=upright)
        content = saved(stored, "WEBP", lossless=True, exif=_exif(number))
        yield _sent(f"EXIF orientation {number} in WebP", 200, "", content, pixels=upright)
        content = saved(np.ascontiguousarray(turn(smooth())), "JPEG", quality=100, subsampling=0, exif=_exif(number))
        yield _sent(f"EXIF orientation {number} in JPEG", 200, "", content, pixels=smooth(), tolerance=4)
    for number in (0, 9, 65_535):
        yield _sent(
            f"EXIF orientation {number}, which there is not",
            200,
            "",
            saved(upright, exif=_exif(number)),
            pixels=upright,
        )
    for name, block in (
        ("noise", b"Exif\0\0" + bytes(range(256))),
        ("nothing", b"Exif\0\0"),
        ("a loop", b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0"),
    ):
        yield _sent(f"EXIF block of {name}", 200, "", saved(upright, exif=block), pixels=upright)


def profiles() -> Iterator[Case]:
    """A profile that cannot be used is as none."""
    pixels, grey = photo(12), photo(13)[..., :1]
    good = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    yield _sent("sRGB profile", 200, "", saved(pixels, icc_profile=good), pixels=pixels)
    for name, profile in (
        ("of noise", np.random.default_rng(14).bytes(500)), ("cut in half", good[: len(good) // 2]),
        ("of one byte", b"x"), ("with overwritten tags", good[:128] + bytes(200) + good[328:]),
        ("that says it has 4 GB", b"\xff\xff\xff\xff" + good[4:]), ("of another colour space", lab),
        ("with a million tags", good[:128] + b"\x00\x0f\x42\x40" + good[132:]),
    ):  # fmt: skip
        yield _sent(f"profile {name}", 200, "", saved(pixels, icc_profile=profile), pixels=pixels)
        yield _sent(f"grey, with a profile {name}", 200, "", saved(grey[..., 0], icc_profile=profile), pixels=grey)


def shapes() -> Iterator[Case]:
    for width, height in ((1, 1), (1, 500), (500, 1), (3, 2)):
        pixels = photo(15, width, height)
        yield post(f"picture: {width}x{height}", 200, "", image_part(saved(pixels)), box_part("0,0,1,1"))
    largest = saved(np.zeros((4990, 5000, 3), np.uint8), compress_level=1)
    yield post("picture: 24.95 megapixels, all there", 200, "", image_part(largest), box_part())
    yield post(
        "picture: 20000x2 as webp",
        400,
        "format=png",
        image_part(saved(np.zeros((2, 20_000), np.uint8))),
        box_part("0,0,2,2"),
        Part("format", b"webp"),
    )
