"""Embedding + Transformer: the body that all models of running text share."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.nn.attention import AttentionKind, Cache, Visibility
from polysemy.nn.dropout import flatten
from polysemy.nn.embedding import Embedding, EmbeddingConfig
from polysemy.nn.heads import HeadSizes
from polysemy.nn.local import Local
from polysemy.nn.pieces import Pieces
from polysemy.nn.position import Learned
from polysemy.nn.transformer import Transformer, TransformerConfig, fits_pieces

State = tuple[Tensor, ...]
"""What a causal body has read, as `advance` takes and gives it.

Every tensor has the rows in dimension 0, so that rows are selected, repeated and reordered by
`tuple(x[rows] for x in state)`.  A state is never changed: one may read on from it twice.
"""


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(Config):
    """What comes in and what is stacked on it."""

    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    transformer: TransformerConfig = field(default_factory=TransformerConfig)

    def head_sizes(self) -> HeadSizes:
        """What heads must know of this body."""
        hidden_size = self.transformer.hidden_size
        return HeadSizes(hidden_size=hidden_size, table_size=self.embedding.factor_size or hidden_size,
                         vocab_size=self.embedding.vocab_size, activation=self.transformer.activation,
                         norm_eps=self.transformer.norm_eps)

    def body(self) -> Encoder:
        """The body of this config."""
        return Encoder(self)

    @property
    def vocab_size(self) -> int:
        return self.embedding.vocab_size

    def with_vocabulary(self, vocab_size: int) -> EncoderConfig:
        """The same body for so many tokens."""
        return self.replace(embedding=self.embedding.replace(vocab_size=vocab_size))

    @property
    def num_layers(self) -> int:
        return self.transformer.num_layers

    @property
    def hidden_size(self) -> int:
        return self.transformer.hidden_size


class Encoded(NamedTuple):
    """All that one forward can show."""

    states: Tensor
    """(b, t, d) last states, as the heads see them"""
    layers: list[Tensor]
    """num_layers + 1 tensors (b, t, d): the embedding's output, then after each layer; the last is `states`"""
    weights: list[Tensor]
    """num_layers tensors (b, h, t, t): what each query (first t) looked at; empty unless asked for"""


class Encoder(nn.Module):
    """Token ids to contextual states."""

    stateful: ClassVar[bool] = False
    """training reads every row from its beginning"""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config.embedding, config.transformer.hidden_size)
        self.transformer = Transformer(config.transformer)

    @property
    def table(self) -> Float[Tensor, "v e"]:
        """Token vectors, which tied heads multiply by."""
        return self.embedding.token.weight

    def forward(self, ids: Int[Tensor, "b t"], positions: Int[Tensor, "b t"] | None = None,
                segments: Int[Tensor, "b t"] | None = None, documents: Int[Tensor, "b t"] | None = None,
                visible: Bool[Tensor, "b t"] | None = None, *, hidden_states: bool = False,
                attention: bool = False) -> Float[Tensor, "b t d"] | Encoded:
        """States; with `hidden_states` or `attention` an Encoded with what was asked for.

        Give `documents` (numbers, -1 at padding) for packed rows, or `visible` (False at padding) for one document
        a row, or neither when every token is real.  Padding changes nothing at the real places; what stands at the
        padding itself means nothing.
        """
        config = self.config.transformer
        visibility = Visibility.build(config.attention, documents, visible, causal=config.causal)
        layers: list[Tensor] | None = [] if hidden_states else None
        weights: list[Tensor] | None = [] if attention else None
        x = self.embedding(ids, positions, segments)
        x = self.transformer(x, visibility, positions, layers=layers, weights=weights)
        return Encoded(x, layers or [], weights or []) if hidden_states or attention else x

    def advance(self, ids: Int[Tensor, "b t"], state: State | None = None, lengths: Int[Tensor, "b"] | None = None
                ) -> tuple[Float[Tensor, "b t d"], State]:
        """States of what follows the text of `state` (None: nothing read yet), and the state after it.

        Only the first `lengths` columns of each row are read, all by default; what stands at the others means nothing.
        Causal bodies alone.  Token by token, in chunks or at once: the same numbers.  A state holds the position of
        every key (b, s), -1 where there is none, then keys and values (b, h, s, e) of each layer.
        """
        config = self.config.transformer
        if not config.causal:
            raise InputError("transformer.causal must be true to read on from a state, got false")
        columns = torch.arange(ids.shape[1], device=ids.device)[None]
        start = 0 if state is None else state[0].amax(1, keepdim=True) + 1
        positions = (start + columns).expand(ids.shape)
        read = positions if lengths is None else positions.where(columns < lengths[:, None], -1)
        self._check_room(read)
        keys = read if state is None else torch.cat([state[0], read], 1)
        # at the beginning padding needs no mask: it stands to the right of all that is real
        visibility = (Visibility.build(config.attention, causal=True) if state is None
                      else Visibility.reading_on(config.attention, keys, positions))
        before = state or (keys, *[None] * (2 * config.num_layers))
        caches = [Cache(*before[i:i + 2]) for i in range(1, len(before), 2)]
        x = self.embedding(ids, read.clamp(min=0))
        x = self.transformer.advance(x, visibility, positions, caches)
        parts = tuple(part for cache in caches for part in (cache.keys, cache.values) if part is not None)
        return x, _within_reach(config.attention, (keys, *parts))

    def _check_room(self, positions: Tensor) -> None:
        """InputError when a document outgrows a table of positions."""
        table = self.config.embedding.position
        if isinstance(table, Learned) and positions.numel() and int(positions.max()) >= table.max_positions:
            raise InputError(f"a document must be at most max_positions {table.max_positions} tokens long, got "
                             f"{int(positions.max()) + 1}; cut it, or train with a larger "
                             "model.embedding.position.max_positions")

    def open(self) -> bool:
        """Whether training can take the way of `at` (see `fits_pieces`)."""
        return fits_pieces(self.config.transformer, self.embedding.token.weight)

    def at(self, places: Int[Tensor, "k"], ids: Int[Tensor, "b t"], positions: Int[Tensor, "b t"],
           segments: Int[Tensor, "b t"] | None, documents: Int[Tensor, "b t"]) -> Float[Tensor, "k d"] | None:
        """The states at flat `places` (row * t + column, ascending) of real tokens: the numbers that `forward` gives.

        The fast way to train, where it is `open`: a flat list of the real tokens runs through the layers, and the last
        layer answers for `places` alone.  None when a document lies in a row in two parts.
        """
        found = Pieces.build(documents)
        if found is None:
            return None
        pieces, real = found
        pieces, tokens = pieces.filled(real)
        flatten(ids.shape[1], tokens)
        positions = positions.flatten()[tokens]
        x = self.embedding(ids.flatten()[tokens], positions, None if segments is None else segments.flatten()[tokens])
        at = torch.searchsorted(real, places)
        assert torch.equal(real[at.clamp(max=len(real) - 1)], places), "places must be of real tokens"
        return self.transformer.in_pieces(x, pieces, positions, at)


def _within_reach(kind: AttentionKind, state: State) -> State:
    """The state without the first columns that no row's next token can see."""
    if not isinstance(kind, Local):
        return state
    keys = state[0]
    after = keys.amax(1, keepdim=True) + 1
    first = int(((keys >= 0) & (keys >= after - kind.reach)).any(0).int().argmax())
    return (keys[:, first:], *(part[:, :, first:] for part in state[1:]))
