"""The labeled texts that every rung of a ladder is asked to learn, cut into what is learned, chosen by and judged by.

Epochs are chosen by one part and scores told of another, so that no rung gains by choosing among more of them.
"""
from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polysemy.errors import InputError
from polysemy.runtime import random_for

if TYPE_CHECKING:
    from polysemy.models.tasks import Classify
    from polysemy.text.labeled import Examples

TEST_SHARE, MOST_TEST = 0.2, 5_000
CHOSEN_SHARE, MOST_CHOSEN = 0.1, 1_000
LEAST = 50
"""examples below which a score would say nothing"""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """A task for every rung."""

    task: Classify
    train: Examples
    choose: Examples
    """epochs are chosen by these"""
    test: Examples
    """seen by no rung"""
    source: str
    fingerprint: str
    """changes with any text or label"""

    @property
    def pair(self) -> bool:
        return bool(self.test.pair)

    def describe(self) -> str:
        """One line for the start of a ladder."""
        return (f"task {self.source}: {len(self.task.labels)} labels, {len(self.train):,} texts to learn from, "
                f"{len(self.choose):,} to choose epochs by, {len(self.test):,} to judge by")

    def facts(self) -> dict[str, Any]:
        """Plain values for the report."""
        return {"file": self.source, "labels": list(self.task.labels), "pair": self.pair, "train": len(self.train),
                "choose": len(self.choose), "test": len(self.test), "fingerprint": self.fingerprint}


def read_task(path: str, dev: str | None = None, seed: int = 0) -> Labels:
    """The task in a file of labeled texts or pairs of texts; what is judged by is `dev`, or a fifth left out of `path`.

    Which rows are left out depends on the seed and their number alone. Raises InputError for a file that
    `read_examples` refuses, for scores instead of labels, and where fewer than 50 examples are left to learn from.
    """
    from polysemy.evaluation.glue_sets import kind_of_file
    from polysemy.text.labeled import read_examples
    from polysemy.training.fine_tuning_start import task_for

    kind = kind_of_file(Path(path))
    if kind == "regress":
        raise InputError(f"task must have labels in a ladder, got scores in {path}; polysemy finetune --task regress "
                         "learns those")
    rows = read_examples(path, kind)
    test = read_examples(dev, kind) if dev else None
    task: Any = task_for(kind, rows, test)
    order = random_for(seed, "ladder task", len(rows)).permutation(len(rows)).tolist()
    if test is None:
        cut = min(MOST_TEST, round(TEST_SHARE * len(rows)))
        test, order = _part(rows, order[:cut]), order[cut:]
    cut = min(MOST_CHOSEN, round(CHOSEN_SHARE * len(order)))
    train, choose = _part(rows, order[cut:]), _part(rows, order[:cut])
    if len(train) < LEAST or not len(test) or len(train.labels) < 2:
        raise InputError(f"task must leave at least {LEAST} texts of two labels to learn from and some to judge by, "
                         f"got {len(train)} and {len(test)} of {path}")
    texts = [f"{one.text}\x1f{one.pair}\x1f{one.label}" for part in (train, choose, test) for one in part]
    digest = hashlib.blake2b("\x1e".join(texts).encode("utf-8", "replace"), digest_size=8).hexdigest()
    return Labels(task=task, train=train, choose=choose, test=test, source=path if dev is None else f"{path} and {dev}",
                  fingerprint=digest)


def first_part(examples: Examples, count: int) -> Examples:
    """The first `count` examples; their order is that of a draw."""
    return _part(examples, list(range(min(count, len(examples)))))


def texts_of(examples: Examples) -> list[str]:
    """Each text as one, for what reads no pairs."""
    return [one.text if one.pair is None else f"{one.text} {one.pair}" for one in examples]


def labels_of(examples: Examples) -> list[str]:
    """The label of each."""
    return [str(one.label) for one in examples]


def _part(examples: Examples, numbers: list[int]) -> Examples:
    return replace(examples, items=tuple(examples[number] for number in numbers))
