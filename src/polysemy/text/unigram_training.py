"""Learning a Unigram vocabulary: expectation maximization over all segmentations, then pruning (Kudo 2018).

The method of sentencepiece and the tokenizers library: two EM steps, then the quarter of the pieces that the likelihood
misses least is dropped, until the size is reached; expected counts go through digamma, which favours few pieces. But
sums have a fixed order here, so that equal text gives an equal file, and it is several times faster. `learn_unigram` is
the short readable twin. Two choices differ from the library: first pieces are counted over running words, not over
distinct ones, and a substring that is always followed by the same character is no candidate.
"""
from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from polysemy.machine_code import compiled
from polysemy.text import tokenizer_parts as parts
from polysemy.text.tokenizer_training import ascii_characters
from polysemy.text.trie import Trie, child, flatten

if TYPE_CHECKING:
    from polysemy.text.tokenizer import TokenizerConfig

LONGEST_PIECE = 16
SEEDS_PER_PIECE = 25  # first candidates for each piece of the final vocabulary
MAX_SEEDS = 1_000_000
EM_STEPS = 2
KEPT_SHARE = 0.75
SLACK = 1.1  # EM ends at this many times the final size; the lowest scores go last
FEWEST_EXPECTED = 0.5
"""Pieces expected less often than this are dropped between EM steps (sentencepiece's threshold)."""


def train_unigram(sample: list[str], config: TokenizerConfig, specials: list[str]) -> Any:
    """A Unigram model of the tokenizers library whose first ids are the special tokens; None if characters fill it."""
    from tokenizers import models

    words = count_words(sample, config)
    for ch in ascii_characters(config):
        words.setdefault(ch, 1)
    room = config.vocab_size - len(specials)
    pieces = learn_pieces(words, room)
    if pieces is None:
        return None
    unknown = specials.index(parts.SPECIAL_TOKENS["unigram"]["unk"])
    return models.Unigram([(name, 0.0) for name in specials] + pieces, unk_id=unknown, byte_fallback=False)


def count_words(sample: list[str], config: TokenizerConfig) -> dict[str, int]:
    """How often each word (after clean-up, with its space mark) stands in the sample."""
    clean, cut = parts.normalizer("unigram", config.lowercased), parts.pre_tokenizer("unigram")
    assert clean is not None
    counts: Counter[str] = Counter()
    for text in sample:
        counts.update([word for word, _ in cut.pre_tokenize_str(clean.normalize_str(text))])
    return dict(counts)


def learn_pieces(counts: dict[str, int], size: int) -> list[tuple[str, float]] | None:
    """At most `size` (piece, log-probability), best first; None when the characters alone are more.

    Every character of the words is a piece. Deterministic: words are taken in sorted order.
    """
    words = sorted(counts)
    text, starts = flatten(words)
    weights = np.array([counts[word] for word in words], np.float64)
    firsts, lengths, frequencies = seeds(text, starts, weights, min(MAX_SEEDS, SEEDS_PER_PIECE * size))
    if np.count_nonzero(lengths == 1) > size:
        return None
    scores = np.log(frequencies) - np.log(frequencies.sum())
    aim = int(size * SLACK)
    while True:
        for _ in range(EM_STEPS):
            trie = Trie(text, firsts, lengths)
            expected = np.zeros(len(firsts))
            _expect(text, starts, weights, trie.keys, trie.children, trie.pieces, scores, expected)
            kept = (expected >= FEWEST_EXPECTED) | (lengths == 1)
            firsts, lengths = firsts[kept], lengths[kept]
            expected = np.maximum(expected[kept], FEWEST_EXPECTED)
            scores = _digamma(expected) - _digamma(expected.sum(keepdims=True))
        if len(firsts) <= aim:
            break
        kept = _worth_keeping(text, starts, weights, firsts, lengths, scores, aim)
        firsts, lengths, scores = firsts[kept], lengths[kept], scores[kept]
    order = np.lexsort((-scores, lengths > 1))[:size]  # characters first, so that none is lost
    strings = ["".join(map(chr, text[firsts[i]:firsts[i] + lengths[i]])) for i in order]
    return sorted(((piece, round(float(scores[i]), 6)) for piece, i in zip(strings, order, strict=True)),
                  key=lambda entry: (-entry[1], entry[0]))


