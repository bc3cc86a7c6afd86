"""What stands on top of a body: each head reads states at given places and gives logits.

Places are flat indices into the batch (row * t + column), so that a head computes nothing it is not asked for.
Heads that predict tokens are tied: they multiply by the token table of the body, which is handed to each call.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from polysemy.nn.adaptive import AdaptiveSoftmax
from polysemy.nn.cross_entropy import linear_cross_entropy
from polysemy.nn.fused import LayerNorm, activate, apart
from polysemy.nn.transformer import Activation, ActivationName

MAX_SPAN = 20
"""longest distance from the left border that has an own vector in the span-boundary head"""
SPAN_POSITION_SIZE = 200


@dataclass(frozen=True, kw_only=True)
class HeadSizes:
    """What a head must know of its body."""

    hidden_size: int
    table_size: int
    """width of the token table: hidden_size, or factor_size where there is one"""
    vocab_size: int
    activation: ActivationName = "gelu"
    norm_eps: float = 1e-5
    tied: bool = True
    """the next-token head multiplies by the body's table, not by a matrix of its own"""
    output_bias: bool = False
    """the next-token head adds a number a token"""
    cutoffs: tuple[int, ...] = ()
    """the next-token head predicts in clusters of falling frequency that begin at these ids (nn/adaptive.py)"""


def pick(states: Float[Tensor, "*n d"], at: Int[Tensor, "k"]) -> Float[Tensor, "k d"]:
    """The states at flat indices; of rows (b, t, d), or of a list (n, d) that holds only what is asked for."""
    return states.flatten(0, -2).index_select(0, at)


class MaskedLMHead(nn.Module):
    """Which token stands at a place: dense, activation, norm, the tied table and a bias (Devlin et al. 2019)."""

    def __init__(self, sizes: HeadSizes) -> None:
        super().__init__()
        self.dense = nn.Linear(sizes.hidden_size, sizes.table_size)
        self.activation = Activation(sizes.activation)
        self.norm = LayerNorm(sizes.table_size, sizes.norm_eps)
        self.bias = nn.Parameter(torch.zeros(sizes.vocab_size))

    def features(self, states: Float[Tensor, "*n d"], at: Int[Tensor, "k"]) -> Float[Tensor, "k e"]:
        """What the table is multiplied by."""
        return self.norm(activate(*apart(self.dense, pick(states, at)), self.activation.name))

    def forward(self, states: Float[Tensor, "*n d"], at: Int[Tensor, "k"],
                table: Float[Tensor, "v e"]) -> Float[Tensor, "k v"]:
        """Logits at the places `at`."""
        return F.linear(self.features(states, at), table, self.bias)


class PairHead(nn.Module):
    """How two segments relate, read at [CLS]: pooler (dense, tanh), then two logits.

    Next sentence: 0 is next, 1 is random.  Sentence order: 0 in order, 1 swapped.
    """

    def __init__(self, sizes: HeadSizes) -> None:
        super().__init__()
        self.pooler = nn.Linear(sizes.hidden_size, sizes.hidden_size)
        self.classifier = nn.Linear(sizes.hidden_size, 2)

    def pooled(self, states: Float[Tensor, "*n d"], at: Int[Tensor, "p"]) -> Float[Tensor, "p d"]:
        """The pooled state that classifiers read."""
        return torch.tanh(self.pooler(pick(states, at)))

    def forward(self, states: Float[Tensor, "*n d"], at: Int[Tensor, "p"]) -> Float[Tensor, "p 2"]:
        """Logits of the pairs whose [CLS] stand at `at`."""
        return self.classifier(self.pooled(states, at))


