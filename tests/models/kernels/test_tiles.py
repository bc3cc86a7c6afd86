"""Micro-kernels against NumPy."""
from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError
from scipy.special import expit

from polysemy.models.kernels import tiles
from polysemy.models.kernels.compiling import kernel
from polysemy.models.kernels.rows import aligned, drawn, padded
from polysemy.models.kernels.tiles import add_to_rows, axpy, clear, dots, errors_of, learn, prefetch, sum_rows, update

SIZES = [(4, 6, 112), (2, 6, 16), (1, 6, 304), (4, 4, 32), (1, 1, 16), (3, 5, 48)]


@kernel
def tile(rows: int, outputs: int, width: int):
    def run(x, o, s, labels, rates):
        dots(rows, outputs, width, x.ctypes.data, o.ctypes.data, s.ctypes.data)
        scores = s[: rows * outputs].copy()
        errors_of(rows, outputs, s.ctypes.data, labels.ctypes.data, rates.ctypes.data)
        prefetch(width, x[0])
        update(rows, outputs, width, x.ctypes.data, o.ctypes.data, s.ctypes.data)
        return scores

    return run


@kernel
def hidden(outputs: int, width: int):
    def run(x, h, e, o, g, scale):
        clear(width, e.ctypes.data)
        sum_rows(width, h.ctypes.data, x.ctypes.data, len(x), scale)
        learn(outputs, width, h.ctypes.data, e.ctypes.data, o.ctypes.data, g.ctypes.data)
        axpy(width, e.ctypes.data, scale, h.ctypes.data)
        add_to_rows(width, x.ctypes.data, len(x), e.ctypes.data)

    return run


def random_rows(rows: int, width: int, seed: int) -> np.ndarray:
    matrix = aligned(rows, width)
    matrix[:] = np.random.default_rng(seed).normal(size=matrix.shape)
    return matrix


def addresses(matrix: np.ndarray, rows: list[int]) -> np.ndarray:
    return matrix.ctypes.data + np.array(rows, np.int64) * matrix.strides[0]


def plain_update(inputs, outputs, xs, os, g):
    """One output after the other, inputs at the end: what the tile promises for rows given twice as well."""
    x = inputs[xs].astype(np.float64)
    change = np.zeros_like(x)
    for k, row in enumerate(os):
        change += np.outer(g[:, k], outputs[row])
        outputs[row] += g[:, k] @ x
    np.add.at(inputs, xs, change)


