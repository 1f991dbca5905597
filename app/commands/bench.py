"""`inpaint bench`: how fast this machine completes pictures, each figure beside a named baseline of the same run."""

import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from models.catalog import Catalog
from models.engine import CompletionEngine, choose_device, open_engine, prepare_process
from models.glcic.complete import complete
from models.glcic.geometry import Mask, Pixels
from models.glcic.network import CompletionNetwork
from models.loading import load
from worker.contracts import ImageFormat
from worker.images import Picture, encode

_MODEL: Final = "glcic-celeba"
_ROUNDS: Final = 7


@dataclass(frozen=True)
class Figure:
    """One measurement: the median of `_ROUNDS` runs, and how often the baseline goes into it."""

    name: str
    milliseconds: float
    baseline: str
    ratio: float


def bench(names: list[str], out: Path | None) -> int:
    """Print a table, write `out` as JSON where given; the exit status. A quiet machine gives figures worth keeping."""
    console = Console()
    unknown = sorted(set(names) - BENCHMARKS.keys())
    if unknown:
        console.print(f"There is no benchmark {', '.join(unknown)}. Benchmarks: {', '.join(BENCHMARKS)}.")
        return 2
    prepare_process()
    catalog, device = Catalog(), choose_device()
    card = catalog.get(_MODEL)
    network = load(catalog, card, device)
    assert isinstance(network, CompletionNetwork)  # nosec B101 - what `load` builds for this family
    engine = open_engine(catalog, card, device)
    table = Table("figure", "ms", "baseline", "ratio", title=f"{card.reference} on {device}, torch {torch.__version__}")
    figures = [figure for name in names or BENCHMARKS for figure in BENCHMARKS[name](network, engine)]
    for figure in figures:
        table.add_row(figure.name, f"{figure.milliseconds:.1f}", figure.baseline, f"{figure.ratio:.2f}")
    console.print(table)
    if out is not None:
        about = {"machine": platform.machine(), "threads": torch.get_num_threads(), "device": str(device)}
        out.write_text(json.dumps({**about, "figures": [asdict(figure) for figure in figures]}, indent=2))
    return 0


def _network(network: CompletionNetwork, engine: CompletionEngine) -> list[Figure]:
    """The engine against the network as a plain implementation runs it: eager, float32, NCHW, batch norm not folded."""
    figures = []
    for side in (128, 256, 512):
        image, mask = torch.rand(1, 3, side, side), torch.zeros(1, 1, side, side)
        mask[..., side // 4 : side // 2, side // 4 : side // 2] = 1
        on_device = image.to(engine.device), mask.to(engine.device)

        def plain(inputs: tuple[torch.Tensor, torch.Tensor] = on_device) -> object:
            with torch.inference_mode():
                return network(*inputs).cpu()

        def ours(inputs: tuple[torch.Tensor, torch.Tensor] = (image, mask)) -> object:
            return engine(*inputs)

        figures += _against((f"network {side}x{side}, engine", ours), ("network, eager float32", plain))
    return figures


def _complete(_: CompletionNetwork, engine: CompletionEngine) -> list[Figure]:
    """`complete` with one hole of 120x120, in pictures of growing size, against the smallest of them."""
    figures, first = [], None
    for width, height in ((512, 512), (1024, 1024), (4000, 3000)):
        image, mask = _picture(width, height)
        name = f"complete {width}x{height}, hole 120x120"
        milliseconds = _measure(partial(complete, image, mask, engine))
        first = first or (name, milliseconds)
        figures.append(Figure(name, milliseconds, first[0], milliseconds / first[1]))
    return figures


def _codec(_: CompletionNetwork, __: CompletionEngine) -> list[Figure]:
    """Writing the result of a 12-megapixel request, against the default PNG."""
    picture = Picture(_picture(4000, 3000)[0])
    first, figures = 0.0, []
    for image_format in ImageFormat:
        milliseconds = _measure(partial(encode, picture, image_format))
        first = first or milliseconds
        figures.append(Figure(f"encode 4000x3000 {image_format}", milliseconds, "encode png", milliseconds / first))
    return figures


BENCHMARKS: Final[dict[str, Callable[[CompletionNetwork, CompletionEngine], list[Figure]]]] = {
    "network": _network,
    "complete": _complete,
    "codec": _codec,
}


def _against(ours: tuple[str, Callable[[], object]], baseline: tuple[str, Callable[[], object]]) -> list[Figure]:
    base, own = _measure(baseline[1]), _measure(ours[1])
    return [Figure(baseline[0], base, baseline[0], 1.0), Figure(ours[0], own, baseline[0], own / base)]


def _measure(run: Callable[[], object]) -> float:
    """Median milliseconds, after one run to warm up."""
    run()
    times = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * median(times)


def _picture(width: int, height: int) -> tuple[Pixels, Mask]:
    """A smooth picture with a little noise, as photographs are, and a hole of 120x120 in its middle."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = np.stack([np.sin(rows / 90), np.sin(columns / 70), np.sin((rows + columns) / 110)], axis=-1)
    noise = rng.normal(0, 3, (height, width, 1)).astype(np.float32)
    mask = np.zeros((height, width), bool)
    mask[height // 2 - 60 : height // 2 + 60, width // 2 - 60 : width // 2 + 60] = True
    return np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8), mask
