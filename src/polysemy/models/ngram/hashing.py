"""Scores many tokens at once: a block of tokens goes through the orders together.

A search in the tree waits for memory at every turn. Here, as soon as the n-gram of a token is found, the line where the
next longer one would be is asked for, and by the time all other tokens of the block have had their turn it is there. A
token leaves when an n-gram is not found, or when the words before it were not found as a history.
"""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from polysemy.machine_code import LINE, compiled, prefetch
from polysemy.models.ngram.hash_table import (
    PLACES,
    WENT_ON,
    U,
    bucket_of,
    key_of,
    make_table,
    next_bucket,
    place_in,
)
from polysemy.models.ngram.stream import BOUNDARY
from polysemy.models.ngram.trie import Trie

TOGETHER = 512
"""tokens that go through the orders together"""


@compiled
def score_block(ids, begin, end, order, table, floats, single, logs):
    """log10 of ids[begin:end] into logs; ids[begin - 1] is a boundary, or begin is 0 with one before it."""
    buckets, base, size, levels = U(len(table)), U(table.ctypes.data), len(single), order - 1
    # of the k + 1 words that end at token i: column i + 1 of row k
    number = np.full((order, TOGETHER + 1), -1, np.int64)
    weight = np.zeros((order, TOGETHER + 1), np.float32)
    best, matched = np.empty(TOGETHER, np.float32), np.empty(TOGETHER, np.int32)
    active, keys, at = np.empty(TOGETHER, np.int64), np.empty(TOGETHER, np.uint64), np.empty(TOGETHER, np.uint64)
    before = BOUNDARY
    weight[0, 0] = single[BOUNDARY, 1]
    for start in range(begin, end, TOGETHER):
        n = min(TOGETHER, end - start)
        for i in range(n):
            word = ids[start + i]
            best[i], weight[0, i + 1], matched[i] = single[word, 0], single[word, 1], 0
            active[i], keys[i] = i, key_of(before, word)
            at[i] = bucket_of(keys[i], buckets)
            prefetch(base + at[i] * U(LINE))
            before = word
        many = n
        for k in range(levels):
            longer = k + 1 < levels
            if longer:
                weight[k + 1, 1 : n + 1] = 0
                number[k + 1, 1 : n + 1] = -1
            left = 0
            for q in range(many):
                i, key, bucket = active[q], keys[q], at[q]
                place = place_in(table, bucket, key)
                while place == PLACES and table[bucket, PLACES - 1] & WENT_ON:
                    bucket = next_bucket(bucket, buckets)
                    place = place_in(table, bucket, key)
                if place == PLACES:
                    continue
                best[i], matched[i] = floats[bucket, 2 * (PLACES + place)], k + 1
                word = ids[start + i]
                if longer:
                    if word != BOUNDARY:
                        number[k + 1, i + 1] = size + np.int64(bucket) * PLACES + place
                        weight[k + 1, i + 1] = floats[bucket, 2 * (PLACES + place) + 1]
                    if number[k + 1, i] >= 0:
                        active[left], keys[left] = i, key_of(number[k + 1, i], word)
                        at[left] = bucket_of(keys[left], buckets)
                        prefetch(base + at[left] * U(LINE))
                        left += 1
            many = left
        for k in range(levels):
            for i in range(n):
                best[i] += weight[k, i] if matched[i] <= k else np.float32(0)
        for i in range(n):
            logs[start + i] = best[i]
        for k in range(levels):
            number[k, 0], weight[k, 0] = number[k, n], weight[k, n]


class HashedTrie:
    """A tree with its hash table, 40 bytes an n-gram; made once, for large batches.

    Only for models that back off plainly: `missing` 0 and not `absolute`.
    """

    def __init__(self, trie: Trie) -> None:
        assert not trie.missing
        assert not trie.absolute
        self.trie = trie
        self.single = np.zeros((trie.size, 2), np.float32)
        self.single[:, 0] = trie.probabilities[: trie.size]
        self.single[: len(trie.backoffs), 1] = trie.backoffs[: trie.size]
        self.table = make_table(trie)

    def scores(self, ids: np.ndarray, threads: int = 1) -> np.ndarray:
        """float32 (n,): log10 of each id of a stream of sentences, each closed by a boundary; the first begins one."""
        ids = np.ascontiguousarray(ids, np.int32)
        logs = np.empty(len(ids), np.float32)

        def run(bounds: tuple[int, int]) -> None:
            score_block(ids, *bounds, self.trie.order, self.table, self.table.view(np.float32), self.single, logs)

        parts = split_at_boundaries(ids, max(1, min(threads, len(ids) // 10_000)))
        if len(parts) == 1 or threads == 1:
            for part in parts:
                run(part)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(run, parts))
        return logs


def split_at_boundaries(ids: np.ndarray, parts: int, most: int = 1 << 21) -> list[tuple[int, int]]:
    """Ranges that cover the ids, of about equal length, each beginning a sentence: `parts` of them or more."""
    wanted = max(parts, -(-len(ids) // most))
    cuts = [0]
    for k in range(1, wanted):
        at = len(ids) * k // wanted
        while at < len(ids) and ids[at - 1] != BOUNDARY:
            at += 1
        cuts.append(max(at, cuts[-1]))
    return [(a, b) for a, b in zip(cuts, [*cuts[1:], len(ids)], strict=True) if b > a]
