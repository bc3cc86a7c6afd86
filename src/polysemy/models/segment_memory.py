"""A causal Transformer that remembers: what every layer read in earlier segments stands before its keys.

Transformer-XL's body (Dai et al. 2019, section 3.2).  The memory is an explicit state without gradients.  It is the
inputs of every layer as they were, not a summary of them, so what has left the memory is seen through upper layers
alone.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.models.encoder import Encoded, State
from polysemy.nn.attention import Full
from polysemy.nn.dropout import Dropout
from polysemy.nn.embedding import Embedding, EmbeddingConfig
from polysemy.nn.fused import LayerNorm
from polysemy.nn.heads import HeadSizes
from polysemy.nn.limits import check_size
from polysemy.nn.relative import RelativeAttention, ScoreBiases, distances, remembered, sight
from polysemy.nn.transformer import FeedForward, Sublayer, TransformerConfig


@dataclass(frozen=True, kw_only=True)
class SegmentMemoryConfig(Config):
    """Stack and memory; order is in the scores, so the embedding has no positions."""

    embedding: EmbeddingConfig = field(default_factory=lambda: EmbeddingConfig(position=None, norm=False))
    transformer: TransformerConfig = field(default_factory=lambda: TransformerConfig(causal=True))
    memory: int = 128
    """tokens that every layer keeps while training; 0 remembers nothing"""
    evaluation_memory: int | None = None
    """tokens that every layer keeps in use; none means as many as in training"""
    same_length: bool = True
    """in use every token sees exactly so many tokens before it, wherever a segment begins; false: the memory and its
    own segment, as in training"""
    clamp_length: int | None = None
    """in use distances beyond this count as this"""
    untied: bool = False
    """biases of the scores for each layer; false: one pair for all"""
    output_bias: bool = True
    """the next-token head adds a number a token"""

    def check(self) -> None:
        for name in ("memory", "evaluation_memory", "clamp_length"):
            check_size("memory", getattr(self, name))
        c = self.transformer
        if not c.causal:
            raise InputError("transformer.causal must be true with a memory, got false")
        if not isinstance(c.attention, Full):
            raise InputError(f"transformer.attention must be full with a memory, got {type(c.attention).__name__}; "
                             "memory and evaluation_memory say how far it sees")
        for name, value in (("transformer.distance", c.distance), ("embedding.position", self.embedding.position),
                            ("transformer.num_groups", c.num_groups)):
            if value is not None:
                raise InputError(f"{name} must be none with a memory, got {value}; distances are in the scores")
        if c.cross_attention or c.scale != "sqrt":
            raise InputError("transformer must have no cross_attention and scale sqrt with a memory, got "
                             f"{c.cross_attention} and {c.scale}")

    def body(self) -> SegmentMemory:
        """The body of this config."""
        return SegmentMemory(self)

    def head_sizes(self) -> HeadSizes:
        """What heads must know of this body."""
        c = self.transformer
        return HeadSizes(hidden_size=c.hidden_size, table_size=self.embedding.factor_size or c.hidden_size,
                         vocab_size=self.vocab_size, activation=c.activation, norm_eps=c.norm_eps,
                         output_bias=self.output_bias)

    @property
    def vocab_size(self) -> int:
        return self.embedding.vocab_size

    def with_vocabulary(self, vocab_size: int) -> SegmentMemoryConfig:
        """The same body for so many tokens."""
        return self.replace(embedding=self.embedding.replace(vocab_size=vocab_size))

    @property
    def num_layers(self) -> int:
        return self.transformer.num_layers

    @property
    def hidden_size(self) -> int:
        return self.transformer.hidden_size


class Run(NamedTuple):
    """What one run through the layers gives: the inputs of every layer and the last states, and weights if asked."""

    layers: list[Tensor]
    weights: list[Tensor]


class SegmentMemory(nn.Module):
    """Token ids to states, each of which sees its segment up to itself and the memory of what was before.

    A state is the number of tokens remembered (b,), then for each layer the inputs (b, m, d) that it remembers, the
    newest last.
    """

    stateful: ClassVar[bool] = True
    """training carries the memory from batch to batch"""

    def __init__(self, config: SegmentMemoryConfig) -> None:
        super().__init__()
        self.config = config
        c = config.transformer
        self.embedding = Embedding(config.embedding, c.hidden_size)
        self.attention = nn.ModuleList(
            Sublayer(RelativeAttention(c.hidden_size, c.num_heads, dropout=c.attention_dropout), c)
            for _ in range(c.num_layers))
        self.feed_forward = nn.ModuleList(Sublayer(FeedForward(c.hidden_size, c.intermediate_size, c.activation), c)
                                          for _ in range(c.num_layers))
        self.biases = nn.ModuleList(ScoreBiases(c.num_heads, c.head_size)
                                    for _ in range(c.num_layers if config.untied else 1))
        self.final_norm = LayerNorm(c.hidden_size, c.norm_eps) if c.norm == "pre" else nn.Identity()
        self.dropout = Dropout(c.dropout)

    @property
    def table(self) -> Float[Tensor, "v e"]:
        """Token vectors, which tied heads multiply by."""
        return self.embedding.token.weight

    @property
    def memory(self) -> int:
        """Tokens that a layer keeps now: training and use may differ."""
        c = self.config
        return c.memory if self.training or c.evaluation_memory is None else c.evaluation_memory

    def forward(self, ids: Int[Tensor, "b t"], positions: Int[Tensor, "b t"] | None = None,
                segments: Int[Tensor, "b t"] | None = None, documents: Int[Tensor, "b t"] | None = None,
                visible: Bool[Tensor, "b t"] | None = None, *, hidden_states: bool = False,
                attention: bool = False) -> Float[Tensor, "b t d"] | Encoded:
        """States of one segment with nothing remembered; with `hidden_states` or `attention` an Encoded.

        Distances are counted in columns: positions say nothing.  Documents (numbers, -1 at padding) do not look into
        each other; padding under `visible` stands on the right, where no real token sees it.
        """
        mask = self._sight(ids.shape[1], ids.shape[1], ids.device)
        if documents is not None:
            same = (documents[:, :, None] == documents[:, None, :]) & (documents >= 0)[:, None, :]
            mask = mask & same[:, None]
        run = self._run(ids, segments, None, mask, attention)
        states = run.layers[-1]
        return Encoded(states, run.layers, run.weights) if hidden_states or attention else states

    def advance(self, ids: Int[Tensor, "b t"], state: State | None = None, lengths: Int[Tensor, "b"] | None = None
                ) -> tuple[Float[Tensor, "b t d"], State]:
        """States of what follows the text of `state` (None: nothing read yet), and the memory after it.

        Only the first `lengths` columns of each row are read, all by default; what stands at the others means nothing.
        With `same_length` and a memory above 0 the cuts into segments change nothing in use.
        """
        b, t = ids.shape
        if state is None:
            empty = self.table.new_zeros(b, 0, self.config.hidden_size)
            state = (torch.zeros(b, dtype=torch.long, device=ids.device), *[empty] * self.config.num_layers)
        count, memories = state[0], state[1:]
        m = memories[0].shape[1]
        there = torch.arange(m + t, device=ids.device) >= m - count[:, None]
        run = self._run(ids, None, memories, self._sight(t, m + t, ids.device) & there[:, None, None, :], False)
        new = tuple(remembered(memory, x, lengths, self.memory)
                    for memory, x in zip(memories, run.layers[:-1], strict=True))
        count = (count + (t if lengths is None else lengths)).clamp(max=new[0].shape[1])
        return run.layers[-1], (count, *new)

    def _sight(self, t: int, s: int, device: torch.device) -> Tensor:
        """(1, 1, t, s)"""
        same = self.config.same_length and not self.training and self.memory > 0
        return sight(t, s, device, self.memory if same else None)[None, None]

    def _run(self, ids: Tensor, segments: Tensor | None, memories: State | None, mask: Tensor, attention: bool) -> Run:
        x = self.embedding(ids, None, segments)
        longest = None if self.training else self.config.clamp_length
        waves = distances(mask.shape[-1], x.shape[-1], x, longest)
        weights: list[Tensor] | None = [] if attention else None
        layers = []
        for i in range(self.config.num_layers):
            layers.append(x)
            sublayer, biases = self.attention[i], self.biases[i % len(self.biases)]
            assert isinstance(sublayer, Sublayer)
            memory = None if memories is None else memories[i].to(x.dtype)
            if memory is not None and sublayer.norm_first:
                memory = sublayer.norm(memory)
            x = self.feed_forward[i](sublayer(x, memory, waves, biases, mask, weights))
        return Run([*layers, self.dropout(self.final_norm(x))], weights or [])
