"""Pseudo-words: senses with known answers from any text, without a label (Gale et al. 1992; Schuetze 1992).

Two words are merged into one new word wherever they stand (window and dollar into winlar); which of the two stood
there is its sense. The usual blend, windowdollar, would let a model of pieces read the first of them in it. The pairs
are of like frequency and of like class: neighbors of the same kind stand to their left and right. A model has never
seen the new word, so it can tell its senses by the context alone; one static vector for both is worth exactly the
commoner one. Training and test uses come from different documents.
"""
from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from polysemy.errors import InputError
from polysemy.evaluation.occurrences import Use, find_uses
from polysemy.evaluation.sense_curves import SenseUse
from polysemy.runtime import random_for
from polysemy.text.words import is_han, word_spans

FUNCTION_WORDS = 60
"""the most frequent words: the neighbors by which classes are told"""
COMMONEST = 200
"""words that are no candidates: nearly all of them are function words"""
CANDIDATES = 600
SHORTEST = 4
"""letters of a candidate, in scripts with spaces"""
RATIO = 1.5
"""of the two frequencies, at most"""
LEAST = 40
"""uses of a candidate, at least"""
NEAREST = 5
"""a word's partner is one of so many nearest by class"""
SCAN = 8_000_000
"""characters of a corpus that are read: words and uses come from its beginning"""
TEST_SHARE = 0.3


class Pseudo(NamedTuple):
    """Merged pairs, and their uses for training and test."""

    pairs: list[tuple[str, str]]
    train: list[SenseUse]
    test: list[SenseUse]


def make_pseudo_words(documents: Iterable[Any], pairs: int = 5, uses: int = 200, seed: int = 0) -> Pseudo:
    """Pseudo-words of a corpus (documents with `text` and `number`), at most `uses` of each of the two words.

    InputError where the text has no two words that fit.
    """
    if pairs < 1 or uses < 2:
        raise InputError(f"pseudo-words must be at least 1 pair of 2 uses, got {pairs} of {uses}")
    documents = _beginning(documents)
    chosen = choose_pairs(documents, pairs, seed)
    train: list[SenseUse] = []
    test: list[SenseUse] = []
    for first, second in chosen:
        merged = blend(first, second)
        for word in (first, second):
            for use in find_uses(documents, word, uses, seed)[0]:
                held_out = random_for(seed, "pseudo", use.document).random() < TEST_SHARE
                (test if held_out else train).append(SenseUse(merged, word, _merge(use, (first, second), merged)))
    if not test or not train:
        raise InputError("text must have its words in several documents, got them all in one; choose what a document "
                         "is with --document")
    return Pseudo(chosen, train, test)


def _beginning(documents: Iterable[Any]) -> list[Any]:
    """Whole documents, until they have SCAN characters."""
    found, size = [], 0
    for document in documents:
        found.append(document)
        size += len(document.text)
        if size > SCAN:
            break
    return found


def choose_pairs(documents: Iterable[Any], pairs: int, seed: int = 0) -> list[tuple[str, str]]:
    """Pairs of frequent words of like frequency and class, keyed; each word once."""
    words, counts, classes = _counted(_beginning(documents))
    random = random_for(seed, "pairs")
    likeness = classes @ classes.T
    np.fill_diagonal(likeness, -1)
    likeness[np.maximum(counts[:, None], counts) > RATIO * np.minimum(counts[:, None], counts)] = -1
    free, found = np.ones(len(words), bool), []
    for i in random.permutation(len(words)):
        near = [j for j in np.argsort(-likeness[i], kind="stable")[:NEAREST]
                if free[j] and j != i and likeness[i, j] > 0 and not _related(words[i], words[j])]
        if free[i] and near:
            j = near[int(random.integers(len(near)))]
            free[[i, j]] = False
            found.append((words[i], words[j]))
            if len(found) == pairs:
                break
    if not found:
        raise InputError(f"text must have two words of like frequency, {LEAST} times each, got none; use a longer one")
    return found


def _related(first: str, second: str) -> bool:
    """Forms of one word, as far as their letters say (door, doors): merging them makes no two senses."""
    short, long = sorted((first, second), key=len)
    return not is_han(short[0]) and long.startswith(short[:max(3, len(short) - 2)])


def _counted(documents: Iterable[Any]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Candidates, their counts, and unit vectors of how often each frequent word stands to their left and right."""
    counts: Counter[str] = Counter()
    texts = []
    for document in documents:
        texts.append([document.text[a:b].lower() for a, b in word_spans(document.text)])
        counts.update(texts[-1])
    ranked = [word for word, _ in counts.most_common()]
    function = {word: i for i, word in enumerate(ranked[:FUNCTION_WORDS])}
    chosen = [word for word in ranked[COMMONEST:] if counts[word] >= LEAST and word.isalpha()
              and (len(word) >= SHORTEST or is_han(word[0]))][:CANDIDATES]
    rows = {word: i for i, word in enumerate(chosen)}
    beside = np.zeros((len(chosen), 2 * len(function)))
    for words in texts:
        for left, right in itertools.pairwise(words):
            if (row := rows.get(right)) is not None and left in function:
                beside[row, function[left]] += 1
            if (row := rows.get(left)) is not None and right in function:
                beside[row, len(function) + function[right]] += 1
    beside = np.sqrt(beside)
    lengths = np.linalg.norm(beside, axis=1, keepdims=True)
    return chosen, np.array([counts[word] for word in chosen], np.float64), beside / np.maximum(lengths, 1e-9)


def blend(first: str, second: str) -> str:
    """The beginning of one word and the end of the other, so that neither can be read in it; Chinese words whole."""
    if is_han(first[0]) or is_han(second[0]):
        return first + second
    for one, other in ((first, second), (second, first)):
        word = one[:(len(one) + 1) // 2] + other[len(other) // 2:]
        if word not in (first, second):
            return word
    return first + second


def _merge(use: Use, pair: Sequence[str], merged: str) -> Use:
    """The use with the new word in its place, and wherever else one of the two stands in its text."""
    text, start, stop = use.text, use.start, use.stop
    pieces, last, moved = [], 0, 0
    for a, b in word_spans(text):
        inside = (a, b) == (start, stop)
        if not inside and text[a:b].lower() not in pair:
            continue
        if inside:
            moved = sum(map(len, pieces)) + a - last
        pieces += [text[last:a], merged]
        last = b
    return Use("".join((*pieces, text[last:])), moved, moved + len(merged), use.document)