class SpanBoundaryHead(nn.Module):
    """Tokens of a hidden span from its two borders and the place in the span (Joshi et al. 2020, section 3.2).

    Never reads the states of the span itself.  The table is tied, the bias its own.
    """

    def __init__(self, sizes: HeadSizes) -> None:
        super().__init__()
        self.position = nn.Embedding(MAX_SPAN, SPAN_POSITION_SIZE)
        self.dense = nn.Linear(2 * sizes.hidden_size + SPAN_POSITION_SIZE, sizes.hidden_size)
        self.dense_norm = LayerNorm(sizes.hidden_size, sizes.norm_eps)
        self.output = nn.Linear(sizes.hidden_size, sizes.table_size)
        self.output_norm = LayerNorm(sizes.table_size, sizes.norm_eps)
        self.activation = Activation(sizes.activation)
        self.bias = nn.Parameter(torch.zeros(sizes.vocab_size))

    def features(self, states: Float[Tensor, "*n d"], left: Int[Tensor, "s"], right: Int[Tensor, "s"],
                 offset: Int[Tensor, "s"]) -> Float[Tensor, "s e"]:
        """What the table is multiplied by; `offset` counts from 1 at the first token of the span, at most MAX_SPAN."""
        borders = (pick(states, left), pick(states, right), self.position(offset - 1))
        x = self.dense_norm(self.activation(self.dense(torch.cat(borders, -1))))
        return self.output_norm(self.activation(self.output(x)))

    def forward(self, states: Float[Tensor, "*n d"], left: Int[Tensor, "s"], right: Int[Tensor, "s"],
                offset: Int[Tensor, "s"], table: Float[Tensor, "v e"]) -> Float[Tensor, "s v"]:
        """Logits of each span token."""
        return F.linear(self.features(states, left, right, offset), table, self.bias)


class NextTokenHead(nn.Module):
    """Which token comes next: the state times the tied table, or times a matrix of its own; a bias if asked for.

    A body whose states are not as wide as its table gets a projection between them (Press and Wolf 2017 tie the two).
    With `cutoffs` the tokens are predicted in clusters, and what stands for logits are log-probabilities already.
    """

    def __init__(self, sizes: HeadSizes) -> None:
        super().__init__()
        narrow = sizes.tied and sizes.hidden_size != sizes.table_size
        self.projection = nn.Linear(sizes.hidden_size, sizes.table_size, bias=False) if narrow else nn.Identity()
        self.adaptive = None
        if sizes.cutoffs:
            size = sizes.table_size if sizes.tied else sizes.hidden_size
            self.adaptive = AdaptiveSoftmax(size, sizes.vocab_size, sizes.cutoffs, tied=sizes.tied,
                                            bias=sizes.output_bias)
        whole = not sizes.tied and not sizes.cutoffs
        self.output = nn.Linear(sizes.hidden_size, sizes.vocab_size, bias=False) if whole else None
        self.bias = nn.Parameter(torch.zeros(sizes.vocab_size)) if sizes.output_bias and not sizes.cutoffs else None

    def matrix(self, table: Float[Tensor, "v _"]) -> Float[Tensor, "v _"]:
        """What features are multiplied by, given the body's table."""
        return table if self.output is None else self.output.weight

    def features(self, states: Float[Tensor, "*n d"], at: Int[Tensor, "k"]) -> Float[Tensor, "k e"]:
        """What the matrix is multiplied by."""
        return self.projection(pick(states, at))

    def forward(self, states: Float[Tensor, "*n d"], at: Int[Tensor, "k"],
                table: Float[Tensor, "v _"]) -> Float[Tensor, "k v"]:
        """Logits of the token after each place `at`."""
        features = self.features(states, at)
        if self.adaptive is not None:
            return self.adaptive.log_probabilities(features, table)
        return F.linear(features, self.matrix(table), self.bias)

    def loss(self, features: Float[Tensor, "k e"], table: Float[Tensor, "v _"], targets: Int[Tensor, "k"]
             ) -> Float[Tensor, ""]:
        """The sum of -log P(targets) given what `features` returned, natural, in float32 or better."""
        if self.adaptive is not None:
            return self.adaptive.loss(features, targets, table)
        return linear_cross_entropy(features, self.matrix(table), self.bias, targets)

    @torch.no_grad()
    def start_from_counts(self, counts: np.ndarray) -> None:
        """Let the bias begin at the log frequencies of a text, so that the first loss is its unigram entropy.

        `counts` (v,) says how often each piece stands there; one more for each, so that none is impossible.  Without a
        bias nothing is done (Bengio et al. 2003, section 2, do not say where theirs begins; it saves the first steps).
        """
        if self.bias is not None:
            shares = torch.from_numpy(np.asarray(counts, np.float64) + 1)
            self.bias.copy_((shares / shares.sum()).log())


class PreviousTokenHead(nn.Module):
    """Which token came before: the next-token head's own weights over the second half of a two-way body's states.

    Nothing is learned here (Peters et al. 2018 share the softmax of both directions).
    """

    def __init__(self, sizes: HeadSizes) -> None:
        super().__init__()


HEADS: dict[str, type[nn.Module]] = {
    "masked_lm": MaskedLMHead, "pair": PairHead, "span_boundary": SpanBoundaryHead, "next_token": NextTokenHead,
    "previous_token": PreviousTokenHead}
