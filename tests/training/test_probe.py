"""Linear probes: they find what a layer holds plainly, and nothing where there is nothing."""
from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from polysemy.config import with_settings
from polysemy.errors import InputError
from polysemy.models import RECIPES, resolve
from polysemy.models.pretrained import PretrainingModel
from polysemy.models.static_text import StaticText, static_text
from polysemy.models.tasks import Classify, Regress, Span, Tag
from polysemy.models.text_model import TextModel
from polysemy.models.word_vectors import WordVectors
from polysemy.report.layers_picture import table_rows, write_probe
from polysemy.text.labeled import Example, Examples, Tagged
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig
from polysemy.training.probe import features, label_scores, probe

WORDS = ("river", "bank", "water", "money", "old", "green", "slow", "day")
YES_NO = Classify(labels=("no", "yes"))


def vectors() -> StaticText:
    return static_text(WordVectors(list(WORDS), np.random.default_rng(0).normal(size=(8, 12)).astype("f4")))


@functools.cache
def encoder(recipe: str = "bert") -> TextModel:
    """Untrained, two layers of 32, rows of 48 tokens."""
    made = Tokenizer.train([" ".join(WORDS)] * 3, TokenizerConfig(vocab_size=60, coverage=1.0, min_frequency=1))
    config = with_settings(resolve(RECIPES[recipe].configure)("tiny"), {
        "model.transformer.hidden_size": "32", "model.transformer.num_heads": "2", "training.length": "48",
        "model.transformer.intermediate_size": "48", "model.transformer.initializer": "xavier"})
    config = config.replace(model=config.model.with_vocabulary(made.vocab_size))
    reader = resolve(RECIPES[recipe].load.rpartition(".")[0])
    return reader(PretrainingModel(config.model, config.heads, seed=1), made, config)


def examples(items: list[Example | Tagged], kind: str = "classify") -> Examples:
    return Examples(tuple(items), kind, "data.tsv")


def about_rivers() -> Examples:
    """Whether "river" is among three words."""
    texts = list(itertools.permutations(WORDS, 3))[::4]
    return examples([Example(" ".join(text), label="yes" if "river" in text else "no", row=i + 1)
                     for i, text in enumerate(texts)])


def about_order() -> tuple[Examples, Examples]:
    """Whether "river" stands before "bank", among the same other words on both sides: no bag of words can tell."""
    items = []
    for a, b in itertools.permutations(WORDS[2:], 2):
        for first, second, label in (("river", "bank", "yes"), ("bank", "river", "no")):
            items += [Example(f"{first} {a} {second} {b}", label=label), Example(f"{first} {second} {a} {b}",
                                                                                 label=label)]
    half = len(items) // 2
    return examples(items[:half]), examples(items[half:])


def test_a_word_is_found_by_its_vector() -> None:
    data = about_rivers()
    found = probe(vectors(), YES_NO, data, data)
    assert [row["layer"] for row in found["layers"]] == [0]
    assert found["layers"][0]["matthews"] == found["controls"]["static"]["matthews"] > 0.9
    assert found["controls"]["majority"]["matthews"] == 0
    share = sum(example.label == "no" for example in data) / len(data)
    assert found["controls"]["majority"]["accuracy"] == pytest.approx(share)


def test_order_is_known_to_context_and_not_to_static_vectors() -> None:
    train, dev = about_order()
    found = probe(encoder(), YES_NO, train, dev)
    assert found["controls"]["static"]["accuracy"] == 0.5
    assert max(row["matthews"] for row in found["layers"][1:]) > 0.5
    assert found["best"] > 0
    assert probe(encoder(), YES_NO, train, dev)["layers"] == found["layers"]


def test_features_are_the_pooled_states_of_every_layer() -> None:
    model = encoder()
    data = about_rivers()
    some = examples([*data[:5], Example("the river was green and slow " * 12, label="no")])  # longer than the model
    found, targets = features(model, YES_NO, some, [0, 1, 2])
    texts = [example.text for example in some]
    for layer in (0, 1, 2):
        np.testing.assert_allclose(found[layer], model.embed(texts, layer=layer), atol=1e-5)
    assert targets.tolist() == [int(example.label == "yes") for example in some]


