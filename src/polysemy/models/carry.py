"""What a recurrent model carries from batch to batch while it trains: the state of every stream of running text.

Truncated back-propagation (Williams and Peng 1990): the state goes on, the gradient stops at the batch's beginning.
"""
from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from polysemy.models.encoder import State


class Carry:
    """States by stream number; a part of a batch (micro-batch, process) gets and gives those of its own rows."""

    def __init__(self) -> None:
        self._parts: dict[tuple[int, ...], State] = {}

    def get(self, streams: Tensor, fresh: Tensor) -> State | None:
        """The states of these streams, rows first; None where they begin, or where nothing was read of them yet."""
        wanted = tuple(streams.tolist())
        known = {name for part in self._parts for name in part}
        if bool(fresh.all()) or not known & set(wanted):
            return None
        if wanted not in self._parts:
            state = _rows_of(self._parts, wanted)
            self._remove(wanted)
            self._parts[wanted] = state
        return self._parts[wanted]

    def put(self, streams: Tensor, state: State) -> None:
        """Keep the states of these streams, cut off from the graph."""
        wanted = tuple(streams.tolist())
        self._remove(wanted)
        self._parts[wanted] = tuple(x.detach() for x in state)

    def _remove(self, streams: tuple[int, ...]) -> None:
        """Cut these streams out of the parts that hold them."""
        for names in [names for names in self._parts if set(names) & set(streams)]:
            state = self._parts.pop(names)
            rest = [row for row, name in enumerate(names) if name not in streams]
            if rest:
                self._parts[tuple(names[row] for row in rest)] = tuple(x[rest] for x in state)

    def snapshot(self) -> dict[tuple[int, ...], State]:
        """What is carried now, to come back to: states are never changed in place."""
        return dict(self._parts)

    def restore(self, kept: Mapping[tuple[int, ...], State]) -> None:
        """Carry what was carried at a snapshot."""
        self._parts = dict(kept)

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """Within the block nothing is carried at first, and what was carried before is back afterwards."""
        kept, self._parts = self._parts, {}
        try:
            yield
        finally:
            self._parts = kept

    def tensors(self) -> dict[str, Tensor]:
        """All states for a checkpoint: `streams` and `state.0`, `state.1`, ...; empty when nothing is carried."""
        if not self._parts:
            return {}
        names = tuple(sorted(name for part in self._parts for name in part))
        state = _rows_of(self._parts, names)
        return {"streams": torch.tensor(names), **{f"state.{i}": x.contiguous().cpu() for i, x in enumerate(state)}}

    def load(self, tensors: Mapping[str, Tensor], device: torch.device | str = "cpu") -> None:
        """Take over what `tensors` gave, of any number of processes."""
        self._parts = {}
        if tensors:
            state = tuple(tensors[f"state.{i}"].to(device) for i in range(len(tensors) - 1))
            self._parts[tuple(tensors["streams"].tolist())] = state


def merged(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """What several processes carry, as one."""
    carry = Carry()
    for tensors in parts:
        if tensors:
            state = tuple(tensors[f"state.{i}"] for i in range(len(tensors) - 1))
            carry.put(tensors["streams"], state)
    return carry.tensors()


def _rows_of(parts: Mapping[tuple[int, ...], State], wanted: tuple[int, ...]) -> State:
    """The rows of these streams, from whichever parts hold them."""
    place = {name: (part, row) for part in parts for row, name in enumerate(part)}
    missing = [name for name in wanted if name not in place]
    assert not missing, f"streams {missing} were never read"
    count = len(next(iter(parts.values())))
    return tuple(torch.stack([parts[place[name][0]][i][place[name][1]] for name in wanted]) for i in range(count))
