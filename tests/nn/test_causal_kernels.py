"""Attention in pieces when a query sees only the keys near it: causal and local, against a mask over everything."""
from __future__ import annotations

import pytest
import torch

from polysemy.models.encoder import Encoder, EncoderConfig
from polysemy.nn.cross_entropy import linear_cross_entropy
from polysemy.nn.dropout import Drop, Dropout, drop, dropout_key
from polysemy.nn.embedding import EmbeddingConfig
from polysemy.nn.fused import attend, attention_fits
from polysemy.nn.initialization import initialize
from polysemy.nn.local import Local
from polysemy.nn.pieces import Pieces
from polysemy.nn.position import Rotary, rotation
from polysemy.nn.transformer import TransformerConfig, fits_pieces

bfloat16_only = pytest.mark.skipif(not attention_fits(torch.zeros(1, dtype=torch.bfloat16), 32),
                                   reason="this processor does not multiply bfloat16")
CAUSAL = {"causal": True}
NEAR = [CAUSAL, {"reach": 9}, {"causal": True, "reach": 20}, {"reach": 1000}, {"reach": 0}]
near = pytest.mark.parametrize("near", NEAR, ids=["causal", "local", "local-causal", "far", "self"])
LENGTHS = [1, 5, 16, 17, 48, 49, 130, 2, 96, 200]
"""of the pieces; some begin in the middle of a row of the batch"""


def in_a_row(lengths: list[int], at: torch.Tensor | None, **near) -> Pieces:
    """Pieces one after the other, the i-th beginning at column 3 i, of which the tokens `at` ask."""
    counts = torch.tensor(lengths)
    starts = counts.cumsum(0) - counts
    found = Pieces(torch.stack([starts, counts, starts, counts, 3 * torch.arange(len(lengths))], 1)).within(**near)
    return found if at is None else found.of(at)


def some(total: int) -> torch.Tensor:
    """Tokens that ask: stretches and single ones, and pieces where nobody does."""
    chosen = torch.rand(total, generator=torch.Generator().manual_seed(3)) < 0.15
    chosen[100:180] = True
    chosen[6:40] = False
    return chosen.nonzero()[:, 0]


def everything(q, kv, bias, lengths: list[int], at, near: dict, rotary: Rotary | None, heads: int,
               dropped: Drop | None) -> torch.Tensor:
    """One softmax over all tokens with all that is not seen masked, in float64."""
    q, k, v = ((x + part).unflatten(1, (heads, -1)).transpose(0, 1)
               for x, part in zip((q, *kv.chunk(2, 1)), bias.chunk(3), strict=True))
    piece = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    place = torch.cat([torch.arange(length) for length in lengths])
    if rotary is not None:
        turn = rotation(rotary, place[None], q.shape[2], torch.float64)
        k, q = (turn._replace(cosine=turn.cosine[0][:, chosen], sine=turn.sine[0][:, chosen]).turn(x)
                for x, chosen in ((k, slice(None)), (q, at)))
    reach = near.get("reach", 10_000)
    back = place[at][:, None] - place
    seen = (piece[at][:, None] == piece) & (back <= reach) & (back >= (0 if near.get("causal") else -reach))
    weights = (q @ k.transpose(1, 2) * q.shape[2]**-0.5).masked_fill(~seen, -torch.inf).softmax(-1)
    if dropped is not None:
        column, width = 3 * piece + place, 3 * len(lengths) + max(lengths)
        head = torch.arange(heads, dtype=torch.int32)[:, None] << 16
        columns = column.expand(heads, len(at), -1)
        wide = torch.zeros(heads, len(at), width, dtype=torch.float64)
        thinned = [drop(wide.scatter(2, columns[:, :, piece == i], weights[:, :, piece == i]),
                        dropped._replace(keys=dropped.keys ^ head)).gather(2, columns[:, :, piece == i])
                   for i in range(len(lengths))]
        weights = torch.cat(thinned, 2)
    return (weights @ v).transpose(0, 1).flatten(1)


