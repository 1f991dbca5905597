"""Checkpoints: all that a run needs to go on as if it had never stopped.

A checkpoint is written to a temporary name, flushed to the disk and renamed, and the
one before it is kept, so at every moment the newest `checkpoint-*.pt` that can
be read is whole. It is read as data only (`weights_only=True`).
"""

import os
import pickle  # nosec B403: only the name of an error that torch raises; nothing is unpickled here
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.training.errors import CheckpointError, DivergedError, UnsavedError

KEPT = 2


def save(folder: Path, step: int, state: Mapping[str, Any]) -> Path:
    """Write `state` (nested dictionaries and lists of tensors, numbers and text) as the checkpoint of `step`.

    Raises DivergedError, and writes nothing, where a tensor holds a value that is not finite; raises UnsavedError
    where the disk takes no more. The checkpoints before are intact either way.
    """
    for name, tensor in _tensors(state):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise DivergedError(
                f"{name} holds NaN or infinity at step {step}; the last good checkpoint is kept. "
                "Resume from it with a smaller learning rate."
            )
    path = folder / f"checkpoint-{step:09d}.pt"
    temporary = folder / f".{path.name}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(folder)
        for old in sorted(folder.glob("checkpoint-*.pt"))[:-KEPT]:
            old.unlink()
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError
        temporary.unlink(missing_ok=True)
        raise UnsavedError(
            f"The checkpoint of step {step} could not be written to {folder} ({error}). "
            "Earlier checkpoints are intact: make room on the disk and resume."
        ) from error
    return path


def load_newest(folder: Path, device: torch.device) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest checkpoint that can be read, or None where there is none; and what was passed over, and why.

    Raises CheckpointError where there are checkpoints and none can be read.
    """
    passed_over = []
    for path in sorted(folder.glob("checkpoint-*.pt"), reverse=True):
        try:
            state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
            passed_over.append(f"{path.name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
        else:
            return state, passed_over
    if passed_over:
        raise CheckpointError(f"No checkpoint in {folder} can be read. {'; '.join(passed_over)}")
    return None, []


def load_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """What it remembers, from `state`. Its rates and decays stay as it was made: options may have changed since.

    Raises ValueError where `state` is that of another kind of optimiser.
    """
    made = [{name: value for name, value in group.items() if name != "params"} for group in optimiser.param_groups]
    if any(("betas" in ours) != ("betas" in theirs) for ours, theirs in zip(made, state["param_groups"], strict=True)):
        raise ValueError("its optimiser is of another kind")
    optimiser.load_state_dict(state)
    for group, settings in zip(optimiser.param_groups, made, strict=True):
        group.update(settings)


def _tensors(state: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(state, Tensor):
        yield name, state
    elif isinstance(state, Mapping):
        for key, value in state.items():
            yield from _tensors(value, f"{name}.{key}" if name else str(key))
    elif isinstance(state, list | tuple):
        for index, value in enumerate(state):
            yield from _tensors(value, f"{name}.{index}")


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
