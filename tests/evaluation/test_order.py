"""Shuffled sentences in order: tau knows right, wrong and chance, passages are as they should be, a head learns it."""
from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from small_encoder import encoder, tokenizer
from word_world import documents, items, split

from polysemy.cli.main import main
from polysemy.errors import InputError
from polysemy.evaluation.order import MOST, agreement, judge_order, passages_in, passages_to_order
from polysemy.evaluation.tasks import evaluate
from polysemy.models import albert
from polysemy.models.ordering import best_order
from polysemy.models.pretrained import PretrainingModel, write_run
from polysemy.models.recipe import PretrainingConfig
from polysemy.models.text_encoder import TextEncoder
from polysemy.objectives.pretraining import Pretraining
from polysemy.runtime import random_for
from polysemy.text.corpus import text_documents
from polysemy.text.segments import SentenceOrder
from polysemy.text.shards import prepare
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig
from polysemy.training.budget import Budget, Course
from polysemy.training.learner import Learner
from polysemy.training.loop import train
from polysemy.training.pretrain import fitted, make_batches

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
TOPICS = ("River", "Bank", "House", "Garden", "Doctor", "Letter", "Winter", "Captain", "Table", "Window")


def counters(count: int, seed: int) -> list[str]:
    """Documents of 3 to 8 sentences `Topic n topic n.`, n counting up from anywhere: n alone decides the order."""
    random, found = random_for("counters", seed), []
    for _ in range(count):
        size, topic = int(random.integers(3, 9)), str(random.choice(TOPICS))
        start = int(random.integers(0, len(NUMBERS) - size + 1))
        found.append(" ".join(f"{topic} {n} {topic.lower()} {n}." for n in NUMBERS[start:start + size]))
    return found


def stories(count: int) -> list[str]:
    """Documents of five paragraphs of three sentences of made-up words, each with a capital letter."""
    return [re.sub(r"(^|\. |\n)(\w)", lambda found: found[1] + found[2].upper(), text) for text in documents(count)]


