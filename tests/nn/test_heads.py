"""Heads: computed where asked, tied, blind to what they must not see."""
from __future__ import annotations

import torch
import torch.nn.functional as F

from polysemy.nn.heads import HeadSizes, MaskedLMHead, PairHead, SpanBoundaryHead

SIZES = HeadSizes(hidden_size=8, table_size=6, vocab_size=11, activation="gelu", norm_eps=1e-12)


def states() -> torch.Tensor:
    return torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_masked_lm_is_its_formula_at_the_given_places_only() -> None:
    head, x = MaskedLMHead(SIZES).double(), states()
    table = torch.randn(11, 6, dtype=torch.float64)
    at = torch.tensor([1, 7])
    logits = head(x, at, table)
    picked = torch.stack([x[0, 1], x[1, 2]])
    y = F.layer_norm(F.gelu(head.dense(picked)), (6,), head.norm.weight, head.norm.bias, 1e-12)
    torch.testing.assert_close(logits, y @ table.T + head.bias, atol=1e-10, rtol=0)
    x = x.requires_grad_()
    head(x, at, table).sum().backward()
    assert x.grad is not None
    touched = x.grad.abs().sum(-1).flatten().nonzero()[:, 0].tolist()
    assert touched == [1, 7]


def test_no_places_give_no_logits() -> None:
    none = torch.zeros(0, dtype=torch.long)
    assert MaskedLMHead(SIZES).double()(states(), none, torch.randn(11, 6, dtype=torch.float64)).shape == (0, 11)
    assert PairHead(SIZES).double()(states(), none).shape == (0, 2)


def test_pair_reads_its_cls_alone() -> None:
    head, x = PairHead(SIZES).double(), states()
    logits = head(x, torch.tensor([5]))
    wanted = head.classifier(torch.tanh(head.pooler(x[1, 0])))
    torch.testing.assert_close(logits[0], wanted, atol=1e-10, rtol=0)


def test_span_boundary_reads_the_borders_and_the_place_and_never_the_span() -> None:
    head, table = SpanBoundaryHead(SIZES).double(), torch.randn(11, 6, dtype=torch.float64)
    x = states().requires_grad_()
    left, right, offset = torch.tensor([0, 0]), torch.tensor([3, 3]), torch.tensor([1, 2])  # the span is columns 1, 2
    logits = head(x, left, right, offset, table)
    assert (logits[0] - logits[1]).abs().max() > 1e-6  # the place in the span tells its tokens apart
    logits.sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum(-1).flatten().nonzero()[:, 0].tolist() == [0, 3]
    h0 = torch.cat([x[0, 0], x[0, 3], head.position.weight[0]])
    h1 = head.dense_norm(F.gelu(head.dense(h0)))
    y = head.output_norm(F.gelu(head.output(h1)))
    torch.testing.assert_close(logits[0], y @ table.T + head.bias, atol=1e-10, rtol=0)
