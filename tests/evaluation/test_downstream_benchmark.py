"""The benchmark that sets word vectors beside bodies: one judge of senses for both."""
from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from sense_world import MONEY, RIVER, Reader, sentences, vectors

import polysemy
from polysemy.evaluation.sense_curves import from_occurrences, judge_tables, static_tables
from polysemy.evaluation.static_senses import Occurrence, judge_senses


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "downstream.py"
    spec = importlib.util.spec_from_file_location("downstream", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tagged(key: str, counts: dict[str, tuple[int, int]]) -> list[Occurrence]:
    """Uses of several words; of `shore` the topic says nothing."""
    found = []
    for word, (river, money) in counts.items():
        for sense, topic, count in (("edge", RIVER, river), ("house", MONEY, money)):
            topic = RIVER if word == "shore" else topic
            for text in sentences(word, topic, count, key + sense):
                tokens = tuple(text.rstrip(".").split())
                found.append(Occurrence(word, sense, tokens.index(word), tokens))
    return found


def test_word_vectors_and_bodies_are_judged_alike(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = tagged("a", {"bank": (40, 30), "shore": (20, 20)}), tagged("b", {"bank": (60, 40), "shore": (9, 6)})
    known, asked = from_occurrences(train), from_occurrences(test)
    monkeypatch.setattr(polysemy, "load", lambda folder: vectors() if folder.name == "vectors" else Reader())
    found = benchmark.senses(Path("vectors"), train, test)
    methods = judge_tables(static_tables(vectors(), known, asked), known, asked, shots=())["methods"]
    assert found == {**methods["context"], "layer": "words around", "most_frequent": methods["most_frequent"]}
    # over words instead of uses, as the older judge counts, another accuracy comes out
    assert abs(found["accuracy"] - judge_senses(vectors(), train, test)["context"]["accuracy"]) > 0.05
    body = benchmark.senses(Path("body"), train, test)
    assert body["layer"] == "1"
    assert body["most_frequent"] == found["most_frequent"]
