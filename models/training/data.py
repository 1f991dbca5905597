"""Training data: pictures decoded once into a memory-mapped cache; MNIST's own files.

Read are: the official CelebA folder or zip with `list_eval_partition.txt` in or
beside it, as torchvision or as the official `Img` and `Eval` lay it out (the
official split then holds; a list that does not name nearly all of the pictures
is another data set's), any folder or zip of pictures
(`train/` and `val/` folders hold as the split; else every twentieth picture, by
a digest of its name, is held out), and MNIST as torchvision lays it out.
Pictures are data of unknown origin: only plain formats are decoded, and a file
that cannot be read is counted and named, not fatal.
"""

import fcntl
import gzip
import hashlib
import io
import json
import math
import os
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from models.catalog import write_atomically
from models.training import processes
from models.training.errors import DataError

Split = Literal["train", "validation", "test"]

FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
MAX_PIXELS = 80_000_000  # below the count at which Pillow warns

_UNREADABLE = (
    OSError,  # truncated, unidentified
    ValueError,
    SyntaxError,  # Pillow's word for a broken PNG
    RuntimeError,  # an encrypted zip, a compression this Python lacks
    EOFError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    Image.DecompressionBombError,
)
_LAYOUT = 2  # of the cache; raise it when what is stored for the same source changes
_CHUNK = 512  # pictures decoded ahead of the writer
_SPLIT_FOLDERS: dict[str, Split] = {
    "train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test",
}  # fmt: skip
_OFFICIAL: tuple[Split, ...] = ("train", "validation", "test")  # 0, 1, 2 in list_eval_partition.txt
_PARTITION = "list_eval_partition.txt"
_PARTITIONS = (_PARTITION, "list_eval_partition.csv")  # the official one, and Kaggle's
_CELEBA_NAME = re.compile(r"[0-2]\d{5}")  # 000001 to 202599
_NEARLY_ALL = 0.95  # of the pictures that a partition names: it is theirs
_NEUTRAL = (127, 127, 127, 255)  # where a picture is transparent
_CELEBA_LICENCE = "CelebA: non-commercial research only"


@dataclass(frozen=True)
class Pictures:
    """One split of a data set, decoded."""

    pixels: npt.NDArray[np.uint8]
    """(N, S, S, 3), RGB, memory-mapped and read-only."""
    names: tuple[str, ...]
    """Of the N pictures, relative to the folder or zip."""
    unreadable: tuple[str, ...]
    """Files that look like pictures but could not be decoded."""
    mean_pixel: tuple[float, float, float]
    """Mean colour, RGB in [0, 1]."""
    description: str
    """For a card: what and how many."""
    licence: str
    """Terms, where the data set is known; else empty."""
    aligned: bool = False
    """Whether all are faces in CelebA's frame, eyes and mouth always in the same places."""

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class _Source:
    """Pictures by name, and how to read one."""

    path: Path
    names: tuple[str, ...]
    read: Callable[[str], bytes]
    stamp: str  # changes when any file does
    partition: dict[str, Split]  # by stem; empty where the data set has no official split


def default_cache() -> Path:
    """`$DATA_DIR/cache`, or `~/.cache/inpaint-service` where that is not set."""
    data_dir = os.environ.get("DATA_DIR")
    return Path(data_dir) / "cache" if data_dir else Path.home() / ".cache" / "inpaint-service"


