"""MultiheadAttention keeps torch's contract: weights, masks, shapes, errors; and rows that may see nothing are 0."""
from __future__ import annotations

import itertools
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from polysemy.nn.multihead import MultiheadAttention

B, T, S, D, H = 2, 4, 5, 8, 2
OPTIONS = [dict(zip(("bias", "add_bias_kv", "add_zero_attn", "batch_first"), flags, strict=True)) | widths
           for flags in itertools.product((False, True), repeat=4)
           for widths in ({}, {"kdim": 6, "vdim": 7}, {"kdim": 6})]
KEY_MASKS, PAIR_MASKS = ("none", "bool", "float"), ("none", "bool", "float", "bool per head", "float per head")


def twins(dtype: torch.dtype = torch.float64, **options: Any) -> tuple[MultiheadAttention, nn.MultiheadAttention]:
    torch.manual_seed(1)
    theirs = nn.MultiheadAttention(D, H, dtype=dtype, **options)
    ours = MultiheadAttention(D, H, dtype=dtype, **options)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.3)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def inputs(batch_first: bool = False, kdim: int = D, vdim: int = D, dtype: torch.dtype = torch.float64,
           batched: bool = True) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    found = []
    for length, size in ((T, D), (S, kdim), (S, vdim)):
        x = torch.randn(B, length, size, generator=generator, dtype=torch.float64).to(dtype)
        found.append((x[0] if not batched else x if batch_first else x.transpose(0, 1)).clone().requires_grad_())
    return found


def key_mask(name: str, dtype: torch.dtype = torch.float64) -> torch.Tensor | None:
    blocked = torch.tensor([[False, False, True, False, True], [False] * 4 + [True]])
    if name == "none":
        return None
    return blocked if name == "bool" else blocked.to(dtype) * -3.5


def pair_mask(name: str, dtype: torch.dtype = torch.float64) -> torch.Tensor | None:
    if name == "none":
        return None
    scores = torch.randn(*((B * H, T, S) if "head" in name else (T, S)), generator=torch.Generator().manual_seed(3))
    if "float" in name:
        return scores.to(dtype).masked_fill(scores < -1.5, -torch.inf)
    blocked = scores < 0
    blocked[..., 0] = False  # no row without a key: those differ on purpose
    return blocked


def outcome(model: nn.Module, tensors: list[torch.Tensor], **choices: Any) -> list[torch.Tensor | None]:
    """States, weights, and the gradients of inputs and parameters."""
    for tensor in tensors:
        tensor.grad = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # masks of two types
        y, weights = model(*tensors, **choices)
    (y.square().sum() + (0 if weights is None else (weights**3).sum())).backward()
    found = [y, weights, *(tensor.grad for tensor in tensors), *(p.grad for p in model.parameters())]
    model.zero_grad()
    return found


