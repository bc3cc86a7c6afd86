"""How decoders read: rows of text go in, the logits of each row's next token come out, and the state stays inside.

`PlainReader` works with every body that has `advance`, on any device; `decoding/compiled.py` has one that is faster.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from polysemy.errors import InputError
from polysemy.models.encoder import State
from polysemy.nn.position import Learned


class Predicts(Protocol):
    """A model of the next token: PretrainingModel with a causal body."""

    body: Any

    def next_logits(self, states: Tensor) -> Tensor: ...


class Reader(Protocol):
    """Reads rows of text; forgets what it read at `start`."""

    def start(self, rows: Sequence[np.ndarray]) -> np.ndarray:
        """(b, v) float32 logits after these rows, none empty."""
        ...

    def advance(self, ids: np.ndarray) -> np.ndarray:
        """(b, v) float32 logits after one more token in each row."""
        ...

    def keep(self, rows: np.ndarray) -> None:
        """Go on with these rows alone, in this order."""
        ...


class PlainReader:
    """By `body.advance`: the new token alone is computed, all else is in the state."""

    def __init__(self, model: Predicts) -> None:
        self.model = model
        self.state: State | None = None

    @torch.inference_mode()
    def start(self, rows: Sequence[np.ndarray]) -> np.ndarray:
        lengths = torch.tensor([len(row) for row in rows])
        ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
        for line, row in enumerate(rows):
            ids[line, :len(row)] = torch.from_numpy(np.asarray(row, np.int64))
        device = self.model.body.table.device
        even = bool((lengths == lengths[0]).all())
        states, self.state = self.model.body.advance(ids.to(device), None, None if even else lengths.to(device))
        return self._logits(states[torch.arange(len(rows)), lengths - 1])

    @torch.inference_mode()
    def advance(self, ids: np.ndarray) -> np.ndarray:
        column = torch.from_numpy(np.asarray(ids, np.int64))[:, None].to(self.model.body.table.device)
        states, self.state = self.model.body.advance(column, self.state)
        return self._logits(states[:, 0])

    @torch.inference_mode()
    def keep(self, rows: np.ndarray) -> None:
        assert self.state is not None
        at = torch.from_numpy(np.asarray(rows, np.int64))
        self.state = tuple(part[at.to(part.device)] for part in self.state)

    def _logits(self, states: Tensor) -> np.ndarray:
        return self.model.next_logits(states).float().cpu().numpy()


class Window(NamedTuple):
    """How much of a text a model reads at once."""

    length: int | None
    """most tokens; None: any number"""
    slides: bool = True
    """whether a longer text is read from a later place; else it cannot go on"""

    def start(self, count: int) -> int:
        """The place from which a text of `count` tokens is read.

        It moves by half a window at a time, so that a text is read again once for every so many new tokens; it is a
        function of the count alone, so that the same text always goes on in the same way.
        """
        if self.length is None or count <= self.length:
            return 0
        step = max(1, self.length // 2)
        return -(-(count - self.length) // step) * step

    def check(self, prompt: np.ndarray, name: str = "prompt") -> None:
        """InputError when the prompt cannot be read whole and must be."""
        if not self.slides and self.length is not None and len(prompt) > self.length:
            raise InputError(f"{name} must be at most {self.length} tokens long, got {len(prompt)}; cut it, or use a "
                             "model that reads more")


def window_of(body: Any, length: int | None = None) -> Window:
    """The window of a body: its table of positions and `length`, what it was trained on, limit an attention body.

    One with learned positions cannot go on beyond; any other begins again at a later place.  Bodies that carry
    everything in a state of fixed size (recurrent ones, segment memories, n-gram networks) read on for ever.
    """
    if not hasattr(body.config, "transformer") or body.stateful:
        return Window(None)
    position = body.config.embedding.position
    if isinstance(position, Learned):
        return Window(min(position.max_positions, length or position.max_positions), slides=False)
    return Window(length)
