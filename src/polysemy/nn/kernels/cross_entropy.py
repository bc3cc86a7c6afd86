"""Softmax cross-entropy of logits, turned into their gradient where they stand."""
from __future__ import annotations

import numpy as np
import torch
from numba import carray
from torch import Tensor

from polysemy.nn.kernels.launch import family, pointer, routine, run
from polysemy.nn.kernels.numbers import F, exp, larger, log, narrow, widen


@routine
def _shifted(logits, bias, line):
    for j in range(line.shape[0]):
        line[j] = widen(logits[j]) + widen(bias[j])


@routine
def _largest(line):
    largest = F(-3e38)
    for j in range(line.shape[0]):
        largest = larger(largest, line[j])
    return largest


@routine
def _powers(line, largest):
    """line to exp(line - largest); their sum."""
    total = F(0)
    for j in range(line.shape[0]):
        x = exp(line[j] - largest)
        line[j] = x
        total += x
    return total


@routine
def _shares(line, factor, logits, dbias):
    for j in range(line.shape[0]):
        share = line[j] * factor
        logits[j] = narrow(share, logits[j])
        dbias[j] += share


@family
def _rows(number):
    def share(arguments, part, parts):
        a = carray(pointer(arguments), (9,), np.int64)
        n, v = a[0], a[1]
        logits, bias = carray(pointer(a[2]), (n, v), number), carray(pointer(a[3]), (v,), number)
        targets, weights = carray(pointer(a[4]), (n,), np.int64), carray(pointer(a[5]), (n,), np.float32)
        losses, dbias = carray(pointer(a[6]), (n,), np.float32), carray(pointer(a[7]), (parts, v), np.float32)[part]
        line = np.empty(v, np.float32)
        for r in range(n * part // parts, n * (part + 1) // parts):
            target, weight = targets[r], weights[r] if a[8] != 0 else F(1)
            _shifted(logits[r], bias, line)
            score, largest = line[target], _largest(line)
            total = _powers(line, largest)
            losses[r] = weight * (largest - score + log(total))
            _shares(line, weight / total, logits[r], dbias)
            right = line[target] * (weight / total) - weight
            logits[r, target] = narrow(right, logits[r, target])
            dbias[target] -= weight
    return share


def cross_entropy_rows(logits: Tensor, bias: Tensor, targets: Tensor, weights: Tensor | None,
                       dbias: Tensor) -> Tensor:
    """Weighted losses (n,) of logits + bias; logits (n, v) become their gradients, `dbias` (parts, v) is added to.

    A logit that is NaN gives a loss that is NaN.
    """
    losses = torch.empty(len(logits))
    run(_rows(logits.dtype), *logits.shape, logits, bias, targets, losses if weights is None else weights, losses,
        dbias, int(weights is not None), parts=len(dbias))
    return losses
