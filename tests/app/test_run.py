"""`inpaint run`: what the service does, on files, without the service."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from app.commands.run import DONE, FAILED, UNUSABLE, run
from worker.contracts import Blend, ImageFormat, Strategy

pytestmark = pytest.mark.usefixtures("denormals_restored")

HOLE = (slice(20, 40), slice(30, 50))


@pytest.fixture
def denormals_restored() -> Iterator[None]:
    """`run` flushes denormals in its process; other tests draw any float, which hypothesis refuses without them."""
    yield
    torch.set_flush_denormal(False)


def make_picture(path: Path, seed: int = 0, mode: str = "RGB") -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 80, len(mode)), np.uint8)
    if mode == "RGBA":
        pixels[..., 3] = 255
        pixels[HOLE] = 0
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def make_mask(path: Path) -> None:
    mask = np.zeros((64, 80), np.uint8)
    mask[HOLE] = 255
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(mask).save(path)


def assert_completed(path: Path, before: np.ndarray) -> None:
    after = np.asarray(Image.open(path))[..., :3].copy()
    expected = before[..., :3].copy()
    assert not np.array_equal(after[HOLE], expected[HOLE])
    after[HOLE] = expected[HOLE]
    assert np.array_equal(after, expected)


def test_one_picture_into_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One picture and its mask become the file that was asked for, the same outside the hole."""
    before = make_picture(tmp_path / "in.png")
    make_mask(tmp_path / "mask.png")
    assert run([tmp_path / "in.png"], tmp_path / "out.png", mask=tmp_path / "mask.png") == DONE
    assert_completed(tmp_path / "out.png", before)
    assert "out.png" in capsys.readouterr().out


def test_box_and_transparency_are_holes_too(tmp_path: Path) -> None:
    """Without a mask, boxes say what to fill; without both, the picture's own transparency does and becomes opaque."""
    before = make_picture(tmp_path / "in.png")
    assert run([tmp_path / "in.png"], tmp_path / "box.png", boxes=["30,20,20,20"], blend=Blend.POISSON) == DONE
    assert_completed(tmp_path / "box.png", before)
    before = make_picture(tmp_path / "alpha.png", mode="RGBA")
    assert run([tmp_path / "alpha.png"], tmp_path / "opaque.png", strategy=Strategy.RESIZE) == DONE
    assert_completed(tmp_path / "opaque.png", before)
    assert (np.asarray(Image.open(tmp_path / "opaque.png"))[..., 3] == 255).all()


def test_a_folder_goes_on_after_a_failure_and_says_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a folder each failed picture has a line that names it, the others are completed, and the status is 1."""
    pictures, masks, out = tmp_path / "in", tmp_path / "masks", tmp_path / "out"
    kept = {name: make_picture(pictures / f"{name}.png", seed) for seed, name in enumerate(["a", "b", "c[1]"])}
    (pictures / "broken.png").write_bytes(b"no picture")
    (pictures / "notes.txt").write_text("not a picture, not meant as one")
    for name in ("a", "c[1]", "broken"):
        make_mask(masks / f"{name}.bmp")
    assert run([pictures], out, mask=masks) == FAILED
    assert_completed(out / "a.png", kept["a"])
    assert_completed(out / "c[1].png", kept["c[1]"])
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "c[1].png"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert str(pictures / "b.png") in lines[0]
    assert str(masks / "b.png") in lines[0]
    assert str(pictures / "broken.png") in lines[1]
    assert "2 of 4" in lines[2]


def test_one_mask_for_all_and_another_format(tmp_path: Path) -> None:
    """One mask serves all pictures of a folder; with a format, results have its ending."""
    for seed, name in enumerate(["a", "b"]):
        make_picture(tmp_path / "in" / f"{name}.png", seed)
    make_mask(tmp_path / "mask.png")
    assert (
        run([tmp_path / "in"], tmp_path / "out", mask=tmp_path / "mask.png", image_format=ImageFormat.WEBP, dilate=3)
        == DONE
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.webp", "b.webp"]


@pytest.mark.parametrize(
    ("images", "output", "options", "said"),
    [
        (["missing.png"], "out.png", {}, "does not exist"),
        (["empty"], "out", {}, "no picture"),
        (["a.png"], "out.gif", {"boxes": ["1,1,2,2"]}, "should end in"),
        (["a.png"], "out.png", {"boxes": ["1,1,2"]}, "x,y,width,height"),
        (["a.png"], "out.png", {"mask": Path("nowhere.png")}, "does not exist"),
        (["a.png", "b.png"], "a.png", {"boxes": ["1,1,2,2"]}, "folder"),
        (["a.png"], "a.png", {"boxes": ["1,1,2,2"]}, "overwrite"),
        (["a.png"], "out.png", {"boxes": ["1,1,2,2"], "model": "unheard-of"}, "unheard-of"),
        (["a.png"], "out.png", {"boxes": ["1,1,2,2"], "device": "abacus"}, "abacus"),
        (["a.png"], "out.png", {"boxes": ["1,1,2,2"], "device": "cuda:99"}, "no device 'cuda:99'"),
    ],
)
def test_a_command_line_that_cannot_be_used_begins_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    images: list[str],
    output: str,
    options: dict[str, object],
    said: str,
) -> None:
    """A wrong command line is answered with one sentence and status 2, and no file is written or changed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name in ("a.png", "b.png"):
        make_picture(tmp_path / name)
    before = {path: path.read_bytes() for path in tmp_path.glob("*.png")}
    assert run([Path(name) for name in images], Path(output), **options) == UNUSABLE
    assert said in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.glob("*.png")} == before
