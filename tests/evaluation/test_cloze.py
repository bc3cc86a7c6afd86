"""The judge: known models get known results."""
from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
import pytest
from word_world import items

from polysemy.capability import ClozeItem
from polysemy.errors import InputError
from polysemy.evaluation.bigram import UnigramControl
from polysemy.evaluation.cloze import ClozeResult, average, compare, judge, judge_scores
from polysemy.evaluation.cloze_items import Question
from polysemy.runtime import random_for

HARMONIC = sum(1 / rank for rank in range(1, 17)) / 16


def golds(questions: Sequence[Question]) -> np.ndarray:
    return np.eye(16)[[question.gold for question in questions]]


class Given:
    """A model with scores by question, and what it was asked."""

    def __init__(self, score) -> None:
        self.score, self.asked = score, []

    def cloze_scores(self, questions: Sequence[ClozeItem]) -> np.ndarray:
        self.asked += questions
        return np.array([self.score(question) for question in questions])


def noisy(share: float, seed: int = 0) -> ClozeResult:
    """The result of a model that knows `share` of the answers and guesses the rest."""
    scores = []
    for part, questions in (("dev", items().dev), ("test", items().test)):
        random = random_for("noisy", seed, part)
        scores.append(golds(questions) * (random.random(len(questions)) < share)[:, None] * 3
                      + random.normal(size=(len(questions), 16)))
    return judge_scores(*scores, items())


def test_a_model_that_knows_everything_is_always_right() -> None:
    summary = judge_scores(golds(items().dev), golds(items().test), items()).summary()
    assert summary["accuracy"] == summary["mrr"] == 1
    assert summary["bits"] < 0.01
    assert summary["interval"] == [1, 1]


def test_a_model_that_is_always_wrong_is_turned_around() -> None:
    """Calibration may take a negative number: who always names a wrong word knows the right one."""
    result = judge_scores(-golds(items().dev), -golds(items().test), items())
    assert result.summary()["accuracy"] == 1
    assert result.calibration.score < 0
    assert result.summary()["accuracy_uncalibrated"] == 0


def test_equal_scores_share_the_credit() -> None:
    silent = dataclasses.replace(items(), dev=tuple(dataclasses.replace(q, log_frequency=(-8.0,) * 16)
                                                    for q in items().dev),
                                 test=tuple(dataclasses.replace(q, log_frequency=(-8.0,) * 16) for q in items().test))
    summary = judge(Given(lambda question: [0.0] * 16), silent).summary()
    assert summary["accuracy"] == pytest.approx(1 / 16)
    assert summary["mrr"] == pytest.approx(HARMONIC)
    assert summary["bits"] == pytest.approx(4)
    assert summary["chance"] == 1 / 16
    assert summary["chance_bits"] == 4


def test_two_at_the_top_share_half_and_half() -> None:
    def top_two(question: Question) -> np.ndarray:
        scores = np.zeros(16)
        scores[[question.gold, (question.gold + 1) % 16]] = 1
        return scores

    scores = [np.array([top_two(question) for question in part]) for part in (items().dev, items().test)]
    result = judge_scores(*scores, items())
    assert result.raw_accuracy == pytest.approx(np.full(len(items().test), 0.5))
    assert result.bits.mean() == pytest.approx(1, abs=0.05)


def test_a_model_does_not_see_the_answers() -> None:
    model = Given(lambda question: np.eye(16)[question.gold])
    summary = judge(model, items()).summary()
    assert summary["accuracy"] < 0.2
    assert len(model.asked) == len(items().dev) + len(items().test)
    assert {type(question) for question in model.asked} == {ClozeItem}


def test_knowing_part_of_the_answers_shows() -> None:
    quarter, half = noisy(0.25).summary(), noisy(0.5).summary()
    assert 1 / 16 < quarter["interval"][0] < quarter["accuracy"] < quarter["interval"][1] < half["accuracy"]
    assert half["bits"] < quarter["bits"] < 4
    assert half["mrr"] > quarter["mrr"] > HARMONIC
    assert [band["name"] for band in half["bands"]] == list(items().bands)
    assert np.mean([band["accuracy"] for band in half["bands"]]) == pytest.approx(half["accuracy"])


