"""A repeat from beyond the segment: a memory sees it, a segment alone cannot."""
from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from polysemy.models.encoder import State
from polysemy.models.pretrained import PretrainingModel
from polysemy.models.segment_memory import SegmentMemoryConfig
from polysemy.nn.embedding import EmbeddingConfig
from polysemy.nn.transformer import TransformerConfig

LAG, SEGMENT, SYMBOLS, STREAMS = 41, 16, 8, 32


def streams(generator: torch.Generator, length: int) -> torch.Tensor:
    """Even places are random; odd ones repeat what stood LAG places before, 40 behind the token that must tell it."""
    ids = torch.randint(0, SYMBOLS, (STREAMS, length), generator=generator)
    ids[:, LAG::2] = ids[:, :length - LAG:2].clone()
    return ids


def model_with(memory: int) -> PretrainingModel:
    config = SegmentMemoryConfig(
        embedding=EmbeddingConfig(vocab_size=SYMBOLS, position=None, norm=False, dropout=0.0),
        transformer=TransformerConfig(hidden_size=64, num_layers=2, num_heads=2, intermediate_size=128, causal=True,
                                      norm="pre", dropout=0.0, attention_dropout=0.0, initializer="xavier"),
        memory=memory, same_length=False)
    return PretrainingModel(config, ("next_token",), seed=1)


def losses(model: PretrainingModel, ids: torch.Tensor, state: State | None) -> tuple[torch.Tensor, State]:
    """Losses (b, SEGMENT) of the next tokens, and the state after the segment."""
    states, state = model.body.advance(ids[:, :-1], state)
    logits = model.next_logits(states)
    return F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none"), state


def loss_of_repeats(memory: int, steps: int) -> float:
    """Nats per repeated token of new streams after training."""
    model, generator = model_with(memory), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.0)
    text, state, found = streams(generator, steps * SEGMENT + 1), None, []
    for step in range(steps):
        at = step * SEGMENT
        each, state = losses(model, text[:, at:at + SEGMENT + 1], state)
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1.0, 2 - 2 * step / steps)
        optimizer.zero_grad()
        each.mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()
    text, state = streams(generator, 12 * SEGMENT + 1), None
    with torch.no_grad():
        for at in range(0, 12 * SEGMENT, SEGMENT):
            each, state = losses(model, text[:, at:at + SEGMENT + 1], state)
            if at > 2 * LAG:
                found.append(float(each[:, 0::2].mean()))  # the targets at odd places
    return sum(found) / len(found)


@pytest.mark.slow
def test_a_repeat_beyond_the_segment_is_learned_with_a_memory_alone() -> None:
    floor = math.log(SYMBOLS)
    assert loss_of_repeats(0, 300) > 0.97 * floor
    assert loss_of_repeats(48, 450) < 0.1 * floor
