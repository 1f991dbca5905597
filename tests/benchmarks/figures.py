"""What a benchmark gives: figures, each beside a named baseline of the same run."""

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

ROUNDS = 7


@dataclass(frozen=True)
class Figure:
    """One measurement. `ratio`: how often the baseline goes into it; 1 for a baseline itself."""

    name: str
    value: float
    unit: str
    baseline: str
    ratio: float


def baseline(name: str, value: float, unit: str = "ms") -> Figure:
    """A figure that others are compared with."""
    return Figure(name, value, unit, name, 1.0)


def against(base: Figure, name: str, value: float) -> Figure:
    """A figure beside `base`, in its unit."""
    return Figure(name, value, base.unit, base.name, value / base.value)


def milliseconds(run: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Median of `rounds` runs, after one to warm up."""
    run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * median(times)


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    vectors = [name for name, has in torch.cpu.get_capabilities().items() if has is True]
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "vectors": [name for name in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16") if name in vectors],
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load_before": round(os.getloadavg()[0], 2),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def print_table(title: str, figures: Sequence[Figure]) -> None:
    """One row a figure."""
    table = Table("figure", "value", "", "baseline", "ratio", title=title, title_justify="left")
    for figure in figures:
        own = figure.baseline == figure.name
        value = f"{figure.value:.1f}" if figure.value >= 10 else f"{figure.value:.2f}"
        table.add_row(
            figure.name, value, figure.unit, "" if own else figure.baseline, "" if own else f"{figure.ratio:.2f}"
        )
    Console(width=None if Console().is_terminal else 140).print(table)


def write_json(path: Path, about: dict[str, object], figures: dict[str, list[Figure]]) -> None:
    """All of a run: the machine, and the figures by benchmark."""
    rows = {name: [asdict(figure) for figure in each] for name, each in figures.items()}
    path.write_text(json.dumps({"machine": about, "figures": rows}, indent=2) + "\n")
