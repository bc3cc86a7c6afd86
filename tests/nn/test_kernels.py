"""Each kernel against its plain torch twin, and whole models with kernels against whole models without."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from numba import carray

from polysemy.models.encoder import EncoderConfig
from polysemy.models.pretrained import PretrainingModel
from polysemy.nn import kernels
from polysemy.nn.attention import Visibility
from polysemy.nn.dropout import Dropout, dropout_key
from polysemy.nn.embedding import EmbeddingConfig
from polysemy.nn.fused import LayerNorm, activate, add, add_norm, attend, attention_fits, look_up
from polysemy.nn.kernels import launch
from polysemy.nn.kernels.launch import kernel, pointer, run
from polysemy.nn.pieces import Pieces
from polysemy.nn.position import Rotary
from polysemy.nn.transformer import TransformerConfig

ROUNDING = {torch.float32: 2e-6, torch.bfloat16: 6e-3}
"""how far a kernel may be from its twin in float64, relative to the norm"""


def randoms(*shapes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]


def keys(n: int) -> torch.Tensor:
    """Dropout of n vectors, as a layer draws it."""
    with dropout_key(3, 4, range(n)):
        return Dropout(0.3).draw(torch.zeros(n, 8))


def check(function, inputs, dtype, rounding: float | None = None) -> None:
    """Output and gradients of the kernel against the twin, which float64 always takes."""
    doubles = [x.detach().double().requires_grad_() for x in inputs]
    expected, found = function(*doubles), function(*inputs)
    change = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    expected.backward(change.double())
    found.backward(change)
    assert found.dtype == dtype
    for ours, twins in [(found, expected), *((x.grad, y.grad) for x, y in zip(inputs, doubles, strict=True))]:
        assert (ours.double() - twins).norm() <= (rounding or ROUNDING[dtype]) * twins.norm()


dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])


@dtypes
@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("d", [24, 130])
def test_add_and_add_norm(d, dropped, dtype):
    inputs = randoms((17, d), (17, d), (d,), (d,), (d,), dtype=dtype)
    drop = keys(17) if dropped else None

    def normed(x, y, bias, weight, shift):
        norm = LayerNorm(d, 1e-12, device="meta")
        del norm.weight, norm.bias
        norm.weight, norm.bias = weight, shift
        return add_norm(x, y, bias, norm, drop)

    check(normed, inputs, dtype)
    check(lambda x, y, bias: add(x, y, bias, drop), randoms((17, d), (17, d), (d,), dtype=dtype), dtype)


@dtypes
def test_layer_norm(dtype):
    layer = LayerNorm(40, 1e-5).to(dtype)
    exact = torch.nn.LayerNorm(40, 1e-5).double()
    x, = randoms((3, 5, 40), dtype=dtype)
    z = x.detach().double().requires_grad_()
    layer(x).pow(2).sum().backward()
    exact(z).pow(2).sum().backward()
    for a, b in ((layer.weight.grad, exact.weight.grad), (layer.bias.grad, exact.bias.grad)):
        assert (a.double() - b).norm() <= ROUNDING[dtype] * b.norm()
    assert x.grad.double().norm() < 0.1 * layer.weight.grad.norm()  # a norm's output has one length, so little is left


@dtypes
@pytest.mark.parametrize("kind", ["gelu", "gelu_tanh", "quick_gelu", "relu"])
def test_activation(kind, dtype):
    x, bias = randoms((19, 70), (70,), dtype=dtype)
    with torch.no_grad():
        x *= 4
        x[0, :3] = torch.tensor([-100.0, 100.0, 0.0])
    check(lambda x, bias: activate(x, bias, kind), [x, bias], dtype)


@dtypes
def test_look_up(dtype):
    ids = torch.randint(0, 9, (4, 50), generator=torch.Generator().manual_seed(2))
    check(lambda table: look_up(table, ids), randoms((11, 20), dtype=dtype), dtype)


def test_gradient_of_a_frequent_row_is_added_up_in_float32():
    table, = randoms((2, 8), dtype=torch.bfloat16)
    look_up(table, torch.zeros(3000, dtype=torch.int64)).sum().backward()
    assert table.grad[0].tolist() == [3008.0] * 8  # the bfloat16 next to 3,000
    assert table.grad[1].tolist() == [0.0] * 8


# --- attention


def pieces(*sizes: tuple[int, int, int], rotary: Rotary | None = None, head_size: int = 0) -> Pieces:
    """From (queries, keys, column of the first key); the last keys of each piece ask."""
    at, first_key, rows = [], 0, []
    for queries, number, column in sizes:
        rows.append((0, 0, first_key, number, column))
        at += range(first_key + number - queries, first_key + number)
        first_key += number
    found = Pieces(torch.tensor(rows))
    if rotary is not None:
        found = found.turned(rotary, torch.cat([torch.arange(number) for _, number, _ in sizes]), head_size)
    return found.of(torch.tensor(at))


bfloat16_only = pytest.mark.skipif(not attention_fits(torch.zeros(1, dtype=torch.bfloat16), 32),
                                   reason="this processor does not multiply bfloat16")


@bfloat16_only
@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("sizes", [[(1, 1), (5, 5), (16, 16), (17, 17), (48, 48), (49, 49), (130, 130), (2, 2)],
                                   [(1, 30), (0, 7), (30, 100), (3, 3), (0, 1), (60, 200)]], ids=["all", "some"])
@pytest.mark.parametrize(("head_size", "rotary"), [(32, None), (64, None), (96, None), (64, Rotary()),
                                                   (32, Rotary(base=50.0, layout="interleaved"))], ids=str)
def test_attention(head_size, rotary, sizes, dropped):
    found = pieces(*((queries, number, 3 * i) for i, (queries, number) in enumerate(sizes)), rotary=rotary,
                   head_size=head_size)
    n, m, d = found.table[:, 1].sum(), found.table[:, 3].sum(), 2 * head_size
    drop = keys(int(n)) if dropped else None

    def function(q, kv, bias):
        return attend(q, kv, bias, found, 2, head_size**-0.5, drop)

    check(function, randoms((n, d), (m, 2 * d), (3 * d,), dtype=torch.bfloat16), torch.bfloat16, 0.012)
    if n == m:
        check(lambda qkv, bias: attend(qkv, None, bias, found, 2, head_size**-0.5, drop),
              randoms((n, 3 * d), (3 * d,), dtype=torch.bfloat16), torch.bfloat16, 0.012)


@bfloat16_only
def test_attention_keeps_to_its_piece():
    """Another document, however loud, changes no bit."""
    found = pieces((20, 20, 0), (30, 30, 20))
    x, = randoms((50, 3 * 64), dtype=torch.bfloat16)
    bias = torch.zeros(3 * 64, dtype=torch.bfloat16)
    quiet = attend(x, None, bias, found, 2, 0.2)
    with torch.no_grad():
        x[20:] = 1e4
    assert torch.equal(attend(x, None, bias, found, 2, 0.2)[:20], quiet[:20])


def test_pieces_are_found_and_split_documents_are_not_taken_for_whole():
    found = Pieces.build(torch.tensor([[0, 0, 1, -1], [0, 1, 1, 1], [-1, -1, -1, -1]]))
    assert found is not None
    assert found[0].table.tolist() == [[0, 2, 0, 2, 0], [2, 1, 2, 1, 2], [3, 1, 3, 1, 0], [4, 3, 4, 3, 1]]
    assert found[1].tolist() == [0, 1, 2, 4, 5, 6, 7]
    assert found[0].of(torch.tensor([1, 2, 5])).table[:, :2].tolist() == [[0, 1], [1, 1], [2, 0], [2, 1]]
    assert Pieces.build(torch.tensor([[0, 1, 0]])) is None


# --- whole models


def small_config(**changes) -> EncoderConfig:
    """Two layers, one of every kind of choice the fast path must follow."""
    rate = changes.pop("dropout", 0.0)
    embedding = EmbeddingConfig(vocab_size=90, factor_size=changes.pop("factor_size", None), num_segments=2,
                                dropout=rate)
    transformer = TransformerConfig(**{"hidden_size": 64, "num_layers": 3, "num_heads": 2, "intermediate_size": 128,
                                       "dropout": rate, "attention_dropout": rate, **changes})
    return EncoderConfig(embedding=embedding, transformer=transformer)


def small_batch() -> dict[str, torch.Tensor]:
    """Packed rows with padding; hidden tokens and two pairs."""
    generator = torch.Generator().manual_seed(5)
    documents = torch.tensor([[0] * 20 + [1] * 13 + [-1] * 7, [0] * 40, [0] * 3 + [1] * 30 + [2] * 7])
    starts = torch.cat([torch.ones(3, 1, dtype=torch.bool), documents[:, 1:] != documents[:, :-1]], 1)
    columns = torch.arange(40).expand(3, 40)
    positions = columns - torch.where(starts, columns, 0).cummax(1).values
    hidden_at = torch.tensor([2, 9, 25, 32, 45, 46, 79, 80, 95, 118])
    return {"ids": torch.randint(0, 90, (3, 40), generator=generator), "positions": positions,
            "segments": (positions > 8).long(), "documents": documents, "hidden_at": hidden_at,
            "targets": torch.randint(0, 90, (10,), generator=generator), "pair_at": torch.tensor([0, 40, 83]),
            "pair_labels": torch.tensor([0, 1, 1])}


@torch.no_grad()
def stir(model: torch.nn.Module) -> None:
    """Away from first weights, whose flat attention, biases of 0 and norms of 1 would hide mistakes."""
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=torch.Generator().manual_seed(len(name)))
        p.copy_(p + 0.1 * noise if p.dim() == 1 else p * (8 if "qkv" in name else 3))


def losses_and_gradients(config: EncoderConfig, dtype: torch.dtype, plain: bool, monkeypatch, micro: bool = False):
    monkeypatch.setenv("POLYSEMY_PLAIN", "1" if plain else "")
    model = PretrainingModel(config, ["masked_lm", "pair"], seed=1).to(dtype).train()
    stir(model)
    with dropout_key(1, 2, [7, 8, 9]):
        sums = model(small_batch())
    sum(sums.values()).backward()
    return sums, {name: p.grad for name, p in model.named_parameters()}


CHOICES = [{}, {"norm": "pre", "distance": Rotary()}, {"num_groups": 1, "factor_size": 32}, {"activation": "gelu_tanh"}]
choices = pytest.mark.parametrize("changes", CHOICES, ids=["post", "pre", "shared", "tanh"])


@choices
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_models_in_float32_have_equal_losses_and_gradients(monkeypatch, changes, dropout):
    config = small_config(dropout=dropout, **changes)
    fast, gradients = losses_and_gradients(config, torch.float32, False, monkeypatch)
    slow, expected = losses_and_gradients(config, torch.float32, True, monkeypatch)
    for name, loss in slow.items():
        torch.testing.assert_close(fast[name], loss, rtol=1e-6, atol=0)
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()))


@bfloat16_only
@choices
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_models_in_bfloat16_are_as_near_to_float32_as_plain_ones(monkeypatch, changes, dropout):
    config = small_config(dropout=dropout, **changes)
    exact, expected = losses_and_gradients(config, torch.float32, True, monkeypatch)
    distances = []
    for plain in (False, True):
        sums, gradients = losses_and_gradients(config, torch.bfloat16, plain, monkeypatch)
        for name, loss in exact.items():
            torch.testing.assert_close(sums[name], loss, rtol=0.01, atol=0)
        distances.append({name: float((g.float() - expected[name]).norm() / expected[name].norm())
                          for name, g in gradients.items() if expected[name].norm() > 1e-3})
    for name, distance in distances[0].items():
        assert distance < max(1.5 * distances[1][name], 0.03), name


@choices
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_flat_tokens_and_a_last_layer_for_some_places_give_the_numbers_of_rows(changes, dropout):
    """The way around padding, in float64, where attention runs its plain twin."""
    model = PretrainingModel(small_config(dropout=dropout, **changes), ["masked_lm"], seed=1).double().train().body
    stir(model)
    batch = small_batch()
    found = Pieces.build(batch["documents"])
    assert found is not None
    inside, tokens = found
    with dropout_key(1, 2, [7, 8, 9]):
        x = model.embedding(batch["ids"], batch["positions"], batch["segments"])
        rows = model.transformer(x, Visibility.build(documents=batch["documents"]), batch["positions"])
    at = torch.tensor([0, 5, 20, 21, 60, 88, 111])
    for wanted in (None, at):
        with dropout_key(1, 2, [7, 8, 9]) as step:
            step.tokens = step.token_keys(40).flatten()[tokens]
            flat = [batch[name].flatten()[tokens] for name in ("ids", "positions", "segments")]
            states = model.transformer.in_pieces(model.embedding(*flat), inside, flat[1], wanted)
        places = tokens if wanted is None else tokens[wanted]
        near = 1e-6 if "distance" in changes else 1e-10  # angles come from a float32 table
        torch.testing.assert_close(states, rows.flatten(0, 1)[places], rtol=near, atol=near)


@bfloat16_only
def test_same_input_same_bits(monkeypatch):
    config = small_config(dropout=0.1)
    first, second = (losses_and_gradients(config, torch.bfloat16, False, monkeypatch) for _ in range(2))
    assert all(torch.equal(first[0][name], second[0][name]) for name in first[0])
    assert all(torch.equal(gradient, second[1][name]) for name, gradient in first[1].items())


@dtypes
def test_a_weight_that_is_not_a_number_shows_in_the_loss(monkeypatch, dtype):
    monkeypatch.setenv("POLYSEMY_PLAIN", "")
    for name in ("transformer.attention.1.inner.qkv.weight", "transformer.feed_forward.0.inner.up.bias",
                 "transformer.feed_forward.2.norm.weight"):
        model = PretrainingModel(small_config(), ["masked_lm"], seed=1).to(dtype).train()
        with torch.no_grad():
            model.body.get_parameter(name).view(-1)[0] = float("nan")
        assert not model(small_batch())["masked_lm"].isfinite(), name


# --- running kernels


def test_switch_turns_kernels_off(monkeypatch):
    x = torch.zeros(3)
    monkeypatch.setenv("POLYSEMY_PLAIN", "")
    assert kernels.usable(x)
    assert kernels.for_training(x)
    assert not kernels.usable(x.double())
    assert not kernels.for_training(x, x.bfloat16())
    with torch.no_grad():
        assert not kernels.for_training(x)
    monkeypatch.setenv("POLYSEMY_PLAIN", "1")
    assert not kernels.usable(x)


def test_every_part_runs_once():
    counts = torch.zeros(7, dtype=torch.int64)
    run(count, counts, parts=7)
    assert counts.tolist() == [1] * 7


def test_without_the_threads_of_torch_one_thread_does_all_parts(monkeypatch):
    monkeypatch.setattr(launch, "_region", launch._region.__wrapped__)
    monkeypatch.setattr(launch, "_openmp", lambda: None)
    counts = torch.zeros(5, dtype=torch.int64)
    run(count, counts, parts=5)
    assert counts.tolist() == [1] * 5


@kernel
def count(arguments, part, parts):
    address = carray(pointer(arguments), (1,), np.int64)
    carray(pointer(address[0]), (parts,), np.int64)[part] += 1
