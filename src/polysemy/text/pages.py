"""Arrays in memory pages of their own, which go back to the system the moment they are let go.

What malloc hands out for arrays of a few megabytes mostly stays with the process afterwards, in pieces.
"""
from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import DTypeLike


def pages(size: int, dtype: DTypeLike) -> np.ndarray:
    """Zeros (size,). Only what is written takes memory, so it may be made larger than is likely to be used."""
    kind = np.dtype(dtype)
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    return np.frombuffer(mmap.mmap(-1, max(size * kind.itemsize, 1), **private), kind, size)
