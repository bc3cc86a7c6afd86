"""A made-up text with Zipf's law in which a word often follows its left neighbor: small, and a study of it is fast."""
from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from polysemy.runtime import random_for

NUM_WORDS = 1_500


def words() -> list[str]:
    """Words of two syllables or three."""
    syllables = [consonant + vowel for consonant in "bdfgklmnprst" for vowel in "aeiou"]
    pairs = ["".join(pair) for pair in itertools.product(syllables, repeat=2)]
    order = random_for("small text", "words").permutation(len(pairs))[:NUM_WORDS].tolist()
    return [pairs[at] + (syllables[at % 60] if at % 2 else "") for at in order]


def documents(number: int = 320) -> Iterator[str]:
    """Documents of four lines of three sentences."""
    names = np.array(words())
    share = 1 / np.arange(5.0, NUM_WORDS + 5)
    sums = np.cumsum(share / share.sum())
    followers = np.searchsorted(sums, random_for("small text", "followers").random(NUM_WORDS) * sums[-1])
    for document in range(number):
        random = random_for("small text", document)
        chain = np.searchsorted(sums, random.random(12 * 14) * sums[-1])
        for at in range(1, len(chain)):
            if random.random() < 0.5:
                chain[at] = followers[chain[at - 1]]
        sentences = [" ".join(names[chain[at:at + 14]]) + "." for at in range(0, len(chain), 14)]
        yield "\n".join(" ".join(sentences[at:at + 3]) for at in range(0, len(sentences), 3))
