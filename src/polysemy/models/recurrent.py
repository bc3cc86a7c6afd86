"""Token vectors + recurrent layers: the body of RNN and LSTM language models."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.models.encoder import Encoded, State
from polysemy.nn.adaptive import check_cutoffs
from polysemy.nn.dropout import Drop, Dropout, cut_rows, drop
from polysemy.nn.fused import look_up
from polysemy.nn.heads import HeadSizes
from polysemy.nn.limits import check_rate, check_size
from polysemy.nn.recurrent import GATES, CellName, RecurrentLayer

TABLE_BOUND = 0.1
ZAREMBA_BOUND = 0.05


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig(Config):
    """Cell, sizes and what is dropped."""

    cell: CellName = "lstm"
    vocab_size: int = 8000
    hidden_size: int = 256
    """width of the last layer's states"""
    num_layers: int = 2
    embedding_size: int | None = None
    """width of the token vectors; none means hidden_size"""
    inner_size: int | None = None
    """width of all layers but the last; none means hidden_size"""
    tied: bool = True
    """the output multiplies by the token vectors; else by a matrix of its own"""
    cutoffs: tuple[int, ...] = ()
    """adaptive softmax: where clusters of rarer tokens begin; ids must fall in frequency (tokenizer kind word)"""
    dropout: float = 0.0
    """between layers and before the output; never on what a state hands to the next step (Zaremba et al. 2014)"""
    input_dropout: float | None = None
    """on the token vectors; none means as dropout"""
    variational: bool = False
    """one mask for all steps of a row (Gal and Ghahramani 2016) instead of one for each"""
    weight_drop: float = 0.0
    """numbers of the recurrent matrices left out, for a whole batch at a time (Merity et al. 2018)"""
    embedding_dropout: float = 0.0
    """tokens whose vector is left out wherever they stand in a row (Gal and Ghahramani 2016)"""
    first: Literal["uniform", "zaremba"] = "uniform"
    """first weights: within hidden_size**-0.5 and the table within 0.1, or all within 0.05"""
    forget_bias: float = 1.0
    """first bias of the gate that keeps (Jozefowicz et al. 2015); 0 in the publications above"""

    def check(self) -> None:
        for name in ("vocab_size", "hidden_size", "num_layers"):
            check_size(name, getattr(self, name))
        for size in (self.embedding_size, self.inner_size):
            check_size("hidden_size", size)
        for name in ("dropout", "weight_drop", "embedding_dropout"):
            check_rate(name, getattr(self, name))
        check_rate("input_dropout", self.input_dropout or 0.0)
        if self.cutoffs:
            check_cutoffs(self.cutoffs, self.vocab_size)

    def body(self) -> Recurrent:
        """The body of this config."""
        return Recurrent(self)

    def head_sizes(self) -> HeadSizes:
        """What heads must know of this body."""
        return HeadSizes(hidden_size=self.hidden_size, table_size=self.table_size, vocab_size=self.vocab_size,
                         tied=self.tied, output_bias=True, cutoffs=self.cutoffs)

    def with_vocabulary(self, vocab_size: int) -> RecurrentConfig:
        """The same body for so many tokens; cutoffs beyond them fall away."""
        return self.replace(vocab_size=vocab_size, cutoffs=tuple(c for c in self.cutoffs if c < vocab_size))

    @property
    def table_size(self) -> int:
        return self.embedding_size or self.hidden_size

    def layer_sizes(self) -> list[int]:
        """The width of what each layer reads, then that of the last states."""
        return [self.table_size, *[self.inner_size or self.hidden_size] * (self.num_layers - 1), self.hidden_size]


