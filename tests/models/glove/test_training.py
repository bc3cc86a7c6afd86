"""Fitting vectors to counts."""
from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from polysemy.models.glove import adagrad, training
from polysemy.models.glove.counting import Counts, count_pairs
from polysemy.models.glove.training import FastTables, Pass, PlainTables, targets
from polysemy.runtime import random_for


def counts_of(num_words: int, size: int = 20_000) -> Counts:
    tokens = np.minimum(random_for("glove", num_words).zipf(1.3, size) - 1, num_words - 1).astype(np.int32)
    return count_pairs(tokens, num_words, window=5)


def one_step(w: np.ndarray, c: np.ndarray, x: float, x_max: float, alpha: float, rate: float) -> tuple:
    """SPEC's formula on (2, size + 1) rows of vector and bias above their sums of squares."""
    error = w[0, :-1] @ c[0, :-1] + w[0, -1] + c[0, -1] - np.log(x)
    weighted = min(1, (x / x_max) ** alpha) * error
    for_w = np.append(np.clip(weighted * c[0, :-1], -100, 100) * rate, weighted)
    for_c = np.append(np.clip(weighted * w[0, :-1], -100, 100) * rate, weighted)
    after = [np.stack([row[0] - g / np.sqrt(row[1]), row[1] + g * g]) for row, g in ((w, for_w), (c, for_c))]
    return after[0], after[1], 0.5 * weighted * error


@pytest.mark.parametrize(("x", "scale"), [(3.0, 1), (500.0, 1), (1e6, 40)])
def test_one_step_is_the_formula(x, scale):
    random = random_for("one step")
    tables = [np.stack([random.normal(size=(1, 6)) * scale, 1 + random.random((1, 6))], 1) for _ in range(2)]
    w, c, cost = one_step(tables[0][0], tables[1][0], x, 100.0, 0.75, 0.05)
    zero, logs = np.zeros(1, np.int64), np.log(np.array([x]))
    weights = np.minimum(1, (np.array([x]) / 100) ** 0.75)
    assert adagrad.plain_pass(zero, zero, zero, logs, weights, *tables, 5, 0.05) == pytest.approx(cost)
    assert np.allclose(tables[0][0], w, rtol=1e-12)
    assert np.allclose(tables[1][0], c, rtol=1e-12)


@pytest.mark.parametrize("size", [3, 16, 100])
def test_the_fast_loop_takes_the_same_steps_as_the_plain_one(size):
    counts = counts_of(300)
    fast, plain = FastTables(300, size, 1), PlainTables(300, size, 1)
    assert all(np.array_equal(a, b) for a, b in zip(fast.tensors().values(), plain.tensors().values(), strict=True))
    logs, weights = targets(counts.values, 10.0, 0.75)
    parts = np.array([(0, 0, 0, len(counts), 0), (0, 0, 0, len(counts), 1)])
    cost = adagrad.fast_pass(size, fast.width)(
        parts, counts.places, logs, weights, *fast.tables, np.float32(0.05)
    )
    larger, smaller, _ = counts.pairs()
    order = np.concatenate([np.arange(len(counts)), len(counts) + np.flatnonzero(larger != smaller)])
    expected = adagrad.plain_pass(order, larger, smaller, logs.astype(float), weights.astype(float), *plain.tables,
                                  size, 0.05)
    assert cost == pytest.approx(expected, rel=1e-4)
    for name, value in plain.tensors().items():
        assert np.allclose(fast.tensors()[name], value, atol=2e-3), name
    assert np.all(fast.tables[0][:, size + 1 : fast.width] == 0)


def test_counts_and_weights_are_those_of_the_paper():
    values = np.array([0.5, 10, 100, 1000], np.float32)
    logs, weights = targets(values, 100.0, 0.75)
    assert logs == pytest.approx(np.log(values), rel=1e-6)
    assert weights == pytest.approx([(0.005) ** 0.75, 0.1**0.75, 1, 1], rel=1e-5)


def test_what_is_learned_from_lies_in_files_where_the_counts_do(tmp_path):
    counts = counts_of(2500)
    filed = np.memmap(tmp_path / "values", np.float32, "w+", shape=counts.values.shape)
    filed[:] = counts.values
    for one, other in zip(targets(counts.values, 10.0, 0.75), targets(filed, 10.0, 0.75), strict=True):
        assert isinstance(other, np.memmap)
        assert np.array_equal(one, other)


@pytest.mark.parametrize("tables", [FastTables, PlainTables])
def test_a_toy_is_fitted_to_the_logarithms_of_its_counts(tables):
    counts = count_pairs(np.array([0, 1, 2, 3, -1, 3, 1, 0, 0, 2, -1, 2, 2, 1, 3], np.int32), 4, window=3)
    model = tables(4, 6, 3)
    passes = model.passes(counts, 1.0, 0.75, 0.5, 3, 1, lambda part: False)
    costs = [next(passes).cost for _ in range(800)]
    assert costs[-1] < 1e-4 * costs[0]
    found = model.tensors()
    logs = found["input"] @ found["output"].T + found["input_bias"][:, None] + found["output_bias"]
    larger, smaller, values = counts.pairs()
    assert np.allclose(logs[larger, smaller], np.log(values), atol=0.03)
    assert np.allclose(logs[smaller, larger], np.log(values), atol=0.03)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("tables", [FastTables, PlainTables])
def test_the_cost_falls_with_each_pass(tables, threads, monkeypatch):
    monkeypatch.setattr(training, "PART", 500)
    monkeypatch.setattr(training, "TASK", 1000)
    passes = tables(2500, 20, 1).passes(counts_of(2500), 10.0, 0.75, 0.05, 1, threads, lambda part: False)
    costs = [next(passes).cost for _ in range(12)]
    assert all(later < earlier for earlier, later in itertools.pairwise(costs))


def test_fast_and_plain_reach_the_same_cost():
    counts, costs = counts_of(2500), []
    for tables in (FastTables, PlainTables):
        passes = tables(2500, 20, 1).passes(counts, 10.0, 0.75, 0.05, 1, 1, lambda part: False)
        costs.append([next(passes).cost for _ in range(8)][-1])
    assert costs[0] == pytest.approx(costs[1], rel=0.03)


@pytest.mark.parametrize("tables", [FastTables, PlainTables])
def test_one_thread_gives_the_same_bits_and_another_seed_others(tables):
    counts, found = counts_of(2500), []
    for seed in (1, 1, 2):
        model = tables(2500, 10, seed)
        next(model.passes(counts, 10.0, 0.75, 0.05, seed, 1, lambda part: False))
        found.append(model.tensors()["input"])
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_a_pass_ends_when_asked(monkeypatch):
    plain = PlainTables(300, 10, 1).passes(counts_of(300), 10.0, 0.75, 0.05, 1, 1, lambda part: True)
    assert next(plain) == Pass(cost=0, part=0)
    monkeypatch.setattr(training, "LOOK_SECONDS", 0.01)
    looks: list[float] = []

    def stop(part: float) -> bool:
        looks.append(part)
        return len(looks) > 3

    results, begun = training._shared_out(lambda task: time.sleep(0.005) or 1.0, [np.zeros(0)] * 1000, 2, stop)
    assert len(looks) == 4
    assert 0 < begun < 100
    assert sum(results) == begun
