"""Arrays for texts larger than memory: in files, which the system writes out when it needs room."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from polysemy.errors import InputError


class Scratch:
    """Arrays in files of a folder: sparse, so an upper bound for their size costs nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        if 0 in shape:
            return np.empty(shape, dtype)
        try:
            return np.asarray(np.memmap(self.folder / name, dtype, "w+", shape=shape))
        except OSError as error:
            raise InputError(f"scratch folder must be writable, got {self.folder} ({error.strerror})") from error
