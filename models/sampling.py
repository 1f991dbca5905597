"""What drawing from any generator shares: latents from a seed, and a network's output as pixels.

Picture i of a seed is the same however many are asked for: latents are rows of
one stream, and the network always runs on batches of the same size, because a batch of
another size may take another path through the kernels and round differently.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Latents = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


def draw_latents(n: int, seed: int, size: int, interpolate: int | None = None) -> Latents:
    """(n, size) float32: rows from N(0, 1), or `n` points from the first row of `seed` to that of `interpolate`."""
    if interpolate is None:
        return _rows(n, seed, size)
    start, end = _rows(1, seed, size)[0], _rows(1, interpolate, size)[0]
    return np.stack([slerp(start, end, place) for place in np.linspace(0, 1, n)])


def slerp(start: Latents, end: Latents, place: float) -> Latents:
    """The point at `place` in [0, 1] on the great circle from `start` to `end`.

    A straight line between two draws from N(0, 1) in many dimensions passes through points
    far shorter than any draw, which the generator has never seen (White 2016, "Sampling Generative Networks").
    """
    cosine = float(np.dot(start, end) / (np.linalg.norm(start) * np.linalg.norm(end)))
    angle = np.arccos(np.clip(cosine, -1, 1))
    if np.sin(angle) < 1e-6:  # the same direction, or opposite ones: no great circle is singled out
        return ((1 - place) * start + place * end).astype(np.float32)
    mixed = (np.sin((1 - place) * angle) * start + np.sin(place * angle) * end) / np.sin(angle)
    return np.asarray(mixed, dtype=np.float32)


@torch.inference_mode()
def render(network: nn.Module, latents: Latents, batch: int, device: torch.device | None = None) -> Pixels:
    """Pictures (n, H, W, C) uint8 of a generator whose output lies in [-1, 1], run `batch` latents at a time.

    `device` is where the network is; found out if not told.
    """
    device = device or next(network.parameters()).device
    pictures = []
    for start in range(0, len(latents), batch):
        rows = latents[start : start + batch]
        padded = np.concatenate([rows, np.zeros((batch - len(rows), latents.shape[1]), dtype=np.float32)])
        pictures.append(to_pixels(network(torch.from_numpy(padded).to(device)))[: len(rows)])
    return np.concatenate(pictures)


def to_pixels(images: Tensor) -> Pixels:
    """(B, C, H, W) in [-1, 1] as (B, H, W, C) uint8."""
    scaled = ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _rows(n: int, seed: int, size: int) -> Latents:
    return np.random.default_rng(seed).standard_normal((n, size), dtype=np.float32)
