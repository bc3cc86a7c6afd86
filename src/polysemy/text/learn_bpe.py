"""Byte-pair encoding to read: learning the merges and encoding with them (Sennrich, Haddow and Birch 2016).

Words begin as single characters. Again and again the most frequent pair of neighbours, counted over all words, becomes
one symbol; the list of merges in their order is the whole model. A new word is cut by the same merges in that order.
Of equally frequent pairs the one with the lower symbol numbers comes first (characters by code point, then merges in
their order), as in the tokenizers library, which gives the same merges. No end-of-word symbol is added.

`byte_word` is the byte-level variant (GPT-2): the 256 bytes of UTF-8 stand in for characters, so nothing is unknown.
"""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

Pair = tuple[str, str]


def learn(counts: Mapping[str, int], num_merges: int, min_frequency: int = 1) -> list[Pair]:
    """At most `num_merges` merges learnt from words and how often each stands in the text."""
    words = [list(word) for word in counts]
    weights = list(counts.values())
    number = {symbol: n for n, symbol in enumerate(sorted({ch for word in words for ch in word}))}
    pairs: Counter[Pair] = Counter()
    holders: defaultdict[Pair, set[int]] = defaultdict(set)  # pair -> words that (may) hold it
    for index in range(len(words)):
        _count(words[index], index, weights[index], pairs, holders)
    merges: list[Pair] = []
    while len(merges) < num_merges and pairs:
        best = max(pairs, key=lambda pair: (pairs[pair], -number[pair[0]], -number[pair[1]]))
        if pairs[best] < max(min_frequency, 1):
            break
        merges.append(best)
        number.setdefault(best[0] + best[1], len(number))
        for index in holders.pop(best):  # only these words change
            _count(words[index], index, -weights[index], pairs, holders)
            words[index] = merge_all(words[index], best)
            _count(words[index], index, weights[index], pairs, holders)
        pairs.pop(best, None)
    return merges


def encode(word: str, merges: Sequence[Pair]) -> list[str]:
    """The pieces of a word: the pair that was learnt first is merged first, until no neighbours are a known pair."""
    return _apply(list(word), {pair: rank for rank, pair in enumerate(merges)})


def encode_with_dropout(word: str, merges: Sequence[Pair], rate: float, random: np.random.Generator) -> list[str]:
    """As `encode`, but each possible merge is left out with probability `rate` at each step (Provilkov 2020).

    Gives varied cuts of the same word for training; rate 0 is `encode`, rate 1 leaves single characters.
    """
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    symbols = list(word)
    while True:
        options = [(ranks[pair], at) for at, pair in enumerate(pairwise(symbols)) if pair in ranks]
        kept = [option for option in options if random.random() >= rate]
        if not kept:
            return symbols
        at = min(kept)[1]
        symbols[at:at + 2] = [symbols[at] + symbols[at + 1]]


def merge_all(symbols: Sequence[str], pair: Pair) -> list[str]:
    """The symbols with every occurrence of the pair joined, from left to right."""
    joined: list[str] = []
    at = 0
    while at < len(symbols):
        if tuple(symbols[at:at + 2]) == pair:
            joined.append(pair[0] + pair[1])
            at += 2
        else:
            joined.append(symbols[at])
            at += 1
    return joined


def byte_word(word: str) -> str:
    """The word's UTF-8 bytes as printable characters, one each (GPT-2's table)."""
    table = byte_characters()
    return "".join(table[byte] for byte in word.encode("utf-8"))


def byte_characters() -> list[str]:
    """GPT-2's character for each byte: itself where it is printable, else the next one from code point 256 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    rest = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(rest)) for byte in range(256)]


def _apply(symbols: list[str], ranks: Mapping[Pair, int]) -> list[str]:
    while len(symbols) > 1:
        best = min(pairwise(symbols), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        symbols = merge_all(symbols, best)
    return symbols


def _count(symbols: Sequence[str], index: int, weight: int, pairs: Counter[Pair],
           holders: defaultdict[Pair, set[int]]) -> None:
    """Add (or with a negative weight take away) the pairs of one word."""
    for pair in pairwise(symbols):
        pairs[pair] += weight
        if weight > 0:
            holders[pair].add(index)
        elif pairs[pair] == 0:
            del pairs[pair]
