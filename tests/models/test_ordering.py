"""Sentences in order: exact for few, near the exact value for many, the head's meaning respected."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from small_models import SENTENCES, encoder

from polysemy.errors import InputError
from polysemy.models.ordering import _improved, _values, best_order, pair_scores
from polysemy.runtime import random_for


def evidence(order: list[int], noise: float, seed: int) -> np.ndarray:
    """Antisymmetric scores that favor `order`, with noise."""
    n = len(order)
    place = np.argsort(order)
    scores = np.sign(place[None, :] - place[:, None]) + noise * random_for("order", seed).normal(size=(n, n))
    return (scores - scores.T) / 2


@pytest.mark.parametrize("n", [2, 5, 8, 15, 40])
def test_clear_evidence_gives_the_order_back(n: int) -> None:
    order = random_for("shuffle", n).permutation(n).tolist()
    assert best_order(evidence(order, 0.0, n)) == order


def test_search_is_near_the_exact_value() -> None:
    ratios = []
    for seed in range(10):
        scores = evidence(list(range(8)), 2.0, seed)
        exact = _values(scores, np.array([best_order(scores)]))[0]
        found = _values(scores, np.array([_improved(scores, random_for(seed).permutation(8).tolist())]))[0]
        assert found <= exact + 1e-9
        ratios.append(found / exact)
    assert np.mean(ratios) > 0.97


def test_pair_scores_hear_both_readings() -> None:
    model = encoder("albert")
    sentences = SENTENCES[:3]
    odds = pair_scores(model, sentences)
    np.testing.assert_allclose(odds, -odds.T)
    encodings = model.encode(sentences)

    def log_odds(i: int, j: int) -> float:
        row = model.row(encodings[i].ids, encodings[j].ids)
        with torch.no_grad():
            states = model.model.body(torch.from_numpy(row.ids)[None], None, torch.from_numpy(row.segments)[None])
            logits = model.model.heads["pair"](states, torch.tensor([0]))[0]
        return float(logits[0] - logits[1])

    assert odds[0, 1] == pytest.approx((log_odds(0, 1) - log_odds(1, 0)) / 2, abs=1e-4)


def test_order_gives_each_sentence_once() -> None:
    assert sorted(encoder("albert").order(SENTENCES * 2)) == list(range(14))
    assert encoder("albert").order(["one"]) == [0]


def test_a_model_that_did_not_learn_order_is_refused() -> None:
    with pytest.raises(InputError, match="must have learned sentence order, got bert with segments NextSentence"):
        encoder("bert").order(SENTENCES)
    with pytest.raises(InputError, match="sentences must be at most 200"):
        encoder("albert").order(["a"] * 201)
