"""Scores by distance: the shift against explicit loops, and what may be seen."""
from __future__ import annotations

import pytest
import torch

from polysemy.errors import InputError
from polysemy.nn.position import sinusoid
from polysemy.nn.relative import RelativeAttention, ScoreBiases, distances, remembered, shift, sight


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("t", "s"), [(1, 1), (1, 6), (4, 4), (3, 8), (5, 6)])
def test_the_shift_puts_every_distance_where_it_belongs(t: int, s: int) -> None:
    scores = numbers(2, 3, t, s)
    found = shift(scores)
    for i in range(t):
        for j in range(s - t + i + 1):
            distance = i + (s - t) - j
            torch.testing.assert_close(found[..., i, j], scores[..., i, s - 1 - distance], atol=0, rtol=0)


@pytest.mark.parametrize("m", [0, 1, 7])
def test_attention_equals_explicit_loops(m: int) -> None:
    torch.manual_seed(0)
    layer, biases = RelativeAttention(16, 2).double(), ScoreBiases(2, 8).double()
    with torch.no_grad():
        for parameter in (*layer.parameters(), *biases.parameters()):
            parameter.normal_(std=0.4)
    b, t = 2, 5
    memory, x = numbers(b, m, 16, seed=1), numbers(b, t, 16, seed=2)
    both = torch.cat([memory, x], 1)
    s = m + t
    wq, wk, wv = layer.qkv.weight.chunk(3)
    wanted = torch.zeros(b, t, 16, dtype=torch.float64)
    for row in range(b):
        for h in range(2):
            cut = slice(8 * h, 8 * h + 8)
            for i in range(t):
                q = (wq @ x[row, i])[cut]
                scores = []
                for j in range(m + i + 1):
                    r = (layer.distance.weight @ sinusoid(torch.tensor(m + i - j), 16, "concatenated"))[cut]
                    k = (wk @ both[row, j])[cut]
                    scores.append(((q + biases.content[h]) @ k + (q + biases.distance[h]) @ r) / 8**0.5)
                seen = torch.stack(scores).softmax(0)
                wanted[row, i, cut] = sum(p * (wv @ both[row, j])[cut] for j, p in enumerate(seen))
    weights: list[torch.Tensor] = []
    found = layer(x, memory, distances(s, 16, x), biases, sight(t, s, x.device)[None, None], weights)
    torch.testing.assert_close(found, wanted @ layer.output.weight.T, atol=1e-10, rtol=0)
    assert weights[0].shape == (b, 2, t, s)
    assert weights[0].triu(m + 1).abs().max() == 0


def test_sight_ends_at_the_query_and_at_the_longest_distance() -> None:
    assert sight(2, 4, torch.device("cpu")).tolist() == [[True, True, True, False], [True] * 4]
    assert sight(2, 4, torch.device("cpu"), 1).tolist() == [[False, True, True, False], [False, False, True, True]]


def test_distances_beyond_the_longest_count_as_it() -> None:
    waves = distances(6, 8, numbers(1), 3)
    torch.testing.assert_close(waves[:3], waves[2].expand(3, 8), atol=0, rtol=0)
    torch.testing.assert_close(waves[2:], distances(4, 8, numbers(1)), atol=0, rtol=0)


def test_memory_holds_the_newest_at_the_right() -> None:
    memory, x = torch.arange(4.0).view(1, 4, 1).repeat(2, 1, 1), torch.arange(4.0, 7).view(1, 3, 1).repeat(2, 1, 1)
    assert remembered(memory, x, None, 5)[0, :, 0].tolist() == [2, 3, 4, 5, 6]
    found = remembered(memory, x, torch.tensor([1, 0]), 4)[..., 0]
    assert found.tolist() == [[1, 2, 3, 4], [0, 1, 2, 3]]
    assert remembered(memory, x, None, 0).shape == (2, 0, 1)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(InputError, match="hidden_size must be a multiple of num_heads, got 10 and 4"):
        RelativeAttention(10, 4)
