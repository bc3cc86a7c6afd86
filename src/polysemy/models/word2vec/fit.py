"""Train word2vec on an encoded text and write its vectors."""
from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from polysemy.artifact import save_tensors
from polysemy.errors import InputError
from polysemy.memory import give_back_memory
from polysemy.models.kernels.drawing import start_state
from polysemy.models.kernels.rows import unpadded
from polysemy.models.progress import Progress
from polysemy.models.schedule import Schedule, parts_of, run_parts
from polysemy.models.word2vec.config import Word2VecConfig
from polysemy.models.word2vec.losses import SampledLoss
from polysemy.models.word2vec.steps import Matrices, begin, step_for
from polysemy.text.encoded import EncodedText

BLOCK_OPERATIONS = 1e8
"""multiplications in a block of text: some hundredths of a second"""
MOST_BLOCK_TOKENS = 10_000
FLOOR = 1e-4
"""the rate never falls below this share of the first one"""


def fit(config: Word2VecConfig, text: EncodedText, folder: Path, *, seed: int, threads: int,
        report: Callable[[Progress], None], stop: Callable[[], bool],
        limit: Callable[[], float] | None = None) -> dict[str, Any]:
    """Learn vectors and write model.safetensors and the vocabulary into the existing empty `folder`.

    Tensors: `input` (words, size), and `output` (words, size) or, of the tree, `nodes` (words - 1, size). Results:
    loss (on a sample), epochs, words (read, all passes), seconds and cpu_seconds (of the loops), parameters, threads,
    stopped. `limit` (0..1, the share used of some budget) ends training beside `epochs`: the rate falls by whichever is
    used up first. One thread gives the same bits for the same seed, unless it is the limit.
    """
    matrices, results = train(config, text, seed=seed, threads=threads, report=report, stop=stop, limit=limit)
    write(config, text, matrices, folder)
    return results


def train(config: Word2VecConfig, text: EncodedText, *, seed: int, threads: int, report: Callable[[Progress], None],
          stop: Callable[[], bool], limit: Callable[[], float] | None = None) -> tuple[Matrices, dict[str, Any]]:
    """The matrices and the results; writes nothing."""
    if threads < 1:
        raise InputError(f"threads must be at least 1, got {threads}")
    counts, tokens, num_tokens = text.vocabulary.counts, np.asarray(text.tokens).view(), text.num_tokens
    if not num_tokens:
        raise InputError("training text must hold words of the vocabulary, got none; add text")
    tokens.flags.writeable = False  # as a mapped text is: one compiled loop for both
    matrices = begin(config, counts, seed)
    step = step_for(config, counts, matrices)
    loss = SampledLoss(config, tokens, matrices, seed)
    give_back_memory()  # what tables and drawing took
    threads = 1 if config.one_thread else threads
    schedule = Schedule(num_tokens * config.epochs + 1, epochs=config.epochs, rate=config.first_rate, floor=FLOOR,
                        threads=threads, stop=stop, limit=limit)

    def tell() -> None:
        report(Progress(done=schedule.done, words=schedule.words, loss=loss()))

    began, cpu = time.perf_counter(), time.process_time()
    run_parts(
        lambda at, until, end, rate, state: step(tokens, at, until, end, rate, state), parts_of(tokens, threads),
        [start_state(seed, "word2vec", thread) for thread in range(threads)], schedule,
        block_tokens=block_tokens(config, len(counts)), tell=tell)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    final = loss()
    report(Progress(done=schedule.done if schedule.stopped else 1.0, words=schedule.words, loss=final))
    parameters = (matrices.inputs.shape[0] + matrices.outputs.shape[0]) * config.size
    return matrices, {"loss": final, "epochs": schedule.words / num_tokens, "words": schedule.words,
                      "seconds": seconds, "cpu_seconds": cpu, "parameters": parameters, "threads": threads,
                      "stopped": schedule.stopped}


def write(config: Word2VecConfig, text: EncodedText, matrices: Matrices, folder: Path) -> None:
    """Write the vectors without their padding (the matrices are used up by this) and the vocabulary.

    Vectors that grew beyond all bounds are an InputError: they are worth nothing.
    """
    if not (np.isfinite(matrices.inputs).all() and np.isfinite(matrices.outputs).all()):
        raise InputError(f"training must stay finite, got NaN or infinity; lower learning_rate = {config.first_rate}")
    second = "output" if matrices.tree is None else "nodes"
    save_tensors(folder / "model.safetensors", {"input": unpadded(matrices.inputs, config.size),
                                                second: unpadded(matrices.outputs, config.size)})
    text.vocabulary.save(folder)


def block_tokens(config: Word2VecConfig, words: int) -> int:
    """Tokens between two looks at the schedule: word2vec.c's 10,000, or fewer where each costs much."""
    rows = {"negative": config.negatives + 1, "hierarchical": 16, "softmax": words}[config.loss]
    operations = 3 * rows * config.size * (config.window + 1)
    return int(np.clip(BLOCK_OPERATIONS / operations, 8, MOST_BLOCK_TOKENS))