@pytest.mark.parametrize("name", ["encoder", "gpt", "static"])
def test_pairs_are_both_means_their_distance_and_product(name: str) -> None:
    model: TextModel = {"encoder": encoder, "gpt": lambda: encoder("gpt"), "static": vectors}[name]()
    data = examples([Example("river bank", "money", label=1.0), Example("old day green", "water slow", label=2.0)])
    found, targets = features(model, Regress(pair=True), data, [0])
    size = model.config.model.hidden_size
    u, v, distance, product = np.split(found[0], [size, 2 * size, 3 * size], axis=1)
    np.testing.assert_allclose(distance, np.abs(u - v), atol=1e-6)
    np.testing.assert_allclose(product, u * v, atol=1e-6)
    assert targets.tolist() == [1.0, 2.0]
    if name != "encoder":  # each text stands alone
        np.testing.assert_allclose(u, model.embed(["river bank", "old day green"], layer=0), atol=1e-6)
        np.testing.assert_allclose(v, model.embed(["money", "water slow"], layer=0), atol=1e-6)
    else:
        parts = model.embed(["river bank"], pairs=["money"], layer=0, pooling="token")[0]
        count = len(model.encode(["river bank"])[0].ids)
        np.testing.assert_allclose(u[0], parts[:count].mean(0), atol=1e-5)
        np.testing.assert_allclose(v[0], parts[count:].mean(0), atol=1e-5)


def test_numbers_are_found_by_ridge_regression() -> None:
    data = examples([Example(" ".join(text), label=float(WORDS.index(text[0]) + WORDS.index(text[1])), row=i)
                     for i, text in enumerate(itertools.permutations(WORDS, 2))])
    found = probe(vectors(), Regress(), data, data)
    assert found["metric"] == "spearman"
    assert found["layers"][0]["spearman"] > 0.95
    assert found["controls"]["majority"] == {"pearson": 0.0, "spearman": 0.0}


def test_tags_are_read_at_the_first_piece_of_each_word() -> None:
    task = Tag(labels=("B-place", "O"))
    data = examples([Tagged(text, tuple("B-place" if word in ("river", "bank") else "O" for word in text), i)
                     for i, text in enumerate(itertools.permutations(WORDS, 3))][::4], "tag")
    for model in (vectors(), encoder()):
        found = probe(model, task, data, data)
        assert found["layers"][0]["accuracy"] > 0.98
        assert found["dev"] == 3 * len(data)
    assert probe(vectors(), task, data, data, most=60)["train"] == 60


def test_only_the_wanted_layers_are_probed_and_no_weight_changes() -> None:
    model, data = encoder(), about_rivers()
    before = [parameter.clone() for parameter in model.model.parameters()]
    found = probe(model, YES_NO, data, data, layers=[-1, 0])
    assert [row["layer"] for row in found["layers"]] == [0, 2]
    assert all((old == new).all() for old, new in zip(before, model.model.parameters(), strict=True))


def test_what_cannot_be_probed_is_told() -> None:
    data = about_rivers()
    with pytest.raises(InputError, match="task must be classify, pair, regress or tag to be probed, got span"):
        probe(vectors(), Span(), data, data)
    with pytest.raises(InputError, match=r"layers must be in 0\.\.0, got 3"):
        probe(vectors(), YES_NO, data, data, layers=[3])
    with pytest.raises(InputError, match="train must hold at least 20 examples to probe, got 5"):
        probe(vectors(), YES_NO, examples(list(data[:5])), data)
    wrong = examples([*data[:30], Example("river", label="perhaps", row=31)])
    with pytest.raises(InputError, match=r"data\.tsv, line 31: label must be one of 'no', 'yes', got 'perhaps'"):
        probe(vectors(), YES_NO, data, wrong)


def test_scores_are_those_of_scikit_learn_by_hand() -> None:
    found = label_scores(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]))
    assert found["accuracy"] == 0.75
    assert found["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found["matthews"] == pytest.approx(2 / 12**0.5)


def test_a_folder_holds_the_numbers_and_the_picture(tmp_path: Path) -> None:
    train, dev = about_order()
    found = probe(encoder(), YES_NO, train, dev)
    write_probe(tmp_path / "out", found)
    assert json.loads((tmp_path / "out" / "probe.json").read_text())["classify"] == json.loads(json.dumps(found))
    assert (tmp_path / "out" / "layers.png").read_bytes()[:4] == b"\x89PNG"
    svg = (tmp_path / "out" / "layers.svg").read_text()
    assert svg.startswith("<svg")
    assert "http://www.w3.org/2000/svg" in svg
    heading, rows = table_rows(found)
    assert heading == ("", "accuracy", "macro f1", "matthews")
    assert [row[0].rstrip(" *") for row in rows] == ["majority", "static", "layer 0", "layer 1", "layer 2"]
