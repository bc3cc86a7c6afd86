"""A hash table of n-grams in memory: one line of the cache a look-up.

An n-gram's key is the number of its history and its last word, compared whole, so a wrong match cannot happen; its own
number, by which longer n-grams name it as their history, is its place in the table (behind the numbers of the single
words). Four n-grams share a bucket of 64 bytes, keys before values; what finds its bucket full goes to the next one,
and the bucket is marked, so that only then a search has to go on.
"""
from __future__ import annotations

import numpy as np
from numba import njit

from polysemy.errors import InputError
from polysemy.machine_code import LINE, compiled, prefetch
from polysemy.models.ngram.interpolating import history_blocks
from polysemy.models.ngram.sorting import BLOCK
from polysemy.models.ngram.trie import Trie

PLACES = 4
"""n-grams of a bucket"""
FULLNESS = 0.4
"""of all places, how many are taken; one n-gram in fifty finds its bucket full"""
WENT_ON = np.uint64(1 << 31)
"""set in the last key of a bucket that was full when another n-gram came; no word's number has this bit"""
EMPTY = np.uint64(2**64 - 1 - 2**31)
ODD_1, ODD_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
HALF, U = np.uint64(32), np.uint64
TOGETHER = 64
"""n-grams that are put in together, so that the loads of their buckets overlap"""


@njit(inline="always")
def key_of(history, word):
    return U(history) << HALF | U(word)


@njit(inline="always")
def bucket_of(key, buckets):
    """Where the search for a key begins, 0 .. buckets - 1, of uint64."""
    h = key * ODD_1
    h = (h ^ (h >> HALF)) * ODD_2
    return ((h >> HALF) * buckets) >> HALF


@njit(inline="always")
def place_in(table, bucket, key):
    """The place of a key in a bucket, PLACES when it is not there, without a branch."""
    first, second = table[bucket, U(0)] == key, table[bucket, U(1)] == key
    third, fourth = table[bucket, U(2)] == key, (table[bucket, U(3)] & ~WENT_ON) == key
    return (0 if first else 1 if second else 2 if third else 3 if fourth else 4)


@njit(inline="always")
def next_bucket(bucket, buckets):
    return bucket + U(1) if bucket + U(1) < buckets else U(0)


@compiled
def insert(words, probabilities, backoffs, first, size, from_node, to_node, table, floats, number_of):
    """Put in the children of some nodes; number_of[node] is known for these and set for their children."""
    buckets, base = U(len(table)), U(table.ctypes.data)
    node = from_node
    keys, at = np.empty(TOGETHER, np.uint64), np.empty(TOGETHER, np.uint64)
    end = first[to_node]
    for start in range(first[from_node], end, TOGETHER):
        many = min(TOGETHER, end - start)
        for q in range(many):
            while first[node + 1] <= start + q:
                node += 1
            keys[q] = key_of(node if node < size else number_of[node], words[start + q])
            at[q] = bucket_of(keys[q], buckets)
            prefetch(base + at[q] * U(LINE))
        for q in range(many):
            child, bucket = start + q, at[q]
            place = place_in(table, bucket, EMPTY)
            while place == PLACES:
                table[bucket, PLACES - 1] |= WENT_ON
                bucket = next_bucket(bucket, buckets)
                place = place_in(table, bucket, EMPTY)
            table[bucket, place] = keys[q]
            floats[bucket, 2 * (PLACES + place)] = probabilities[child]
            if child < len(backoffs):
                floats[bucket, 2 * (PLACES + place) + 1] = backoffs[child]
                number_of[child] = size + np.int64(bucket) * PLACES + place


def make_table(trie: Trie) -> np.ndarray:
    """uint64 (buckets, 8): four keys, then a probability and a back-off (float32) of each."""
    inner, longer = len(trie.backoffs), len(trie.words) - trie.size
    buckets = int(longer / FULLNESS / PLACES) + 2
    if buckets * PLACES + trie.size >= 2**32:
        raise InputError(f"model must have at most {int(2**32 * FULLNESS):,} n-grams to be hashed, got {longer:,}")
    raw = np.empty(buckets * LINE // 8 + LINE // 8, np.uint64)
    skip = -raw.ctypes.data % LINE // 8
    table = raw[skip : skip + buckets * LINE // 8].reshape(buckets, LINE // 8)
    table[:, :PLACES] = EMPTY
    number_of = np.empty(inner, np.int64)
    for part in history_blocks(trie.first, BLOCK // 4):
        insert(trie.words, trie.probabilities, trie.backoffs, trie.first, trie.size, *part, table,
               table.view(np.float32), number_of)
    return table
