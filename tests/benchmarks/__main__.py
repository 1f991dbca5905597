"""`python -m tests.benchmarks [NAME ...] [-o FILE]`: what `inpaint bench` runs."""

import argparse
import sys
from importlib import import_module
from pathlib import Path

from tests.benchmarks.figures import Figure, machine, print_table, write_json

NAMES = ("network", "complete", "codec", "http", "samples", "training", "start", "memory")


def main() -> int:
    """A table for each benchmark, and JSON where wanted. A quiet machine gives figures worth keeping."""
    parser = argparse.ArgumentParser(prog="inpaint bench", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"Of {', '.join(NAMES)}; all if none is given.")
    parser.add_argument("-o", "--out", type=Path, help="JSON file for the figures.")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(NAMES)):
        print(f"There is no benchmark {', '.join(unknown)}. Benchmarks: {', '.join(NAMES)}.", file=sys.stderr)
        return 2
    about = machine()
    print(", ".join(f"{name}: {value}" for name, value in about.items()), flush=True)
    figures: dict[str, list[Figure]] = {}
    for name in arguments.names or NAMES:
        figures[name] = import_module(f"tests.benchmarks.{name}").measure()
        print_table(name, figures[name])
        if arguments.out is not None:
            write_json(arguments.out, about, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
