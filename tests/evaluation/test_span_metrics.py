"""SQuAD's formula on answers scored by hand, Chinese by characters, and the sweep of the threshold."""
from __future__ import annotations

import numpy as np
import pytest

from polysemy.evaluation.span_metrics import (
    answer_f1,
    best_threshold,
    exact_match,
    normalized_answer,
    span_scores,
)
from polysemy.runtime import random_for

BY_HAND = [
    # answer, golds, exact match, F1
    ("The Eiffel Tower!", ["eiffel tower"], 1, 1),
    ("in the Eiffel Tower", ["eiffel tower"], 0, 4 / 5),  # 2 same of 3 and 2
    ("Paris", ["London", "Paris, France"], 0, 2 / 3),  # the best gold: 1 same of 1 and 2
    ("Paris", ["Paris", "Paris, France"], 1, 1),
    ("to be or not to be", ["to be"], 0, 4 / 8),  # words count as often as both have them
    ("anthem", ["an them"], 0, 0),  # articles are whole words only: "an" goes, "anthem" stays
    ("U.S.A.", ["USA"], 1, 1),
    ("twenty-one", ["twenty one"], 0, 0),  # a hyphen vanishes without a space
    ("", ["Paris"], 0, 0),
    ("", [], 1, 1),
    ("Paris", [], 0, 0),
    ("the", ["Paris"], 0, 0),  # nothing is left of it
    ("", ["the", "."], 1, 1),  # golds that are nothing are no golds
    ("8–9 May", ["89 May"], 0, 1 / 2),  # SQuAD knows ASCII punctuation only
    ("北京 大学", ["北京大学"], 1, 1),
    ("北京", ["北京大学"], 0, 2 / 3),  # 2 same of 2 and 4
    ("京北", ["北京"], 0, 1),  # a bag has no order
    ("“1998年,夏天”。", ["1998年夏天"], 1, 1),
    ("iPhone手机", ["iphone 手机"], 1, 1),
]


@pytest.mark.parametrize(("answer", "golds", "exact", "f1"), BY_HAND)
def test_answers_score_as_by_hand(answer: str, golds: list[str], exact: float, f1: float) -> None:
    assert exact_match(answer, golds) == exact
    assert answer_f1(answer, golds) == pytest.approx(f1)


def test_what_is_left_of_an_answer() -> None:
    assert normalized_answer("  The  Cat's\tpaw, an (old) one. ") == "cats paw old one"
    assert normalized_answer("在2018年，", han=True) == "在 2018 年"


def test_questions_with_and_without_an_answer_are_told_apart() -> None:
    scores = span_scores(["Paris", "", "x", "", "y"], [["Paris"], ["Rome"], [], [], []])
    assert scores["exact_match"] == pytest.approx(2 / 5)
    assert scores["has_answer_f1"] == pytest.approx(1 / 2)
    assert scores["no_answer_accuracy"] == pytest.approx(1 / 3)
    assert "no_answer_accuracy" not in span_scores(["Paris"], [["Paris"]])


@pytest.mark.parametrize("trial", range(20))
def test_the_sweep_finds_what_trying_every_threshold_finds(trial: int) -> None:
    random = random_for("sweep", trial)
    count = int(random.integers(1, 40))
    gaps = np.round(random.normal(size=count), 1)  # many equal ones
    null = (random.random(count) < 0.4).astype(float)
    values = np.where(null == 1, 0.0, random.random(count))

    def score(threshold: float) -> float:
        return float(np.where(gaps > threshold, null, values).mean())

    threshold, best = best_threshold(values, null, gaps)  # type: ignore[arg-type]
    assert score(threshold) == pytest.approx(best)
    assert best == pytest.approx(max(score(x) for x in [gaps.min() - 1, *gaps, gaps.max() + 1]))


def test_of_equal_thresholds_the_one_nearest_to_zero_is_taken() -> None:
    assert best_threshold([1, 1, 0], [0, 0, 1], [-5.0, -0.5, 3.0]) == (-0.5, 1.0)
