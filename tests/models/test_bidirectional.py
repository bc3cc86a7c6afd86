"""ELMo's body: neither direction sees its answer, padding and packing change nothing, reversal, layers, characters."""
from __future__ import annotations

from typing import Any

import pytest
import torch

from polysemy.errors import InputError
from polysemy.models import elmo
from polysemy.models.bidirectional import Bidirectional, BidirectionalConfig, Table
from polysemy.models.encoder import Encoded
from polysemy.nn import kernels
from polysemy.nn.characters import Characters
from polysemy.nn.dropout import dropout_key
from polysemy.nn.initialization import initialize
from polysemy.nn.transformer import TransformerConfig

SIZE, HALF = 40, 16
PIECES = [f"piece{i}" for i in range(SIZE)]
INPUTS = {"table": Table(), "characters": Characters(byte_size=6, widths=(1, 3), filters=(8, 12), num_highways=1)}


def body(kind: str = "table", dtype: torch.dtype = torch.float64, **changes: Any) -> Bidirectional:
    config = BidirectionalConfig(vocab_size=SIZE, input=INPUTS[kind], cell_size=48, projection_size=HALF, **changes)
    found = Bidirectional(config)
    initialize(found, TransformerConfig(), 0)
    found.set_pieces(PIECES)
    return found.to(dtype).eval()


def some_ids(b: int = 2, t: int = 9) -> torch.Tensor:
    return torch.randint(0, SIZE, (b, t), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["table", "characters"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_neither_direction_sees_its_answer(kind: str, dtype: torch.dtype) -> None:
    found, ids = body(kind, dtype).train(), some_ids()  # training has its own way, and it must be as blind
    states = found(ids)
    for k in range(1, 8):
        later, earlier = ids.clone(), ids.clone()
        later[:, k + 1:] = later[:, k + 1:].flip(1).roll(1, 0)
        earlier[:, :k] = earlier[:, :k].flip(1).roll(1, 0)
        torch.testing.assert_close(found(later)[:, :k + 1, :HALF], states[:, :k + 1, :HALF], atol=0, rtol=0)
        torch.testing.assert_close(found(earlier)[:, k:, HALF:], states[:, k:, HALF:], atol=0, rtol=0)
        assert not torch.equal(found(later)[:, k, HALF:], states[:, k, HALF:])
        assert not torch.equal(found(earlier)[:, k, :HALF], states[:, k, :HALF])


def test_neither_direction_has_a_gradient_from_its_answer() -> None:
    found, ids = body(), some_ids(1)
    x = found.vectors(ids).detach().requires_grad_()
    states = found.read(x)
    assert isinstance(states, torch.Tensor)
    ahead = torch.autograd.grad(states[0, 4, :HALF].sum(), x, retain_graph=True)[0][0].abs().sum(1)
    back = torch.autograd.grad(states[0, 4, HALF:].sum(), x)[0][0].abs().sum(1)
    assert (ahead > 0).tolist() == [True] * 5 + [False] * 4
    assert (back > 0).tolist() == [False] * 4 + [True] * 5


@pytest.mark.parametrize("kind", ["table", "characters"])
def test_padding_and_packing_change_nothing(kind: str) -> None:
    found, ids = body(kind), some_ids()
    ids[1, 4] = ids[1, 0]  # the mark before each document
    documents = torch.tensor([[0] * 9, [0, 0, 0, 0, 1, 1, 1, -1, -1]])
    shown = found(ids, documents=documents, hidden_states=True)
    for depth, layer in enumerate(shown.layers):
        alone = [found(part, hidden_states=True).layers[depth][0] for part in (ids[:1], ids[1:, :5], ids[1:, 4:7])]
        torch.testing.assert_close(layer[0], alone[0], atol=1e-12, rtol=0)
        torch.testing.assert_close(layer[1, :4], alone[1][:4], atol=1e-12, rtol=0)
        torch.testing.assert_close(layer[1, 5:7], alone[2][1:], atol=1e-12, rtol=0)
        torch.testing.assert_close(layer[1, 4, :HALF], alone[2][0, :HALF], atol=1e-12, rtol=0)  # forward, it begins one
        torch.testing.assert_close(layer[1, 4, HALF:], alone[1][4, HALF:], atol=1e-12, rtol=0)  # backward, it ends one
    visible = torch.tensor([[True] * 9, [True] * 4 + [False] * 5])
    torch.testing.assert_close(found(ids, visible=visible)[1, :4], found(ids[1:, :4])[0], atol=1e-12, rtol=0)
    torch.testing.assert_close(found(ids), found(ids, visible=torch.ones(2, 9, dtype=torch.bool)), atol=1e-12, rtol=0)


def test_documents_see_nothing_of_one_another_but_the_mark() -> None:
    found, ids = body(), some_ids()
    documents = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1, 1]] * 2)
    states, other = found(ids, documents=documents), ids.clone()
    other[:, 5:] = (other[:, 5:] + 1) % SIZE
    torch.testing.assert_close(found(other, documents=documents)[:, :5], states[:, :5], atol=0, rtol=0)
    other = ids.clone()
    other[:, :4] = (other[:, :4] + 1) % SIZE
    torch.testing.assert_close(found(other, documents=documents)[:, 4:], states[:, 4:], atol=0, rtol=0)


