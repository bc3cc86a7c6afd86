"""Train the classifier: documents to features, features to rows, rows to a linear layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from polysemy.errors import InputError
from polysemy.models.fasttext.classifier import FasttextClassifier
from polysemy.models.fasttext.config import FasttextConfig
from polysemy.models.fasttext.features import Features, make_features
from polysemy.models.fasttext.labels import LabeledText
from polysemy.models.fasttext.subwords import END
from polysemy.models.fasttext.supervised import KINDS, SCRATCH_ROWS, learn_labels
from polysemy.models.huffman import fasttext_tree
from polysemy.models.kernels.drawing import start_state
from polysemy.models.kernels.rows import aligned, drawn
from polysemy.models.progress import Progress
from polysemy.models.schedule import Schedule, run_blocks
from polysemy.text.corpus import Document
from polysemy.text.encoded import encode
from polysemy.text.vocabulary import LINE_END, Vocabulary, split_words

BLOCK_FEATURES = 20_000
"""features of the documents between looks at the clock and at `stop`"""


def fit_labels(
    config: FasttextConfig, data: LabeledText, folder: Path, *, seed: int, threads: int,
    report: Callable[[Progress], None], stop: Callable[[], bool], limit: Callable[[], float] | None,
) -> dict[str, Any]:
    """As `fit.fit`; the fast algorithm reads the documents in a fresh order every pass, the plain one in the file's."""
    config = config.resolved()
    label_counts = Counter(name for names in data.labels for name in names)
    labels = sorted(label_counts, key=lambda name: (-label_counts[name], name.encode("utf-8", "surrogatepass")))
    if len(labels) < 2:
        raise InputError(f"labels must be at least 2 different ones, got {labels}")
    vocabulary, features = _encode(config, data)
    rows, used = _rows(features, len(vocabulary), config.buckets)
    inputs = _start(len(vocabulary) + len(used), config.size, seed)
    outputs = aligned(len(labels), config.size)
    lengths, (flat, label_starts) = _lengths(features, data), _label_numbers(data, labels)
    plain = config.algorithm == "plain"
    schedule = Schedule(int(lengths.sum()) * config.epochs, epochs=config.epochs, rate=float(config.learning_rate or 0),
                        threads=1 if plain else threads, stop=stop, limit=limit)
    bounds = _blocks(features.starts, len(labels))
    tree = fasttext_tree(np.array([label_counts[name] for name in labels]))
    loop = learn_labels(inputs.shape[1])
    scratch = [aligned(SCRATCH_ROWS, config.size) for _ in range(schedule.threads)]
    orders: dict[int, np.ndarray] = {}

    def work(block: int, epoch: int, thread: int) -> tuple[int, float, float]:
        order = orders.get(epoch)
        if order is None:
            order = orders.setdefault(epoch, _order(len(data), seed, epoch, plain))
            orders.pop(epoch - 2, None)
        loss, learned, read, _ = loop(
            order, rows, features.starts, flat, label_starts, lengths, bounds[block], bounds[block + 1], inputs,
            outputs, tree.starts, tree.nodes, tree.codes, KINDS[config.loss or ""], schedule.rate,
            schedule.slope, scratch[thread], np.uint64(start_state(seed, "fasttext labels", epoch, block)))
        return read, loss, learned

    def tell() -> None:
        report(Progress(done=schedule.done, words=schedule.words, loss=schedule.loss))

    passes = run_blocks(work, len(bounds) - 1, schedule, tell=tell)
    tell()
    size = config.size
    if not (np.isfinite(inputs).all() and np.isfinite(outputs).all()):
        raise InputError("training must stay finite, got NaN or infinity; lower learning_rate = "
                         f"{config.learning_rate}")
    counts = np.array([label_counts[name] for name in labels])
    FasttextClassifier(config, vocabulary, labels, counts, inputs[:, :size], outputs[:, :size], used).save(folder)
    return {
        "loss": None if schedule.loss is None else float(schedule.loss), "epochs": passes,
        "words": schedule.words, "vocabulary": len(vocabulary), "labels": len(labels), "documents": len(data),
        "parameters": (len(inputs) + len(labels)) * size, "stopped": schedule.stopped,
    }


