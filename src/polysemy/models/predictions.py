"""What a fine-tuned model says of one example, and how spans and entities are read from its scores."""
from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from polysemy.models.tasks import Span
from polysemy.text.words import is_han, word_spans


@dataclass(frozen=True, kw_only=True)
class Entity:
    """Words that are tagged as one thing."""

    kind: str
    """the tag without B- or I-"""
    text: str
    start: int
    """character in the text; of given words, in the words joined (`joined`)"""
    stop: int
    """behind its last character"""
    words: tuple[int, int]
    """first word, and behind the last"""
    probability: float
    """of its least certain tag"""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Where the answer to a question stands; `text` is '' and `start`, `stop` are 0 where there is none."""

    text: str
    start: int
    """character in the context"""
    stop: int
    probability: float
    """among the best spans and, where the task knows it, no answer"""
    span: str = ""
    """the best span, whatever the threshold says"""
    null_difference: float | None = None
    """score of no answer less that of the best span; there is no answer where it is above the task's threshold"""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says of one example; what its task does not give is None or empty."""

    label: str | None = None
    """the likeliest label; for tags and answers None"""
    probability: float | None = None
    """of the label or the answer"""
    probabilities: dict[str, float] = field(default_factory=dict)
    """of all labels, in the task's order"""
    value: float | None = None
    words: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    """one a word"""
    entities: tuple[Entity, ...] = ()
    answer: Answer | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values of what is there."""
        found = dataclasses.asdict(self)
        return {name: value for name, value in found.items() if value not in (None, {}, ())}


# --- words and entities


def split_words(text: str) -> tuple[list[str], list[tuple[int, int]]]:
    """The words of a text as taggers see them, with their characters: `word_spans`, and each sign between them."""
    spans, end = [], 0
    for start, stop in [*word_spans(text), (len(text), len(text))]:
        spans += [(i, i + 1) for i in range(end, start) if not text[i].isspace()]
        spans += [(start, stop)] * (stop > start)
        end = stop
    return [text[start:stop] for start, stop in spans], spans


def joined(words: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """Given words as one text, with a blank between two unless both are Chinese there; and where each stands."""
    text, spans = "", []
    for word in words:
        if text and not (is_han(text[-1]) and is_han(word[:1] or " ")):
            text += " "
        spans.append((len(text), len(text) + len(word)))
        text += word
    return text, spans


def entities(tags: Sequence[str], probabilities: Sequence[float], text: str, spans: Sequence[tuple[int, int]]
             ) -> tuple[Entity, ...]:
    """The things that B- and I- tags name (Ramshaw and Marcus 1995).

    An I- that continues nothing of its kind begins a thing, as conlleval reads it; any tag without B- or I- is none.
    """
    found = []
    for first, last, kind in _runs(tags):
        start, stop = spans[first][0], spans[last - 1][1]
        found.append(Entity(kind=kind, text=text[start:stop], start=start, stop=stop, words=(first, last),
                            probability=float(min(probabilities[first:last]))))
    return tuple(found)


def _runs(tags: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """(first word, behind the last, kind) of each thing."""
    first, kind = 0, ""
    for i, tag in enumerate([*tags, "O"]):
        mark, _, name = tag.partition("-")
        inside = mark in ("B", "I") and bool(name)
        if kind and (mark != "I" or name != kind):
            yield first, i, kind
            kind = ""
        if inside and not kind:
            first, kind = i, name


# --- answers


@dataclass(frozen=True)
class Candidate:
    """A span of a context."""

    score: float
    """of its start plus of its end"""
    first: int
    """token of the context"""
    last: int


def candidates(scores: np.ndarray, column: int, first_token: int, starts_here: np.ndarray, task: Span
               ) -> list[Candidate]:
    """The best spans of one window, best first: at most `task.best` of them.

    scores       float (t, 2) of start and end
    column       where the context begins in the row
    first_token  the context token that stands there
    starts_here  bool, one for each context token of the window: it is the window of max context for it

    The `best` likeliest starts and ends of the context's tokens are paired (run_squad.py takes the likeliest of all
    columns and drops those of the question, so it may find fewer).  A span starts in its window of max context, ends
    not before it starts and has at most `task.longest` pieces; ties go to the earlier start, then the earlier end.
    """
    count = len(starts_here)
    own = scores[column:column + count].astype(np.float64)
    firsts = np.flatnonzero(starts_here)
    firsts = firsts[np.argsort(-own[firsts, 0], kind="stable")[:task.best]]
    lasts = np.argsort(-own[:, 1], kind="stable")[:task.best]
    sizes = lasts - firsts[:, None] + 1
    total = np.where((sizes >= 1) & (sizes <= task.longest), own[firsts, 0][:, None] + own[lasts, 1], -np.inf)
    pairs = np.argwhere(total > -np.inf)
    found = [(-float(total[i, j]), int(firsts[i]), int(lasts[j])) for i, j in pairs]
    return [Candidate(-score, first_token + first, first_token + last)
            for score, first, last in sorted(found)[:task.best]]


def answer_of(found: Sequence[Candidate], null: float, context: str, starts: np.ndarray, ends: np.ndarray, task: Span
              ) -> Answer:
    """The answer from the best spans of all windows of a context (SPEC: run_squad.py, Devlin et al. 2019, 4.2 and 4.3).

    `null` is the smallest over the windows of the scores at [CLS]; `starts` and `ends` are the characters of the
    context's tokens.  Only a task with `null` may say that there is no answer: where null less the best score is above
    its threshold.  Equal texts at one place count once.
    """
    order = sorted(found, key=lambda one: (-one.score, one.first, one.last))
    spans = {(int(starts[one.first]), int(ends[one.last])): one.score for one in reversed(order)
             if ends[one.last] > starts[one.first]}
    best = sorted(spans, key=lambda place: (-spans[place], place))[:task.best]
    if not best:
        return Answer(text="", start=0, stop=0, probability=1.0)
    shares = softmax(np.array([spans[place] for place in best] + [null] * task.null))
    start, stop = best[0]
    difference = null - spans[best[0]]
    span = context[start:stop]
    if task.null and difference > task.threshold:
        return Answer(text="", start=0, stop=0, probability=float(shares[-1]), span=span, null_difference=difference)
    return Answer(text=span, start=start, stop=stop, probability=float(shares[0]), span=span,
                  null_difference=difference)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last dimension, float64."""
    wide = logits.astype(np.float64)
    shares = np.exp(wide - wide.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)
