"""A flat list is filled up to few different lengths, which changes no number."""
from __future__ import annotations

import pytest
import torch

from polysemy.models import bert
from polysemy.models.encoder import Encoder
from polysemy.nn import kernels
from polysemy.nn.dropout import dropout_key
from polysemy.nn.pieces import Pieces


def rows(*lengths: int) -> torch.Tensor:
    """Documents of these lengths, one a row."""
    width = max(lengths)
    return torch.stack([torch.where(torch.arange(width) < n, i, -1) for i, n in enumerate(lengths)])


def test_lists_are_of_at_most_sixteen_lengths_an_octave_and_little_longer() -> None:
    lengths = set()
    for n in range(512, 1024):
        found = Pieces.build(rows(n))
        assert found is not None
        pieces, tokens = found[0].filled(found[1])
        assert n <= len(tokens) <= n * 17 / 16
        assert torch.equal(tokens[:n], found[1])
        assert int(pieces.table[:, 1].sum()) == len(tokens)
        lengths.add(len(tokens))
    assert len(lengths) <= 17


@pytest.mark.skipif(not kernels.switched_on(), reason="no kernels here")
def test_the_tokens_that_fill_a_list_change_neither_states_nor_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    config = bert.configure("tiny", "paper").model
    config = config.replace(embedding=config.embedding.replace(vocab_size=60),
                            transformer=config.transformer.replace(num_heads=4))
    torch.manual_seed(0)
    body = Encoder(config).train()
    documents = rows(37, 20, 41)
    ids = torch.randint(5, 60, documents.shape)
    positions = torch.arange(documents.shape[1]).expand(documents.shape)
    places = (torch.arange(3) * documents.shape[1])
    found = []
    for plain in (False, True):
        if plain:
            monkeypatch.setattr(Pieces, "filled", lambda self, tokens: (self, tokens))
        body.zero_grad()
        with dropout_key(1, 2, torch.arange(3)):
            states = body.at(places, ids, positions, None, documents)
        assert states is not None
        states.square().sum().backward()
        found.append((states.detach(), [parameter.grad.clone() for parameter in body.parameters()
                                        if parameter.grad is not None]))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-5)
    assert len(found[0][1]) == len(found[1][1]) > 10
    for one, other in zip(found[0][1], found[1][1], strict=True):
        assert torch.allclose(one, other, atol=1e-4)