def test_minus_infinity_is_the_least_score_and_nan_is_refused() -> None:
    def partly(question: ClozeItem) -> np.ndarray:
        scores = np.arange(16.0)
        scores[:5] = -np.inf
        return scores

    assert np.isfinite(judge(Given(partly), items()).bits).all()
    assert judge(Given(lambda question: np.full(16, -np.inf)), items()).summary()["bits"] == pytest.approx(4, abs=0.01)
    for bad in (np.nan, np.inf):
        with pytest.raises(InputError, match="cloze scores must be numbers"):
            judge(Given(lambda question, bad=bad: [bad] * 16), items())
    with pytest.raises(InputError, match="array of shape"):
        judge(Given(lambda question: [0.0] * 15), items())


def test_scores_in_other_units_give_the_same_result() -> None:
    first = judge(UnigramControl(), items())
    second = judge(Given(lambda question: 1e3 * np.array(question.log_frequency) + 77), items())
    assert first.bits == pytest.approx(second.bits, abs=1e-4)


def test_a_models_own_pieces_are_calibrated_away() -> None:
    """A score that falls by 5 with every piece hides what the model knows, unless its pieces are counted."""

    class Longwinded(Given):
        def piece_counts(self, words: Sequence[str]) -> list[int]:
            return [len(word) for word in words]

    def score(question: ClozeItem) -> np.ndarray:
        known = sum(map(ord, question.left[-20:])) % 2 == 0
        right = np.eye(16)[answers[question.left, question.right]] if known else np.zeros(16)
        return right - 5.0 * np.array([len(word) for word in question.candidates])

    answers = {(question.left, question.right): question.gold for question in items().dev + items().test}
    with_pieces, without = judge(Longwinded(score), items()), judge(Given(score), items())
    assert with_pieces.summary()["accuracy"] > 0.4 > without.summary()["accuracy"]


def test_progress_counts_the_questions() -> None:
    calls: list[tuple[int, int]] = []
    judge(UnigramControl(), items(), progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (900, 900)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_comparison_is_paired_and_ties_are_ties() -> None:
    weak, strong = noisy(0.3), noisy(0.5, seed=1)
    for metric in ("accuracy", "mrr", "bits"):
        assert compare(strong, weak, metric)["verdict"] == "better"
        assert compare(weak, strong, metric)["verdict"] == "worse"
    tie = compare(noisy(0.3), noisy(0.3, seed=2))
    assert tie["verdict"] == "tie"
    assert tie["interval"][0] <= 0 <= tie["interval"][1]
    with pytest.raises(InputError, match="metric must be one of"):
        compare(weak, strong, "speed")


def test_results_of_other_questions_are_not_compared() -> None:
    other = dataclasses.replace(noisy(0.5), items_hash="0" * 64)
    for together in (lambda: compare(noisy(0.5), other), lambda: average([noisy(0.5), other]), lambda: average([])):
        with pytest.raises(InputError, match="results must"):
            together()


def test_one_seed_is_labeled_and_several_are_averaged() -> None:
    single = noisy(0.4)
    assert single.summary()["label"].startswith("one seed")
    assert compare(single, single)["label"].startswith("one seed")
    both = average([noisy(0.4), noisy(0.4, seed=3)])
    assert both.summary()["label"] == "2 seeds"
    assert both.accuracy == pytest.approx((noisy(0.4).accuracy + noisy(0.4, seed=3).accuracy) / 2)


def test_a_result_survives_json() -> None:
    result = noisy(0.4)
    again = ClozeResult.from_dict(json.loads(json.dumps(result.to_dict())))
    assert compare(result, again)["difference"] == pytest.approx(0, abs=1e-6)
    assert again.summary()["bits"] == pytest.approx(result.summary()["bits"], abs=1e-5)
    json.dumps(result.summary(), allow_nan=False)
    with pytest.raises(InputError, match="cloze result must be"):
        ClozeResult.from_dict({"accuracy": [1.0]})
