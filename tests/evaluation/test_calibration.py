"""Three numbers, fitted: against closed forms, brute force and the truth they were simulated from."""
from __future__ import annotations

import numpy as np
import pytest

from polysemy.evaluation.calibration import Calibration, fit_calibration, log_softmax
from polysemy.runtime import random_for


def world(items: int = 4_000, truth: tuple[float, float, float] = (0.7, -0.4, 0.3), seed: int = 0):
    """Scores, log frequencies, pieces and golds drawn from P = softmax(a s + b log q + c pieces)."""
    random = random_for("calibration", seed)
    scores, frequency = 2 * random.normal(size=(items, 16)), random.normal(size=(items, 16)) - 8
    pieces = random.integers(1, 5, (items, 16)).astype(float)
    logits = Calibration(*truth).logits(scores, frequency, pieces)
    gold = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    return scores, frequency, pieces, gold


def loss(found: Calibration, scores, frequency, pieces, gold) -> float:
    log_p = log_softmax(found.logits(scores, frequency, pieces))
    return float(-log_p[np.arange(len(gold)), gold].mean())


def test_two_candidates_have_a_closed_form() -> None:
    """With scores (1, 0) and the first right in a share p of the items, a = log(p / (1 - p))."""
    scores = np.tile([1.0, 0.0], (1_000, 1))
    gold = np.repeat([0, 1], [800, 200])
    found = fit_calibration(scores, np.zeros_like(scores), np.ones_like(scores), gold)
    assert found.score == pytest.approx(np.log(4), abs=1e-4)
    assert (found.log_frequency, found.pieces) == (0, 0)


def test_weights_count_like_repeated_items() -> None:
    scores = np.tile([1.0, 0.0], (2, 1))
    nothing = np.zeros_like(scores)
    found = fit_calibration(scores, nothing, nothing, np.array([0, 1]), np.array([8.0, 2.0]))
    assert found.score == pytest.approx(np.log(4), abs=1e-4)


def test_the_numbers_that_made_the_data_are_found() -> None:
    truth = (0.7, -0.4, 0.3)
    found = fit_calibration(*world(truth=truth))
    assert (found.score, found.log_frequency, found.pieces) == pytest.approx(truth, abs=0.08)


def test_no_other_numbers_do_better() -> None:
    data = world(500)
    best = fit_calibration(*data)
    least = loss(best, *data)
    random = random_for("other numbers")
    for size in (1e-3, 1e-2, 0.1, 1.0):
        for _ in range(20):
            step = size * random.normal(size=3)
            other = Calibration(best.score + step[0], best.log_frequency + step[1], best.pieces + step[2])
            assert loss(other, *data) >= least - 1e-9


def test_scale_and_shift_of_a_model_do_not_matter() -> None:
    scores, frequency, pieces, gold = world(800)
    first = fit_calibration(scores, frequency, pieces, gold)
    moved = scores * 1e4 + 1e3 * np.arange(len(scores))[:, None]
    second = fit_calibration(moved, frequency, pieces, gold)
    assert second.score * 1e4 == pytest.approx(first.score, rel=1e-3)
    one, two = (log_softmax(c.logits(s, frequency, pieces)) for c, s in ((first, scores), (second, moved)))
    assert np.abs(one - two).max() < 1e-4


def test_a_perfect_model_keeps_finite_numbers() -> None:
    gold = np.arange(400) % 16
    scores = np.eye(16)[gold]
    found = fit_calibration(scores, np.zeros_like(scores), np.ones_like(scores), gold)
    assert np.isfinite(found.score)
    assert loss(found, scores, np.zeros_like(scores), np.ones_like(scores), gold) < 1e-3


def test_a_feature_that_never_differs_gets_no_number() -> None:
    scores, frequency, _, gold = world(300)
    found = fit_calibration(scores, frequency, np.full_like(scores, 3.0), gold)
    assert found.pieces == 0


def test_the_same_feature_twice_is_shared() -> None:
    """The frequency control scores with log q itself: only the sum of the two numbers is determined."""
    _, frequency, _, gold = world(2_000, truth=(0.0, 0.5, 0.0))
    found = fit_calibration(frequency, frequency, np.ones_like(frequency), gold)
    assert found.score + found.log_frequency == pytest.approx(0.5, abs=0.08)
    assert found.score == pytest.approx(found.log_frequency, abs=1e-6)
