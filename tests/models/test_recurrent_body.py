"""RNN and LSTM bodies: reading on, never looking ahead, dropping by keys, and a first loss of ln v."""
from __future__ import annotations

import math

import pytest
import torch

from polysemy.errors import InputError
from polysemy.models import lstm, rnn
from polysemy.models.encoder import Encoded
from polysemy.models.pretrained import PretrainingModel, count_parameters
from polysemy.models.recipe import PretrainingConfig
from polysemy.models.recurrent import Recurrent, RecurrentConfig, parameters_of
from polysemy.nn.dropout import dropout_key
from polysemy.nn.initialization import initialize
from polysemy.nn.transformer import TransformerConfig

cells = pytest.mark.parametrize("cell", ["rnn", "lstm"])
VOCABULARY = 50


def body(cell: str = "lstm", **more: object) -> Recurrent:
    """Two layers of different width with biases that matter."""
    settings = {"cell": cell, "vocab_size": VOCABULARY, "hidden_size": 12, "inner_size": 16, **more}
    made = Recurrent(RecurrentConfig(**settings))  # type: ignore[arg-type]
    initialize(made, TransformerConfig(), seed=1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.empty(parameter.shape).uniform_(-0.3, 0.3, generator=generator))
    return made.eval()


def text(rows: int = 3, length: int = 11) -> torch.Tensor:
    return torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(2))


@cells
def test_a_state_is_what_each_layer_hands_on(cell: str) -> None:
    _, state = body(cell).advance(text())
    assert [tuple(part.shape) for part in state] == [(3, 16), (3, 12)] if cell == "rnn" else [
        (3, 16), (3, 16), (3, 12), (3, 12)]


@cells
def test_documents_of_a_row_are_read_each_from_the_beginning(cell: str) -> None:
    made, ids = body(cell), text(2, 8)
    documents = torch.tensor([[0, 0, 0, 1, 1, 2, -1, -1], [3, 3, 3, 3, 3, 3, 3, 3]])
    states = made(ids, documents=documents)
    for row, first, last in ((0, 0, 3), (0, 3, 5), (0, 5, 6), (1, 0, 8)):
        alone = made(ids[row:row + 1, first:last])[0]
        torch.testing.assert_close(states[row, first:last], alone, atol=1e-5, rtol=0)


def test_layers_are_shown_on_request_and_attention_is_not_there() -> None:
    made, ids = body(), text()
    shown = made(ids, hidden_states=True)
    assert isinstance(shown, Encoded)
    assert [layer.shape[-1] for layer in shown.layers] == [12, 16, 12]
    assert torch.equal(shown.states, made(ids))
    with pytest.raises(InputError, match="attention must not be asked of a recurrent model"):
        made(ids, attention=True)


@pytest.mark.parametrize("settings", [{"dropout": 0.4}, {"dropout": 0.4, "variational": True}, {"weight_drop": 0.5},
                                      {"embedding_dropout": 0.4}], ids=["each", "row", "weights", "tokens"])
def test_dropout_is_a_function_of_the_row_however_the_batch_is_cut(settings: dict[str, object]) -> None:
    made, ids = body(**settings), text()
    still = made(ids)
    made.train()
    with dropout_key(1, 2, [7, 8, 9]):
        whole = made(ids)
    with dropout_key(1, 2, [9]):
        torch.testing.assert_close(made(ids[2:]), whole[2:], atol=1e-6, rtol=0)
    with dropout_key(1, 3, [7, 8, 9]):
        assert not torch.allclose(made(ids), whole)
    assert not torch.allclose(whole, still)


def test_variational_dropout_leaves_out_the_same_units_at_every_token() -> None:
    made = body(dropout=0.5, variational=True).train()
    with dropout_key(1, 2, [0, 1, 2]):
        gone = made(text()) == 0
    assert torch.equal(gone, gone[:, :1].expand_as(gone))
    assert 0.2 < gone[:, 0].float().mean() < 0.8
    each = body(dropout=0.5).train()
    with dropout_key(1, 2, [0, 1, 2]):
        gone = each(text()) == 0
    assert not torch.equal(gone, gone[:, :1].expand_as(gone))


