"""How well can the senses of a word be told apart, by layer and by the number of examples? Nearest sense vector.

The protocol of Loureiro et al. 2021: a sense is the mean vector of its training uses, an answer the sense nearest by
cosine. Where we differ: the middle of the sense vectors is taken from everything first, because states of a network
share a large common part that says nothing. Controls beside the layers: the most frequent sense; the word's own static
vector, which is one point for all senses and so worth exactly the most frequent one; a weighted mean of the static
vectors of the words around it (see `static_senses`); the same body with weights as they were before training.

Accuracy is over all test uses, macro F1 the mean over words of the mean over senses: where one sense is frequent,
accuracy hides that a model knows no other.
"""
from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from polysemy.errors import InputError
from polysemy.evaluation.occurrences import STATIC, Use, reads, use_vectors
from polysemy.evaluation.static_senses import Occurrence, context_vector, macro_f1, nearest_sense
from polysemy.models.vector_search import normalized
from polysemy.runtime import random_for
from polysemy.text.words import word_spans

SHOTS = (1, 3, 10, 30)
DRAWS = 5
FIFTH = 5
MOST_FREQUENT, CONTEXT, UNTRAINED = "most_frequent", "context", "untrained"
TRAIN_SHARE = 0.8
WINDOW = 20
"""words kept on each side of a tagged occurrence"""