def open_pictures(
    path: Path,
    *,
    size: int,
    split: Split = "train",
    cache: Path | None = None,
    report: Callable[[str], None] | None = None,
) -> Pictures:
    """The central squares of a data set's pictures at `size` x `size`; decoded on first use, then mapped from `cache`.

    For CelebA's 178x218 the central square is the usual crop 0,20,178,198.
    Safe to call from several processes at once: one decodes, the others wait. Raises DataError.
    """
    report = report or (print if processes.rank() == 0 else _silence)
    source = _find_pictures(path.expanduser().resolve())
    if not source.partition and _looks_like_celeba(source):
        report(
            f"The pictures of {path} are named as CelebA's are, and no {_PARTITION} of theirs is in or beside it: "
            "every twentieth is held out in place of the official validation split, and none counts as an aligned face."
            f" If they are CelebA, put that file beside {source.path}."
        )
    names = tuple(name for name in source.names if _split_of(name, source) == split)
    if not names:
        raise DataError(f"{path} has pictures, but none of them belongs to the split '{split}'.")
    key = hashlib.sha256(f"{_LAYOUT}|{source.path}|{source.stamp}|{split}|{size}".encode()).hexdigest()[:24]
    folder = cache if cache is not None else default_cache()
    table, rows = folder / f"{key}.json", folder / f"{key}.rgb"
    with _locked(folder / f"{key}.lock"):
        if not table.exists():
            _decode_all(source, names, size, table, rows, report)
    kept = json.loads(table.read_bytes())
    if kept["unreadable"]:
        shown = ", ".join(kept["unreadable"][:5]) + (", ..." if len(kept["unreadable"]) > 5 else "")
        report(f"{len(kept['unreadable'])} files of {path} are left out, unreadable: {shown}")
    pixels = np.memmap(rows, dtype=np.uint8, mode="r", shape=(len(kept["names"]), size, size, 3))
    red, green, blue = kept["mean_pixel"]
    kind = "CelebA" if source.partition else path.name
    return Pictures(
        pixels=pixels,
        names=tuple(kept["names"]),
        unreadable=tuple(kept["unreadable"]),
        mean_pixel=(red, green, blue),
        description=f"{kind}, {split} split: {len(pixels)} pictures, central squares",
        licence=_CELEBA_LICENCE if source.partition else "",
        aligned=bool(source.partition),
    )


def open_digits(path: Path, split: Split = "train") -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """MNIST's pictures (N, 28, 28) and labels (N,), uint8, from idx files (gzipped or not) in `path` or its MNIST/raw.

    `test` is the official test set (10,000); of the rest the last twelfth (5,000) is `validation`, what comes before
    it `train`. Raises DataError.
    """
    stem = "t10k" if split == "test" else "train"
    pixels = _read_idx(path, f"{stem}-images-idx3-ubyte", dimensions=3)
    labels = _read_idx(path, f"{stem}-labels-idx1-ubyte", dimensions=1)
    if len(pixels) != len(labels):
        raise DataError(f"{path} has {len(pixels)} digits but {len(labels)} labels.")
    if split != "test" and len(pixels) < 12:
        raise DataError(f"{path} has {len(pixels)} digits, too few to hold any out. Send at least 12.")
    boundary = len(pixels) - len(pixels) // 12
    part = {"train": slice(boundary), "validation": slice(boundary, None), "test": slice(None)}[split]
    return pixels[part], labels[part]


