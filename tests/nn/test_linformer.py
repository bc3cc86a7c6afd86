"""Linformer: identity matrices are full attention, padding and packing change nothing, sharing counts."""
from __future__ import annotations

from typing import Any

import pytest
import torch

from polysemy.config import with_settings
from polysemy.errors import InputError
from polysemy.models import albert, bert
from polysemy.models.encoder import Encoded, Encoder
from polysemy.nn.attention import Attention, Full, Visibility
from polysemy.nn.dropout import dropout_key
from polysemy.nn.initialization import initialize
from polysemy.nn.linformer import Linformer
from polysemy.nn.transformer import Transformer, TransformerConfig

SHARINGS = ("none", "headwise", "key_value", "layerwise")
PACKED = [[0] * 5 + [1] * 6 + [-1], [-1] + [3] * 4 + [7] * 3 + [3] * 2 + [-1] * 2]


def stack(sharing: str = "headwise", length: int = 12, rank: int = 5, **changes: Any) -> Transformer:
    config = TransformerConfig(hidden_size=16, num_layers=3, num_heads=2, intermediate_size=24, dropout=0.0,
                               attention_dropout=0.0, initializer="xavier",
                               attention=Linformer(length=length, rank=rank, sharing=sharing),  # type: ignore[arg-type]
                               **changes)
    model = Transformer(config)
    initialize(model, config, seed=1)
    return model.double().eval()


def states(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def look(documents: list[list[int]] | None = None, visible: torch.Tensor | None = None) -> Visibility:
    return Visibility.build(Linformer(length=12, rank=5), None if documents is None else torch.tensor(documents),
                            visible)


@pytest.mark.parametrize("sharing", SHARINGS)
def test_identity_matrices_make_it_full_attention(sharing: str) -> None:
    model, x = stack(sharing, rank=12), states(2, 12, 16)
    plain = Transformer(model.config.replace(attention=Full())).double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "projection" in name:
                parameter.copy_(torch.eye(12).repeat(len(parameter) // 12, 1))
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if "projection" not in name})
    torch.testing.assert_close(model(x, look()), plain(x), atol=1e-10, rtol=0)


@pytest.mark.parametrize(("sharing", "count"), [("none", 2 * 2 * 3 * 12 * 5), ("headwise", 2 * 3 * 12 * 5),
                                                ("key_value", 3 * 12 * 5), ("layerwise", 12 * 5)])
def test_sharing_decides_how_many_parameters_there_are(sharing: str, count: int) -> None:
    model = stack(sharing)
    plain = Transformer(model.config.replace(attention=Full()))
    assert sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in plain.parameters()) == count
    names = [name for name in model.state_dict() if "projection" in name]
    assert len(names) == {"none": 6, "headwise": 6, "key_value": 3, "layerwise": 1}[sharing]


@pytest.mark.parametrize("sharing", SHARINGS)
def test_packed_and_padded_documents_equal_documents_alone(sharing: str) -> None:
    model, x = stack(sharing), states(2, 12, 16)
    packed = model(x, look(PACKED))
    for row, numbers in enumerate(PACKED):
        for document in {number for number in numbers if number >= 0}:
            places = [i for i, number in enumerate(numbers) if number == document]
            torch.testing.assert_close(packed[row, places], model(x[row, places][None], look())[0], atol=1e-10, rtol=0)
    visible = torch.arange(12)[None] < torch.tensor([[12], [7]])
    torch.testing.assert_close(model(x, look(None, visible))[1, :7], model(x[1:, :7], look())[0], atol=1e-10, rtol=0)
    assert model(x, look([[-1] * 12, [0] * 12])).isfinite().all()


def test_what_stands_at_the_padding_changes_nothing() -> None:
    model, x = stack(), states(2, 12, 16)
    visible = torch.arange(12)[None] < torch.tensor([[12], [7]])
    changed = x.clone()
    changed[1, 7:] = x[1, 7:].flip(0) * 3
    torch.testing.assert_close(model(x, look(None, visible))[1, :7], model(changed, look(None, visible))[1, :7],
                               atol=1e-12, rtol=0)


