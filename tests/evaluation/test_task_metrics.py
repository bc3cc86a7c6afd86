"""The metrics of every kind of task: worked by hand, held against the tools of the field, and at their corners."""
from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from polysemy.errors import InputError
from polysemy.evaluation.entity_metrics import entity_scores, has_entities, scheme_of, to_iob2
from polysemy.evaluation.task_metrics import class_scores, correlations, headline, majority_metrics, task_metrics
from polysemy.models.tasks import Classify, Embed, Regress, Span, Tag
from polysemy.runtime import random_for

YES_NO = Classify(labels=("no", "yes"))


def rows(labels: list[Any]) -> list[Any]:
    return [SimpleNamespace(label=label) for label in labels]


def test_two_labels_score_as_by_hand() -> None:
    """2 hits, 1 false alarm, 1 miss, 4 right refusals."""
    gold = ["yes"] * 3 + ["no"] * 5
    found = ["yes", "yes", "no", "yes", "no", "no", "no", "no"]
    scores = task_metrics(YES_NO, rows(found), rows(gold))
    assert scores["accuracy"] == 6 / 8
    assert scores["f1"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert scores["macro_f1"] == pytest.approx((4 / 6 + 8 / 10) / 2)
    assert scores["matthews"] == pytest.approx((2 * 4 - 1 * 1) / np.sqrt(3 * 3 * 5 * 5))


def test_f1_of_many_labels_is_told_once_as_the_macro_mean_over_the_tasks_labels() -> None:
    scores = class_scores(["a", "b", "b"], ["a", "a", "b"], ("a", "b", "c"))
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert list(scores) == ["accuracy", "macro_f1", "matthews"]


def test_one_answer_for_all_has_no_correlation_and_no_warning() -> None:
    assert class_scores(["no"] * 4, ["no"] * 4, ("no", "yes"))["matthews"] == 0
    assert correlations([1.0, 1.0, 1.0], [0.0, 1.0, 2.0]) == {"pearson": 0.0, "spearman": 0.0}


def test_correlations_are_those_of_their_definitions() -> None:
    random = random_for("correlations")
    a, b = random.normal(size=50), random.normal(size=50)
    found = correlations(a, a + b)  # type: ignore[arg-type]
    assert found["pearson"] == pytest.approx(np.corrcoef(a, a + b)[0, 1])
    ranks = [values.argsort().argsort() for values in (a, a + b)]
    assert found["spearman"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert correlations([0, 1, 2], [0, 1, 8])["spearman"] == pytest.approx(1)


def test_a_score_that_is_no_number_is_an_error() -> None:
    with pytest.raises(InputError, match="finite"):
        correlations([float("nan"), 1.0], [0.0, 1.0])


IOB2 = ["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "O"]
SCHEMES = {
    "IOB1": ["I-PER", "I-PER", "O", "I-LOC", "B-LOC", "O"],
    "IOB2": IOB2,
    "BIOES": ["B-PER", "E-PER", "O", "S-LOC", "S-LOC", "O"],
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_says_the_same(scheme: str) -> None:
    assert scheme_of([SCHEMES[scheme]]) == scheme
    assert to_iob2(SCHEMES[scheme], scheme) == IOB2  # type: ignore[arg-type]
    assert entity_scores([SCHEMES[scheme]], [SCHEMES[scheme]])["f1"] == 1


def test_bilou_is_bioes_by_other_letters() -> None:
    assert to_iob2(["B-PER", "L-PER", "O", "U-LOC", "U-LOC", "O"], "BIOES") == IOB2


def test_an_entity_counts_when_type_and_both_ends_are_right() -> None:
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["B-ORG", "O", "O", "B-LOC"]]
    found = [["B-PER", "O", "O", "B-LOC"], ["B-LOC", "O", "O", "B-LOC"]]  # a wrong end, a wrong type, two right
    assert entity_scores(found, gold) == pytest.approx({"precision": 2 / 4, "recall": 2 / 4, "f1": 2 / 4})


def test_a_prediction_that_breaks_its_scheme_is_no_entity() -> None:
    assert entity_scores([["O", "I-PER", "B-LOC"]], [["O", "B-PER", "B-LOC"]]) == pytest.approx(
        {"precision": 1.0, "recall": 0.5, "f1": 2 / 3})
    assert to_iob2(["B-PER", "I-PER", "O", "E-LOC", "B-LOC", "E-PER"], "BIOES") == ["O"] * 6


def test_no_entities_at_all_score_zero() -> None:
    assert entity_scores([["O", "O"]], [["O", "O"]])["f1"] == 0


def test_parts_of_speech_are_no_entities() -> None:
    assert not has_entities(("NOUN", "VERB"))
    assert has_entities(("B-PER", "I-PER", "O"))
    scores = task_metrics(Tag(labels=("NOUN", "VERB")), [SimpleNamespace(tags=["NOUN", "NOUN"])],
                          [SimpleNamespace(tags=["NOUN", "VERB"])])
    assert scores == {"accuracy": 0.5}


@dataclass
class Found:
    text: str
    span: str
    null_difference: float


def test_questions_say_which_threshold_had_been_best() -> None:
    questions = [SimpleNamespace(answers=((0, "Paris"),)), SimpleNamespace(answers=())]
    answers = [SimpleNamespace(answer=Found("", "Paris", 1.0)), SimpleNamespace(answer=Found("", "Rome", 2.0))]
    scores = task_metrics(Span(null=True), answers, questions)
    assert (scores["f1"], scores["best_f1"], scores["best_threshold"]) == (0.5, 1.0, 1.0)
    plain = task_metrics(Span(null=False), [SimpleNamespace(answer="Paris")], questions[:1])
    assert plain == {"exact_match": 1.0, "f1": 1.0}


def test_the_majority_is_the_floor() -> None:
    train, dev = rows(["no", "no", "yes"]), rows(["no", "yes", "yes", "yes"])
    assert majority_metrics(YES_NO, train, dev) == {
        "accuracy": 0.25, "f1": 0.0, "macro_f1": pytest.approx(0.2), "matthews": 0.0}
    scores = Regress(low=0.0, high=5.0)
    assert majority_metrics(scores, rows([1.0, 2.0]), rows([1.0, 2.0])) == {"pearson": 0.0, "spearman": 0.0}


def test_headlines() -> None:
    tasks = [YES_NO, Regress(low=0.0, high=5.0), Tag(labels=("B-X", "O")), Tag(labels=("N", "V")), Span(), Embed()]
    assert [headline(task) for task in tasks] == ["accuracy", "spearman", "f1", "accuracy", "f1", "spearman"]


def test_a_prediction_for_every_example() -> None:
    with pytest.raises(InputError, match="one an example, got 1 for 2"):
        task_metrics(YES_NO, rows(["no"]), rows(["no", "yes"]))
