"""Two language models side by side, one that reads forward and one that reads backward: ELMo's body.

The directions share what comes in (a table or the character network) and nothing else before the output.  Two stacks of
layers, and not one two-way LSTM with several: the second layer of that would read, at every place, what the first layer
of the other direction knows of the token that is to be predicted.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.models.encoder import Encoded
from polysemy.nn.characters import CharacterEncoder, Characters, frames
from polysemy.nn.dropout import Dropout
from polysemy.nn.fused import look_up
from polysemy.nn.heads import HeadSizes
from polysemy.nn.limits import check_rate, check_size
from polysemy.nn.projected_lstm import ProjectedLSTM, side_by_side


@dataclass(frozen=True, kw_only=True)
class Table(Config):
    """One learned vector for each token."""


@dataclass(frozen=True, kw_only=True)
class BidirectionalConfig(Config):
    """What comes in and what is stacked on it, in each direction."""

    vocab_size: int = 8000
    input: Table | Characters = field(default_factory=Table)
    """a vector for each token (table), or one made from the bytes of the token's text (characters)"""
    num_layers: int = 2
    cell_size: int = 512
    """width of the cells of each direction"""
    projection_size: int = 128
    """width of what a direction gives out; the states are twice as wide"""
    residual: bool = True
    """add each layer's input to its output, the first layer's excepted"""
    cell_clip: float | None = None
    """cells are held within +-this; none: they are free"""
    projection_clip: float | None = None
    """outputs are held within +-this before the residual is added; none: they are free"""
    dropout: float = 0.0
    """on the input of every layer and on the states that are predicted from"""
    tied: bool = True
    """predict with the input table; with characters, or when false, the output has a table of its own"""

    def check(self) -> None:
        for name in ("vocab_size", "num_layers"):
            check_size(name, getattr(self, name))
        for name in ("cell_size", "projection_size"):
            if not 1 <= getattr(self, name) <= 2**16:
                raise InputError(f"{name} must be in 1..{2**16}, got {getattr(self, name)}")
        for name in ("cell_clip", "projection_clip"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} must be above 0 or none, got {value}")
        check_rate("dropout", self.dropout)

    @property
    def hidden_size(self) -> int:
        """Width of the states: both directions."""
        return 2 * self.projection_size

    @property
    def shares_table(self) -> bool:
        """Whether the table that predicts is the one that reads."""
        return self.tied and isinstance(self.input, Table)

    def body(self) -> Bidirectional:
        """The body of this config."""
        return Bidirectional(self)

    def with_vocabulary(self, vocab_size: int) -> BidirectionalConfig:
        """The same body for so many tokens."""
        return self.replace(vocab_size=vocab_size)

    def head_sizes(self) -> HeadSizes:
        """What heads must know: each reads one half of the states, and all multiply by the body's `table`."""
        return HeadSizes(hidden_size=self.projection_size, table_size=self.projection_size, vocab_size=self.vocab_size,
                         output_bias=True)


