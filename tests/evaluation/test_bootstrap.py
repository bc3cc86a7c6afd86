"""Intervals by drawing documents, and paired comparison."""
from __future__ import annotations

import numpy as np
import pytest

from polysemy.evaluation.bootstrap import band_mean, compare_values, interval, resampled
from polysemy.runtime import random_for

NONE = np.zeros(600, np.int64)


def test_every_band_weighs_the_same() -> None:
    values, bands = np.array([1.0, 1.0, 1.0, 0.0]), np.array([0, 0, 0, 2])
    assert band_mean(values, bands) == 0.5


def test_the_interval_agrees_with_theory() -> None:
    values = random_for("bootstrap test").random(600)
    draws = resampled(values, NONE, np.arange(600))[:, 0]
    assert draws.mean() == pytest.approx(values.mean(), abs=0.002)
    assert draws.std() == pytest.approx(values.std() / np.sqrt(600), rel=0.08)
    low, high = interval(draws)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(600), rel=0.12)


def test_documents_are_drawn_and_not_questions() -> None:
    """Ten equal answers a document are one answer: the interval is that of 60, not of 600."""
    values, documents = np.repeat(random_for("clusters").random(60), 10), np.repeat(np.arange(60), 10)
    assert resampled(values, NONE, documents).std() == pytest.approx(values.std() / np.sqrt(60), rel=0.1)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for trial in range(100):
        values = (random_for("coverage", trial).random(300) < 0.3).astype(float)
        low, high = interval(resampled(values, NONE[:300], np.arange(300), seed=trial, samples=300)[:, 0])
        covered += low <= 0.3 <= high
    assert 88 <= covered <= 100


def test_equal_models_tie() -> None:
    values = random_for("tie").random(600)
    found = compare_values(values, values, NONE, np.arange(600))
    assert (found["difference"], found["interval"], found["verdict"]) == (0, [0, 0], "tie")


def test_what_is_hard_for_both_cancels_out() -> None:
    """Questions differ much more than models: unpaired intervals overlap, the paired one sees the difference."""
    hard = random_for("hard").random(600)
    noise = 0.05 * random_for("noise").normal(size=600)
    found = compare_values(hard + 0.02 + noise, hard, NONE, np.arange(600))
    assert found["verdict"] == "higher"
    assert compare_values(hard, hard + 0.02 + noise, NONE, np.arange(600))["verdict"] == "lower"
    apart = [interval(resampled(values, NONE, np.arange(600))[:, 0]) for values in (hard + 0.02, hard)]
    assert apart[0][0] < apart[1][1]


def test_chance_differences_tie_mostly() -> None:
    ties = 0
    for trial in range(30):
        first, second = (random_for("chance", trial, side).random(200) for side in range(2))
        ties += compare_values(first, second, NONE[:200], np.arange(200), seed=trial)["verdict"] == "tie"
    assert ties >= 25


def test_draws_are_keyed_by_seed() -> None:
    values, documents = random_for("keyed").random(600), np.arange(600) // 3
    assert (resampled(values, NONE, documents, seed=1) == resampled(values, NONE, documents, seed=1)).all()
    assert (resampled(values, NONE, documents, seed=1) != resampled(values, NONE, documents, seed=2)).any()
    both = resampled(np.stack([values, 1 - values], axis=1), NONE, documents, seed=1)
    assert np.allclose(both.sum(axis=1), 1)  # the columns see the same documents


def test_a_band_that_a_draw_misses_drops_out_of_it() -> None:
    values, bands, documents = np.array([1.0, 0.0]), np.array([0, 1]), np.array([0, 1])
    draws = resampled(values, bands, documents)[:, 0]
    assert set(np.unique(draws)) == {0.0, 0.5, 1.0}
