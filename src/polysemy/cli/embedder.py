"""`finetune --task embed`: sentence vectors from pairs, scored pairs or plain text."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from polysemy.cli.printing import emit, note, table
from polysemy.cli.progress import TrainingProgress

SHARED = ("epochs", "learning_rate", "batch_size", "length", "warmup_rate", "weight_decay", "dropout")
"""settings that `finetune` names for every task, and this one has too"""


def embed(args: argparse.Namespace) -> None:
    """Train the model of `args.model` into an embedder and say what it reached."""
    from polysemy.config import with_settings
    from polysemy.evaluation.sentence_similarity import judge_of
    from polysemy.runtime import set_threads
    from polysemy.text.sentence_examples import read_scored, read_training
    from polysemy.training.embedder import EmbedderConfig, train_embedder

    set_threads(args.threads)
    config = EmbedderConfig()
    given = {name: getattr(args, name, None) for name in SHARED}
    config = config.replace(**{name: value for name, value in given.items() if value is not None})
    config = with_settings(config, settings_of(getattr(args, "settings", None) or []))
    examples = read_training(_one(args.train), getattr(args, "pairs", None) or "twins", getattr(args, "columns", None))
    tell_notes(examples)
    note(f"{args.train}: {len(examples):,} {examples.source} of {len(examples.texts):,} texts")
    judge = None
    if args.dev:
        dev = read_scored(_one(args.dev), getattr(args, "columns", None) if examples.scores is not None else None)
        tell_notes(dev)
        judge = judge_of(dev)
    with TrainingProgress(f"{Path(args.model).name} -> {Path(args.output).name}") as progress:
        results = train_embedder(args.model, examples, args.output, config, judge=judge, seed=args.seed,
                                 device=args.device, progress=progress, tell=note)
    rows = [(name, f"{results['before'][name]:.4f}", f"{value:.4f}") for name, value in results["scores"].items()]
    text = table(("on held-out pairs", "before", "after"), rows, right="before,after") + "\n" if rows else ""
    emit(args, {"output": str(args.output), **results},
         f"{text}{args.output}: use it with polysemy embed, similarity, convert --to sentence-transformers")


def tell_notes(examples: Any) -> None:
    """Say what was taken for what."""
    for line in examples.notes:
        note(line)


def settings_of(given: list[str]) -> dict[str, str]:
    """`--set KEY=VALUE` as a mapping; `training.` before a key may be left out or not."""
    from polysemy.errors import InputError

    bad = next((item for item in given if "=" not in item), None)
    if bad is not None:
        raise InputError(f"--set must be KEY=VALUE, got {bad!r}")
    return {key.strip().removeprefix("training."): value for key, value in (item.split("=", 1) for item in given)}


def _one(name: Any) -> str:
    """The one file that is named, whether the flag takes one or several."""
    from polysemy.errors import InputError

    if isinstance(name, str | Path):
        return str(name)
    if len(name) != 1:
        raise InputError(f"--train and --dev must name one file each for sentence vectors, got {len(name)}")
    return str(name[0])
