"""Each pretraining objective learns a world in which its answer is decided, and fails where it cannot be seen."""
from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from small_worlds import AGREEMENT_SIZE, agreement_accuracy, agreement_shards, batches_of, learn, small_recipe

from polysemy.models import RECIPES
from polysemy.models.pretrained import PretrainingModel
from polysemy.models.recipe import PretrainingConfig
from polysemy.objectives.pretraining import Pretraining, correct, encode, tensors_of
from polysemy.runtime import random_for
from polysemy.text.masking import Spans
from polysemy.text.segments import FullSentences, NextSentence, SentenceOrder
from polysemy.text.shards import Shards
from polysemy.training.budget import Budget, Course
from polysemy.training.learner import Learner
from polysemy.training.loop import train
from small_runs import CLS, FIRST, MASK, SEP

NEURAL = [name for name, row in RECIPES.items() if row.train and not row.fit]


@pytest.mark.parametrize("name", NEURAL)
def test_first_losses_are_those_of_guessing(name: str) -> None:
    config = small_recipe(name, AGREEMENT_SIZE)
    model = PretrainingModel(config.model, config.heads).eval()
    objective, batch = Pretraining(config.heads), batches_of(config, agreement_shards())[0]
    with torch.no_grad():
        sums = objective.losses(model, tensors_of(batch))
    means = objective.means({name: value.item() for name, value in sums.items()}, objective.counts(batch))
    for head, loss in means.items():
        assert loss == pytest.approx(math.log(2 if head == "pair" else AGREEMENT_SIZE), rel=0.08), head


@pytest.mark.parametrize("name", NEURAL)
def test_one_batch_can_be_learned_by_heart(name: str) -> None:
    config = small_recipe(name, AGREEMENT_SIZE, batch_size=4)
    batch = batches_of(config, agreement_shards())[0]

    class One:
        def __getitem__(self, t: int) -> object:
            return batch

    model = PretrainingModel(config.model, config.heads)
    learner = Learner.make(model, Pretraining(config.heads), config.training)
    last = 9.0
    for step in train(learner, One(), config.training, course=Course(Budget(steps=400 if name == "lstm" else 250))):  # type: ignore[arg-type]
        last = step.loss
    assert last < (0.1 if "next_token" not in config.heads else 0.3), "what stands after a mark cannot be known"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "steps"), [("bert", 500), ("roberta", 500), ("albert", 700)])
def test_a_hidden_verb_agrees_with_its_subject(name: str, steps: int) -> None:
    config = small_recipe(name, AGREEMENT_SIZE, batch_size=48, learning_rate=2e-3)
    config = config.replace(corruption=config.corruption.replace(rate=0.25))
    if isinstance(config.segments, FullSentences):
        config = config.replace(segments=FullSentences(cross_documents=False))
    untrained = PretrainingModel(config.model, config.heads).eval()
    assert agreement_accuracy(untrained) < 0.7
    assert agreement_accuracy(learn(config, agreement_shards(), steps)) == 1.0


def counters(num_documents: int, sentences: int) -> Shards:
    """Sentence n of document d is `topic_d n topic_d n`: n decides the order, the topic what belongs together."""
    documents = [[[FIRST + sentences + d, FIRST + n] * 2 for n in range(sentences)] for d in range(num_documents)]
    return Shards.from_documents(documents, FIRST + sentences + num_documents)


def pair_recipe(segments: NextSentence | SentenceOrder, vocab_size: int) -> PretrainingConfig:
    config = small_recipe("bert", vocab_size, batch_size=32, length=20, learning_rate=2e-3)
    return config.replace(segments=segments.replace(short_rate=0.0))


def pair_accuracy(model: PretrainingModel, config: PretrainingConfig, shards: Shards) -> float:
    """On pairs drawn anew, with nothing hidden."""
    batches, right, count = batches_of(config, shards, seed=99), 0, 0
    for t in range(8):
        tensors = tensors_of(batches[t])
        tensors["ids"].view(-1)[tensors["hidden_at"]] = tensors["targets"]
        right += correct(model, encode(model, tensors), tensors, "pair")
        count += len(batches[t].pair_labels)
    return right / count


@pytest.mark.slow
def test_the_order_of_sentences_is_learned_and_a_bag_of_words_cannot_see_it() -> None:
    shards = counters(20, 12)
    config = pair_recipe(SentenceOrder(), shards.vocab_size)
    assert pair_accuracy(learn(config, shards, 600), config, shards) > 0.995
    bag = config.replace(model=config.model.replace(
        embedding=config.model.embedding.replace(position=None, num_segments=0),
        transformer=config.model.transformer.replace(distance=None)))
    assert pair_accuracy(learn(bag, shards, 300), bag, shards) == pytest.approx(0.5, abs=0.06)


@pytest.mark.slow
def test_what_belongs_together_is_learned() -> None:
    shards = counters(6, 40)
    config = pair_recipe(NextSentence(), shards.vocab_size)
    assert pair_accuracy(learn(config, shards, 500), config, shards) > 0.99


KEYS, VALUES, WIDTH = 5, 12, 3
KEY_VALUE_SIZE = FIRST + KEYS + VALUES


def key_values(num_documents: int = 150) -> tuple[Shards, np.ndarray]:
    """Keys with a word of three pieces between each two, which the two keys decide; the table (left, right, piece)."""
    random = random_for("key values")
    table = FIRST + KEYS + random.integers(0, VALUES, (KEYS, KEYS, WIDTH))
    documents, starts = [], []
    for _ in range(num_documents):
        keys = random.integers(0, KEYS, 6)
        sentence, begins = [FIRST + int(keys[0])], [True]
        for left, right in itertools.pairwise(keys):
            sentence += [*table[left, right].tolist(), FIRST + int(right)]
            begins += [True, False, False, True]
        documents.append([sentence])
        starts.append([begins])
    return Shards.from_documents(documents, KEY_VALUE_SIZE, starts), table


@pytest.mark.slow
def test_a_span_is_read_from_its_two_borders_alone() -> None:
    shards, table = key_values()
    config = small_recipe("spanbert", KEY_VALUE_SIZE, learning_rate=4e-3)
    model = learn(config.replace(corruption=Spans(longest=1, rate=0.2)), shards, 400)
    right = 0
    for left, other in itertools.product(range(KEYS), repeat=2):
        ids = torch.tensor([[CLS, FIRST + left, MASK, MASK, MASK, FIRST + other, SEP]])
        with torch.no_grad():
            states = model.body(ids)
            states[0, 2:5] = 0  # the span's own states have no say
            borders = (torch.tensor([1] * 3), torch.tensor([5] * 3), torch.arange(1, 4))
            found = model.heads["span_boundary"](states, *borders, model.table).argmax(-1)
        right += int((found.numpy() == table[left, other]).sum())
    assert right == KEYS * KEYS * WIDTH
