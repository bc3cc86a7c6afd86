"""A made-up language with Zipf's law and habits of succession, and a study of it: known, small and fast."""
from __future__ import annotations

import functools
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from polysemy.evaluation.cloze_items import ClozeConfig, ClozeSet
from polysemy.evaluation.cloze_making import make_items
from polysemy.evaluation.split import Split, split_corpus
from polysemy.runtime import random_for
from polysemy.text.corpus import text_documents

NUM_WORDS = 2_500
CONFIG = ClozeConfig(test_items=500, dev_items=400)


@functools.cache
def words() -> tuple[str, ...]:
    """Words of two or three syllables; every seventh is a name."""
    syllables = [c + v for c in "bdfgklmnprst" for v in "aeiou"]
    random = random_for("word world", "syllables")
    order = random.permutation(len(syllables) ** 2)[:NUM_WORDS].tolist()
    pairs = list(itertools.product(syllables, repeat=2))
    found = ["".join(pairs[at]) + (syllables[at % 60] if at % 2 else "") for at in order]
    return tuple(word.capitalize() if at % 7 == 3 else word for at, word in enumerate(found))


def documents(number: int, seed: int = 0) -> Iterator[str]:
    """Documents of five paragraphs of three sentences; half of all words are one of three followers of the last."""
    share = 1 / np.arange(5.0, NUM_WORDS + 5)
    sums = np.cumsum(share / share.sum())
    followers = np.searchsorted(sums, random_for("word world", "followers").random((NUM_WORDS, 3)) * sums[-1])
    for document in range(number):
        random = random_for("word world", seed, document)
        fresh = np.searchsorted(sums, random.random(5 * 3 * 14) * sums[-1])
        follow, which = random.random(len(fresh)) < 0.5, random.integers(0, 3, len(fresh))
        last, chain = 0, []
        for at in range(len(fresh)):
            last = int(followers[last, which[at]]) if follow[at] else int(fresh[at])
            chain.append(words()[last])
        sentences = [" ".join(chain[at : at + 14]) + "." for at in range(0, len(chain), 14)]
        yield "\n".join(" ".join(sentences[at : at + 3]) for at in range(0, len(sentences), 3))


@functools.cache
def split() -> Split:
    """The world's text, split; the folder lives as long as the tests."""
    folder = tempfile.mkdtemp(prefix="polysemy-test-")
    return split_corpus(text_documents(documents(700)), Path(folder) / "split")


@functools.cache
def items() -> ClozeSet:
    """The world's questions."""
    return make_items(split(), CONFIG)
