"""A chain in which the last two of 20 symbols decide: what a model cannot see, and only that, costs it nats."""
from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from small_worlds import small_recipe

from polysemy.models.feed_forward import FeedForwardConfig
from polysemy.models.pretrained import PretrainingModel
from polysemy.models.recurrent import RecurrentConfig
from polysemy.runtime import random_for
from polysemy.training.optimizer import Optimizer, OptimizerConfig, rate_factor

SYMBOLS, ROWS, LENGTH = 20, 64, 32


@functools.cache
def source() -> np.ndarray:
    """(20, 20, 20): P(next | before last, last)."""
    return random_for("markov", 0).dirichlet(np.full(SYMBOLS, 1.0), (SYMBOLS, SYMBOLS))


def draw(rows: int, length: int, seed: int) -> np.ndarray:
    """Streams (rows, length) of the chain, well after their beginning."""
    random, cumulative = random_for("chain", seed), source().cumsum(-1)
    found = np.zeros((rows, length + 20), np.int64)
    for place in range(2, length + 20):
        shares = cumulative[found[:, place - 2], found[:, place - 1]]
        found[:, place] = np.minimum((random.random((rows, 1)) > shares).sum(1), SYMBOLS - 1)
    return found[:, 20:]


def excess(config: Any, steps: int, rate: float, seed: int = 0) -> float:
    """Nats a symbol above the chain's own, on held-out rows, after `steps` of fresh streams.

    What carries a state goes on from row to row; a Transformer begins anew, so its first place is left out.
    """
    model = PretrainingModel(config, ("next_token",), seed=seed)
    optimizer = Optimizer(model, OptimizerConfig(learning_rate=rate, weight_decay=0.0))
    carries = not hasattr(config, "transformer") or model.body.stateful
    text, state = draw(ROWS, LENGTH * steps + 1, 1), None
    for step in range(steps):
        ids = torch.from_numpy(text[:, step * LENGTH:(step + 1) * LENGTH + 1].copy())
        states, state = model.body.advance(ids[:, :-1].contiguous(), state)
        state = tuple(part.detach() for part in state) if carries else None
        loss = model.loss("next_token", states, {"hidden_at": torch.arange(ROWS * LENGTH),
                                                 "targets": ids[:, 1:].flatten()})
        (loss / (ROWS * LENGTH)).backward()
        optimizer.step(rate_factor(step / steps))
    held_out = draw(600, LENGTH + 1, 2)
    with torch.no_grad():
        states = model.eval().body(torch.from_numpy(held_out[:, :-1]))
        logs = model.next_logits(states[:, 1:]).log_softmax(-1)
        nats = -logs.gather(2, torch.from_numpy(held_out[:, 2:, None])).mean().item()
    own = -np.log(source()[held_out[:, :-2], held_out[:, 1:-1], held_out[:, 2:]]).mean()
    return nats - float(own)


def window(order: int) -> FeedForwardConfig:
    return FeedForwardConfig(vocab_size=SYMBOLS, order=order, embedding_size=32, inner_size=768, deviation=3.0)


@pytest.mark.slow
def test_a_window_of_two_symbols_knows_all_that_there_is_to_know() -> None:
    assert excess(window(3), 1500, 1e-2) < 0.01


@pytest.mark.slow
def test_a_window_of_one_symbol_cannot() -> None:
    assert excess(window(2), 100, 1e-2) > 0.3


@pytest.mark.slow
def test_an_lstm_remembers_what_it_needs() -> None:
    config = RecurrentConfig(vocab_size=SYMBOLS, hidden_size=192, num_layers=1, tied=False)
    assert excess(config, 600, 1e-2) < 0.08


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["gpt", "transformer-xl"])
def test_a_transformer_finds_the_two_symbols_that_decide(recipe: str) -> None:
    config = small_recipe(recipe, SYMBOLS, hidden_size=128, length=LENGTH)
    assert excess(config.model, 600, 3e-3) < 0.08
