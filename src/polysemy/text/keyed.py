"""Random numbers without a state: number `counter` of the stream `key` is a hash of the two.

Compiled twins of `runtime.random_for` for inner loops. The hash is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014):
its output i is a bijective mix of key + i * gamma, so any number of a stream is had without those before it.
Importing this file imports Numba; import it inside functions.
"""
from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

GAMMA = np.uint64(0x9E3779B97F4A7C15)
FIRST_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
SECOND_FACTOR = np.uint64(0x94D049BB133111EB)
ONE, TWO, ELEVEN, SHIFT_1, SHIFT_2, SHIFT_3 = (np.uint64(n) for n in (1, 2, 11, 30, 27, 31))
UNIT = 2.0**-53
ROUNDS = 6


def compiled(function: Callable[..., Any], *signature: str) -> Callable[..., Any]:
    """Compile a loop that needs no Python objects; the machine code is kept on disk where there is a place for it.

    With POLYSEMY_PLAIN=1 the loop stays Python and gives the same, slowly.
    """
    if os.environ.get("POLYSEMY_PLAIN") == "1":
        return np.errstate(over="ignore")(function)
    from polysemy import machine_code

    return machine_code.compiled(function, signature=signature)


def compiled_for(signature: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`compiled` for one fixed choice of types: callers' arguments are converted."""
    return lambda function: compiled(function, signature)


@compiled_for("uint64(uint64, int64)")
def bits(key: np.uint64, counter: int) -> np.uint64:
    """64 random bits; also the way to derive a key for a stream of its own."""
    mixed = np.uint64(key) + (np.uint64(counter) + ONE) * GAMMA
    mixed = (mixed ^ (mixed >> SHIFT_1)) * FIRST_FACTOR
    mixed = (mixed ^ (mixed >> SHIFT_2)) * SECOND_FACTOR
    return mixed ^ (mixed >> SHIFT_3)


@compiled_for("float64(uint64, int64)")
def uniform(key: np.uint64, counter: int) -> float:
    """A float64 in [0, 1)."""
    return np.float64(bits(key, counter) >> ELEVEN) * UNIT


@compiled_for("int64(uint64, int64, int64)")
def below(key: np.uint64, counter: int, limit: int) -> np.int64:
    """An integer in [0, limit)."""
    return np.int64(uniform(key, counter) * limit)


@compiled
def find(ascending: np.ndarray, value: float) -> int:
    """How many entries are not above the value: `np.searchsorted(..., "right")`, which takes a second to compile."""
    low, high = 0, len(ascending)
    while low < high:
        middle = (low + high) // 2
        if ascending[middle] <= value:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def shuffled(indices: np.ndarray, size: int, key: np.uint64) -> np.ndarray:
    """Where a keyed permutation of 0..size-1 sends each index, without making the permutation.

    A balanced Feistel network over the next power of four, walked until it lands inside (Black and Rogaway 2002).
    """
    half = ONE
    while (ONE << (TWO * half)) < np.uint64(size):
        half += ONE
    low = (ONE << half) - ONE
    places = np.empty(len(indices), np.int64)
    for i in range(len(indices)):
        place = np.uint64(indices[i])
        while True:
            left, right = place >> half, place & low
            for turn in range(ROUNDS):
                left, right = right, left ^ (bits(key, np.int64((right << np.uint64(4)) | np.uint64(turn))) & low)
            place = (left << half) | right
            if place < np.uint64(size):
                break
        places[i] = np.int64(place)
    return places
