"""The tasks: plain values by task, from whatever a model can do."""
from __future__ import annotations

import dataclasses
import json
from math import log

import pytest
from small_encoder import encoder
from word_world import items, split

from polysemy.capability import Score
from polysemy.errors import InputError
from polysemy.evaluation import tasks
from polysemy.evaluation.bigram import BigramControl
from polysemy.evaluation.cloze import ClozeResult
from polysemy.evaluation.cloze_items import Question
from polysemy.evaluation.masked_lm import masked_lm_loss
from polysemy.evaluation.passages import passages_of, passages_of_items, sentences_of
from polysemy.evaluation.tasks import evaluate


class Counter:
    """Scores a word 1 nat."""

    def score(self, text: str) -> Score:
        words = len(text.split())
        return Score(log_probability=-float(words), tokens=words, words=words, bytes=len(text.encode()))


def test_cloze_gives_the_numbers_of_the_contract() -> None:
    found = evaluate(BigramControl.train(split().train), ["cloze"], items())
    json.dumps(found, allow_nan=False)
    assert {"accuracy", "mrr", "bits", "bands", "interval", "label", "items_hash"} <= set(found["cloze"])
    assert "answers" not in found["cloze"]
    kept = evaluate(BigramControl.train(split().train), ["cloze"], split(), items=items(), details=True)["cloze"]
    assert ClozeResult.from_dict(kept.pop("answers")).summary()["accuracy"] == pytest.approx(found["cloze"]["accuracy"])
    assert kept == found["cloze"]


def test_perplexity_comes_from_held_out_text_or_from_the_questions() -> None:
    for source in (split(), items()):
        found = evaluate(Counter(), ["perplexity"], source)["perplexity"]
        assert found["perplexity"] == pytest.approx(2.718281828)
        assert found["words"] > 1_000


def test_a_masked_model_is_asked_all_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """With random weights it is as perplexed as its vocabulary is large, and honest about it."""
    for name, value in (("PSEUDO_WORDS", 40), ("LOSS_WORDS", 5_000), ("TIMED_SECONDS", 0.1)):
        monkeypatch.setattr(tasks, name, value)
    found = evaluate(encoder(), ["perplexity", "loss", "speed"], split())
    json.dumps(found, allow_nan=False)
    size = encoder().tokenizer.vocab_size
    assert found["perplexity"]["pseudo_perplexity"] == pytest.approx(size, rel=0.1)
    assert found["perplexity"]["bits_per_byte"] is None
    assert found["loss"]["masked_lm_loss"] == pytest.approx(log(size), abs=0.1)
    assert found["loss"]["targets"] > 500
    assert found["speed"]["operation"] == "embed"


def test_random_weights_are_at_chance_on_questions() -> None:
    def short(question: Question) -> Question:
        return dataclasses.replace(question, left=question.left[-30:], right=question.right[:30])

    few = dataclasses.replace(items(), dev=tuple(map(short, items().dev[:150])),
                              test=tuple(map(short, items().test[:150])))
    found = evaluate(encoder(), ["cloze"], few)["cloze"]
    assert found["bits"] == pytest.approx(4, abs=0.15)
    assert found["interval"][0] < 1 / 16 + 0.03


def test_masked_lm_loss_is_the_same_every_time_and_leaves_the_model_alone() -> None:
    texts = passages_of(split().test, words=2_000)
    assert not encoder().model.training
    first, second = (masked_lm_loss(encoder(), texts) for _ in range(2))
    assert first == second
    assert not encoder().model.training
    assert masked_lm_loss(encoder(), texts, seed=1)["masked_lm_loss"] != first["masked_lm_loss"]


@pytest.mark.parametrize(("task", "words"), [
    ("cloze", "must score cloze items"), ("perplexity", "must score texts"), ("loss", "masked-LM head"),
    ("speed", "must embed or score"), ("glue", "task must be one of"), ("clozes", "did you mean 'cloze'"),
])
def test_what_a_model_cannot_do_is_said(task: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        evaluate(object(), [task], items())


def test_cloze_needs_questions() -> None:
    with pytest.raises(InputError, match="items must be given"):
        evaluate(BigramControl.train(split().train), ["cloze"], split())


def test_passages_are_whole_beginnings_and_keyed() -> None:
    text = split().test.read_text(encoding="utf-8")
    found = passages_of(split().test, words=500, longest=20)
    assert all(f"\n{passage}" in f"\n{text}" and len(passage.split()) <= 20 for passage in found)
    assert 500 <= sum(len(passage.split()) for passage in found) < 520
    assert found == passages_of(split().test, words=500, longest=20)
    assert found != passages_of(split().test, words=500, longest=20, seed=1)


def test_questions_give_back_their_text() -> None:
    text = split().test.read_text(encoding="utf-8")
    found = passages_of_items(items().test, words=1_000)
    assert all(passage in text for passage in found)
    assert all(len(sentence.split()) >= 4 for sentence in sentences_of(found))
