"""The pretraining objective: sums from the model, counts from the data, one total however the batch is cut."""
from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from polysemy.models.pretrained import PretrainingModel
from polysemy.objectives.pretraining import Pretraining, correct, encode, tensors_of
from polysemy.text.batches import Batch
from polysemy.text.masking import Spans
from polysemy.text.segments import NextSentence, SentenceOrder
from small_runs import Numbers, make_batches, small_config

RECIPES: dict[str, dict[str, Any]] = {
    "masked_lm": {},
    "next": {"heads": ("masked_lm", "pair"), "segments": NextSentence()},
    "order": {"heads": ("masked_lm", "pair"), "segments": SentenceOrder()},
    "spans": {"heads": ("masked_lm", "span_boundary"), "corruption": Spans()},
}


def world(recipe: str) -> tuple[PretrainingModel, Pretraining, Batch]:
    config = small_config(batch_size=6, length=32, dropout=0.0, **RECIPES[recipe])
    model = PretrainingModel(config.model, config.heads)
    return model, Pretraining(config.heads), make_batches(config)[0]


def gradients(model: PretrainingModel, objective: Pretraining, batch: Batch,
              parts: list[list[int]]) -> dict[str, torch.Tensor]:
    model.zero_grad()
    counts = objective.counts(batch)
    for rows in parts:
        objective.total(objective.losses(model, tensors_of(batch.take(rows))), counts).backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_loss_is_the_cross_entropy_of_its_head(recipe: str) -> None:
    model, objective, batch = world(recipe)
    tensors = tensors_of(batch)
    sums, counts = objective.losses(model, tensors), objective.counts(batch)
    states = encode(model, tensors)
    logits = model.masked_lm_logits(states, torch.from_numpy(np.flatnonzero(batch.hidden)))
    expected = {"masked_lm": F.cross_entropy(logits, torch.from_numpy(batch.targets), reduction="sum")}
    if recipe == "spans":
        head = model.heads["span_boundary"](states, tensors["span_left"], tensors["span_right"], tensors["span_offset"],
                                            model.table)
        expected["span_boundary"] = F.cross_entropy(head, torch.from_numpy(batch.span_targets), reduction="sum")
    if "pair" in objective.weights:
        head = model.heads["pair"](states, torch.from_numpy(batch.pair_at))
        expected["pair"] = F.cross_entropy(head, torch.from_numpy(batch.pair_labels), reduction="sum")
    assert sums.keys() == expected.keys() == counts.keys()
    for name, value in expected.items():
        assert sums[name].item() == pytest.approx(value.item(), rel=1e-5)
    total = sum(value.item() / counts[name] for name, value in expected.items())
    assert objective.total(sums, counts).item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("recipe", RECIPES)
def test_first_losses_are_those_of_guessing(recipe: str) -> None:
    model, objective, batch = world(recipe)
    sums = {name: value.item() for name, value in objective.losses(model, tensors_of(batch)).items()}
    means = objective.means(sums, objective.counts(batch))
    for name, loss in means.items():
        assert loss == pytest.approx(math.log(2 if name == "pair" else 40), rel=0.05), name


@pytest.mark.parametrize("recipe", RECIPES)
def test_cutting_a_batch_changes_no_gradient(recipe: str) -> None:
    model, objective, batch = world(recipe)
    whole = gradients(model, objective, batch, [list(range(6))])
    for parts in ([[0], [1], [2], [3], [4], [5]], [[5, 0, 3], [1, 2, 4]], [[0, 1, 2, 3, 4], [5]]):
        cut = gradients(model, objective, batch, parts)
        assert whole.keys() == cut.keys() == dict(model.named_parameters()).keys()
        for name, gradient in whole.items():
            assert torch.allclose(gradient, cut[name], atol=1e-6), name


