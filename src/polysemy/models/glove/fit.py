"""Train GloVe on an encoded text and write its vectors."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from polysemy.artifact import save_tensors
from polysemy.errors import InputError
from polysemy.models.glove.config import GloveConfig
from polysemy.models.glove.counting import SIDE, Counts, count_pairs
from polysemy.models.glove.training import FastTables, PlainTables
from polysemy.models.progress import Progress
from polysemy.text.encoded import EncodedText

COUNTING_SHARE = 0.1
"""Part of the work that counting is taken for in the progress when the epochs are set."""


def fit(config: GloveConfig, text: EncodedText, folder: Path, *, seed: int, threads: int,
        report: Callable[[Progress], None], stop: Callable[[], bool],
        limit: Callable[[], float] | None = None) -> dict[str, Any]:
    """Count, fit vectors and write model.safetensors and the vocabulary into the existing empty `folder`.

    Tensors, float32: `input`, `output` (words, size), `input_bias`, `output_bias` (words,), and `totals` (words,), the
    sum of each word's counts, which cloze scores need. Results: loss (mean cost of a count in the last whole pass, None
    without one), losses, epochs, words (running words, times passes), counts, seconds, counting_seconds, parameters,
    stopped. `limit` (0..1, the share used of some budget, counting included) ends training beside `epochs`, whichever
    is used up first. fast with one thread, and plain, give the same bits for the same seed.
    """
    if threads < 1:
        raise InputError(f"threads must be at least 1, got {threads}")
    if not len(text.vocabulary) or not text.num_tokens:
        raise InputError("training text must hold words of the vocabulary, got none; add text")
    watch = _Watch(config, text, report, stop, limit)
    began = time.perf_counter()
    spill = Path(tempfile.mkdtemp(prefix=".counts.", dir=folder))
    try:
        counts = count_pairs(text.tokens, len(text.vocabulary), window=config.window, threads=threads,
                             memory_bytes=int(config.memory * 2**30), folder=spill, stop=watch.counting)
        counting_seconds = time.perf_counter() - began
        if not len(counts) and not watch.ended(whole=False):
            raise InputError("training text must hold two words on a line, got none; is each word on its own line?")
        tables = (FastTables if config.algorithm == "fast" else PlainTables)(len(text.vocabulary), config.size, seed)
        passes = tables.passes(counts, config.x_max, config.alpha, config.learning_rate, seed, threads, watch.fitting)
        while not watch.ended(whole=True):
            done = next(passes)
            watch.count(done.cost, done.part)
        totals = _totals(counts)
        results = watch.results | {"counts": counts.num_entries, "counting_seconds": counting_seconds}
    finally:
        shutil.rmtree(spill, ignore_errors=True)
    tensors = {**tables.tensors(), "totals": totals}
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise InputError(f"training must stay finite, got NaN or infinity; lower learning_rate = "
                         f"{config.learning_rate}")
    save_tensors(folder / "model.safetensors", tensors)
    text.vocabulary.save(folder)
    watch.tell(1.0)
    return results | {"seconds": time.perf_counter() - began, "parameters": 2 * len(totals) * (config.size + 1)}


class _Watch:
    """Says when to stop, and what has been done."""

    def __init__(self, config: GloveConfig, text: EncodedText, report: Callable[[Progress], None],
                 stop: Callable[[], bool], limit: Callable[[], float] | None) -> None:
        self.epochs, self.words_a_pass = config.epochs, text.num_tokens
        self.report, self.stop, self.limit = report, stop, limit
        self.passes, self.costs, self.stopped, self.last = 0.0, [], False, 0.0

    def counting(self, part: float) -> bool:
        """Asked while counting."""
        self._tell_now_and_then(COUNTING_SHARE * part)
        return self.ended(whole=False)

    def fitting(self, part: float) -> bool:
        """Asked within a pass."""
        share = (self.passes + part) / self.epochs
        self._tell_now_and_then(COUNTING_SHARE + (1 - COUNTING_SHARE) * share)
        return self.ended(whole=False)

    def ended(self, *, whole: bool) -> bool:
        """Is it over: by the user, by the budget, or, between passes, by the epochs?"""
        self.stopped = self.stopped or self.stop()
        return self.stopped or (whole and self.passes >= self.epochs) or (self.limit is not None and self.limit() >= 1)

    def count(self, cost: float, part: float) -> None:
        """A pass has ended, after this part of all counts."""
        self.passes += part
        if part == 1 or (part and not self.costs):
            self.costs.append(cost)

    def tell(self, done: float) -> None:
        done = min(1.0, done if self.limit is None else max(done, self.limit()))
        words = int(self.words_a_pass * self.passes)
        self.report(Progress(done=done, words=words, loss=self.costs[-1] if self.costs else None))

    def _tell_now_and_then(self, done: float) -> None:
        if time.monotonic() - self.last > 0.5:
            self.last = time.monotonic()
            self.tell(min(done, 0.999))

    @property
    def results(self) -> dict[str, Any]:
        """Plain values for the record."""
        loss = self.costs[-1] if self.costs else None
        return {"loss": loss, "losses": self.costs, "epochs": self.passes,
                "words": int(self.words_a_pass * self.passes), "stopped": self.stopped}


def _totals(counts: Counts) -> np.ndarray:
    """float32 (words,): the sum of each word's counts."""
    totals = np.zeros(counts.num_words)
    for R, C, places, values in counts.blocks():
        larger, smaller = R * SIDE + places[:, 0].astype(np.int64), C * SIDE + places[:, 1].astype(np.int64)
        np.add.at(totals, larger, values)
        different = larger != smaller
        np.add.at(totals, smaller[different], values[different])
    return totals.astype(np.float32)
