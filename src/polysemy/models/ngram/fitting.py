"""Trains an n-gram model: counts the text once and writes the model's files."""
from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polysemy.models.ngram.config import NgramConfig
from polysemy.models.progress import Progress

if TYPE_CHECKING:
    from polysemy.text.encoded import EncodedText

MODEL_FILE = "model.safetensors"
STOPPED_TOKENS = 1_000_000
"""A stopped run is finished on so many tokens of the text, which takes a second or two."""
REPORT_SECONDS = 0.5


class StoppedError(Exception):
    """Raised between two blocks of work when the caller wants an end."""


def fit(config: NgramConfig, text: EncodedText, folder: Path, *, seed: int = 0, threads: int = 1,
        report: Callable[[Progress], None] = lambda progress: None, stop: Callable[[], bool] = lambda: False,
        limit: Callable[[], float] | None = None) -> dict[str, Any]:
    """Count a text and write the model into an existing folder; returns plain results.

    One pass is all there is to learn, so a time budget (`limit`) changes nothing, and neither does the seed: the result
    depends on the text and the config alone. Counting runs on one thread. When `stop` says so, what is written is the
    model of the beginning of the text, and the results say stopped.
    """
    from polysemy.models.ngram.building import build_layers

    began = time.perf_counter()
    pulse = _Pulse(len(text.tokens), config.order, report, stop)
    words, stopped = len(text.vocabulary), False
    try:
        layers, facts = build_layers(text.tokens, words, config, scratch=folder, check=pulse)
    except StoppedError:
        layers, facts = build_layers(text.tokens, words, config, scratch=folder, limit=STOPPED_TOKENS)
        stopped = True
    layers.save(folder / MODEL_FILE)
    text.vocabulary.save(folder)
    report(Progress(done=1.0, words=facts["tokens"]))
    seconds = time.perf_counter() - began
    return {**facts, "words": facts["tokens"], "vocabulary": words,
            "parameters": int(layers.sizes.sum() + layers.sizes[:-1].sum()), "epochs": 1, "loss": None,
            "stopped": stopped, "fit_seconds": seconds}


class _Pulse:
    """What is called between blocks: reports twice a second, and gives up when told to."""

    def __init__(self, tokens: int, order: int, report: Callable[[Progress], None], stop: Callable[[], bool]) -> None:
        self.report, self.stop, self.tokens = report, stop, tokens
        self.expected = 3 * order + tokens / (1 << 22) * (4 + 5 * order)
        self.calls, self.last = 0, time.perf_counter()

    def __call__(self) -> None:
        if self.stop():
            raise StoppedError
        self.calls += 1
        now = time.perf_counter()
        if now - self.last >= REPORT_SECONDS:
            self.last = now
            done = min(0.99, self.calls / self.expected)
            self.report(Progress(done=done, words=int(done * self.tokens)))
