"""Processes as the kernel sees them: none outlives the one that started it; how much memory they take."""

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(parent: int) -> None:
    """For `preexec_fn`: have the kernel kill this process when `parent`, which starts it, is gone (Linux only).

    Even SIGKILL of the parent leaves no orphans then. What counts is the parent's thread that started this process:
    it has to live as long as the parent.
    """
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was gone before the kernel knew
        os.kill(os.getpid(), signal.SIGKILL)


def resident_bytes(pid: int | None = None) -> int:
    """Memory that `pid`, by default this process, and all that it started hold in RAM (Linux; 0 elsewhere)."""
    folder = Path("/proc", str(pid or os.getpid()))
    try:
        pages = int((folder / "statm").read_text().split()[1])
        children = [child for file in folder.glob("task/*/children") for child in file.read_text().split()]
    except (OSError, IndexError):
        return 0  # it has ended meanwhile
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(resident_bytes(int(child)) for child in children)
