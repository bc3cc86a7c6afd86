"""Which layer tells the senses of a word apart? The protocol of `static_senses`, with a vector for each occurrence.

Every occurrence of a word is the vector of a layer at that word, in its sentence, less the mean over the training
occurrences of the word (states of a network share a large common part, which would hide the rest from a cosine). The
answer is the sense whose mean training vector is nearest by cosine. Layer 0 is the control: it knows the word's own
spelling (line, lines) and nothing of its sentence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from polysemy.errors import InputError
from polysemy.evaluation.static_senses import Occurrence, macro_f1, nearest_sense
from polysemy.text.words import word_spans

WINDOW = 20
"""Words kept on each side of an occurrence."""


class Embeds(Protocol):
    """What gives vectors of words in running text, from any layer."""

    def embed(self, texts: Sequence[str], *, layer: int | str, pooling: str) -> Any: ...


def judge_layers(model: Embeds, layers: Sequence[int | str], train: Sequence[Occurrence],
                 test: Sequence[Occurrence]) -> dict[str, Any]:
    """Plain values: accuracy and macro F1 of each layer and of always saying the most frequent sense.

    Means over words under the layer's name as text and under `most_frequent`; by word under `words`.
    """
    words = [word for word, _ in Counter(item.word for item in train).most_common()]
    parts = [(word, *([item for item in items if item.word == word] for items in (train, test))) for word in words]
    parts = [(word, known, asked) for word, known, asked in parts if asked]
    if not parts:
        raise InputError("test occurrences must be of words that training has, got none")
    result: dict[str, Any] = {"words": {}}
    for word, known, asked in parts:
        senses = [sense for sense, _ in Counter(item.sense for item in known).most_common()]
        labels = np.array([senses.index(item.sense) for item in known])
        gold = np.array([senses.index(item.sense) if item.sense in senses else -1 for item in asked])
        answers = {"most_frequent": np.zeros(len(asked), np.int64)}
        for layer in layers:
            vectors, new = (occurrence_vectors(model, items, layer) for items in (known, asked))
            middle = vectors.mean(0)
            answers[str(layer)] = nearest_sense(vectors - middle, labels, new - middle)
        result["words"][word] = {"senses": len(senses), "train": len(known), "test": len(asked)} | {
            name: {"accuracy": float((found == gold).mean()), "macro_f1": macro_f1(found, gold, len(senses))}
            for name, found in answers.items()
        }
    for name in ("most_frequent", *map(str, layers)):
        rows = [found[name] for found in result["words"].values()]
        result[name] = {key: float(np.mean([row[key] for row in rows])) for key in ("accuracy", "macro_f1")}
    return result


def occurrence_vectors(model: Embeds, items: Sequence[Occurrence], layer: int | str) -> np.ndarray:
    """float32 (items, d): the layer's vector of each occurrence among at most WINDOW words on each side."""
    texts, starts = [], []
    for item in items:
        first = max(0, item.index - WINDOW)
        before = item.tokens[first : item.index]
        texts.append(" ".join(item.tokens[first : item.index + WINDOW + 1]))
        starts.append(sum(map(len, before)) + len(before))
    found = model.embed(texts, layer=layer, pooling="word")
    return np.stack([vectors[_word_at(text, start)] for vectors, text, start in zip(found, texts, starts, strict=True)])


def _word_at(text: str, start: int) -> int:
    """The number of the first word that ends behind a character."""
    for number, (_, stop) in enumerate(word_spans(text)):
        if stop > start:
            return number
    raise InputError(f"an occurrence must be a word with letters, got {text[start:start + 20]!r}")
