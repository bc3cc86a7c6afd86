"""A sentence embedder in use: it pools, cuts and normalizes as its folder says, and training sees the same vectors."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import SENTENCES, encoder, language_model

import polysemy
from polysemy.errors import InputError
from polysemy.models.pretrained import write_run
from polysemy.models.sentence_vectors import SentenceModel, SentenceVectors, cosines, unit
from polysemy.models.tasks import Embed
from polysemy.models.text_model import TextModel
from polysemy.nn.pooling import POOLINGS
from polysemy.objectives.contrastive import SentencePairs
from polysemy.text.sentence_batches import SentenceBatches

TEXTS = [*SENTENCES, "", "river"]
LONG = " ".join(SENTENCES[:4])


def states(model: TextModel, text: str) -> np.ndarray:
    """The last states of one unpadded text with its special tokens."""
    ids = model.row(model.encode([text])[0].ids).ids
    with torch.no_grad():
        return model.model.body(torch.from_numpy(ids)[None])[0].numpy()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_each_pooling_in_any_company(pooling: Any) -> None:
    model = SentenceVectors(encoder(), Embed(pooling=pooling, normalize=False))
    vectors = model.embed(TEXTS)
    for text, vector in zip(TEXTS, vectors, strict=True):
        x = states(encoder(), text)
        wanted = {"mean": x.mean(0), "cls": x[0], "last": x[-1], "max": x.max(0)}[pooling]
        np.testing.assert_allclose(vector, wanted, atol=2e-5)
    np.testing.assert_allclose(model.embed(TEXTS[::-1], batch_size=2)[::-1], vectors, atol=2e-5)


@pytest.mark.parametrize(("recipe", "pooling"), [("bert", "mean"), ("bert", "cls"), ("bert", "max"), ("gpt", "last"),
                                                 ("lstm", "last"), ("nnlm", "mean")])
def test_training_sees_the_vectors_of_use(recipe: str, pooling: Any) -> None:
    reader: TextModel = encoder() if recipe == "bert" else language_model(recipe)
    wanted = SentenceVectors(reader, Embed(pooling=pooling, normalize=False)).embed(TEXTS)
    rows = [tuple(reader.row(encoding.ids)) for encoding in reader.encode(TEXTS)]
    n = len(TEXTS)
    pairs = np.array([[i, (i + 1) % n, -1] for i in range(n)])
    batch = SentenceBatches(rows, pairs, batch_size=n, pad_id=reader.tokenizer.pad_id)[0]
    for body in (reader.model.body, Padded(reader.model.body)):  # the second as GPUs take it
        found = SentenceModel(body, pooling).eval()(SentencePairs().tensors(batch))["vectors"]
        np.testing.assert_allclose(found.detach().numpy(), wanted[batch.texts], atol=2e-5)


class Padded(torch.nn.Module):
    """A body without its fast way."""

    def __init__(self, body: torch.nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, *inputs: Any, **options: Any) -> Any:
        return self.body(*inputs, **options)


def test_cut_vectors_are_the_first_numbers_at_length_one() -> None:
    whole = SentenceVectors(encoder(), Embed(normalize=False)).embed(TEXTS)
    model = SentenceVectors(encoder(), Embed(dimensions=8))
    np.testing.assert_allclose(model.embed(TEXTS), unit(whole[:, :8]), atol=1e-6)
    np.testing.assert_allclose(model.embed(TEXTS, dimensions=5, normalize=False), whole[:, :5], atol=1e-6)
    assert model.embed(TEXTS, pooling="word")[0].shape[1] == 32
    with pytest.raises(InputError, match=r"dimensions must be in 1\.\.32, got 33"):
        model.embed(TEXTS, dimensions=33)
    with pytest.raises(InputError, match=r"task.dimensions must be at most the 32 numbers of a vector, got 64"):
        SentenceVectors(encoder(), Embed(dimensions=64))


def test_the_largest_of_a_long_text_is_that_of_all_its_windows() -> None:
    model = SentenceVectors(encoder(), Embed(pooling="max", normalize=False))
    ids, step = model.encode([LONG])[0].ids, model.length - 2
    assert len(ids) > step
    windows = [model.row(ids[i:i + step]).ids for i in range(0, len(ids), step)]
    with torch.no_grad():
        wanted = torch.cat([encoder().model.body(torch.from_numpy(w)[None])[0] for w in windows]).amax(0).numpy()
    np.testing.assert_allclose(model.embed([LONG])[0], wanted, atol=2e-5)
    with pytest.raises(InputError, match="pooling max must go with single texts and the last layer"):
        model.embed([LONG], layer=0)


def test_cosines_embed_every_text_once() -> None:
    class Counting:
        seen = 0

        def embed(self, texts: list[str]) -> np.ndarray:
            Counting.seen += len(texts)
            return np.array([[len(text), 1.0] if text else [0.0, 0.0] for text in texts])

    found = cosines(Counting(), ["a", "a", "", "bb"], ["a", "bb", "a", "bb"])
    np.testing.assert_allclose(found, [1, 3 / np.sqrt(10), 0, 1])
    assert Counting.seen == 3
    with pytest.raises(InputError, match="second must be as many texts as first, got 1 and 2"):
        cosines(Counting(), ["a", "b"], ["a"])


def test_a_folder_opens_as_it_was_written(tmp_path: Path) -> None:
    reader = encoder()
    bare = type(reader.model)(reader.model.config, (), seed=1)
    bare.body.load_state_dict(reader.model.body.state_dict())
    write_run(tmp_path / "run", bare, reader.tokenizer, reader.config, task=Embed(pooling="cls").to_dict())
    model = polysemy.load(tmp_path / "run")
    assert isinstance(model, SentenceVectors)
    np.testing.assert_allclose(model.embed(TEXTS), unit(reader.embed(TEXTS, pooling="cls")), atol=1e-6)
    assert model.attention("the river").pieces
    assert not hasattr(model, "fill")
