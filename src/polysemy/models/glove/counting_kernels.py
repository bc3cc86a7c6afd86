"""The loops that count which words stand near each other.

Pairs of frequent words (both numbers below DENSE) are added up in a square table; all others in a hash table whose
slots are 16 bytes, key and sum side by side, so that an addition costs one miss of the cache, asked for in advance.
"""

from __future__ import annotations

import numpy as np

from polysemy.models.kernels.compiling import exactly
from polysemy.models.kernels.drawing import below, xorshift
from polysemy.models.kernels.tiles import prefetch

SIDE = 2048
"""Words of a block's side; places within a block fit 16 bits."""
DENSE = SIDE
"""The first block is counted densely."""
QUEUE = 32
"""Additions to the hash table that are under way at a time."""


@exactly
def count_piece(tokens, start, stop, window, dense, table, sums, used):  # pragma: no cover - compiled
    """Count pairs whose later word is in tokens[start:stop]; returns (next place, slots used).

    Stops early, before a place, when the hash table is nearly full. dense: float64 (DENSE, DENSE), larger number first;
    table: uint64 (slots, 2), sums: float64 view of it.
    """
    inverse = np.ones(window + 1) / np.maximum(1, np.arange(window + 1))
    mask, address = np.uint64(len(table) - 1), table.ctypes.data
    keys, amounts, waiting = np.empty(QUEUE, np.uint64), np.empty(QUEUE), 0
    most = len(table) // 8 * 5 - window - QUEUE
    line = start
    while line > 0 and start - line < window and tokens[line - 1] != -1:
        line -= 1
    at = start
    while at < stop and used < most:
        a = tokens[at]
        if a < 0:
            line = at + 1 if a == -1 else line
            at += 1
            continue
        for d in range(1, min(window, at - line) + 1):
            b = tokens[at - d]
            if b < 0:
                continue
            larger, smaller = max(a, b), min(a, b)
            if larger < DENSE:
                dense[larger, smaller] += inverse[d]
                continue
            key = (np.uint64(larger) << np.uint64(32)) | np.uint64(smaller + 1)
            slot = _slot(key, mask)
            prefetch(16, address + np.int64(slot) * 16)
            keys[waiting], amounts[waiting] = key, inverse[d]
            waiting += 1
            if waiting == QUEUE:
                used += _add_all(table, sums, keys, amounts, QUEUE, mask)
                waiting = 0
        at += 1
    used += _add_all(table, sums, keys, amounts, waiting, mask)
    return at, used


@exactly
def _slot(key, mask):  # pragma: no cover - compiled
    return ((key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & mask


@exactly
def _add_all(table, sums, keys, amounts, count, mask):  # pragma: no cover - compiled
    """Add amounts at keys; returns how many keys are new."""
    new = 0
    for q in range(count):
        key = keys[q]
        slot = _slot(key, mask)
        while table[slot, 0] != key and table[slot, 0] != 0:
            slot = (slot + np.uint64(1)) & mask
        if table[slot, 0] == 0:
            table[slot, 0] = key
            new += 1
        sums[slot, 1] += amounts[q]
    return new


@exactly
def rehash(table, sums, new_table, new_sums):  # pragma: no cover - compiled
    """Copy a hash table into an empty one of another size."""
    mask = np.uint64(len(new_table) - 1)
    for row in range(len(table)):
        key = table[row, 0]
        if key != 0:
            slot = _slot(key, mask)
            while new_table[slot, 0] != 0:
                slot = (slot + np.uint64(1)) & mask
            new_table[slot, 0] = key
            new_sums[slot, 1] = sums[row, 1]


@exactly
def drain(table, sums, bounds, places, values):  # pragma: no cover - compiled
    """Move a hash table's pairs into blocks: bounds int64 (blocks + 1,), places uint16 (used, 2), values float32.

    Block `R (R + 1) / 2 + C` holds the pairs whose larger number is in the R-th SIDE words, the smaller in the C-th.
    The table is empty afterwards.
    """
    bounds[:] = 0
    for row in range(len(table)):
        if table[row, 0] != 0:
            bounds[_block(table[row, 0]) + 1] += 1
    for block in range(len(bounds) - 1):
        bounds[block + 1] += bounds[block]
    for row in range(len(table)):
        key = table[row, 0]
        if key != 0:
            block = _block(key)
            at = bounds[block]
            bounds[block] += 1
            places[at, 0] = np.int64(key >> np.uint64(32)) % SIDE
            places[at, 1] = (np.int64(key & np.uint64(0xFFFFFFFF)) - 1) % SIDE
            values[at] = sums[row, 1]
            table[row, 0] = 0
            sums[row, 1] = 0
    for block in range(len(bounds) - 1, 0, -1):
        bounds[block] = bounds[block - 1]
    bounds[0] = 0


@exactly
def _block(key):  # pragma: no cover - compiled
    larger, smaller = np.int64(key >> np.uint64(32)) // SIDE, (np.int64(key & np.uint64(0xFFFFFFFF)) - 1) // SIDE
    return larger * (larger + 1) // 2 + smaller


@exactly
def add_to_square(places, values, square, cells, count):  # pragma: no cover - compiled
    """Add pairs of one block into a square of zeros, noting new cells in `cells`; returns how many are noted."""
    for q in range(len(values)):
        i, j = places[q, 0], places[q, 1]
        if square[i, j] == 0:
            cells[count] = np.int32(i) * SIDE + np.int32(j)
            count += 1
        square[i, j] += values[q]
    return count


@exactly
def empty_square(square, cells, count, diagonal, places, values, state):  # pragma: no cover - compiled
    """Write the noted cells in random order to places and values and zero them; returns the random state.

    On the diagonal each place where a word stands near itself counts twice, as each of the two is near the other.
    """
    for q in range(count - 1, 0, -1):
        state = xorshift(state)
        other = below(state, q + 1)
        cells[q], cells[other] = cells[other], cells[q]
    for q in range(count):
        i, j = cells[q] // SIDE, cells[q] % SIDE
        places[q, 0], places[q, 1] = i, j
        values[q] = 2 * square[i, j] if diagonal and i == j else square[i, j]
        square[i, j] = 0
    return state


@exactly
def note_dense(square, cells):  # pragma: no cover - compiled
    """Note the cells of a square that are not zero; returns how many."""
    count = 0
    for i in range(square.shape[0]):
        for j in range(i + 1):
            if square[i, j] != 0:
                cells[count] = i * SIDE + j
                count += 1
    return count
