"""Can vectors of words tell the senses of a word apart? The protocol of nearest sense vectors, with static vectors.

The control: a word has one static vector, so all its sense vectors coincide and every answer is the same; the tie goes
to the sense seen most often in training. So a static vector is worth exactly the most frequent sense, by construction.
The words around the target can do better: each occurrence becomes the mean of its context's vectors, weighted
a / (a + frequency) (Arora et al. 2017), and the answer is the sense whose mean training vector is nearest by cosine.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polysemy.errors import InputError
from polysemy.models.vector_search import normalized
from polysemy.models.word_vectors import WordVectors

WINDOW = 10
WEIGHT = 1e-3
"""The a of a / (a + frequency)."""
TIE = 1e-6


@dataclass(frozen=True)
class Occurrence:
    """A word in its sentence: tokens[index] is a form of `word`, used in this sense."""

    word: str
    sense: str
    index: int
    tokens: tuple[str, ...]


def read_occurrences(path: Path) -> list[Occurrence]:
    """Lines of JSON with word, sense, index and tokens; .gz and .xz are unpacked."""
    from polysemy.text.decompress import read_blocks

    found = []
    for number, line in enumerate(b"".join(read_blocks(path)).split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            item = Occurrence(str(entry["word"]), str(entry["sense"]), int(entry["index"]), tuple(entry["tokens"]))
            if not 0 <= item.index < len(item.tokens):
                raise ValueError("index")
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"occurrence must be JSON with word, sense, index and tokens, got line {number} of {path} "
                             f"({type(error).__name__}: {error})") from None
        found.append(item)
    if not found:
        raise InputError(f"occurrences must be at least one, got none in {path}")
    return found


def judge_senses(vectors: WordVectors, train: Sequence[Occurrence], test: Sequence[Occurrence]) -> dict[str, Any]:
    """Plain values: accuracy and macro F1 of the most frequent sense, the static control and the context bag.

    For each word with training occurrences under `words`, and their means over words under each method's name.
    """
    words = [word for word, _ in Counter(item.word for item in train).most_common()]
    result: dict[str, Any] = {"words": {}}
    for word in words:
        known, asked = ([item for item in items if item.word == word] for items in (train, test))
        if asked:
            result["words"][word] = _judge_word(vectors, known, asked)
    if not result["words"]:
        raise InputError("test occurrences must be of words that training has, got none")
    for method in ("most_frequent", "static", "context"):
        rows = [found[method] for found in result["words"].values()]
        result[method] = {key: float(np.mean([row[key] for row in rows])) for key in ("accuracy", "macro_f1")}
    return result


def _judge_word(vectors: WordVectors, train: list[Occurrence], test: list[Occurrence]) -> dict[str, Any]:
    senses = [sense for sense, _ in Counter(item.sense for item in train).most_common()]
    own = vectors.find_vector(train[0].word)
    own = np.zeros(vectors.vector_size, np.float32) if own is None else own
    gold = np.array([senses.index(item.sense) if item.sense in senses else -1 for item in test])
    labels = np.array([senses.index(item.sense) for item in train])
    predictions = {
        "most_frequent": np.zeros(len(test), np.int64),
        "static": nearest_sense(np.tile(own, (len(train), 1)), labels, np.tile(own, (len(test), 1))),
        "context": nearest_sense(
            np.stack([context_vector(vectors, item) for item in train]), labels,
            np.stack([context_vector(vectors, item) for item in test]),
        ),
    }
    return {"senses": len(senses), "train": len(train), "test": len(test)} | {
        name: {"accuracy": float((found == gold).mean()), "macro_f1": macro_f1(found, gold, len(senses))}
        for name, found in predictions.items()
    }


def context_vector(vectors: WordVectors, item: Occurrence, window: int = WINDOW) -> np.ndarray:
    """float32 (size,): the weighted mean of the words around an occurrence, without the word itself."""
    near = [*item.tokens[max(0, item.index - window) : item.index], *item.tokens[item.index + 1 :][:window]]
    rows = [row for token in near if (row := _index(vectors, token)) >= 0]
    if not rows:
        return np.zeros(vectors.vector_size, np.float32)
    weights = WEIGHT / (WEIGHT + _frequencies(vectors, np.array(rows)))
    return (weights[:, None] * vectors.vectors[rows]).mean(0).astype(np.float32)


def _index(vectors: WordVectors, token: str) -> int:
    return vectors.key_to_index.get(token, vectors.key_to_index.get(token.lower(), -1))


def _frequencies(vectors: WordVectors, rows: np.ndarray) -> np.ndarray:
    """Relative frequencies; by Zipf's law from the ranks where counts are not known."""
    if vectors.counts is not None and vectors.counts.sum():
        return vectors.counts[rows] / vectors.counts.sum()
    return 1 / ((rows + 2.7) * np.log(len(vectors) + 2.7))


def nearest_sense(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The sense, 0 the most frequent, whose mean vector is nearest by cosine; the more frequent one of a tie."""
    means = np.stack([train[labels == sense].astype(np.float64).mean(0) for sense in range(labels.max() + 1)])
    cosines = normalized(test) @ normalized(means).T
    return (cosines >= cosines.max(1, keepdims=True) - TIE).argmax(1)


def macro_f1(found: np.ndarray, gold: np.ndarray, senses: int) -> float:
    scores = []
    for sense in range(senses):
        right = ((found == sense) & (gold == sense)).sum()
        scores.append(2 * right / max(1, (found == sense).sum() + (gold == sense).sum()))
    return float(np.mean(scores))
