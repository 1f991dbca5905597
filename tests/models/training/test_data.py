"""Training data: every layout that users have, decoded once, and files that cannot be read."""

import gzip
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.training import data
from models.training.data import open_digits, open_pictures, positions
from models.training.errors import DataError
from tests.models.training.pictures import gradient, write_pictures


def test_official_celeba_folder_holds_the_official_split(tmp_path: Path) -> None:
    """`img_align_celeba` with the partition file beside it gives exactly the pictures of each official split."""
    names = write_pictures(tmp_path / "celeba" / "img_align_celeba", 6, 178, 218)
    partition = tmp_path / "celeba" / "list_eval_partition.txt"
    partition.write_text("".join(f"{Path(name).stem}.jpg {index % 3}\n" for index, name in enumerate(names)))
    for path in (tmp_path / "celeba", tmp_path / "celeba" / "img_align_celeba"):
        for number, split in enumerate(("train", "validation", "test")):
            found = open_pictures(path, size=16, split=split, cache=tmp_path / "cache")  # type: ignore[arg-type]
            assert [Path(name).name for name in found.names] == names[number::3]
            assert found.licence == "CelebA: non-commercial research only"


@pytest.mark.parametrize(
    ("given", "pictures", "partition"),
    [
        ("root", "root/celeba/img_align_celeba", "root/celeba/list_eval_partition.txt"),  # torchvision's
        ("CelebA", "CelebA/Img/img_align_celeba", "CelebA/Eval/list_eval_partition.txt"),
        ("CelebA/Img/img_align_celeba", "CelebA/Img/img_align_celeba", "CelebA/Eval/list_eval_partition.txt"),
        ("CelebA/Img/img_align_celeba.zip", "img_align_celeba", "CelebA/Eval/list_eval_partition.txt"),
        ("img_align_celeba.zip", "img_align_celeba", "list_eval_partition.txt"),
        ("kaggle", "kaggle/img_align_celeba/img_align_celeba", "kaggle/list_eval_partition.csv"),
    ],
)
def test_the_official_split_is_found_wherever_it_is_laid_out(
    tmp_path: Path, given: str, pictures: str, partition: str
) -> None:
    """Beside the pictures, above them, or in `Eval` beside `Img`: the list holds, and nothing is warned of."""
    names = write_pictures(tmp_path / pictures, 6, 16, 16)
    (tmp_path / partition).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / partition).write_text("".join(f"{Path(name).stem}.jpg {n % 3}\n" for n, name in enumerate(names)))
    if given.endswith(".zip"):
        (tmp_path / given).parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(tmp_path / given, "w") as archive:
            for name in names:
                archive.write(tmp_path / pictures / name, f"img_align_celeba/{name}")
    said: list[str] = []
    found = open_pictures(tmp_path / given, size=8, split="validation", cache=tmp_path / "cache", report=said.append)
    assert [Path(name).name for name in found.names] == names[1::3]
    assert found.aligned
    assert not any("named as CelebA's" in line for line in said)


def test_celeba_without_its_split_is_warned_of(tmp_path: Path) -> None:
    """A folder, or a zip, with the official names: the file to add, and where, is named each time."""
    names = write_pictures(tmp_path / "img_align_celeba", 60, 8, 8)
    with zipfile.ZipFile(tmp_path / "img_align_celeba.zip", "w") as archive:
        for name in names:
            archive.write(tmp_path / "img_align_celeba" / name, f"img_align_celeba/{name}")
    for given in ("img_align_celeba", "img_align_celeba.zip"):
        for _ in range(2):
            said: list[str] = []
            found = open_pictures(tmp_path / given, size=8, cache=tmp_path / "cache", report=said.append)
            assert not found.aligned
            assert "no list_eval_partition.txt" in said[0]
            assert said[0].endswith(f"put that file beside {tmp_path / given}.")
    write_pictures(tmp_path / "own" / "train", 4, 8, 8)
    open_pictures(tmp_path / "own", size=8, cache=tmp_path / "cache", report=said.append)
    assert not any(f"{tmp_path / 'own'} are named" in line for line in said)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_a_partition_of_other_pictures_is_passed_over(tmp_path: Path, packed: bool) -> None:
    """Birds that lie beside CelebA's list are no CelebA and have a split of their own; nor are they where a few of them
    have the same names."""
    (tmp_path / "list_eval_partition.txt").write_text("".join(f"{number:06d}.jpg 0\n" for number in range(1, 60)))
    birds = tmp_path / "birds"
    write_pictures(birds, 4)
    for number in range(60):
        Image.fromarray(gradient(number)).save(birds / f"bird-{number}.png")
    if packed:
        with zipfile.ZipFile(tmp_path / "birds.zip", "w") as archive:
            for file in sorted(birds.iterdir()):
                archive.write(file, file.name)
            archive.write(tmp_path / "list_eval_partition.txt", "list_eval_partition.txt")
        birds = tmp_path / "birds.zip"
    train, held_out = (
        open_pictures(birds, size=8, split=split, cache=tmp_path / "cache") for split in ("train", "validation")
    )
    assert len(train) + len(held_out) == 64
    assert len(held_out) > 0
    assert (train.licence, train.aligned) == ("", False)
    assert train.description.startswith(birds.name)


