"""Passages of held-out text to score and to time: the same ones for every model."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polysemy.evaluation.cloze_items import Question
from polysemy.evaluation.fingerprints import read_blocks
from polysemy.runtime import random_for
from polysemy.text.sentences import sentence_spans
from polysemy.text.words import word_bounds


def passages_of(path: Path, *, words: int = 20_000, longest: int = 128, seed: int = 0) -> list[str]:
    """Beginnings, of up to `longest` words, of paragraphs drawn from a text file until they hold `words` words.

    Deterministic in seed; paragraphs of fewer than 4 words are left out.
    """
    lines = [line for blocks in read_blocks(path) for block in blocks for line in block.split("\n")]
    chosen: list[str] = []
    count = 0
    for at in random_for(seed, "passages").permutation(len(lines)).tolist():
        _, stops = word_bounds(lines[at])
        if len(stops) < 4:
            continue
        chosen.append(lines[at] if len(stops) <= longest else lines[at][: int(stops[longest - 1])])
        count += min(len(stops), longest)
        if count >= words:
            break
    return chosen


def passages_of_items(questions: Sequence[Question], words: int = 20_000) -> list[str]:
    """The running text around cloze gaps, the right words in their places, until it holds `words` words."""
    chosen, count = [], 0
    for question in questions:
        chosen.append(question.left + question.candidates[question.gold] + question.right)
        count += len(word_bounds(chosen[-1])[0])
        if count >= words:
            break
    return chosen


def sentences_of(passages: Sequence[str], most: int = 512) -> list[str]:
    """Sentences of some passages, of at least 4 words, for timing."""
    found = [text[start:stop] for text in passages for start, stop in sentence_spans(text)]
    lengths = np.array([len(word_bounds(sentence)[0]) for sentence in found])
    return [sentence for sentence, length in zip(found, lengths.tolist(), strict=True) if length >= 4][:most]
