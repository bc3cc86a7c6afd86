"""Small encoded texts, and training without ceremony."""
from __future__ import annotations

import numpy as np

from polysemy.models.word2vec.fit import train
from polysemy.text.encoded import EncodedText
from polysemy.text.vocabulary import Vocabulary, WordConfig


def encoded(lines: list[list[int]], names: list[str]) -> EncodedText:
    """Lines of word numbers; words are renumbered by falling count, as a vocabulary has them."""
    flat = np.concatenate([[*line, -1] for line in lines])
    counts = np.bincount(flat[flat >= 0], minlength=len(names))
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order))
    tokens = np.where(flat >= 0, rank[np.maximum(flat, 0)], -1).astype(np.int32)
    vocabulary = Vocabulary([names[i] for i in order], counts[order], WordConfig(min_count=1), int(counts.sum()))
    return EncodedText(tokens, vocabulary)


def random_text(words: int = 40, lines: int = 60, seed: int = 1) -> EncodedText:
    """Lines of one of three kinds, each with frequent words of its own."""
    random = np.random.default_rng(seed)
    rows = [((random.geometric(0.15, 12) - 1 + line % 3 * (words // 4)) % words).tolist() for line in range(lines)]
    return encoded([*rows, list(range(words))], [f"w{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(words)])


def trained(config, text, *, seed: int = 1, threads: int = 1, stop=lambda: False, limit=None, told=None):
    """(matrices, results) of `train`; what it reports goes to the list `told`."""
    told = [] if told is None else told
    return train(config, text, seed=seed, threads=threads, report=told.append, stop=stop, limit=limit)
