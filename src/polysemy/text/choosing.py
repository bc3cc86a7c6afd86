"""The compiled loops that choose tokens, words and n-grams to hide, and what is shown in their place.

What they do and why stands in `polysemy.text.masking`. Importing this file imports Numba; import it inside functions.
"""
from __future__ import annotations

import numpy as np

from polysemy.text.keyed import below, bits, compiled, find, uniform
from polysemy.text.masking import PieceText

# streams of random numbers of one piece
CHOICE, KIND, PIECE = range(3)


@compiled
def choose_tokens(text: PieceText, budgets: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Exactly budgets[i] tokens of piece i, every subset with equal chance: selection sampling (Knuth, algorithm S)."""
    groups = np.zeros(len(text.ids), np.int32)
    for piece in range(len(keys)):
        start, stop = text.run_ends[text.piece_runs[piece]], text.run_ends[text.piece_runs[piece + 1]]
        key, group, wanted = bits(keys[piece], CHOICE), 0, budgets[piece]
        for at in range(start, stop):
            if uniform(key, at - start) * (stop - at) < wanted - group:
                group += 1
                groups[at] = group
    return groups


@compiled
def choose_words(text: PieceText, budgets: np.ndarray, keys: np.ndarray, cumulative: np.ndarray) -> np.ndarray:
    """Groups of whole words; cumulative[n - 1] is the chance of a group of at most n words."""
    groups = np.zeros(len(text.ids), np.int32)
    for piece in range(len(keys)):
        words, runs = words_of(text, piece)
        order = np.arange(len(words) - 1)
        key, group, left = bits(keys[piece], CHOICE), 0, budgets[piece]
        for i in range(len(order)):
            j = i + below(key, 2 * i, len(order) - i)
            order[i], order[j] = order[j], order[i]
            first = order[i]
            if left == 0:
                break
            count = 1 + find(cumulative[:-1], uniform(key, 2 * i + 1))
            count = back_off(count, first, words, runs, groups, left)
            if count > 0:
                group += 1
                groups[words[first] : words[first + count]] = group
                left -= words[first + count] - words[first]
        if group == 0:
            groups[words[order[0]] : words[order[0] + 1]] = 1
    return groups


@compiled
def back_off(count: int, first: int, words: np.ndarray, runs: np.ndarray, groups: np.ndarray, left: int) -> int:
    """The most words, up to `count`, that can be hidden from `first` on: free, of one run, at most `left` tokens."""
    for taken in range(count):
        word = first + taken
        if word == len(words) - 1 or runs[word] != runs[first] or groups[words[word]] > 0:
            return taken
        if words[word + 1] - words[first] > left:
            return taken
    return count


@compiled
def words_of(text: PieceText, piece: int):
    """Offsets of the piece's words with its end last, and the run of each word."""
    first_run, last_run = text.piece_runs[piece], text.piece_runs[piece + 1]
    start, stop = text.run_ends[first_run], text.run_ends[last_run]
    words, runs = np.empty(stop - start + 1, np.int64), np.empty(stop - start, np.int64)
    count = 0
    for run in range(first_run, last_run):
        for at in range(text.run_ends[run], text.run_ends[run + 1]):
            if text.word_starts[at]:
                words[count], runs[count] = at, run
                count += 1
    words[count] = stop
    return words[: count + 1], runs[:count]


@compiled
def replace(text: PieceText, groups: np.ndarray, keys: np.ndarray, rates: tuple, mask: int, replacements: np.ndarray):
    """The ids shown, int32 (n,). rates: (mask_rate, random_rate, whether one draw serves a whole group)."""
    shown = text.ids.copy()
    for piece in range(len(keys)):
        start, stop = text.run_ends[text.piece_runs[piece]], text.run_ends[text.piece_runs[piece + 1]]
        kind_key, piece_key = bits(keys[piece], KIND), bits(keys[piece], PIECE)
        for at in range(start, stop):
            if groups[at] > 0:
                kind = uniform(kind_key, groups[at] if rates[2] else at - start)
                if kind < rates[0]:
                    shown[at] = mask
                elif kind < rates[0] + rates[1]:
                    shown[at] = replacements[below(piece_key, at - start, len(replacements))]
    return shown
