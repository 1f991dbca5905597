"""How the threads of one computation wait for each other. Free of torch: this is read when torch is loaded."""

import os

_SPINS = 2000
"""About 0.1 ms on Intel's processors, 0.03 ms on AMD's."""


def wait_briefly() -> None:
    """Have threads that wait for the others of a layer spin for a moment, then sleep, unless the environment says else.

    libgomp lets them spin for milliseconds, and so hold the core that whoever they wait for needs when a machine has
    other work; to wake one that sleeps takes as long as a small layer (decision 23). For this process, before
    it loads torch, and all that it starts.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(_SPINS))
