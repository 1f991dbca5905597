"""What an evaluation leaves behind: a table for people, JSON for programs, a figure to look at."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from models.catalog import write_atomically

Pixels = npt.NDArray[np.uint8]
Row = Mapping[str, float | str]

_GAP = 4
_LABEL = 16


@dataclass(frozen=True)
class Report:
    """The result of one evaluation."""

    title: str
    about: dict[str, Any]
    """What was measured: model, data, pictures, command."""
    rows: list[Row]
    figure: Pixels
    notes: list[str] = field(default_factory=list)
    """What a reader of the table has to know."""

    def text(self) -> str:
        """For a terminal, and as it stands for Markdown."""
        lines = [f"## {self.title}", "", *(f"- {name}: {value}" for name, value in self.about.items()), ""]
        return "\n".join([*lines, table(self.rows), "", *self.notes]).rstrip() + "\n"

    def write(self, folder: Path, name: str) -> list[Path]:
        """`NAME.json`, `NAME.md` and `NAME.png` in `folder`; returns where they are."""
        content = {"title": self.title, "about": self.about, "rows": [dict(row) for row in self.rows]}
        files = {
            "json": json.dumps({**content, "notes": self.notes}, indent=2).encode(),
            "md": self.text().encode(),
            "png": _png(self.figure),
        }
        for suffix, data in files.items():
            write_atomically(folder / f"{name}.{suffix}", data)
        return [folder / f"{name}.{suffix}" for suffix in files]


def table(rows: Sequence[Row]) -> str:
    """Rows with the same columns as a Markdown table, padded so that it reads well as text too."""
    if not rows:
        return "(nothing was measured)"
    columns = list(rows[0])
    cells = [columns, *([_shown(row.get(column, "")) for column in columns] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    numeric = [isinstance(rows[0][column], float) for column in columns]
    lines = [_line(line, widths, numeric) for line in cells]
    ruler = [("-" * (width - 1) + ":") if right else "-" * width for width, right in zip(widths, numeric, strict=True)]
    return "\n".join([lines[0], "| " + " | ".join(ruler) + " |", *lines[1:]])


def sheet(rows: Sequence[Sequence[Pixels]], labels: Sequence[str] = ()) -> Pixels:
    """Pictures (H, W, 3 or 1) of one size in rows on white, a label above each column."""
    height, width = rows[0][0].shape[:2]
    columns, top = max(len(row) for row in rows), _LABEL if labels else 0
    size = (columns * (width + _GAP) - _GAP, top + len(rows) * (height + _GAP) - _GAP)
    canvas = Image.new("RGB", size, "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            colour = np.broadcast_to(picture, (height, width, 3))
            canvas.paste(Image.fromarray(colour.copy()), (x * (width + _GAP), top + y * (height + _GAP)))
    pen = ImageDraw.Draw(canvas)
    for x, label in enumerate(labels):
        pen.text((x * (width + _GAP), 1), label, fill="black", font=ImageFont.load_default(12))
    return np.asarray(canvas)


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    padded = [
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, numeric, strict=True)
    ]
    return "| " + " | ".join(padded) + " |"


def _shown(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _png(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return file.getvalue()