def test_central_square_of_celeba_is_the_usual_crop(tmp_path: Path) -> None:
    """178x218 pictures are cut at 0,20,178,198 and reduced with Lanczos."""
    write_pictures(tmp_path / "faces", 1, 178, 218)
    (tmp_path / "faces" / "list_eval_partition.txt").write_text("000001.jpg 0\n")
    found = open_pictures(tmp_path / "faces", size=64, cache=tmp_path / "cache")
    usual = Image.fromarray(gradient(0, 178, 218)).crop((0, 20, 178, 198)).resize((64, 64), Image.Resampling.LANCZOS)
    assert np.abs(found.pixels[0].astype(int) - np.asarray(usual).astype(int)).max() <= 1


def test_a_zip_and_a_folder_of_the_same_pictures_give_the_same(tmp_path: Path) -> None:
    """A zip, a folder, and a folder that holds one zip are the same data set."""
    write_pictures(tmp_path / "loose" / "train", 4)
    (tmp_path / "packed").mkdir()
    with zipfile.ZipFile(tmp_path / "packed" / "all.zip", "w") as archive:
        for file in sorted((tmp_path / "loose").rglob("*.png")):
            archive.write(file, file.relative_to(tmp_path / "loose"))
        archive.writestr("__MACOSX/train/000009.png", b"resource fork")
    loose = open_pictures(tmp_path / "loose", size=16, cache=tmp_path / "cache")
    for path in (tmp_path / "packed", tmp_path / "packed" / "all.zip"):
        packed = open_pictures(path, size=16, cache=tmp_path / "cache")
        assert packed.names == loose.names
        assert packed.unreadable == ()
        np.testing.assert_array_equal(packed.pixels, loose.pixels)


def test_unreadable_files_are_named_and_not_fatal(tmp_path: Path) -> None:
    """A truncated picture, a text file called .jpg and an empty file are counted and named; the rest is there."""
    names = write_pictures(tmp_path / "train", 3)
    whole = (tmp_path / "train" / names[0]).read_bytes()
    (tmp_path / "train" / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "train" / "text.jpg").write_text("no picture")
    (tmp_path / "train" / "empty.webp").touch()
    said: list[str] = []
    found = open_pictures(tmp_path, size=16, cache=tmp_path.parent / "cache", report=said.append)
    assert len(found) == 3
    assert sorted(Path(name).name for name in found.unreadable) == ["empty.webp", "half.png", "text.jpg"]
    assert "3 files" in said[-1]
    assert "half.png" in said[-1]


def test_deep_grey_is_scaled_and_what_is_transparent_hides_nothing(tmp_path: Path) -> None:
    """16 bits become 8 without clipping; a transparent place is of a neutral colour, whatever colour lies under it; an
    opaque picture with an alpha channel comes as it is; and 32 bits without a word on what is white are named."""
    folder = tmp_path / "train"
    folder.mkdir()
    deep = np.linspace(0, 65535, 32 * 32).round().reshape(32, 32).astype(np.uint16)
    hidden = np.full((32, 32, 4), (0, 255, 0, 0), np.uint8)
    hidden[8:24, 8:24] = (200, 100, 50, 255)
    opaque = np.dstack([gradient(1), np.full((32, 32), 255, np.uint8)])
    indexed = Image.fromarray(hidden[..., :3]).quantize(2)
    Image.fromarray(deep).save(folder / "deep.png")
    Image.fromarray(deep).save(folder / "keyed.png", transparency=65535)
    Image.fromarray(deep).save(folder / "deep.tif")
    Image.fromarray((deep / 65535).astype(np.float32)).save(folder / "real.tif")
    Image.fromarray(deep.astype(np.int32)).save(folder / "unknown.tif")
    Image.fromarray(hidden).save(folder / "hidden.png")
    Image.fromarray(opaque).save(folder / "opaque.png")
    indexed.save(folder / "indexed.png", transparency=indexed.getpixel((0, 0)))
    found = open_pictures(tmp_path, size=32, cache=tmp_path.parent / "cache")
    pixels = {Path(name).name: picture.astype(int) for name, picture in zip(found.names, found.pixels, strict=True)}
    assert [Path(name).name for name in found.unreadable] == ["unknown.tif"]
    for name in ("deep.png", "deep.tif", "real.tif"):
        assert np.abs(pixels[name] - deep[..., None] / 257).max() <= 0.51, name
    assert (pixels["keyed.png"][31, 31] == 127).all()
    assert np.array_equal(pixels["keyed.png"].reshape(-1, 3)[:-1], pixels["deep.png"].reshape(-1, 3)[:-1])
    for name in ("hidden.png", "indexed.png"):
        assert np.array_equal(pixels[name], np.where(hidden[..., 3:] > 0, hidden[..., :3], 127)), name
    assert np.array_equal(pixels["opaque.png"], gradient(1))


