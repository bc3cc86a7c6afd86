"""Embedding + Transformer: the body that all models of running text share."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polysemy.config import Config
from polysemy.nn.attention import Visibility
from polysemy.nn.dropout import flatten
from polysemy.nn.embedding import Embedding, EmbeddingConfig
from polysemy.nn.heads import HeadSizes
from polysemy.nn.pieces import Pieces
from polysemy.nn.transformer import Transformer, TransformerConfig, fits_pieces


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

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config.embedding, config.transformer.hidden_size)
        self.transformer = Transformer(config.transformer)

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
        pieces, tokens = found
        flatten(ids.shape[1], tokens)
        positions = positions.flatten()[tokens]
        x = self.embedding(ids.flatten()[tokens], positions, None if segments is None else segments.flatten()[tokens])
        at = torch.searchsorted(tokens, places)
        assert torch.equal(tokens[at.clamp(max=len(tokens) - 1)], places), "places must be of real tokens"
        return self.transformer.in_pieces(x, pieces, positions, at)