def same(one: list[torch.Tensor | None], two: list[torch.Tensor | None], tolerance: float) -> None:
    assert len(one) == len(two)
    for ours, theirs in zip(one, two, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_all_options_and_masks_equal_torch(options: dict[str, Any], every: bool) -> None:
    ours, theirs = twins(**options)
    tensors = inputs(options["batch_first"], options.get("kdim", D), options.get("vdim", D))
    choices_of_all = list(itertools.product(KEY_MASKS, PAIR_MASKS, ("none", "mean", "heads")))
    for keys, pairs, weights in choices_of_all if every else choices_of_all[OPTIONS.index(options) % 7::7]:
        choices = {"key_padding_mask": key_mask(keys), "attn_mask": pair_mask(pairs), "need_weights": weights != "none",
                   "average_attn_weights": weights != "heads"}
        same(outcome(ours, tensors, **choices), outcome(theirs, tensors, **choices), 1e-10)


@pytest.mark.parametrize("options", OPTIONS[::5], ids=str)
def test_float32_and_no_batch_equal_torch(options: dict[str, Any]) -> None:
    ours, theirs = twins(torch.float32, **options)
    for batched in (True, False):
        tensors = inputs(options["batch_first"], options.get("kdim", D), options.get("vdim", D), torch.float32, batched)
        padding = key_mask("bool")
        assert padding is not None
        choices = {"key_padding_mask": padding if batched else padding[0],
                   "attn_mask": pair_mask("float", torch.float32)}
        same(outcome(ours, tensors, **choices), outcome(theirs, tensors, **choices), 1e-5)


def test_the_triangle_may_be_announced_and_must_be_given() -> None:
    ours, theirs = twins()
    x = torch.randn(T, B, D, dtype=torch.float64)
    triangle = torch.ones(T, T, dtype=torch.bool).triu(1)
    for need in (True, False):
        same([*ours(x, x, x, attn_mask=triangle, is_causal=True, need_weights=need)],
             [*theirs(x, x, x, attn_mask=triangle, is_causal=True, need_weights=need)], 1e-10)
    with pytest.raises(RuntimeError, match="attn_mask must be given with is_causal"):
        ours(x, x, x, is_causal=True)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("kind", ["bool", "float", "padding"])
def test_a_query_that_may_see_nothing_gets_nothing_and_no_nan(need_weights: bool, kind: str) -> None:
    ours, _ = twins()
    tensors = inputs()
    blocked = torch.zeros(T, S, dtype=torch.bool)
    blocked[1] = True
    added = blocked.double().masked_fill(blocked, -torch.inf)
    masks: dict[str, Any] = {"attn_mask": blocked if kind == "bool" else added}
    if kind == "padding":
        masks = {"key_padding_mask": torch.tensor([[True] * S, [False] * S])}
    y, weights = ours(*tensors, **masks, need_weights=need_weights)
    empty = y[:, 0] if kind == "padding" else y[1]
    torch.testing.assert_close(empty, ours.out_proj.bias.expand_as(empty))
    if weights is not None:
        assert (weights[0] if kind == "padding" else weights[:, 1]).abs().max() == 0
    y.square().sum().backward()
    assert all(bool(x.grad.isfinite().all()) for x in (*tensors, *ours.parameters()) if x.grad is not None)


def test_dropout_falls_on_the_weights_that_are_shown() -> None:
    ours, _ = twins(dropout=0.5)
    tensors = inputs()
    torch.manual_seed(0)
    _, weights = ours.train()(*tensors, average_attn_weights=False)
    _, quiet = ours.eval()(*tensors, average_attn_weights=False)
    kept = weights != 0
    assert 0.2 < kept.float().mean() < 0.8
    torch.testing.assert_close(weights[kept], 2 * quiet[kept], atol=1e-12, rtol=0)


def test_first_weights_are_drawn_as_torch_draws_them() -> None:
    ours, theirs = (kind(512, 8, add_bias_kv=True) for kind in (MultiheadAttention, nn.MultiheadAttention))
    for name, parameter in ours.named_parameters():
        other = dict(theirs.named_parameters())[name].detach()
        assert float(parameter.detach().std()) == pytest.approx(float(other.std()), rel=0.12), name
        assert float(parameter.detach().abs().max()) == pytest.approx(float(other.abs().max()), rel=0.35), name
    assert float(ours.in_proj_weight.detach().abs().max()) == pytest.approx((6 / (4 * 512))**0.5, rel=0.01)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: MultiheadAttention(0, 1), ValueError, "must be above 0"),
    (lambda: MultiheadAttention(4, 0), ValueError, "must be above 0"),
    (lambda: MultiheadAttention(5, 2), AssertionError, "divisible"),
    (lambda: twins()[0](*inputs(), attn_mask=torch.zeros(B, T, S).bool()), RuntimeError, r"\(4, 5\) or \(4, 4, 5\)"),
    (lambda: twins()[0](*inputs(), attn_mask=torch.zeros(1, B, T, S).bool()), RuntimeError, "attn_mask must be"),
    (lambda: twins()[0](*inputs(), attn_mask=torch.zeros(T, S, dtype=torch.uint8)), AssertionError, "bool or a float"),
    (lambda: twins()[0](*inputs(), attn_mask=torch.zeros(T, S)), RuntimeError, "queries' type"),
    (lambda: twins()[0](*inputs(), key_padding_mask=torch.zeros(B, T).bool()), AssertionError, "key_padding_mask"),
    (lambda: twins()[0](*inputs(kdim=6)), AssertionError, "key must be 8 wide, got 6")])
def test_wrong_input_is_an_error_of_the_same_kind_as_in_torch(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
