"""Reading on from a state: token by token, in chunks and at once are the same, row by row."""
from __future__ import annotations

import pytest
import torch

from polysemy.errors import InputError
from polysemy.models.encoder import Encoder, EncoderConfig
from polysemy.nn.embedding import EmbeddingConfig
from polysemy.nn.initialization import initialize
from polysemy.nn.position import Learned, Rotary, Sinusoidal
from polysemy.nn.transformer import TransformerConfig

KINDS = {"learned": (Learned(max_positions=24), None), "rotary": (None, Rotary()), "sinusoidal": (Sinusoidal(), None),
         "interleaved": (None, Rotary(layout="interleaved"))}


def body(position: str = "rotary", **changes: object) -> Encoder:
    added, turned = KINDS[position]
    config = EncoderConfig(
        embedding=EmbeddingConfig(vocab_size=50, position=added, dropout=0.0),
        transformer=TransformerConfig(hidden_size=32, num_layers=3, num_heads=4, intermediate_size=48, causal=True,
                                      distance=turned, dropout=0.0, attention_dropout=0.0, initializer="xavier",
                                      **changes))  # type: ignore[arg-type]
    model = config.body()
    initialize(model, config.transformer, seed=3)
    return model.eval()


def text(rows: int = 3, length: int = 20) -> torch.Tensor:
    return torch.randint(0, 50, (rows, length), generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def test_rows_of_a_state_may_be_repeated_and_reordered_and_the_state_is_left_as_it_was() -> None:
    model, ids = body(), text()
    _, state = model.advance(ids[:, :8], None, torch.tensor([8, 2, 5]))
    kept = [part.clone() for part in state]
    wanted, _ = model.advance(ids[:, 8:10], state)
    order = torch.tensor([2, 0, 0, 1])
    found, _ = model.advance(ids[order, 8:10], tuple(part[order] for part in state))
    torch.testing.assert_close(found, wanted[order], atol=1e-5, rtol=0)
    for part, before in zip(state, kept, strict=True):
        torch.testing.assert_close(part, before, atol=0, rtol=0)


@torch.no_grad()
def test_a_document_longer_than_the_table_of_positions_is_refused() -> None:
    model, ids = body("learned"), text(2, 30)
    with pytest.raises(InputError, match="at most max_positions 24 tokens long, got 30; cut it"):
        model.advance(ids)
    _, state = model.advance(ids, None, torch.tensor([24, 23]))  # padding does not count
    with pytest.raises(InputError, match="got 25"):
        model.advance(ids[:, :1], state)
    model.advance(ids[:, :1], state, torch.tensor([0, 1]))


@torch.no_grad()
def test_a_two_sided_body_cannot_read_on() -> None:
    config = body().config
    with pytest.raises(InputError, match=r"transformer\.causal must be true"):
        config.replace(transformer=config.transformer.replace(causal=False)).body().advance(text())


def test_sizes_are_told_by_the_config() -> None:
    config = body().config
    assert (config.vocab_size, config.num_layers, config.hidden_size) == (50, 3, 32)
    assert config.with_vocabulary(70).body().table.shape == (70, 32)
    assert not body().stateful
