"""The body and the model around it: padding, packing, losses, weights in files."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from polysemy.artifact import save_tensors
from polysemy.errors import InputError
from polysemy.models import albert, bert, roberta, spanbert
from polysemy.models.encoder import Encoded, EncoderConfig
from polysemy.models.pretrained import PretrainingModel, count_parameters

HEADS = ("masked_lm", "pair", "span_boundary")


def small(module: Any = bert, preset: str = "paper", **changes: Any) -> EncoderConfig:
    config = module.configure("tiny", preset, vocab_size=300).model
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "dropout": 0.0, "attention_dropout": 0.0}
    return config.replace(transformer=config.transformer.replace(**sizes, **changes),
                          embedding=config.embedding.replace(dropout=0.0))


def model_of(config: EncoderConfig, seed: int = 0) -> PretrainingModel:
    return PretrainingModel(config, HEADS, seed=seed).double().eval()


def batch(t: int = 9) -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 300, (2, t), generator=torch.Generator().manual_seed(0))
    documents = torch.tensor([[0] * t, [0] * (t - 5) + [1] * 3 + [-1] * 2])
    positions = torch.tensor([[*range(t)], [*range(t - 5), 0, 1, 2, 0, 0]])
    return {"ids": ids, "documents": documents, "positions": positions, "segments": torch.zeros_like(ids)}


@pytest.mark.parametrize("module", [bert, roberta, albert])
@pytest.mark.parametrize("preset", ["paper", "ladder"])
def test_padding_and_packing_change_nothing(module: Any, preset: str) -> None:
    body = model_of(small(module, preset)).body
    inputs = batch()
    states = body(**inputs)
    torch.testing.assert_close(states[0], body(inputs["ids"][:1])[0], atol=1e-10, rtol=0)
    torch.testing.assert_close(states[1, :4], body(inputs["ids"][1:, :4])[0], atol=1e-10, rtol=0)
    torch.testing.assert_close(states[1, 4:7], body(inputs["ids"][1:, 4:7])[0], atol=1e-10, rtol=0)
    visible = torch.tensor([[True] * 9, [True] * 4 + [False] * 5])
    torch.testing.assert_close(body(inputs["ids"], visible=visible)[1, :4], states[1, :4], atol=1e-10, rtol=0)


def test_layers_and_weights_come_out_on_request() -> None:
    body, inputs = model_of(small()).body, batch()
    shown = body(**inputs, hidden_states=True, attention=True)
    assert isinstance(shown, Encoded)
    assert (len(shown.layers), len(shown.weights)) == (3, 2)
    torch.testing.assert_close(shown.states, body(**inputs), atol=1e-10, rtol=0)
    torch.testing.assert_close(shown.layers[-1], shown.states, atol=0, rtol=0)
    total = shown.weights[0].sum(-1)
    assert total[1, :, 7:].abs().max() == 0
    torch.testing.assert_close(total[:, :, :7], torch.ones(2, 2, 7, dtype=torch.float64))
    assert body(**inputs, hidden_states=True).weights == []


def loss_batch() -> dict[str, torch.Tensor]:
    return batch() | {
        "hidden": torch.tensor([[0, 1, 0, 0, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0, 0, 0, 0]]).bool(),
        "targets": torch.tensor([7, 8, 9]), "pair_at": torch.tensor([0, 9, 13]), "pair_labels": torch.tensor([0, 1, 1]),
        "span_left": torch.tensor([0, 2]), "span_right": torch.tensor([2, 5]), "span_offset": torch.tensor([1, 2]),
        "span_targets": torch.tensor([11, 12])}


def test_losses_are_sums_at_the_places_asked_for() -> None:
    model, inputs = model_of(small(albert)), loss_batch()
    losses = model(inputs)
    assert list(losses) == list(HEADS)
    states = model.body(inputs["ids"], inputs["positions"], inputs["segments"], inputs["documents"])
    logits = model.masked_lm_logits(states, torch.tensor([1, 4, 11]))
    wanted = F.cross_entropy(logits, inputs["targets"], reduction="sum")
    torch.testing.assert_close(losses["masked_lm"].double(), wanted, atol=1e-5, rtol=0)
    pair = F.cross_entropy(model.heads["pair"](states, inputs["pair_at"]), inputs["pair_labels"], reduction="sum")
    torch.testing.assert_close(losses["pair"].double(), pair, atol=1e-5, rtol=0)
    weighted = model(inputs | {"weights": torch.tensor([1.0, 0.0, 0.0])})["masked_lm"]
    torch.testing.assert_close(weighted.double(), F.cross_entropy(logits[:1], inputs["targets"][:1]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("module", [bert, albert, spanbert])
def test_every_parameter_learns(module: Any) -> None:
    model = PretrainingModel(small(module), HEADS)
    sum(model(loss_batch()).values()).backward()  # type: ignore[union-attr]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0 or name.endswith("qkv.bias"), name


def test_heads_without_targets_give_zero_and_stay_in_the_graph() -> None:
    model, inputs = PretrainingModel(small(), HEADS), loss_batch()
    none = torch.zeros(0, dtype=torch.long)
    inputs |= {"hidden": torch.zeros_like(inputs["hidden"]), **{name: none for name in inputs if name.startswith((
        "targets", "pair", "span"))}}
    losses = model(inputs)
    assert [float(loss.detach()) for loss in losses.values()] == [0, 0, 0]
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None for p in model.parameters())


def test_the_first_loss_is_near_the_logarithm_of_the_vocabulary() -> None:
    with torch.no_grad():
        losses = model_of(small())(loss_batch())
    assert float(losses["masked_lm"]) / 3 == pytest.approx(5.70, abs=0.15)
    assert float(losses["pair"]) / 3 == pytest.approx(0.69, abs=0.15)


def test_same_seed_same_weights_whatever_heads_stand_on_top() -> None:
    one, two, other = (PretrainingModel(small(), heads, seed=seed) for heads, seed in ((HEADS, 3), (("masked_lm",), 3),
                                                                                      (HEADS, 4)))
    for name, parameter in two.named_parameters():
        torch.testing.assert_close(parameter, dict(one.named_parameters())[name], atol=0, rtol=0)
    assert not torch.equal(one.table, other.table)
    assert count_parameters(two) < count_parameters(one)


def test_weights_survive_a_file(tmp_path: Path) -> None:
    model = PretrainingModel(small(), HEADS, seed=2)
    path = tmp_path / "model.safetensors"
    save_tensors(path, model.state_dict())
    again = PretrainingModel.load(small(), HEADS, path)
    assert not again.training
    torch.testing.assert_close(again.state_dict(), model.state_dict(), atol=0, rtol=0)
    assert all(parameter.requires_grad for parameter in again.parameters())


@pytest.mark.parametrize(("change", "message"), [
    ("missing", r"must hold heads\.pair\.pooler\.weight"), ("extra", "must hold nothing that .* got stray"),
    ("shape", r"heads\.pair\.pooler\.bias must have shape \[32\] by config.json, got \[31\]"),
    ("nan", r"heads\.pair\.pooler\.bias must be finite"),
    ("whole", r"heads\.pair\.pooler\.bias must be of a float type")])
def test_a_file_of_another_model_is_refused(change: str, message: str, tmp_path: Path) -> None:
    tensors = dict(PretrainingModel(small(), HEADS).state_dict())
    name = "heads.pair.pooler.bias"
    if change == "missing":
        del tensors["heads.pair.pooler.weight"]
    elif change == "extra":
        tensors["stray"] = torch.zeros(1)
    elif change == "shape":
        tensors[name] = torch.zeros(31)
    elif change == "nan":
        tensors[name] = torch.full((32,), float("nan"))
    else:
        tensors[name] = torch.zeros(32, dtype=torch.int32)
    save_tensors(tmp_path / "model.safetensors", tensors)
    with pytest.raises(InputError, match=message):
        PretrainingModel.load(small(), HEADS, tmp_path / "model.safetensors")


def test_an_unknown_head_is_refused() -> None:
    with pytest.raises(InputError, match="got 'masked'; did you mean 'masked_lm'"):
        PretrainingModel(small(), ("masked",))


def test_bfloat16_losses_are_float32_and_near() -> None:
    model, inputs = PretrainingModel(small(), HEADS), loss_batch()
    with torch.no_grad():
        wanted = model(inputs)
        found = model.bfloat16()(inputs)
    for name, loss in found.items():
        assert loss.dtype == torch.float32
        assert float(loss) == pytest.approx(float(wanted[name]), rel=0.05)
