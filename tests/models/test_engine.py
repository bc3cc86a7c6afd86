"""The compiled way to read texts: the numbers of the plain forward, in every format, company and number of threads."""
from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from small_models import SENTENCES, encoder, language_model

from polysemy.errors import InputError
from polysemy.models import engine
from polysemy.models.engine_rows import states_at
from polysemy.models.text_model import TextModel
from polysemy.runtime import random_for

MANY = [*SENTENCES, "", "river", " ".join(SENTENCES)]
BODIES = ("bert", "roberta", "albert", "distilbert", "bert ladder", "gpt")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No warming up: every body that fits is computed the compiled way."""
    if not engine.fits(encoder().model.body):
        pytest.skip("this processor has no AVX-512, or Numba is not there")
    monkeypatch.setattr(engine, "WORTH", 0)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@functools.cache
def small(name: str) -> TextModel:
    if name == "gpt":
        return language_model("gpt")
    recipe, _, preset = name.partition(" ")
    return encoder(recipe, preset or "paper")


def plain(model: TextModel, texts: list[str], monkeypatch: pytest.MonkeyPatch, **options: object) -> np.ndarray:
    with monkeypatch.context() as patch:
        patch.setenv("POLYSEMY_PLAIN", "1")
        return model.embed(texts, **options)  # type: ignore[arg-type]


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("name", BODIES)
def test_float32_gives_the_states_of_torch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(name)
    assert engine.fits(model.model.body)
    for layer in (-1, 1, 0):
        wanted = plain(model, MANY, monkeypatch, layer=layer)
        np.testing.assert_allclose(model.embed(MANY, layer=layer), wanted, atol=3e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(("form", "near"), [("int16", 1e-6), ("int8", 3e-3)])
@pytest.mark.parametrize("name", ["bert", "bert ladder", "albert"])
def test_whole_numbers_stay_near(name: str, form: str, near: float) -> None:
    model = small(name)
    if not engine.multiplies(form):
        pytest.skip("this processor has no VNNI")
    wanted = model.embed(MANY)
    try:
        found = model.to("cpu", form).embed(MANY)
        assert not np.array_equal(found, wanted)
        assert cosines(found, wanted).min() > 1 - near
    finally:
        model.to("cpu")
    np.testing.assert_array_equal(model.embed(MANY), wanted)


@pytest.mark.parametrize("pooling", ["cls", "last", "token", "word"])
def test_every_pooling_reads_the_same_places(pooling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small("bert")
    for mine, theirs in zip(model.embed(MANY, pooling=pooling), plain(model, MANY, monkeypatch, pooling=pooling),
                            strict=True):
        np.testing.assert_allclose(mine, theirs, atol=5e-5)


def test_pairs_have_their_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    model, pairs = small("bert"), list(SENTENCES[::-1])
    np.testing.assert_allclose(model.embed(SENTENCES, pairs=pairs),
                               plain(model, list(SENTENCES), monkeypatch, pairs=pairs), atol=5e-5)


def test_states_for_heads_stand_in_padded_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small("bert")
    rows = [model.row(e.ids[:40]) for e in model.encode(MANY)]
    found = {int(i): states[line, :len(rows[i].ids)] for group, states in model.run(rows)
             for line, i in enumerate(group)}
    monkeypatch.setenv("POLYSEMY_PLAIN", "1")
    for group, states in model.run(rows):
        for line, i in enumerate(group):
            torch.testing.assert_close(found[int(i)], states[line, :len(rows[i].ids)], atol=5e-5, rtol=0)


def test_states_at_places_are_those_of_the_rows() -> None:
    model = small("bert")
    ids = torch.tensor([[5, 9, 7, 3], [8, 0, 0, 0], [4, 6, 0, 0]])
    documents = torch.tensor([[0, 0, 0, 0], [0, -1, -1, -1], [0, 0, -1, -1]])
    at = torch.tensor([1, 3, 4, 9])
    with torch.inference_mode():
        found = states_at(model.model.body, at, ids, None, documents)
        wanted = model.model.body(ids, visible=documents >= 0).flatten(0, 1)[at]
    assert found is not None
    torch.testing.assert_close(found, wanted, atol=5e-5, rtol=0)
    assert states_at(model.model.body, at, ids, None, documents) is None  # gradients are torch's


def test_one_text_has_the_vector_that_it_has_in_company() -> None:
    model = small("bert")
    together = model.embed(MANY)
    for text, vector in zip(MANY, together, strict=True):
        np.testing.assert_array_equal(model.embed([text])[0], vector)


@pytest.mark.parametrize("form", ["float32", "int16"])
def test_threads_share_one_text(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small("bert ladder")
    body = engine.Engine(model.model.body, form)
    ids = random_for("ids").integers(0, len(model.tokenizer.vocabulary), 29)
    with torch.inference_mode():
        torch.set_num_threads(1)
        alone = body.states(ids, np.zeros_like(ids), [29])
        monkeypatch.setattr(engine, "TOGETHER", 0)
        torch.set_num_threads(2)
        np.testing.assert_array_equal(body.states(ids, np.zeros_like(ids), [29]), alone)


def test_changed_weights_are_seen() -> None:
    model = small("distilbert")
    before = model.embed(["river"])
    weight = model.model.body.transformer.feed_forward[0].inner.up.weight
    with torch.no_grad():
        weight.mul_(2)
        doubled = model.embed(["river"])
        weight.div_(2)
    assert not np.array_equal(doubled, before)
    np.testing.assert_array_equal(model.embed(["river"]), before)


def test_what_it_cannot_compute_is_left_to_torch() -> None:
    model = language_model("lstm")
    assert not engine.fits(model.model.body)
    assert model.embed(["river"]).shape == (1, 24)
    with pytest.raises(InputError, match="dtype must be auto or float32 for this model"):
        model.to("cpu", "int8")
    with pytest.raises(InputError, match="dtype must be auto, float32, bfloat16, int16 or int8"):
        model.to("cpu", "int4")
    model.to("cpu", "auto")


def test_jobs_hold_whole_texts_and_all_of_them() -> None:
    lengths = random_for("jobs").integers(1, 60, 200)
    pieces = np.stack([np.cumsum(lengths) - lengths, lengths], 1)
    jobs = engine._jobs(pieces, 2)
    assert jobs[0] == 0
    assert jobs[-1] == 200
    sizes = np.add.reduceat(lengths, jobs[:-1])
    assert sizes.max() <= engine.JOB_TOKENS
    assert sizes.sum() == lengths.sum()
