"""Transformer-XL: segments with memory equal one pass, no gradient enters the memory, published size."""
from __future__ import annotations

from typing import Any

import pytest
import torch

from polysemy.errors import InputError
from polysemy.models import transformer_xl
from polysemy.models.encoder import Encoded
from polysemy.models.pretrained import PretrainingModel, count_parameters
from polysemy.models.recipe import PretrainingConfig
from polysemy.models.segment_memory import SegmentMemory, SegmentMemoryConfig
from polysemy.nn.dropout import dropout_key
from polysemy.nn.embedding import EmbeddingConfig
from polysemy.nn.initialization import initialize
from polysemy.nn.position import Rotary
from polysemy.nn.transformer import TransformerConfig


def body(norm: str = "post", dropout: float = 0.0, **changes: Any) -> SegmentMemory:
    config = SegmentMemoryConfig(
        embedding=EmbeddingConfig(vocab_size=50, position=None, norm=False, scale_tokens=True, dropout=dropout),
        transformer=TransformerConfig(hidden_size=32, num_layers=3, num_heads=4, intermediate_size=48, causal=True,
                                      norm=norm, dropout=dropout, attention_dropout=dropout,  # type: ignore[arg-type]
                                      initializer="xavier"),
        **{"memory": 40, **changes})
    model = config.body()
    initialize(model, config.transformer, seed=3)
    return model.double().eval()


def text(rows: int = 2, length: int = 24) -> torch.Tensor:
    return torch.randint(0, 50, (rows, length), generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("untied", [False, True])
@torch.no_grad()
def test_two_segments_with_memory_equal_one_pass_at_every_layer(norm: str, untied: bool) -> None:
    model, ids = body(norm, untied=untied), text()
    whole = model(ids, hidden_states=True, attention=True)
    assert isinstance(whole, Encoded)
    first, state = model.advance(ids[:, :12])
    second, after = model.advance(ids[:, 12:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole.states, atol=1e-10, rtol=0)
    assert after[0].tolist() == [24, 24]
    for remembered, layer in zip(after[1:], whole.layers, strict=False):
        torch.testing.assert_close(remembered, layer, atol=1e-10, rtol=0)
    assert (len(whole.layers), len(whole.weights), len(after)) == (4, 3, 4)


def test_no_gradient_enters_the_memory() -> None:
    model, ids = body().train(), text()
    with dropout_key(0, 0, [0, 1]):
        first, state = model.advance(ids[:, :12])
        assert first.requires_grad
        assert not any(part.requires_grad for part in state)
        leaves = tuple(part.clone().requires_grad_(part.is_floating_point()) for part in state)
        second, _ = model.advance(ids[:, 12:], state)
    second.sum().backward()
    learned = model.table.grad
    assert learned is not None
    only_first = set(ids[:, :12].flatten().tolist()) - set(ids[:, 12:].flatten().tolist())
    assert only_first
    assert learned[sorted(only_first)].abs().max() == 0
    assert all(leaf.grad is None for leaf in leaves)


@torch.no_grad()
def test_without_memory_every_segment_is_read_by_itself() -> None:
    model, ids = body(memory=0), text()
    states, state = model.advance(ids[:, :12])
    assert state[1].shape == (2, 0, 32)
    torch.testing.assert_close(states, model(ids[:, :12]), atol=1e-10, rtol=0)
    torch.testing.assert_close(model.advance(ids[:, 12:], state)[0], model(ids[:, 12:]), atol=1e-10, rtol=0)
    far = body(memory=40)
    far.load_state_dict(model.state_dict())
    torch.testing.assert_close(far.advance(ids)[0], model(ids), atol=1e-10, rtol=0)  # the same relative Transformer


@torch.no_grad()
def test_training_sees_memory_and_segment_and_use_sees_a_fixed_length() -> None:
    model, ids = body(memory=4, evaluation_memory=6), text()

    def first_seen(training: bool) -> int:
        """The first token that has a say in the last state, directly or through layers, four tokens after a cut."""
        model.train(training)
        last = []
        for start in range(-1, 24):
            changed = ids[:1].clone()
            if start >= 0:
                changed[:, start] = (changed[:, start] + 1) % 50
            _, state = model.advance(changed[:, :20])
            last.append(model.advance(changed[:, 20:], state)[0][0, -1])
        return next(i for i, states in enumerate(last[1:]) if not torch.equal(states, last[0]))

    assert first_seen(training=True) == 0  # the segment before saw all of itself, and layers pass it on
    assert first_seen(training=False) == 23 - 3 * 6


def test_the_published_model_has_its_parameters_and_other_sizes_theirs() -> None:
    config = transformer_xl.configure("enwik8", "paper")
    model = PretrainingModel.empty(config.model.with_vocabulary(204), config.heads)
    assert count_parameters(model) == 41_055_436
    assert (config.training.length, config.model.memory, config.model.evaluation_memory) == (512, 512, 2100)


@pytest.mark.parametrize("preset", ["paper", "ladder"])
def test_recipes_survive_a_file_and_every_parameter_learns(preset: str) -> None:
    config = transformer_xl.configure("tiny", preset, vocab_size=300)
    assert PretrainingConfig.from_dict(config.to_dict()) == config
    model = PretrainingModel(config.model, config.heads).train()
    ids = torch.randint(0, 300, (2, 16), generator=torch.Generator().manual_seed(0))
    tensors = {"ids": ids, "hidden_at": torch.arange(32), "targets": ids.flatten().roll(-1)}
    for fresh in (True, False):
        model.zero_grad()
        with dropout_key(0, 0, [0, 1]):
            loss = model(tensors | {"streams": torch.arange(2), "fresh": torch.tensor([fresh, fresh])})["next_token"]
        loss.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name
    assert float(loss.detach()) / 32 == pytest.approx(5.70, abs=0.3)
    assert set(model.carry.tensors()) == {"streams", "state.0", "state.1", "state.2"}


@pytest.mark.parametrize(("changes", "message"), [
    ({"causal": False}, "causal must be true with a memory"),
    ({"distance": Rotary()}, "distance must be none with a memory"),
    ({"num_groups": 1}, "num_groups must be none with a memory")])
def test_settings_that_contradict_the_memory_are_refused(changes: dict[str, Any], message: str) -> None:
    config = body().config
    with pytest.raises(InputError, match=message):
        config.replace(transformer=config.transformer.replace(**changes))
    with pytest.raises(InputError, match=r"memory must be in 0\.\.1048576, got -1"):
        config.replace(memory=-1)
