"""Contrastive losses: their definitions, who is no negative, and exact large batches."""
from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from polysemy.errors import InputError
from polysemy.models.encoder import EncoderConfig
from polysemy.models.pretrained import PretrainingModel
from polysemy.models.sentence_vectors import SentenceModel
from polysemy.nn.dropout import dropout_key
from polysemy.nn.embedding import EmbeddingConfig
from polysemy.nn.pooling import normalized
from polysemy.nn.transformer import TransformerConfig
from polysemy.objectives.contrastive import SentencePairs, cosent, in_batch_softmax
from polysemy.text.sentence_batches import SentenceBatch, SentenceBatches


def vectors(m: int, d: int = 8, seed: int = 0) -> Tensor:
    return normalized(torch.randn(m, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def plain_loss(first: Tensor, candidates: Tensor, left_out: Mapping[int, set[int]], temperature: float) -> float:
    """-log of the partner's share, one text after the other."""
    total = 0.0
    for i, a in enumerate(first):
        terms = {j: math.exp(float(a @ c) / temperature) for j, c in enumerate(candidates)
                 if j not in left_out.get(i, set())}
        total -= math.log(terms[i] / sum(terms.values()))
    return total


def test_softmax_over_the_batch_is_its_definition() -> None:
    v = vectors(10)  # 4 pairs and two hard negatives
    found = in_batch_softmax(v, torch.arange(10), 4, 0.1)
    assert float(found) == pytest.approx(plain_loss(v[:4], v[4:], {}, 0.1), rel=1e-12)


def test_both_directions_are_the_mean_of_the_two_questions() -> None:
    v = vectors(8)
    found = in_batch_softmax(v, torch.arange(8), 4, 0.1, both=True)
    wanted = (plain_loss(v[:4], v[4:], {}, 0.1) + plain_loss(v[4:], v[:4], {}, 0.1)) / 2
    assert float(found) == pytest.approx(wanted, rel=1e-12)


def test_equal_texts_are_no_negatives() -> None:
    v = vectors(9)
    # pairs (0, 4), (1, 4), (0, 5), (2, 1): two partners alike, two first texts alike, a first text as a partner
    texts = torch.tensor([0, 1, 0, 2, 4, 4, 5, 1, 4])  # the last is a hard negative that is the partner of two
    left_out = {0: {1, 2, 4}, 1: {0, 3, 4}, 2: {0}, 3: set()}
    found = in_batch_softmax(v, texts, 4, 0.1)
    assert float(found) == pytest.approx(plain_loss(v[:4], v[4:], left_out, 0.1), rel=1e-12)


def test_a_batch_of_one_text_over_and_over_has_no_loss() -> None:
    assert float(in_batch_softmax(vectors(8), torch.zeros(8, dtype=torch.int64), 4, 0.05, both=True)) == 0


def test_cosent_asks_for_the_order_alone() -> None:
    cosines, scores = torch.tensor([0.9, 0.1, 0.4], dtype=torch.float64), torch.tensor([1.0, 0.5, 0.0])
    wanted = math.log(1 + math.exp((0.1 - 0.9) / 0.05) + math.exp((0.4 - 0.9) / 0.05) + math.exp((0.4 - 0.1) / 0.05))
    assert float(cosent(cosines, scores)) == pytest.approx(wanted, rel=1e-12)
    assert float(cosent(cosines, torch.ones(3))) == 0


def batch(count: int = 6, scored: bool = False, twins: bool = False) -> SentenceBatch:
    random = np.random.default_rng(0)
    rows = [(random.integers(5, 40, n).astype(np.int64), np.zeros(n, np.int64)) for n in (3, 7, 2, 5, 9, 4, 6, 8)]
    first = random.permutation(8)[:count]
    pairs = np.stack([first, first if twins else (first + 3) % 8, np.where(first % 2, (first + 1) % 8, -1)], 1)
    scores = random.random(count) if scored else None
    return SentenceBatches(rows, pairs, scores, batch_size=count)[0]


def model(dropout: float = 0.3) -> SentenceModel:
    config = EncoderConfig(
        embedding=EmbeddingConfig(vocab_size=40, dropout=dropout),
        transformer=TransformerConfig(hidden_size=16, num_layers=2, num_heads=2, intermediate_size=24, dropout=dropout,
                                      attention_dropout=dropout, initializer="xavier"))
    return SentenceModel(PretrainingModel(config, (), seed=3).body).train()


def gradients(objective: SentencePairs, pairs: SentenceBatch) -> tuple[float, dict[str, Tensor]]:
    net = model()
    with dropout_key(1, 7, pairs.rows):
        sums = objective.losses(net, objective.tensors(pairs))
        total = objective.total(sums, objective.counts(pairs))
        total.backward()
    return float(total.detach()), {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("loss", ["softmax", "cosent", "cosine"])
@pytest.mark.parametrize("chunk_size", [1, 4, 7])
def test_chunks_give_the_gradient_of_the_whole_batch(loss: str, chunk_size: int) -> None:
    pairs = batch(scored=loss != "softmax")
    settings = {"temperature": 0.2, "both": True, "dimensions": (4, 8)}
    whole, wanted = gradients(SentencePairs(loss, **settings), pairs)  # type: ignore[arg-type]
    parts, found = gradients(SentencePairs(loss, chunk_size=chunk_size, **settings), pairs)  # type: ignore[arg-type]
    assert parts == pytest.approx(whole, rel=1e-6)
    assert found.keys() == wanted.keys()
    largest = max(float(gradient.abs().max()) for gradient in wanted.values())
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5 * largest, msg=name)


def test_prefixes_add_the_loss_of_the_first_numbers() -> None:
    pairs = batch()
    v = torch.randn(len(pairs.ids), 8)
    tensors = SentencePairs().tensors(pairs)
    one, two = SentencePairs().of_vectors(v, tensors), SentencePairs().of_vectors(v[:, :3], tensors)
    torch.testing.assert_close(SentencePairs(dimensions=(3,)).of_vectors(v, tensors), one + two)


def test_twins_are_read_under_two_dropout_masks() -> None:
    pairs = batch(twins=True)
    n = pairs.num_pairs
    tensors = SentencePairs().tensors(pairs)
    with dropout_key(0, 0, pairs.rows):
        found = model()(tensors)["vectors"]
    for i in range(n):
        assert pairs.texts[i] == pairs.texts[n + i]
        assert not torch.allclose(found[i], found[n + i], atol=1e-3)
    same = model(0.0)(tensors)["vectors"]
    torch.testing.assert_close(same[:n], same[n:2 * n])


def test_the_loss_falls_when_it_is_minimized() -> None:
    pairs, objective = batch(), SentencePairs(temperature=0.1)
    net, tensors = model(0.0), objective.tensors(pairs)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = objective.losses(net, tensors)["embed"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()) / pairs.num_pairs)
    assert losses[0] > 1
    assert losses[-1] < 0.1


def test_a_batch_cannot_be_cut() -> None:
    pairs = batch()
    assert pairs.part(range(len(pairs.ids))) is pairs
    with pytest.raises(InputError, match="a batch of pairs must be learned from whole"):
        pairs.part([0, 1])


def test_every_pair_stands_once_an_epoch_in_an_order_of_its_seed() -> None:
    rows = [(np.array([i]), np.zeros(1, np.int64)) for i in range(20)]
    pairs = np.stack([np.arange(10), np.arange(10, 20), np.full(10, -1)], 1)
    batches = SentenceBatches(rows, pairs, batch_size=4, seed=1)
    read = np.concatenate([batches[t].texts[:4] for t in range(5)])  # two epochs
    assert sorted(read[:10]) == sorted(read[10:]) == list(range(10))
    assert not np.array_equal(read[:10], read[10:])
    again = SentenceBatches(rows, pairs, batch_size=4, seed=1)[3]
    np.testing.assert_array_equal(again.ids, batches[3].ids)
    assert not np.array_equal(SentenceBatches(rows, pairs, batch_size=4, seed=2)[0].ids, batches[0].ids)
    assert len(set(batches[2].rows.tolist())) == len(batches[2].rows)


@pytest.mark.parametrize(("settings", "message"), [({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
                                                   ({"chunk_size": 0}, "chunk_size must be at least 1, got 0")])
def test_bad_settings_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SentencePairs(**settings)  # type: ignore[arg-type]
