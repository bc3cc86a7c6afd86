"""Rates by depth, frozen weights and gradual unfreezing, in the optimizer's kernels and in their torch twin."""
from __future__ import annotations

import pytest
import torch
from torch import nn

from polysemy.errors import InputError
from polysemy.models import albert, bert
from polysemy.models.task_model import TaskModel, head_config
from polysemy.models.tasks import Classify
from polysemy.training.layer_rates import Unfreezing, depths, layer_rates
from polysemy.training.optimizer import Optimizer, OptimizerConfig

TASK = Classify(labels=("no", "yes"))


def shapes(recipe: str, **changes: int) -> TaskModel:
    """Four layers without memory."""
    config = {"bert": bert, "albert": albert}[recipe].configure("mini", "paper")
    config = config.replace(model=config.model.replace(transformer=config.model.transformer.replace(**changes)))
    return TaskModel.empty(config.model, TASK, head_config(TASK, config))


def test_depth_counts_from_the_embedding_to_the_head() -> None:
    found = depths(shapes("bert"))
    assert found["body.embedding.token.weight"] == 0
    assert found["body.transformer.attention.0.inner.qkv.weight"] == 1
    assert found["body.transformer.feed_forward.3.norm.bias"] == 4
    assert found["head.output.weight"] == 5


def test_each_layer_learns_slower_than_the_one_above() -> None:
    rates = layer_rates(shapes("bert"), 0.5)
    assert rates["head.output.weight"] == 1
    assert rates["body.transformer.attention.3.inner.qkv.weight"] == 0.5
    assert rates["body.transformer.attention.0.inner.qkv.weight"] == 0.5**4
    assert rates["body.embedding.token.weight"] == 0.5**5


def test_freezing_two_layers_freezes_the_embedding_and_nothing_above() -> None:
    frozen = {name for name, rate in layer_rates(shapes("bert"), freeze=2).items() if rate == 0}
    assert frozen == {name for name, depth in depths(shapes("bert")).items() if depth <= 2}


def test_shared_layers_cannot_be_frozen_in_part() -> None:
    with pytest.raises(InputError, match="share their weights"):
        layer_rates(shapes("albert"), freeze=2)


def test_a_layer_more_learns_in_every_epoch() -> None:
    model = shapes("bert")
    unfreezing = Unfreezing(model, layer_rates(model, freeze=1), gradual=True)
    assert unfreezing.last == 3
    depth = depths(model)
    for epoch in range(5):
        learning = {depth[name] for name, rate in unfreezing.first(epoch).items() if rate}
        assert learning == set(range(max(2, 5 - epoch), 6))
    due = unfreezing.due([name for name, rate in unfreezing.first(0).items() if not rate], 1)
    assert {depth[name] for name in due} == {4}


# the optimizer


def weights(seed: int = 0) -> nn.ModuleDict:
    generator = torch.Generator().manual_seed(seed)
    model = nn.ModuleDict({name: nn.Linear(40, 30) for name in ("low", "high")})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def give_gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
        parameter.grad = noise if parameter.requires_grad else None


FACTORS = {"low.weight": 0.25, "low.bias": 0.25}


@pytest.mark.parametrize("kind", ["adamw", "lamb"])
@pytest.mark.parametrize("plain", ["0", "1"])
def test_a_factor_is_a_learning_rate_of_its_own(monkeypatch: pytest.MonkeyPatch, kind: str, plain: str) -> None:
    monkeypatch.setenv("POLYSEMY_PLAIN", plain)
    both, slow = weights(), weights()
    config = OptimizerConfig(kind=kind, learning_rate=0.01, weight_decay=0.1, clip=0.0)  # type: ignore[arg-type]
    optimizers = [Optimizer(both, config, factors=FACTORS), Optimizer(slow, config.replace(learning_rate=0.0025))]
    for step in range(3):
        for model, optimizer in zip((both, slow), optimizers, strict=True):
            give_gradients(model, step)
            optimizer.step()
    assert torch.allclose(both["low"].weight, slow["low"].weight, atol=1e-7)  # type: ignore[union-attr]
    assert not torch.allclose(both["high"].weight, slow["high"].weight, atol=1e-4)  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["adamw", "lamb"])
