"""Recipes of words from the command line: train, use, evaluate and convert, in two languages."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polysemy.cli.main import main

SENTENCES = [
    f"the {color} {animal} sat on the {place} and looked at the {thing}\n她在{city}的河边看见一只{beast}\n"
    for color in ("black", "white", "small") for animal in ("cat", "dog", "bird") for place in ("mat", "bank", "roof")
    for thing in ("river", "moon") for city, beast in (("北京", "猫"), ("上海", "狗"))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("words")
    (path / "text.txt").write_text("\n".join(SENTENCES))
    assert main(["train", "ngram", str(path / "text.txt"), "-o", str(path / "ngram"), "--set", "order=3"]) == 0
    return path


def json_of(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_text_is_scored_word_by_word(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json_of(capsys, "score", str(folder / "ngram"), "the cat sat")
    assert [word["word"] for word in found["words_scored"]] == ["the", "cat", "sat", "</s>"]
    assert found["log10_probability"] == pytest.approx(found["log_probability"] / 2.302585, rel=1e-5)
    assert found["log10_probability"] == pytest.approx(sum(word["log10"] for word in found["words_scored"]))
    assert found["bits_per_byte"] is None
    assert main(["score", str(folder / "ngram"), "the cat sat"]) == 0
    assert "log10 probability" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "expected"), [
    ("the black cat sat on the [MASK] and looked", {"mat", "bank", "roof"}),
    ("她在北京的河边看见一只[MASK]", {"猫", "狗"})])
def test_gaps_are_filled_in_both_languages(folder: Path, text: str, expected: set[str],
                                          capsys: pytest.CaptureFixture[str]) -> None:
    found = json_of(capsys, "fill", str(folder / "ngram"), text, "--top", str(len(expected)))
    assert {candidate["word" if "word" in candidate else "text"] for candidate in found["gaps"][0]} == expected


def test_writing_goes_on_and_repeats_with_its_seed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("generate", str(folder / "ngram"), "the black", "--words", "8", "--seed", "4")
    found = json_of(capsys, *command)
    assert found["text"].startswith("the black ")
    assert json_of(capsys, *command) == found


def test_an_arpa_file_goes_out_and_comes_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["ngram", "lm.arpa", "--to"], ["lm.arpa", "back", "--from"]):
        assert main(["convert", str(folder / words[0]), str(folder / words[1]), words[2], "arpa"]) == 0
    one, other = (json_of(capsys, "score", str(folder / name), "the cat sat") for name in ("ngram", "back"))
    assert other["log_probability"] == pytest.approx(one["log_probability"], abs=1e-4)
    assert main(["convert", str(folder / "ngram"), str(folder / "lm.arpa"), "--to", "arpa"]) == 2  # it exists
    assert main(["convert", str(folder / "ngram"), str(folder / "x.bin"), "--to", "word2vec"]) == 2  # it has no vectors
    assert "--to must be arpa for recipe ngram, got word2vec" in capsys.readouterr().err


def test_word_vectors_go_out_and_come_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["--set", "size=16", "--set", "min_count=1", "--set", "algorithm=plain", "--epochs", "1"]
    assert main(["train", "word2vec", str(folder / "text.txt"), "-o", str(folder / "w2v"), *settings]) == 0
    assert main(["convert", str(folder / "w2v"), str(folder / "v.txt"), "--to", "glove"]) == 0
    assert main(["convert", str(folder / "v.txt"), str(folder / "from-glove"), "--from", "glove"]) == 0
    one, other = (json_of(capsys, "neighbors", str(folder / name), "cat") for name in ("w2v", "from-glove"))
    assert one["neighbors"] == other["neighbors"]
    (folder / "pairs.txt").write_text("cat dog 9\nmat roof 8\ncat mat 2\n")  # the default tasks need no text then
    assert json_of(capsys, "evaluate", str(folder / "from-glove"), "--pairs", str(folder / "pairs.txt"))["tasks"].keys(
    ) == {"words"}


def test_a_classifier_learns_names_its_labels_and_is_judged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{text}\t{label}" for _ in range(10) for text, label in
            (("a fine film", "good"), ("a dull film", "bad"), ("好看的电影", "good"), ("难看的电影", "bad"))]
    (folder / "labels.tsv").write_text("\n".join(["text\tlabel", *rows]))
    (folder / "plain.tsv").write_text("\n".join(rows))
    settings = ["--set", "task=classify", "--set", "size=8", "--set", "learning_rate=0.5", "--epochs", "20"]
    assert main(["train", "fasttext", str(folder / "labels.tsv"), "-o", str(folder / "clf"), *settings]) == 0
    assert json_of(capsys, "classify", str(folder / "clf"), "fine")["labels"][0]["label"] == "good"
    assert json_of(capsys, "classify", str(folder / "clf"), "难看")["labels"][0]["label"] == "bad"
    assert json_of(capsys, "evaluate", str(folder / "clf"), "--data", str(folder / "labels.tsv"))["accuracy"] == 1.0
    for columns in ("1,2", "text=1,label=2", "label=2,text=1"):
        found = json_of(capsys, "evaluate", str(folder / "clf"), "--data", str(folder / "plain.tsv"),
                        "--columns", columns)
        assert found["f1"] == 1.0
    for columns in ("1", "1,2,3", "text=1,lable=2", "text=1,text=2"):
        assert main(["evaluate", str(folder / "clf"), "--data", str(folder / "plain.tsv"), "--columns", columns]) == 2
    assert main(["evaluate", str(folder / "clf")]) == 2
    (folder / "lines.txt").write_text("a fine film\n")
    assert json_of(capsys, "embed", str(folder / "clf"), str(folder / "lines.txt"))["size"] == 8


@pytest.mark.parametrize("words", [
    ["train", "ngram", "text.txt", "-o", "x", "--steps", "3"],
    ["train", "ngram", "text.txt", "-o", "x", "--epochs", "2"],
    ["train", "word2vec", "text.txt", "-o", "x", "--from", "ngram"], ["train", "vectors", "text.txt", "-o", "x"],
    ["train", "word2vec", "text.txt", "-o", "x", "--set", "sise=3"],
    ["train", "glove", "text.txt", "-o", "x", "--set", "words.min_count=2"],
    ["train", "fasttext", "text.txt", "-o", "x", "--set", "words.min_count=2"],
    ["train", "ngram", "text.txt", "-o", "x", "--set", "words.min_count=2"],
    ["neighbors", "ngram", "cat"],
    ["generate", "ngram", "a", "--temperature", "0"],
    ["generate", "ngram", "a", "--greedy", "--top-p", "0.5"], ["classify", "ngram", "a"], ["describe", "vectors"],
    ["evaluate", "ngram", "--task", "words", "--pairs", "text.txt"]])
def test_wrong_use_is_one_line(folder: Path, words: list[str], monkeypatch: pytest.MonkeyPatch,
                               capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("polysemy")
    assert "Traceback" not in error
    assert not (folder / "x").exists()
