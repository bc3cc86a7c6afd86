"""`senses` from the command line: uses beside each other, the page, both examinations, and bad use in one line."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

from polysemy.cli.main import main
from polysemy.models import bert, elmo, gpt
from polysemy.models.pretrained import PretrainingModel, know_pieces, write_run
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

IN = ["--in", "I went to the bank to deposit cash", "--in", "I went to the bank to sit down"]
RIVER = "the {} of the river was deep with mud and a boat came along"
MONEY = "the {} keeps the money and gold and a clerk came along"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained bert, gpt and elmo, a file of vectors, a corpus and tagged uses."""
    folder = tmp_path_factory.mktemp("senses")
    texts = ((RIVER, "bank"), (MONEY, "bank"), (RIVER, "shore"), (MONEY, "vault"), ("他去{}存钱", "银行"))
    lines = [text.format(word) + f" {'abcdefgh'[i % 8]} {i}." for i in range(48) for text, word in texts]
    (folder / "corpus.txt").write_text("\n".join(lines), "utf-8")
    for name, recipe, kind in (("bert", bert, "wordpiece"), ("gpt", gpt, "bytebpe")):
        tokenizer = Tokenizer.train([*lines, *IN], TokenizerConfig(kind=kind, vocab_size=400, min_frequency=1))
        config = recipe.configure("tiny", vocab_size=tokenizer.vocab_size)
        transformer = config.model.transformer.replace(hidden_size=32, num_heads=2, num_layers=2, intermediate_size=48)
        config = config.replace(model=config.model.replace(transformer=transformer))
        write_run(folder / name, PretrainingModel(config.model, config.heads, seed=1), tokenizer, config)
    config = elmo.configure("tiny", vocab_size=tokenizer.vocab_size)
    config = config.replace(model=config.model.replace(cell_size=24, projection_size=12))
    model = PretrainingModel(config.model, config.heads, seed=1)
    know_pieces(model, tokenizer)
    write_run(folder / "elmo", model, tokenizer, config)
    words = ["bank", "river", "money", "gold", "mud", "to", "the", "deposit", "cash", "sit", "down", "i", "went",
             "shore", "vault"]
    rows = [" ".join([word, *(f"{(i * 7 + j * 3) % 11 - 5}" for j in range(6))]) for i, word in enumerate(words)]
    (folder / "words.vec").write_text(f"{len(rows)} 6\n" + "\n".join(rows) + "\n")
    tagged = [{"word": "bank", "sense": sense, "index": 1, "tokens": [*text.format("bank").split(), str(i)]}
              for i in range(20) for sense, text in (("edge", RIVER), ("house", MONEY))]
    (folder / "tagged.jsonl").write_text("\n".join(map(json.dumps, tagged)))
    return folder