def _encode(config: FasttextConfig, data: LabeledText) -> tuple[Vocabulary, Features]:
    """The words that have rows, `</s>` among them, and the features of each document."""
    rule = config.word_config
    every = rule.replace(min_count=1, max_words=0, keep_unknown=False)
    texts = [" ".join(text.split("\n")) for text in data.texts]
    if not any(split_words(text, every) for text in texts):
        raise InputError("texts must hold words, got none")
    found = encode((Document(text, "", number) for number, text in enumerate(texts)), every)
    ends = np.flatnonzero(found.tokens == LINE_END)
    sizes = np.diff(ends, prepend=-1) - 1
    if len(ends) != len(texts):  # some have no words: those leave no line
        has_words = np.array([bool(split_words(text, every)) for text in texts])
        assert has_words.sum() == len(ends), "a line a document"
        sizes, spread = np.zeros(len(texts), np.int64), sizes
        sizes[has_words] = spread
    starts = np.concatenate([[0], np.cumsum(sizes)])
    counts = found.vocabulary.counts
    kept = [(int(n), word) for word, n in zip(found.vocabulary.words, counts.tolist(), strict=True)
            if n >= rule.min_count and word != END]
    if config.words.max_words:
        kept = kept[: config.words.max_words]
    at = next((i for i, (n, _) in enumerate(kept) if n < len(texts)), len(kept))
    kept.insert(at, (len(texts), END))
    vocabulary = Vocabulary([word for _, word in kept], np.array([n for n, _ in kept]), rule,
                            found.vocabulary.total + len(texts))
    rows = {word: row for row, word in enumerate(vocabulary.words)}
    tokens = found.tokens[found.tokens != LINE_END]
    return vocabulary, make_features(found.vocabulary.words, tokens, starts, rows, config)


def _rows(features: Features, num_words: int, buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """int32 rows of all features, and the bucket of each row behind the words', the most used first."""
    rows = features.codes.astype(np.int32)
    grams = features.codes >= num_words
    if not grams.any():
        return rows, np.zeros(0, np.int32)
    counts = np.bincount(features.codes[grams] - num_words, minlength=buckets)
    used = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())].astype(np.int32)
    place = np.zeros(buckets, np.int32)
    place[used] = np.arange(len(used), dtype=np.int32)
    rows[grams] = place[features.codes[grams] - num_words] + num_words
    return rows, used


def _start(rows: int, size: int, seed: int) -> np.ndarray:
    from polysemy.runtime import random_for

    inputs = drawn(rows, size, random_for(seed, "fasttext", "start"))
    inputs *= 2  # the original begins with U(-1, 1) / size
    return inputs


def _lengths(features: Features, data: LabeledText) -> np.ndarray:
    """int64: what each document counts for in the schedule: its rows and labels, near the original's count of words."""
    return np.diff(features.starts) + np.array([len(names) for names in data.labels])


def _label_numbers(data: LabeledText, labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    numbers = {name: number for number, name in enumerate(labels)}
    flat = np.array([numbers[name] for names in data.labels for name in names], np.int32)
    return flat, np.cumsum([0, *(len(names) for names in data.labels)])


def _blocks(starts: np.ndarray, num_labels: int) -> list[int]:
    """Where blocks of documents begin, and their number."""
    weight = np.diff(starts) + num_labels
    size = min(BLOCK_FEATURES, max(1000, int(weight.sum()) // 50))
    numbers = np.cumsum(weight) // size
    return [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(weight)]


def _order(documents: int, seed: int, epoch: int, plain: bool) -> np.ndarray:
    from polysemy.runtime import random_for

    return np.arange(documents) if plain else random_for(seed, "fasttext order", epoch).permutation(documents)
