"""Controls pass where the questions are sound and fail where they leak: on made-up and on real text."""
from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from word_world import items, split

from polysemy.evaluation import controls
from polysemy.evaluation.bigram import BigramControl, UnigramControl
from polysemy.evaluation.cloze import judge, judge_scores
from polysemy.evaluation.cloze_items import ClozeConfig, ClozeSet, Question
from polysemy.evaluation.cloze_making import make_items
from polysemy.evaluation.controls import (
    MiddleControl,
    RandomControl,
    RepeatControl,
    at_chance,
    find_planted,
    run_controls,
    shuffle_contexts,
)
from polysemy.evaluation.duplicates import RunIndex
from polysemy.evaluation.split import Split, split_corpus
from polysemy.text.corpus import Corpus, text_documents

CONTROLS = {"frequency": UnigramControl(), "random": RandomControl(), "repeats": RepeatControl(),
            "middle": MiddleControl()}


def changed(change) -> ClozeSet:
    """The world's questions, each changed."""
    return dataclasses.replace(items(), dev=tuple(map(change, items().dev)), test=tuple(map(change, items().test)))


def test_all_controls_pass_on_the_made_up_language() -> None:
    verdicts = run_controls(items(), split(), models={"bigram": BigramControl.train(split().train)})
    assert [verdict["name"] for verdict in verdicts] == [
        "word frequency", "random scores", "repeats in context", "middle candidate", "bigram, shuffled contexts",
        "planted copies"]
    for verdict in verdicts:
        assert verdict["passed"], verdict
    for verdict in verdicts[:-1]:
        assert verdict["interval"][0] <= 1 / 16 <= verdict["interval"][1]
        assert verdict["bits"] == pytest.approx(4, abs=0.03)


def test_knowledge_of_the_context_is_not_at_chance() -> None:
    verdict = at_chance("bigram", judge(BigramControl.train(split().train), items()))
    assert not verdict["passed"]
    assert verdict["accuracy"] > 0.3


def test_a_question_whose_answer_is_the_most_frequent_fails_the_control() -> None:
    def leaky(question: Question) -> Question:
        return dataclasses.replace(question, gold=int(np.argmax(question.log_frequency)))

    assert not at_chance("frequency", judge(UnigramControl(), changed(leaky)))["passed"]


def test_a_question_whose_answer_is_in_the_middle_fails_the_control() -> None:
    """What drawing neighbors on both sides of the right word does."""
    def leaky(question: Question) -> Question:
        return dataclasses.replace(question, gold=int(np.argsort(question.log_frequency)[7 + question.document % 2]))

    assert at_chance("frequency", judge(UnigramControl(), changed(leaky)))["accuracy"] < 0.2
    assert not at_chance("middle", judge(MiddleControl(), changed(leaky)))["passed"]


def test_a_question_whose_answer_recurs_fails_the_control() -> None:
    """What keeping the wrong words out of the context does when the right one may stand there."""
    def leaky(question: Question) -> Question:
        return dataclasses.replace(question, left=f"{question.candidates[question.gold]} {question.left}")

    assert not at_chance("repeats", judge(RepeatControl(), changed(leaky)))["passed"]


def test_untrained_models_stand_among_the_controls() -> None:
    names = [verdict["name"] for verdict in run_controls(items(), untrained={"bert": RandomControl(5)})]
    assert "bert, random weights" in names
    assert "planted copies" not in names


def test_shuffling_gives_every_question_the_context_of_another() -> None:
    shuffled = shuffle_contexts(items())
    for before, after in ((items().test, shuffled.test), (items().dev, shuffled.dev)):
        assert all(one.candidates == other.candidates and one.gold == other.gold
                   for one, other in zip(before, after, strict=True))
        assert not any(one.left == other.left and one.right == other.right
                       for one, other in zip(before, after, strict=True))
        assert sorted(question.left for question in before) == sorted(question.left for question in after)


def test_random_scores_are_keyed() -> None:
    one, two = (RandomControl(seed).cloze_scores(items().test[:20]) for seed in (1, 2))
    assert (one == RandomControl(1).cloze_scores(items().test[:20])).all()
    assert (one != two).all()


def test_planted_copies_are_found_and_a_blind_search_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = find_planted(split())
    assert (verdict["planted"], verdict["found"], verdict["false_alarms"]) == (50, 50, 0)
    assert verdict["passed"]
    monkeypatch.setattr(controls.RunIndex, "of_files", lambda paths: RunIndex([]))
    assert not find_planted(split())["passed"]


def test_honest_controls_pass_nearly_always() -> None:
    questions = items().test
    failed = 0
    for seed in range(30):
        random = RandomControl(seed)
        scores = random.cloze_scores([*items().dev, *questions])
        result = judge_scores(scores[: len(items().dev)], scores[len(items().dev) :], items())
        failed += not at_chance("random", result, seed=seed)["passed"]
    assert failed <= 1  # 30 / 370 expected


def real(texts: Sequence[str], folder: Path, **settings) -> tuple[Split, ClozeSet]:
    made = split_corpus(text_documents(texts), folder / "split")
    return made, make_items(made, ClozeConfig(**settings))


@pytest.mark.parametrize(("file", "number"), [("english/train.txt.xz", 700), ("chinese/corpus-zh.txt.xz", 15_000)])
def test_controls_pass_on_real_text(shared_data: Path, tmp_path: Path, file: str, number: int) -> None:
    texts = [document.text for document, _ in zip(Corpus([shared_data / file]), range(number), strict=False)]
    made, questions = real(texts, tmp_path, test_items=800, dev_items=600)
    model = BigramControl.train(made.train)
    for verdict in run_controls(questions, made, models={"bigram": model}):
        assert verdict["passed"], verdict
    assert judge(model, questions).summary()["interval"][0] > 0.25


@pytest.mark.slow
@pytest.mark.parametrize("file", ["english/train.txt.xz", "chinese/corpus-zh.txt.xz"])
def test_frequency_tells_next_to_nothing_of_thousands_of_answers(shared_data: Path, tmp_path: Path, file: str) -> None:
    made = split_corpus(Corpus([shared_data / file]), tmp_path / "split")
    result = judge(UnigramControl(), make_items(made, ClozeConfig(test_items=15_000, dev_items=15_000)))
    assert at_chance("frequency", result)["passed"]
    assert result.summary()["bits"] == pytest.approx(4, abs=0.002)
