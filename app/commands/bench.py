"""`inpaint bench`: the benchmarks of the checkout that this is installed from, in `tests/benchmarks/`."""

import subprocess  # nosec B404
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


def bench(names: list[str], out: Path | None) -> int:
    """Print a table for each benchmark, write `out` as JSON where given; the exit status."""
    if not (ROOT / "tests" / "benchmarks").is_dir():
        print("The benchmarks lie beside the code: install from a clone with `pip install -e .`.", file=sys.stderr)
        return 2
    command = [sys.executable, "-m", "tests.benchmarks", *names, *(["--out", str(out.resolve())] if out else [])]
    return subprocess.run(command, cwd=ROOT).returncode  # nosec B603
