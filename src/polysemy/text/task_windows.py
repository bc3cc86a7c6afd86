"""Windows over what is longer than the model: every token is covered, and each is judged where it sees most around it.

Span windows are those of BERT's run_squad.py (Devlin et al. 2019): they begin every `stride` tokens, and a token counts
in the one window where the smaller of its left and right context is largest (max context).  `stride` is the step
between windows, not their overlap as in Hugging Face's tokenizers.  Where we differ: the step is half a window at most,
so that windows of a body that reads 128 tokens overlap too.  At run_squad's 384 tokens and step of 128 nothing changes.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polysemy.errors import InputError
from polysemy.text.encoding import Encoding

if TYPE_CHECKING:
    from polysemy.text.examples import Examples

LEFT_FOR_CONTEXT = 16
"""tokens that a question leaves to its context, or half of the room where there is less"""


@dataclass(frozen=True, kw_only=True)
class SpanWindows:
    """The windows of all questions, one a row."""

    examples: np.ndarray
    """int64 (n,): which question"""
    queries: np.ndarray
    """int64 (questions,): tokens of each question that are shown"""
    first_tokens: np.ndarray
    """int64 (n,): the context token with which the window begins"""
    counts: np.ndarray
    """int64 (n,): context tokens of the window"""
    columns: np.ndarray
    """int64 (n,): the column in which the context begins"""
    best: np.ndarray
    """bool, flat: for each context token of each window, whether this is its window of max context"""
    best_splits: np.ndarray
    """int64 (n + 1,)"""
    inside: np.ndarray
    """bool (n,): the first answer lies wholly in the window"""
    answer_tokens: np.ndarray
    """int64 (n, 2): its first and last token, counted from the beginning of the window"""
    encodings: Sequence[Encoding]
    """of the context of each question"""


@dataclass(frozen=True, kw_only=True)
class TagWindows:
    """The windows of all sentences; each word is judged in one of them."""

    examples: np.ndarray
    """int64 (n,): which sentence"""
    begins: np.ndarray
    """int64 (n,): first piece shown, counted through all sentences; it begins a word"""
    counts: np.ndarray
    """int64 (n,): pieces shown; the last word may be cut"""
    flat_words: np.ndarray
    """int64 (words,): the words that are judged, window by window, counted through all sentences"""
    words: np.ndarray
    """int64 (words,): the same counted from the beginning of their sentence"""
    first_piece: np.ndarray
    """int64 (words,): the first piece of each, counted from the first piece of the window"""
    at_splits: np.ndarray
    """int64 (n + 1,)"""


def window_starts(tokens: int, room: int, stride: int) -> np.ndarray:
    """Where windows of `room` tokens begin: every `stride` tokens, half of `room` at most, until the end is covered.

    So whatever is no longer than half of `room` lies whole in one of them.
    """
    step = min(stride, max(1, room // 2))
    return np.arange(0, max(1, tokens - room + step), step)


def max_context(starts: np.ndarray, counts: np.ndarray, tokens: int) -> np.ndarray:
    """int64 (tokens,): the window in which each token has the most context, the first of equals.

    run_squad's score: min(tokens before it, tokens after it) + 0.01 * length of the window.
    """
    if len(starts) == 1:
        return np.zeros(tokens, np.int64)
    best, owner = np.full(tokens, -np.inf), np.zeros(tokens, np.int64)
    for window, (start, count) in enumerate(zip(starts.tolist(), counts.tolist(), strict=True)):
        before = np.arange(count)
        score = np.minimum(before, count - 1 - before) + 0.01 * count
        own = slice(start, start + count)
        better = score > best[own]
        best[own][better] = score[better]
        owner[own][better] = window
    return owner


def span_windows(examples: Examples, queries: np.ndarray, encodings: Sequence[Encoding], room: int, stride: int,
                 longest_query: int) -> SpanWindows:
    """Windows over the contexts of questions; `queries` are lengths in tokens, of which `longest_query` are shown.

    `room` columns are left for question and context.  `columns` is filled in by the caller.
    """
    if stride < 1:
        raise InputError(f"stride must be at least 1 token, got {stride}")
    shown = np.minimum(queries, min(longest_query, max(room - LEFT_FOR_CONTEXT, room // 2, 1)))
    owners, firsts, counts, bests, inside, answers = [], [], [], [], [], []
    for number, (example, encoding) in enumerate(zip(examples, encodings, strict=True)):
        tokens, space = max(len(encoding.ids), 1), room - int(shown[number])
        starts = window_starts(tokens, space, stride)
        sizes = np.minimum(tokens - starts, space)
        owner = max_context(starts, sizes, tokens)
        span = answer_tokens(encoding, example)
        for window, (start, size) in enumerate(zip(starts.tolist(), sizes.tolist(), strict=True)):
            owners.append(number)
            firsts.append(start)
            counts.append(size)
            bests.append(owner[start:start + size] == window)
            holds = span is not None and span[0] >= start and span[1] < start + size
            inside.append(holds)
            answers.append((span[0] - start, span[1] - start) if holds and span else (0, 0))
    sizes = np.array(counts, np.int64)
    return SpanWindows(
        examples=np.array(owners, np.int64), queries=shown, first_tokens=np.array(firsts, np.int64), counts=sizes,
        columns=np.zeros(len(owners), np.int64), best=np.concatenate(bests) if bests else np.zeros(0, bool),
        best_splits=np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]), inside=np.array(inside, bool),
        answer_tokens=np.array(answers, np.int64).reshape(-1, 2), encodings=encodings)


def answer_tokens(encoding: Encoding, question: Any) -> tuple[int, int] | None:
    """First and last token of the first answer, or None where there is none or it has no piece."""
    if not question.answers:
        return None
    start, text = question.answers[0]
    touched = np.flatnonzero((encoding.ends > start) & (encoding.starts < start + len(text)))
    return (int(touched[0]), int(touched[-1])) if len(touched) else None


def tag_windows(lengths: np.ndarray, counts: np.ndarray, room: int) -> TagWindows:
    """Windows over sentences of `counts` words of `lengths` pieces (1 to `room` each), beginning with a word.

    They begin about every half of `room`; each word is judged by its first piece, in its window of max context.
    """
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    examples, begins, shown, words, firsts, sizes = [], [], [], [], [], []
    base = 0
    for number, (a, b) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        pieces = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths[a:b])])
        total = int(pieces[-1])
        starts = _starts_at_words(pieces, room)
        spans = np.minimum(total - pieces[starts], room)
        owner = max_context(pieces[starts], spans, total)[pieces[:-1]] if total > room else np.zeros(b - a, np.int64)
        for window, start in enumerate(starts.tolist()):
            own = np.flatnonzero(owner == window)
            examples.append(number)
            begins.append(base + int(pieces[start]))
            shown.append(int(spans[window]))
            words.append(own)
            firsts.append(pieces[own] - pieces[start])
            sizes.append(len(own))
        base += total
    flat = np.concatenate(words) if words else np.zeros(0, np.int64)
    owners = np.array(examples, np.int64)
    at_splits = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
    return TagWindows(
        examples=owners, begins=np.array(begins, np.int64), counts=np.array(shown, np.int64),
        flat_words=flat + np.repeat(bounds[owners], sizes), words=flat,
        first_piece=np.concatenate(firsts) if firsts else np.zeros(0, np.int64), at_splits=at_splits)


def _starts_at_words(pieces: np.ndarray, room: int) -> np.ndarray:
    """The words with which windows begin, so that every word's first piece is in one and the last window is full."""
    total, starts = int(pieces[-1]), [0]
    while pieces[starts[-1]] + room < total:
        here = int(pieces[starts[-1]])
        wanted = min(here + max(room // 2, 1), total - room)
        following = int(np.searchsorted(pieces, wanted, "left"))
        reach = int(np.searchsorted(pieces, here + room, "right")) - 1
        starts.append(max(min(following, reach), starts[-1] + 1))
    return np.array(starts, np.int64)
