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

NOUNS = {"he": ("king", "uncle", "waiter", "monk"), "she": ("queen", "aunt", "nurse", "nun"),
         "it": ("robot", "engine", "lamp", "clock")}
COLORS = ("red", "green", "blue", "white", "black", "brown")
PLACES = ((1, 2), (5, 6), (9, 10))  # words: color and noun of each of the three


class Sentence(NamedTuple):
    """`the red king gave the green robot to the blue queen , then it slept`: it is green."""

    text: str
    pronoun: str
    color: str
    meant: tuple[int, int]
    """words of the antecedent and its color, counted without [CLS]"""
    others: tuple[tuple[int, int], ...]


def sentence(*key: int | str) -> Sentence:
    """One he, one she and one it in any order, three different colors."""
    random = random_for("coreference", *key)
    order = [str(pronoun) for pronoun in random.permutation(list(NOUNS))]
    nouns = [str(random.choice(NOUNS[pronoun])) for pronoun in order]
    colors = [str(color) for color in random.permutation(COLORS)[:3]]
    at = int(random.integers(3))
    first, second, third = (f"the {color} {noun}" for color, noun in zip(colors, nouns, strict=True))
    return Sentence(f"{first} gave {second} to {third} , then {order[at]} slept", order[at], colors[at], PLACES[at],
                    tuple(place for i, place in enumerate(PLACES) if i != at))


@pytest.fixture(scope="module")
def model() -> TextEncoder:
    """Two layers that must say, at the place of the pronoun, the color of who is meant."""
    made = [sentence(i) for i in range(300)]
    tokenizer = Tokenizer.train([one.text for one in made], TokenizerConfig(vocab_size=150, min_frequency=1))
    config = bert.configure("tiny", vocab_size=tokenizer.vocab_size)
    transformer = config.model.transformer.replace(hidden_size=48, num_heads=2, num_layers=2, intermediate_size=96,
                                                   dropout=0.0, attention_dropout=0.0, initializer="xavier")
    embedding = config.model.embedding.replace(vocab_size=tokenizer.vocab_size, dropout=0.0)
    config = config.replace(model=config.model.replace(transformer=transformer, embedding=embedding))
    encoder = TextEncoder(PretrainingModel(config.model, ("masked_lm",), seed=1), tokenizer, config)
    ids = {word: tokenizer.id_of(word) for word in (*COLORS, *NOUNS)}
    optimizer = torch.optim.Adam(encoder.model.parameters(), 2e-3)
    encoder.model.train()
    for step in range(400):
        batch = [sentence("train", step, i) for i in range(32)]
        rows = np.stack([encoder.row(tokenizer.encode(one.text).ids).ids for one in batch])
        at = [int(np.flatnonzero(row == ids[one.pronoun])[0]) for row, one in zip(rows, batch, strict=True)]
        states = encoder.model.body(torch.from_numpy(rows))
        places = torch.tensor(at) + torch.arange(len(batch)) * rows.shape[1]
        loss = torch.nn.functional.cross_entropy(encoder.model.masked_lm_logits(states, places),
                                                 torch.tensor([ids[one.color] for one in batch]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1  # it has learned who is meant
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
        meant.append(sum(row[:, :, 1 + place] for place in one.meant))  # 1: after [CLS]
        other.append(np.maximum(*(row[:, :, [1 + place for place in places]].sum(-1) for places in one.others)))
    return np.array(meant), np.array(other)


@pytest.mark.slow
def test_a_head_of_the_pronoun_points_at_its_antecedent(model: TextEncoder) -> None:
    """The head is chosen on some sentences and judged on others."""
    meant, other = shares(model, range(40))
    gap = (meant - other).mean(0)
    best = np.unravel_index(gap.argmax(), gap.shape)
    meant, other = shares(model, range(40, 100))
    meant, other = meant[:, *best], other[:, *best]
    chance = 2 / 17  # two of fourteen words, a comma and two marks
    assert meant.mean() > 3 * chance
    assert meant.mean() > other.mean() + 0.3
    assert (meant > other).mean() > 0.9


@pytest.mark.slow
def test_without_training_no_head_does(model: TextEncoder) -> None:
    fresh = TextEncoder(PretrainingModel(model.config.model, ("masked_lm",), seed=2), model.tokenizer, model.config)
    meant, other = shares(fresh, range(40))
    assert (meant - other).mean(0).max() < 0.1
