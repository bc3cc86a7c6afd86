"""Judging word vectors."""
from __future__ import annotations

import gzip
import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from polysemy.errors import InputError
from polysemy.evaluation.similarity import interval, judge_pairs
from polysemy.evaluation.static_senses import Occurrence, context_vector, judge_senses
from polysemy.evaluation.words import analogy_rows, band_rows, evaluate_words, find_sets, similarity_rows
from polysemy.models import vector_analogies
from polysemy.models.vector_questions import RIGHT, UNKNOWN, WRONG, answer, read_analogies, read_pairs
from polysemy.models.vector_search import add_scores, best, cosines, mul_scores
from polysemy.models.word_vectors import WordVectors
from polysemy.runtime import random_for

WORDS = [f"w{i}" for i in range(600)]


@pytest.fixture(scope="module")
def vectors() -> WordVectors:
    return WordVectors(WORDS, random_for("judged").normal(size=(600, 10)).astype(np.float32))


def grid() -> WordVectors:
    """Four genders by ranks, exact parallelograms, and a word in another case."""
    male, king, base = np.eye(3, dtype=np.float32)
    rows = {"man": base + male, "woman": base, "king": base + male + king, "queen": base + king, "Queen": -base}
    return WordVectors(list(rows), np.stack(list(rows.values())))


@pytest.mark.parametrize("method", ["add", "mul"])
def test_thousands_of_analogies_at_once_are_answered_as_one_at_a_time(vectors, method, monkeypatch):
    monkeypatch.setattr(vector_analogies, "BLOCK_BYTES", 1)
    random = random_for("questions")
    asked = random.integers(0, 600, (300, 3))
    combine = add_scores if method == "add" else mul_scores
    rows = np.sort(random.permutation(600)[:500])
    found = vector_analogies.answers(vectors.vectors, vectors.norms, rows, asked, method=method)
    for (a, b, c), answered in zip(asked, found, strict=True):
        near = cosines(vectors.vectors[rows], vectors.norms[rows], vectors.vectors[[b, c, a]])
        scores = combine(near[:2], near[2:])
        excluded = [int(np.searchsorted(rows, w)) for w in {a, b, c} if w in rows]
        assert answered == rows[best(scores, 1, excluded)[0]]


def test_analogies_ignore_case_and_tell_unknown_words_from_wrong_answers():
    questions = [("MAN", "King", "woman", "queen"), ("man", "king", "woman", "king"),
                 ("man", "king", "woman", "prince")]
    for method in ("add", "mul"):
        assert answer(grid(), questions, method=method).tolist() == [RIGHT, WRONG, UNKNOWN]
    assert answer(grid(), questions, restrict_vocab=3).tolist() == [UNKNOWN, WRONG, UNKNOWN]
    assert answer(grid(), [("man", "king", "woman", "Queen")], fold=False).tolist() == [WRONG]
    assert answer(grid(), []).tolist() == []


def test_correlation_coverage_and_the_policy_for_unknown_words_are_told():
    scores = [("man", "woman", 9.0), ("king", "queen", 8.0), ("man", "king", 7.0), ("Woman", "queen", 5.0),
              ("man", "queen", 1.0), ("man", "horse", 5.0)]
    found = judge_pairs(grid(), scores)
    assert (found["answered"], found["total"]) == (5, 6)
    cosine = [grid().similarity(a.lower(), b) for a, b, _ in scores[:5]]
    assert found["spearman"] == pytest.approx(spearmanr(cosine, [s for *_, s in scores[:5]])[0])
    assert found["spearman_all"] == pytest.approx(spearmanr([*cosine, np.mean(cosine)], [s for *_, s in scores])[0])
    assert found["interval"][0] < found["spearman"] < found["interval"][1]
    assert sum(band["answered"] for band in found["bands"]) == 5
    json.dumps(found, allow_nan=False)


