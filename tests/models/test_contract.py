"""What every body that predicts the next token keeps, whatever it is made of; a new recipe gets a line in BODIES."""
from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import torch
from small_models import LANGUAGE, language_model

from polysemy.models.pretrained import PretrainingModel

XL = {"model.evaluation_memory": "8", "model.clamp_length": "6", "model.same_length": "true"}
BODIES: dict[str, tuple[str, dict[str, str]]] = {
    "gpt": ("gpt", {}),
    "gpt-learned": ("gpt", {"model.transformer.distance": "none", "model.embedding.position": "learned"}),
    "gpt-sinusoidal": ("gpt", {"model.transformer.distance": "none", "model.embedding.position": "sinusoidal"}),
    "gpt-interleaved": ("gpt", {"model.transformer.distance.layout": "interleaved"}),
    "gpt-post": ("gpt", {"model.transformer.norm": "post"}),
    "gpt-shared": ("gpt", {"model.transformer.num_groups": "1"}),
    "gpt-local": ("gpt", {"model.transformer.attention": "local", "model.transformer.attention.reach": "3"}),
    "rnn": ("rnn", {}),
    "lstm": ("lstm", {}),
    "lstm-wide": ("lstm", {"model.num_layers": "2", "model.inner_size": "32", "model.embedding_size": "20"}),
    "lstm-adaptive": ("adaptive", {}),
    "nnlm": ("nnlm", {}),
    "nnlm-direct": ("nnlm", {"model.direct": "true"}),
    "nnlm-bare": ("nnlm", {"model.direct": "true", "model.inner_size": "0"}),
    "nnlm-bigram": ("nnlm", {"model.order": "2"}),
    "nnlm-adaptive": ("adaptive-nnlm", {}),
    "xl": ("transformer-xl", {}),
    "xl-short-memory": ("transformer-xl", XL),
    "xl-post": ("transformer-xl", {**XL, "model.transformer.norm": "post"}),
}
ROWS, LENGTH = 3, 20
EXACT = {"atol": 1e-9, "rtol": 0.0}
"""in float64"""


@functools.cache
def model_of(name: str) -> PretrainingModel:
    recipe, changes = BODIES[name]
    return language_model(recipe, **changes).model.double().eval()


@pytest.fixture(params=BODIES)
def body(request: Any) -> Any:
    return model_of(request.param).body


def text(body: Any, rows: int = ROWS, length: int = LENGTH) -> torch.Tensor:
    return torch.randint(0, len(body.table), (rows, length), generator=torch.Generator().manual_seed(5))


def test_every_recipe_of_language_is_here() -> None:
    recipes = {config().recipe for config in (module.configure for module in LANGUAGE.values())}
    assert recipes - {"elmo"} == {LANGUAGE[recipe].configure().recipe for recipe, _ in BODIES.values()}


@torch.no_grad()
def test_token_by_token_equals_chunks_equals_one_forward(body: Any) -> None:
    ids = text(body)
    wanted = body(ids)
    for cuts in ([1] * LENGTH, [7, 1, 12], [LENGTH]):
        state, found = None, []
        for part in ids.split(cuts, 1):
            states, state = body.advance(part, state)
            found.append(states)
        torch.testing.assert_close(torch.cat(found, 1), wanted, **EXACT)


@torch.no_grad()
def test_rows_of_different_lengths_equal_each_alone_and_may_change_places(body: Any) -> None:
    ids = text(body)
    first, second, order = torch.tensor([3, 9, 6]), torch.tensor([5, 0, 4]), torch.tensor([2, 0, 1])
    _, state = body.advance(ids[:, :9], None, first)
    shown, state = body.advance(ids[:, 9:14], state, second)
    kept = [part.clone() for part in state]
    last, _ = body.advance(ids[order, 14:16], tuple(part[order] for part in state))
    for place, row in enumerate(order.tolist()):
        a, b = int(first[row]), int(second[row])
        alone = body(torch.cat([ids[row, :a], ids[row, 9:9 + b], ids[row, 14:16]])[None])[0]
        torch.testing.assert_close(shown[row, :b], alone[a:a + b], **EXACT)
        torch.testing.assert_close(last[place], alone[-2:], **EXACT)
    assert all(torch.equal(part, before) for part, before in zip(state, kept, strict=True))


@torch.no_grad()
def test_the_future_changes_no_bit_of_the_past(body: Any) -> None:
    ids = text(body)
    other = ids.clone()
    other[:, 12:] = (other[:, 12:] + 7) % len(body.table)
    found, changed = body(ids), body(other)
    assert torch.equal(found[:, :12], changed[:, :12])
    assert not torch.equal(found[:, 12:], changed[:, 12:])


@torch.no_grad()
def test_documents_of_a_row_and_padding_know_nothing_of_each_other(body: Any) -> None:
    ids = text(body)
    documents = torch.tensor([0] * 8 + [1] * 9 + [-1] * 3).expand(ROWS, -1)
    positions = torch.tensor([*range(8), *range(9), 0, 0, 0]).expand(ROWS, -1)
    packed = body(ids, positions, documents=documents)
    torch.testing.assert_close(packed[:, :8], body(ids[:, :8]), **EXACT)
    torch.testing.assert_close(packed[:, 8:17], body(ids[:, 8:17]), **EXACT)


@pytest.mark.parametrize("name", ["gpt", "rnn", "lstm", "nnlm", "transformer-xl"])
@torch.no_grad()
def test_the_first_loss_is_that_of_guessing(name: str) -> None:
    config = LANGUAGE[name].configure("tiny")
    model = PretrainingModel(config.model.with_vocabulary(500), config.heads, seed=1).eval()
    ids = torch.randint(500, (4, 32), generator=torch.Generator().manual_seed(0))
    tensors = {"hidden_at": torch.arange(128), "targets": ids.flatten().roll(-1)}
    loss = model.loss("next_token", model.body(ids), tensors)
    assert loss.item() / 128 == pytest.approx(math.log(500), abs=0.1)
