"""What a run tells: `log.jsonl`, preview pictures, TensorBoard where it is installed.

Each line of the log is one JSON object with `event` and `step`; `progress` lines
carry losses, images/s and ETA. Another process (the training worker) follows the run by it.
"""

import io
import json
import math
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.catalog import write_atomically

LOG = "log.jsonl"
PREVIEW = "preview.png"

ACCURACY = "discriminator_accuracy"
"""The figure by which a family reports how often its discriminator is right, from 0 to 1."""


class _Scalars(Protocol):
    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...
    def add_image(self, tag: str, img_tensor: npt.NDArray[np.uint8], global_step: int, *, dataformats: str) -> None: ...
    def flush(self) -> None: ...


class Reporter:
    """Writes to `folder`; silent where `active` is false (all processes but the first)."""

    def __init__(self, folder: Path, *, active: bool, tensorboard: bool = True) -> None:
        self._folder = folder
        self._active = active
        self._board = _open_board(folder / "tensorboard") if active and tensorboard else None

    def event(self, event: str, step: int, **details: Any) -> None:
        """One line of the log, flushed, and on the terminal."""
        if not self._active:
            return
        finite = {name: value for name, value in details.items() if not _is_nan(value)}
        line = json.dumps({"event": event, "step": step, "time": round(time.time(), 3)} | finite)
        with (self._folder / LOG).open("a") as file:
            file.write(line + "\n")
        shown = "  ".join(f"{name} {_shown(value)}" for name, value in finite.items())
        print(f"step {step:>7}  {event}  {shown}".rstrip(), flush=True)

    def figures(self, event: str, step: int, figures: Mapping[str, float], **details: Any) -> None:
        """As `event`, and the figures on TensorBoard."""
        self.event(event, step, **{name: float(f"{value:.6g}") for name, value in figures.items()}, **details)
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(f"{event}/{name}", value, step)
            self._board.flush()

    def preview(self, step: int, picture: npt.NDArray[np.uint8]) -> None:
        """Keep `picture` (H, W, 3) as the newest preview, and beside the earlier ones."""
        if not self._active:
            return
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        write_atomically(self._folder / PREVIEW, buffer.getvalue())
        write_atomically(self._folder / "previews" / f"{step:09d}.png", buffer.getvalue())
        self.event("preview", step, file=f"previews/{step:09d}.png")
        if self._board is not None:
            self._board.add_image("preview", picture, step, dataformats="HWC")


class VictoryWatch:
    """Notices when the discriminator has won: then the generator learns nothing more from it."""

    def __init__(self, window: int = 100, threshold: float = 0.995) -> None:
        self._recent: deque[float] = deque(maxlen=window)
        self._threshold = threshold
        self._said = False

    def add(self, accuracy: float) -> str | None:
        """A warning, once per victory, when the last `window` steps average `threshold` or more."""
        self._recent.append(accuracy)
        if len(self._recent) < (self._recent.maxlen or 0):
            return None
        mean = sum(self._recent) / len(self._recent)
        if mean < self._threshold:
            self._said = False
            return None
        if self._said:
            return None
        self._said = True
        return (
            f"The discriminator has won: right {mean:.1%} of the time over {len(self._recent)} steps. The generator "
            "gets no useful gradient from it; lower its learning rate or train the generator alone for longer."
        )


def grid(rows: list[list[npt.NDArray[np.uint8]]], gap: int = 2) -> npt.NDArray[np.uint8]:
    """Pictures (H, W, 3) of one size, side by side in rows on white."""
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    shape = (len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 3)
    canvas = np.full(shape, 255, dtype=np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            top, left = y * (height + gap), x * (width + gap)
            canvas[top : top + height, left : left + width] = picture
    return canvas


def _open_board(folder: Path) -> _Scalars | None:
    try:
        from torch.utils.tensorboard import SummaryWriter  # the extra `training` brings it
    except ImportError:
        return None
    writer: _Scalars = SummaryWriter(str(folder))
    return writer


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)  # JSON has no word for it


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
