"""Loss on text that training never reads: the same rows with the same hidden tokens every time, so numbers compare."""
from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polysemy.objectives.pretraining import Pretraining, correct, encode, tensors_of
from polysemy.text.batches import Batches, own_part
from polysemy.training.distributed import World, is_sharded, rank_rows

MAX_TOKENS = 1 << 17
"""about 20,000 hidden tokens: a standard error near 0.02 nat"""


class HeldOut:
    """The first rows of the held-out text, kept in memory and judged over all processes."""

    def __init__(self, batches: Batches, objective: Pretraining, world: World | None = None, *,
                 micro_batch_size: int | None = None) -> None:
        self.objective, self.world = objective, world or World()
        self.micro_batch_size = micro_batch_size
        num_rows = min(batches.rows_per_epoch(0), max(1, MAX_TOKENS // batches.length))
        size = batches.batch_size
        self.parts = [batches.at(range(start, min(start + size, num_rows))) for start in range(0, num_rows, size)]

    @property
    def num_targets(self) -> dict[str, float]:
        """Targets of each head."""
        counts = [self.objective.counts(part) for part in self.parts]
        return {name: sum(count[name] for count in counts) for name in self.objective.weights}

    @torch.no_grad()
    def __call__(self, module: Any) -> dict[str, float]:
        """`held_out_loss` (the training total), `held_out_<head>` for each head, `held_out_pair_accuracy` for pairs."""
        with module.carry.apart() if hasattr(module, "carry") else contextlib.nullcontext():
            return self._scores(module)

    def _scores(self, module: Any) -> dict[str, float]:
        was_training = module.training
        module.eval()
        names = list(self.objective.weights)
        sums, right = np.zeros(len(names)), 0
        for batch in self.parts:
            for rows in rank_rows(len(batch.ids), self.world, self.micro_batch_size):
                tensors = tensors_of(own_part(batch, rows), self.world.device)
                values, pairs = self._judge(module, tensors)
                if rows:
                    sums += torch.stack([values[name].double() for name in names]).cpu().numpy()
                    right += pairs
        module.train(was_training)
        *totals, right = self.world.sum([*sums.tolist(), float(right)])
        counts, whole = self.num_targets, dict(zip(names, totals, strict=True))
        means = self.objective.means(whole, counts)
        scores = {"held_out_loss": sum(self.objective.weights[name] * mean for name, mean in means.items())}
        scores |= {f"held_out_{name}": mean for name, mean in means.items()}
        if counts.get("pair") and not is_sharded(module):
            scores["held_out_pair_accuracy"] = right / counts["pair"]
        return scores

    def _judge(self, module: Any, tensors: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], int]:
        """Loss sums by head and how many pairs are right; sharded weights allow nothing but the whole forward."""
        if is_sharded(module) or "pair" not in self.objective.weights:
            return self.objective.losses(module, tensors), 0
        states = encode(module, tensors)
        sums = {name: module.loss(name, states, tensors) for name in self.objective.weights}
        return sums, correct(module, states, tensors, "pair")
