"""Pretraining losses: hidden tokens (Devlin 2019), how segments relate (Lan 2020), spans from borders (Joshi 2020).

Numbers of targets come from the data alone, sums of losses from the model.  The total is

    sum over heads of  weight * (sum of its losses) / (number of its targets),

both taken over the whole batch, so cutting a batch into micro-batches or over processes gives the same gradient.
(A mean of the micro-batches' means would weigh a target by the company it happens to be in.)
SpanBERT's and Google's code add 1 or 1e-5 to the denominator; we divide by the count itself.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from polysemy.text.batches import Batch

LossSums = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
"""a model as the objective sees it: a batch's tensors -> loss sums by head"""
FIELDS = ("ids", "positions", "segments", "documents", "pair_at", "pair_labels", "span_left", "span_right",
          "span_offset", "span_targets", "targets")
LANGUAGE_FIELDS = ("ids", "positions", "documents", "targets")


class Pretraining:
    """The heads that are learned together, and how much each counts in the total."""

    def __init__(self, heads: Sequence[str], weights: Mapping[str, float] | None = None) -> None:
        """`weights` by head; heads without one count 1, as in all four papers, and the directions of ELMo a half."""
        usual = 0.5 if "previous_token" in heads else 1.0
        self.weights = {name: (weights or {}).get(name, usual) for name in heads}

    def counts(self, batch: Batch) -> dict[str, float]:
        """Targets of each head in a batch; a target of the masked LM counts by its weight, which is 1 by default."""
        sizes = {"masked_lm": float(np.sum(batch.weights, dtype=np.float64)), "pair": float(len(batch.pair_labels)),
                 "span_boundary": float(len(batch.span_targets)), "next_token": float(len(batch.targets))}
        if "previous_token" in self.weights:
            sizes["previous_token"] = float(has_previous(batch).sum())
        return {name: sizes[name] for name in self.weights}

    def tensors(self, batch: Batch, device: str | torch.device = "cpu") -> dict[str, Tensor]:
        """What the model is given of a batch (`tensors_of`)."""
        return tensors_of(batch, device)

    def losses(self, model: LossSums, tensors: Mapping[str, Tensor]) -> dict[str, Float[Tensor, ""]]:
        """Loss sums by head (natural logarithm, float32); `model` maps a batch's tensors to them.

        A head without targets in this batch gives 0 and still takes part in the gradient.
        """
        sums = model(tensors)
        return {name: sums[name] for name in self.weights}

    def total(self, sums: Mapping[str, Float[Tensor, ""]], counts: Mapping[str, float]) -> Float[Tensor, ""]:
        """What is minimized, from the sums of a part of the batch and the counts of the whole."""
        return torch.stack([self.weights[name] / (counts[name] or 1.0) * sums[name] for name in self.weights]).sum()

    def means(self, sums: Mapping[str, float], counts: Mapping[str, float]) -> dict[str, float]:
        """Mean loss a target by head, from whole sums; heads without a target are left out."""
        return {name: sums[name] / counts[name] for name in self.weights if counts[name]}


def tensors_of(batch: Batch, device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """The arrays of a batch that models read, as tensors by name, and `hidden_at`: flat places of the hidden tokens."""
    language = bool(batch.hidden.all()) and not len(batch.pair_at)  # every place predicts: rows of running text
    arrays: dict[str, Any] = {name: getattr(batch, name) for name in (LANGUAGE_FIELDS if language else FIELDS)}
    arrays["hidden_at"] = np.flatnonzero(batch.hidden)
    if language and (batch.streams >= 0).all():
        arrays |= {"streams": batch.streams, "fresh": batch.fresh}
    if (batch.weights != 1).any():
        arrays["weights"] = batch.weights
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    if torch.device(device).type == "cuda":
        return {name: tensor.pin_memory().to(device, non_blocking=True) for name, tensor in tensors.items()}
    return tensors


def has_previous(batch: Batch) -> np.ndarray:
    """bool (b, t): whether the place has a token to its left, in the row; a mark has the last token before it."""
    known = batch.documents >= 0
    found = np.zeros(batch.ids.shape, bool)
    found[:, 1:] = known[:, 1:] & known[:, :-1]
    return found


def encode(model: Any, tensors: Mapping[str, Tensor]) -> Float[Tensor, "b t d"]:
    """The body's states at all places of a batch."""
    return model.body(*(tensors[field] for field in ("ids", "positions", "segments", "documents")))


@torch.no_grad()
def correct(model: Any, states: Float[Tensor, "b t d"], tensors: Mapping[str, Tensor], name: str) -> int:
    """How many targets of the head `name` the model gets right: its likeliest token or label is the true one."""
    if name == "masked_lm":
        logits, targets = model.masked_lm_logits(states, tensors["hidden_at"]), tensors["targets"]
    elif name == "pair":
        logits, targets = model.heads[name](states, tensors["pair_at"]), tensors["pair_labels"]
    else:
        places = (tensors["span_left"], tensors["span_right"], tensors["span_offset"])
        logits, targets = model.heads[name](states, *places, model.table), tensors["span_targets"]
    return int((logits.argmax(-1) == targets).sum())
