"""Counting words that stand near each other."""
from __future__ import annotations

import numpy as np
import pytest

from polysemy.errors import InputError
from polysemy.models.glove import counting, counting_kernels
from polysemy.models.glove.counting import SIDE, Counts, block_place, count_pairs
from polysemy.runtime import random_for


def dense(counts: Counts) -> np.ndarray:
    """The symmetric matrix."""
    matrix = np.zeros((counts.num_words, counts.num_words))
    larger, smaller, values = counts.pairs()
    matrix[larger, smaller] += values
    matrix[smaller, larger] = matrix[larger, smaller]
    return matrix


def in_order(counts: Counts) -> list[np.ndarray]:
    """Larger, smaller, values, in the order of the words."""
    larger, smaller, values = counts.pairs()
    order = np.lexsort([smaller, larger])
    return [larger[order], smaller[order], values[order]]


def slow(tokens: np.ndarray, num_words: int, window: int) -> np.ndarray:
    """The same by the definition."""
    matrix = np.zeros((num_words, num_words))
    line: list[int] = []
    for token in tokens.tolist():
        if token == -1:
            line = []
            continue
        if token >= 0:
            for distance in range(1, min(window, len(line)) + 1):
                other = line[-distance]
                if other >= 0:
                    matrix[token, other] += 1 / distance
                    matrix[other, token] += 1 / distance
        line.append(token)
    return matrix


def text(size: int, num_words: int, *key: str) -> np.ndarray:
    """Words with Zipf's frequencies, line ends, some unknown words."""
    random = random_for("counting", *key)
    tokens = np.minimum(random.zipf(1.2, size) - 1, num_words - 1).astype(np.int32)
    tokens[random.random(size) < 0.05] = -1
    tokens[random.random(size) < 0.02] = -2
    return tokens


def test_the_counts_of_a_b_c_are_those_of_the_paper():
    matrix = dense(count_pairs(np.array([0, 1, 2], np.int32), 3, window=2))
    assert matrix.tolist() == [[0, 1, 0.5], [1, 0, 1], [0.5, 1, 0]]


def test_windows_end_with_the_line_and_a_word_beside_itself_counts_for_both():
    matrix = dense(count_pairs(np.array([0, 0, -1, 1, -2, 0], np.int32), 2, window=5))
    assert matrix.tolist() == [[2, 0.5], [0.5, 0]]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("num_words", [5, 300, 2500])
def test_counts_are_those_of_the_definition(num_words, threads, monkeypatch):
    monkeypatch.setattr(counting, "PIECE_TOKENS", 1000)
    tokens = text(8_000, num_words)
    counts = count_pairs(tokens, num_words, window=7, threads=threads)
    expected = slow(tokens, num_words, 7)
    assert np.allclose(dense(counts), expected, rtol=1e-5)
    assert counts.num_entries == np.count_nonzero(expected)
    for word in (0, 3, num_words - 1):
        assert np.allclose(counts.row(word), expected[word], rtol=1e-5)


def test_runs_in_files_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(counting, "PIECE_TOKENS", 5000)
    monkeypatch.setattr(counting, "FIRST_SLOTS", 1 << 10)
    tokens = text(30_000, 9000)
    whole = count_pairs(tokens, 9000, window=10, threads=2)
    spilled = count_pairs(tokens, 9000, window=10, threads=2, memory_bytes=1 << 16, folder=tmp_path)
    assert len(list(tmp_path.glob("run-*"))) > 6
    assert isinstance(spilled.values, np.memmap)
    assert np.array_equal(whole.bounds, spilled.bounds)
    for one, other in zip(in_order(whole), in_order(spilled), strict=True):
        assert np.allclose(one, other, rtol=1e-5)


def test_the_same_text_gives_the_same_bits():
    tokens = text(30_000, 4000)
    first, second = (count_pairs(tokens, 4000, threads=2) for _ in range(2))
    assert np.array_equal(first.places, second.places)
    assert np.array_equal(first.values, second.values)


def test_pairs_of_a_block_stand_in_random_order():
    counts = count_pairs(text(30_000, 1000), 1000)
    larger, smaller, values = counts.pairs()
    order = np.arange(len(values))
    for column in (larger, smaller, values):
        assert abs(np.corrcoef(order, np.argsort(np.argsort(column)))[0, 1]) < 0.05


def test_frequent_pairs_do_not_stop_growing():
    assert count_pairs(np.zeros(1 << 24, np.int32), 1, window=4).values[0] == pytest.approx(
        sum(2 * ((1 << 24) - d) / d for d in range(1, 5)), rel=1e-6
    )


def test_counting_stops_when_asked_and_keeps_what_was_read(monkeypatch):
    monkeypatch.setattr(counting, "PIECE_TOKENS", 1000)
    tokens = text(20_000, 100)
    counts = count_pairs(tokens, 100, window=4, stop=lambda part: part >= 0.5)
    assert np.allclose(dense(counts), slow(tokens[:10_000], 100, 4), rtol=1e-5)


def test_blocks_are_numbered_row_by_row():
    assert [block_place(block) for block in range(6)] == [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]
    assert block_place(10**12 * (10**12 + 1) // 2 + 7) == (10**12, 7)
    assert SIDE * SIDE <= 2**31
    assert SIDE <= 2**16
    assert counting_kernels.DENSE == SIDE


def test_the_window_must_be_a_window():
    with pytest.raises(InputError, match="window must be at least 1, got 0"):
        count_pairs(np.zeros(3, np.int32), 1, window=0)
