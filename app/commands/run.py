"""`inpaint run`: complete pictures here, in this process, without the service."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.settings import ApiSettings
from models.catalog import Catalog, UnknownModelError, write_atomically
from models.engine import choose_device, open_engine, prepare_process
from models.glcic import geometry
from models.glcic.complete import complete
from models.loading import WeightsError
from worker.codecs.encode import encode
from worker.contracts import Blend, ImageFormat, Strategy
from worker.images import (
    Box,
    ImageError,
    Picture,
    decode_image,
    decode_mask,
    mask_from_alpha,
    mask_from_boxes,
    opaque_in,
    with_completed,
)
from worker.settings import WorkerSettings

DONE, FAILED, UNUSABLE = 0, 1, 2

_READ = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".avif", ".gif"}
_WRITTEN = {
    ".png": ImageFormat.PNG,
    ".jpg": ImageFormat.JPEG,
    ".jpeg": ImageFormat.JPEG,
    ".webp": ImageFormat.WEBP,
}
_ENDINGS = {ImageFormat.PNG: ".png", ImageFormat.JPEG: ".jpg", ImageFormat.WEBP: ".webp"}


class UsageError(ValueError):
    """The command line cannot be used; the message says what to give instead."""


class _Item(NamedTuple):
    """One picture to complete."""

    image: Path
    mask: Path | None
    output: Path
    image_format: ImageFormat


def run(
    images: Sequence[Path],
    output: Path,
    *,
    mask: Path | None = None,
    boxes: Sequence[str] = (),
    model: str | None = None,
    strategy: Strategy = Strategy.AUTO,
    dilate: int = 0,
    blend: Blend = Blend.AUTO,
    image_format: ImageFormat | None = None,
    quality: int = 95,
    device: str = "auto",
) -> int:
    """Complete `images`, files or folders, into `output` and return the exit status.

    The hole is `mask` (one for all, or a folder with a mask for each picture,
    of its name with any ending), or `boxes` (`x,y,width,height`), or else the
    picture's own transparency. One picture goes into the file `output`, several
    into the folder `output`. A picture that fails has its line on standard
    error, and the others go on: status 1. Status 2: nothing was begun.
    """
    settings, api = WorkerSettings.read(), ApiSettings.read()
    catalog = Catalog(store=settings.weights_dir)
    try:
        holes = [_read_box(text) for text in boxes]
        if mask is not None and holes:
            raise UsageError("Give either --mask or --box, not both.")
        items = _plan(images, output, mask, image_format)
        names = [model] if model else [name for name in (api.inpaint_model, api.scenes_model) if name]
        cards = [catalog.find(name) for name in names]
        for card in cards:
            if card.family != "glcic":
                raise UsageError(f"{card.name} draws pictures and completes none: use `inpaint sample`.")
        prepare_process(settings.threads)
        place = choose_device(device)
        engine, *others = [open_engine(catalog, card, place) for card in cards]
        elsewhere = others[0] if others else None
    except (UsageError, UnknownModelError, WeightsError, RuntimeError) as error:
        print(f"inpaint run: {error}", file=sys.stderr)
        return UNUSABLE

    def complete_item(item: _Item) -> None:
        picture = decode_image(item.image.read_bytes(), max_pixels=settings.max_pixels)
        picture, hole = _find_hole(picture, item.mask, holes, settings.max_pixels)
        hole = geometry.dilate(hole, dilate)
        completed = complete(picture.rgb, hole, engine, strategy=strategy.value, blend=blend.value, elsewhere=elsewhere)
        write_atomically(item.output, encode(with_completed(picture, completed, hole), item.image_format, quality))

    failed = 0
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("completing", total=len(items))
        for item in items:
            try:
                complete_item(item)
            except (ImageError, OSError, MemoryError) as error:
                failed += 1
                progress.console.print(
                    f"{item.image}: {_explain(error)}", markup=False, highlight=False, soft_wrap=True
                )
            progress.advance(bar)
    if failed:
        print(f"inpaint run: {failed} of {len(items)} failed.", file=sys.stderr)
        return FAILED
    used = " and ".join(card.reference for card in cards)
    if len(items) == 1:
        print(f"{items[0].output}: completed with {used}")
    else:
        print(f"{output}: {len(items)} pictures completed with {used}")
    return DONE


def _explain(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}."
    return str(error) or "Not enough memory."


def _plan(images: Sequence[Path], output: Path, mask: Path | None, image_format: ImageFormat | None) -> list[_Item]:
    """What is read and written. Raises UsageError."""
    files: list[Path] = []
    for path in images:
        if path.is_dir():
            files += sorted(file for file in path.iterdir() if file.suffix.lower() in _READ)
        elif path.exists():
            files.append(path)
        else:
            raise UsageError(f"{path} does not exist.")
    if not files:
        raise UsageError("There is no picture in " + ", ".join(str(path) for path in images) + ".")
    if mask is not None and not mask.exists():
        raise UsageError(f"The mask {mask} does not exist.")
    single = len(files) == 1 and not images[0].is_dir() and not output.is_dir()
    if not single and output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file; several pictures need a folder.")
    items = []
    for file in files:
        named = output if single else file
        chosen = image_format or _WRITTEN.get(named.suffix.lower())
        if chosen is None and single:
            raise UsageError(f"{output} should end in one of {', '.join(_WRITTEN)}; or give --format.")
        chosen = chosen or ImageFormat.PNG
        target = output if single else output / _named(file, chosen)
        items.append(_Item(file, _mask_of(file, mask), target, chosen))
    _check_targets(items)
    return items


def _named(file: Path, image_format: ImageFormat) -> str:
    """The picture's name, with its own ending where that is the format's."""
    if _WRITTEN.get(file.suffix.lower()) is image_format:
        return file.name
    return file.stem + _ENDINGS[image_format]


def _mask_of(file: Path, mask: Path | None) -> Path | None:
    """The mask for the picture `file`; where its folder has none, a path that is not there, for the message."""
    if mask is None or not mask.is_dir():
        return mask
    found = sorted(path for path in mask.glob(f"{_escaped(file.stem)}.*") if path.suffix.lower() in _READ)
    return found[0] if found else mask / f"{file.stem}.png"


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _check_targets(items: Sequence[_Item]) -> None:
    taken: dict[Path, Path] = {}
    for item in items:
        target = item.output.resolve()
        if target in taken:
            raise UsageError(f"{taken[target]} and {item.image} would both be written to {item.output}.")
        if target in (item.image.resolve(), item.mask and item.mask.resolve()):
            raise UsageError(f"{item.output} would overwrite what is read; choose another output.")
        taken[target] = item.image


def _read_box(text: str) -> Box:
    try:
        x, y, width, height = (int(number) for number in text.split(","))
    except ValueError:
        raise UsageError(f"--box {text} is not `x,y,width,height` in whole pixels, e.g. 120,80,64,64.") from None
    return x, y, width, height


def _find_hole(
    picture: Picture, mask: Path | None, boxes: Sequence[Box], max_pixels: int
) -> tuple[Picture, np.ndarray]:
    """The picture and its hole (H, W) bool. Raises ImageError, OSError."""
    if mask is not None:
        return picture, decode_mask(mask.read_bytes(), size=picture.size, max_pixels=max_pixels)
    if boxes:
        return picture, mask_from_boxes(boxes, picture.size)
    hole = mask_from_alpha(picture)
    return opaque_in(picture, hole), hole