class Recurrent(nn.Module):
    """Token ids to states, each of which has read all before it; `advance` reads on from where it stopped.

    A state is (h, c) of each layer in turn (h alone for a plain network), each (b, width of the layer).
    """

    stateful: ClassVar[bool] = True
    """training carries the state from batch to batch"""

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.table_size)
        bound = ZAREMBA_BOUND if config.first == "zaremba" else None
        self.layers = nn.ModuleList(
            RecurrentLayer(config.cell, inputs, outputs, weight_drop=config.weight_drop, bound=bound,
                           forget_bias=config.forget_bias)
            for inputs, outputs in pairwise(config.layer_sizes()))
        self.token_dropout = Dropout(config.embedding_dropout)
        self.input_dropout = Dropout(config.dropout if config.input_dropout is None else config.input_dropout)
        self.dropout = Dropout(config.dropout)

    @property
    def table(self) -> Float[Tensor, "v e"]:
        """Token vectors, which tied heads multiply by."""
        return self.embedding.weight

    @torch.no_grad()
    def first_weights(self, generator: Callable[[str], torch.Generator]) -> list[Tensor]:
        """Fill the table; layers fill themselves."""
        bound = ZAREMBA_BOUND if self.config.first == "zaremba" else TABLE_BOUND
        self.table.copy_(torch.empty(self.table.shape).uniform_(-bound, bound, generator=generator("table")))
        return [self.table]

    def forward(self, ids: Int[Tensor, "b t"], positions: Int[Tensor, "b t"] | None = None,
                segments: Int[Tensor, "b t"] | None = None, documents: Int[Tensor, "b t"] | None = None,
                visible: Bool[Tensor, "b t"] | None = None, *, hidden_states: bool = False,
                attention: bool = False) -> Float[Tensor, "b t d"] | Encoded:
        """States; with `hidden_states` an Encoded with every layer's.  Order is in the reading: positions say nothing.

        Each document (numbers, -1 at padding) is read from the beginning; padding stands on the right.
        """
        if attention:
            raise InputError("attention must not be asked of a recurrent model, got true; it has none")
        if documents is not None and bool(((documents != documents[:, :1]) & (documents >= 0)).any()):
            layers = self._apart(ids, documents)
        else:
            layers = [x.transpose(0, 1) for x in self._layers(ids, None, None)[0]]
        return Encoded(layers[-1], layers, []) if hidden_states else layers[-1]

    def advance(self, ids: Int[Tensor, "b t"], state: State | None = None, lengths: Int[Tensor, "b"] | None = None
                ) -> tuple[Float[Tensor, "b t d"], State]:
        """States of what follows the text of `state` (None: nothing read yet), and the state after it.

        Only the first `lengths` columns of each row are read, all by default; what stands at the others means nothing.
        """
        layers, state = self._layers(ids, state, lengths)
        return layers[-1].transpose(0, 1), state

    def _layers(self, ids: Tensor, state: State | None, lengths: Tensor | None) -> tuple[list[Tensor], State]:
        """The token vectors and every layer's states, each (t, b, .), and the new state."""
        x = look_up(self.table, ids.t())
        kept = self.token_dropout.draw_tokens(ids)
        if kept is not None:
            x = x * kept.t()[..., None].to(x.dtype)
        x = self._drop(self.input_dropout, x)
        seen, after, parts = [x], [], 2 if self.config.cell == "lstm" else 1
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, RecurrentLayer)
            before = layer.start(len(ids), x) if state is None else state[i * parts:(i + 1) * parts]
            x, new = layer(x, before, lengths)
            x = self._drop(self.dropout, x)
            seen.append(x)
            after.extend(new)
        return seen, tuple(after)

    def _drop(self, dropout: Dropout, x: Float[Tensor, "t b d"]) -> Float[Tensor, "t b d"]:
        """A mask for each token, or one for each row that all its tokens share."""
        if not dropout.active() or not len(x):
            return x
        if self.config.variational:
            what = dropout.draw(x[0])
            assert what is not None
            return drop(x, Drop(what.keys.expand(x.shape[:2]), what.rate))
        what = dropout.draw(x.transpose(0, 1))
        assert what is not None
        return drop(x, Drop(what.keys.t(), what.rate))

    def _apart(self, ids: Tensor, documents: Tensor) -> list[Tensor]:
        """Every layer (b, t, .) of packed rows, each document read as a row of its own."""
        t = ids.shape[1]
        changes = documents.diff(dim=1, prepend=documents.new_full((len(ids), 1), -1)) != 0
        starts = (changes & (documents >= 0)).flatten().nonzero()[:, 0]
        numbers = (changes & (documents >= 0)).flatten().cumsum(0) - 1  # the piece that each real place is in
        real = (documents >= 0).flatten().nonzero()[:, 0]
        piece, column = numbers[real], real - starts[numbers[real]]
        rows = ids.new_zeros(len(starts), int(column.max()) + 1)
        rows[piece, column] = ids.flatten()[real]
        with cut_rows(starts // t, documents.flatten()[starts]):
            layers, _ = self._layers(rows, None, None)
        found = []
        for x in layers:
            whole = x.new_zeros(ids.numel(), x.shape[-1]).index_copy(0, real, x[column, piece])
            found.append(whole.unflatten(0, (len(ids), t)))
        return found


def parameters_of(config: RecurrentConfig) -> int:
    """Numbers to learn of the body: v e, and for each layer g d (i + d + 1)."""
    sizes = config.layer_sizes()
    return config.vocab_size * config.table_size + sum(
        GATES[config.cell] * outputs * (inputs + outputs + 1) for inputs, outputs in pairwise(sizes))
