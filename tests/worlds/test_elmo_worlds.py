"""ELMo in worlds with known answers: nothing to know in noise, senses of a pseudo-word, one direction against both."""
from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from polysemy.models import elmo
from polysemy.models.bidirectional import BidirectionalConfig
from polysemy.models.pretrained import PretrainingModel
from polysemy.objectives.pretraining import Pretraining
from polysemy.runtime import random_for
from polysemy.text.shards import Shards
from polysemy.training.budget import Budget, Course
from polysemy.training.held_out import HeldOut
from polysemy.training.learner import Learner
from polysemy.training.loop import train
from polysemy.training.pretrain import make_batches
from small_runs import FIRST, SEP, Numbers

pytestmark = pytest.mark.slow
NEUTRAL, TOPICAL = 6, 8
PSEUDO_WORD = FIRST + NEUTRAL + 2 * TOPICAL
SIZE = PSEUDO_WORD + 1


def learned(shards: Shards, vocab_size: int, steps: int) -> tuple[PretrainingModel, Any]:
    """The ladder's recipe with a narrow body after so many steps, and what it makes of new rows of `shards`."""
    config = elmo.configure("tiny")
    body = config.model
    assert isinstance(body, BidirectionalConfig)
    config = config.replace(
        model=body.replace(vocab_size=vocab_size, cell_size=48, projection_size=16),
        training=config.training.replace(batch_size=16, length=32, learning_rate=0.01, dtype="float32"))
    model = PretrainingModel(config.model, config.heads, seed=0)
    learner = Learner.make(model, Pretraining(config.heads), config.training)
    tokenizer: Any = Numbers(vocab_size)
    for _ in train(learner, make_batches(config, shards, tokenizer, 0), config.training,
                   course=Course(Budget(steps=steps))):
        pass
    return model.eval(), lambda other: HeldOut(make_batches(config, other, tokenizer, 1), Pretraining(config.heads))


def noise(key: str) -> Shards:
    random = random_for("noise", key)
    return Shards.from_documents([[random.integers(FIRST, FIRST + 16, 200).tolist()] for _ in range(60)], FIRST + 16)


def test_in_noise_neither_direction_learns_more_than_there_is_to_know() -> None:
    model, judge = learned(noise("train"), FIRST + 16, 120)
    scores = judge(noise("new"))(model)
    for name in ("held_out_next_token", "held_out_previous_token"):
        assert math.log(16) - 0.02 < scores[name] < math.log(16) + 0.15  # a leak would bring it near 0


def sentence(random: np.random.Generator) -> tuple[list[int], int]:
    """Two words, the pseudo-word, two words, all of one topic or neutral; and the topic, which is its sense."""
    topic = int(random.integers(2))
    words = [FIRST + NEUTRAL + topic * TOPICAL + int(random.integers(TOPICAL)) if random.random() < 0.7
             else FIRST + int(random.integers(NEUTRAL)) for _ in range(4)]
    return [*words[:2], PSEUDO_WORD, *words[2:]], topic


@torch.no_grad()
def vectors(model: PretrainingModel, key: str, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """(layers, count, d) vectors of the pseudo-word in new sentences, and its senses."""
    random = random_for("sentences", key)
    sentences, senses = zip(*[sentence(random) for _ in range(count)], strict=True)
    shown = model.body(torch.tensor([[SEP, *words, SEP] for words in sentences]), hidden_states=True)
    return torch.stack(shown.layers)[:, :, 3].numpy(), np.array(senses)


def accuracy(train: np.ndarray, labels: np.ndarray, test: np.ndarray, gold: np.ndarray) -> float:
    """How often the nearer mean vector is that of the right sense."""
    means = np.stack([train[labels == sense].mean(0) for sense in range(2)])
    distances = ((test[:, None] - means) ** 2).sum(-1)
    return float((distances.argmin(1) == gold).mean())


def test_senses_of_a_pseudo_word_are_apart_in_context_and_one_point_without() -> None:
    random = random_for("sentences", "train")
    shards = Shards.from_documents([[sentence(random)[0]] for _ in range(3000)], SIZE)
    model, _ = learned(shards, SIZE, 250)
    (known, labels), (new, gold) = vectors(model, "known"), vectors(model, "new")
    found = [accuracy(known[layer], labels, new[layer], gold) for layer in range(3)]
    assert np.ptp(new[0], axis=0).max() == 0  # without context it is one vector, whatever the sense
    assert found[0] < 0.6
    assert found[1] > 0.95
    assert found[2] > 0.95
    one_way = [accuracy(known[2][:, half], labels, new[2][:, half], gold) for half in (slice(16), slice(16, 32))]
    assert max(one_way) < found[2]  # each direction misses the cues on its other side