@near
@pytest.mark.parametrize("dropped", [False, True], ids=["", "dropout"])
@pytest.mark.parametrize("asking", ["all", "some"])
@pytest.mark.parametrize(("head_size", "rotary"), [(32, None), (64, Rotary())], ids=["32", "64-rotary"])
@pytest.mark.parametrize("dtype", [pytest.param(torch.bfloat16, marks=bfloat16_only), torch.float32],
                         ids=["bfloat16", "float32"])
def test_kernel_and_twin_see_what_a_mask_over_everything_lets_through(dtype, head_size, rotary, asking, dropped, near):
    total, d = sum(LENGTHS), 2 * head_size
    at = torch.arange(total) if asking == "all" else some(total)
    pieces = in_a_row(LENGTHS, None, **near)
    if rotary is not None:
        places = torch.cat([torch.arange(length) for length in LENGTHS])
        pieces = pieces.turned(rotary, places, head_size)
    pieces = pieces if asking == "all" else pieces.of(at)
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=generator).to(dtype).requires_grad_()
              for shape in ((len(at), d), (total, 2 * d), (3 * d,))]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    with dropout_key(3, 4, range(len(at))):
        what = Dropout(0.3).draw(torch.zeros(len(at), 8)) if dropped else None
    found = attend(*inputs, pieces, 2, head_size**-0.5, what)
    expected = everything(*exact, LENGTHS, at, near, rotary, 2, what)
    change = torch.randn(expected.shape, generator=generator).to(dtype)
    found.backward(change)
    expected.backward(change.double())
    limit = 0.012 if dtype == torch.bfloat16 else 1e-5
    for ours, theirs in [(found, expected), *((x.grad, y.grad) for x, y in zip(inputs, exact, strict=True))]:
        assert (ours.double() - theirs).norm() <= limit * max(theirs.norm(), 1.0)


