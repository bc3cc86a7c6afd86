"""Products with packed weights: exact for float32, near for whole numbers, never out of their 32 bits."""
from __future__ import annotations

import numpy as np
import pytest

from polysemy.nn.kernels import switched_on
from polysemy.runtime import random_for

if not switched_on():
    pytest.skip("Numba is not there", allow_module_level=True)

from polysemy.nn.kernels.panels import BLOCK, LARGEST, PANEL, PER_WORD, packed


@pytest.mark.parametrize("form", ["float32", "int16", "int8"])
def test_packing_loses_at_most_half_a_step(form: str) -> None:
    matrix = random_for("matrix").normal(size=(70, 50)).astype(np.float32)
    found = packed(matrix, form)
    per = PER_WORD[form]
    kind = {1: np.float32, 2: np.int16, 4: np.int8}[per]
    assert found.words.shape == (2, -(-50 // per), PANEL)
    back = found.words.transpose(0, 2, 1).copy().view(kind).reshape(2 * PANEL, -1)[:70, :50] * found.scales[:, None]
    assert np.abs(back - matrix).max() <= (0 if per == 1 else 0.5001 * found.scales.max())
    np.testing.assert_allclose(found.sums, back.sum(1), atol=1e-4)


def test_sums_of_int16_stay_within_32_bits() -> None:
    found = packed(np.full((64, 4 * BLOCK), 3.0, np.float32), "int16")
    stored = found.words.view(np.int16).astype(np.int64)
    blocks = np.abs(stored.reshape(1, 2, BLOCK, PANEL * 2)).sum(2)  # two numbers of each column stand side by side
    assert blocks.reshape(2, PANEL, 2).sum(2).max() * LARGEST < 2**31
    assert stored.max() > 1000