def test_static_and_causal_vectors_are_alike_to_exactly_one(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["senses", str(runs / "bert"), "bank", *IN, "--static", str(runs / "words.vec"), "--beside",
             str(runs / "gpt"), str(runs / "elmo")]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["same_left"] is True
    cosines = {row["model"]: row["pairs"][0]["cosine"] for row in found["models"]}
    assert list(cosines) == ["words.vec", "bert", "gpt", "elmo"]
    assert cosines["words.vec"] == cosines["gpt"] == 1 > max(cosines["bert"], cosines["elmo"])
    assert [row["reads"] for row in found["models"]] == ["word", "both", "left", "both"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "I went to the [bank] to sit down" in shown
    assert "gpt: read from the left" in shown
    assert "the same in all sentences here" in shown


def test_many_sentences_are_rows(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = [part for text in ("the bank", "a bank") for part in ("--in", text)]
    assert main(["senses", str(runs / "gpt"), "bank", *IN, *more, "--layer", "0"]) == 0
    assert "3 and 4" in capsys.readouterr().out


@pytest.mark.parametrize(("word", "uses"), [("bank", 96), ("银行", 48)])
def test_a_page_and_a_picture_are_written(runs: Path, word: str, uses: int, tmp_path: Path,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "zh.txt").write_text("\n".join(f"他{i}去银行存{i}钱" for i in range(48)), "utf-8")
    corpus = runs / ("corpus.txt" if word == "bank" else "zh.txt")
    static = ["--static", str(runs / "words.vec")] if word == "bank" else []
    assert main(["senses", str(runs / "bert"), word, "--corpus", str(corpus), "-o", str(tmp_path / "a.html"), *static,
                 "--json", "--senses", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["uses"]) == uses
    assert sum(sense["count"] for sense in found["senses"]) == uses
    page = (tmp_path / "a.html").read_text("utf-8")
    assert page.count('class="dot') == uses
    assert f"<h1 dir=\"auto\">{word}</h1>" in page
    assert (tmp_path / "a.png").stat().st_size > 5_000


def test_without_a_file_the_groups_are_printed(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["senses", str(runs / "bert"), "bank", "--corpus", str(runs / "corpus.txt"), "--uses", "20"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("1. ")
    assert "[bank]" in shown.out
    assert "'bank' 96 times; 20 different sentences, layer 2 of bert" in shown.err


def test_examinations_print_a_row_a_layer_beside_the_controls(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["senses", str(runs / "bert"), "--evaluate", str(runs / "tagged.jsonl"), "--static",
             str(runs / "words.vec")]
    assert main(words) == 0
    shown = capsys.readouterr().out
    for name in ("always the commonest sense", "the word's own vector", "mean of the words around", "layer 2",
                 "untrained, layer"):
        assert name in shown
    assert main([*words, "--json"]) == 0
    methods = [result["methods"] for result in json.loads(capsys.readouterr().out)["results"]]
    commonest = methods[0]["most_frequent"]
    assert {key: methods[0]["static"][key] for key in commonest} == commonest


def test_pseudo_words_need_no_tags(runs: Path, capsys: pytest.CaptureFixture[str],
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    from polysemy.evaluation import pseudo_words

    monkeypatch.setattr(pseudo_words, "COMMONEST", 0)
    assert main(["senses", str(runs / "bert"), "--pseudo", str(runs / "corpus.txt"), "--pairs", "2", "--uses", "40",
                 "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["pairs"]) == 2
    assert found["results"][0]["methods"]["most_frequent"]["accuracy"] < 0.7


@pytest.mark.parametrize(("words", "message"), [
    (["bank"], "senses must have one of --in, --corpus, --evaluate and --pseudo, got none"),
    (["bank", "--in", "the bank", "--corpus", "x"], "got --in and --corpus"),
    (["--in", "the bank"], "senses must have a WORD with --in, got none"),
    (["bank", "--pseudo", "corpus.txt"], "senses must have no WORD with --pseudo, got bank"),
    (["bank", "--in", "the bank"], "--in must be given for at least two sentences, got 1"),
    (["bank", "--in", "the bank", "--in", "a river"], "text must hold the word 'bank', got 'a river'"),
    (["bank", *IN, "--layer", "7"], "--layer must be 0..2"),
    (["bank", *IN, "--static", "BERT"], "--static must have word vectors"),
    (["bank", "--corpus", "CORPUS", "-o", "a.pdf"], "-o must be a file name that ends in .html or .png"),
    (["bank", *IN, "-o", "a.html"], "-o must go with --corpus"),
    (["zyzzyva", "--corpus", "ONCE"], "word must stand at least twice in the corpus, got 'zyzzyva' once"),
    (["zebra", "--corpus", "CORPUS"], "word must stand at least twice in the corpus, got 'zebra' 0 times"),
    (["bank", "--corpus", "CORPUS", "--senses", "9"], "senses must be 1..8 for 96 uses, got 9"),
    (["bank", "--corpus", "CORPUS", "--uses", "0"], "--uses must be at least 1"),
    (["bank", "--corpus", "CORPUS", "-o", "/proc/nothing/a.html"], "-o must be a file that can be written"),
    (["--evaluate", "a", "b", "c"], "--evaluate must be one file, or one for training and one for the test"),
])
def test_bad_use_is_one_line(runs: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "once.txt").write_text("The zyzzyva is a beetle.\n")
    places = {"CORPUS": str(runs / "corpus.txt"), "BERT": str(runs / "bert"), "ONCE": str(runs / "once.txt")}
    assert main(["senses", str(runs / "bert"), *(places.get(word, word) for word in words)]) == 2
    error = capsys.readouterr().err.splitlines()
    assert message in error[-1]
    assert sum(line.startswith("polysemy:") for line in error) == 1
