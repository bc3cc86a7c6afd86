"""A matrix as the original's product quantizer stores it: a byte for every few numbers of a row.

Each row is cut into parts of `part` numbers (the last one may be shorter); each part is one of 256 learned centroids.
With `norms` the rows were scaled to length 1 first and the lengths are quantized too. Files of the original with the
suffix .ftz hold such matrices (Joulin et al. 2016, FastText.zip).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CENTROIDS = 256


@dataclass(frozen=True)
class Quantizer:
    """The centroids of each part.

    size: numbers a row; part: numbers a part, of all but the last; centroids: float32 (256 * size,), part after part,
    each with its 256 centroids in a row.
    """

    size: int
    part: int
    centroids: np.ndarray

    @property
    def num_parts(self) -> int:
        return -(-self.size // self.part)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """float32 (rows, size) from uint8 codes (rows, parts)."""
        result = np.empty((len(codes), self.size), np.float32)
        for number in range(self.num_parts):
            first, last = number * self.part, min((number + 1) * self.part, self.size)
            table = self.centroids[CENTROIDS * first : CENTROIDS * last].reshape(CENTROIDS, last - first)
            result[:, first:last] = table[codes[:, number]]
        return result


@dataclass(frozen=True)
class QuantizedMatrix:
    """A matrix of which only codes are kept; `rows` and `dense` give floats."""

    codes: np.ndarray
    """uint8 (rows, parts)"""
    quantizer: Quantizer
    norm_codes: np.ndarray | None = None
    """uint8 (rows,), or None where lengths were not quantized apart"""
    norm_quantizer: Quantizer | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.codes), self.quantizer.size

    def __len__(self) -> int:
        return len(self.codes)

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """float32 (numbers, size): the rows with these numbers."""
        result = self.quantizer.decode(self.codes[numbers])
        if self.norm_codes is not None:
            assert self.norm_quantizer is not None
            result *= self.norm_quantizer.decode(self.norm_codes[numbers, None])
        return result

    def dense(self) -> np.ndarray:
        """float32 (rows, size): the floats that the codes stand for."""
        return self.rows(np.arange(len(self)))


def dense(matrix: np.ndarray | QuantizedMatrix) -> np.ndarray:
    """The matrix as float32 in memory, whatever it was stored as."""
    return matrix.dense() if isinstance(matrix, QuantizedMatrix) else np.ascontiguousarray(matrix, np.float32)