@pytest.mark.parametrize("documents", [None, PACKED])
def test_weights_on_request_are_what_values_are_multiplied_by(documents: list[list[int]] | None) -> None:
    torch.manual_seed(0)
    layer = Attention(16, 2, Linformer(length=12, rank=5)).double()
    x, weights = states(2, 12, 16), []
    shown = layer(x, look(documents), weights=weights)
    torch.testing.assert_close(shown, layer(x, look(documents)), atol=1e-10, rtol=0)
    assert weights[0].shape == (2, 2, 12, 12)
    values = layer.qkv(x)[..., 32:].unflatten(-1, (2, 8)).transpose(1, 2)
    torch.testing.assert_close(layer.output((weights[0] @ values).transpose(1, 2).flatten(2)), shown, atol=1e-10,
                               rtol=0)
    if documents is not None:
        assert weights[0][0, :, :5, 5:].abs().max() == 0


def test_dropout_does_not_depend_on_packing() -> None:
    torch.manual_seed(0)
    layer, x = Attention(16, 2, Linformer(length=12, rank=5), dropout=0.5).double().train(), states(2, 12, 16)
    with dropout_key(0, 0, [3, 4]):
        packed = layer(x, look([[0] * 12, [0] * 7 + [1] * 5]))
    with dropout_key(0, 0, [3, 4]):
        alone = layer(x, look())
    torch.testing.assert_close(packed[0], alone[0], atol=1e-10, rtol=0)
    assert (alone - layer.eval()(x, look())).abs().max() > 1e-2


def test_a_causal_model_is_refused() -> None:
    with pytest.raises(InputError, match="attention must be full or local for a causal model, got linformer"):
        stack(causal=True)


def test_a_document_beyond_the_length_is_one_clear_line() -> None:
    with pytest.raises(InputError, match=r"at most attention\.length 12 tokens long for Linformer, got 13; cut it"):
        stack()(states(1, 13, 16), look())
    with pytest.raises(InputError, match=r"rank must be in 1\.\.65536, got 0"):
        Linformer(rank=0)
    with pytest.raises(InputError, match=r"attention\.rank must be at most attention\.length 16, got 17"):
        Linformer(length=16, rank=17)


def test_settings_choose_it_for_bert_and_albert() -> None:
    settings = {"model.transformer.attention": "linformer", "model.transformer.attention.length": "64",
                "model.transformer.attention.rank": "16", "model.transformer.attention.sharing": "key_value"}
    with pytest.raises(InputError, match=r"training\.length must be at most the model's attention\.length 64, got 128"):
        with_settings(bert.configure("tiny", vocab_size=50), settings)
    settings = {"training.length": "64", **settings}
    for module in (bert, albert):
        config = with_settings(module.configure("tiny", vocab_size=50), settings)
        assert config.model.transformer.attention == Linformer(length=64, rank=16, sharing="key_value")
        assert type(config).from_dict(config.to_dict()) == config
        model = config.model.body().eval()
        assert isinstance(model, Encoder)
        shown = model(torch.arange(40)[None], hidden_states=True, attention=True)
        assert isinstance(shown, Encoded)
        assert shown.weights[1].shape == (1, 2, 40, 40)
        assert not model.open()


def test_first_matrices_have_the_variance_of_their_rank_and_every_parameter_learns() -> None:
    for sharing in SHARINGS:
        model = stack(sharing, length=200, rank=40).train()
        for name, parameter in model.named_parameters():
            if "projection" in name:
                assert float(parameter.detach().std()) == pytest.approx(40**-0.5, rel=0.05)
        model(states(2, 200, 16), look()).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for n, p in model.named_parameters()
                   if not n.endswith("qkv.bias"))
