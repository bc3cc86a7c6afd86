"""The commands on word vectors, on a run folder of Chinese and English words and on a file."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from polysemy.cli.main import main
from polysemy.models.vector_files import write_vectors
from polysemy.models.word_vectors import WordVectors

ROWS = {"man": (1, 1, 0), "woman": (1, 0, 0), "king": (1, 1, 1), "queen": (1, 0, 1), "国": (0, 5, 0), "家": (0, 5, 1)}


@pytest.fixture
def file(tmp_path: Path) -> str:
    write_vectors(tmp_path / "v.txt", WordVectors(list(ROWS), np.array(list(ROWS.values()), np.float32)), "glove")
    return str(tmp_path / "v.txt")


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 0
    return capsys.readouterr().out


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_neighbors_are_ranked_for_people_and_for_machines(file, capsys):
    lines = printed(["neighbors", file, "man", "--top", "2"], capsys).splitlines()
    assert lines[:2] == ["man", "word   cosine"]
    assert lines[2].split() == ["king", "0.8165", "▇" * 16]
    found = json.loads(printed(["neighbors", file, "国", "--top", "1", "--json"], capsys))
    assert found["neighbors"][0]["word"] == "家"
    assert found["known"] == [True]
    together = json.loads(printed(["neighbors", file, "man", "queen", "--json", "--among", "4"], capsys))
    assert {row["word"] for row in together["neighbors"]} == {"king", "woman"}


def test_capitals_are_folded_where_the_model_knows_none(file, capsys):
    assert printed(["neighbors", file, "Man"], capsys).startswith("man\n")
    assert "got 'Horse'" in refused(["neighbors", file, "Horse"], capsys)


def test_an_analogy_is_completed(file, capsys):
    text = printed(["analogy", file, "man", "king", "woman", "--top", "1"], capsys)
    assert text.splitlines()[0] == "man is to king as woman is to ..."
    assert text.splitlines()[2].startswith("queen")
    assert "cos(w, king) + cos(w, woman) - cos(w, man), 3CosAdd" in text.splitlines()[3]
    found = json.loads(printed(["analogy", file, "man", "king", "woman", "--method", "mul", "--json"], capsys))
    assert found["answers"][0]["word"] == "queen"
    assert found["method"] == "mul"
    assert "3CosMul" in found["score"]


def test_two_words_have_a_cosine_and_pairs_a_correlation(file, capsys, tmp_path):
    assert printed(["similarity", file, "man", "woman"], capsys) == "0.7071\n"
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "kin.csv").write_text("man,woman,9\nking,queen,8\nman,queen,1\nman,horse,2\n")
    text = printed(["similarity", file, "--pairs", str(tmp_path / "sets")], capsys)
    assert "3/4" in text
    assert "rank of the rarer word" in text
    found = json.loads(printed(["similarity", file, "--pairs", str(tmp_path / "sets" / "kin.csv"), "--json"], capsys))
    assert found["similarity"]["kin"]["answered"] == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["similarity", "FILE"], "similarity must have two words, or --pairs with files or folders, got 0 words"),
        (["similarity", "FILE", "man"], "got 1 words"),
        (["similarity", "FILE", "man", "king", "--pairs", "x"], "got 2 words and --pairs"),
        (["similarity", "FILE", "--pairs", "absent"], "which does not exist"),
        (["neighbors", "FILE", "man", "--top", "0"], "--top must be at least 1, got 0"),
        (["neighbors", "FILE", "man", "--among", "0"], "--among must be at least 1, got 0"),
        (["neighbors", "FILE", "mann"], "word must be in the vocabulary, got 'mann'; did you mean 'man'?"),
        (["analogy", "FILE", "man", "king"], "the following arguments are required: C"),
        (["neighbors", "absent", "man"], "model must be a run folder, got absent"),
    ],
)
def test_wrong_use_is_one_line(file, words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refused([file if word == "FILE" else word for word in words], capsys)


def test_the_table_of_a_neural_model_is_searched_like_word_vectors(tmp_path, capsys):
    text, run = tmp_path / "text.txt", str(tmp_path / "run")
    text.write_text("\n\n".join(f"the {beast} sat on the {place}" for beast in ("cat", "dog", "bird") * 5
                               for place in ("mat", "roof", "bank") * 2))
    settings = ["--set", "model.embedding_size=6", "--set", "model.inner_size=4", "--steps", "2"]
    assert main(["train", "nnlm", str(text), "-o", run, *settings]) == 0
    capsys.readouterr()
    found = json.loads(printed(["neighbors", run, "the", "--top", "3", "--json"], capsys))
    assert len(found["neighbors"]) == 3
    assert -1 <= float(printed(["similarity", run, "the", "cat"], capsys)) <= 1
    assert "3CosAdd" in printed(["analogy", run, "the", "cat", "on"], capsys)


def test_texts_without_a_known_word_are_counted(file, tmp_path, capsys):
    assert main(["convert", file, str(tmp_path / "run"), "--from", "glove"]) == 0
    (tmp_path / "lines.txt").write_text("man and king\nnothing of it\n...\n")
    capsys.readouterr()
    assert main(["embed", str(tmp_path / "run"), str(tmp_path / "lines.txt"), "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "2 of 3 texts hold no word the model knows: zeros stand for them\n"
    found = json.loads(printed.out)
    assert found["unknown"] == 2
    assert [any(row) for row in found["vectors"]] == [True, False, False]


@pytest.mark.parametrize("recipe", ["word2vec", "glove", "fasttext", "ngram"])
def test_only_settings_that_count_are_listed(recipe, capsys):
    text = printed(["describe", recipe], capsys)
    assert "  min_count = " in text
    assert "words.lowercase = " in text
    assert "words.min_count" not in text


def test_a_model_without_word_vectors_is_told_apart(tmp_path, capsys, monkeypatch):
    import polysemy

    monkeypatch.setattr(polysemy, "load", lambda folder: object())
    assert "model must have word vectors" in refused(["neighbors", str(tmp_path), "man"], capsys)
