"""Classical completion, to compare with: diffusion from OpenCV, and PatchMatch where its wheel is installed."""

import importlib.util
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Fill = Callable[[Pixels, Mask], Pixels]
"""(H, W, 3) uint8 and (H, W) bool, True = fill -> (H, W, 3) uint8, unchanged outside the hole."""

_RADIUS = 3
_PATCH_RADIUS = 3  # patches of 7x7, as in the examples of the package


def telea(image: Pixels, hole: Mask) -> Pixels:
    """Telea 2004, "An Image Inpainting Technique Based on the Fast Marching Method"."""
    return _diffuse(image, hole, cv2.INPAINT_TELEA)


def navier_stokes(image: Pixels, hole: Mask) -> Pixels:
    """Bertalmio, Bertozzi, Sapiro 2001, "Navier-Stokes, Fluid Dynamics, and Image and Video Inpainting"."""
    return _diffuse(image, hole, cv2.INPAINT_NS)


def patch_match(image: Pixels, hole: Mask) -> Pixels:
    """Barnes et al. 2009, "PatchMatch"; copies patches from the rest of the picture. The same input, the same bytes."""
    import patchmatch  # the extra `evaluation` brings it

    patchmatch.set_random_seed(0)
    return np.asarray(patchmatch.inpaint(_emptied(image, hole), hole.astype(np.uint8) * 255, patch_size=_PATCH_RADIUS))


def available() -> dict[str, Fill]:
    """The baselines that can run here, by the name that a table shows."""
    found: dict[str, Fill] = {"Telea": telea, "Navier-Stokes": navier_stokes}
    if importlib.util.find_spec("patchmatch") is not None:
        import patchmatch

        if patchmatch.patchmatch_available:
            found["PatchMatch"] = patch_match
    return found


def _diffuse(image: Pixels, hole: Mask, method: int) -> Pixels:
    return np.asarray(cv2.inpaint(_emptied(image, hole), hole.astype(np.uint8), _RADIUS, method), dtype=np.uint8)


def _emptied(image: Pixels, hole: Mask) -> Pixels:
    """The image without what is in the hole, so that no method can peek."""
    emptied = image.copy()
    emptied[hole] = 0
    return emptied
