"""WordPiece to read: learning a vocabulary by two rules, and encoding by longest match (Schuster 2012, Devlin 2019).

A piece inside a word is written `##piece`. Learning begins with the characters and joins one pair of neighbours at a
time. Which pair, is the rule:

    "likelihood"   count(ab) / (count(a) count(b)): the pair whose joining raises the likelihood of the text most at
                   each occurrence, as published; it favours rare symbols that always stand together
    "frequency"    count(ab), as in BPE: what the tokenizers library does under the name of WordPiece, and BERT-like
                   vocabularies made with it

Encoding knows no merges: it takes the longest piece that fits, from the left; when a rest fits no piece, the whole word
is one unknown piece. So `unaffable` is un ##aff ##able and `unaffablez`, without `##z`, is [UNK].
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Literal

from polysemy.errors import InputError

Rule = Literal["likelihood", "frequency"]
Pair = tuple[str, str]
INSIDE = "##"


def learn(counts: Mapping[str, int], vocab_size: int, rule: Rule = "likelihood", min_frequency: int = 1) -> list[str]:
    """The pieces, in the order they were found: characters inside words, first characters, then joined pairs.

    counts: how often each word stands in the text. Of equal pairs the more frequent, then the one with the lower piece
    numbers comes first. The characters are always all kept.
    """
    if rule not in ("likelihood", "frequency"):
        raise InputError(f"rule must be likelihood or frequency, got {rule!r}")
    words = [[word[0], *(INSIDE + ch for ch in word[1:])] for word in counts]
    weights = list(counts.values())
    symbols = {symbol for word in words for symbol in word}
    characters = {symbol.removeprefix(INSIDE) if len(symbol) > 1 else symbol for symbol in symbols}
    pieces = sorted(symbol for symbol in symbols if len(symbol) > 1) + sorted(characters)
    number = {piece: n for n, piece in enumerate(pieces)}
    while len(number) < vocab_size:
        pairs, singles = _count(words, weights)
        if not pairs:
            break

        def value(pair: Pair, pairs: Counter[Pair] = pairs, singles: Counter[str] = singles) -> tuple[float, ...]:
            gain = pairs[pair] / (singles[pair[0]] * singles[pair[1]]) if rule == "likelihood" else pairs[pair]
            return gain, pairs[pair], -number[pair[0]], -number[pair[1]]

        best = max((pair for pair in pairs if pairs[pair] >= min_frequency), key=value, default=None)
        if best is None:
            break
        number.setdefault(join(best), len(number))
        words = [_merge(word, best) for word in words]
    return list(number)


def encode(word: str, vocabulary: Collection[str], unknown: str = "[UNK]", longest: int = 100) -> list[str]:
    """Greedy longest match from the left; a word of more than `longest` characters, or with a rest, is unknown."""
    if len(word) > longest:
        return [unknown]
    pieces: list[str] = []
    start = 0
    while start < len(word):
        prefix = INSIDE if start else ""
        fitting = (end for end in range(len(word), start, -1) if prefix + word[start:end] in vocabulary)
        end = next(fitting, None)
        if end is None:
            return [unknown]
        pieces.append(prefix + word[start:end])
        start = end
    return pieces


def join(pair: Pair) -> str:
    """The piece that two neighbours make: (`un`, `##aff`) gives `unaff`."""
    return pair[0] + pair[1].removeprefix(INSIDE)


def _count(words: Sequence[Sequence[str]], weights: Sequence[int]) -> tuple[Counter[Pair], Counter[str]]:
    pairs: Counter[Pair] = Counter()
    singles: Counter[str] = Counter()
    for word, weight in zip(words, weights, strict=True):
        for symbol in word:
            singles[symbol] += weight
        for pair in pairwise(word):
            pairs[pair] += weight
    return pairs, singles


def _merge(word: Sequence[str], pair: Pair) -> list[str]:
    merged: list[str] = []
    at = 0
    while at < len(word):
        found = tuple(word[at:at + 2]) == pair
        merged.append(join(pair) if found else word[at])
        at += 2 if found else 1
    return merged
