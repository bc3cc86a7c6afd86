"""Incremental learning: new text with a share of the old in every batch, and what was forgotten meanwhile.

Replaying old examples is the plainest cure for forgetting (Robins 1995; Rolnick et al. 2019).
"""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from polysemy.artifact import read_json, sha256
from polysemy.errors import InputError
from polysemy.models.pretrained import WEIGHTS, PretrainingModel, open_run
from polysemy.models.recipe import PretrainingConfig
from polysemy.runtime import random_for
from polysemy.text.batches import Batch
from polysemy.text.tokenizer import Tokenizer
from polysemy.training.prepared import PreparedText, open_text

OLD_ROWS = 1 << 40
"""added to the numbers of replayed rows, so that they never meet those of new ones"""
FLAT = ("pair_at", "span_at", "span_left", "span_right")


class Replay:
    """Batches of new text in which a share `rate` of the rows is old text; `replay[t]` is a pure function of t.

    Over the run exactly that share is old, to one row: batch t has the old rows number floor(t * rate * batch_size) and
    on.  Old and new stand in a keyed order, so processes get both.  An epoch reads all of the new text.
    """

    def __init__(self, new: Any, old: Any, rate: float) -> None:
        if not 0 < rate < 1:
            raise InputError(f"replay must be above 0 and below 1, got {rate}")
        if (new.batch_size, new.length) != (old.batch_size, old.length):
            raise InputError("old and new batches must have one size, got "
                             f"{old.batch_size} x {old.length} and {new.batch_size} x {new.length}")
        self.new, self.old, self.rate = new, old, rate
        self.batch_size, self.length, self.seed = new.batch_size, new.length, new.seed

    def __getitem__(self, t: int) -> Batch:
        first, last = (math.floor(n * self.rate * self.batch_size) for n in (t, t + 1))
        parts = []
        if last - first < self.batch_size:
            parts.append(self.new.at(range(t * self.batch_size - first, (t + 1) * self.batch_size - last)))
        if last > first:
            old = self.old.at(range(first, last))
            parts.append(replace(old, rows=old.rows + OLD_ROWS))
        return join(parts).take(random_for(self.seed, "replay", t).permutation(self.batch_size))

    def rows_per_epoch(self, epoch: int) -> int:
        """Rows, old ones included, in which the new text is read once."""
        return math.ceil(self.new.rows_per_epoch(epoch) / (1 - self.rate))


def join(parts: Sequence[Batch]) -> Batch:
    """The rows of several batches as one, in order."""
    length = parts[0].ids.shape[1]
    shifts = np.cumsum([0] + [len(part.ids) for part in parts]) * length
    columns = {}
    for field in fields(Batch):
        arrays = [getattr(part, field.name) for part in parts]
        if field.name in FLAT:
            arrays = [array + shift for array, shift in zip(arrays, shifts, strict=False)]
        columns[field.name] = np.concatenate(arrays)
    return Batch(**columns)


def forgetting(before: Mapping[str, Mapping[str, float]], after: Mapping[str, Mapping[str, float]]) -> list[dict]:
    """One row a text (old, new): its held-out loss before and after; a loss that rose is what was forgotten."""
    return [{"text": text, "before": before[text]["held_out_loss"], "after": after[text]["held_out_loss"],
             "change": after[text]["held_out_loss"] - before[text]["held_out_loss"]} for text in before]


@dataclass(frozen=True, kw_only=True)
class Start:
    """A trained model to go on from, with the text it was trained on when that is still there."""

    folder: Path
    model: PretrainingModel
    tokenizer: Tokenizer
    config: PretrainingConfig
    sha256: str
    """of its weights"""
    text: PreparedText | None

    @classmethod
    def open(cls, folder: Path, *, replay: bool = False) -> Start:
        """Read a run folder; InputError when `replay` asks for old text that is gone."""
        model, tokenizer, config = open_run(folder)
        record = read_json(folder / "config.json")
        text, reason = None, "its config.json names none"
        if record.get("text"):
            try:
                text = open_text(record["text"], tokenizer)
            except (InputError, KeyError) as error:
                reason = str(error)
        if replay and text is None:
            raise InputError(f"--replay must find the old text of {folder}, but {reason}; go without --replay, or add "
                             "the old files to the new ones")
        return cls(folder=folder, model=model, tokenizer=tokenizer, config=config, text=text,
                   sha256=sha256(folder / WEIGHTS))

    def adapt(self, config: PretrainingConfig) -> PretrainingConfig:
        """`config` with the trained model's body, heads and tokenizer; InputError for another recipe."""
        if (config.recipe, config.heads) != (self.config.recipe, self.config.heads):
            raise InputError(f"recipe must be {self.config.recipe} with heads {', '.join(self.config.heads)}, those of "
                             f"{self.folder}, got {config.recipe} with {', '.join(config.heads)}")
        return config.replace(model=self.config.model, tokenizer=self.config.tokenizer, size=self.config.size)