class Scorer:
    """Orders by what it thinks of `Topic n topic n.`: the number times `weight`."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def order(self, sentences: Sequence[str]) -> list[int]:
        n = np.array([NUMBERS.index(sentence.split()[1]) for sentence in sentences])
        return best_order(self.weight * (n[None, :] - n[:, None]))


def test_tau_is_1_for_a_model_that_knows_the_order_and_minus_1_for_its_reverse() -> None:
    right, wrong = (judge_order(Scorer(weight), counters(50, 0)) for weight in (1.0, -1.0))
    assert right["kendall_tau"] == right["neighbors_in_order"] == 1
    assert wrong["kendall_tau"] == -1
    assert wrong["neighbors_in_order"] == 0
    assert right["kendall_tau_interval"] == [1, 1]
    assert (right["passages"], right["source_documents"]) == (50, 50)
    json.dumps(right, allow_nan=False)


def test_a_model_without_an_opinion_is_at_chance() -> None:
    """All orders tie and the first is taken, which would be the right one if sentences came unshuffled."""
    found = judge_order(Scorer(0.0), counters(400, 0), most=400)
    assert abs(found["kendall_tau"]) < 0.06
    assert abs(found["neighbors_in_order"] - 0.5) < 0.04
    low, high = found["kendall_tau_interval"]
    assert low < 0 < high
    assert 0.05 < high - low < 0.12, "the standard deviation of a random tau of 3 to 8 sentences is near 0.4"


def test_tau_is_pairs_in_order_less_pairs_that_are_not() -> None:
    assert agreement(np.array([0, 1, 2, 3])) == (1, 1)
    assert agreement(np.array([0, 2, 1, 3])) == pytest.approx(((5 - 1) / 6, 2 / 3))
    assert agreement(np.array([2, 0, 1])) == pytest.approx(((1 - 2) / 3, 1 / 2)), "0 before 1; 2 stands before 1"


def test_passages_are_paragraphs_or_whole_short_documents_in_their_order() -> None:
    two = "One is here. Two is here."
    three = "Three is here. Four is here. Five is here."
    assert passages_in(f"{two}\n{three}") == [("Three is here.", "Four is here.", "Five is here.")]
    assert passages_in(f"{two}\nSix.") == [("One is here.", "Two is here.", "Six.")], "no paragraph has three"
    assert passages_in("\n".join(f"Line {n} is here." for n in range(20))) == [
        tuple(f"Line {n} is here." for n in range(MOST))]
    assert passages_in("Line. Line. End.") == [], "equal sentences have no right order"
    assert passages_in(two) == []


def test_passages_are_keyed_and_spread_over_documents() -> None:
    texts = stories(40)
    found = passages_to_order(texts, most=60)
    assert found == passages_to_order(texts, most=60)
    assert found != passages_to_order(texts, most=60, seed=1)
    assert len(found) == 60
    assert np.bincount([passage.document for passage in found]).max() == 4
    assert len(passages_to_order(texts[:2], most=60)) == 10, "all paragraphs where documents are few"
    assert all(" ".join(sentences) in texts[document] for sentences, document in found)


def test_two_documents_are_too_few_for_an_interval() -> None:
    assert judge_order(Scorer(1.0), counters(2, 0))["kendall_tau_interval"] is None


def test_what_cannot_be_ordered_is_said() -> None:
    with pytest.raises(InputError, match="at least 3 sentences to be shuffled, got none in 1 documents"):
        judge_order(Scorer(1.0), ["One. Two."])
    with pytest.raises(InputError, match="must have a sentence-order head for this task, got object; train albert"):
        evaluate(object(), ["order"], split())
    with pytest.raises(InputError, match="must have learned sentence order, got bert with segments NextSentence"):
        evaluate(encoder(), ["order"], split())
    with pytest.raises(InputError, match="must be whole paragraphs for the order task, got cloze questions"):
        evaluate(Scorer(1.0), ["order"], items())


def narrow(tokenizer: Tokenizer, *, length: int, segments: SentenceOrder) -> PretrainingConfig:
    """ALBERT of the ladder, 64 wide."""
    config = fitted(albert.configure("tiny", vocab_size=300), tokenizer)
    transformer = config.model.transformer.replace(hidden_size=64, num_heads=2, intermediate_size=128)  # type: ignore[union-attr]
    training = config.training.replace(length=length, batch_size=32, learning_rate=2e-3, dtype="float32")
    return config.replace(model=config.model.replace(transformer=transformer), training=training, segments=segments,
                          corruption=config.corruption.replace(rate=0.15))  # type: ignore[union-attr]


def test_the_command_tells_tau_and_its_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Random weights are at chance."""
    config = narrow(tokenizer(), length=64, segments=SentenceOrder())
    write_run(tmp_path / "run", PretrainingModel(config.model, config.heads, seed=1), tokenizer(), config)
    (tmp_path / "text.txt").write_text("\n\n".join(stories(200)), encoding="utf-8")
    words = ["evaluate", str(tmp_path / "run"), "--task", "order", "--data", str(tmp_path / "text.txt")]
    assert main([*words, "--threads", "1"]) == 0
    shown = capsys.readouterr().out
    assert "95 % interval of kendall tau" in shown
    assert "a random order has a tau of 0" in shown
    found = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    low, high = found["kendall_tau_interval"]
    assert low < 0 < high
    assert found["kendall_tau"] == found["tasks"]["order"]["kendall_tau"]


@pytest.mark.slow
def test_a_trained_head_counts(tmp_path: Path) -> None:
    """The world of counters (tests/worlds/test_pretraining_worlds.py) as text, from training to tau."""
    texts = counters(2_000, 0)
    pieces = Tokenizer.train(texts, TokenizerConfig(kind="wordpiece", vocab_size=300))
    config = narrow(pieces, length=40, segments=SentenceOrder(short_rate=0.0))
    model = PretrainingModel(config.model, config.heads)
    learner = Learner.make(model, Pretraining(config.heads), config.training)
    shards = prepare(text_documents(texts), pieces, tmp_path, processes=1)
    for _ in train(learner, make_batches(config, shards, pieces, 0), config.training, course=Course(Budget(steps=600))):
        pass
    found = judge_order(TextEncoder(model, pieces, config), counters(100, 1))
    assert found["kendall_tau"] > 0.9
    assert found["neighbors_in_order"] > 0.95
