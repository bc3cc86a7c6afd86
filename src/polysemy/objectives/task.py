"""The loss of fine-tuning on one task, with the interface of `objectives.pretraining.Pretraining`.

Classification and tagging have cross-entropy, regression the squared error, spans the mean of the cross-entropies of
start and end (Devlin et al. 2019, section 4).  As in pretraining the total is a sum over targets divided by the weight
of all targets of the whole batch, so cutting a batch into micro-batches or over processes gives the same gradient.
"""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from polysemy.errors import InputError
from polysemy.models.tasks import Classify, Embed, Tag, Task
from polysemy.objectives.pretraining import LossSums

FIELDS = ("ids", "positions", "segments", "documents", "at", "targets")


class TaskObjective:
    """What is minimized for a task.

    class_weights  how much a target of each label counts, in the order of the task's labels; they need not add up
    smoothing      share of a target that is spread evenly over all labels, at least 0 and below 1
    """

    weights: Mapping[str, float]

    def __init__(self, task: Task, *, class_weights: Sequence[float] | None = None, smoothing: float = 0.0) -> None:
        labels = task.labels if isinstance(task, Classify | Tag) else ()
        if isinstance(task, Embed):
            raise InputError("task must have a head to be trained by its targets, got embed")
        if not 0 <= smoothing < 1:
            raise InputError(f"smoothing must be at least 0 and below 1, got {smoothing}")
        if (class_weights is not None or smoothing) and not labels:
            raise InputError(f"class_weights and smoothing must go with a task of labels, got "
                             f"{type(task).__name__.lower()}")
        if class_weights is not None and (len(class_weights) != len(labels)
                                          or not all(w > 0 and math.isfinite(w) for w in class_weights)):
            raise InputError(f"class_weights must be {len(labels)} numbers above 0, one a label, got "
                             f"{', '.join(map(str, class_weights)) or 'none'}")
        self.task, self.smoothing, self.weights = task, float(smoothing), {"task": 1.0}
        self.class_weights = None if class_weights is None else np.asarray(class_weights, np.float32)

    def counts(self, batch: Any) -> dict[str, float]:
        """Weight of all targets of a batch (`text.task_batches.TaskBatch`)."""
        return {"task": float(np.sum(self._weights(batch), dtype=np.float64))}

    def tensors(self, batch: Any, device: str | torch.device = "cpu") -> dict[str, Tensor]:
        """What the model is given of a batch, as tensors by name."""
        arrays: dict[str, Any] = {name: getattr(batch, name) for name in FIELDS}
        weights = self._weights(batch)
        if (weights != 1).any():
            arrays["weights"] = weights
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        if torch.device(device).type == "cuda":
            tensors = {name: tensor.pin_memory().to(device, non_blocking=True) for name, tensor in tensors.items()}
        if self.smoothing:
            tensors["smoothing"] = torch.tensor(self.smoothing)  # stays here: a number, read at once
        return tensors

    def losses(self, model: LossSums, tensors: Mapping[str, Tensor]) -> dict[str, Float[Tensor, ""]]:
        """`task`: the loss sum (natural logarithm, float32), still joined to the graph where nothing counts."""
        return {"task": model(tensors)["task"]}

    def total(self, sums: Mapping[str, Float[Tensor, ""]], counts: Mapping[str, float]) -> Float[Tensor, ""]:
        """What is minimized, from the sums of a part of the batch and the counts of the whole."""
        return sums["task"] / (counts["task"] or 1.0)

    def means(self, sums: Mapping[str, float], counts: Mapping[str, float]) -> dict[str, float]:
        """Mean loss a target, from whole sums; empty where nothing counts."""
        return {"task": sums["task"] / counts["task"]} if counts["task"] else {}

    def _weights(self, batch: Any) -> np.ndarray:
        """float32, one for each target."""
        weights = np.asarray(batch.weights, np.float32)
        if self.class_weights is None:
            return weights
        return weights * self.class_weights[batch.targets]


def balanced_weights(labels: Sequence[str], seen: Mapping[str, int]) -> tuple[float, ...]:
    """Class weights under which every label counts as much in all: n / (number of labels * count of the label).

    A label that was never seen counts 1.  `seen` says how often each stands in the training examples.
    """
    total = sum(seen.values())
    return tuple(total / (len(labels) * seen[label]) if seen.get(label) else 1.0 for label in labels)
