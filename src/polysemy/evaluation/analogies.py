"""Analogies: what is to c as b is to a? Right if the nearest word to b - a + c (or by 3CosMul) is the expected one.

As word2vec's compute-accuracy asks them: the three words given are no answers, case is ignored, questions with a word
outside the restricted vocabulary are left out. How many were answered is always told: leaving out hard words flatters.
Sections named gram... are syntactic, all others semantic.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polysemy.models.vector_questions import RIGHT, UNKNOWN, Question, answer, read_analogies
from polysemy.models.word_vectors import WordVectors

Sections = Sequence[tuple[str, list[Question]]]
TOP_WORDS = 100_000
METHODS = ("add", "mul")


def judge_analogies(
    vectors: WordVectors, analogies: Path | Sections, *, restrict_vocab: int | None = TOP_WORDS,
    methods: Iterable[str] = METHODS,
) -> dict[str, Any]:
    """Plain values of one analogy file: for each method right, answered, total and accuracies, by section and in sums.

    accuracy: right of answered; accuracy_all: right of total. restrict_vocab: words that may be asked or be answers.
    """
    sections = read_analogies(analogies) if isinstance(analogies, Path) else list(analogies)
    questions = [question for _, asked in sections for question in asked]
    names = np.repeat([name for name, _ in sections], [len(asked) for _, asked in sections])
    syntactic = np.char.startswith(names.astype(str), "gram")
    result: dict[str, Any] = {"restrict_vocab": min(restrict_vocab or len(vectors), len(vectors))}
    for method in methods:
        outcome = answer(vectors, questions, method=method, restrict_vocab=restrict_vocab)
        result[method] = {
            **_sums(outcome),
            "semantic": _sums(outcome[~syntactic]),
            "syntactic": _sums(outcome[syntactic]),
            "sections": {name: _sums(outcome[names == name]) for name, _ in sections},
        }
    return result


def _sums(outcome: np.ndarray) -> dict[str, Any]:
    right, answered = int((outcome == RIGHT).sum()), int((outcome != UNKNOWN).sum())
    return {
        "right": right, "answered": answered, "total": len(outcome),
        "accuracy": right / answered if answered else None,
        "accuracy_all": right / len(outcome) if len(outcome) else None,
    }
