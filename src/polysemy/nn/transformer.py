"""The one Transformer: sublayers, each with a residual and a norm, stacked and shared as the config says."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.nn import kernels
from polysemy.nn.attention import EVERYTHING, Attention, AttentionKind, Cache, Full, Scale, Visibility
from polysemy.nn.dropout import Dropout, only
from polysemy.nn.fused import LayerNorm, activate, add, add_norm, apart, attention_fits
from polysemy.nn.limits import check_rate, check_size
from polysemy.nn.linformer import Linformer, Projection
from polysemy.nn.local import Local
from polysemy.nn.pieces import Pieces
from polysemy.nn.position import Rotary, Rotation, rotation

ActivationName = Literal["gelu", "gelu_tanh", "quick_gelu", "relu"]
Initializer = Literal["bert", "gpt2", "t5", "xavier"]


class Activation(nn.Module):
    """gelu (erf), gelu_tanh (its approximation: Google's BERT, ALBERT, GPT-2), quick_gelu (CLIP) or relu."""

    def __init__(self, name: ActivationName) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return activate(x, None, self.name)


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(Config):
    """Independent choices (attention, causal, distance, norm, sharing, ...) and the sizes."""

    hidden_size: int = 256
    num_layers: int = 4
    num_heads: int = 4
    intermediate_size: int = 1024
    """width inside the feed-forward part"""
    activation: ActivationName = "gelu"
    attention: AttentionKind = field(default_factory=Full)
    """which positions a query may look at"""
    causal: bool = False
    """a position sees itself and what is before it"""
    distance: Rotary | None = None
    """order inside the attention; order added to the input belongs to the embedding"""
    norm: Literal["post", "pre"] = "post"
    """post: norm(x + f(x)), the original and BERT; pre: x + f(norm(x)) and a final norm, GPT-2"""
    num_groups: int | None = None
    """layers of one group share weights: 1 is ALBERT; none means that each layer has its own"""
    share: Literal["all", "attention", "feed_forward", "none"] = "all"
    """what the layers of one group share; each norm goes with its sublayer"""
    cross_attention: bool = False
    """a sublayer between the two others that looks at a source"""
    dropout: float = 0.1
    """on each sublayer's output"""
    attention_dropout: float = 0.1
    """on the attention weights"""
    norm_eps: float = 1e-5
    scale: Scale = "sqrt"
    """scores divided by the root of the head size, or not; none goes with initializer t5"""
    initializer: Initializer = "bert"

    def check(self) -> None:
        for name in ("hidden_size", "num_layers", "num_heads", "intermediate_size"):
            check_size(name, getattr(self, name))
        if self.hidden_size % self.num_heads:
            raise InputError(f"hidden_size must be a multiple of num_heads, got {self.hidden_size} and "
                             f"{self.num_heads}")
        if self.distance is not None and self.head_size % 2:
            raise InputError(f"hidden_size / num_heads must be even for rotary positions, got {self.head_size}")
        if self.causal and isinstance(self.attention, Linformer):
            raise InputError("attention must be full or local for a causal model, got linformer; each of its keys "
                             "holds every position")
        if self.num_groups is not None and not 1 <= self.num_groups <= self.num_layers:
            raise InputError(f"num_groups must be in 1..num_layers ({self.num_layers}), got {self.num_groups}")
        check_rate("dropout", self.dropout)
        check_rate("attention_dropout", self.attention_dropout)
        if not 0 < self.norm_eps < 1:
            raise InputError(f"norm_eps must be above 0 and below 1, got {self.norm_eps}")

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.num_heads

    def copies(self, part: Literal["attention", "feed_forward"]) -> int:
        """How many sets of weights that sublayer has over all layers."""
        shared = self.num_groups is not None and self.share in ("all", part)
        return self.num_groups if shared and self.num_groups else self.num_layers


class FeedForward(nn.Module):
    """down(activation(up(x)))."""

    def __init__(self, hidden_size: int, intermediate_size: int, activation: ActivationName) -> None:
        super().__init__()
        self.up = nn.Linear(hidden_size, intermediate_size)
        self.activation = Activation(activation)
        self.down = nn.Linear(intermediate_size, hidden_size)

    def forward(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        return self.output(self.inside(x))

    def inside(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n f"]:
        """What the last projection takes."""
        return activate(*apart(self.up, x), self.activation.name)

    @property
    def output(self) -> nn.Linear:
        """The last projection."""
        return self.down


class Sublayer(nn.Module):
    """One inner part with its residual, dropout and norm: the one rule for all of them."""

    def __init__(self, inner: nn.Module, config: TransformerConfig) -> None:
        super().__init__()
        self.inner = inner
        self.norm = LayerNorm(config.hidden_size, config.norm_eps)
        self.dropout = Dropout(config.dropout)
        self.norm_first = config.norm == "pre"

    def forward(self, x: Float[Tensor, "*n d"], *rest: object) -> Float[Tensor, "*k d"]:
        """`rest` goes to the inner part; when that answers for some tokens only (`Pieces.at`), so does this."""
        inner: Any = self.inner
        y, bias = apart(inner.output, inner.inside(self.norm(x) if self.norm_first else x, *rest))
        if rest and isinstance(rest[0], Pieces) and rest[0].at is not None:
            x = x[rest[0].at]
        dropped = self.dropout.draw(y)
        return add(x, y, bias, dropped) if self.norm_first else add_norm(x, y, bias, self.norm, dropped)


class Block(NamedTuple):
    """The sublayers that one layer runs, in order; layers of one group hold the same objects."""

    attention: Sublayer
    cross_attention: Sublayer | None
    feed_forward: Sublayer


class Source(NamedTuple):
    """What cross-attention looks at: states (b, s, d) of an encoder and which of them may be seen."""

    states: Tensor
    visibility: Visibility = EVERYTHING


class Transformer(nn.Module):
    """Layers in order, then a final norm when sublayers norm first.

    Weights that layers share exist once: `attention[g]` and `feed_forward[g]` serve every layer of group g.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        c = self.config = config
        kinds = [c.attention] * c.copies("attention")
        self.attention = nn.ModuleList(self._attention(kind) for kind in kinds)
        self.cross_attention = nn.ModuleList(self._attention(Full()) for _ in kinds if c.cross_attention)
        self.feed_forward = nn.ModuleList(
            Sublayer(FeedForward(c.hidden_size, c.intermediate_size, c.activation), c)
            for _ in range(c.copies("feed_forward")))
        one = isinstance(c.attention, Linformer) and c.attention.sharing == "layerwise"
        self.projection = Projection(c.attention, c.num_heads) if one and isinstance(c.attention, Linformer) else None
        self.final_norm = LayerNorm(c.hidden_size, c.norm_eps) if c.norm == "pre" else nn.Identity()

    def _attention(self, kind: AttentionKind) -> Sublayer:
        c = self.config
        return Sublayer(Attention(c.hidden_size, c.num_heads, kind, dropout=c.attention_dropout, scale=c.scale), c)

    def blocks(self) -> Iterator[Block]:
        """The sublayers of each layer, shared ones as often as they are used (layer i: group i * groups // layers)."""
        n = self.config.num_layers
        for i in range(n):
            attention, cross, feed_forward = (parts[i * len(parts) // n] if len(parts) else None for parts in
                                              (self.attention, self.cross_attention, self.feed_forward))
            assert isinstance(attention, Sublayer)
            assert isinstance(feed_forward, Sublayer)
            yield Block(attention, cross if isinstance(cross, Sublayer) else None, feed_forward)

    def forward(self, x: Float[Tensor, "b t d"], visibility: Visibility = EVERYTHING,
                positions: Int[Tensor, "#b t"] | None = None, source: Source | None = None,
                layers: list[Tensor] | None = None, weights: list[Tensor] | None = None) -> Float[Tensor, "b t d"]:
        """Last states.  `positions` serve rotary positions alone (0, 1, ... by default).

        Lists collect on the way: `layers` the states before the first and after every layer (the last with the final
        norm), `weights` the self-attention weights (b, h, t, s) of every layer.
        """
        turn = self._turn(x, positions)
        if self.projection is not None:
            visibility = replace(visibility, projection=self.projection)
        for block in self.blocks():
            if layers is not None:
                layers.append(x)
            x = block.attention(x, visibility, None, turn, weights)
            if block.cross_attention is not None and source is not None:
                x = block.cross_attention(x, source.visibility, source.states)
            x = block.feed_forward(x)
        x = self.final_norm(x)
        if layers is not None:
            layers.append(x)
        return x

    def advance(self, x: Float[Tensor, "b t d"], visibility: Visibility, positions: Int[Tensor, "b t"],
                caches: Sequence[Cache], source: Source | None = None) -> Float[Tensor, "b t d"]:
        """Last states of what follows the text that `caches` (one a layer) hold; they then hold it too."""
        turn = self._turn(x, positions)
        for block, cache in zip(self.blocks(), caches, strict=True):
            x = block.attention(x, visibility, None, turn, None, cache)
            if block.cross_attention is not None and source is not None:
                x = block.cross_attention(x, source.visibility, source.states)
            x = block.feed_forward(x)
        return self.final_norm(x)

    def _turn(self, x: Tensor, positions: Tensor | None) -> Rotation | None:
        """Rotary positions of this forward, where the config has them."""
        if self.config.distance is None:
            return None
        if positions is None:
            positions = torch.arange(x.shape[1], device=x.device)[None]
        return rotation(self.config.distance, positions, self.config.head_size, x.dtype)

    def in_pieces(self, x: Float[Tensor, "n d"], pieces: Pieces, positions: Int[Tensor, "n"],
                  at: Int[Tensor, "k"] | None = None) -> Float[Tensor, "k d"]:
        """Last states of a flat list of tokens, of those `at` (ascending) alone; the same numbers as `forward` gives.

        `positions` serve rotary positions.  The last layer asks for nothing but those `at`, unless they are all there
        are: their queries, and what follows.
        """
        kind = self.config.attention
        pieces = pieces.within(causal=self.config.causal, reach=kind.reach if isinstance(kind, Local) else None)
        if self.config.distance is not None:
            pieces = pieces.turned(self.config.distance, positions, self.config.head_size)
        for number, block in enumerate(self.blocks(), 1):
            if at is not None and len(at) < len(x) and number == self.config.num_layers:
                pieces = pieces.of(at)
                only(at)
            x = block.feed_forward(block.attention(x, pieces))
        return self.final_norm(x)


def fits_pieces(config: TransformerConfig, weight: Tensor) -> bool:
    """Whether training can run on a flat list of tokens: a full or local attention that the kernel can do."""
    plain = isinstance(config.attention, Full | Local) and not config.cross_attention
    return (plain and kernels.for_training(weight)
            and attention_fits(weight, config.head_size))