@pytest.mark.parametrize(("rows", "outputs", "width"), SIZES)
def test_a_tile_of_dots_errors_and_updates_equals_numpy(rows, outputs, width):
    inputs, others = random_rows(9, width, 1), random_rows(9, width, 2)
    expected_inputs, expected_others = inputs.astype(np.float64), others.astype(np.float64)
    xs, os = list(range(8, 8 - rows, -1)), list(range(2, 2 + outputs))
    s = np.full(rows * outputs + 16, 9, np.float32)
    labels, rates = np.zeros(outputs + 16, np.float32), np.zeros(outputs + 16, np.float32)
    labels[0], rates[:outputs] = 1, np.linspace(0.01, 0.02, outputs)
    scores = tile(rows, outputs, width)(addresses(inputs, xs), addresses(others, os), s, labels, rates)
    expected = expected_inputs[xs] @ expected_others[os].T
    np.testing.assert_allclose(scores.reshape(rows, outputs), expected, rtol=1e-5, atol=1e-4)
    g = (labels[:outputs] - expit(expected)) * rates[:outputs]
    np.testing.assert_allclose(s[: rows * outputs].reshape(rows, outputs), g, rtol=1e-4, atol=1e-6)
    plain_update(expected_inputs, expected_others, xs, os, g)
    np.testing.assert_allclose(inputs, expected_inputs, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(others, expected_others, rtol=1e-5, atol=1e-5)


def test_rows_given_twice_take_both_updates():
    inputs, others = random_rows(3, 16, 1), random_rows(3, 16, 2)
    expected_inputs, expected_others = inputs.astype(np.float64), others.astype(np.float64)
    xs, os = [0, 1, 0, 2], [1, 1, 2, 0, 1, 2]
    s, labels = np.zeros(40, np.float32), np.zeros(22, np.float32)
    tile(4, 6, 16)(addresses(inputs, xs), addresses(others, os), s, labels, np.full(22, 0.1, np.float32))
    plain_update(expected_inputs, expected_others, xs, os, s[:24].reshape(4, 6))
    np.testing.assert_allclose(inputs, expected_inputs, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(others, expected_others, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("outputs", "width", "count"), [(6, 112, 5), (1, 16, 1), (4, 304, 11), (6, 320, 0)])
def test_one_hidden_row_is_summed_learned_and_scattered_as_numpy_does(outputs, width, count):
    inputs, others = random_rows(14, width, 1), random_rows(8, width, 2)
    x, o, scale = inputs.astype(np.float64), others.astype(np.float64), np.float32(0.25)
    h, e = aligned(1, width)[0], random_rows(1, width, 3)[0]
    xs, os = [3] * min(count, 2) + list(range(4, 4 + max(0, count - 2))), list(range(outputs))
    g = np.zeros(outputs + 16, np.float32)
    g[:outputs] = np.linspace(-0.5, 0.5, outputs) + 0.05
    hidden(outputs, width)(addresses(inputs, xs), h, e, addresses(others, os), g, scale)
    mean = x[xs].sum(0) * scale
    error = g[:outputs] @ o[os] + scale * mean
    np.testing.assert_allclose(h, mean, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(e, error, rtol=1e-5, atol=1e-5)
    np.add.at(x, xs, error)
    np.testing.assert_allclose(inputs, x, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(others[os], o[os] + np.outer(g[:outputs], mean), rtol=1e-5, atol=1e-5)


def test_the_sigmoid_is_right_to_a_millionth_and_saturates_without_nan():
    run = kernel_of_one()
    for score in (*np.linspace(-20, 20, 401), -1e30, 1e30, np.inf, -np.inf):
        s, labels, rates = (np.zeros(17, np.float32) for _ in range(3))
        s[0], rates[0] = score, -1
        run(s, labels, rates)
        assert s[0] == pytest.approx(expit(np.float64(np.float32(score))), rel=2e-6, abs=1e-12)


@kernel
def kernel_of_one():
    one = 1

    def run(s, labels, rates):
        errors_of(one, one, s.ctypes.data, labels.ctypes.data, rates.ctypes.data)

    return run


def test_sizes_must_be_known_when_a_kernel_is_compiled():
    @njit
    def clear_some(width, row):
        clear(width, row.ctypes.data)

    with pytest.raises(TypingError):
        clear_some(16, aligned(1, 16)[0])


@pytest.mark.parametrize("floats", [4, 8])
def test_narrower_vectors_give_the_same(floats, monkeypatch):
    monkeypatch.setattr(tiles, "FLOATS", floats)
    inputs, others = random_rows(4, 48, 1), random_rows(9, 48, 2)
    s = np.zeros(45 + 16, np.float32)

    @njit
    def run(x, o, s, labels):
        dots(4, 9, 48, x.ctypes.data, o.ctypes.data, s.ctypes.data)
        errors_of(4, 9, s.ctypes.data, labels.ctypes.data, labels.ctypes.data)

    labels = np.linspace(0, 1, 25).astype(np.float32)
    run(addresses(inputs, [0, 1, 2, 3]), addresses(others, list(range(9))), s, labels)
    expected = (labels[:9] - expit((inputs @ others.T).astype(np.float64))) * labels[:9]
    np.testing.assert_allclose(s[:36].reshape(4, 9), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("size", "width"), [(1, 16), (16, 16), (100, 112), (300, 304)])
def test_rows_are_padded_and_aligned(size, width):
    matrix = aligned(3, size)
    assert padded(size) == width
    assert matrix.shape == (3, width)
    assert matrix.ctypes.data % 64 == 0
    assert matrix.flags.c_contiguous
    assert not matrix.any()
    first = drawn(3, size, np.random.default_rng(1))
    assert np.abs(first[:, :size]).max() <= 0.5 / size
    assert not first[:, size:].any()
    assert len(np.unique(first[:, :size])) == 3 * size
