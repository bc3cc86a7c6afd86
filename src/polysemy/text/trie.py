"""Many strings as one tree in a hash table, for kernels: (node, character) -> node, node -> number of the string.

Keys are node << 21 | code point in an open-addressing table of a power of two. The root is node 0.
"""
from __future__ import annotations

import numpy as np

from polysemy.machine_code import compiled

EMPTY = -1


class Trie:
    """The substrings text[firsts[i]:firsts[i] + lengths[i]] (int64 code points); `pieces[node]` is i where i ends."""

    def __init__(self, text: np.ndarray, firsts: np.ndarray, lengths: np.ndarray) -> None:
        total = int(lengths.sum())
        size = 1 << int(2 * total + 2).bit_length()
        self.keys = np.full(size, EMPTY, np.int64)
        self.children = np.zeros(size, np.int32)
        self.pieces = np.full(total + 1, -1, np.int32)
        fill(text, firsts, lengths, self.keys, self.children, self.pieces)


def flatten(words: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(code points of all words as int64, first position of each and the end)."""
    text = np.frombuffer("".join(words).encode("utf-32-le"), np.uint32).astype(np.int64)
    return text, np.concatenate([[0], np.cumsum([len(word) for word in words])]).astype(np.int64)


@compiled
def slot_of(keys, key):
    """Where `key` stands in the table, or the empty slot where it belongs."""
    mask = len(keys) - 1
    mixed = key * 0x2545F4914F6CDD1D
    slot = (mixed ^ mixed >> 29) & mask
    while keys[slot] != EMPTY and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@compiled
def child(keys, children, node, character):
    """The node below `node` for this character, or -1."""
    slot = slot_of(keys, np.int64(node) << 21 | np.int64(character))
    return children[slot] if keys[slot] != EMPTY else np.int32(-1)


@compiled
def fill(text, firsts, lengths, keys, children, pieces):
    """Put every substring into empty tables of at least twice as many slots as there are characters."""
    nodes = 1
    for piece in range(len(firsts)):
        node = np.int64(0)
        for at in range(firsts[piece], firsts[piece] + lengths[piece]):
            key = node << 21 | text[at]
            slot = slot_of(keys, key)
            if keys[slot] == EMPTY:
                keys[slot] = key
                children[slot] = nodes
                nodes += 1
            node = np.int64(children[slot])
        pieces[node] = piece
