"""Worlds of a few dozen symbols whose right answers are known, and recipes cut down to their size."""
from __future__ import annotations

from typing import Any

import numpy as np
import torch

from polysemy.models import RECIPES, resolve
from polysemy.models.pretrained import PretrainingModel
from polysemy.models.recipe import PretrainingConfig
from polysemy.objectives.pretraining import Pretraining
from polysemy.runtime import random_for
from polysemy.text.shards import Shards
from polysemy.training.budget import Budget, Course
from polysemy.training.learner import Learner
from polysemy.training.loop import train
from polysemy.training.pretrain import make_batches
from small_runs import CLS, FIRST, MASK, SEP, Numbers

STEMS = 6
"""nouns, and as many verbs; each has a singular and a plural form"""
SINGULAR, PLURAL = range(2)
DETERMINERS = FIRST
NOUNS = DETERMINERS + 2
VERBS = NOUNS + 2 * STEMS
PREPOSITIONS = VERBS + 2 * STEMS
STOP = PREPOSITIONS + 2
AGREEMENT_SIZE = STOP + 1


def small_recipe(name: str, vocab_size: int, *, hidden_size: int = 64, num_layers: int = 2, length: int = 32,
                 batch_size: int = 16, learning_rate: float = 3e-3) -> PretrainingConfig:
    """The ladder's recipe with a narrower body, shorter rows and 15 % hidden, so that answers stay decided."""
    config: PretrainingConfig = resolve(RECIPES[name].configure)(size="tiny", preset="ladder", vocab_size=300)
    body: Any = config.model.with_vocabulary(vocab_size)
    if hasattr(body, "transformer"):
        embedding = body.embedding.replace(factor_size=32 if body.embedding.factor_size else None)
        transformer = body.transformer.replace(hidden_size=hidden_size, num_layers=num_layers, num_heads=2,
                                               intermediate_size=2 * hidden_size)
        body = body.replace(embedding=embedding, transformer=transformer)
    training = config.training.replace(length=length, batch_size=batch_size, learning_rate=learning_rate,
                                       dtype="float32")
    hidden = None if config.corruption is None else config.corruption.replace(rate=0.15)
    return config.replace(model=body, training=training, corruption=hidden)


def batches_of(config: PretrainingConfig, shards: Shards, seed: int = 0) -> Any:
    tokenizer: Any = Numbers(config.model.vocab_size)
    return make_batches(config, shards, tokenizer, seed)


def learn(config: PretrainingConfig, shards: Shards, steps: int, seed: int = 0) -> PretrainingModel:
    """The model after so many steps, in evaluation mode."""
    model = PretrainingModel(config.model, config.heads, seed=seed)
    learner = Learner.make(model, Pretraining(config.heads), config.training, seed=seed)
    for _ in train(learner, batches_of(config, shards), config.training, course=Course(Budget(steps=steps))):
        pass
    return model.eval()


def agreement_sentence(random: np.random.Generator) -> tuple[list[int], int]:
    """Determiner noun (preposition determiner noun) verb stop, and the place of the verb.

    Determiner, noun and verb of the subject have one number; the noun phrase between may have the other.
    """
    def noun_phrase(number: int) -> list[int]:
        return [DETERMINERS + number, NOUNS + 2 * int(random.integers(STEMS)) + number]

    number = int(random.integers(2))
    words = noun_phrase(number)
    if random.random() < 0.5:
        words += [PREPOSITIONS + int(random.integers(2)), *noun_phrase(int(random.integers(2)))]
    words += [VERBS + 2 * int(random.integers(STEMS)) + number, STOP]
    return words, len(words) - 2


def agreement_shards(num_documents: int = 400) -> Shards:
    """Documents of two sentences, so that places are few and quickly learned."""
    random = random_for("agreement")
    return Shards.from_documents([[agreement_sentence(random)[0] for _ in range(2)] for _ in range(num_documents)],
                                 AGREEMENT_SIZE)


@torch.no_grad()
def agreement_accuracy(model: PretrainingModel, num_sentences: int = 300) -> float:
    """How often the likeliest filler of a new sentence's verb is a verb of the right number."""
    random, right = random_for("agreement", "new"), 0
    for _ in range(num_sentences):
        words, at = agreement_sentence(random)
        number = (words[at] - VERBS) % 2
        ids = torch.tensor([[CLS, *words, SEP]])
        ids[0, at + 1] = MASK
        best = int(model.masked_lm_logits(model.body(ids), torch.tensor([at + 1])).argmax())
        right += VERBS <= best < PREPOSITIONS and (best - VERBS) % 2 == number
    return right / num_sentences
