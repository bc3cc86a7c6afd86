"""Checks on the questions themselves: what knows nothing of the context must be at chance, copies must be found.

A study whose controls fail says nothing about its models, so every report carries them.
"""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from polysemy.capability import ClozeItem, ScoresCloze
from polysemy.evaluation.bigram import UnigramControl
from polysemy.evaluation.bootstrap import band_mean, resampled
from polysemy.evaluation.cloze import ClozeResult, judge
from polysemy.evaluation.cloze_items import ClozeSet, Question
from polysemy.evaluation.duplicates import HAN_RUN, WORD_RUN, RunIndex
from polysemy.evaluation.fingerprints import read_blocks, words_of
from polysemy.evaluation.split import Split
from polysemy.runtime import random_for

STANDARD_ERRORS = 3.0
"""Half the width of a control's interval: a report has half a dozen controls, and an honest one fails once in 370."""
COPIES = 50


class RandomControl:
    """Scores that are noise, keyed by seed and item."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def cloze_scores(self, items: Sequence[ClozeItem]) -> np.ndarray:
        """float64 (items, candidates): standard normal."""
        randoms = (random_for(self.seed, "random control", item.left, item.right) for item in items)
        return np.array([random.normal(size=len(item.candidates)) for random, item in zip(randoms, items, strict=True)])


class RepeatControl:
    """Scores a candidate by how often its letters stand in the context: it sees what drawing candidates could leak."""

    def cloze_scores(self, items: Sequence[ClozeItem]) -> np.ndarray:
        """float64 (items, candidates): occurrences, capitals not counting."""
        contexts = [f"{item.left}\n{item.right}".lower() for item in items]
        return np.array([[context.count(word.lower()) for word in item.candidates]
                         for item, context in zip(items, contexts, strict=True)], np.float64)


class MiddleControl:
    """Prefers candidates in the middle of the others by frequency and length: where careless drawing puts the gold."""

    def cloze_scores(self, items: Sequence[ClozeItem]) -> np.ndarray:
        """float64 (items, candidates): minus the distance to the middle place."""
        frequency = np.array([item.log_frequency for item in items])
        length = np.array([[len(word) for word in item.candidates] for item in items], np.float64)
        place = frequency.argsort(axis=1).argsort(axis=1) - (frequency.shape[1] - 1) / 2
        return -np.abs(place) - np.abs(length - np.median(length, axis=1, keepdims=True))


def shuffle_contexts(items: ClozeSet, seed: int = 0) -> ClozeSet:
    """The same candidates in the context of another question: right answers become guesses."""

    def shuffled(questions: tuple[Question, ...], part: str) -> tuple[Question, ...]:
        order = random_for(seed, "shuffled contexts", part).permutation(len(questions))
        source = np.empty_like(order)
        source[order] = np.roll(order, 1)  # one long cycle: nobody keeps its own
        return tuple(dataclasses.replace(question, left=questions[other].left, right=questions[other].right)
                     for question, other in zip(questions, source.tolist(), strict=True))

    return dataclasses.replace(items, dev=shuffled(items.dev, "dev"), test=shuffled(items.test, "test"))


def at_chance(name: str, result: ClozeResult, *, seed: int = 0) -> dict[str, Any]:
    """Verdict on one control: does the interval of its accuracy hold chance?

    The standard error is the larger of two: by drawing documents anew, and that of guessing each question by itself
    (few documents draw too narrow an interval).
    """
    drawn = float(resampled(result.accuracy, result.bands, result.documents, seed=seed).std())
    _, counts = np.unique(result.bands, return_counts=True)
    guessing = float(np.sqrt((result.chance * (1 - result.chance) / counts).sum()) / len(counts))
    reach, accuracy = STANDARD_ERRORS * max(drawn, guessing), band_mean(result.accuracy, result.bands)
    return {"name": name, "accuracy": accuracy, "bits": band_mean(result.bits, result.bands),
            "interval": [accuracy - reach, accuracy + reach], "chance": result.chance,
            "passed": abs(accuracy - result.chance) <= reach}


def run_controls(items: ClozeSet, split: Split | None = None, *, models: dict[str, ScoresCloze] | None = None,
                 untrained: dict[str, ScoresCloze] | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """All controls of a study, each with name, numbers and `passed`.

    models: trained ones, asked again with shuffled contexts; untrained: the same with random weights, asked as they
    are. With a split the search for copies is checked too.
    """
    blind: dict[str, ScoresCloze] = {"word frequency": UnigramControl(), "random scores": RandomControl(seed),
                                     "repeats in context": RepeatControl(), "middle candidate": MiddleControl()}
    blind |= {f"{name}, random weights": model for name, model in (untrained or {}).items()}
    verdicts = [at_chance(name, judge(model, items), seed=seed) for name, model in blind.items()]
    shuffled = shuffle_contexts(items, seed)
    verdicts += [at_chance(f"{name}, shuffled contexts", judge(model, shuffled), seed=seed)
                 for name, model in (models or {}).items()]
    if split is not None:
        verdicts.append(find_planted(split, seed=seed))
    return verdicts


def find_planted(split: Split, *, seed: int = 0, disguise: Callable[[str], str] = str.upper) -> dict[str, Any]:
    """Plant passages of the test text, disguised, in training text; all must be found and nothing else.

    A passage is a run just long enough (13 words or 20 Han characters) from a random place of the test text, set
    between two stretches of training text that share nothing with it.
    """
    index = RunIndex.of_files([split.test])
    host = next(iter(read_blocks(split.train)))[0][:2_000]
    texts = [block for blocks in read_blocks(split.test) for block in blocks]
    planted = found = 0
    for number in random_for(seed, "planted").permutation(len(texts)).tolist():
        words = words_of(texts[number])
        size = HAN_RUN if words.han.any() else WORD_RUN
        if len(words) < size:
            continue
        start = int(random_for(seed, "planted", number).integers(0, len(words) - size + 1))
        if words.han.any() and not words.han[start : start + size].any():
            continue
        passage = texts[number][int(words.starts[start]) : int(words.stops[start + size - 1])]
        planted += 1
        found += f"{host}\n{disguise(passage)}\n{host}" in index
        if planted == COPIES:
            break
    return {"name": "planted copies", "planted": planted, "found": found, "false_alarms": int(host in index),
            "passed": planted > 0 and found == planted and host not in index}
