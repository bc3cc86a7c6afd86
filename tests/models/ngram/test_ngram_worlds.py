"""N-gram models where the right number is known: a chain whose entropy is exact, and a public text."""
from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from ngram_twin import SPACE

from polysemy.models.ngram import NgramConfig, NgramModel
from polysemy.models.ngram.building import build
from polysemy.text.corpus import text_documents
from polysemy.text.encoded import encode
from polysemy.text.vocabulary import Vocabulary

SYMBOLS, TRAINING, HELD_OUT = 20, 1_000_000, 200_000


def markov(random: np.random.Generator) -> tuple[np.ndarray, float]:
    """A row of symbols, each drawn given the two before, and the entropy of one given the two before, in nats."""
    share = random.dirichlet(np.full(SYMBOLS, 0.3), (SYMBOLS, SYMBOLS))
    sums, draws = share.cumsum(-1).tolist(), random.random(TRAINING + HELD_OUT).tolist()
    from bisect import bisect

    row, a, b = [], 0, 0
    for draw in draws:
        a, b = b, min(bisect(sums[a][b], draw), SYMBOLS - 1)
        row.append(b)
    pairs = np.full((SYMBOLS, SYMBOLS), 1 / SYMBOLS**2)
    for _ in range(200):
        pairs = np.einsum("ab,abc->bc", pairs, share)
    entropies = -(share * np.log(np.maximum(share, 1e-300))).sum(-1)
    return np.array(row, np.int32), float((pairs * entropies).sum())


@pytest.mark.slow
def test_a_chain_that_looks_two_back_is_learned_by_three_words_and_not_by_two():
    row, entropy = markov(np.random.default_rng(5))
    vocabulary = Vocabulary([f"s{i}" for i in range(SYMBOLS)], np.bincount(row, minlength=SYMBOLS), SPACE, len(row))
    held = np.append(row[TRAINING:], -1)
    losses = {}
    for order in (2, 3):
        config = NgramConfig(order=order, words=SPACE)
        model = NgramModel(build(np.append(row[:TRAINING], -1), SYMBOLS, config)[0], vocabulary, config)
        losses[order] = -np.log(10) * model.score_tokens(held)[2:-1].mean()
    assert losses[3] == pytest.approx(entropy, abs=0.01)
    assert losses[2] > entropy + 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("order", "expected"), [(5, {"valid": 239.98, "test": 224.81}), (3, {"test": 230.89})])
def test_wikitext_2_has_the_perplexity_that_kenlm_gives_it(shared_data: Path, order, expected):
    def text(name: str) -> list[str]:
        with gzip.open(shared_data / "wikitext-2" / f"{name}.txt.gz", "rt", encoding="utf-8") as file:
            return [line for line in file if line.strip()]

    config = NgramConfig(order=order, words=SPACE)
    found = encode(text_documents(text("train")), config.word_config, threads=1)
    model = NgramModel(build(found.tokens, len(found.vocabulary), config)[0], found.vocabulary, config)
    for name, perplexity in expected.items():
        held = encode(text_documents(text(name)), config.word_config, vocabulary=found.vocabulary, threads=1)
        assert model.perplexity_of(held.tokens).with_unknown == pytest.approx(perplexity, abs=0.05)