@bfloat16_only
@pytest.mark.parametrize("near", [CAUSAL, {"causal": True, "reach": 7}], ids=["causal", "local-causal"])
def test_what_comes_after_changes_no_bit(near):
    pieces = in_a_row([70, 130], None, **near)
    x = torch.randn(200, 3 * 64, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    bias = torch.zeros(3 * 64, dtype=torch.bfloat16)
    before = attend(x, None, bias, pieces, 2, 0.2)
    with torch.no_grad():
        x[100:] = 1e4
    assert torch.equal(attend(x, None, bias, pieces, 2, 0.2)[:100], before[:100])


@bfloat16_only
def test_a_token_gets_gradients_from_what_comes_after_alone():
    pieces = in_a_row([150], None, **CAUSAL)
    x = torch.randn(150, 3 * 64, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    attend(x, None, torch.zeros(3 * 64, dtype=torch.bfloat16), pieces, 2, 0.2)[:77].float().sum().backward()
    assert x.grad[77:].eq(0).all()
    assert x.grad[:77, 128:].ne(0).all(1).all()


# --- whole models


def small_gpt(dropout: float, **changes) -> EncoderConfig:
    embedding = EmbeddingConfig(vocab_size=90, norm=False, dropout=dropout)
    transformer = TransformerConfig(**{"hidden_size": 64, "num_layers": 3, "num_heads": 2, "intermediate_size": 128,
                                       "norm": "pre", "causal": True, "activation": "gelu_tanh",
                                       "initializer": "gpt2", "dropout": dropout, "attention_dropout": dropout,
                                       **changes})
    return EncoderConfig(embedding=embedding, transformer=transformer)


def rows() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """ids, positions, documents of packed rows with padding."""
    documents = torch.tensor([[0] * 20 + [1] * 13 + [-1] * 7, [0] * 40, [0] * 3 + [1] * 30 + [2] * 7])
    starts = torch.cat([torch.ones(3, 1, dtype=torch.bool), documents[:, 1:] != documents[:, :-1]], 1)
    columns = torch.arange(40).expand(3, 40)
    return (torch.randint(0, 90, (3, 40), generator=torch.Generator().manual_seed(5)),
            columns - torch.where(starts, columns, 0).cummax(1).values, documents)


def loss_and_gradients(config: EncoderConfig, dtype: torch.dtype, flat: bool):
    """Every token but the last of its document predicts one, on the flat list of `Encoder.at` or in `forward`."""
    model = Encoder(config).to(dtype).train()
    initialize(model, config.transformer, 1)
    with torch.no_grad():
        for name, p in model.named_parameters():  # first weights look everywhere alike
            p.mul_(8 if "qkv" in name else 3) if p.dim() == 2 else p.add_(0.1 * torch.sin(torch.arange(len(p)) + 1.0))
    ids, positions, documents = rows()
    asked = documents[:, :-1].eq(documents[:, 1:]) & documents[:, :-1].ge(0)
    places = torch.nn.functional.pad(asked, (0, 1)).flatten().nonzero()[:, 0]
    with dropout_key(1, 2, [7, 8, 9]):
        if flat:
            states = model.at(places, ids, positions, None, documents)
        else:
            states = model(ids, positions, None, documents).flatten(0, 1)[places]
        loss = linear_cross_entropy(states, model.embedding.token.weight, None, ids.flatten()[places + 1])
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in model.named_parameters()}


CHOICES = pytest.mark.parametrize("changes", [{}, {"norm": "post", "distance": Rotary()}, {"num_groups": 1},
                                              {"attention": Local(reach=4)},
                                              {"attention": Local(reach=6), "causal": False}],
                                  ids=["gpt", "rotary", "shared", "local", "two-sided-local"])


@CHOICES
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_causal_model_on_a_flat_list_gives_the_numbers_of_rows(changes, dropout):
    config = small_gpt(dropout, **changes)
    found, gradients = loss_and_gradients(config, torch.float32, True)
    loss, expected = loss_and_gradients(config, torch.float32, False)
    torch.testing.assert_close(found, loss, rtol=1e-5, atol=0)
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max()))


@bfloat16_only
@CHOICES
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_causal_model_in_bfloat16_is_as_near_to_float32_as_a_plain_one(monkeypatch, changes, dropout):
    config = small_gpt(dropout, **changes)
    loss, expected = loss_and_gradients(config, torch.float32, False)
    found, gradients = loss_and_gradients(config, torch.bfloat16, True)
    monkeypatch.setenv("POLYSEMY_PLAIN", "1")
    _, plain = loss_and_gradients(config, torch.bfloat16, False)
    torch.testing.assert_close(found.float(), loss, rtol=0.01, atol=0)
    for name, gradient in expected.items():
        ours, theirs = (float((g[name].float() - gradient).norm() / gradient.norm()) for g in (gradients, plain))
        assert ours < max(1.5 * theirs, 0.03), name


@bfloat16_only
@pytest.mark.parametrize("changes", [{}, {"attention": Local(reach=4)}, {"attention": Local(), "causal": False}])
def test_causal_and_local_models_train_on_flat_lists(changes):
    weight, config = torch.zeros(1, dtype=torch.bfloat16), small_gpt(0.0, **changes).transformer
    assert fits_pieces(config, weight)
    assert not fits_pieces(config, weight.float())
    with torch.no_grad():
        assert not fits_pieces(config, weight)


@bfloat16_only
def test_asking_for_all_tokens_is_asking_for_no_choice_of_them():
    config = small_gpt(0.0)
    model = Encoder(config).bfloat16().train()
    initialize(model, config.transformer, 1)
    ids, positions, documents = rows()
    every = documents.flatten().ge(0).nonzero()[:, 0]
    whole = model.at(every, ids, positions, None, documents)
    half = model.at(every[::2].contiguous(), ids, positions, None, documents)
    torch.testing.assert_close(half, whole[::2], rtol=0.05, atol=0.05)
