"""Packed numbers come out as they went in, renumbered, in memory and from a file."""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polysemy.text.pages import pages
from polysemy.text.vocabulary import LINE_END, UNKNOWN
from polysemy.text.word_store import GONE, WordStore, drop_unknown, renumber_all

NUMBERS = np.array([0, 5, 127, 16_000, 3_000_000, 2**31 - 1, UNKNOWN, GONE], np.int32)


def renumbered(tokens: list[int], numbers: np.ndarray) -> list[int]:
    """The plain twin: no line end first or after another."""
    found: list[int] = []
    for token in tokens:
        new = int(numbers[token]) if token >= 0 else token
        if new == GONE or (new == LINE_END and (not found or found[-1] == LINE_END)):
            continue
        found.append(new)
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(-1, len(NUMBERS) - 1), max_size=30), max_size=6))
def test_scans_are_packed_and_unpacked(scans):
    store = WordStore(None, 1 << 20)
    tokens = [token for scan in scans for token in scan]
    known = sum(store.append(np.array(scan, np.int32), np.arange(len(NUMBERS), dtype=np.int32)) for scan in scans)
    assert known == sum(token >= 0 for token in tokens)
    assert store.finish(NUMBERS).tolist() == renumbered(tokens, NUMBERS)


@pytest.mark.parametrize("memory_bytes", [0, 1000, 1 << 30])
def test_numbers_survive_in_memory_and_in_a_file(tmp_path, memory_bytes):
    size = 3_000_000
    order = np.arange(size, dtype=np.int32)[::-1].copy()
    store = WordStore(tmp_path, memory_bytes)
    scans = [[0, 1, -1, -1, 2], [127, 128, -1], [16_381, 16_382, 16_383, size - 1, -1], [200, 3] * 200]
    for scan in scans:
        store.append(np.array(scan, np.int32), order)
    assert store.finish(order).tolist() == renumbered([token for scan in scans for token in scan], np.arange(size))
    in_file = memory_bytes < 1 << 20
    assert [path.name for path in tmp_path.iterdir()] == ["words.int32"] * in_file


def test_renumbering_in_place_equals_the_twin():
    tokens = [0, 7, -1, 7, -1, 3, 6, -1, -1, 2]
    array = np.array(tokens, np.int32)
    size = renumber_all(array, NUMBERS)
    assert array[:size].tolist() == renumbered(tokens, NUMBERS)
    assert array[: drop_unknown(array[:size])].tolist() == [0, -1, 16_000, -1, 127]


def test_pages_are_zeros_of_any_size_and_kind():
    for size, kind in ((0, np.uint8), (1, np.int64), (5000, np.int32)):
        found = pages(size, kind)
        assert found.shape == (size,)
        assert found.dtype == kind
        assert not found.any()
        found[:] = 1
