"""Compile and load what a step needs before the clock starts, so that a budget in minutes is spent on learning."""
from __future__ import annotations

import torch
from torch import nn

from polysemy.memory import keep_freed_memory
from polysemy.nn.dropout import dropout_key
from polysemy.training.learner import Learner
from polysemy.training.loop import Rows
from polysemy.training.optimizer import Optimizer


def warm_up(learner: Learner, batch: Rows) -> None:
    """One gradient of a few rows, thrown away, and one update of a scratch weight; the learner stays as it is.

    From then on the process keeps the memory that it frees.
    """
    keep_freed_memory()
    rows = batch.part(range(min(2, len(batch.ids))))
    learner.model.train()
    keys = torch.from_numpy(rows.rows).to(learner.world.device)
    with learner.model.carry.apart(), dropout_key(learner.seed, 0, keys):
        sums = learner.objective.losses(learner.module, learner.objective.tensors(rows, learner.world.device))
    learner.objective.total(sums, learner.objective.counts(rows)).backward()
    learner.optimizer.zero_grad()
    if not learner.sharded:
        scratch = nn.Linear(4, 4, device=learner.world.device)
        optimizer = Optimizer(scratch, learner.optimizer.config, dtype=learner.dtype)
        for parameter in scratch.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step(0.0)
