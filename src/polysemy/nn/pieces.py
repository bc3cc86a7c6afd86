"""A flat list of tokens, document after document: what training runs on, for padding is not even there."""
from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from polysemy.nn.position import Rotary, rotation


class Turns(NamedTuple):
    """Rotary positions of a flat list: tables by position, and the position of each query and key."""

    cosine: Float[Tensor, "p half"]
    sine: Float[Tensor, "p half"]
    queries: Int[Tensor, "n"]
    keys: Int[Tensor, "m"]
    interleaved: bool
    """which two numbers make a pair: (2 i, 2 i + 1), or (i, i + e/2)"""


FAR = 1 << 40
"""tokens: farther than any piece is long"""


@dataclass(frozen=True, eq=False)
class Pieces:
    """Visibility inside the pieces of a flat list.

    A piece is a document, or what a row of the batch holds of it; a query sees the keys of its piece, all of them or
    those near it.
    """

    table: Int[Tensor, "p 5"]
    """first query, queries, first key, keys, column of the first key in its row of the batch; one row a piece"""
    at: Int[Tensor, "k"] | None = None
    """which tokens ask, ascending; None when all do"""
    turns: Turns | None = None
    behind: int = FAR
    """how many tokens before itself a query sees"""
    ahead: int = FAR
    """how many tokens after itself a query sees: 0 is causal"""

    @classmethod
    def build(cls, documents: Int[Tensor, "b t"]) -> tuple[Pieces, Int[Tensor, "n"]] | None:
        """The pieces of packed rows, and the flat places of their tokens; None when a document is not in one piece.

        `documents` are numbers within the row, -1 at padding.
        """
        t = documents.shape[1]
        numbers = documents.numpy().ravel()
        tokens = np.flatnonzero(numbers >= 0)
        keys = numbers[tokens] + (tokens // t) * np.int64(1 << 32)
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        if len(np.unique(keys[starts])) < len(starts):
            return None
        counts = np.diff(starts, append=len(tokens))
        table = np.stack([starts, counts, starts, counts, tokens[starts] % t], 1)
        return cls(torch.from_numpy(np.ascontiguousarray(table))), torch.from_numpy(tokens)

    def filled(self, tokens: Int[Tensor, "n"]) -> tuple[Pieces, Int[Tensor, "m"]]:
        """The list with a few tokens more, to one of 16 lengths an octave; they stand at the end, a piece that nobody
        asks for.

        The matrix library compiles its routines anew for each number of rows, which costs as much as running them.
        """
        n = len(tokens)
        step = 1 << max(n.bit_length() - 5, 0)
        if (more := -n % step) == 0:
            return self, tokens
        table = torch.cat([self.table, torch.tensor([[n, more, n, more, 0]])])
        return replace(self, table=table), torch.cat([tokens, tokens[:1].expand(more)])

    def turned(self, config: Rotary, positions: Int[Tensor, "n"], head_size: int) -> Pieces:
        """The same pieces with rotary positions."""
        longest = 1 << int(positions.max()).bit_length() if len(positions) else 1
        cosine, sine = _tables(config, longest, head_size)
        positions = positions.contiguous()
        return replace(self, turns=Turns(cosine, sine, positions, positions, config.layout == "interleaved"))

    def of(self, at: Int[Tensor, "k"]) -> Pieces:
        """The same pieces when only the tokens `at` ask."""
        first = torch.searchsorted(at, self.table[:, 2].contiguous())
        table = self.table.clone()
        table[:, 0], table[:, 1] = first, torch.diff(first, append=torch.tensor([len(at)]))
        turns = self.turns and self.turns._replace(queries=self.turns.queries[at])
        return replace(self, table=table, at=at, turns=turns)

    def within(self, *, causal: bool = False, reach: int | None = None) -> Pieces:
        """The same pieces when a query sees nothing after itself, or nothing farther than `reach` tokens."""
        near = FAR if reach is None else reach
        return replace(self, behind=near, ahead=0 if causal else near)

    def seen(self, first: int, count: int, first_key: int, keys: int) -> Bool[Tensor, "count keys"]:
        """Which keys of its piece each query of the piece sees, the first four numbers of the piece's row given."""
        here = slice(first, first + count)
        places = (torch.arange(first, first + count) if self.at is None else self.at[here]) - first_key
        distance = torch.arange(keys) - places[:, None]
        return (distance <= self.ahead) & (distance >= -self.behind)


@functools.lru_cache(8)
def _tables(config: Rotary, longest: int, head_size: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines (longest, head_size / 2) in float32."""
    with torch.no_grad():
        found = rotation(config, torch.arange(longest)[None], head_size, torch.float32)
    return found.cosine[0, 0].contiguous(), found.sine[0, 0].contiguous()
