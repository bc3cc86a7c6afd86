"""Nearest sense vectors: static vectors are worth exactly the commonest sense, context everything a neighbor tells."""
from __future__ import annotations

import numpy as np
import pytest
from sense_world import MONEY, RIVER, Reader, sentences, vectors
from small_encoder import encoder

from polysemy.errors import InputError
from polysemy.evaluation import sense_curves
from polysemy.evaluation.occurrences import use_in
from polysemy.evaluation.sense_curves import (
    SenseUse,
    alike,
    best_layer,
    from_occurrences,
    judge_tables,
    judge_uses,
    split_uses,
    static_tables,
    untrained,
)
from polysemy.evaluation.static_senses import Occurrence


def uses(river: int, money: int, key: str) -> list[SenseUse]:
    return [SenseUse("bank", sense, use_in(text, "bank")) for sense, topic, count in
            (("edge", RIVER, river), ("house", MONEY, money)) for text in sentences("bank", topic, count, key)]


TRAIN, TEST = uses(30, 20, "train"), uses(25, 15, "test")


def test_the_static_vector_is_the_commonest_sense_exactly_and_context_is_right() -> None:
    found = judge_uses(Reader(), TRAIN, TEST, static=vectors(), shots=(1, 5), draws=3)["methods"]
    majority = {key: found["most_frequent"][key] for key in ("accuracy", "macro_f1")}
    assert majority["accuracy"] == 25 / 40
    for name in ("static", "0"):
        assert {key: found[name][key] for key in majority} == majority
        assert all(point["low"] == point["high"] == majority["macro_f1"] for point in found[name]["curve"].values())
    assert found["1"]["macro_f1"] > 0.95
    assert found["context"]["macro_f1"] > 0.95
    assert majority["macro_f1"] == pytest.approx((2 * 25 / (25 + 40)) / 2)


def test_every_method_learns_from_the_same_draws_and_more_examples_help() -> None:
    tables = {"one": static_tables(vectors(), TRAIN, TEST)["context"]}
    tables["two"] = tables["one"]
    found = judge_tables(tables, TRAIN, TEST, shots=(1, 20), draws=8)["methods"]
    assert found["one"] == found["two"]
    curve = found["one"]["curve"]
    assert curve["1"]["macro_f1"] < curve["20"]["macro_f1"]
    assert found == judge_tables(tables, TRAIN, TEST, shots=(1, 20), draws=8)["methods"]
    assert curve != judge_tables(tables, TRAIN, TEST, shots=(1, 20), draws=8, seed=1)["methods"]["one"]["curve"]


def test_a_network_s_layers_stand_beside_its_untrained_body() -> None:
    found = judge_uses(encoder(), TRAIN[::4], TEST[::4], control=True, shots=(1,), draws=1)
    assert list(found["methods"]) == ["most_frequent", "0", "1", "2", "mean", "untrained"]
    assert found["methods"]["untrained"]["layer"] in ("0", "1", "2", "mean")
    assert (found["train"], found["test"], found["senses"]) == (13, 10, 2)
    assert found["best"] in ("0", "1", "2", "mean")
    model = encoder()
    weight = model.model.table.clone()
    assert not (untrained(model, seed=9).model.table == weight).all()
    assert (model.model.table == weight).all()


def test_the_best_layer_is_chosen_by_training_uses_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)

    def side(items: list[SenseUse], noise: float) -> np.ndarray:
        return np.array([[1.0, 0] if item.sense == "edge" else [0, 1.0] for item in items]) \
            + noise * random.standard_normal((len(items), 2))

    tables = {"lucky": (side(TRAIN, 2.0), side(TEST, 0.0)), "steady": (side(TRAIN, 0.0), side(TEST, 2.0)),
              "last": (side(TRAIN, 9.0), side(TEST, 9.0))}
    methods = judge_tables(tables, TRAIN, TEST, shots=())["methods"]
    assert methods["lucky"]["macro_f1"] > methods["steady"]["macro_f1"] + 0.1
    assert best_layer(tables, TRAIN) == "steady"
    assert best_layer(tables, TRAIN[:3]) == "last"
    monkeypatch.setattr(sense_curves, "layer_tables", lambda *_: tables)
    found = judge_uses(encoder(), TRAIN, TEST, control=True, shots=())
    assert found["best"] == found["methods"]["untrained"]["layer"] == "steady"
    assert found["methods"]["untrained"]["macro_f1"] == methods["steady"]["macro_f1"]


def test_a_sense_that_training_lacks_is_never_right() -> None:
    other = SenseUse("bank", "row", TEST[0].use)
    found = judge_uses(Reader(), TRAIN, [other], shots=())["methods"]
    assert {found[name]["accuracy"] for name in found} == {0.0}
    with pytest.raises(InputError, match="test uses must be of words that training has"):
        judge_uses(Reader(), TRAIN, [other._replace(word="line")])


def test_tagged_occurrences_become_text_and_one_file_is_split_by_its_texts() -> None:
    item = Occurrence("line", "row", 30, tuple(f"w{i}" for i in range(30)) + ("lines", "."))
    made = from_occurrences([item])[0]
    assert made.use.word == "lines"
    assert made.use.text.startswith("w10 ")
    train, test = split_uses([*TRAIN, *TRAIN])
    assert len(train) + len(test) == 100
    assert 5 <= len(test) <= 40
    assert not {item.use.text for item in train} & {item.use.text for item in test}
    assert np.all([len(part) % 2 == 0 for part in (train, test)])


def test_likeness_is_told_beside_that_of_other_words() -> None:
    groups = [np.array([[1.0, 0], [0.6, 0.8]]), np.array([[0.0, 2]])]
    found = alike(groups)
    assert found["alike"] == pytest.approx(0.6)
    assert found["others"] == pytest.approx((0 + 0.8) / 2)
    assert alike(groups[1:]) == {"alike": None, "others": None}
    static = judge_uses(Reader(), TRAIN, TEST, static=vectors(), shots=())["methods"]["static"]
    assert static["alike"] == pytest.approx(1)
    assert static["others"] is None
