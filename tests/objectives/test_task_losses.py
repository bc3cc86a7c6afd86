"""The loss of fine-tuning: counts come from the data alone, weights from the labels, means are per target."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from polysemy.errors import InputError
from polysemy.models.tasks import Classify, Embed, Regress, Span, Tag
from polysemy.objectives.task import TaskObjective, balanced_weights

LABELS = ("a", "b", "c")


def batch(targets: list[Any], weights: list[float] | None = None) -> Any:
    n = len(targets)
    return SimpleNamespace(
        ids=np.zeros((n, 4), np.int64), positions=np.zeros((n, 4), np.int64), segments=np.zeros((n, 4), np.int64),
        documents=np.zeros((n, 4), np.int64), at=np.arange(n) * 4, targets=np.array(targets),
        weights=np.ones(n, np.float32) if weights is None else np.array(weights, np.float32))


def test_counts_are_sums_of_weights() -> None:
    plain = TaskObjective(Classify(labels=LABELS))
    assert plain.counts(batch([0, 1, 2])) == {"task": 3.0}
    assert plain.counts(batch([0, 1, 2], [1, 0, 1])) == {"task": 2.0}
    weighed = TaskObjective(Tag(labels=LABELS), class_weights=(1.0, 2.0, 4.0))
    assert weighed.counts(batch([0, 1, 2, 2])) == {"task": 11.0}
    assert weighed.tensors(batch([0, 2], [0, 1]))["weights"].tolist() == [0, 4]
    assert TaskObjective(Span()).counts(batch([[0, 1], [2, 3]])) == {"task": 2.0}


def test_a_weighted_mean_is_that_of_torch() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    weights, given = (0.5, 2.0, 3.0), batch([0, 1, 2, 2, 1])
    objective = TaskObjective(Classify(labels=LABELS), class_weights=weights)
    targets = torch.from_numpy(given.targets)
    tensors = objective.tensors(given)
    total = (torch.nn.functional.cross_entropy(logits, targets, reduction="none") * tensors["weights"]).sum()
    wanted = torch.nn.functional.cross_entropy(logits, targets, torch.tensor(weights))
    counts = objective.counts(given)
    torch.testing.assert_close(objective.total({"task": total}, counts), wanted)
    assert objective.means({"task": float(total)}, counts)["task"] == pytest.approx(float(wanted), rel=1e-6)


def test_nothing_that_counts_is_no_error() -> None:
    objective = TaskObjective(Regress())
    given = batch([1.0], [0.0])
    sums = objective.losses(lambda tensors: {"task": tensors["weights"].sum()}, objective.tensors(given))
    assert float(objective.total(sums, objective.counts(given))) == 0
    assert objective.means({"task": 0.0}, objective.counts(given)) == {}


def test_only_what_differs_is_handed_to_the_model() -> None:
    plain = TaskObjective(Classify(labels=LABELS)).tensors(batch([0, 1]))
    assert set(plain) == {"ids", "positions", "segments", "documents", "at", "targets"}
    smooth = TaskObjective(Classify(labels=LABELS), smoothing=0.1).tensors(batch([0, 1]))
    assert float(smooth["smoothing"]) == pytest.approx(0.1)


def test_settings_that_do_not_fit_are_refused() -> None:
    for make, told in ((lambda: TaskObjective(Embed()), "task must have a head"),
                       (lambda: TaskObjective(Regress(), smoothing=0.1), "must go with a task of labels, got regress"),
                       (lambda: TaskObjective(Span(), class_weights=(1.0, 1.0)), "task of labels, got span"),
                       (lambda: TaskObjective(Tag(labels=LABELS), class_weights=(1.0, 2.0)),
                        "class_weights must be 3 numbers above 0, one a label, got 1.0, 2.0"),
                       (lambda: TaskObjective(Tag(labels=LABELS), class_weights=(1.0, 2.0, 0.0)), "numbers above 0"),
                       (lambda: TaskObjective(Tag(labels=LABELS), smoothing=1.0), "below 1, got 1.0")):
        with pytest.raises(InputError, match=told):
            make()


def test_balanced_weights_let_every_label_count_as_much() -> None:
    seen = {"a": 8, "b": 2}
    weights = balanced_weights(("a", "b"), seen)
    assert weights[0] * 8 == pytest.approx(weights[1] * 2)
    assert sum(w * n for w, n in zip(weights, seen.values(), strict=True)) == pytest.approx(10)
    assert balanced_weights(LABELS, seen)[2] == 1.0