class Bidirectional(nn.Module):
    """Token ids to states [forward; backward], each of a direction that has not seen beyond its own token.

    The forward half at column k is a function of the tokens up to k of the same document and serves to predict k + 1;
    the backward half of those from k on, and serves to predict k - 1.  Both halves contain token k itself.
    """

    stateful: ClassVar[bool] = False
    """training reads every row from its beginning"""

    def __init__(self, config: BidirectionalConfig) -> None:
        super().__init__()
        self.config = config
        size = config.projection_size
        if isinstance(config.input, Characters):
            self.characters, self.token = CharacterEncoder(config.input, size), None
        else:
            self.characters, self.token = None, nn.Embedding(config.vocab_size, size)
        self.output = None if config.shares_table else nn.Embedding(config.vocab_size, size)
        self.forward_layers, self.backward_layers = (
            nn.ModuleList(ProjectedLSTM(size, config.cell_size, size, cell_clip=config.cell_clip,
                                        projection_clip=config.projection_clip) for _ in range(config.num_layers))
            for _ in range(2))
        self.dropout = Dropout(config.dropout)
        self.register_buffer("symbols", None, persistent=False)

    @property
    def table(self) -> Float[Tensor, "v p"]:
        """What both heads multiply by: one softmax for both directions, as published."""
        table = self.token if self.output is None else self.output
        assert table is not None
        return table.weight

    @torch.no_grad()
    def first_weights(self, generator: Callable[[str], torch.Generator]) -> list[Tensor]:
        """Tables with deviation width**-0.5; returns the parameters that are done, here not those of the layers."""
        done: list[Tensor] = []
        for name, table in (("token", self.token), ("output", self.output)):
            if table is not None:
                weight = table.weight
                std = weight.shape[1] ** -0.5
                weight.copy_(torch.empty(weight.shape).normal_(std=std, generator=generator(name)))
                done.append(weight)
        return done

    # the text of the tokens

    def set_pieces(self, pieces: Sequence[str]) -> None:
        """The text of each token id, which the character input reads; a body with a table needs none and ignores it.

        It is not part of the weights: whoever builds or loads the body gives it the tokenizer's vocabulary.
        """
        if len(pieces) > self.config.vocab_size:
            raise InputError(f"pieces must be at most vocab_size {self.config.vocab_size}, got {len(pieces)}")
        if self.characters is not None:
            self.symbols = frames(pieces).to(self.characters.byte.device)

    def vectors_of(self, words: Sequence[str]) -> Float[Tensor, "n p"]:
        """The vectors of any strings from their own bytes, in the vocabulary or not; InputError of a body with a table.

        Together with `read` this is how text beyond the vocabulary is given states.
        """
        if self.characters is None:
            raise InputError("model.input must be characters for vectors of words beyond the vocabulary, got table")
        return self.characters(frames(words).to(self.characters.byte.device))

    def vectors(self, ids: Int[Tensor, "b t"]) -> Float[Tensor, "b t p"]:
        """Layer 0, one direction wide: what the token is, whatever stands around it."""
        if self.token is not None:
            return look_up(self.token.weight, ids)
        assert self.characters is not None
        if not isinstance(self.symbols, Tensor):
            raise InputError("characters must know the text of each token, got none; "
                             "call set_pieces(tokenizer.vocabulary) after building or loading the body")
        distinct, places = ids.unique(return_inverse=True)
        if len(distinct) and int(distinct[-1]) >= len(self.symbols):
            raise InputError(f"ids must be 0 to {len(self.symbols) - 1}, got {int(distinct[-1])}")
        return look_up(self.characters(self.symbols[distinct]), places)

    # states

    def forward(self, ids: Int[Tensor, "b t"], positions: Int[Tensor, "b t"] | None = None,
                segments: Int[Tensor, "b t"] | None = None, documents: Int[Tensor, "b t"] | None = None,
                visible: Bool[Tensor, "b t"] | None = None, *, hidden_states: bool = False,
                attention: bool = False) -> Float[Tensor, "b t d"] | Encoded:
        """States (b, t, 2 projection_size); with `hidden_states` an Encoded with every layer's.

        `documents` (numbers, -1 at padding) or `visible` (False at padding) as everywhere.  Every document is read as
        if it stood alone, its own mark at its beginning and the next document's at its end: that mark says to each
        direction that nothing is known.  (So the backward half at a mark between two is of the document before it.)
        Positions and segments mean nothing to a body that reads in order.
        """
        if attention:
            raise InputError("attention must not be asked of a recurrent model, got true; it has none")
        return self.read(self.vectors(ids), documents, visible, hidden_states=hidden_states)

    def read(self, x: Float[Tensor, "b t p"], documents: Int[Tensor, "b t"] | None = None,
             visible: Bool[Tensor, "b t"] | None = None, *, hidden_states: bool = False
             ) -> Float[Tensor, "b t d"] | Encoded:
        """`forward` from token vectors on.

        Layer 0 of an Encoded is the token vector twice, layer j the outputs of both directions at depth j.
        """
        numbers = documents if documents is not None or visible is None else visible.long() - 1
        begins, ends = (None, None) if numbers is None else borders(numbers)
        layers = [torch.cat([x, x], -1)]
        ahead = back = x
        for depth, pair in enumerate(zip(self.forward_layers, self.backward_layers, strict=True)):
            ahead, back = self.dropout(ahead), self.dropout(back)
            found = side_by_side(pair, [ahead, back.flip(1)], [begins, ends])  # pyright: ignore[reportArgumentType]
            joins = self.config.residual and depth > 0
            ahead, back = (x + y if joins else y for x, y in
                           ((ahead, found[0]), (back, found[1].flip(1))))
            layers.append(torch.cat([ahead, back], -1))
        states = self.dropout(layers[-1])
        return Encoded(states, layers, []) if hidden_states else states


def borders(documents: Int[Tensor, "b t"]) -> tuple[Bool[Tensor, "b t"], Bool[Tensor, "b t"]]:
    """Where the forward direction begins anew, and where the backward one does, in its own order (columns reversed).

    Backward, a document begins with the mark of the document after it.
    """
    changes = documents[:, 1:] != documents[:, :-1]
    edge = torch.ones_like(documents[:, :1], dtype=torch.bool)
    padding = documents < 0
    last = torch.cat([changes & (padding[:, 1:] | padding[:, :-1]), edge], 1)
    mark = torch.cat([~edge, changes & ~padding[:, 1:] & ~padding[:, :-1]], 1)
    return torch.cat([edge, changes], 1), (last | mark).flip(1)