def test_what_is_not_defined_is_none_and_not_a_number():
    found = judge_pairs(grid(), [("man", "woman", 1.0), ("man", "horse", 2.0)])
    assert found["spearman"] is None
    assert found["interval"] is None
    assert similarity_rows({"few": found})[0][1:3] == ("-", "-")
    unknown = judge_pairs(grid(), [("a", "b", 1.0)])
    assert (unknown["answered"], unknown["spearman"], unknown["spearman_all"]) == (0, None, None)


def test_the_interval_holds_the_truth_about_95_times_in_100():
    random, rho, held = random_for("interval"), 0.6, 0
    truth = 6 / math.pi * math.asin(rho / 2)
    for _ in range(400):
        x = random.normal(size=60)
        y = rho * x + math.sqrt(1 - rho**2) * random.normal(size=60)
        low, high = interval(float(spearmanr(x, y)[0]), 60)
        held += low <= truth <= high
    assert 0.92 < held / 400 < 0.98


@pytest.mark.parametrize("line", ["one\ttwo\t1.5", "one two 1.5", "one,two,1.5", "one; two; 1.5", "one\ttwo\t1.5\tM",
                                  "one  two   1.5\r"])
def test_pairs_are_read_with_any_separator(tmp_path, line):
    path = tmp_path / "pairs.txt"
    path.write_text(f"# comment\n\n{line}\n")
    assert read_pairs(path) == [("one", "two", 1.5)]
    path.write_text(f"\ufeffword1,word2,score\n{line}\n")
    assert read_pairs(path) == [("one", "two", 1.5)]


@pytest.mark.parametrize(
    ("content", "message"),
    [("one two\n", "pair must be word, word, number, got 'one two' at line 1"),
     ("one two 1\none two x\n", "got 'one two x' at line 2"), ("one two nan\nx\n", "got 'x' at line 2"),
     ("\n", "pairs must be at least one"), (b"\xff", "must be UTF-8")],
)
def test_bad_pairs_are_named_with_their_line(tmp_path, content, message):
    path = tmp_path / "pairs.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        read_pairs(path)


def test_bad_analogies_are_named_with_their_line(tmp_path):
    path = tmp_path / "analogies.txt"
    path.write_text(": one\na b c d\na b c\n")
    with pytest.raises(InputError, match="analogy must be four words, got 'a b c' at line 3"):
        read_analogies(path)
    path.write_text(": one\n")
    with pytest.raises(InputError, match="analogies must be at least one"):
        read_analogies(path)


def test_sets_of_a_folder_are_told_apart_by_what_is_in_them(tmp_path):
    (tmp_path / "near.csv").write_text("man,woman,9\nking,queen,8\nman,queen,1\n")
    (tmp_path / "grid.txt").write_text(": family\nman king woman queen\n: gram1-x\nman woman king queen\nman a b c\n")
    (tmp_path / "README.txt").write_text("Nothing of the kind.\n")
    (tmp_path / "picture.png").write_text("man woman 9\n")
    sets = find_sets(tmp_path)
    assert (sets.pairs, sets.analogies) == ({"near": tmp_path / "near.csv"}, {"grid": tmp_path / "grid.txt"})
    assert find_sets(tmp_path / "near.csv").pairs == sets.pairs
    found = evaluate_words(grid(), pairs=sets.pairs, analogies=tmp_path / "grid.txt")
    assert found["similarity"]["near"]["answered"] == 3
    add = found["analogies"]["grid"]["add"]
    assert (add["right"], add["answered"], add["total"]) == (2, 2, 3)
    assert (add["accuracy"], add["accuracy_all"]) == (1, 2 / 3)
    assert (add["semantic"]["right"], add["syntactic"]["answered"], add["syntactic"]["total"]) == (1, 1, 2)
    assert analogy_rows(found["analogies"], sections=True)[-1] == ("grid", "gram1-x", "100.0 %", "100.0 %", "1/2")
    assert len(band_rows(found["similarity"])) == 4
    json.dumps(found, allow_nan=False)
    with pytest.raises(InputError, match="word sets must hold lines"):
        find_sets(tmp_path / "README.txt")
    with pytest.raises(InputError, match="which does not exist"):
        find_sets(tmp_path / "absent")
    with pytest.raises(InputError, match="judged by something"):
        evaluate_words(grid())


