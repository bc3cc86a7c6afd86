"""Matrices whose rows vector instructions like: padded to whole vectors of 16 floats, each beginning a cache line."""
from __future__ import annotations

import numpy as np

FLOATS = 16
"""floats in a cache line, and in the widest vector"""


def padded(size: int) -> int:
    """The next multiple of 16."""
    return -(-size // FLOATS) * FLOATS


def aligned(rows: int, size: int) -> np.ndarray:
    """Zeros, float32 (rows, padded(size)), C order, 64-byte aligned; `[:, :size]` are the vectors, the rest stays 0."""
    width = padded(size)
    room = np.zeros(rows * width + FLOATS, np.float32)
    start = -(room.ctypes.data // 4) % FLOATS
    return room[start : start + rows * width].reshape(rows, width)


def drawn(rows: int, size: int, random: np.random.Generator) -> np.ndarray:
    """`aligned` with vectors drawn from U(-1/2, 1/2) / size, as word2vec begins."""
    matrix = aligned(rows, size)
    block = max(1, (1 << 16) // max(size, 1))
    for start in range(0, rows, block):
        part = matrix[start : start + block, :size]
        part[:] = (random.random(part.shape, np.float32) - np.float32(0.5)) / np.float32(size)
    return matrix


def unpadded(matrix: np.ndarray, size: int) -> np.ndarray:
    """The vectors (rows, size) of an `aligned` matrix, C order, moved together in its own memory: it is used up."""
    rows, width = matrix.shape
    if size == width:
        return matrix
    flat = matrix.reshape(-1)
    block = max(1, (1 << 16) // width)
    for start in range(0, rows, block):
        part = matrix[start : start + block, :size].copy()
        flat[start * size : start * size + part.size] = part.reshape(-1)
    return flat[: rows * size].reshape(rows, size)
