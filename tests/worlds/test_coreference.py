"""A planted world of pronouns: who is meant decides what must be said, so some head must point at who is meant."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch

from polysemy.models import bert
from polysemy.models.attention_labels import labels
from polysemy.models.attention_maps import attention_of, in_words
from polysemy.models.pretrained import PretrainingModel
from polysemy.models.text_encoder import TextEncoder
from polysemy.runtime import random_for
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

NOUNS = {"he": ("king", "uncle", "waiter", "monk", "father", "boy", "wizard", "duke"),
         "she": ("queen", "aunt", "nurse", "nun", "mother", "girl", "witch", "duchess"),
         "it": ("robot", "engine", "lamp", "clock", "kettle", "piano", "wagon", "mirror")}
PLACES = (1, 4, 7)
"""words of the three nouns"""


class Sentence(NamedTuple):
    """`the king gave the robot to the queen , then it slept`: it is the robot."""

    text: str
    pronoun: str
    noun: str
    meant: int
    """place of the antecedent among the words"""
    others: tuple[int, ...]


def sentence(*key: int | str) -> Sentence:
    """One he, one she and one it in any order."""
    random = random_for("coreference", *key)
    order = [str(pronoun) for pronoun in random.permutation(list(NOUNS))]
    nouns = [str(random.choice(NOUNS[pronoun])) for pronoun in order]
    at = int(random.integers(3))
    first, second, third = nouns
    return Sentence(f"the {first} gave the {second} to the {third} , then {order[at]} slept", order[at], nouns[at],
                    PLACES[at], tuple(place for i, place in enumerate(PLACES) if i != at))


@pytest.fixture(scope="module")
def model() -> TextEncoder:
    """Two layers that must say, at the place of the pronoun, who is meant."""
    made = [sentence(i) for i in range(300)]
    tokenizer = Tokenizer.train([one.text for one in made], TokenizerConfig(vocab_size=250, min_frequency=1))
    config = bert.configure("tiny", vocab_size=tokenizer.vocab_size)
    transformer = config.model.transformer.replace(hidden_size=48, num_heads=2, num_layers=2, intermediate_size=96,
                                                   dropout=0.0, attention_dropout=0.0, initializer="xavier", norm="pre")
    embedding = config.model.embedding.replace(vocab_size=tokenizer.vocab_size, dropout=0.0)
    config = config.replace(model=config.model.replace(transformer=transformer, embedding=embedding))
    encoder = TextEncoder(PretrainingModel(config.model, ("masked_lm",), seed=1), tokenizer, config)
    ids = {word: tokenizer.id_of(word) for word in (*NOUNS, *sum(NOUNS.values(), ()))}
    made = [sentence("train", i) for i in range(4000)]
    rows = torch.from_numpy(np.stack([encoder.row(tokenizer.encode(one.text).ids).ids for one in made]))
    targets = torch.tensor([ids[one.noun] for one in made])
    places = torch.isin(rows, torch.tensor([ids[pronoun] for pronoun in NOUNS])).int().argmax(1)
    optimizer = torch.optim.Adam(encoder.model.parameters(), 3e-3)
    encoder.model.train()
    losses = []
    for step in range(200):
        batch = torch.from_numpy(random_for("batch", step).integers(len(made), size=48))
        states = encoder.model.body(rows[batch])
        at = places[batch] + torch.arange(len(batch)) * rows.shape[1]
        loss = torch.nn.functional.cross_entropy(encoder.model.masked_lm_logits(states, at), targets[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-20:]) < 0.1  # it has learned who is meant
    encoder.model.eval()
    return encoder


def shares(model: TextEncoder, numbers: range) -> tuple[np.ndarray, np.ndarray]:
    """(sentences, layers, heads): what the pronoun gives to who is meant, and to the stronger of the others."""
    meant, other = [], []
    for i in numbers:
        one = sentence("test", i)
        found = attention_of(model, one.text)
        found = in_words(found, labels(found.pieces, model.tokenizer, [one.text]).words)
        row = found.weights[:, :, found.pieces.index(one.pronoun)]
        meant.append(row[:, :, 1 + one.meant])  # 1: after [CLS]
        other.append(row[:, :, [1 + place for place in one.others]].max(-1))
    return np.array(meant), np.array(other)


@pytest.mark.slow
def test_a_head_of_the_pronoun_points_at_its_antecedent(model: TextEncoder) -> None:
    """The head is chosen on some sentences and judged on others."""
    meant, other = shares(model, range(40))
    gap = (meant - other).mean(0)
    best = np.unravel_index(gap.argmax(), gap.shape)
    meant, other = shares(model, range(40, 100))
    meant, other = meant[:, *best], other[:, *best]
    assert meant.mean() > 5 / 14  # chance is 1 of 11 words, a comma and two marks
    assert meant.mean() > other.mean() + 0.3
    assert (meant > other).mean() > 0.75


@pytest.mark.slow
def test_without_training_no_head_does(model: TextEncoder) -> None:
    fresh = TextEncoder(PretrainingModel(model.config.model, ("masked_lm",), seed=2), model.tokenizer, model.config)
    meant, other = shares(fresh, range(40))
    assert (meant - other).mean(0).max() < 0.1
