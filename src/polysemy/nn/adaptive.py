"""Adaptive softmax (Grave et al. 2017): frequent tokens are cheap to predict, rare ones are asked for seldom.

Ids must fall in frequency.  Those below the first cutoff stand in the head, beside one entry for each cluster of rarer
ones; a rare token's probability is its cluster's times its own within the cluster, whose logits are made for the places
that need them only.

Letters in shapes: n places, e feature width, v tokens, k clusters.
"""
from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from polysemy.errors import InputError
from polysemy.nn.cross_entropy import linear_cross_entropy

SHRINK = 4
"""how much narrower the features of each further cluster are, where clusters have matrices of their own"""


class AdaptiveSoftmax(nn.Module):
    """log P(token | features), in clusters.

    Untied it is torch.nn.AdaptiveLogSoftmaxWithLoss with `div_value` 4: cluster i works on e / 4**(i + 1) features.
    Tied, each token's row of the table is its output vector, in full width, in the head and in clusters alike.
    With `bias` each token and each cluster has a number of its own, which torch gives to the head alone.
    """

    def __init__(self, size: int, vocab_size: int, cutoffs: tuple[int, ...], *, tied: bool = False,
                 bias: bool = False) -> None:
        """Token ids of cluster i are cutoffs[i] .. cutoffs[i + 1] - 1, the last going to the vocabulary's end."""
        super().__init__()
        check_cutoffs(cutoffs, vocab_size)
        self.cutoffs, self.tied = (*cutoffs, vocab_size), tied
        self.clusters = nn.Linear(size, len(cutoffs), bias=bias)
        self.bias = nn.Parameter(torch.zeros(vocab_size)) if bias else None
        self.head = None if tied else nn.Linear(size, cutoffs[0], bias=False)
        self.tails = nn.ModuleList()
        if not tied:
            for i, (first, end) in enumerate(self.ranges()):
                inner = max(1, size // SHRINK ** (i + 1))
                self.tails.append(nn.ModuleDict({"narrow": nn.Linear(size, inner, bias=False),
                                                 "output": nn.Linear(inner, end - first, bias=False)}))

    def ranges(self) -> list[tuple[int, int]]:
        """First id and end of each cluster."""
        return list(pairwise(self.cutoffs))

    def loss(self, features: Float[Tensor, "n e"], targets: Int[Tensor, "n"],
             table: Float[Tensor, "v _"] | None = None) -> Float[Tensor, ""]:
        """The sum of -log P(targets), natural, in float32 or better."""
        if len(targets) and (int(targets.min()) < 0 or int(targets.max()) >= self.cutoffs[-1]):
            raise InputError(f"targets must be in 0..{self.cutoffs[-1] - 1}, got "
                             f"{int(targets.min())}..{int(targets.max())}")
        (head, head_bias), tails = self._weights(table)
        shown = targets
        total = features.new_zeros((), dtype=torch.float64 if features.dtype == torch.float64 else torch.float32)
        for i, ((first, end), (narrow, output, bias)) in enumerate(zip(self.ranges(), tails, strict=True)):
            inside = (targets >= first) & (targets < end)
            shown = shown.masked_fill(inside, self.cutoffs[0] + i)
            at = inside.nonzero()[:, 0]
            x = features.index_select(0, at)
            x = x if narrow is None else F.linear(x, narrow)
            total = total + linear_cross_entropy(x, output, bias, targets[at] - first)
        return total + linear_cross_entropy(features, head, head_bias, shown)

    def log_probabilities(self, features: Float[Tensor, "n e"], table: Float[Tensor, "v _"] | None = None
                          ) -> Float[Tensor, "n v"]:
        """log P of every token, in float32 or better."""
        head, tails = self._weights(table)
        found = _log_softmax(F.linear(features, *head))
        parts = [found[:, :self.cutoffs[0]]]
        for i, (narrow, output, bias) in enumerate(tails):
            x = features if narrow is None else F.linear(features, narrow)
            parts.append(found[:, self.cutoffs[0] + i, None] + _log_softmax(F.linear(x, output, bias)))
        return torch.cat(parts, 1)

    @torch.no_grad()
    def start_from_counts(self, counts: np.ndarray) -> None:
        """Let the numbers of tokens and clusters begin at the log frequencies of a text, as those of a full softmax.

        `counts` (v,) says how often each piece stands there; one more for each, so that none is impossible.
        """
        if self.bias is not None:
            shares = torch.from_numpy(np.asarray(counts, np.float64) + 1)
            shares /= shares.sum()
            for i, (first, end) in enumerate(self.ranges()):
                total = shares[first:end].sum()
                self.clusters.bias[i] = total.log()
                shares[first:end] /= total
            self.bias.copy_(shares.log())

    def _weights(self, table: Tensor | None) -> tuple[tuple[Tensor, Tensor | None], list[Any]]:
        """Matrix and bias of the head, clusters below; (narrowing matrix or None, matrix, bias) of each cluster."""
        sizes = [self.cutoffs[0], *(end - first for first, end in self.ranges())]
        biases: list[Any] = [None] * len(sizes) if self.bias is None else list(self.bias.split(sizes))
        narrows: list[Any] = [None] * len(self.ranges())
        if self.tied:
            assert table is not None, "a tied output needs the table"
            shortlist, *matrices = table.split(sizes)  # one gradient for all parts
        else:
            assert self.head is not None
            tails: list[Any] = list(self.tails)
            shortlist, matrices = self.head.weight, [tail["output"].weight for tail in tails]
            narrows = [tail["narrow"].weight for tail in tails]
        bias = None if self.bias is None else torch.cat([biases[0], self.clusters.bias])
        return (torch.cat([shortlist, self.clusters.weight]), bias), list(zip(narrows, matrices, biases[1:],
                                                                              strict=True))


def _log_softmax(logits: Tensor) -> Tensor:
    return (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(-1)


def check_cutoffs(cutoffs: tuple[int, ...], vocab_size: int) -> None:
    """InputError unless cutoffs climb within 1 .. vocab_size - 1."""
    climbing = (0, *cutoffs, vocab_size)
    if not cutoffs or any(a >= b for a, b in pairwise(climbing)):
        raise InputError(f"cutoffs must climb within 1..{vocab_size - 1}, got {', '.join(map(str, cutoffs)) or 'none'}")
