"""Learning sentence vectors: each text nearer to its partner than to the other texts of the batch, or as near as asked.

In a batch of n pairs the partner of text i must win against the partners of all others (van den Oord et al. 2018; in
this form Henderson et al. 2017): softmax cross-entropy over cosines divided by a temperature.  Further texts may stand
among the candidates as hard negatives.  A pair may be one text twice, read under two dropout masks (SimCSE, Gao et al.
2021).  With scores instead of pairs, cosines are held in the order of the scores (CoSENT, Su 2022) or near them.

The loss of a pair depends on the company it is in, so this is the one objective whose batch must not be cut: instead
`chunk_size` computes the same gradient of the whole batch in parts (Gao et al. 2021, gradient caching).
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from polysemy.errors import InputError
from polysemy.nn.dropout import part_of, running_step
from polysemy.nn.pooling import normalized, shortened
from polysemy.text.sentence_batches import SentenceBatch

Vectors = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""a model as this objective sees it: the tensors of some texts -> {"vectors": (rows, d)}"""
LossName = Literal["softmax", "cosent", "cosine"]
OF_ROWS = ("ids", "positions", "segments", "documents", "visible")


class SentencePairs:
    """What is minimized over batches of `text.sentence_batches`: the head is called `embed`, a target is a pair."""

    def __init__(self, loss: LossName = "softmax", *, temperature: float = 0.05, both: bool = False,
                 dimensions: tuple[int, ...] = (), chunk_size: int | None = None) -> None:
        """
        loss         softmax over the batch; with scores cosent (order) or cosine (squared distance)
        temperature  cosines are divided by it (softmax, cosent)
        both         also let each partner find its text among the others
        dimensions   sum the loss over the first so many numbers of the vectors too (Kusupati et al. 2022)
        chunk_size   texts whose graph is held at once; the gradient is that of the whole batch, to rounding
        """
        if not temperature > 0:
            raise InputError(f"temperature must be above 0, got {temperature}")
        if chunk_size is not None and chunk_size < 1:
            raise InputError(f"chunk_size must be at least 1, got {chunk_size}")
        self.loss, self.temperature, self.both = loss, temperature, both
        self.dimensions, self.chunk_size = dimensions, chunk_size
        self.weights = {"embed": 1.0}

    def counts(self, batch: SentenceBatch) -> dict[str, float]:
        """Pairs in a batch."""
        return {"embed": float(batch.num_pairs)}

    def tensors(self, batch: SentenceBatch, device: str | torch.device = "cpu") -> dict[str, Tensor]:
        """What the model and the loss are given of a batch."""
        arrays: dict[str, Any] = {name: getattr(batch, name) for name in (*OF_ROWS, "texts", "scores")}
        return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}

    def losses(self, model: Vectors, tensors: Mapping[str, Tensor]) -> dict[str, Float[Tensor, ""]]:
        """The sum of the pairs' losses; its backward gives the gradients of the parameters."""
        if self.chunk_size is None or self.chunk_size >= len(tensors["ids"]) or not torch.is_grad_enabled():
            return {"embed": self.of_vectors(model(tensors)["vectors"], tensors)}
        return {"embed": self._in_chunks(model, tensors, self.chunk_size)}

    def of_vectors(self, vectors: Float[Tensor, "m d"], tensors: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """The loss of a batch from its vectors, before normalization."""
        whole = vectors.shape[1]
        lengths = [whole, *(d for d in self.dimensions if d != whole)]
        return torch.stack([self._of_unit_vectors(normalized(shortened(vectors, d)), tensors) for d in lengths]).sum()

    def _of_unit_vectors(self, vectors: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        n, scores = pairs_of(tensors), tensors["scores"]
        if self.loss == "softmax":
            return in_batch_softmax(vectors, tensors["texts"], n, self.temperature, both=self.both)
        cosines = (vectors[:n] * vectors[n:2 * n]).sum(-1)
        if self.loss == "cosent":
            return n * cosent(cosines, scores, self.temperature)
        return (cosines - scores).square().sum()

    def _in_chunks(self, model: Vectors, tensors: Mapping[str, Tensor], size: int) -> Tensor:
        """Vectors without a graph, the loss's gradient in them, then each chunk once more with its graph."""
        step = running_step()
        rows = torch.arange(len(tensors["ids"]), device=tensors["ids"].device)
        chunks = [(at, rows_of(tensors, at)) for at in rows.split(size)]
        with torch.no_grad():
            found = []
            for at, part in chunks:
                with part_of(step, at):
                    found.append(model(part)["vectors"])
        vectors = torch.cat(found).requires_grad_()
        loss = self.of_vectors(vectors, tensors)
        gradient, = torch.autograd.grad(loss, vectors)

        def go_back(factor: Tensor) -> None:
            with torch.enable_grad():
                for at, part in chunks:
                    with part_of(step, at):  # the same dropout as in the first pass
                        again = model(part)["vectors"]
                    (again * gradient[at] * factor).sum().backward()

        loss = loss.detach().requires_grad_()
        loss.register_hook(go_back)
        return loss

    def total(self, sums: Mapping[str, Tensor], counts: Mapping[str, float]) -> Float[Tensor, ""]:
        """The mean loss of a pair."""
        return sums["embed"] / (counts["embed"] or 1.0)

    def means(self, sums: Mapping[str, float], counts: Mapping[str, float]) -> dict[str, float]:
        """The mean loss of a pair, by head."""
        return {"embed": sums["embed"] / counts["embed"]} if counts["embed"] else {}


def pairs_of(tensors: Mapping[str, Tensor]) -> int:
    """How many pairs a batch has: its rows are all first texts, all second texts, then the hard negatives."""
    return len(tensors["scores"])


def rows_of(tensors: Mapping[str, Tensor], at: Int[Tensor, "c"]) -> dict[str, Tensor]:
    """The tensors of some texts, without the columns that are padding in all of them."""
    part = {name: tensors[name][at] for name in OF_ROWS}
    longest = max(1, int(part["visible"].sum(1).max()))
    return {name: tensor[:, :longest] for name, tensor in part.items()}


def in_batch_softmax(vectors: Float[Tensor, "m d"], texts: Int[Tensor, "m"], n: int, temperature: float, *,
                     both: bool = False) -> Float[Tensor, ""]:
    """Sum over the n pairs of -log P(partner), natural, from vectors of length 1.

    Rows 0..n are the first texts, n..2n their partners, further ones hard negatives of all.  `texts` numbers the texts:
    equal ones have equal numbers, and a candidate that is the text itself, its partner over again or a partner of an
    equal text is left out, for it is no negative.  `both`: the mean with the same question asked from the partners.
    """
    first, second = vectors[:n], vectors[n:]
    a, c = texts[:n], texts[n:]
    wanted = torch.arange(n, device=vectors.device)
    logits = first @ second.T / temperature
    same = (c == a[:, None]) | (c == c[:n, None])
    same[:, :n] |= a == a[:, None]
    same[wanted, wanted] = False
    forward = F.cross_entropy(logits.masked_fill(same, -torch.inf), wanted, reduction="sum")
    if not both:
        return forward
    same = same_as_partner(a, c[:n])
    backward = F.cross_entropy(logits[:, :n].T.masked_fill(same, -torch.inf), wanted, reduction="sum")
    return (forward + backward) / 2


def same_as_partner(a: Int[Tensor, "n"], p: Int[Tensor, "n"]) -> Bool[Tensor, "n n"]:
    """Which first texts a_j are no negatives of the partner p_i."""
    same = (a == p[:, None]) | (a == a[:, None]) | (p == p[:, None])
    return same & ~torch.eye(len(a), dtype=torch.bool, device=a.device)


def cosent(cosines: Float[Tensor, "n"], scores: Float[Tensor, "n"], temperature: float = 0.05) -> Float[Tensor, ""]:
    """log(1 + sum of exp((cos_j - cos_i) / temperature)) over all i, j of which i has the higher score (Su 2022)."""
    differences = (cosines[None, :] - cosines[:, None]) / temperature
    terms = differences[scores[:, None] > scores[None, :]]
    return torch.logsumexp(torch.cat([terms.new_zeros(1), terms]), 0)
