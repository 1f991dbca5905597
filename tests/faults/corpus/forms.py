"""Forms, masks and fields that are wrong, contradict each other, or are right in an unusual way."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from PIL import Image

from tests.faults.corpus.case import (
    BOUNDARY,
    HEIGHT,
    HOLE,
    WIDTH,
    Case,
    Part,
    box_part,
    form,
    form_headers,
    hole_mask,
    image_part,
    photo,
    post,
    saved,
)
from tests.faults.corpus.pictures import _exif, png_chunks

PIXELS = photo(20)
PNG = saved(PIXELS)
IMAGE = image_part(PNG)


def form_cases() -> Iterator[Case]:
    yield from masks()
    yield from boxes()
    yield from fields()
    yield from parts()
    yield from multiparts()


def _masked(name: str, status: int | tuple[int, ...], says: str, mask: bytes, **more: object) -> Case:
    return post(f"mask: {name}", status, says, IMAGE, Part("mask", mask, "mask.png", "image/png"), **more)


def masks() -> Iterator[Case]:
    mask = hole_mask()
    opaque = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    opaque[..., 3] = mask
    yield _masked("black and white", 200, "", saved(mask), pixels=PIXELS)
    yield _masked("1 bit", 200, "", saved(Image.fromarray(mask > 0)), pixels=PIXELS)
    yield _masked("16 bits", 200, "", saved(Image.fromarray(mask.astype(np.uint16) * 257)), pixels=PIXELS)
    yield _masked("in colour", 200, "", saved(np.repeat(mask[..., None], 3, 2)), pixels=PIXELS)
    yield _masked("by its alpha", 200, "", saved(opaque), pixels=PIXELS)
    yield _masked("JPEG", 200, "", saved(mask, "JPEG", quality=100))
    yield _masked("white all over", 200, "", saved(np.full_like(mask, 255)))
    yield _masked("inverted, which is a mask too", 200, "", saved(255 - mask))
    yield _masked("black all over", 400, "white", saved(np.zeros_like(mask)))
    yield _masked("grey just below the half", 400, "white", saved(np.full_like(mask, 127)))
    yield _masked("transparent all over", 400, "opaque", saved(np.zeros((HEIGHT, WIDTH, 4), np.uint8)))
    for width, height in ((WIDTH - 1, HEIGHT), (WIDTH, HEIGHT + 1), (1, 1), (2 * WIDTH, 2 * HEIGHT), (HEIGHT, WIDTH)):
        other = saved(np.full((height, width), 255, np.uint8))
        yield _masked(f"of {width}x{height}", 422, f"{width}x{height}", other)
    turned = saved(mask, exif=_exif(6))
    yield _masked("turned by its EXIF", 422, "EXIF", turned)
    yield _masked("of nothing", 415, "mask is empty", b"")
    yield _masked("of text", 415, "sent as mask", b"the left half please")
    yield _masked("cut off", 400, "sent as mask", saved(photo(21)[..., 0])[:400])
    yield _masked("of 60000 squared", 413, "mask has|mask is", png_chunks((60_000, 60_000), (b"IDAT", b"x")))
    frames = [Image.fromarray(mask), Image.fromarray(255 - mask)]
    yield _masked(
        "of two frames", 415, "mask has several", saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    )
    yield post("mask: as text", 400, "send it as a file", IMAGE, Part("mask", b"white"))
    yield post("mask: an empty file field and a box", 200, "", IMAGE, Part("mask", b"", ""), box_part(), pixels=PIXELS)
    yield post("mask: and box", 400, "not both", IMAGE, Part("mask", saved(mask), "m.png"), box_part())
    yield post("mask: none, and no transparency", 400, "`mask`", IMAGE)
    clear = np.dstack([PIXELS, 255 - mask])
    yield post(
        "mask: the image's own alpha",
        200,
        "",
        image_part(saved(clear)),
        pixels=np.dstack([PIXELS, np.full_like(mask, 255)]),
    )
    solid = np.dstack([PIXELS, np.full_like(mask, 255)])
    yield post("mask: an alpha that is opaque all over", 400, "`mask`", image_part(saved(solid)))
    huge = saved(np.zeros((5000, 4900), np.uint8))
    yield post(
        "mask: too small for 24.5 megapixels", 422, "4900x5000", image_part(huge), Part("mask", saved(mask), "m.png")
    )


def boxes() -> Iterator[Case]:
    for box in ("0,0,48,32", "47,31,1,1", "-5,-5,20,20", "40,20,999999,999999", " 8 , 6 , 12 , 10 ", "8,6,12,10"):
        yield post(f"box: {box}", 200, "", IMAGE, box_part(box), pixels=PIXELS if box == "8,6,12,10" else None)
    yield post("box: two", 200, "", IMAGE, box_part(), box_part("0,0,2,2"))
    yield post("box: 256 of them", 200, "", IMAGE, *[box_part()] * 256)
    yield post("box: 257 of them", 400, "mask", IMAGE, *[box_part()] * 257)
    yield post("box: 5000 of them", 400, "", IMAGE, *[box_part()] * 5000)
    for box in ("48,0,1,1", "0,32,1,1", "-9,-9,9,9", "0,0,0,5", "0,0,5,-1", "0,0,0,0"):
        yield post(f"box: {box}", 400, box, IMAGE, box_part(box))
    for box in (
        "1,2,3", "1,2,3,4,5", "a,b,c,d", "1.5,2,3,4", "1e3,2,3,4", "NaN,0,1,1", "inf,inf,inf,inf", "0x1,0x1,1,1",
        "1;2;3;4", "(1,2,3,4)", "[1,2,3,4]", "1 2 3 4", "9999999,0,1,1", "1,2,3,4\0", "１a,２,３,４", "--1,2,3,4",
        "1,2,3,4' OR 1=1", "9" * 4000,
    ):  # fmt: skip
        yield post(f"box: {box[:24]!r}", 400, "x,y,width,height", IMAGE, box_part(box))
    yield post("box: digits of another script", (200, 400), "", IMAGE, box_part("٨,٦,٢,٢"))
    yield post("box: empty", 400, "`mask`", IMAGE, box_part(""))
    yield post("box: as a file", 400, "box", IMAGE, Part("box", b"1,2,3,4", "box.txt", "text/plain"))


def fields() -> Iterator[Case]:
    for field, values, says in (
        (
            "dilate",
            ("-1", "257", "1.5", "NaN", "inf", "1e2", "0x10", "many", "null", "true", "9" * 400, "\0", "1\n2"),
            "dilate",
        ),
        ("quality", ("0", "101", "-5", "nan", "Infinity", "best", "5" * 3000), "quality"),
        ("strategy", ("best", "AUTO", "auto,crop", "../auto", "\u202eotua", "a" * 4000), "strategy"),
        ("blend", ("alpha", "Feather", "None", "[]"), "blend"),
        ("format", ("bmp", "PNG", "image/png", "exe", "svg", ".png"), "format"),
    ):
        for value in values:
            shown = value if len(value) < 24 else f"{value[:10]}... ({len(value)})"
            yield post(f"{field}: {shown!r}", 400, says, IMAGE, box_part(), Part(field, value.encode()))
    for field, value in (
        ("dilate", "0"), ("dilate", "256"), ("dilate", "+7"), ("model", "glcic-celeba@"), ("quality", "1"),
        ("quality", "100"), ("model", ""),
        ("strategy", "original"), ("strategy", "resize"), ("blend", "poisson"), ("blend", "none"), ("format", "webp"),
        ("format", "jpeg"),
    ):  # fmt: skip
        yield post(f"{field}: {value!r} is fine", 200, "", IMAGE, box_part(), Part(field, value.encode()))
    for field in ("dilate", "quality", "strategy", "blend", "format"):
        yield post(f"{field}: empty", (200, 400), field, IMAGE, box_part(), Part(field, b""))
    for value in (
        "stable-diffusion", "../../etc/passwd", "/etc/passwd", "..\\..\\x", "glcic-celeba@00000000",
        "@", "glcic-celeba@../../x", "*", "%2e%2e%2f", "модель", "glcic-celeba\0.json", "http://example.org/x",
    ):  # fmt: skip
        yield post(f"model: {value!r}", 404, "Models:|Versions:", IMAGE, box_part(), Part("model", value.encode()))
    yield post("model: of another family", 400, "samples", IMAGE, box_part(), Part("model", b"dcgan-celeba"))
    yield post("model: too long", 400, "model", IMAGE, box_part(), Part("model", b"a" * 200))
    yield post("dilate: bytes that are no text", 400, "", IMAGE, box_part(), Part("dilate", b"\xff\xfe\x80"))


def parts() -> Iterator[Case]:
    yield post("parts: none at all", 400, "image")
    yield post("parts: no image", 400, "image", Part("mask", PNG, "m.png"))
    yield post("parts: image as text", 400, "send it as a file", Part("image", b"photo.png"), box_part())
    yield post("parts: image without a file name", 400, "file name", Part("image", PNG), box_part())
    yield post("parts: Image with a capital", 400, "Fields: image", Part("Image", PNG, "p.png"), box_part())
    yield post("parts: two images", 400, "`image` was sent 2 times", IMAGE, IMAGE, box_part())
    yield post(
        "parts: two masks", 400, "`mask` was sent 2 times", IMAGE, *[Part("mask", saved(hole_mask()), "m.png")] * 2
    )
    yield post("parts: six files", 400, "4", *[IMAGE] * 6)
    yield post(
        "parts: two formats",
        400,
        "`format` was sent 2 times",
        IMAGE,
        box_part(),
        Part("format", b"png"),
        Part("format", b"webp"),
    )
    yield post("parts: one that nobody knows", 400, "`colour`", IMAGE, box_part(), Part("colour", b"red"))
    yield post("parts: 400 that nobody knows", 400, "", IMAGE, box_part(), *[Part(f"x{n}", b"1") for n in range(400)])
    yield post("parts: a field of a megabyte", 400, "4 kB", IMAGE, box_part(), Part("dilate", b"1" * (1 << 20)))
    yield post("parts: a name of a megabyte", (200, 400), "", IMAGE, box_part(), Part("x" * (1 << 20), b"1"))
    yield post("parts: a name with a NUL", 400, "no field", IMAGE, box_part(), Part("a\0b", b"1"))
    yield post(
        "parts: __proto__ and __class__",
        400,
        "no field",
        IMAGE,
        box_part(),
        Part("__proto__", b"1"),
        Part("__class__", b"1"),
    )


def multiparts() -> Iterator[Case]:
    body, headers = form(IMAGE, box_part()), form_headers()
    good = Case("multipart: as it should be", 200, body=body, headers=headers, pixels=PIXELS)
    yield good

    def broken(name: str, status: int | tuple[int, ...], says: str = "", **changes: object) -> Case:
        return replace(good, name=f"multipart: {name}", status=status, says=says, pixels=None, **changes)

    mark = BOUNDARY.encode()
    yield broken("no body", 400, body=b"")
    yield broken("the boundary alone", 400, body=b"--" + mark)
    yield broken("the end alone", 400, "image", body=b"--" + mark + b"--\r\n")
    yield broken("no boundary in the header", 400, headers={"Content-Type": "multipart/form-data"})
    yield broken("an empty boundary", 400, headers={"Content-Type": "multipart/form-data; boundary="})
    yield broken("another boundary", 400, headers=form_headers("other"))
    yield broken("a boundary of 10000 characters", 400, headers=form_headers("b" * 10_000))
    yield broken("a quoted boundary", 200, headers={"Content-Type": f'multipart/form-data; boundary="{BOUNDARY}"'})
    yield broken("no last boundary", (200, 400), body=body.removesuffix(b"--" + mark + b"--\r\n"))
    yield broken("cut in the picture", 400, body=body[: len(body) // 2])
    yield broken("cut in a header", 400, body=body[:60])
    yield broken("bare line feeds", 400, body=body.replace(b"\r\n", b"\n"))
    yield broken("something before the first boundary", (200, 400), body=b"This is a form.\r\n" + body)
    yield broken("something behind the last boundary", (200, 400), body=body + b"more" * 1000)
    yield broken("noise", 400, body=np.random.default_rng(22).bytes(2000))
    yield broken("a megabyte of dashes", 400, body=b"-" * (1 << 20))
    for name, raw in (
        ("a part without headers", b""), ("a part without a name", b"Content-Disposition: form-data"),
        ("a part without a disposition", b"Content-Type: image/png"), ("a header without a colon", b"nonsense"),
        ("a part header of 100000 characters", b"X: " + b"y" * 100_000),
        ("2000 part headers", b"\r\n".join([b"X-A: b"] * 2000)),
        ("an attachment", b'Content-Disposition: attachment; name="image"; filename="a.png"'),
        ("an unclosed quote", b'Content-Disposition: form-data; name="image'),
        ("a name of bytes", b'Content-Disposition: form-data; name="\xff\xfe"'),
        ("base64 as its encoding", b'Content-Disposition: form-data; name="x"\r\nContent-Transfer-Encoding: base64'),
    ):  # fmt: skip
        part = Part("", b"abcd", raw_headers=raw)
        yield broken(name, (400, 415), "form|field|file|image", body=form(IMAGE, box_part(), part))
    for kind in (
        "application/json",
        "application/x-www-form-urlencoded",
        "image/png",
        "text/plain",
        "multipart/mixed; boundary=corpus-boundary",
        "",
        "a" * 5000,
        "multipart/form-data; boundary=corpus-boundary; charset=utf-16",
        "multipart/form-data; charset=nonsense; boundary=corpus-boundary",
    ):
        fine = kind.startswith("multipart/form-data")
        says = "" if fine else "multipart/form-data"
        yield broken(
            f"sent as {kind[:60] or 'nothing'}", (200, 400) if fine else 400, says, headers={"Content-Type": kind}
        )
    yield broken(
        "JSON", 400, "multipart/form-data", body=b'{"image": "x"}', headers={"Content-Type": "application/json"}
    )
    yield broken("a picture as the body", 400, "multipart/form-data", body=PNG, headers={"Content-Type": "image/png"})
    yield broken(
        "an urlencoded form",
        400,
        "multipart/form-data",
        body=b"image=photo.png&box=1,2,3,4",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    yield broken("said to be gzip", (200, 400, 415), headers=headers | {"Content-Encoding": "gzip"})
    yield broken("66 MB", 413, "64 MiB", body=form(image_part(bytes(66 << 20)), box_part()))
    x, y, w, h = HOLE
    yield replace(good, name="multipart: PUT under an id", method="PUT", path="/inpaint/corpus-put-1")
    yield broken(
        "the same id, another body",
        422,
        "Send that request's body|another id",
        method="PUT",
        path="/inpaint/corpus-put-1",
        body=form(IMAGE, box_part(f"{x},{y},{w},{h + 1}")),
    )
