"""Train fastText: vectors of words from running text, or a classifier from labeled documents.

With `algorithm="plain"`, or "fast" on one thread, the same text, settings and seed give the same bits on a machine. On
several threads all write to the same matrices without locks (Hogwild), as the original does: the result differs from
run to run within its noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polysemy.artifact import save_tensors
from polysemy.errors import InputError
from polysemy.models.fasttext.config import FasttextConfig
from polysemy.models.fasttext.fit_labels import fit_labels
from polysemy.models.fasttext.labels import LabeledText
from polysemy.models.fasttext.plain import KINDS, learn_plain
from polysemy.models.fasttext.subword_table import SubwordTable, subword_table
from polysemy.models.huffman import Tree, fasttext_tree
from polysemy.models.kernels.drawing import alias_table, start_state
from polysemy.models.kernels.rows import aligned, drawn
from polysemy.models.kernels.sentences import thresholds
from polysemy.models.progress import Progress
from polysemy.models.schedule import Schedule, run_blocks
from polysemy.models.word2vec.subsampling import keep_probabilities
from polysemy.text.encoded import EncodedText
from polysemy.text.vocabulary import LINE_END

BLOCK_TOKENS = 100_000
"""words between looks at the clock and at `stop`"""
PLAIN_BLOCK_TOKENS = 20_000
SOFTMAX_WORK = 50_000_000
"""of the full softmax: words times vocabulary in a block"""
NOISE_POWER = 0.5
"""negatives are drawn by count to this power"""
TENSORS_FILE = "model.safetensors"


def fit(
    config: FasttextConfig, text: EncodedText | LabeledText, folder: Path, *, seed: int = 0, threads: int = 1,
    report: Callable[[Progress], None] = lambda progress: None, stop: Callable[[], bool] = lambda: False,
    limit: Callable[[], float] | None = None,
) -> dict[str, Any]:
    """Train and write the model's files (not config.json) into the existing folder; returns plain results.

    text: an `EncodedText` for task=vectors, a `LabeledText` for task=classify. report: called about twice a second.
    stop: true ends training early; what was learned is written. limit: the part 0..1 of a time budget that is used,
    which ends training beside `epochs`: the rate falls by whichever is used up first.
    """
    config = config.resolved()
    if config.task == "classify":
        if not isinstance(text, LabeledText):
            raise InputError("text must be documents with labels when task=classify, got running text; give a file of "
                             "labels, or set task=vectors")
        return fit_labels(config, text, folder, seed=seed, threads=threads, report=report, stop=stop, limit=limit)
    if isinstance(text, LabeledText):
        raise InputError("text must be running text when task=vectors, got documents with labels; set task=classify")
    learning = _Learning.start(config, text, seed)
    plain = config.algorithm == "plain" or config.loss == "softmax"
    schedule = Schedule(text.num_tokens * config.epochs, epochs=config.epochs, rate=float(config.learning_rate or 0),
                        threads=1 if config.algorithm == "plain" else threads, stop=stop, limit=limit)

    def tell() -> None:
        report(Progress(done=schedule.done, words=schedule.words, loss=schedule.loss))

    bounds = _blocks(text.tokens, config, len(text.vocabulary))
    work = _plain_work if plain else _fast_work
    passes = run_blocks(work(learning, schedule, bounds, seed), len(bounds) - 1, schedule, tell=tell)
    tell()
    _save(learning, text, folder)
    return {
        "loss": None if schedule.loss is None else float(schedule.loss), "epochs": passes,
        "words": schedule.words, "vocabulary": len(text.vocabulary), "buckets": len(learning.table.used),
        "parameters": (learning.table.num_rows + len(text.vocabulary)) * config.size, "stopped": schedule.stopped,
    }


@dataclass
class _Learning:
    """Matrices and tables of a training."""

    config: FasttextConfig
    tokens: np.ndarray
    table: SubwordTable
    kept_below: np.ndarray
    inputs: np.ndarray
    outputs: np.ndarray
    negatives: np.ndarray
    tree: Tree

    @classmethod
    def start(cls, config: FasttextConfig, text: EncodedText, seed: int) -> _Learning:
        from polysemy.runtime import random_for

        words, counts = text.vocabulary.words, text.vocabulary.counts
        if len(words) < 2 or not len(text.tokens):
            raise InputError(f"text must hold at least 2 different words, got {len(words)}; add text or lower "
                             f"min_count = {config.min_count}")
        table = subword_table(words, counts, config.shortest, config.longest or 0, config.buckets)
        inputs = drawn(table.num_rows, config.size, random_for(seed, "fasttext", "start"))
        inputs *= 2  # the original begins with U(-1, 1) / size
        tokens = np.asarray(text.tokens).view()
        tokens.flags.writeable = False  # as a mapped text is: one compiled loop for both
        none = Tree(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int8))
        return cls(
            config, tokens, table, thresholds(keep_probabilities(counts, config.subsample)), inputs,
            aligned(len(words), config.size),
            alias_table(counts, NOISE_POWER) if config.loss == "negative" else np.zeros(1, np.uint64),
            fasttext_tree(counts) if config.loss == "hierarchical" else none,
        )


def _blocks(tokens: np.ndarray, config: FasttextConfig, num_words: int) -> list[int]:
    """Where blocks of text begin, at beginnings of lines where those are near, and the end of the text."""
    size = BLOCK_TOKENS if config.algorithm == "fast" else PLAIN_BLOCK_TOKENS
    if config.loss == "softmax":
        size = max(100, min(size, SOFTMAX_WORK // num_words // (2 * config.window)))
    size = max(100, min(size, len(tokens) // 50))  # the rate is set anew at each block
    bounds = [0]
    while bounds[-1] < len(tokens):
        at = min(bounds[-1] + size, len(tokens))
        ends = np.flatnonzero(tokens[at : at + size] == LINE_END)
        bounds.append(min(at + int(ends[0]) + 1 if len(ends) else at, len(tokens)))
    return bounds


def _fast_work(learning: _Learning, schedule: Schedule, bounds: list[int], seed: int) -> Callable[..., Any]:
    from polysemy.models.fasttext import cbow, hierarchical, skipgram
    from polysemy.models.fasttext.staging import STRETCH, Stage

    config, table, width = learning.config, learning.table, learning.inputs.shape[1]
    if config.loss == "negative":
        make = skipgram.skipgram_negative if config.mode == "skipgram" else cbow.cbow_negative
        loop, choice = make(config.negatives, width), (learning.negatives,)
    else:
        make = hierarchical.skipgram_hierarchical if config.mode == "skipgram" else hierarchical.cbow_hierarchical
        loop, choice = make(width), (learning.tree.starts, learning.tree.nodes, learning.tree.codes)
    stages = [Stage.make(table.starts, config.size) for _ in range(schedule.threads)]

    def work(block: int, epoch: int, thread: int) -> tuple[int, float, float]:
        stop = bounds[block + 1]
        _, read, loss, count, _ = loop(
            learning.tokens, bounds[block], stop, stop, learning.kept_below, table.starts, table.rows, *choice,
            learning.inputs, learning.outputs, config.window, np.float32(schedule.rate), STRETCH,
            stages[thread].parts(), np.uint64(start_state(seed, "fasttext", epoch, block)))
        return read, loss, count

    return work


def _plain_work(learning: _Learning, schedule: Schedule, bounds: list[int], seed: int) -> Callable[..., Any]:
    config, table, tree = learning.config, learning.table, learning.tree
    longest = int(np.diff(table.starts).max(initial=1))
    # loops that keep every operation see rows without padding
    inputs, outputs = learning.inputs[:, : config.size], learning.outputs[:, : config.size]

    def work(block: int, epoch: int, thread: int) -> tuple[int, float, float]:
        stop = bounds[block + 1]
        _, read, loss, count, _ = learn_plain(
            learning.tokens, bounds[block], stop, stop, learning.kept_below, table.starts, table.rows,
            config.mode == "skipgram", KINDS[config.loss or ""], config.negatives, learning.negatives, tree.starts,
            tree.nodes, tree.codes, inputs, outputs, config.window, np.float32(schedule.rate), longest,
            np.uint64(start_state(seed, "fasttext", epoch, block)))
        return read, loss, count

    return work


def _save(learning: _Learning, text: EncodedText, folder: Path) -> None:
    size = learning.config.size
    if not (np.isfinite(learning.inputs).all() and np.isfinite(learning.outputs).all()):
        raise InputError(f"training must stay finite, got NaN or infinity; lower learning_rate = "
                         f"{learning.config.learning_rate}")
    text.vocabulary.save(folder)
    save_tensors(folder / TENSORS_FILE, {
        "input": np.ascontiguousarray(learning.inputs[:, :size]),
        "output": np.ascontiguousarray(learning.outputs[:, :size]), "buckets": learning.table.used,
    })
