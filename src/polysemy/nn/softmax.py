"""The softmax of attention: in float32 or better, and defined where a query may look at nothing."""
from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def masked_softmax(scores: Float[Tensor, "*n t s"], mask: Bool[Tensor, "*#n #t s"] | None = None
                   ) -> Float[Tensor, "*n t s"]:
    """Weights of the scores where `mask` is True; a row that may look at nothing is 0 throughout."""
    scores = scores if scores.dtype == torch.float64 else scores.float()
    if mask is None:
        return scores.softmax(-1)
    # a finite floor keeps the softmax of an empty row, and its gradient, free of NaN; the product then empties it
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1) * mask
