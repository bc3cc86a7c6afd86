"""Rows of a model through its engine: as flat lists, as padded rows, or at the places that a head reads."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polysemy.models.engine import Engine, engine_for

GROUP_TOKENS = 1 << 14
"""tokens whose states are in memory at once, or one text"""


def flat_states(engine: Engine, rows: Sequence[Any], layer: int | None = None
                ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(indices into rows, their states (n, d) end to end), longest rows first, in groups of bounded memory.

    A row has `ids` and `segments`; `layer` as in `Engine.states`.
    """
    lengths = np.fromiter((len(row.ids) for row in rows), np.int64, len(rows))
    order = np.argsort(-lengths, kind="stable")
    group = np.cumsum(lengths[order]) // GROUP_TOKENS
    for some in np.split(order, np.flatnonzero(np.diff(group)) + 1) if len(rows) else ():
        ids, segments = (np.concatenate([getattr(rows[i], name) for i in some]).astype(np.int64)
                         for name in ("ids", "segments"))
        yield some, engine.states(ids, segments, lengths[some], layer)


def padded_states(engine: Engine, rows: Sequence[Any]) -> Tensor:
    """(rows, longest, d) states of rows, with zeros at the padding on the right."""
    lengths = np.array([len(row.ids) for row in rows], np.int64)
    ids, segments = (np.concatenate([getattr(row, name) for row in rows]).astype(np.int64)
                     for name in ("ids", "segments"))
    found = engine.states(ids, segments, lengths)
    padded = np.zeros((len(rows), int(lengths.max()), found.shape[1]), np.float32)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = found
    return torch.from_numpy(padded)


def states_at(body: Any, at: Tensor, ids: Tensor, segments: Tensor | None, documents: Tensor) -> Tensor | None:
    """(k, d) last states at flat places of rows (b, t), as `Encoder.at` gives them; None where torch is to do it.

    Rows hold one document each, from column 0 on; `documents` is -1 at the padding on the right.
    """
    real = documents >= 0
    engine = engine_for(body, int(real.sum()))
    if engine is None or not len(at):
        return None
    lengths = real.sum(1).numpy()
    flat = ids[real]
    kinds = torch.zeros_like(flat) if segments is None else segments[real]
    found = engine.states(flat.numpy(), kinds.numpy(), lengths[lengths > 0])
    numbers = real.flatten().cumsum(0) - 1
    return torch.from_numpy(found)[numbers[at]]