def test_reversed_text_is_the_other_direction_with_weights_exchanged() -> None:
    found, exchanged, ids = body(), body(), some_ids()
    exchanged.forward_layers.load_state_dict(found.backward_layers.state_dict())
    exchanged.backward_layers.load_state_dict(found.forward_layers.state_dict())
    states, mirrored = found(ids), exchanged(ids.flip(1)).flip(1)
    torch.testing.assert_close(mirrored[..., :HALF], states[..., HALF:], atol=0, rtol=0)
    torch.testing.assert_close(mirrored[..., HALF:], states[..., :HALF], atol=0, rtol=0)


def test_layers_are_the_token_twice_and_then_both_directions() -> None:
    found, ids = body(), some_ids()
    shown = found(ids, hidden_states=True)
    assert isinstance(shown, Encoded)
    assert (len(shown.layers), shown.weights) == (3, [])
    torch.testing.assert_close(shown.layers[0], found.vectors(ids).repeat(1, 1, 2), atol=0, rtol=0)
    torch.testing.assert_close(shown.layers[-1], shown.states, atol=0, rtol=0)
    torch.testing.assert_close(found(ids), shown.states, atol=0, rtol=0)


def test_the_residual_joins_the_second_layer_and_not_the_token() -> None:
    found, ids = body(), some_ids()
    with torch.no_grad():
        for stack in (found.forward_layers, found.backward_layers):
            stack[1].projection_weight.zero_()  # type: ignore[union-attr, operator]
    shown = found(ids, hidden_states=True)
    torch.testing.assert_close(shown.layers[2], shown.layers[1], atol=0, rtol=0)
    with torch.no_grad():
        for stack in (found.forward_layers, found.backward_layers):
            stack[0].projection_weight.zero_()  # type: ignore[union-attr, operator]
    assert found(ids).abs().max() == 0


def test_the_published_size_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        found = Bidirectional(elmo.body(1024, elmo.VOCABULARY, paper=True))
    assert found.output is not None
    counts = [sum(parameter.numel() for parameter in part.parameters()) for part in (found, found.output)]
    assert counts[0] - counts[1] == 93_600_848
    assert counts[1] == 793_471 * 512


def test_words_beyond_the_vocabulary_have_vectors_of_their_own() -> None:
    found = body("characters")
    vectors = found.vectors_of(["piece7", "never seen", "neverseen"])
    torch.testing.assert_close(vectors[0], found.vectors(torch.tensor([[7]]))[0, 0], atol=1e-12, rtol=0)
    assert (vectors[1] - vectors[2]).abs().max() > 1e-3
    with pytest.raises(InputError, match="input must be characters for vectors of words beyond the vocabulary"):
        body().vectors_of(["a"])


def test_characters_must_have_been_told_the_text_of_each_token() -> None:
    found = Bidirectional(body("characters").config)
    with pytest.raises(InputError, match="characters must know the text of each token, got none"):
        found(some_ids())
    with pytest.raises(InputError, match="pieces must be at most vocab_size 40, got 41"):
        found.set_pieces([*PIECES, "more"])
    found.set_pieces(PIECES[:5])
    with pytest.raises(InputError, match="ids must be 0 to 4, got 9"):
        found(torch.tensor([[9]]))


def test_both_tables_are_one_when_tied() -> None:
    tied, apart, spelled = body(), body(tied=False), body("characters")
    assert tied.token is not None
    assert tied.table is tied.token.weight
    assert apart.output is not None
    assert apart.table is apart.output.weight
    assert spelled.output is not None
    assert spelled.table is spelled.output.weight


def test_dropout_falls_in_training_only_and_is_keyed() -> None:
    found, ids = body(dropout=0.5), some_ids()
    quiet = found(ids)
    found.train()
    runs = []
    for seed in (0, 0, 1):
        with dropout_key(seed, 0, [0, 1]):
            runs.append(found(ids))
    torch.testing.assert_close(runs[0], runs[1], atol=0, rtol=0)
    assert (runs[0] - runs[2]).abs().max() > 1e-3
    torch.testing.assert_close(found.eval()(ids), quiet, atol=0, rtol=0)


@pytest.mark.parametrize("kind", ["table", "characters"])
def test_training_and_use_agree_and_every_parameter_learns(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found, ids = body(kind, torch.float32, tied=False), some_ids()
    documents = torch.tensor([[0] * 9, [0, 0, 0, 0, 1, 1, 1, -1, -1]])
    fast = found(ids, documents=documents)
    (fast @ torch.randn(2 * HALF, 1, generator=torch.Generator().manual_seed(1))).sum().backward()
    for name, parameter in found.named_parameters():
        if name != "output.weight":  # a head's part
            assert parameter.grad is not None
            assert parameter.grad.abs().max() > 0, name
    with torch.no_grad():
        torch.testing.assert_close(found(ids, documents=documents), fast, atol=1e-5, rtol=0)
    if kernels.switched_on():
        monkeypatch.setenv("POLYSEMY_PLAIN", "1")
        torch.testing.assert_close(found(ids, documents=documents), fast, atol=1e-5, rtol=0)


def test_it_has_no_attention_to_show() -> None:
    with pytest.raises(InputError, match="attention must not be asked of a recurrent model"):
        body()(some_ids(), attention=True)


def test_sizes_are_checked() -> None:
    with pytest.raises(InputError, match=r"cell_size must be in 1\.\.65536, got 0"):
        BidirectionalConfig(cell_size=0)
    with pytest.raises(InputError, match="cell_clip must be above 0 or none, got -1"):
        BidirectionalConfig(cell_clip=-1.0)
