"""NNLM: the paper's formula, its counts, the order of its words, and the frequencies it begins with."""
from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_models import tokenizer

from polysemy.errors import InputError
from polysemy.models import nnlm
from polysemy.models.feed_forward import FeedForwardConfig, FeedForwardLM
from polysemy.models.pretrained import PretrainingModel, count_parameters
from polysemy.models.recipe import PretrainingConfig

VOCABULARY = 20
SHAPES = [{"order": 4}, {"order": 4, "direct": True}, {"order": 2}, {"order": 2, "inner_size": 0, "direct": True}]


def config(**more: object) -> FeedForwardConfig:
    settings = {"vocab_size": VOCABULARY, "order": 4, "embedding_size": 3, "inner_size": 5, **more}
    return FeedForwardConfig(**settings)  # type: ignore[arg-type]


def model(**more: object) -> PretrainingModel:
    """In float64, with weights that matter."""
    made = PretrainingModel(config(**more), ("next_token",)).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return made


def text(rows: int = 3, length: int = 9) -> torch.Tensor:
    return torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_are_the_formula_of_the_paper(shape: dict[str, object]) -> None:
    made = model(**shape)
    body, head, ids = made.body, made.heads["next_token"], text(1)
    c, n, h = body.table, body.config.order, body.config.inner_size
    u, w = head.output.weight[:, :h], head.output.weight[:, h:]
    logits = made.next_logits(body(ids))
    for place in range(9):
        x = torch.cat([c[ids[0, place - i]] if place >= i else torch.zeros(3, dtype=torch.float64)
                       for i in range(n - 1)])
        y = head.bias
        y = y + u @ torch.tanh(body.inner.bias + body.inner.weight @ x) if h else y
        y = y + w @ x if body.config.direct else y
        torch.testing.assert_close(logits[0, place], y, atol=1e-10, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_parameters_follow_the_formula_of_the_paper(shape: dict[str, object]) -> None:
    made = config(**shape)
    assert count_parameters(PretrainingModel.empty(made, ("next_token",))) == made.num_parameters()


def test_with_direct_connections_the_count_is_that_of_section_2() -> None:
    v, n, m, h = 17_000, 5, 30, 100
    made = FeedForwardConfig(vocab_size=v, order=n, embedding_size=m, inner_size=h, direct=True)
    assert made.num_parameters() == v * (1 + n * m + h) + h * (1 + (n - 1) * m)


def test_the_order_of_the_words_matters() -> None:
    made = model()
    one, other = torch.tensor([[1, 2, 3]]), torch.tensor([[2, 1, 3]])
    assert not torch.allclose(made.next_logits(made.body(one))[0, -1], made.next_logits(made.body(other))[0, -1])


def test_gradients_are_those_of_finite_differences() -> None:
    made, ids = model(vocab_size=6, embedding_size=2, inner_size=3, direct=True), torch.tensor([[1, 4, 2, 5]])
    names = [name for name, _ in made.named_parameters()]
    tensors = {"ids": ids, "hidden_at": torch.arange(3), "targets": ids[0, 1:]}

    def loss(*values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(made, dict(zip(names, values, strict=True)), (tensors,))["next_token"]

    assert torch.autograd.gradcheck(loss, tuple(made.parameters()))


def test_without_a_layer_it_converges_to_the_shares_of_the_pairs() -> None:
    made = PretrainingModel(config(vocab_size=3, order=2, embedding_size=3, inner_size=0, direct=True),
                            ("next_token",)).double()
    with torch.no_grad():
        made.table.copy_(torch.eye(3))
    made.table.requires_grad_(False)
    counts = np.array([[6, 3, 1], [2, 2, 4], [5, 1, 2]])
    pairs = np.argwhere(np.ones((3, 3))).repeat(counts.ravel(), 0)
    tensors = {"ids": torch.from_numpy(pairs[:, :1].copy()), "hidden_at": torch.arange(len(pairs)),
               "targets": torch.from_numpy(pairs[:, 1].copy())}
    optimizer = torch.optim.LBFGS([p for p in made.parameters() if p.requires_grad], max_iter=200,
                                  tolerance_grad=1e-10, tolerance_change=1e-14)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = made(tensors)["next_token"]
        loss.backward()
        return loss

    optimizer.step(closure)
    found = made.next_logits(made.body(torch.tensor([[0], [1], [2]])))[:, 0].softmax(-1)
    np.testing.assert_allclose(found.detach().numpy(), counts / counts.sum(1, keepdims=True), atol=1e-4)


@pytest.mark.parametrize("cutoffs", [(), (20, 80)])
@pytest.mark.parametrize("direct", [False, True])
def test_the_first_loss_is_the_unigram_entropy_once_counts_are_known(direct: bool, cutoffs: tuple[int, ...]) -> None:
    made = PretrainingModel(config(vocab_size=200, embedding_size=30, inner_size=50, direct=direct, cutoffs=cutoffs),
                            ("next_token",))
    random = np.random.default_rng(0)
    ids = np.minimum(random.zipf(1.4, 40_000) - 1, 199)
    counts = np.bincount(ids, minlength=200)
    rows = torch.from_numpy(ids[:4000].reshape(8, 500))
    tensors = {"ids": rows, "hidden_at": torch.arange(4000), "targets": torch.from_numpy(ids[:4000])}
    if not cutoffs:
        assert made(tensors)["next_token"].item() / 4000 == pytest.approx(math.log(200), abs=0.1)
    head = made.heads["next_token"]
    (head.adaptive if cutoffs else head).start_from_counts(counts)  # type: ignore[union-attr]
    shares = (counts + 1) / (counts + 1).sum()
    entropy = -np.log(shares[ids[:4000]]).mean()
    assert made(tensors)["next_token"].item() / 4000 == pytest.approx(entropy, abs=0.01)


def test_the_table_is_given_as_vectors_of_the_words_that_are_one_piece() -> None:
    pieces = tokenizer("bytebpe")
    body = FeedForwardLM(config(vocab_size=pieces.vocab_size))
    words, vectors = body.word_vectors(pieces)
    assert "the" in words  # a piece with a space before it; "th" and "he" are pieces of words alone
    assert "th" not in words
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(words), 3)
    assert len(set(words)) == len(words)
    for word, vector in zip(words, vectors, strict=True):
        number = pieces.encode(f"{word} {word}").ids[-1]
        assert pieces.decode([number]).strip() == word
        np.testing.assert_array_equal(vector, body.table[number].detach().numpy())


@pytest.mark.parametrize("preset", ["paper", "ladder"])
def test_the_recipe_survives_json(preset: str) -> None:
    for size in nnlm.NNLM_SIZES:
        made = nnlm.configure(size, preset)
        assert PretrainingConfig.from_dict(made.to_dict()) == made
    assert all(sentence[-1] == "." for sentence in nnlm.DEVIATIONS)


@pytest.mark.parametrize(("settings", "wanted"), [
    ({"order": 1}, r"order must be in 2\.\.256, got 1"), ({"inner_size": 0}, "0 goes with direct=true only")])
def test_wrong_settings_are_refused(settings: dict[str, object], wanted: str) -> None:
    with pytest.raises(InputError, match=wanted):
        config(**settings)
