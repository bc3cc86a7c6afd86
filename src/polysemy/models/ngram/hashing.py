"""Scores many tokens at once: a hash table in memory over the n-grams, looked up level by level for a block of tokens.

A search in the tree waits for memory at every turn. Here a block of tokens goes through the orders together: for all
tokens whose shorter n-gram was found, compute the addresses of the longer one, touch them (the loads do not depend on
each other, so many are on their way at once), then compare, and drop the misses. An n-gram's key is its history's place
and its last word, compared whole, so a wrong match cannot happen.

Slot: (history, word, probability, backoff) in 16 bytes, open addressing, half full.
"""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

from polysemy.errors import InputError
from polysemy.models.ngram.sorting import BLOCK
from polysemy.models.ngram.stream import BOUNDARY
from polysemy.models.ngram.trie import Trie

TOGETHER = 256
"""tokens that go through the orders together"""
FULLNESS = 0.5
ODD_1, ODD_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)


@njit(inline="always")
def address(history, word, slots):
    """Where the search for a key begins, 0 .. slots - 1."""
    h = (np.uint64(history) * ODD_1) ^ (np.uint64(word) * ODD_2)
    h = (h ^ (h >> np.uint64(32))) * ODD_1
    return ((h >> np.uint64(32)) * slots) >> np.uint64(32)


@njit(nogil=True, cache=True)
def insert(words, probabilities, backoffs, first, size, nodes_from, nodes_to, table, floats, slot_of):
    """Put the children of some nodes into the table; slot_of[node] is known for these and set for their children."""
    slots, one, zero = np.uint64(len(table)), np.uint64(1), np.uint64(0)
    node, touched = nodes_from, np.int64(0)
    addresses, histories = np.empty(TOGETHER, np.uint64), np.empty(TOGETHER, np.int32)
    end = first[nodes_to]
    for start in range(first[nodes_from], end, TOGETHER):
        many = min(TOGETHER, end - start)
        for q in range(many):
            child = start + q
            while first[node + 1] <= child:
                node += 1
            histories[q] = node if node < size else size + slot_of[node]
            addresses[q] = address(histories[q], words[child], slots)
            touched += table[addresses[q], 1]
        for q in range(many):
            child, at = start + q, addresses[q]
            while table[at, 1] >= 0:
                at = at + one if at + one < slots else zero
            table[at, 0] = histories[q]
            table[at, 1] = words[child]
            floats[at, 2] = probabilities[child]
            if child < len(backoffs):
                floats[at, 3] = backoffs[child]
                slot_of[child] = at
    return touched


@njit(nogil=True, cache=True)
def score_block(ids, begin, end, order, table, floats, single, missing, absolute, logs):
    """log10 of ids[begin:end] into logs; ids[begin - 1] is a boundary, or begin is 0 with one before it."""
    slots, size = np.uint64(len(table)), len(single)
    one, zero = np.uint64(1), np.uint64(0)
    levels = order - 1
    history = np.full((TOGETHER + 1, order), -1, np.int32)  # row i + 1: places of the 1.. words that end at token i
    weight = np.zeros((TOGETHER + 1, order), np.float32)
    best, matched = np.empty(TOGETHER, np.float32), np.empty(TOGETHER, np.int32)
    length = np.empty(TOGETHER + 1, np.int32)
    active, addresses = np.empty(TOGETHER, np.int32), np.empty(TOGETHER, np.uint64)
    history[0, 0], weight[0, 0], length[0] = BOUNDARY, single[BOUNDARY, 1], min(1, levels)
    touched = np.int64(0)
    for start in range(begin, end, TOGETHER):
        n = min(TOGETHER, end - start)
        for i in range(n):
            word = ids[start + i]
            best[i], matched[i] = single[word, 0], 0
            history[i + 1, 0], weight[i + 1, 0] = word, single[word, 1]
            length[i + 1] = min(levels, 1 if word == BOUNDARY else length[i] + 1)
            active[i] = i
        many = n
        for k in range(levels):
            count = 0
            for q in range(many):
                i = active[q]
                active[count] = i
                count += (k < length[i]) & (history[i, k] >= 0)
            for q in range(count):
                i = active[q]
                at = address(history[i, k], ids[start + i], slots)
                touched += table[at, 0]
                addresses[q] = at
            if k + 1 < levels:
                history[1 : n + 1, k + 1] = -1
            many = 0
            for q in range(count):
                i, at = active[q], addresses[q]
                key, word = history[i, k], ids[start + i]
                while table[at, 1] >= 0:
                    if table[at, 0] == key and table[at, 1] == word:
                        best[i], matched[i] = floats[at, 2], k + 1
                        if k + 1 < levels:
                            history[i + 1, k + 1], weight[i + 1, k + 1] = size + at, floats[at, 3]
                        active[many] = i
                        many += 1
                        break
                    at = at + one if at + one < slots else zero
        for i in range(n):
            log, long = best[i], length[i]
            if absolute:
                if matched[i] < long:
                    log = weight[i, long - 1] if history[i, long - 1] >= 0 else missing
            else:
                for k in range(matched[i], long):
                    log += weight[i, k] if history[i, k] >= 0 else missing
            logs[start + i] = log
        history[0], weight[0], length[0] = history[n], weight[n], length[n]
    return touched


class HashedTrie:
    """A tree with its hash table, 32 bytes an n-gram; made once, for large batches."""

    def __init__(self, trie: Trie) -> None:
        self.trie = trie
        inner, longer = len(trie.backoffs), len(trie.words) - trie.size
        slots = int(longer / FULLNESS) + 8
        if slots + trie.size >= 2**31:
            raise InputError(f"model must have at most {int(2**31 * FULLNESS):,} n-grams to be hashed, got {longer:,}")
        self.single = np.zeros((trie.size, 2), np.float32)
        self.single[:, 0] = trie.probabilities[: trie.size]
        self.single[: min(inner, trie.size), 1] = trie.backoffs[: trie.size]
        self.table = np.empty((slots, 4), np.int32)
        self.table[:, :2] = -1
        self.floats = self.table.view(np.float32)
        slot_of = np.empty(inner, np.int32)
        step = BLOCK // 4
        edges = np.unique(np.searchsorted(trie.first, np.arange(0, len(trie.words) + step, step)).clip(0, inner))
        for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), inner], strict=True):
            insert(trie.words, trie.probabilities, trie.backoffs, trie.first, trie.size, start, stop, self.table,
                   self.floats, slot_of)

    def scores(self, ids: np.ndarray, threads: int = 1) -> np.ndarray:
        """float32 (n,): log10 of each id of a stream of sentences, each closed by a boundary; the first begins one."""
        ids = np.ascontiguousarray(ids, np.int32)
        logs = np.empty(len(ids), np.float32)
        trie = self.trie

        def run(bounds: tuple[int, int]) -> None:
            score_block(ids, *bounds, trie.order, self.table, self.floats, self.single, np.float32(trie.missing),
                        trie.absolute, logs)

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