Tables = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""vectors of the training and of the test uses, by the name of a layer or control"""


class SenseUse(NamedTuple):
    """A use of a word of which the sense is known."""

    word: str
    sense: str
    use: Use


def from_occurrences(items: Sequence[Occurrence]) -> list[SenseUse]:
    """Occurrences in running text: their tokens with spaces between, at most WINDOW on each side."""
    found = []
    for number, item in enumerate(items):
        first = max(0, item.index - WINDOW)
        before = item.tokens[first:item.index]
        start = sum(map(len, before)) + len(before)
        text = " ".join(item.tokens[first:item.index + WINDOW + 1])
        found.append(SenseUse(item.word, item.sense, Use(text, start, start + len(item.tokens[item.index]), number)))
    return found


def split_uses(items: Sequence[SenseUse], seed: int = 0) -> tuple[list[SenseUse], list[SenseUse]]:
    """Tagged uses of one file, four fifths for training and one for the test; equal texts fall into the same part."""
    parts: tuple[list[SenseUse], list[SenseUse]] = ([], [])
    for item in items:
        parts[random_for(seed, "split", item.use.text).random() >= TRAIN_SHARE].append(item)
    return parts


def judge_tables(tables: Tables, train: Sequence[SenseUse], test: Sequence[SenseUse], *,
                 shots: Sequence[int] = SHOTS, draws: int = DRAWS, seed: int = 0) -> dict[str, Any]:
    """Plain values: {"methods": {name: scores}, "train", "test", "words", "senses"}, scores of a method by name.

    accuracy, macro_f1   from all training uses
    curve           {shots: {"macro_f1", "low", "high"}}: mean, least and best of `draws` draws of so many training
                    uses a sense (of a rarer sense: all it has), keyed, so that every method learns from the same ones
    alike, others   mean cosine of two test uses of one word, and of different words (see `alike`)
    The most frequent sense comes first in a tie, as counted in all of `train`. InputError where no word is in both.
    """
    words = [word for word, _ in Counter(item.word for item in train).most_common()]
    parts = [part for word in words if len((part := _Part.of(word, train, test)).gold)]
    if not parts:
        raise InputError("test uses must be of words that training has, got none")
    methods: dict[str, Any] = {MOST_FREQUENT: _scores(parts, [np.zeros(len(part.gold), np.int64) for part in parts])}
    for name, (known, asked) in tables.items():
        methods[name] = _scores(parts, [part.answers(known, asked, part.all) for part in parts])
        methods[name] |= alike([asked[part.asked] for part in parts]) | {"curve": {}}
        for count in shots:
            found = [_scores(parts, [part.answers(known, asked, part.some(count, seed, draw)) for part in parts])
                     for draw in range(draws)]
            values = [row["macro_f1"] for row in found]
            methods[name]["curve"][str(count)] = {"macro_f1": float(np.mean(values)), "low": min(values),
                                                  "high": max(values)}
    return {"methods": methods, "train": sum(len(part.labels) for part in parts),
            "test": sum(len(part.gold) for part in parts), "words": [part.word for part in parts],
            "senses": sum(len(part.senses) for part in parts)}


def best_layer(tables: Tables, train: Sequence[SenseUse], *, seed: int = 0) -> str:
    """The table in which a fifth of each word's training uses is told apart best, by macro F1, from the other four.

    Drawn by `seed`; no test use is looked at.  The last table where no word has five training uses.
    """
    held = set[int]()
    for word in dict.fromkeys(item.word for item in train):
        own = np.array([i for i, item in enumerate(train) if item.word == word])
        held.update(random_for(seed, "layer", word).permutation(own)[:len(own) // FIFTH].tolist())
    if not held:
        return list(tables)[-1]
    rest, chosen = [i for i in range(len(train)) if i not in held], sorted(held)
    parts = {name: (known[rest], known[chosen]) for name, (known, _) in tables.items()}
    found = judge_tables(parts, [train[i] for i in rest], [train[i] for i in chosen], shots=())["methods"]
    return max(tables, key=lambda name: found[name]["macro_f1"])


class _Part(NamedTuple):
    """The uses of one word: rows of the tables, senses as numbers (0 the most frequent), -1 for one never seen."""

    word: str
    senses: list[str]
    known: np.ndarray
    labels: np.ndarray
    asked: np.ndarray
    gold: np.ndarray

    @classmethod
    def of(cls, word: str, train: Sequence[SenseUse], test: Sequence[SenseUse]) -> _Part:
        known, asked = (np.array([i for i, item in enumerate(items) if item.word == word], np.int64)
                        for items in (train, test))
        senses = [sense for sense, _ in Counter(train[i].sense for i in known).most_common()]
        numbers = {sense: i for i, sense in enumerate(senses)}
        return cls(word, senses, known, np.array([numbers[train[i].sense] for i in known], np.int64), asked,
                   np.array([numbers.get(test[i].sense, -1) for i in asked], np.int64))

    @property
    def all(self) -> np.ndarray:
        return np.arange(len(self.labels))

    def some(self, count: int, seed: int, draw: int) -> np.ndarray:
        """At most `count` training uses of each sense, drawn without replacement."""
        random = random_for(seed, "shots", self.word, count, draw)
        groups = [np.flatnonzero(self.labels == sense) for sense in range(len(self.senses))]
        return np.concatenate([random.permutation(group)[:count] for group in groups])

    def answers(self, known: np.ndarray, asked: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        vectors, labels = known[self.known[chosen]].astype(np.float64), self.labels[chosen]
        middle = np.stack([vectors[labels == sense].mean(0) for sense in range(len(self.senses))]).mean(0)
        return nearest_sense(vectors - middle, labels, asked[self.asked] - middle)


def _scores(parts: Sequence[_Part], answers: Sequence[np.ndarray]) -> dict[str, Any]:
    right = sum(int((found == part.gold).sum()) for part, found in zip(parts, answers, strict=True))
    return {"accuracy": right / sum(len(part.gold) for part in parts),
            "macro_f1": float(np.mean([macro_f1(found, part.gold, len(part.senses))
                                       for part, found in zip(parts, answers, strict=True)]))}


def alike(groups: Sequence[np.ndarray]) -> dict[str, float | None]:
    """{"alike": mean cosine of two uses of a word, "others": of different words}, None where there are no such pairs.

    The first less the second is self-similarity corrected for anisotropy (Ethayarajh 2019).
    """
    units = [normalized(group.astype(np.float64)) for group in groups]
    sums, counts = np.stack([unit.sum(0) for unit in units]), np.array([len(unit) for unit in units])
    squares = (sums**2).sum(1)
    own = [(square - n) / (n * (n - 1)) for square, n in zip(squares, counts, strict=True) if n > 1]
    pairs = counts.sum() ** 2 - (counts**2).sum()
    return {"alike": float(np.mean(own)) if own else None,
            "others": float(((sums.sum(0) ** 2).sum() - squares.sum()) / pairs) if pairs else None}


def layer_tables(model: Any, train: Sequence[SenseUse], test: Sequence[SenseUse], layers: Sequence[str] | None = None
                 ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The tables of a model that reads in context: one for each layer, in one pass over the uses."""
    vectors = use_vectors(model, [item.use for item in (*train, *test)], layers)
    return {name: (found[:len(train)], found[len(train):]) for name, found in vectors.items()}


