"""What a process has to do so that none outlives the one that started it."""

import ctypes
import os
import signal
import sys
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