def positions(
    step: int, batch_size: int, length: int, seed: int, rank: int = 0, world: int = 1
) -> npt.NDArray[np.intp]:
    """Which pictures make up the batch of `step`, without a state to save: each epoch is a permutation of its own.

    Processes take consecutive parts of the same stream, so that together they see each picture once an epoch.
    """
    first = (step * world + rank) * batch_size
    wanted = np.arange(first, first + batch_size)
    return np.array([_epoch(int(place // length), length, seed)[place % length] for place in wanted], dtype=np.intp)


_epochs: dict[tuple[int, int, int], npt.NDArray[np.intp]] = {}


def _epoch(number: int, length: int, seed: int) -> npt.NDArray[np.intp]:
    key = (number, length, seed)
    order = _epochs.get(key)
    if order is None:
        order = np.random.default_rng((seed, number, length)).permutation(length)
        while len(_epochs) >= 4:  # a batch touches two epochs at most
            _epochs.pop(next(iter(_epochs)), None)
        _epochs[key] = order
    return order


def _find_pictures(path: Path) -> _Source:
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if _is_picture(str(file.relative_to(path))) and file.is_file())
        if found:
            return _folder_source(path, found)
        archives = sorted(path.glob("*.zip"))
        if len(archives) != 1:
            what = (
                f"several zips ({', '.join(file.name for file in archives)}): name one" if archives else "no pictures"
            )
            raise DataError(f"{path} holds {what}.")
        path = archives[0]
    if not path.exists():
        raise DataError(f"There is no {path}: give a folder or a zip of pictures.")
    return _zip_source(path)


def _folder_source(path: Path, found: Sequence[Path]) -> _Source:
    digest = hashlib.sha256()
    names = []
    for file in found:
        name = file.relative_to(path).as_posix()
        status = file.stat()
        digest.update(f"{name}|{status.st_size}|{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
        names.append(name)
    inner = Path(os.path.commonpath([file.parent for file in found]))
    between = [folder for folder in (inner, *inner.parents) if folder.is_relative_to(path)]
    partition, stamp = _read_partition(names, *reversed(between), path.parent, path.parent.parent)
    return _Source(path, tuple(names), lambda name: (path / name).read_bytes(), digest.hexdigest() + stamp, partition)


def _zip_source(path: Path) -> _Source:
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is neither a folder nor a zip that can be read: {error}.") from error
    names = sorted(info.filename for info in archive.infolist() if not info.is_dir() and _is_picture(info.filename))
    if not names:
        raise DataError(f"{path} holds no pictures ({', '.join(sorted(SUFFIXES))}).")
    status = path.stat()
    partition, stamp = _read_partition(names, path.parent, path.parent.parent)
    if not partition:
        inside = [name for name in archive.namelist() if PurePosixPath(name).name in _PARTITIONS]
        if inside:
            text = archive.read(inside[0]).decode()
            partition, stamp = _parse_partition(text, names), hashlib.sha256(text.encode()).hexdigest()
    return _Source(path, tuple(names), archive.read, f"{status.st_size}|{status.st_mtime_ns}{stamp}", partition)


def _silence(_message: str) -> None:
    """All processes but the first say nothing."""


def _is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def _read_partition(names: Sequence[str], *folders: Path) -> tuple[dict[str, Split], str]:
    """The partition of the pictures `names` in one of `folders`, and its digest; empty where none there is theirs."""
    for folder in folders:
        for name in (*_PARTITIONS, f"Eval/{_PARTITION}"):
            if (folder / name).is_file():
                text = (folder / name).read_text()
                partition = _parse_partition(text, names)
                if partition:
                    return partition, hashlib.sha256(text.encode()).hexdigest()
    return {}, ""


def _parse_partition(text: str, names: Sequence[str]) -> dict[str, Split]:
    """`000001.jpg 0` a line (or with a comma, after a heading): 0 train, 1 validation, 2 test. By stem; empty where the
    text does not name nearly all of `names`."""
    partition: dict[str, Split] = {}
    for line in text.splitlines():
        fields = line.replace(",", " ").split()
        if len(fields) == 2 and fields[1] in ("0", "1", "2"):
            partition[PurePosixPath(fields[0]).stem] = _OFFICIAL[int(fields[1])]
    named = sum(PurePosixPath(name).stem in partition for name in names)
    return partition if named >= _NEARLY_ALL * len(names) else {}


def _looks_like_celeba(source: _Source) -> bool:
    """By the names that the official files have. Pictures in folders for each split are none that lost theirs."""
    if any(part.lower() in _SPLIT_FOLDERS for name in source.names for part in PurePosixPath(name).parts[:-1]):
        return False
    numbered = sum(bool(_CELEBA_NAME.fullmatch(PurePosixPath(name).stem)) for name in source.names)
    return numbered >= _NEARLY_ALL * len(source.names)


def _split_of(name: str, source: _Source) -> Split | None:
    path = PurePosixPath(name)
    if source.partition:
        return source.partition.get(path.stem)
    for part in path.parts[:-1]:
        if part.lower() in _SPLIT_FOLDERS:
            return _SPLIT_FOLDERS[part.lower()]
    return "validation" if zlib.crc32(name.encode(errors="surrogateescape")) % 20 == 0 else "train"


def _decode_all(
    source: _Source, names: Sequence[str], size: int, table: Path, rows: Path, report: Callable[[str], None]
) -> None:
    need, free = len(names) * size * size * 3, shutil.disk_usage(table.parent).free
    if need > free:
        raise DataError(f"The decoded pictures need {need / 1e9:.1f} GB in {table.parent}; {free / 1e9:.1f} are free.")
    report(f"Decoding {len(names)} pictures of {source.path} at {size}x{size} (once) ...")
    kept, unreadable, total = [], [], np.zeros(3)
    partial = rows.with_suffix(".partial")
    try:
        with partial.open("wb") as file, ThreadPoolExecutor() as pool:
            for start in range(0, len(names), _CHUNK):
                chunk = names[start : start + _CHUNK]
                for name, pixels in zip(chunk, pool.map(lambda name: _decode(source, name, size), chunk), strict=True):
                    if pixels is None:
                        unreadable.append(name)
                    else:
                        kept.append(name)
                        total += pixels.mean(axis=(0, 1))
                        file.write(pixels.tobytes())
        if not kept:
            raise DataError(f"None of the {len(names)} pictures of {source.path} can be read, e.g. {unreadable[0]}.")
        partial.replace(rows)
    except OSError as error:
        raise DataError(f"The cache {partial} cannot be written: {error}.") from error
    finally:
        partial.unlink(missing_ok=True)
    mean = (total / len(kept) / 255).tolist()
    content = {"source": str(source.path), "names": kept, "unreadable": unreadable, "mean_pixel": mean}
    write_atomically(table, json.dumps(content).encode())


def _decode(source: _Source, name: str, size: int) -> npt.NDArray[np.uint8] | None:
    """The central square at (size, size, 3) uint8; None where the file is no picture that we read."""
    try:
        with Image.open(io.BytesIO(source.read(name)), formats=FORMATS) as picture:
            if math.prod(picture.size) > MAX_PIXELS:
                return None
            picture.draft("RGB", (size, size))  # a large JPEG is decoded at a fraction of its size
            upright = _rgb(ImageOps.exif_transpose(picture))
    except _UNREADABLE:
        return None
    side = min(upright.size)
    left, top = (upright.width - side) // 2, (upright.height - side) // 2
    square = upright.resize((size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    return np.asarray(square)


def _rgb(picture: Image.Image) -> Image.Image:
    """In RGB as people see it: 16 bits scaled to 8, not clipped, and a neutral colour where it is transparent, not what
    that hides. As `worker.colour` does; raises ValueError likewise for 32 bits, of which nothing says what is white."""
    key = picture.info.get("transparency")
    if picture.mode.startswith("I;16"):
        samples = np.asarray(picture).astype(np.uint32)
        picture = Image.fromarray(((samples + 128) // 257).astype(np.uint8))
        if isinstance(key, int):
            picture.putalpha(Image.fromarray(np.where(samples == key, 0, 255).astype(np.uint8)))
    elif picture.mode == "F":
        real = np.asarray(picture)
        if not (np.isfinite(real).all() and real.min() >= 0 and real.max() <= 1):
            raise ValueError("Nothing says which value is white.")
        picture = Image.fromarray((real * 255).round().astype(np.uint8))
    elif picture.mode == "I":
        raise ValueError("Nothing says which value is white.")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    below = Image.new("RGBA", picture.size, _NEUTRAL)
    return Image.alpha_composite(below, picture.convert("RGBA")).convert("RGB")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise DataError(f"The cache folder {path.parent} cannot be written: {error}.") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file closes, by a crash too
        yield


def _read_idx(path: Path, name: str, dimensions: int) -> npt.NDArray[np.uint8]:
    candidates = [folder / f"{name}{suffix}" for folder in (path, path / "MNIST" / "raw") for suffix in ("", ".gz")]
    file = next((candidate for candidate in candidates if candidate.is_file()), None)
    if not path.exists():
        raise DataError(f"There is no {path}: give the folder with MNIST's idx files.")
    if file is None:
        raise DataError(f"{path} is not MNIST as torchvision lays it out: it has no {name}[.gz].")
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file} cannot be read: {error}.") from error
    head = 4 + 4 * dimensions
    if len(content) < head or content[:4] != bytes((0, 0, 8, dimensions)):  # 8: unsigned byte
        raise DataError(f"{file} is not an idx file of {dimensions} dimensions of bytes.")
    shape = struct.unpack(f">{dimensions}I", content[4:head])
    if len(content) != head + math.prod(shape):
        raise DataError(f"{file} should hold {math.prod(shape)} bytes of data and holds {len(content) - head}.")
    return np.frombuffer(content, dtype=np.uint8, offset=head).reshape(shape)
