"""The embedding: sum, norm, factor, limits."""
from __future__ import annotations

import pytest
import torch

from polysemy.errors import InputError
from polysemy.nn.embedding import Embedding, EmbeddingConfig
from polysemy.nn.position import Learned, Sinusoidal, sinusoid

IDS = torch.tensor([[3, 1, 4], [1, 5, 2]])


def test_is_the_normed_and_widened_sum_of_its_tables() -> None:
    config = EmbeddingConfig(vocab_size=7, position=Learned(max_positions=4), num_segments=2, factor_size=6,
                             dropout=0.0)
    layer = Embedding(config, 10).double()
    segments, positions = torch.tensor([[0, 0, 1], [0, 1, 1]]), torch.tensor([[0, 1, 0], [2, 3, 0]])
    found = layer(IDS, positions, segments)
    assert layer.segment is not None
    assert layer.position is not None
    total = layer.token.weight[IDS] + layer.position.table.weight[positions] + layer.segment.weight[segments]  # type: ignore[union-attr,index]
    wanted = torch.nn.functional.layer_norm(total, (6,), eps=1e-12)
    torch.testing.assert_close(found, layer.widen(wanted), atol=1e-10, rtol=0)


def test_positions_count_up_and_segments_are_zero_by_default() -> None:
    layer = Embedding(EmbeddingConfig(vocab_size=7, position=Learned(max_positions=4), num_segments=2, dropout=0.0), 6)
    positions = torch.arange(3).expand(2, 3)
    torch.testing.assert_close(layer(IDS), layer(IDS, positions, torch.zeros_like(IDS)), atol=0, rtol=0)


def test_scaled_tokens_and_sinusoids_are_the_original_transformer() -> None:
    config = EmbeddingConfig(vocab_size=7, position=Sinusoidal(), norm=False, dropout=0.0, scale_tokens=True)
    layer = Embedding(config, 16).double()
    wanted = layer.token.weight[IDS] * 4 + sinusoid(torch.arange(3), 16)
    torch.testing.assert_close(layer(IDS), wanted, atol=1e-10, rtol=0)


def test_a_document_beyond_the_table_is_refused_and_packed_rows_are_not() -> None:
    layer = Embedding(EmbeddingConfig(vocab_size=7, position=Learned(max_positions=2)), 6).eval()
    with pytest.raises(InputError, match="at most max_positions 2 tokens long, got 3"):
        layer(IDS)
    with pytest.raises(InputError, match="at most max_positions 2"):
        layer(IDS, torch.tensor([[0, 1, 2]]))
    assert layer(IDS, torch.tensor([[0, 1, 0]])).shape == (2, 3, 6)


@pytest.mark.parametrize("changes", [{"vocab_size": 0}, {"vocab_size": 10**9}, {"factor_size": -1},
                                     {"num_segments": -2}, {"dropout": 1.5}, {"norm_eps": 0.0}])
def test_impossible_settings_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(changes))):
        EmbeddingConfig(**changes)  # type: ignore[arg-type]
