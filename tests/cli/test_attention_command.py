"""`attention` and the demonstrations with pictures, from the command line."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

from polysemy.cli.main import main
from polysemy.models import bert
from polysemy.models.pretrained import PretrainingModel, write_run
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

TEXT = "The bank of the river <b> 银行在河边"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers, two heads, 48 tokens; untrained."""
    tokenizer = Tokenizer.train([TEXT, "the bank, the river"] * 3, TokenizerConfig(vocab_size=100, min_frequency=1))
    config = bert.configure("tiny", vocab_size=tokenizer.vocab_size)
    transformer = config.model.transformer.replace(hidden_size=32, num_heads=2, num_layers=2, intermediate_size=48)
    embedding = config.model.embedding.replace(vocab_size=tokenizer.vocab_size)
    config = config.replace(model=config.model.replace(transformer=transformer, embedding=embedding),
                            training=config.training.replace(length=48))
    folder = tmp_path_factory.mktemp("runs") / "bert"
    write_run(folder, PretrainingModel(config.model, config.heads, seed=1), tokenizer, config)
    return folder


def test_the_table_has_a_line_a_piece_and_three_columns(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attention", str(run), TEXT, "--layer", "-1", "--head", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["piece", "looks", "at", "then", "then"]
    assert lines[1].split()[0] == "[CLS]"
    assert lines[-1].startswith("last layer, head 2; weights are not an explanation")
    assert all(line.count("%") == 3 for line in lines[1:-1])


def test_json_says_pieces_places_and_weights(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attention", str(run), "the bank", "--pair", "the river", "--layer", "rollout", "--words",
                 "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pieces"] == ["[CLS]", "the", "bank", "[SEP]", "the", "river", "[SEP]"]
    assert all(found["pieces"][look["index"]] == look["piece"] for row in found["looks"] for look in row)
    assert all(row[0]["weight"] >= row[1]["weight"] >= row[2]["weight"] for row in found["looks"])


@pytest.mark.parametrize(("name", "more"), [("a.html", []), ("a.png", []), ("a.png", ["--head", "all", "--words"])])
def test_a_page_and_pictures_are_written(run: Path, name: str, more: list[str], tmp_path: Path,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attention", str(run), TEXT, "-o", str(tmp_path / name), *more]) == 0
    assert (tmp_path / name).stat().st_size > 5_000
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "2 layers, 2 heads" in shown.err


@pytest.mark.parametrize(("words", "message"), [
    ([""], "text must hold at least one word"),
    (["the " * 100], "text must be at most 48 tokens for attention, got 102"),
    ([TEXT, "--layer", "3"], "layer must be 1 to 2, mean or rollout, got 3"),
    ([TEXT, "--head", "x"], "head must be a number, mean, got 'x'"),
    ([TEXT, "--layer", "rollout", "--head", "1"], "head must be mean with layer rollout"),
    ([TEXT, "--head", "all"], "--head must be a number or mean, got all"),
    ([TEXT, "-o", "a.pdf"], "output must be a file name that ends in .html or .png"),
    ([TEXT, "-o", "/proc/nothing/a.html"], "output must be a file that can be written"),
])
def test_bad_use_is_one_line(run: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attention", str(run), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_demonstrations_draw_what_they_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "masks", "-o", str(tmp_path / "masks.svg")]) == 0
    assert "causal: 78 of 144 pairs" in capsys.readouterr().out
    assert (tmp_path / "masks.svg").read_text().startswith("<svg")
    assert main(["demo", "scale", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["widths"][-1] == 1024


@pytest.mark.parametrize("words", [["masks", "-o", "a.pdf"], ["onehot", "-o", "a.png"]])
def test_a_picture_that_cannot_be_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