@pytest.mark.parametrize("recipe", ["next", "spans"])
def test_a_mean_of_the_parts_means_would_be_another_gradient(recipe: str) -> None:
    """What the test above guards against, done on purpose."""
    model, objective, batch = world(recipe)
    whole = gradients(model, objective, batch, [list(range(6))])
    model.zero_grad()
    for row in range(6):
        part = batch.take([row])
        (objective.total(objective.losses(model, tensors_of(part)), objective.counts(part)) / 6).backward()
    assert any(not torch.allclose(whole[name], weight.grad, atol=1e-4)  # type: ignore[arg-type]
               for name, weight in model.named_parameters())


def test_a_head_without_targets_gives_zero_and_stays_in_the_graph() -> None:
    model, objective, batch = world("next")
    none = Batch(**(vars(batch) | {"pair_at": np.zeros(0, np.int64), "pair_labels": np.zeros(0, np.int64)}))
    sums, counts = objective.losses(model, tensors_of(none)), objective.counts(none)
    assert (sums["pair"].item(), counts["pair"]) == (0.0, 0.0)
    objective.total(sums, counts).backward()
    assert all(weight.grad is not None for weight in model.parameters())
    assert objective.means({name: value.item() for name, value in sums.items()}, counts).keys() == {"masked_lm"}


def test_heads_weigh_as_told() -> None:
    model, _, batch = world("next")
    objective = Pretraining(("masked_lm", "pair"), {"pair": 0.25})
    sums, counts = objective.losses(model, tensors_of(batch)), objective.counts(batch)
    expected = sums["masked_lm"] / counts["masked_lm"] + 0.25 * sums["pair"] / counts["pair"]
    assert objective.total(sums, counts).item() == pytest.approx(expected.item(), rel=1e-6)


def test_weighted_targets_count_by_their_weight() -> None:
    model, objective, batch = world("masked_lm")
    plain = objective.losses(model, tensors_of(batch))["masked_lm"].item()
    batch.weights[:] = 0.5
    sums, counts = objective.losses(model, tensors_of(batch)), objective.counts(batch)
    assert counts["masked_lm"] == len(batch.targets) / 2
    assert sums["masked_lm"].item() == pytest.approx(plain / 2, rel=1e-5)
    batch.weights[:] = 0.0
    batch.weights[0] = 1.0
    assert objective.losses(model, tensors_of(batch))["masked_lm"].item() < plain


def test_the_span_loss_never_reads_the_states_of_its_own_tokens() -> None:
    model, _, batch = world("spans")
    tensors = tensors_of(batch)
    states = torch.randn(6, 32, model.config.transformer.hidden_size, requires_grad=True)
    model.loss("span_boundary", states, tensors).backward()
    assert states.grad is not None
    touched = states.grad.flatten(0, 1).abs().sum(-1) > 0
    borders = np.union1d(batch.span_left, batch.span_right)
    assert set(np.flatnonzero(touched.numpy())) <= set(borders)
    inside_only = np.setdiff1d(batch.span_at, borders)
    assert len(inside_only) > 0
    assert not touched[torch.from_numpy(inside_only)].any()


@pytest.mark.parametrize("recipe", RECIPES)
def test_correct_counts_the_likeliest_token(recipe: str) -> None:
    model, objective, batch = world(recipe)
    with torch.no_grad():
        for head in model.heads.values():
            if hasattr(head, "bias"):
                head.bias[Numbers().vocab_size - 1] = 100.0
    tensors = tensors_of(batch)
    states = encode(model, tensors)
    assert correct(model, states, tensors, "masked_lm") == int((batch.targets == 39).sum())
    if recipe == "spans":
        assert correct(model, states, tensors, "span_boundary") == int((batch.span_targets == 39).sum())
    if "pair" in objective.weights:
        with torch.no_grad():
            model.heads["pair"].classifier.bias[:] = torch.tensor([100.0, 0.0])
        assert correct(model, states, tensors, "pair") == int((batch.pair_labels == 0).sum())
