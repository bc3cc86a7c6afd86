"""A classifier of counts: a small n-gram model of each class's texts, and Bayes' rule.

The class of a text is the one with the highest log p(text | class) + log p(class). All classes share one vocabulary, so
that their probabilities compare; unknown words are left out, for they tell nothing. What counting can do with labels:
of order 1 it is naive Bayes, of order 2 or 3 it knows that "not good" is no praise.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from polysemy.errors import InputError
from polysemy.models.ngram.building import build
from polysemy.models.ngram.config import NgramConfig
from polysemy.models.ngram.model import NgramModel
from polysemy.text.vocabulary import LINE_END, Vocabulary, WordConfig, split_words

ORDER = 3
ADDED = 0.1
"""to every count of a class whose text is too small for Kneser-Ney's discounts"""


class ClassNgrams:
    """An n-gram model a class; interpolated modified Kneser-Ney.

    labels  the classes, in the order of ties; classes without a text are never the answer
    order   longest n-gram in words
    unit    what a Chinese word is: a character or what the segmenter cuts
    Nothing here is random. Raises InputError when no text holds a word.
    """

    def __init__(self, texts: Sequence[str], labels: Sequence[str], *, order: int = ORDER, unit: str = "character"
                 ) -> None:
        self.rule = WordConfig.from_dict({"min_count": 1, "keep_unknown": True, "unit": unit})
        rows = [split_words(_line(text), self.rule) for text in texts]
        counts = Counter(word for row in rows for word in row)
        if not counts:
            raise InputError("texts must hold words, got none")
        words = sorted(counts, key=lambda word: (-counts[word], word))
        self.numbers = {word: number for number, word in enumerate(words)}
        vocabulary = Vocabulary(words, np.array([counts[word] for word in words]), self.rule, counts.total())
        seen = Counter(labels)
        self.labels = sorted(seen, key=lambda label: (-seen[label], label))
        self.priors = np.log(np.array([seen[label] for label in self.labels]) / len(labels))
        self.models = [self._fitted([row for row, own in zip(rows, labels, strict=True) if own == label], vocabulary,
                                    order) for label in self.labels]

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The likeliest class of each text; of a text without a known word the most frequent one."""
        rows = [np.array([self.numbers[word] for word in split_words(_line(text), self.rule) if word in self.numbers],
                         np.int32) for text in texts]
        scores = np.tile(self.priors, (len(rows), 1))
        full = [number for number, row in enumerate(rows) if len(row)]
        for column, model in enumerate(self.models):
            if model is None:
                scores[full, column] = -np.inf
            elif full:
                scores[full, column] += model.score_batch([rows[number] for number in full])
        return [self.labels[best] for best in scores.argmax(1)]

    @property
    def ngrams(self) -> int:
        """How many n-grams all classes keep."""
        return sum(int(sum(model.trie.sizes)) for model in self.models if model is not None)

    def _fitted(self, rows: Sequence[Sequence[str]], vocabulary: Vocabulary, order: int) -> NgramModel | None:
        numbers = [number for row in rows if row for number in (*(self.numbers[word] for word in row), LINE_END)]
        if not numbers:
            return None
        tokens, config = np.array(numbers, np.int32), NgramConfig(order=order)
        try:
            trie, _ = build(tokens, len(vocabulary), config)
        except InputError:  # too few different counts to estimate discounts from
            config = NgramConfig(order=order, smoothing="add_k", k=ADDED)
            trie, _ = build(tokens, len(vocabulary), config)
        return NgramModel(trie, vocabulary, config)


def _line(text: str) -> str:
    return " ".join(text.split("\n"))