def test_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second opening decodes nothing; a changed file is decoded anew."""
    names = write_pictures(tmp_path / "set" / "train", 2)
    first = open_pictures(tmp_path / "set", size=16, cache=tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr(data, "_decode", lambda *_: pytest.fail("decoded again"))
        again = open_pictures(tmp_path / "set", size=16, cache=tmp_path / "cache")
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert first.mean_pixel == again.mean_pixel
    Image.fromarray(np.zeros((40, 40, 3), dtype=np.uint8)).save(tmp_path / "set" / "train" / names[0])
    changed = open_pictures(tmp_path / "set", size=16, cache=tmp_path / "cache")
    assert not changed.pixels[0].any()


def test_pictures_without_a_split_hold_some_out(tmp_path: Path) -> None:
    """Without a partition every picture belongs to train or validation, never to both."""
    names = write_pictures(tmp_path / "set", 80)
    train = open_pictures(tmp_path / "set", size=8, cache=tmp_path / "cache")
    held_out = open_pictures(tmp_path / "set", size=8, split="validation", cache=tmp_path / "cache")
    assert sorted(train.names + held_out.names) == names
    assert 0 < len(held_out) < 20


@pytest.mark.parametrize("what", ["nothing", "an empty folder", "a text file", "only broken pictures"])
def test_data_that_cannot_be_used_are_refused_in_words(tmp_path: Path, what: str) -> None:
    """What is not a data set is a DataError that names the path."""
    path = tmp_path / "set"
    if what == "a text file":
        path.write_text("no zip")
    elif what != "nothing":
        path.mkdir()
    if what == "only broken pictures":
        (path / "train").mkdir()
        (path / "train" / "x.png").write_text("broken")
    with pytest.raises(DataError, match=str(path)):
        open_pictures(path, size=16, cache=tmp_path / "cache")


def test_a_decompression_bomb_is_unreadable(tmp_path: Path) -> None:
    """A small file that would unfold to more than MAX_PIXELS is passed over before it is decoded."""
    write_pictures(tmp_path / "set" / "train", 1)
    buffer = io.BytesIO()
    Image.new("1", (9_000, 9_100)).save(buffer, "PNG")
    (tmp_path / "set" / "train" / "bomb.png").write_bytes(buffer.getvalue())
    found = open_pictures(tmp_path / "set", size=8, cache=tmp_path / "cache")
    assert [Path(name).name for name in found.unreadable] == ["bomb.png"]


def _write_idx(path: Path, values: np.ndarray) -> None:
    head = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    content = head + values.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize(("folder", "suffix"), [("", ".gz"), ("MNIST/raw", "")])
def test_digits_are_read_as_torchvision_lays_them_out(tmp_path: Path, folder: str, suffix: str) -> None:
    """idx files, gzipped or not, in the folder or in MNIST/raw; the last twelfth of the training files is held out."""
    pixels = np.random.default_rng(0).integers(0, 256, (120, 28, 28))
    labels = np.arange(120) % 10
    _write_idx(tmp_path / folder / f"train-images-idx3-ubyte{suffix}", pixels)
    _write_idx(tmp_path / folder / f"train-labels-idx1-ubyte{suffix}", labels)
    digits, names = open_digits(tmp_path)
    np.testing.assert_array_equal(digits, pixels[:110])
    np.testing.assert_array_equal(names, labels[:110])
    np.testing.assert_array_equal(open_digits(tmp_path, "validation")[0], pixels[110:])


def test_too_few_digits_to_hold_any_out_are_refused(tmp_path: Path) -> None:
    """Eleven digits are a DataError that says how many are needed."""
    _write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((11, 28, 28)))
    _write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(11))
    with pytest.raises(DataError, match="at least 12"):
        open_digits(tmp_path)


def test_a_damaged_idx_file_is_refused(tmp_path: Path) -> None:
    """A file whose head promises more than it holds is a DataError that says so."""
    _write_idx(tmp_path / "t10k-images-idx3-ubyte", np.zeros((2, 28, 28)))
    _write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.zeros(2))
    file = tmp_path / "t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match="should hold 1568 bytes"):
        open_digits(tmp_path, "test")


def test_an_epoch_shows_each_picture_once_and_processes_share_it() -> None:
    """Two processes with batches of 3 see all 12 pictures once in two steps, then in another order."""
    epochs = [
        np.concatenate([positions(step, 3, 12, 7, rank, 2) for step in steps for rank in (0, 1)])
        for steps in ((0, 1), (2, 3))
    ]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()
