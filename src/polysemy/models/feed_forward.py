"""The neural probabilistic language model (Bengio et al. 2003): vectors of the last words, side by side, into a layer.

    x = [C(w); C(w before); ...]                    the n - 1 tokens read last, the nearest first, vectors of m numbers
    y = b + W x + U tanh(d + H x)                   W, the direct connections, may be left out

The body makes [tanh(d + H x); x]; U and W side by side are the matrix of the next-token head, b is its bias.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.models.encoder import Encoded, State
from polysemy.nn.adaptive import check_cutoffs
from polysemy.nn.dropout import Dropout
from polysemy.nn.fused import look_up
from polysemy.nn.heads import HeadSizes
from polysemy.nn.limits import check_rate, check_size

if TYPE_CHECKING:
    from polysemy.text.tokenizer import Tokenizer

NOTHING = -1
"""the id of a place before the text, or in another document: a vector of zeros"""


@dataclass(frozen=True, kw_only=True)
class FeedForwardConfig(Config):
    """Sizes in the letters of the paper: n, m, h."""

    vocab_size: int = 8000
    order: int = 5
    """n: a token is predicted from the n - 1 before it"""
    embedding_size: int = 100
    """m: numbers a token vector"""
    inner_size: int = 200
    """h: tanh units; 0 leaves the direct connections alone"""
    direct: bool = False
    """W: connect the vectors with the output directly"""
    dropout: float = 0.0
    """on the tanh units (not in the paper)"""
    deviation: float = 0.1
    """of the first vectors; from 1 the tanh units bend at once, and pairs of words are learned sooner"""

    cutoffs: tuple[int, ...] = ()
    """adaptive softmax: tokens from each of these ids on form a cluster (nn/adaptive.py); none: one softmax for all"""

    def check(self) -> None:
        check_size("vocab_size", self.vocab_size)
        check_size("hidden_size", self.embedding_size)
        if self.cutoffs:
            check_cutoffs(self.cutoffs, self.vocab_size)
        if not 2 <= self.order <= 256:
            raise InputError(f"order must be in 2..256, got {self.order}")
        if self.inner_size < 0 or (self.inner_size == 0 and not self.direct):
            raise InputError(f"inner_size must be at least 1, got {self.inner_size}; 0 goes with direct=true only")
        check_rate("dropout", self.dropout)
        if not self.deviation > 0:
            raise InputError(f"deviation must be above 0, got {self.deviation}")

    def body(self) -> FeedForwardLM:
        """The body of this config."""
        return FeedForwardLM(self)

    def head_sizes(self) -> HeadSizes:
        """The output has a matrix of its own, [U W], and a bias."""
        return HeadSizes(hidden_size=self.hidden_size, table_size=self.embedding_size, vocab_size=self.vocab_size,
                         tied=False, output_bias=True, cutoffs=self.cutoffs)

    def with_vocabulary(self, vocab_size: int) -> FeedForwardConfig:
        """The same model for so many tokens; cutoffs beyond them fall away."""
        return self.replace(vocab_size=vocab_size, cutoffs=tuple(c for c in self.cutoffs if c < vocab_size))

    @property
    def context_size(self) -> int:
        """(n - 1) m, the width of x."""
        return (self.order - 1) * self.embedding_size

    @property
    def hidden_size(self) -> int:
        """The width of what the output reads."""
        return self.inner_size + (self.context_size if self.direct else 0)

    @property
    def num_layers(self) -> int:
        return 1

    def num_parameters(self) -> int:
        """V (1 + m + h) + h (1 + (n - 1) m), and V (n - 1) m direct ones: with them the paper's formula (section 2).

        Of a full softmax; clusters add a few.
        """
        return (self.vocab_size * (1 + self.embedding_size + self.hidden_size)
                + self.inner_size * (1 + self.context_size))


class FeedForwardLM(nn.Module):
    """Token ids to [tanh(d + H x); x] at every place, from the token there and the n - 2 before it."""

    stateful: ClassVar[bool] = False
    """training reads every row from its beginning"""

    def __init__(self, config: FeedForwardConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        self.inner = nn.Linear(config.context_size, config.inner_size) if config.inner_size else None
        self.dropout = Dropout(config.dropout)

    @property
    def table(self) -> Float[Tensor, "v m"]:
        """C, the token vectors."""
        return self.embedding.weight

    @torch.no_grad()
    def first_weights(self, generator: Callable[[str], torch.Generator]) -> list[Tensor]:
        """C normal, H uniform within the root of 1 / inputs."""
        std = self.config.deviation
        self.table.copy_(torch.empty(self.table.shape).normal_(std=std, generator=generator("table")))
        if self.inner is None:
            return [self.table]
        bound = self.config.context_size**-0.5
        weight = self.inner.weight
        weight.copy_(torch.empty(weight.shape).uniform_(-bound, bound, generator=generator("inner")))
        return [self.table, weight]

    def forward(self, ids: Int[Tensor, "b t"], positions: Int[Tensor, "b t"] | None = None,
                segments: Int[Tensor, "b t"] | None = None, documents: Int[Tensor, "b t"] | None = None,
                visible: Bool[Tensor, "b t"] | None = None, *, hidden_states: bool = False,
                attention: bool = False) -> Float[Tensor, "b t d"] | Encoded:
        """What the output reads at each place; with `hidden_states` an Encoded whose layers are x and that.

        Tokens of another document are as good as none; padding on the right changes nothing.
        """
        if attention:
            raise InputError("attention must not be asked of a feed-forward model, got true; it has none")
        context = _shifted(ids, ids.new_full((len(ids), self.config.order - 2), NOTHING))
        if documents is not None:
            numbers = _shifted(documents, documents.new_full((len(ids), self.config.order - 2), NOTHING))
            context = context.where(numbers == documents[..., None], NOTHING)
        x = self._vectors(context)
        states = self._inner(x)
        return Encoded(states, [x, states], []) if hidden_states else states

    def advance(self, ids: Int[Tensor, "b t"], state: State | None = None, lengths: Int[Tensor, "b"] | None = None
                ) -> tuple[Float[Tensor, "b t d"], State]:
        """What the output reads, given the text of `state` before (None: nothing read yet), and the state after it.

        A state is the last n - 2 ids (b, n - 2), -1 where there is none.  Only the first `lengths` columns are read.
        """
        kept = self.config.order - 2
        before = ids.new_full((len(ids), kept), NOTHING) if state is None else state[0]
        whole = torch.cat([before, ids], 1)
        ends = torch.full_like(ids[:, 0], ids.shape[1]) if lengths is None else lengths
        last = ends[:, None] + torch.arange(kept, device=ids.device)
        return self._inner(self._vectors(_shifted(ids, before))), (whole.gather(1, last),)

    def word_vectors(self, tokenizer: Tokenizer) -> tuple[list[str], np.ndarray]:
        """The words that are one piece inside a text, by id, and their rows of C, float32 (words, m)."""
        ids = tokenizer.ordinary_ids.tolist()
        names = [tokenizer.decode([number]).strip() for number in ids]
        twice = tokenizer.encode_batch([f"{name} {name}" for name in names])  # the second one has a space before it
        found: dict[str, int] = {}
        for number, name, encoding in zip(ids, names, twice, strict=True):
            if name and encoding.ids[-1] == number:
                found.setdefault(name, number)
        return list(found), self.table.detach().float().cpu().numpy()[list(found.values())]

    def _vectors(self, context: Int[Tensor, "b t n"]) -> Float[Tensor, "b t nm"]:
        x = look_up(self.table, context.clamp(min=0))
        return torch.where((context == NOTHING)[..., None], 0, x).flatten(2)

    def _inner(self, x: Tensor) -> Tensor:
        if self.inner is None:
            return x
        units = self.dropout(torch.tanh(self.inner(x)))
        return torch.cat([units, x], -1) if self.config.direct else units


def _shifted(values: Int[Tensor, "b t"], before: Int[Tensor, "b k"]) -> Int[Tensor, "b t n"]:
    """Each value and the k before it, the nearest first; `before` stands in front of the first."""
    return torch.cat([before, values], 1).unfold(1, before.shape[1] + 1, 1).flip(-1)
