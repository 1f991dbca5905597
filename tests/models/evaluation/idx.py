"""MNIST's own file format, for tests."""

import gzip
import struct
from pathlib import Path

import numpy as np


def write_digits(folder: Path, stem: str, digits: np.ndarray, labels: np.ndarray) -> None:
    """`digits` (N, 28, 28) and `labels` (N,), uint8, as gzipped idx files; `stem` is `train` or `t10k`."""
    for name, array in (("images-idx3", digits), ("labels-idx1", labels)):
        header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
        (folder / f"{stem}-{name}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes(), 1))
