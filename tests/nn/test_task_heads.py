"""Heads of fine-tuning: each is its published formula, and each loss its plain definition."""
from __future__ import annotations

import pytest
import torch

from polysemy.errors import InputError
from polysemy.nn.dropout import dropout_key
from polysemy.nn.task_heads import (
    ClassifyHead,
    HeadConfig,
    SpanHead,
    TokenHead,
    label_loss,
    span_loss,
    squared_loss,
)

STATES = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


def head(form: str, **settings: object) -> ClassifyHead:
    torch.manual_seed(1)
    return ClassifyHead(6, 3, HeadConfig(form=form, **settings))  # type: ignore[arg-type]


def test_heads_of_texts_are_their_formulas() -> None:
    for form, inner in (("pooled", torch.tanh), ("dropped", torch.tanh), ("relu", torch.relu)):
        made = head(form).eval()
        assert made.dense is not None
        wanted = made.output(inner(STATES @ made.dense.weight.T + made.dense.bias))
        torch.testing.assert_close(made(STATES), wanted)
    plain = head("linear", bias=False).eval()
    assert plain.dense is None
    torch.testing.assert_close(plain(STATES), STATES @ plain.output.weight.T)


def test_dropout_comes_where_the_form_says() -> None:
    """With all weights the identity, what is dropped shows in what comes out."""
    shares = {}
    for form in ("linear", "pooled", "dropped"):
        made = ClassifyHead(200, 200, HeadConfig(form=form, dropout=0.5)).train()  # type: ignore[arg-type]
        for part in (made.dense, made.output):
            if part is not None:
                torch.nn.init.eye_(part.weight)
                torch.nn.init.zeros_(part.bias)
        with dropout_key(1, 2, range(30)), torch.no_grad():
            shares[form] = float((made(torch.ones(30, 200)) == 0).float().mean())
    assert shares["linear"] == pytest.approx(0.5, abs=0.03)
    assert shares["pooled"] == pytest.approx(0.5, abs=0.03)
    assert shares["dropped"] == pytest.approx(0.75, abs=0.03)


def test_heads_of_places_are_one_matrix() -> None:
    config = HeadConfig(dropout=0.0)
    for made, outputs in ((TokenHead(6, 5, config), 5), (SpanHead(6, config), 2)):
        torch.testing.assert_close(made(STATES), STATES @ made.output.weight.T + made.output.bias)
        assert made(STATES).shape == (4, outputs)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_labels_is_a_weighted_sum(smoothing: float) -> None:
    logits, targets, weights = STATES[:, :3], torch.tensor([0, 2, 1, 1]), torch.tensor([1.0, 0.5, 0.0, 2.0])
    total = 0.0
    for row, target, weight in zip(logits.double(), targets.tolist(), weights.tolist(), strict=True):
        logs = row - row.logsumexp(0)
        total += weight * -((1 - smoothing) * float(logs[target]) + smoothing * float(logs.mean()))
    assert float(label_loss(logits, targets, weights, smoothing)) == pytest.approx(total, rel=1e-5)
    plain = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=smoothing)
    assert float(label_loss(logits, targets, None, smoothing)) == pytest.approx(4 * float(plain), rel=1e-5)


def test_the_loss_of_values_is_squared_and_summed() -> None:
    values, weights = torch.tensor([1.0, 2.0, 0.0, -1.0]), torch.tensor([1.0, 0.0, 1.0, 3.0])
    wanted = sum(float(w) * (float(x) - float(y)) ** 2 for w, x, y in zip(weights, STATES[:, 0], values, strict=True))
    assert float(squared_loss(STATES[:, :1], values, weights)) == pytest.approx(wanted, rel=1e-5)


def test_the_loss_of_spans_is_the_mean_of_start_and_end() -> None:
    scores = torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(2))
    scores[1, 3:] = -torch.inf
    targets = torch.tensor([[1, 4], [0, 2]])
    wanted = 0.0
    for row, (start, end), length in zip(scores, targets.tolist(), (5, 3), strict=True):
        for place, column in ((start, 0), (end, 1)):
            wanted -= float(row[:length, column].log_softmax(0)[place]) / 2
    assert float(span_loss(scores, targets, None)) == pytest.approx(wanted, rel=1e-5)
    scores.requires_grad_()
    span_loss(scores, targets, torch.tensor([1.0, 0.0])).backward()
    assert scores.grad is not None
    assert bool(scores.grad.isfinite().all())
    assert not bool(scores.grad[1].any())


def test_a_rate_beyond_its_range_is_refused() -> None:
    with pytest.raises(InputError, match="dropout must be"):
        HeadConfig(dropout=1.5)
