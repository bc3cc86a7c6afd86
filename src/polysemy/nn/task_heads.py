"""Heads of fine-tuning: what stands on a body to answer for a text, for each word, or for where a span lies.

A head reads vectors that were picked or pooled already (`models/task_model.py`) and gives logits, in float32 whatever
the weights are.  Dropout is keyed as everywhere.  The published heads differ in what is between the state and the last
matrix:

    pooled    dense, tanh, dropout, linear                 BERT, ALBERT (the dense part is their pooler)
    dropped   dropout, dense, tanh, dropout, linear        RoBERTa
    relu      dense, ReLU, dropout, linear                 DistilBERT
    linear    dropout, linear                              GPT-2 (without dropout and bias), ELMo, static vectors
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from polysemy.config import Config
from polysemy.nn.dropout import Dropout
from polysemy.nn.limits import check_rate

Reading = Literal["first", "last", "mean", "mix", "apart"]
Form = Literal["pooled", "dropped", "relu", "linear"]


@dataclass(frozen=True, kw_only=True)
class HeadConfig(Config):
    """What a head reads of the body, and what lies between that and its last matrix."""

    reading: Reading = "first"
    """of a text: its first state, its last, the mean of all, or (mix) the mean of a mix of all layers; of a pair of
    static vectors (apart) the means u and v of both texts as [u; v; |u - v|; u * v]"""
    form: Form = "pooled"
    """pooled: dense and tanh; dropped: dropout before them; relu: dense and ReLU; linear: nothing"""
    dropout: float = 0.1
    bias: bool = True
    """of the last matrix"""

    def check(self) -> None:
        check_rate("dropout", self.dropout)


class ClassifyHead(nn.Module):
    """Numbers of a text, from its pooled state (b, d): logits of labels, or one number for regression."""

    def __init__(self, hidden_size: int, outputs: int, config: HeadConfig) -> None:
        super().__init__()
        self.form = config.form
        self.dense = None if config.form == "linear" else nn.Linear(hidden_size, hidden_size)
        self.output = nn.Linear(hidden_size, outputs, bias=config.bias)
        self.dropout = Dropout(config.dropout)

    def forward(self, states: Float[Tensor, "b d"]) -> Float[Tensor, "b o"]:
        """Logits."""
        if self.dense is not None:
            x = self.dense(self.dropout(states) if self.form == "dropped" else states)
            states = F.relu(x) if self.form == "relu" else torch.tanh(x)
        return wide(self.output, self.dropout(states))


class TokenHead(nn.Module):
    """Logits of labels at each of the places read (k, d): dropout, linear."""

    def __init__(self, hidden_size: int, outputs: int, config: HeadConfig) -> None:
        super().__init__()
        self.output = nn.Linear(hidden_size, outputs, bias=config.bias)
        self.dropout = Dropout(config.dropout)

    def forward(self, states: Float[Tensor, "k d"]) -> Float[Tensor, "k o"]:
        """Logits."""
        return wide(self.output, self.dropout(states))


class SpanHead(TokenHead):
    """Two scores at each of the places read (k, d): that an answer starts there, and that it ends there."""

    def __init__(self, hidden_size: int, config: HeadConfig) -> None:
        super().__init__(hidden_size, 2, config)


def wide(linear: nn.Linear, x: Float[Tensor, "n i"]) -> Float[Tensor, "n o"]:
    """linear(x) in float32 or better: answers of models at work in bfloat16 would else fall on few values."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    bias = None if linear.bias is None else linear.bias.to(dtype)
    return F.linear(x.to(dtype), linear.weight.to(dtype), bias)


def label_loss(logits: Float[Tensor, "k o"], targets: Tensor, weights: Tensor | None,
               smoothing: float = 0.0) -> Float[Tensor, ""]:
    """Sum over k of weight * -log P(target), in float32, natural.

    `smoothing` e moves that share of each target evenly onto all labels: (1 - e) * -log P(target) + e * mean over the
    labels of -log P, all times the weight of the target (Szegedy et al. 2016, section 7; torch's cross_entropy weighs
    the second part by each label's own weight).
    """
    losses = F.cross_entropy(logits.float(), targets, reduction="none", label_smoothing=smoothing)
    return (losses if weights is None else losses * weights).sum()


def squared_loss(logits: Float[Tensor, "b 1"], targets: Tensor, weights: Tensor | None) -> Float[Tensor, ""]:
    """Sum over b of weight * (value - target)^2, in float32."""
    losses = (logits[:, 0].float() - targets).square()
    return (losses if weights is None else losses * weights).sum()


def span_loss(scores: Float[Tensor, "b t 2"], targets: Tensor, weights: Tensor | None) -> Float[Tensor, ""]:
    """Sum over b of weight * the mean of -log P(start) and -log P(end), each a softmax over the places of its row.

    `scores` are -inf at columns that can be neither; `targets` (b, 2) are the columns of start and end.
    """
    chosen = scores.float().log_softmax(1).gather(1, targets[:, None, :])[:, 0]
    losses = -chosen.mean(-1)
    return (losses if weights is None else losses * weights).sum()
