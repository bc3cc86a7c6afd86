"""Small task models of every kind of body, and batches of mixed lengths, for tests of fine-tuning."""
from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from small_models import encoder, language_model

from polysemy.models.task_model import TaskModel, head_config
from polysemy.models.tasks import Classify, Regress, Span, Tag, Task
from polysemy.models.text_model import TextModel

TASKS: dict[str, Task] = {
    "classify": Classify(labels=("no", "yes", "maybe")), "regress": Regress(low=0.0, high=5.0),
    "tag": Tag(labels=("O", "B-A", "I-A")), "span": Span(null=True)}
READERS = ("bert", "roberta", "albert", "spanbert", "distilbert", "gpt", "nnlm", "lstm", "transformer-xl", "elmo")
LENGTHS = (7, 3, 11, 5)


def reader(name: str) -> TextModel:
    return encoder(name) if name in ("bert", "roberta", "albert", "distilbert", "spanbert") else language_model(name)


def task_model(name: str, kind: str, **changes: Any) -> TaskModel:
    """An untrained head on an untrained body, in evaluation mode."""
    start = reader(name)
    model = TaskModel.on(start.model, TASKS[kind], head_config(TASKS[kind], start.config, **changes), seed=3)
    with torch.no_grad():  # heads begin near 0: let their answers differ
        for parameter in model.head.parameters():
            parameter.mul_(3).add_(0.1)
    return model.eval()


@dataclass(frozen=True)
class Given:
    """Examples as the reader of files gives them."""

    items: list[Any]
    path: str = "given"

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Any:
        return self.items[i]

    def __iter__(self) -> Any:
        return iter(self.items)


def batch(kind: str, *, vocab_size: int = 60, lengths: tuple[int, ...] = LENGTHS, rows: Any = None,
          width: int | None = None) -> Any:
    """A batch of random rows, each a function of its own number alone: `rows` chooses some of them."""
    chosen = range(len(lengths)) if rows is None else rows
    width = width or max(lengths[i] for i in chosen)
    made = [_row(kind, i, lengths[i], vocab_size) for i in chosen]
    ids = np.stack([np.pad(row.ids, (0, width - len(row.ids))) for row in made])
    visible = np.stack([np.arange(width) < len(row.ids) for row in made])
    at = np.concatenate([row.at + line * width for line, row in enumerate(made)])
    targets = np.concatenate([row.targets for row in made])
    return SimpleNamespace(
        ids=ids, visible=visible, at=at, targets=targets, kind=kind, weights=np.ones(len(targets), np.float32),
        positions=np.where(visible, np.arange(width), 0), segments=np.zeros_like(ids),
        documents=np.where(visible, np.arange(len(made))[:, None], -1), rows=np.array(list(chosen)))


def _row(kind: str, number: int, length: int, vocab_size: int) -> Any:
    random = np.random.default_rng(number)
    at = np.arange(length) if kind == "span" else np.arange(1, length, 2) if kind == "tag" else np.zeros(1, np.int64)
    targets = {"classify": random.integers(0, 3, 1), "regress": random.random(1).astype(np.float32),
               "tag": random.integers(0, 3, len(at)), "span": np.sort(random.integers(0, length, (1, 2)), 1)}[kind]
    return SimpleNamespace(ids=random.integers(5, vocab_size, length), at=at, targets=targets)