def static_tables(vectors: Any, train: Sequence[SenseUse], test: Sequence[SenseUse]
                  ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The two controls of a table of word vectors: `static`, each word's own vector, and `context`, the words around.

    A pseudo-word, which the table lacks, has the mean of its two words, as if it had been learned: one point as well.
    """
    own = {word: _own_vector(vectors, word, sorted({item.sense for item in train if item.word == word}))
           for word in {item.word for item in (*train, *test)}}
    return {
        STATIC: tuple(np.stack([own[item.word] for item in items]) for items in (train, test)),  # type: ignore[dict-item]
        CONTEXT: tuple(np.stack([context_vector(vectors, _occurrence(item)) for item in items])
                       for items in (train, test)),  # type: ignore[dict-item]
    }


def _own_vector(vectors: Any, word: str, senses: Sequence[str]) -> np.ndarray:
    found = vectors.find_vector(word)
    if found is None:
        halves = [half for sense in senses if (half := vectors.find_vector(sense)) is not None]
        found = np.mean(halves, 0) if halves else np.zeros(vectors.vector_size, np.float32)
    return found


def _occurrence(item: SenseUse) -> Occurrence:
    """The words of a use by the project's rule, the word itself as one token."""
    text, start, stop, _ = item.use
    before = [text[a:b] for a, b in word_spans(text[:start])]
    after = [text[stop:][a:b] for a, b in word_spans(text[stop:])]
    return Occurrence(item.word, item.sense, len(before), (*before, item.word, *after))


def untrained(model: Any, seed: int = 0) -> Any:
    """The same body with the weights it began with: what reading around costs nothing to learn."""
    from polysemy.models.pretrained import PretrainingModel, know_pieces

    control = copy.copy(model)
    fresh = PretrainingModel(model.config.model, model.config.heads, seed=seed)
    know_pieces(fresh, model.tokenizer)
    control.model = fresh.to(model.model.table.device).eval()
    return control


def judge_uses(model: Any, train: Sequence[SenseUse], test: Sequence[SenseUse], *, static: Any = None,
               control: bool = False, shots: Sequence[int] = SHOTS, draws: int = DRAWS, seed: int = 0
               ) -> dict[str, Any]:
    """`judge_tables` of every layer of a model, beside its controls.

    model     a table of word vectors, or one that reads in context
    static    a table of word vectors for the two static controls
    control   also the untrained body, under `untrained`, with the name of its `best_layer`

    Beside it `best`: the `best_layer` of a model that reads in context.
    """
    if hasattr(model, "find_vector"):
        return judge_tables(static_tables(model, train, test), train, test, shots=shots, draws=draws, seed=seed)
    tables = {} if static is None else static_tables(static, train, test)
    layers = layer_tables(model, train, test)
    found = judge_tables(tables | layers, train, test, shots=shots, draws=draws, seed=seed)
    found["best"] = best_layer(layers, train, seed=seed)
    if control and reads(model) != "word":
        raw = layer_tables(untrained(model, seed), train, test)
        best = best_layer(raw, train, seed=seed)
        scores = judge_tables({best: raw[best]}, train, test, shots=shots, draws=draws, seed=seed)["methods"][best]
        found["methods"][UNTRAINED] = scores | {"layer": best}
    return found
