"""How unlike photographs is what was drawn in holes in them, whatever it shows.

A mouth that smiles where the true one does not is no fault, a smear is. So a picture is not compared with what stood in
its hole, but what a network trained on photographs sees in the holes of many pictures with what it saw there before,
all places together: scale by scale the distance between Gaussians of its features (Heusel et al. 2017).
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch

from models.evaluation.metrics import frechet_distance
from models.features import FeatureNetwork
from models.glcic.geometry import Canvas, Mask

STEPS = (4, 8, 16)
"""Pixels from one place to the next, at the scales that are told: the last of the network's is coarser than lips."""

_INSIDE = 0.6  # of the pixels of a place lie in the hole, if it counts


def unlikeness(
    true: Sequence[Canvas], drawn: Sequence[Canvas], holes: Sequence[Mask], network: FeatureNetwork
) -> tuple[float, ...]:
    """One figure for each of `STEPS`, 0 for the truth itself, in units of the truth's own variance.

    true, drawn: pictures (S, S, 3) float32 in [0, 1], S a multiple of 32; holes: (S, S) bool. Compare only figures of
    the same pictures and holes. Raises ValueError where the holes are too small for a place.
    """
    known, made = (_in_holes(pictures, holes, network) for pictures in (true, drawn))
    if min(len(each) for each in known) < 2:
        raise ValueError("The holes are smaller than what is seen as one place.")
    pairs = zip(known, made, strict=True)
    return tuple(frechet_distance(first, second) / float(first.var(axis=0).sum()) for first, second in pairs)


@torch.inference_mode()
def _in_holes(
    pictures: Sequence[Canvas], holes: Sequence[Mask], network: FeatureNetwork
) -> list[npt.NDArray[np.float32]]:
    """(n, C) features of the places in the holes of all pictures, for each of `STEPS`."""
    found: list[list[npt.NDArray[np.float32]]] = [[] for _ in STEPS]
    for picture, hole in zip(pictures, holes, strict=True):
        tensor = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]
        for places, features in zip(found, network.at_scales(tensor)[: len(STEPS)], strict=True):
            size = features.shape[3], features.shape[2]
            inside = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > _INSIDE
            places.append(features[0][:, torch.from_numpy(inside)].T.numpy())
    return [np.concatenate(places) for places in found]