def seeds(text: np.ndarray, starts: np.ndarray, weights: np.ndarray, limit: int
          ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(first position, length, weighted count) of all characters and the `limit` substrings with most count x length.

    Substrings of one word, seen twice or more, at most 16 long, grown one character at a time: a substring can only be
    frequent if it is frequent without its last and without its first character.
    """
    num_words = len(starts) - 1
    word_of = np.repeat(np.arange(num_words), np.diff(starts))
    weight = weights[word_of]
    room = starts[1:][word_of] - np.arange(len(text))  # characters left in the word
    _, characters = np.unique(text, return_inverse=True)
    numbers, base = characters.astype(np.int64), int(characters.max(initial=0)) + 1
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    positions = np.arange(len(text))
    for length in range(1, LONGEST_PIECE + 1):
        if length > 1:
            positions = positions[room[positions] >= length]
            positions = positions[(numbers[positions] >= 0) & (numbers[positions + 1] >= 0)]
            keys = numbers[positions] * base + characters[positions + length - 1]
        else:
            keys = numbers
        unique, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        count = np.bincount(inverse, weight[positions], minlength=len(unique))
        enough = (count >= 2) | (length == 1)
        if length > 2:  # the shorter one gives way when this one is as frequent
            best = np.zeros(len(found[-1][0]))
            np.maximum.at(best, unique // base, count)
            found[-1][2][best >= found[-1][2]] = 0
        fresh = np.full(len(unique), -1)
        fresh[enough] = np.arange(np.count_nonzero(enough))
        numbers = np.full(len(text), -1, np.int64)
        numbers[positions] = fresh[inverse]
        found.append((positions[first[enough]], np.full(np.count_nonzero(enough), length), count[enough]))
        positions = positions[enough[inverse]]
        if not len(positions):
            break
    firsts, lengths, counts = (np.concatenate(column) for column in zip(*found, strict=True))
    counts = counts.astype(np.float64)
    gain = np.where(lengths == 1, np.inf, counts * lengths)
    num_characters = int(np.count_nonzero(lengths == 1))
    order = np.lexsort((lengths, -gain))  # each length stands in alphabetic order already
    order = order[:max(limit, num_characters)]
    order = order[counts[order] > 0]
    return firsts[order], lengths[order], counts[order]


def _worth_keeping(text: np.ndarray, starts: np.ndarray, weights: np.ndarray, firsts: np.ndarray, lengths: np.ndarray,
                   scores: np.ndarray, aim: int) -> np.ndarray:
    """Numbers of the pieces that stay: all characters, and those whose loss would cost the likelihood most.

    The cost of a piece is its count on best segmentations times what its best replacement by others loses.
    """
    trie = Trie(text, firsts, lengths)
    counts = np.zeros(len(firsts))
    _count_best(text, starts, weights, trie.keys, trie.children, trie.pieces, scores, lengths, counts)
    losses = _losses(text, firsts, lengths, trie.keys, trie.children, trie.pieces, scores, counts)
    characters = np.flatnonzero(lengths == 1)
    others = np.flatnonzero((lengths > 1) & (counts > 0))
    others = others[np.argsort(-losses[others], kind="stable")]
    size = max(aim, int(KEPT_SHARE * len(firsts)))
    return np.sort(np.concatenate([characters, others[:max(0, size - len(characters))]]))


def _digamma(x: np.ndarray) -> np.ndarray:
    from scipy.special import digamma

    return digamma(x)


@compiled
def _matches(text, start, stop, keys, children, pieces, begins, ends, found):
    """Every piece inside text[start:stop] as (begin, end, piece), by begin; returns how many."""
    count = 0
    for begin in range(start, stop):
        node = np.int32(0)
        for end in range(begin, min(stop, begin + LONGEST_PIECE)):
            node = child(keys, children, node, text[end])
            if node < 0:
                break
            if pieces[node] >= 0:
                begins[count] = begin - start
                ends[count] = end + 1 - start
                found[count] = pieces[node]
                count += 1
    return count


@compiled
def _add_logs(a, b):
    high, low = max(a, b), min(a, b)
    return high if low == -np.inf else high + np.log1p(np.exp(low - high))


@compiled
def _expect(text, starts, weights, keys, children, pieces, scores, expected):
    """Add the expected count of each piece over all segmentations (forward-backward); returns the log-likelihood."""
    longest = np.max(np.diff(starts))
    begins = np.empty(longest * LONGEST_PIECE, np.int64)
    ends, found = np.empty_like(begins), np.empty_like(begins)
    forward, backward = np.empty(longest + 1), np.empty(longest + 1)
    total = 0.0
    for word in range(len(starts) - 1):
        size = starts[word + 1] - starts[word]
        count = _matches(text, starts[word], starts[word + 1], keys, children, pieces, begins, ends, found)
        forward[1:size + 1] = -np.inf
        backward[:size] = -np.inf
        forward[0] = backward[size] = 0.0
        for m in range(count):
            forward[ends[m]] = _add_logs(forward[ends[m]], forward[begins[m]] + scores[found[m]])
        for m in range(count - 1, -1, -1):
            backward[begins[m]] = _add_logs(backward[begins[m]], backward[ends[m]] + scores[found[m]])
        for m in range(count):
            share = forward[begins[m]] + scores[found[m]] + backward[ends[m]] - forward[size]
            expected[found[m]] += weights[word] * np.exp(share)
        total += weights[word] * forward[size]
    return total


@compiled
def _best(text, start, stop, keys, children, pieces, scores, whole, values, back):
    """Best segmentation of text[start:stop]: back[i] is the piece that ends at i; `whole` allows one piece for all."""
    size = stop - start
    values[1:size + 1] = -np.inf
    values[0] = 0.0
    for begin in range(size):
        node = np.int32(0)
        for end in range(begin + 1, min(size, begin + LONGEST_PIECE) + 1):
            node = child(keys, children, node, text[start + end - 1])
            if node < 0:
                break
            piece = pieces[node]
            if piece >= 0 and (whole or end - begin < size) and values[begin] + scores[piece] > values[end]:
                values[end] = values[begin] + scores[piece]
                back[end] = piece


@compiled
def _count_best(text, starts, weights, keys, children, pieces, scores, lengths, counts):
    longest = np.max(np.diff(starts))
    values, back = np.empty(longest + 1), np.empty(longest + 1, np.int64)
    for word in range(len(starts) - 1):
        _best(text, starts[word], starts[word + 1], keys, children, pieces, scores, True, values, back)
        at = starts[word + 1] - starts[word]
        while at > 0:
            counts[back[at]] += weights[word]
            at -= lengths[back[at]]


@compiled
def _losses(text, firsts, lengths, keys, children, pieces, scores, counts):
    """What each piece of several characters is worth: its count times log p(piece) / p(its best replacement)."""
    values, back = np.empty(LONGEST_PIECE + 1), np.empty(LONGEST_PIECE + 1, np.int64)
    total = counts.sum()
    losses = np.zeros(len(firsts))
    for piece in range(len(firsts)):
        if lengths[piece] == 1 or counts[piece] == 0:
            continue
        _best(text, firsts[piece], firsts[piece] + lengths[piece], keys, children, pieces, scores, False, values, back)
        at = lengths[piece]
        parts_used, alternative = 0, 0.0
        while at > 0:
            alternative += np.log(counts[back[at]] + counts[piece])
            parts_used += 1
            at -= lengths[back[at]]
        # with the piece gone, its count goes to each part of its replacement
        alternative -= parts_used * np.log(total + counts[piece] * (parts_used - 1))
        losses[piece] = counts[piece] * (np.log(counts[piece]) - np.log(total) - alternative)
    return losses
