"""From a text of numbers to the tree of its n-grams: counts, smooths, arranges; in memory, or in files of a folder."""
from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from polysemy.models.ngram.add_k import add_k
from polysemy.models.ngram.config import NgramConfig
from polysemy.models.ngram.counting import Counts, count_ngrams
from polysemy.models.ngram.estimates import Estimates
from polysemy.models.ngram.kneser_ney import kneser_ney, last_ngram
from polysemy.models.ngram.layers import Layers, assemble
from polysemy.models.ngram.maximum_likelihood import maximum_likelihood
from polysemy.models.ngram.scratch import Scratch
from polysemy.models.ngram.stream import OFFSET, cut_tokens, to_stream
from polysemy.models.ngram.stupid_backoff import stupid_backoff
from polysemy.models.ngram.trie import Trie

Check = Callable[[], None]


def build(tokens: np.ndarray, words: int, config: NgramConfig, **options: Any) -> tuple[Trie, dict[str, Any]]:
    """The model of a text in memory, and facts about it; as `build_layers`."""
    layers, facts = build_layers(tokens, words, config, **options)
    return layers.trie(), facts


def build_layers(tokens: np.ndarray, words: int, config: NgramConfig, *, scratch: Path | None = None, limit: int = 0,
                 check: Check = lambda: None) -> tuple[Layers, dict[str, Any]]:
    """The model of a text order by order, and facts about it.

    tokens   int32 as in EncodedText, ids below `words`
    scratch  existing folder for temporary files; without it everything is in memory
    limit    read only the first sentences, about so many tokens; 0 for all
    check    called every fraction of a second; may raise to give up
    """
    size = words + OFFSET
    memory = memory_limit(config)
    tokens = cut_tokens(tokens, limit) if limit else tokens
    if scratch is None or memory_needed(len(tokens), config.order) <= memory:
        stream = to_stream(tokens)
        return _finish(count_ngrams(stream, size, config.order, check=check), stream, size, config, False, check)
    folder = Path(tempfile.mkdtemp(prefix=".counting.", dir=scratch))
    try:
        files = Scratch(folder)
        stream = to_stream(tokens, files)
        counts = count_ngrams(stream, size, config.order, allocate=files, memory=memory // 2, check=check)
        return _finish(counts, stream, size, config, True, check)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # what is mapped of its files lives on without a name


def smooth(counts: Counts, stream: np.ndarray, size: int, config: NgramConfig, check: Check = lambda: None
           ) -> Estimates:
    """Estimates by the way of smoothing that the config names."""
    if config.smoothing == "maximum_likelihood":
        return maximum_likelihood(counts)
    if config.smoothing == "add_k":
        return add_k(counts, config.k)
    if config.smoothing == "stupid_backoff":
        return stupid_backoff(counts)
    last = last_ngram(stream, size, config.order) if config.kenlm_compat else None
    return kneser_ney(counts, prune=config.prune, last_ngram=last, check=check)


def _finish(counts: Counts, stream: np.ndarray, size: int, config: NgramConfig, in_files: bool, check: Check
            ) -> tuple[Layers, dict[str, Any]]:
    estimates = smooth(counts, stream, size, config, check)
    layers = assemble(counts, estimates, check)
    facts = {"tokens": len(stream) - 1, "ngrams": layers.sizes.tolist(), "in_files": in_files}
    return layers, {**facts, **estimates.facts}


def memory_needed(tokens: int, order: int) -> int:
    """Bytes that counting so many tokens in memory can take at most."""
    return tokens * (8 + (order - 1) * 48)


def memory_limit(config: NgramConfig) -> int:
    """Bytes that counting may use."""
    if config.memory_gigabytes:
        return int(config.memory_gigabytes * 1e9)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
