"""A head on a pretrained body: what is read, what is taken over, the same numbers alone and in any company."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import RECIPES, encoder, language_model, small_config
from task_cases import LENGTHS, READERS, TASKS, batch, reader, task_model

from polysemy.errors import InputError
from polysemy.models.encoder import EncoderConfig
from polysemy.models.pretrained import PretrainingModel, write_run
from polysemy.models.task_model import TaskModel, head_config
from polysemy.nn.dropout import Dropout, dropout_key
from polysemy.objectives.task import TaskObjective


def tensors(kind: str, **chosen: Any) -> dict[str, torch.Tensor]:
    return TaskObjective(TASKS[kind]).tensors(batch(kind, **chosen))


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", TASKS)
def test_every_row_answers_as_if_it_stood_alone(name: str, kind: str) -> None:
    model = task_model(name, kind)
    with torch.no_grad():
        together = model.logits(tensors(kind, width=13))
        alone = [model.logits(tensors(kind, rows=[i])) for i in range(len(LENGTHS))]
    if kind == "span":
        assert all(bool((together[i, length:] == -torch.inf).all()) for i, length in enumerate(LENGTHS))
        for i, length in enumerate(LENGTHS):
            torch.testing.assert_close(together[i, :length], alone[i][0], atol=1e-5, rtol=0)
    else:
        torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)
        assert float(together.std(0).min()) > 1e-4  # rows differ: something of the text is read


@pytest.mark.parametrize(("name", "places"), [("bert", [0, 11, 22, 33]), ("gpt", [6, 13, 32, 37])])
def test_encoders_are_read_at_their_first_state_and_causal_bodies_at_their_last(name: str, places: list[int]) -> None:
    model, given = task_model(name, "classify"), tensors("classify")
    with torch.no_grad():
        states = model.body(given["ids"], given["positions"], given["segments"], given["documents"])
        wanted = model.head(states.flatten(0, 1)[places])
        torch.testing.assert_close(model.logits(given), wanted, atol=1e-5, rtol=0)


def test_nnlm_whose_last_state_does_not_hold_the_text_is_read_by_the_mean() -> None:
    model, given = task_model("nnlm", "classify"), tensors("classify", rows=[1])
    with torch.no_grad():
        wanted = model.head(model.body(given["ids"])[0].mean(0, keepdim=True))
        torch.testing.assert_close(model.logits(given), wanted, atol=1e-5, rtol=0)


def test_the_pretrained_pooler_is_taken_over_and_the_rest_is_a_function_of_the_seed() -> None:
    start = encoder("bert").model
    first, same, other = (TaskModel.on(start, TASKS["classify"], head_config(TASKS["classify"], encoder("bert").config),
                                       seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.head.dense.weight, start.heads["pair"].pooler.weight)
    assert torch.equal(first.head.output.weight, same.head.output.weight)
    assert not torch.equal(first.head.output.weight, other.head.output.weight)
    assert all(torch.equal(weight, first.body.state_dict()[name]) for name, weight in start.body.state_dict().items())
    with torch.no_grad():
        first.body.embedding.token.weight.add_(1)
    assert not torch.equal(first.table, start.table), "the pretrained model is left as it was"
    again = TaskModel.on(first, TASKS["classify"], first.head_config, seed=5)
    assert torch.equal(again.head.dense.weight, first.head.dense.weight)


def test_the_dropout_of_the_body_can_be_chosen() -> None:
    start = encoder("bert")
    model = TaskModel.on(start.model, TASKS["tag"], head_config(TASKS["tag"], start.config), dropout=0.3)
    assert isinstance(model.config, EncoderConfig)
    assert model.config.transformer.attention_dropout == model.config.embedding.dropout == 0.3


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("width", [None, 14])
def test_cutting_a_batch_into_parts_gives_the_same_gradient(kind: str, width: int | None) -> None:
    model = task_model("bert", kind).train()
    weights = (0.5, 2.0, 3.0) if kind in ("classify", "tag") else None
    objective = TaskObjective(TASKS[kind], class_weights=weights, smoothing=0.1 if weights else 0.0)
    counts = objective.counts(batch(kind))
    found = []
    for parts in ([range(4)], [[0, 1], [2, 3]], [[3], [2], [0, 1]]):
        model.zero_grad()
        for rows in parts:
            part = batch(kind, rows=rows, width=width if len(rows) > 1 else None)
            with dropout_key(1, 2, part.rows):
                objective.total(objective.losses(model, objective.tensors(part)), counts).backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], atol=2e-6, rtol=2e-4)


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("reading", ["first", "mean"])
def test_the_fast_way_gives_the_numbers_of_the_plain_one(kind: str, reading: str,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """Float32 runs the flat list through the plain lines of each kernel, so that both ways can be held equal."""
    model = task_model("bert", kind, reading=reading, **({"form": "pooled"} if kind == "classify" else {})).train()
    objective, part = TaskObjective(TASKS[kind]), batch(kind)
    found = []
    for is_open in (False, True):
        monkeypatch.setattr(type(model.body), "open", lambda self, answer=is_open: answer)
        model.zero_grad()
        with dropout_key(1, 2, part.rows):
            loss = objective.losses(model, objective.tensors(part))["task"]
        loss.backward()
        grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        found.append((loss.detach(), grads))
    torch.testing.assert_close(found[1][0], found[0][0], atol=1e-5, rtol=1e-5)
    assert found[0][1].keys() == found[1][1].keys()
    for name, gradient in found[0][1].items():
        largest = max(1.0, float(gradient.abs().max()))
        torch.testing.assert_close(found[1][1][name], gradient, atol=1e-5 * largest, rtol=1e-4, msg=name)


def test_frozen_layers_need_no_gradient_and_hear_of_none() -> None:
    model = task_model("bert", "classify").train()
    frozen = model.frozen_parameters(1)
    assert "body.embedding.token.weight" in frozen
    assert {name for name in frozen if ".attention." in name} == {
        name for name, _ in model.named_parameters() if ".attention.0." in name}
    assert not any("head" in name or ".1." in name for name in frozen)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    seen = []
    model.body.transformer.feed_forward[0].register_forward_hook(lambda *all_: seen.append(all_[-1].requires_grad))
    part = batch("classify")
    with dropout_key(1, 1, part.rows):
        model(TaskObjective(TASKS["classify"]).tensors(part))["task"].backward()
    assert seen == [False]
    assert all((parameter.grad is None) == (name in frozen) for name, parameter in model.named_parameters())


@pytest.mark.parametrize("name", ["gpt", "nnlm", "lstm", "transformer-xl", "elmo"])
def test_all_layers_of_every_body_can_be_frozen(name: str) -> None:
    model = task_model(name, "classify")
    count = model.config.num_layers
    everything = model.frozen_parameters(count)
    left = {name for name, _ in model.named_parameters()} - everything
    assert left
    after = ("head.", "mix.", "body.transformer.final_norm", "body.final_norm")
    assert all(name.startswith(after) for name in left)
    assert model.frozen_parameters(0) <= everything
    with pytest.raises(InputError, match=rf"freeze must be 0\.\.{count}, the layers of this model, got 99"):
        model.frozen_parameters(99)


def test_layers_that_share_weights_are_frozen_together() -> None:
    start = encoder("albert")
    config = start.config.model.replace(transformer=start.config.model.transformer.replace(num_groups=1, num_layers=4))
    model = TaskModel(config, TASKS["tag"], head_config(TASKS["tag"], start.config))
    with pytest.raises(InputError, match="freeze must not cut layers 1 to 4, which share their weights, got 2; "
                                         "freeze 0 or 4"):
        model.frozen_parameters(2)
    assert model.frozen_parameters(0) == {name for name, _ in model.named_parameters() if "body.embedding." in name}
    assert any("attention" in name for name in model.frozen_parameters(4))


@pytest.mark.parametrize("recipe", RECIPES)
def test_bfloat16_weights_give_nearly_the_same_loss(recipe: str) -> None:
    model, given = task_model(recipe, "classify"), tensors("classify")
    with torch.no_grad():
        exact = float(model(given)["task"])
        assert float(model.to(torch.bfloat16)(given)["task"]) == pytest.approx(exact, rel=0.05)


def test_a_head_without_places_is_still_joined_to_the_graph() -> None:
    model, given = task_model("bert", "tag"), tensors("tag")
    given |= {"at": given["at"][:0], "targets": given["targets"][:0]}
    loss = model(given)["task"]
    loss.backward()
    assert float(loss.detach()) == 0
    assert model.head.output.weight.grad is not None


def test_files_of_another_head_are_refused(tmp_path: Path) -> None:
    start = language_model("lstm")
    write_run(tmp_path / "run", start.model, start.tokenizer, start.config)
    head = head_config(TASKS["classify"], start.config)
    with pytest.raises(InputError, match=r"must hold head\.output\.bias"):
        TaskModel.load(start.config.model, TASKS["classify"], head, tmp_path / "run" / "model.safetensors")


@pytest.mark.parametrize("kind", TASKS)
def test_the_kernels_in_bfloat16_give_nearly_the_plain_gradient(kind: str) -> None:
    """The real fast way, where this machine has it."""
    config = small_config("bert", hidden_size=64, num_heads=2, initializer="xavier")
    start = PretrainingModel(config.model, config.heads, seed=1)
    model = TaskModel.on(start, TASKS[kind], head_config(TASKS[kind], config), seed=3, dropout=0.0).train()
    part = batch(kind)
    given = TaskObjective(TASKS[kind]).tensors(part)
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        model.to(dtype).zero_grad()
        if dtype == torch.bfloat16 and not model.body.open():
            pytest.skip("no kernels here")
        with dropout_key(1, 1, part.rows):
            loss = model(given)["task"]
        loss.backward()
        gradients = {name: p.grad.float() for name, p in model.named_parameters() if p.grad is not None}
        found.append((loss.item(), gradients))
    assert found[1][0] == pytest.approx(found[0][0], rel=0.03)
    exact, near = (torch.cat([x.flatten() for x in gradients.values()]) for _, gradients in found)
    assert float(torch.cosine_similarity(exact, near, dim=0)) > 0.99


@pytest.mark.parametrize("name", ["bert", "lstm", "elmo"])
def test_one_rate_of_dropout_reaches_every_place_that_drops(name: str) -> None:
    model = TaskModel.on(reader(name).model, TASKS["classify"], head_config(TASKS["classify"], reader(name).config),
                         dropout=0.37)
    rates = {module.rate for module in model.body.modules() if isinstance(module, Dropout)}
    assert rates <= {0.0, 0.37}
    assert 0.37 in rates
