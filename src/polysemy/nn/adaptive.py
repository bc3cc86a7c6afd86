"""Adaptive softmax (Grave et al. 2017): frequent tokens are cheap to predict, rare ones are asked for seldom.

Ids must fall in frequency.  Those below the first cutoff stand in the head, beside one entry for each cluster of rarer
ones; a rare token's probability is its cluster's times its own within the cluster, whose logits are made for the places
that need them only.

Letters in shapes: n places, e feature width, v tokens, k clusters.
"""
from __future__ import annotations

from itertools import pairwise

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
    """

    def __init__(self, size: int, vocab_size: int, cutoffs: tuple[int, ...], *, tied: bool = False) -> None:
        """Token ids of cluster i are cutoffs[i] .. cutoffs[i + 1] - 1, the last going to the vocabulary's end."""
        super().__init__()
        check_cutoffs(cutoffs, vocab_size)
        self.cutoffs, self.tied = (*cutoffs, vocab_size), tied
        self.clusters = nn.Linear(size, len(cutoffs), bias=False)
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
        head, tails = self._weights(table)
        shown = targets
        total = features.new_zeros((), dtype=torch.float64 if features.dtype == torch.float64 else torch.float32)
        for i, ((first, end), (narrow, output)) in enumerate(zip(self.ranges(), tails, strict=True)):
            inside = (targets >= first) & (targets < end)
            shown = shown.masked_fill(inside, self.cutoffs[0] + i)
            at = inside.nonzero()[:, 0]
            x = features.index_select(0, at)
            x = x if narrow is None else F.linear(x, narrow)
            total = total + linear_cross_entropy(x, output, None, targets[at] - first)
        return total + linear_cross_entropy(features, head, None, shown)

    def log_probabilities(self, features: Float[Tensor, "n e"], table: Float[Tensor, "v _"] | None = None
                          ) -> Float[Tensor, "n v"]:
        """log P of every token, in float32 or better."""
        head, tails = self._weights(table)
        found = _log_softmax(F.linear(features, head))
        parts = [found[:, :self.cutoffs[0]]]
        for i, (narrow, output) in enumerate(tails):
            x = features if narrow is None else F.linear(features, narrow)
            parts.append(found[:, self.cutoffs[0] + i, None] + _log_softmax(F.linear(x, output)))
        return torch.cat(parts, 1)

    def _weights(self, table: Tensor | None) -> tuple[Tensor, list[tuple[Tensor | None, Tensor]]]:
        """The head's matrix with the clusters' entries below, and (narrowing matrix, matrix) of each cluster."""
        if not self.tied:
            assert self.head is not None
            tails = [(tail["narrow"].weight, tail["output"].weight) for tail in self.tails]  # pyright: ignore
            return torch.cat([self.head.weight, self.clusters.weight]), tails  # pyright: ignore[reportReturnType]
        assert table is not None, "a tied output needs the table"
        sizes = [self.cutoffs[0], *(end - first for first, end in self.ranges())]
        shortlist, *rest = table.split(sizes)  # one gradient for all parts
        return torch.cat([shortlist, self.clusters.weight]), [(None, part) for part in rest]


def _log_softmax(logits: Tensor) -> Tensor:
    return (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(-1)


def check_cutoffs(cutoffs: tuple[int, ...], vocab_size: int) -> None:
    """InputError unless cutoffs climb within 1 .. vocab_size - 1."""
    climbing = (0, *cutoffs, vocab_size)
    if not cutoffs or any(a >= b for a, b in pairwise(climbing)):
        raise InputError(f"cutoffs must climb within 1..{vocab_size - 1}, got {', '.join(map(str, cutoffs)) or 'none'}")
