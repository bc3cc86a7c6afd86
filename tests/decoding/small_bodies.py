"""Causal models for decoding tests: one that reads everything anew, and small GPTs."""
from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from polysemy.models import gpt
from polysemy.models.pretrained import PretrainingModel
from polysemy.nn.position import Learned

VOCABULARY = 60


class Rereader:
    """A body whose state is the ids read so far, with -1 where there is none; all is computed anew each time."""

    stateful = False

    def __init__(self, stateful: bool = True) -> None:
        self.stateful = stateful
        self.table = torch.randn(VOCABULARY, 16, generator=torch.Generator().manual_seed(0))
        self.config = SimpleNamespace(vocab_size=VOCABULARY)

    def advance(self, ids: Tensor, state: tuple[Tensor, ...] | None = None, lengths: Tensor | None = None
                ) -> tuple[Tensor, tuple[Tensor, ...]]:
        columns = torch.arange(ids.shape[1])[None]
        read = ids if lengths is None else ids.where(columns < lengths[:, None], -1)
        known = read if state is None else torch.cat([state[0], read], 1)
        states = torch.stack([torch.stack([self._state(row[:known.shape[1] - ids.shape[1] + i + 1])
                                           for i in range(ids.shape[1])]) for row in known])
        return states, (known,)

    def _state(self, ids: Tensor) -> Tensor:
        total = torch.zeros(16)
        for number in ids[ids >= 0].tolist():
            total = 0.7 * total.roll(1) + self.table[number]
        return total


class RereaderModel:
    """Its tied head."""

    def __init__(self, stateful: bool = True) -> None:
        self.body = Rereader(stateful)

    def next_logits(self, states: Tensor) -> Tensor:
        return states @ self.body.table.T


@functools.cache
def small_gpt(preset: str = "ladder", seed: int = 1, positions: int = 256, vocab_size: int = VOCABULARY,
              changes: tuple[tuple[str, Any], ...] = ()) -> PretrainingModel:
    """Two layers 32 wide with weights large enough for its answers to differ; `changes` of the transformer."""
    config = gpt.configure("tiny", preset, vocab_size=400).model.with_vocabulary(vocab_size)
    sizes = {"hidden_size": 32, "num_heads": 2, "intermediate_size": 64, "num_layers": 2, "initializer": "xavier",
             **dict(changes)}
    if preset == "paper":
        config = config.replace(embedding=config.embedding.replace(position=Learned(max_positions=positions)))
    config = config.replace(transformer=config.transformer.replace(**sizes))
    model = PretrainingModel(config, ("next_token",), seed=seed)
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    return model.eval()
