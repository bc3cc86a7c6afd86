"""Linformer (Wang et al. 2020): keys and values of a document are mixed along its length into `rank` of them.

K' = E K and V' = F V, then softmax(Q K'^T / sqrt(e)) V': time and memory grow with the length and not with its square.
A mixed key holds every position, so no mask over queries and keys exists: padding is emptied before the mixing,
documents that share a row are taken apart, and a causal model is impossible.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.nn.dropout import Drop, drop
from polysemy.nn.limits import check_size
from polysemy.nn.softmax import masked_softmax


@dataclass(frozen=True, kw_only=True)
class Linformer(Config):
    """Every query sees `rank` learned mixtures of all keys of its document; not for causal models."""

    length: int = 512
    """longest document in tokens"""
    rank: int = 128
    """mixtures that stand for the keys of a document"""
    sharing: Literal["none", "headwise", "key_value", "layerwise"] = "headwise"
    """none: matrices E and F for each head of each layer; headwise: E and F for each layer; key_value: one for each
    layer, E = F; layerwise: one for the whole model"""

    def check(self) -> None:
        check_size("length", self.length)
        check_size("rank", self.rank)
        if self.rank > self.length:
            raise InputError(f"attention.rank must be at most attention.length {self.length}, got {self.rank}; more "
                             "mixtures than keys say nothing new")


class Projection(nn.Module):
    """The matrices E and F, (heads * rank, length) each; one head where heads share, no F where it is E."""

    def __init__(self, config: Linformer, num_heads: int) -> None:
        super().__init__()
        self.config, self.num_heads = config, num_heads if config.sharing == "none" else 1
        shape = self.num_heads * config.rank, config.length
        self.key = nn.Parameter(torch.empty(shape))
        self.value = nn.Parameter(torch.empty(shape)) if config.sharing in ("none", "headwise") else None
        for weight in self.parameters():
            nn.init.normal_(weight, std=config.rank**-0.5)

    @torch.no_grad()
    def first_weights(self, generator: Callable[[str], torch.Generator]) -> list[Tensor]:
        """Normal numbers of variance 1 / rank (section 4), whatever the scheme of the rest."""
        for name, weight in self.named_parameters():
            weight.normal_(std=self.config.rank**-0.5, generator=generator(name))
        return list(self.parameters())

    def matrices(self, t: int) -> tuple[Float[Tensor, "#h r t"], Float[Tensor, "#h r t"]]:
        """E and F for documents of t tokens: their first t columns."""
        c = self.config
        if t > c.length:
            raise InputError(f"a document must be at most attention.length {c.length} tokens long for Linformer, got "
                             f"{t}; cut it, or train with a larger model.transformer.attention.length")
        key, value = (weight[:, :t].unflatten(0, (self.num_heads, -1))
                      for weight in (self.key, self.key if self.value is None else self.value))
        return key, value


class Documents:
    """The documents of packed rows, each in a row of its own: what to gather, and how to put it back.

    Numbers (b, t) count within the row, -1 at padding; a document may lie in several parts.
    """

    def __init__(self, numbers: Int[Tensor, "b t"]) -> None:
        self.shape = numbers.shape
        flat = numbers.flatten()
        tokens = (flat >= 0).nonzero()[:, 0]
        keys = tokens // numbers.shape[1] * (flat.max() + 1) + flat[tokens]
        keys, order = keys.sort(stable=True)
        counts = torch.unique_consecutive(keys, return_counts=True)[1]
        self.tokens = tokens[order]
        """(n,) flat places of the real tokens, document after document"""
        self.document = torch.arange(len(counts), device=numbers.device).repeat_interleave(counts)
        self.inside = torch.arange(len(tokens), device=numbers.device) - (counts.cumsum(0) - counts)[self.document]
        longest = int(counts.max()) if len(counts) else 0
        self.places = self.tokens.new_zeros(len(counts), longest)
        self.places[self.document, self.inside] = self.tokens
        self.real: Bool[Tensor, "n t"] = torch.zeros_like(self.places, dtype=torch.bool)
        self.real[self.document, self.inside] = True

    def rows(self, x: Float[Tensor, "b h t e"] | Int[Tensor, "b h t e"]) -> Tensor:
        """(n, h, longest, e), one document a row; something of another document stands at its padding."""
        return x.transpose(1, 2).flatten(0, 1)[self.places].transpose(1, 2)

    def back(self, y: Float[Tensor, "n h s e"]) -> Float[Tensor, "b h t e"]:
        """Where the tokens stood, 0 at padding."""
        b, t = self.shape
        found = y.transpose(1, 2)[self.document, self.inside]
        return y.new_zeros(b * t, *found.shape[1:]).index_copy(0, self.tokens, found).unflatten(0, (b, t)
                                                                                                ).transpose(1, 2)


def attend_linearly(heads: tuple[Tensor, Tensor, Tensor], projection: Projection, documents: Documents | None,
                    factor: float, dropped: Drop | None = None, weights: list[Tensor] | None = None
                    ) -> Float[Tensor, "b h t e"]:
    """Contexts of q, k, v (b, h, t, e); every row is one document unless `documents` takes them apart.

    To `weights` goes what each token's value is multiplied by, (b, h, t, t): it may be negative and need not add up
    to 1.
    """
    q, k, v = heads
    if documents is not None:
        q, k, v = (documents.rows(x) for x in heads)
        real = documents.real[:, None, :, None]
        k, v = k * real, v * real
        dropped = dropped and dropped._replace(keys=documents.rows(dropped.keys[..., None])[..., 0])
    key, value = projection.matrices(q.shape[2])
    k, v = key @ k, value @ v
    if dropped is None and weights is None:
        y = F.scaled_dot_product_attention(q, k, v, scale=factor)
    else:
        seen = masked_softmax(q @ k.transpose(-1, -2) * factor)
        if weights is not None:
            weights.append(_of_tokens(seen @ value.to(seen.dtype), documents))
        y = drop(seen, dropped).to(v.dtype) @ v
    return y if documents is None else documents.back(y)


def _of_tokens(seen: Tensor, documents: Documents | None) -> Tensor:
    """The weights (b, h, t, t) of weights (n, h, s, s) inside the documents."""
    if documents is None:
        return seen
    b, t = documents.shape
    found = seen.new_zeros(b, t, seen.shape[1], t)
    for document, real in enumerate(documents.real):
        places = documents.places[document, real]
        part = seen[document][:, real][:, :, real].transpose(0, 1)  # (s, h, s)
        found[places // t, places % t] = found[places // t, places % t].index_copy(2, places % t, part)
    return found.transpose(1, 2)
