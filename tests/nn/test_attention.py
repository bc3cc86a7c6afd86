"""Attention: what may be seen, empty rows, cross-attention, weights on request."""
from __future__ import annotations

import pytest
import torch
from torch.nn import MultiheadAttention

from polysemy.errors import InputError
from polysemy.nn.attention import Attention, Visibility, attention_weights
from polysemy.nn.dropout import dropout_key


def attention(dropout: float = 0.0) -> Attention:
    torch.manual_seed(0)
    return Attention(16, 4, dropout=dropout).double()


def states(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_equals_torch_multihead_attention() -> None:
    ours, theirs = attention(), MultiheadAttention(16, 4, batch_first=True).double()
    theirs.load_state_dict({"in_proj_weight": ours.qkv.weight, "in_proj_bias": ours.qkv.bias,
                            "out_proj.weight": ours.output.weight, "out_proj.bias": ours.output.bias})
    x, visible = states(2, 7, 16), torch.ones(2, 7, dtype=torch.bool)
    visible[1, 5:] = False
    wanted, weights = theirs(x, x, x, key_padding_mask=~visible, average_attn_weights=False)
    found: list[torch.Tensor] = []
    shown = ours(x, Visibility.build(visible=visible), weights=found)
    torch.testing.assert_close(shown, wanted, atol=1e-10, rtol=0)
    torch.testing.assert_close(ours(x, Visibility.build(visible=visible)), wanted, atol=1e-10, rtol=0)
    torch.testing.assert_close(found[0], weights, atol=1e-10, rtol=0)


def test_cross_attention_equals_torch() -> None:
    ours, theirs = attention(), MultiheadAttention(16, 4, batch_first=True).double()
    theirs.load_state_dict({"in_proj_weight": ours.qkv.weight, "in_proj_bias": ours.qkv.bias,
                            "out_proj.weight": ours.output.weight, "out_proj.bias": ours.output.bias})
    x, source = states(2, 3, 16), states(2, 9, 16)
    torch.testing.assert_close(ours(x, source=source), theirs(x, source, source)[0], atol=1e-10, rtol=0)
    torch.testing.assert_close(ours(x, source=x), ours(x), atol=1e-10, rtol=0)


@pytest.mark.parametrize("show", [False, True])
def test_a_row_that_sees_nothing_gives_no_context_and_no_gradient_of_nan(show: bool) -> None:
    layer, x = attention(), states(1, 5, 16).requires_grad_()
    found: list[torch.Tensor] | None = [] if show else None
    documents = torch.tensor([[0, 0, 1, 1, -1]])
    y = layer(x, Visibility.build(documents=documents), weights=found)
    torch.testing.assert_close(y[0, 4], layer.output.bias)
    y.sum().backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())
    if found is not None:
        assert found[0][0, :, 4].abs().max() == 0
        torch.testing.assert_close(found[0][0, :, :4].sum(-1), torch.ones(4, 4, dtype=torch.float64))


def test_packed_documents_equal_documents_alone() -> None:
    layer, x = attention(), states(1, 9, 16)
    documents = torch.tensor([[0, 0, 0, 0, 1, 1, 1, -1, -1]])
    packed = layer(x, Visibility.build(documents=documents))
    torch.testing.assert_close(packed[:, :4], layer(x[:, :4]), atol=1e-10, rtol=0)
    torch.testing.assert_close(packed[:, 4:7], layer(x[:, 4:7]), atol=1e-10, rtol=0)


def test_no_mask_is_built_where_everything_is_visible() -> None:
    assert Visibility.build(visible=torch.ones(2, 4, dtype=torch.bool)).mask is None
    assert Visibility.build(documents=torch.tensor([[3, 3], [7, 7]])).mask is None
    assert Visibility.build(documents=torch.tensor([[3, 3], [7, 8]])).mask is not None
    assert Visibility.build(documents=torch.tensor([[-1, -1]])).mask is not None


@pytest.mark.parametrize("visible", [None, torch.tensor([[True] * 5 + [False]])])
def test_causal_never_sees_ahead(visible: torch.Tensor | None) -> None:
    layer, x = attention(), states(1, 6, 16)
    look = Visibility.build(visible=visible, causal=True)
    changed = x.clone()
    changed[:, 3:] += 1
    torch.testing.assert_close(layer(x, look)[:, :3], layer(changed, look)[:, :3], atol=0, rtol=0)
    found: list[torch.Tensor] = []
    torch.testing.assert_close(layer(x, look, weights=found), layer(x, look), atol=1e-10, rtol=0)
    assert found[0].triu(1).abs().max() == 0


def test_fewer_queries_than_keys_are_the_last_ones() -> None:
    visible = torch.ones(1, 4, dtype=torch.bool)
    mask = Visibility.build(visible=visible, causal=True, num_queries=2).mask
    assert mask is not None
    assert mask[0, 0].tolist() == [[True, True, True, False], [True, True, True, True]]


def test_weights_are_float32_at_least() -> None:
    q = torch.randn(1, 2, 3, 4, dtype=torch.bfloat16)
    assert attention_weights(q, q, Visibility(), 0.5).dtype == torch.float32


def test_bfloat16_stays_near_float32() -> None:
    layer, x = attention().float(), states(2, 6, 16).float()
    documents = torch.tensor([[0, 0, 0, 1, 1, -1], [0, 0, 0, 0, 0, 0]])
    look = Visibility.build(documents=documents)
    wanted = layer(x, look)
    torch.testing.assert_close(layer.bfloat16()(x.bfloat16(), look).float(), wanted, atol=0.03, rtol=0.03)


def test_dropout_falls_on_weights_in_training_only() -> None:
    layer, x = attention(dropout=0.5), states(2, 8, 16)
    quiet = layer.eval()(x)
    torch.testing.assert_close(quiet, attention()(x))
    with dropout_key(0, 0, [4, 9]):
        assert (layer.train()(x) - quiet).abs().max() > 1e-3


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(InputError, match="hidden_size must be a multiple of num_heads, got 10 and 4"):
        Attention(10, 4)