def bank(sense: str, other: str) -> Occurrence:
    return Occurrence("bank", sense, 1, ("the", "banks", "of", other))


def test_a_static_vector_is_worth_the_most_frequent_sense_and_its_context_more():
    words = ["the", "bank", "of", "money", "river", "coin", "water"]
    table = np.array([[1, 1], [3, 1], [1, 1], [5, 0], [0, 5], [4, 0], [0, 4]], np.float32)
    vectors = WordVectors(words, table, np.array([50, 5, 40, 5, 5, 5, 5]))
    train = [bank("shore", "river")] * 5 + [bank("firm", "money")] * 7
    test = [bank("shore", "water")] * 6 + [bank("firm", "coin")] * 4
    found = judge_senses(vectors, train, test)
    assert found["static"] == found["most_frequent"]
    assert found["static"]["accuracy"] == pytest.approx(0.4)
    assert found["static"]["macro_f1"] == pytest.approx((2 * 4 / 14) / 2)
    assert found["context"] == {"accuracy": 1, "macro_f1": 1}
    assert found["words"]["bank"]["senses"] == 2


def test_the_context_is_the_weighted_mean_of_the_words_around():
    vectors = WordVectors(["a", "b"], np.eye(2, dtype=np.float32), np.array([999, 1]))
    item = Occurrence("x", "s", 1, ("a", "b", "b", "unknown"))
    weights = [1e-3 / (1e-3 + 0.999), 1e-3 / (1e-3 + 0.001)]
    assert context_vector(vectors, item) == pytest.approx([weights[0] / 2, weights[1] / 2])
    assert context_vector(vectors, item, window=0).tolist() == [0, 0]


def test_senses_are_read_from_lines_of_json(tmp_path):
    line = json.dumps({"word": "w1", "sense": "a", "index": 0, "tokens": ["w1", "w2"]})
    for name in ("train", "dev"):
        (tmp_path / f"{name}.jsonl.gz").write_bytes(gzip.compress(f"{line}\n\n{line}\n".encode()))
    files = tmp_path / "train.jsonl.gz", tmp_path / "dev.jsonl.gz"
    plain = WordVectors(WORDS[:5], np.eye(5, dtype=np.float32))
    assert evaluate_words(plain, senses=files)["senses"]["static"]["accuracy"] == 1
    (tmp_path / "bad.jsonl").write_text(line.replace('"index": 0', '"index": 9'))
    with pytest.raises(InputError, match=r"got line 1 of .*index"):
        evaluate_words(plain, senses=(tmp_path / "bad.jsonl", files[1]))


@pytest.mark.slow
def test_a_real_file_has_its_known_scores(shared_data: Path):
    from polysemy.models.vector_files import read_vectors

    vectors = read_vectors(shared_data / "pretrained" / "glove.6B.50d.top50k.txt.gz")
    sets = find_sets(shared_data / "wordsim")
    assert len(sets.pairs) == 5
    evaluate_words(vectors, analogies=sets.analogies)
    start = time.perf_counter()
    found = evaluate_words(vectors, pairs=sets.pairs, analogies=sets.analogies)
    assert time.perf_counter() - start < 10
    assert found["similarity"]["EN-SIMLEX-999"]["spearman"] == pytest.approx(0.265, abs=0.001)
    assert found["analogies"]["questions-words"]["add"]["accuracy"] == pytest.approx(0.480, abs=0.001)
    assert found["analogies"]["questions-words"]["add"]["total"] == 19544


@pytest.mark.slow
def test_real_senses_are_invisible_to_static_vectors(shared_data: Path):
    from polysemy.models.vector_files import read_vectors

    vectors = read_vectors(shared_data / "pretrained" / "glove.6B.50d.top50k.txt.gz")
    folder = shared_data / "wsd-4words"
    found = evaluate_words(vectors, senses=(folder / "train.jsonl.gz", folder / "dev.jsonl.gz"))["senses"]
    assert found["static"] == found["most_frequent"]
    assert found["context"]["macro_f1"] > found["static"]["macro_f1"] + 0.3
