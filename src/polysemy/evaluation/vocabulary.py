"""The words of the training text, how often each stands there, and which of them look alike.

Counted are words that stand by themselves: not `don` and `t` of "don't", not the parts of "mother-in-law" or of an
address. Such stumps give themselves away as cloze candidates. Capitals count: "May" and "may" are two words.
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from polysemy.evaluation.fingerprints import Words, counted, read_blocks, span_numbers, words_of
from polysemy.text.words import DIGIT, FIRST_SCRIPT, HAN, character_classes, character_table, code_points

SMALL, CAPITAL, NAME, CAPITALS, MIXED, CASELESS = range(6)
"""How a word is written. CAPITAL is a word that is usually small, written at the start of a sentence; NAME is one that
is usually written with a capital."""
LETTER_RANK = 100
"""One-letter words of alphabets count only when they are as frequent as this ("a", "y"), for others are initials."""
FENCES = " \t\n\r()[]{}<>\"“”„«»‹›,;:!?…—–|*。，、；：！？「」『』《》〈〉（）【】·～﹏　"
"""Characters that may touch a word that stands by itself; any other sign makes it part of something larger."""


@dataclass(frozen=True)
class Vocabulary:
    """Different words by falling count (then by hash); arrays of one length, index = rank - 1."""

    words: list[str]
    numbers: np.ndarray
    counts: np.ndarray
    total: int
    """all words that stand by themselves, the left-out rare ones too"""

    def __len__(self) -> int:
        return len(self.words)

    def find(self, numbers: np.ndarray) -> np.ndarray:
        """int64: the index of each word given by its number, -1 where it is unknown."""
        order = np.argsort(self.numbers)
        at = np.minimum(np.searchsorted(self.numbers[order], numbers), len(order) - 1)
        found = order[at]
        return np.where(self.numbers[found] == numbers, found, -1)

    def log_frequency(self) -> np.ndarray:
        """float64: natural log of each word's share of all words."""
        return np.log(self.counts / self.total)


def count_words(path: Path, *, min_count: int = 5, unit: str = "character") -> Vocabulary:
    """Count the words of a text file (documents between blank lines), streaming; rarer ones are left out."""
    numbers, counts = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    spelling: dict[int, str] = {}
    total = 0
    for blocks in read_blocks(path):
        text = "\n\n".join(blocks)
        words = words_of(text, unit)
        chosen = np.flatnonzero(standalone(words))
        mine = words.numbers()[chosen]
        total += len(chosen)
        _spell(spelling, text, words, chosen, mine, numbers)
        new, times = counted(mine)
        numbers, counts = counted(np.concatenate([numbers, new]), np.concatenate([counts, times]))
    kept = counts >= min_count
    numbers, counts = numbers[kept], counts[kept]
    order = np.lexsort((numbers, -counts))
    return Vocabulary([spelling[number] for number in numbers[order].tolist()], numbers[order], counts[order], total)


def _spell(spelling: dict[int, str], text: str, words: Words, chosen: np.ndarray, mine: np.ndarray,
           known: np.ndarray) -> None:
    """Note how the words that were not seen before are written."""
    at = np.minimum(np.searchsorted(known, mine), max(len(known) - 1, 0))
    fresh = np.flatnonzero(known[at] != mine) if len(known) else np.arange(len(mine))
    order = fresh[np.argsort(mine[fresh], kind="stable")]
    ordered = mine[order]
    first = order[np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(order)]]
    places = chosen[first]
    for number, start, stop in zip(mine[first].tolist(), words.starts[places].tolist(), words.stops[places].tolist(),
                                   strict=True):
        spelling[number] = text[start:stop]


def standalone(words: Words) -> np.ndarray:
    """bool (words,): whether nothing touches the word that would make it a part of something larger."""
    codes, fence = words.codes, fence_table()
    padded = np.concatenate([[32, 32], codes.astype(np.uint32), [32, 32]])
    before, before2 = padded[words.starts + 1], padded[words.starts]
    after, after2 = padded[words.stops + 2], padded[words.stops + 3]
    letters = character_table() >= DIGIT
    left = fence[before] | ((before == ord("-")) & (before2 == ord("-")))
    right = fence[after] | ((after == ord("-")) & (after2 == ord("-"))) | ((after == ord(".")) & ~letters[after2])
    return words.han | (left & right)


@cache
def fence_table() -> np.ndarray:
    """bool (0x110000,): FENCES and the Han characters, which need no space between them and other words."""
    table = character_table() == HAN
    table[[ord(sign) for sign in FENCES]] = True
    return table


def looks(vocabulary: Vocabulary) -> np.ndarray:
    """int64 (words,): a number for how each word looks (script, case, length where Han); -1 where it is no candidate.

    No candidates are digits, and single letters of an alphabet unless they are frequent words. Two spellings that
    differ in case alone never share a look, but for odd capitals, of which the most frequent one stays.
    """
    result = np.full(len(vocabulary), -1, np.int64)
    count_of = dict(zip(vocabulary.words, vocabulary.counts.tolist(), strict=True))
    seen: set[str] = set()
    for index, word in enumerate(vocabulary.words):
        script = int(character_classes(word)[0])
        if script < HAN:
            continue
        case = _case(word, count_of)
        if case == MIXED:
            if word.casefold() in seen:
                continue
            seen.add(word.casefold())
        if script >= FIRST_SCRIPT and len(word) == 1 and (case not in (SMALL, CASELESS) or index >= LETTER_RANK):
            continue
        length = min(len(word), 63) if script == HAN else 0
        result[index] = (script * 8 + case) * 64 + length
    return result


def _case(word: str, count_of: dict[str, int]) -> int:
    if word == word.lower():
        return CASELESS if word == word.upper() else SMALL
    if len(word) > 1 and word == word.upper():
        return CAPITALS
    if word[0] != word[0].lower() and word[1:] == word[1:].lower():
        return NAME if count_of[word] > count_of.get(word.lower(), 0) else CAPITAL
    return MIXED


def folded_numbers(words: list[str]) -> np.ndarray:
    """uint64 (words,): the numbers of words given as text, capitals not counting."""
    text = "\n".join(words)
    lengths = np.array([len(word) for word in words], np.int64)
    starts = np.cumsum(lengths + 1) - lengths - 1
    return span_numbers(code_points(text), starts, starts + lengths, folded=True)
