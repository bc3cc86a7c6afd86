"""Kneser-Ney written straight from the formula, with dictionaries and fractions, and texts to try it on."""
from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np

from polysemy.text.encoded import EncodedText
from polysemy.text.vocabulary import Vocabulary, WordConfig

SPACE = WordConfig(tokens="space", lowercase=False, min_count=1, keep_unknown=True)


def encoded(text: str, min_count: int = 1) -> EncodedText:
    """A text cut at white space, a sentence a line."""
    rows = [line.split() for line in text.strip().split("\n")]
    counts = Counter(word for row in rows for word in row)
    kept = sorted((w for w, c in counts.items() if c >= min_count), key=lambda w: (-counts[w], w.encode()))
    config = SPACE.replace(min_count=min_count)
    vocabulary = Vocabulary(kept, np.array([counts[w] for w in kept]), config, counts.total())
    tokens = [i for row in rows for i in [*(vocabulary.find(w) if w in vocabulary else -2 for w in row), -1]]
    return EncodedText(np.array(tokens, np.int32), vocabulary)


def random_text(seed: int, lines: int = 60, words: int = 12, longest: int = 9) -> str:
    """Lines of words whose frequencies fall as in real text."""
    random = np.random.default_rng(seed)
    share = 1 / np.arange(1, words + 1)
    rows = (random.choice(words, random.integers(1, longest + 1), p=share / share.sum()) for _ in range(lines))
    return "\n".join(" ".join(f"w{i}" for i in row) for row in rows)


class Twin:
    """Interpolated modified Kneser-Ney: `probability(history, word)` for tuples of words, exactly."""

    def __init__(self, text: str, order: int, prune: tuple[int, ...] = (), fallback=("0.75", "1", "1.5")) -> None:
        rows = [["<s>", *line.split(), "</s>"] for line in text.strip().split("\n")]
        self.order = order
        self.words = ["<unk>", "</s>", *sorted({w for row in rows for w in row[1:-1]})]
        self.raw = [Counter(tuple(row[i:i + n]) for row in rows for i in range(len(row) - n + 1))
                    for n in range(1, order + 1)]
        del self.raw[0][("<s>",)]
        self.adjusted = [self._adjust(n) for n in range(1, order + 1)]
        self.thresholds = ([*(prune or (0,))] + [(prune or (0,))[-1]] * order)[:order]
        self.discounts = [self._discounts(counts, fallback) for counts in self.adjusted]

    def _adjust(self, n: int) -> dict:
        if n == self.order:
            return dict(self.raw[n - 1])
        before: dict = {}
        for gram in self.raw[n]:
            before.setdefault(gram[1:], set()).add(gram[0])
        return {gram: count if gram[0] == "<s>" else len(before[gram]) for gram, count in self.raw[n - 1].items()}

    @staticmethod
    def _discounts(counts: dict, fallback) -> list:
        n = Counter(counts.values())
        if n[1] and n[2] and n[3]:
            y = Fraction(n[1], n[1] + 2 * n[2])
            values = [i - (i + 1) * y * Fraction(n[i + 1], n[i]) for i in (1, 2, 3)]
            if all(0 <= value <= i for i, value in enumerate(values, 1)):
                return [0, *values]
        return [0, *map(Fraction, fallback)]

    def children(self, history: tuple) -> dict:
        return {g[-1]: c for g, c in self.adjusted[len(history)].items() if g[:-1] == history}

    def pruned(self, gram: tuple) -> bool:
        return self.raw[len(gram) - 1][gram] <= self.thresholds[len(gram) - 1]

    def backoff(self, history: tuple) -> Fraction:
        """What the shorter history is weighted with where this one is not followed by a word."""
        children = self.children(history)
        if not children:
            return Fraction(1)
        taken = self.discounts[len(history)]
        freed = sum(c if history and self.pruned((*history, w)) else taken[min(c, 3)] for w, c in children.items())
        return Fraction(freed) / sum(children.values())

    def probability(self, history: tuple, word: str) -> Fraction:
        history = history[-(self.order - 1):] if self.order > 1 else ()
        lower = self.probability(history[1:], word) if history else Fraction(1, len(self.words))
        children = self.children(history)
        if not children:
            return lower
        count, gram = children.get(word, 0), (*history, word)
        own = 0 if not count or (history and self.pruned(gram)) else count - self.discounts[len(history)][min(count, 3)]
        return Fraction(own) / sum(children.values()) + self.backoff(history) * lower
