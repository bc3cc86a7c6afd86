"""What attention is, by experiment: heads read everything, order must be added, scaling keeps it soft."""
from __future__ import annotations

import pytest
import torch
from torch import Tensor

from polysemy.models import gpt
from polysemy.models.pretrained import PretrainingModel
from polysemy.nn.attention import Attention, Visibility, attention_weights
from polysemy.nn.position import Rotary, Sinusoidal
from polysemy.nn.transformer import Transformer, TransformerConfig


def states(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stack(**changes: object) -> Transformer:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_layers": 2, "num_heads": 4, "intermediate_size": 24, "dropout": 0.0,
             "attention_dropout": 0.0}
    return Transformer(TransformerConfig(**sizes | changes)).double().eval()  # type: ignore[arg-type]


def test_every_head_reads_the_whole_input() -> None:
    """X is not cut into eight blocks: each head projects all of it, so a slice of X concerns all heads."""
    torch.manual_seed(0)
    layer, x = Attention(32, 4).double(), states(1, 6, 32)
    for part in range(4):
        cut = x.clone()
        cut[..., 8 * part:8 * part + 8] = 0
        before, after = [], []
        layer(x, weights=before)
        layer(cut, weights=after)
        moved = (before[0] - after[0]).abs().amax((0, 2, 3))
        assert moved.min() > 1e-3
        contexts = (layer.inside(x) - layer.inside(cut)).abs().unflatten(-1, (4, 8)).amax((0, 1, 3))
        assert contexts.min() > 1e-3


def test_without_positions_permuting_the_input_permutes_the_output() -> None:
    model, x = stack(), states(1, 7, 16)
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    torch.testing.assert_close(model(x[:, order]), model(x)[:, order], atol=1e-10, rtol=0)
    turned = stack(distance=Rotary())
    assert (turned(x[:, order]) - turned(x)[:, order]).abs().max() > 1e-3


def test_positions_added_to_the_input_end_the_symmetry() -> None:
    config = gpt.configure("tiny").model.with_vocabulary(20)
    ids, order = torch.arange(7)[None], torch.tensor([3, 0, 6, 2, 5, 1, 4])
    two_sided = config.transformer.replace(causal=False, distance=None)
    blind = config.replace(transformer=two_sided, embedding=config.embedding.replace(position=None)).body().eval()
    placed = config.replace(transformer=two_sided,
                            embedding=config.embedding.replace(position=Sinusoidal())).body().eval()
    torch.testing.assert_close(blind(ids[:, order]), blind(ids)[:, order], atol=1e-5, rtol=0)
    assert (placed(ids[:, order]) - placed(ids)[:, order]).abs().max() > 1e-2


@torch.no_grad()
def test_logits_of_all_places_at_once_are_those_of_reading_step_by_step() -> None:
    """Teacher forcing: the mask lets one forward stand for as many steps as there are tokens.

    It makes training parallel; it does not cure exposure bias, for the model still reads the true text.
    """
    for preset in ("paper", "ladder"):
        model = PretrainingModel(gpt.configure("tiny", preset).model.with_vocabulary(30), ("next_token",)).eval()
        ids = torch.randint(0, 30, (2, 12), generator=torch.Generator().manual_seed(0))
        forced = model.next_logits(model.body(ids))
        for t in range(12):
            alone = model.next_logits(model.body(ids[:, :t + 1])[:, -1:])
            torch.testing.assert_close(forced[:, t:t + 1], alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_staircase_mask_hides_the_future_bit_for_bit() -> None:
    model = PretrainingModel(gpt.configure("tiny").model.with_vocabulary(30), ("next_token",)).eval()
    ids = torch.randint(0, 30, (2, 12), generator=torch.Generator().manual_seed(0))
    changed = ids.clone()
    changed[:, 6:] = (changed[:, 6:] + 5) % 30
    torch.testing.assert_close(model.body(ids)[:, :6], model.body(changed)[:, :6], atol=0, rtol=0)


def entropy_and_gradient(size: int, factor: float) -> tuple[float, float]:
    """Of weights over 64 keys of independent numbers of variance 1: mean entropy, and how far scores still matter."""
    q, k = states(1, 1, 256, size), states(1, 1, 64, size, seed=2)
    weights = attention_weights(q, k, Visibility(), factor)
    entropy = -(weights * weights.clamp(min=1e-300).log()).sum(-1).mean()
    slope = (weights * (1 - weights)).sum(-1).mean()  # the diagonal of the softmax's Jacobian
    return float(entropy), float(slope)


def test_the_entropy_of_scaled_scores_is_the_same_at_every_width() -> None:
    found = {size: entropy_and_gradient(size, size**-0.5) for size in (16, 64, 256, 1024)}
    for entropy, slope in found.values():
        assert entropy == pytest.approx(found[64][0], rel=0.05)
        assert slope == pytest.approx(found[64][1], rel=0.05)
    raw = {size: entropy_and_gradient(size, 1.0) for size in (16, 64, 256, 1024)}
    assert raw[16][0] > 1.5 * raw[64][0] > 2 * raw[256][0] > 3 * raw[1024][0] > 0
    assert raw[1024][0] < 0.05 * found[1024][0]
    assert raw[1024][1] < 0.15 * found[1024][1]


def test_the_variance_of_a_product_is_its_width() -> None:
    for size in (16, 256):
        q, k = states(400, size), states(400, size, seed=2)
        assert float((q @ k.T).var()) == pytest.approx(size, rel=0.1)