def test_the_kernel_and_its_twin_agree_on_factors_and_late_starts(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    found = []
    for plain in ("0", "1"):
        monkeypatch.setenv("POLYSEMY_PLAIN", plain)
        model = weights()
        optimizer = Optimizer(model, OptimizerConfig(kind=kind, learning_rate=0.01),  # type: ignore[arg-type]
                              factors={"high.weight": 0.5, "low.weight": 0.0, "low.bias": 0.0})
        for step in range(5):
            if step == 3:
                optimizer.thaw(FACTORS)
            give_gradients(model, step)
            optimizer.step()
        found.append({name: parameter.detach().clone() for name, parameter in model.named_parameters()})
    for name, tensor in found[0].items():
        assert torch.allclose(tensor, found[1][name], atol=1e-6), name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_frozen_weights_keep_their_bits_and_have_no_moments(dtype: str) -> None:
    model = weights()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = Optimizer(model, OptimizerConfig(weight_decay=0.5), dtype=dtype,
                          factors={"low.weight": 0.0, "low.bias": 0.0})
    assert not any("low" in name for name in optimizer.state_dict())
    for step in range(3):
        give_gradients(model, step)
        optimizer.step()
    assert not model["low"].weight.requires_grad  # type: ignore[union-attr]
    for name, (_, master) in optimizer.frozen.items():
        assert torch.equal(master, before[name])
    assert not torch.equal(optimizer.masters()["high.weight"], before["high.weight"])


def test_what_thaws_late_begins_with_fresh_moments() -> None:
    late, fresh = weights(), weights()
    config = OptimizerConfig(learning_rate=0.01, clip=0.0)
    frozen = {"low.weight": 0.0, "low.bias": 0.0}
    optimizers = Optimizer(late, config, factors=frozen), Optimizer(fresh, config)
    give_gradients(late, 1)
    optimizers[0].step()
    optimizers[0].thaw({"low.weight": 1.0, "low.bias": 1.0})
    for model, optimizer in zip((late, fresh), optimizers, strict=True):
        give_gradients(model, 2)
        optimizer.step()
    assert torch.equal(late["low"].weight, fresh["low"].weight)  # type: ignore[union-attr]


def test_a_late_start_survives_a_checkpoint() -> None:
    states = []
    for saved in (False, True):
        model = weights()
        config = OptimizerConfig(learning_rate=0.01)
        optimizer = Optimizer(model, config, factors={"low.weight": 0.0, "low.bias": 0.0})
        for step in range(6):
            if step == 2:
                optimizer.thaw({"low.weight": 1.0, "low.bias": 0.5})
            if step == 4 and saved:
                state = {name: tensor.clone() for name, tensor in optimizer.state_dict().items()}
                model = weights()
                optimizer = Optimizer(model, config, factors={"low.bias": 0.5})
                optimizer.load_state_dict(state)
            give_gradients(model, step)
            optimizer.step()
        states.append(optimizer.masters())
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name


def test_a_negative_factor_is_refused() -> None:
    with pytest.raises(InputError, match="must not be negative"):
        Optimizer(weights(), OptimizerConfig(), factors={"low.bias": -1.0})


def test_rows_that_no_text_has_keep_their_bits_and_the_others_move_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for plain in ("0", "1"):
        monkeypatch.setenv("POLYSEMY_PLAIN", plain)
        model = nn.ModuleDict({"table": nn.Embedding(300, 64)})
        with torch.no_grad():
            model["table"].weight.copy_(torch.randn(300, 64, generator=torch.Generator().manual_seed(1)))
        before = model["table"].weight.detach().clone()
        optimizer = Optimizer(model, OptimizerConfig(learning_rate=0.01, weight_decay=0.1), undecayed=["table.weight"])
        for step in range(4):
            gradient = torch.zeros(300, 64)
            gradient[100 + step] = 1.0 + step  # a row is read once and then no more: its moments move it on
            model["table"].weight.grad = gradient
            optimizer.step()
        after = model["table"].weight.detach()
        untouched = torch.ones(300, dtype=torch.bool)
        untouched[100:104] = False
        assert torch.equal(after[untouched], before[untouched])
        assert not torch.isclose(after[100], before[100]).any()
        found.append(after.clone())
    assert torch.allclose(found[0], found[1], atol=1e-6)
