"""Character n-grams: the original's hash, borders, and the table of a whole vocabulary."""
from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from polysemy.models.fasttext.subword_table import bucket_table, compose, subword_table
from polysemy.models.fasttext.subwords import hash_bytes, subword_buckets, subwords

WORDS = ["where", "été", "a", "", "</s>", "北京大学", "naïve", "aaaaaa", "\udcff\udcfe", "x" * 300, "ß", "🙂🙂"]


@pytest.mark.parametrize(
    ("gram", "value"), [("<wh", 1048167652), ("whe", 888420941), ("re>", 2062867498), ("été", 200187927)]
)
def test_hashes_are_those_of_the_original(gram: str, value: int) -> None:
    assert hash_bytes(gram.encode()) == value
    assert value % 2_000_000 in subword_buckets("where" if gram != "été" else "été", 3, 6, 2_000_000)


def test_where_has_fourteen_subwords_of_three_to_six_characters() -> None:
    found = subwords("where")
    assert len(found) == 14
    assert found[:4] == ["<wh", "<whe", "<wher", "<where"]
    assert found[-1] == "re>"


def test_a_border_alone_is_no_subword() -> None:
    assert subwords("ab", 1, 2) == ["<a", "a", "ab", "b", "b>"]


def test_the_end_of_a_line_has_no_subwords_and_longest_zero_means_none() -> None:
    assert subwords("</s>") == []
    assert subwords("where", 3, 0) == []
    assert bucket_table(["where"], 3, 0, 100)[1].size == 0


@pytest.mark.parametrize(("shortest", "longest"), [(3, 6), (1, 2), (1, 1), (2, 5), (5, 5)])
def test_the_table_of_a_vocabulary_equals_word_by_word(shortest: int, longest: int) -> None:
    starts, found = bucket_table(WORDS, shortest, longest, 1_000_003)
    for number, word in enumerate(WORDS):
        expected = subword_buckets(word, shortest, longest, 1_000_003)
        assert found[starts[number] : starts[number + 1]].tolist() == expected


def test_hashes_equal_gensim_over_words_of_many_scripts() -> None:
    gensim = pytest.importorskip("gensim.models.fasttext_inner")
    for word in ("where", "été", "北京大学", "naïve", "Привет", "नमस्ते", "🙂🙂"):
        assert subword_buckets(word, 3, 6, 2_000_000) == [
            gensim.ft_hash_bytes(gram) % 2_000_000 for gram in gensim.compute_ngrams_bytes(word, 3, 6)
        ]


def test_rows_of_buckets_exist_only_where_a_word_uses_them_the_most_used_first() -> None:
    words, counts = ["the", "then", "cat"], np.array([100, 10, 1])
    table = subword_table(words, counts, 3, 3, 50_000)
    assert_array_equal(table.rows[table.starts[:-1]], [0, 1, 2])
    assert table.num_rows == 3 + len({b for w in words for b in subword_buckets(w, 3, 3, 50_000)})
    for number, word in enumerate(words):
        own = table.rows[table.starts[number] + 1 : table.starts[number + 1]] - 3
        assert table.used[own].tolist() == subword_buckets(word, 3, 3, 50_000)
    shared = {hash_bytes(gram) % 50_000 for gram in (b"<th", b"the")}
    assert set(table.used[:2].tolist()) == shared, "the n-grams of two words come first"


def test_a_word_is_the_mean_of_its_rows() -> None:
    table = subword_table(["ab", "b"], np.array([2, 1]), 2, 3, 1000)
    matrix = np.random.default_rng(1).normal(size=(table.num_rows, 5)).astype(np.float32)
    result = np.empty((2, 5), np.float32)
    compose(table.starts, table.rows, matrix, result)
    for word in range(2):
        expected = matrix[table.rows[table.starts[word] : table.starts[word + 1]]].mean(0)
        np.testing.assert_allclose(result[word], expected, atol=1e-6)