def test_embedding_dropout_leaves_out_a_token_wherever_it_stands_in_its_row() -> None:
    made, ids = body(embedding_dropout=0.5).train(), torch.tensor([[3, 4, 5, 3, 4, 5] * 3] * 8)
    with dropout_key(1, 2, list(range(8))):
        vectors = made(ids, hidden_states=True).layers[0]
    gone = (vectors == 0).all(-1)
    assert torch.equal(gone[:, :3].repeat(1, 6), gone)
    assert 0.2 < gone[:, :3].float().mean() < 0.8
    assert not torch.equal(gone[:4], gone[4:])


@cells
@pytest.mark.parametrize("tied", [True, False])
def test_first_loss_is_that_of_guessing(cell: str, tied: bool) -> None:
    config = RecurrentConfig(cell=cell, vocab_size=500, hidden_size=64, tied=tied)  # type: ignore[arg-type]
    model, ids = PretrainingModel(config, ("next_token",)), torch.randint(500, (4, 30))
    loss = model.loss("next_token", model.body(ids), {"hidden_at": torch.arange(120), "targets": ids.flatten()})
    assert loss.item() / 120 == pytest.approx(math.log(500), abs=0.1)


def test_an_adaptive_head_learns_and_answers_with_probabilities() -> None:
    config = RecurrentConfig(vocab_size=60, hidden_size=16, cutoffs=(10, 30))
    model, ids = PretrainingModel(config, ("next_token",)), torch.randint(60, (4, 30))
    tensors = {"hidden_at": torch.arange(120), "targets": ids.flatten()}
    states = model.body(ids)
    loss = model.loss("next_token", states, tensors)
    logs = model.next_logits(states).flatten(0, 1)
    torch.testing.assert_close(logs.exp().sum(-1), torch.ones(120), atol=1e-5, rtol=0)
    torch.testing.assert_close(loss, -logs.gather(1, ids.flatten()[:, None]).sum(), atol=1e-3, rtol=1e-5)
    assert config.with_vocabulary(20).cutoffs == (10,)
    names = {name for name, _ in model.heads["next_token"].named_parameters()}
    assert names == {"adaptive.bias", "adaptive.clusters.weight", "adaptive.clusters.bias"}


@cells
def test_parameters_follow_the_closed_form(cell: str) -> None:
    config = RecurrentConfig(cell=cell, vocab_size=70, hidden_size=12, inner_size=16, num_layers=3,  # type: ignore
                             embedding_size=10, tied=False)
    assert count_parameters(Recurrent(config)) == parameters_of(config)
    g = 1 if cell == "rnn" else 4
    assert parameters_of(config) == 700 + g * (16 * 27 + 16 * 33 + 12 * 29)


def test_the_medium_model_of_zaremba_has_its_size() -> None:
    config = lstm.configure("medium-2014", "paper")
    count = count_parameters(PretrainingModel.empty(config.model, config.heads))
    assert count == 19_775_200  # 10,000 words, 2 x 650, untied, one bias a gate
    assert (config.training.batch_size, config.training.length, config.training.clip) == (20, 35, 5.0)


@pytest.mark.parametrize("module", [lstm, rnn])
@pytest.mark.parametrize("preset", ["paper", "ladder"])
def test_recipes_survive_json(module: object, preset: str) -> None:
    for size in lstm.RECURRENT_SIZES:
        config = module.configure(size, preset)  # type: ignore[attr-defined]
        assert PretrainingConfig.from_dict(config.to_dict()) == config
        assert config.model.cell == config.recipe == module.__name__.rpartition(".")[2]  # type: ignore[attr-defined]


def test_clusters_need_ids_that_fall_in_frequency() -> None:
    config = lstm.configure("tiny")
    with pytest.raises(InputError, match=r"tokenizer\.kind must be word or space with model\.cutoffs"):
        config.replace(model=config.model.replace(cutoffs=(100, 1000)))
    words = config.replace(tokenizer=config.tokenizer.replace(kind="word"))
    assert words.replace(model=config.model.replace(cutoffs=(100, 1000))).model.cutoffs == (100, 1000)


@pytest.mark.parametrize(("settings", "wanted"), [
    ({"hidden_size": 0}, "hidden_size must be in 1"), ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
    ({"cutoffs": (9, 3)}, "cutoffs must climb"), ({"weight_drop": -0.1}, "weight_drop must be at least 0")])
def test_wrong_settings_are_refused(settings: dict[str, object], wanted: str) -> None:
    with pytest.raises(InputError, match=wanted):
        RecurrentConfig(**settings)  # type: ignore[arg-type]
