"""The commands of the pretraining road, from text to report: each flag is held by what it changes."""
from __future__ import annotations

import io
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polysemy
from ladder.small_text import documents
from polysemy.artifact import load_tensors, read_json, sha256
from polysemy.cli.main import main
from polysemy.errors import InputError
from polysemy.evaluation import QUICK
from polysemy.ladder.settings import LadderConfig
from polysemy.models.pretrained import open_run
from polysemy.text.show import render
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig
from polysemy.training.prepared import open_text
from polysemy.training.pretrain import make_batches
from small_runs import write_text

CPU = ["--threads", "1", "--device", "cpu"]
ROWS = ["--set", "training.length=32", "--set", "training.batch_size=4", "--set", "training.dtype=float32"]
PIECES = ["--set", "tokenizer.vocab_size=80"]
SENTENCES = ["The river sees the bank near the table.", "The doctor remembers winter.",
             "The captain paints the house.", "The garden follows the letter.", "The window leaves the river."]
GAPS = "The river [MASK] the bank near the [MASK]."


def run(*words: Any) -> None:
    assert main([str(word) for word in words]) == 0


def said(capsys: pytest.CaptureFixture[str], *words: Any) -> dict[str, Any]:
    """The one JSON object that a command printed."""
    capsys.readouterr()
    run(*words, "--json")
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *words: Any) -> str:
    """The line that a command ended with instead of a result."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    found = capsys.readouterr()
    assert (found.out, "Traceback" in found.err) == ("", False)
    return found.err.splitlines()[-1]


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of 50 kB with three models of it (BERT, ALBERT with BERT's pieces, BERT as published), and lines."""
    folder = tmp_path_factory.mktemp("road")
    text = write_text(folder / "text.txt", num_documents=310)
    for name, recipe, words in (("bert", "bert", ["--steps", 6, "--seed", 3, *PIECES]),
                                ("albert", "albert", ["--steps", 3, "--tokenizer", folder / "bert"]),
                                ("paper", "bert", ["--steps", 3, "--preset", "paper", *PIECES])):
        run("train", recipe, text, "-o", folder / name, "--size", "tiny", *words, *ROWS, *CPU)
    (folder / "lines.txt").write_text("\n".join(SENTENCES))
    (folder / "pairs.txt").write_text("\n".join(map("\t".join, zip(SENTENCES[:2], SENTENCES[2:4], strict=True))))
    (folder / "broken.txt").write_bytes(text.read_bytes() + b"a \xff byte\n")
    return folder


def test_show_prints_the_rows_that_a_run_reads(files: Path, capsys: pytest.CaptureFixture[str],
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    _, tokenizer, config = open_run(files / "bert")
    text = open_text(read_json(files / "bert" / "config.json")["text"], tokenizer)
    batches = make_batches(config, text.train, tokenizer, seed=3)
    words = ["show", "bert", files / "text.txt", "--size", "tiny", "--seed", 3, *ROWS]
    for step, pieces in ((0, ["--tokenizer", files / "bert"]), (1, PIECES)):
        capsys.readouterr()
        run(*words, "--examples", config.training.batch_size, "--step", step, *pieces)
        rows = [render(batches[step], tokenizer, row, pair_names=config.segments.pair_names) for row in range(4)]
        assert capsys.readouterr().out.strip() == "\n\n".join(rows).strip()
    run(*words, "--examples", 1, "--tokenizer", files / "bert")
    lines = capsys.readouterr().out.splitlines()
    assert sum("global row" in line for line in lines) == 1
    originals = [piece for line in lines if line.startswith("original") for piece in line.split()[1:]]
    assert originals == tokenizer.readable(batches[0].take([0]).targets.tolist())
    assert sum(line.count("[MASK]") for line in lines if line.startswith("shown")) >= 0.6 * len(originals) > 3


def test_show_follows_preset_length_and_recipe(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def heads(recipe: str, *words: str) -> tuple[set[str], int, str]:
        run("show", recipe, files / "text.txt", "--examples", 8, "--tokenizer", files / "bert", *words)
        out = capsys.readouterr().out
        found = re.findall(r"(\d+) columns, .* (\d+) hidden", out)
        return {columns for columns, _ in found}, sum(int(hidden) for _, hidden in found), out

    columns, hidden, _ = heads("bert", "--set", "training.length=48")
    assert (columns, hidden > 8 * 48 * 0.25) == ({"48"}, True)  # the ladder hides 40 %, the paper 15 %
    columns, hidden, out = heads("albert", "--preset", "paper", "--set", "training.length=48")
    assert (columns, 0 < hidden < 8 * 48 * 0.25) == ({"48"}, True)
    assert "A and B are swapped" in out


def test_a_run_is_what_its_flags_ask_for(files: Path) -> None:
    bert, albert, paper = (read_json(files / name / "config.json") for name in ("bert", "albert", "paper"))
    assert (bert["recipe"], bert["seed"], bert["budget"]["steps"]) == ("bert", 3, 6)
    assert (bert["config"]["size"], bert["config"]["preset"], bert["dtype"]) == ("tiny", "ladder", "float32")
    assert bert["config"]["training"]["length"] == 32
    assert [row["step"] for row in metrics(files / "bert")] == [1, 2, 3, 4, 5, 6]
    pieces = Tokenizer.load(files / "bert").vocab_size
    assert pieces == bert["config"]["tokenizer"]["vocab_size"] == 80
    tensors = load_tensors(files / "bert" / "model.safetensors")
    assert (pieces, 128) in {tuple(tensor.shape) for tensor in tensors.values()}  # tiny: 2 layers of 128
    assert bert["config"]["model"]["transformer"]["num_layers"] == 2
    assert sha256(files / "albert" / "tokenizer.json") == sha256(files / "bert" / "tokenizer.json")
    assert albert["config"]["model"]["embedding"]["vocab_size"] == 80
    assert (albert["recipe"], albert["seed"]) == ("albert", 0)
    assert albert["config"]["model"]["embedding"]["factor_size"] == 64
    assert (paper["config"]["preset"], paper["config"]["model"]["embedding"]["dropout"]) == ("paper", 0.1)
    assert paper["config"]["model"]["embedding"]["position"]["kind"] == "Learned"


def test_the_same_command_goes_on_and_overwrite_starts_anew(files: Path, tmp_path: Path,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    words = ["train", "bert", files / "text.txt", "-o", out, "--size", "tiny", *ROWS, *PIECES, *CPU]
    first = said(capsys, *words, "--steps", 2)
    assert (first["output"], first["recipe"], first["step"]) == (str(out), "bert", 2)
    begun = metrics(out)
    assert (first["loss"], first["held_out_loss"]) == (begun[-1]["loss"], begun[-1]["held_out_loss"])
    assert said(capsys, *words, "--steps", 4, "--resume")["step"] == 4
    assert metrics(out)[:2] == begun
    assert [row["step"] for row in metrics(out)] == [1, 2, 3, 4]
    weights = sha256(out / "model.safetensors")
    assert said(capsys, *words, "--steps", 4)["step"] == 4
    assert "must be those of the run" in refused(capsys, *words, "--steps", 4, "--seed", 5)
    assert sha256(out / "model.safetensors") == weights
    assert said(capsys, *words, "--steps", 1, "--seed", 5, "--overwrite")["step"] == 1
    assert len(metrics(out)) == 1
    assert metrics(out)[0]["loss"] != begun[0]["loss"]


@pytest.mark.parametrize(("flag", "amount"), [("epochs", 0.01), ("tokens", 200), ("minutes", 0.0002)])
def test_every_budget_has_its_flag(files: Path, tmp_path: Path, flag: str, amount: float) -> None:
    run("train", "bert", files / "text.txt", "-o", tmp_path / "run", "--size", "tiny", f"--{flag}", amount,
        "--tokenizer", files / "bert", *ROWS, *CPU)
    record = read_json(tmp_path / "run" / "config.json")
    given = {name: value for name, value in record["budget"].items() if name not in ("kind", "clock") and value}
    assert given == {flag: amount}
    assert 1 <= record["results"]["step"] < 20


def test_document_and_unit_say_how_the_text_is_read(tmp_path: Path) -> None:
    pytest.importorskip("jieba")
    lines = [f"她在{city}的河边看见一只{beast}。\n{city}的{beast}今天喜欢学习。"
             for city in ("北京", "上海", "南京", "天津", "广州", "武汉") for beast in ("猫", "狗", "鸟")]
    (tmp_path / "text.txt").write_text("\n\n".join(lines))
    run("train", "bert", tmp_path / "text.txt", "-o", tmp_path / "run", "--size", "tiny", "--steps", 1, "--document",
        "line", "--unit", "word", *ROWS, *PIECES, *CPU)
    text = read_json(tmp_path / "run" / "config.json")["text"]
    assert (text["rule"], text["report"]["documents"]) == ("line", 36)  # 18 between blank lines
    assert {read_json(path)["unit"] for path in (tmp_path / "run" / "text").glob("*/shards.json")} == {"word"}
    assert text["words"] < 0.8 * (text["tokens"] - text["documents"])  # a piece is a character or a full stop


def test_a_model_goes_on_with_new_text_and_keeps_some_of_the_old(files: Path, tmp_path: Path,
                                                                 capsys: pytest.CaptureFixture[str]) -> None:
    new = [f"The merchant sells {number} ships. The harbor sleeps under {number % 7} stars." for number in range(40)]
    (tmp_path / "new.txt").write_text("\n\n".join(new))
    out = tmp_path / "run"
    found = said(capsys, "train", "bert", tmp_path / "new.txt", "-o", out, "--steps", 2, "--from", files / "bert",
                 "--replay", 0.25, "--set", "training.batch_size=8", *CPU)
    record, start = read_json(out / "config.json"), read_json(files / "bert" / "config.json")
    assert (record["start"], record["replay"]) == (sha256(files / "bert" / "model.safetensors"), 0.25)
    assert (record["config"]["training"]["batch_size"], record["config"]["training"]["length"]) == (8, 32)
    assert record["config"]["model"] == start["config"]["model"]
    assert sha256(out / "tokenizer.json") == sha256(files / "bert" / "tokenizer.json")
    table = {row["text"]: row for row in found["forgetting"]}
    assert table.keys() == {"old", "new"}
    assert table["old"]["before"] == pytest.approx(start["results"]["scores"]["held_out_loss"], rel=1e-5)


WRONG = {
    "--resume must find a run": ["--resume"],
    "--replay must come with --from": ["--replay", "0.5"],
    "--fsdp must run under torchrun": ["--fsdp"],
    "device must be auto, cpu, cuda or cuda:N, got 'tpu'": ["--device", "tpu"],
    "threads": ["--threads", "0"],
    "not allowed with argument --steps": ["--epochs", "1"],
    "got bert and a albert": ["--from", "albert"],
    "0xff": ["broken.txt", "--strict"],
    "must be a BERT vocabulary": ["--tokenizer", "lines.txt"],
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_training_is_one_line_and_leaves_nothing(files: Path, tmp_path: Path, message: str,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(files / word) if (files / word).exists() else word for word in WRONG[message]]
    assert message in refused(capsys, "train", *CPU, "--steps", 1, "bert", files / "text.txt", *words, "-o",
                              tmp_path / "run", "--size", "tiny", *ROWS, *PIECES)
    assert not (tmp_path / "run").exists()


def test_a_model_is_judged_by_its_held_out_or_other_text(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = said(capsys, "evaluate", files / "bert", "--task", "perplexity", *CPU)["tasks"]["perplexity"]
    assert own["pseudo_perplexity"] == pytest.approx(math.exp(-own["log_probability"] / own["tokens"]))
    write_text(files / "other.txt", num_documents=70, seed=1)
    tasks = said(capsys, "evaluate", files / "bert", "--task", "perplexity,loss", "--data", files / "other.txt",
                 *CPU)["tasks"]
    assert tasks.keys() == {"perplexity", "loss"}
    assert tasks["perplexity"]["text_hash"] != own["text_hash"]
    assert tasks["loss"]["masked_lm_loss"] > 0
    assert read_json(files / "bert" / "evaluation.json")["tasks"] == tasks
    assert "--task must be of cloze" in refused(capsys, "evaluate", files / "bert", "--task", "perplexities", *CPU)


def test_gaps_are_filled_with_words_of_one_piece_or_several(files: Path, capsys: pytest.CaptureFixture[str],
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    gaps = said(capsys, "fill", files / "bert", GAPS, "--top", 60, *CPU)["gaps"]
    model = polysemy.load(files / "bert")
    for gap, expected in zip(gaps, model.fill(GAPS, 60), strict=True):
        assert [candidate["text"] for candidate in gap] == [candidate.text for candidate in expected]
        assert [len(model.tokenizer.encode(c["text"]).ids) for c in gap] == [c["pieces"] for c in gap]
        assert {1, 2} <= {candidate["pieces"] for candidate in gap}
        assert sorted((c["probability"] for c in gap), reverse=True) == [c["probability"] for c in gap]
    run("fill", files / "bert", "The river [MASK] it.", "--top", 3, *CPU)
    assert len(capsys.readouterr().out.splitlines()) == 2 + 3  # the text, a heading, three words
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"A [MASK] here.\n[MASK] [MASK]\n")))
    results = said(capsys, "fill", files / "bert", "-", "--top", 2, *CPU)["results"]
    assert [[len(gap) for gap in result["gaps"]] for result in results] == [[2], [2, 2]]
    assert "text must hold a gap written [MASK]" in refused(capsys, "fill", files / "bert", "no gap", *CPU)


@pytest.mark.parametrize(("flags", "settings"), [
    ([], {}), (["--layer", "0"], {"layer": 0}), (["--layer", "-2"], {"layer": -2}),
    (["--pooling", "cls"], {"pooling": "cls"}),
    (["--layer", "mean", "--pooling", "last"], {"layer": "mean", "pooling": "last"})])
def test_lines_and_pairs_become_vectors(files: Path, tmp_path: Path, flags: list[str],
                                        settings: dict[str, Any]) -> None:
    words = ["-o", tmp_path / "v.npy", "--dtype", "float32", *flags, *CPU]
    model = polysemy.load(files / "bert").to("cpu", "float32")
    run("embed", files / "bert", files / "lines.txt", *words)
    assert np.load(tmp_path / "v.npy").shape == (5, 128)
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), model.embed(SENTENCES, **settings), atol=1e-5)
    run("embed", files / "bert", files / "pairs.txt", "--pairs", *words)
    assert np.load(tmp_path / "v.npy").shape == (2, 128)
    expected = model.embed(SENTENCES[:2], pairs=SENTENCES[2:4], **settings)
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), expected, atol=1e-5)


def test_pieces_and_words_have_vectors_of_their_own(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                                    ) -> None:
    model = polysemy.load(files / "bert").to("cpu", "float32")
    pieces = [len(encoding.ids) for encoding in model.encode(SENTENCES)]
    for pooling, sizes in (("token", pieces), ("word", [8, 4, 5, 5, 5])):
        run("embed", files / "bert", files / "lines.txt", "--pooling", pooling, "--dtype", "float32", "-o",
            tmp_path / "v.npz", *CPU)
        found = np.load(tmp_path / "v.npz")
        assert np.diff(found["row_splits"]).tolist() == sizes
        np.testing.assert_allclose(found["vectors"], np.concatenate(model.embed(SENTENCES, pooling=pooling)), atol=1e-5)
    short = said(capsys, "embed", files / "bert", files / "lines.txt", "--dimensions", 8, *CPU)
    assert (short["texts"], short["size"]) == (5, 8)
    np.testing.assert_allclose(np.linalg.norm(short["vectors"], axis=1), 1, atol=1e-5)


def test_sentences_are_put_in_order_each_once(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, "order", files / "albert", files / "lines.txt", *CPU)
    assert sorted(found["order"]) == [0, 1, 2, 3, 4]
    assert found["order"] == polysemy.load(files / "albert").order(SENTENCES)
    run("order", files / "albert", files / "lines.txt", *CPU)
    assert capsys.readouterr().out.splitlines() == found["sentences"] == [SENTENCES[i] for i in found["order"]]
    assert main(["order", str(files / "bert"), str(files / "lines.txt"), *CPU]) == 2
    line, = capsys.readouterr().err.splitlines()
    assert line.startswith("polysemy: model must have learned sentence order, got bert")


def test_a_text_is_shown_in_the_pieces_of_several_tokenizers(files: Path, tmp_path: Path,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    Tokenizer.train(SENTENCES, TokenizerConfig(kind="bpe", vocab_size=50)).save(tmp_path)
    words = ["tokenize", files / "bert", "The doctor remembers."]
    one, other = said(capsys, *words, "--beside", tmp_path)["tokenizers"]
    assert [(found["kind"], found["source"]) for found in (one, other)] == [
        ("wordpiece", str(files / "bert")), ("bpe", str(tmp_path))]
    assert one["ids"] == Tokenizer.load(files / "bert").encode("The doctor remembers.").ids.tolist()
    assert "".join(piece.removeprefix("##") for piece in one["pieces"]) == "thedoctorremembers."
    assert ["The doctor remembers."[a:b].lower() for a, b in zip(one["starts"], one["ends"], strict=True)] == [
        piece.removeprefix("##") for piece in one["pieces"]]
    assert [found["kind"] for found in said(capsys, *words)["tokenizers"]] == ["wordpiece", "bpe", "unigram"]
    assert len(said(capsys, *words, "--beside")["tokenizers"]) == 1


def test_runs_stand_side_by_side_in_one_file(files: Path, tmp_path: Path) -> None:
    run("compare", files / "bert", files / "albert", "-o", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\((?!#)|<script", page)
    assert page.count(">bert<") >= 1
    assert page.count(">albert<") >= 1
    assert "trained for 6 steps" in page


def test_a_model_goes_to_transformers_and_comes_back_equal(files: Path, tmp_path: Path,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    run("convert", files / "paper", tmp_path / "hf", "--to", "hf")
    assert read_json(tmp_path / "hf" / "config.json")["model_type"] == "bert"
    run("convert", tmp_path / "hf", tmp_path / "back", "--from", "hf")
    assert "choose another name" in refused(capsys, "convert", files / "paper", tmp_path / "hf", "--to", "hf")
    one, other = (said(capsys, "fill", folder, GAPS, *CPU)["gaps"] for folder in (files / "paper", tmp_path / "back"))
    for mine, theirs in zip(one, other, strict=True):
        assert [c["text"] for c in mine] == [c["text"] for c in theirs]
        assert [c["probability"] for c in mine] == pytest.approx([c["probability"] for c in theirs], rel=1e-5)
    models = [polysemy.load(folder) for folder in (files / "paper", tmp_path / "back")]
    mine, theirs = (model.embed(SENTENCES[:2], pairs=SENTENCES[2:4]) for model in models)
    np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_a_ladder_trains_judges_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    few = QUICK.replace(test_items=50, dev_items=50)
    monkeypatch.setattr("polysemy.ladder.settings.QUICK", few)
    monkeypatch.setattr("polysemy.evaluation.QUICK", few)
    monkeypatch.setattr("polysemy.ladder.judging._speed", lambda *_: {"milliseconds": 1.0, "speed": {}})  # seconds
    monkeypatch.setattr("polysemy.ladder.run.controls_of", lambda *_: [])  # seconds too
    text, study = tmp_path / "text.txt", tmp_path / "study"
    text.write_text("\n\n".join(documents(120)))
    found = said(capsys, "ladder", text, "-o", study, "--rungs", "bert", "--size", "tiny", "--quick", "--minutes",
                 0.002, "--max-mb", 0.1, *CPU)
    assert found["report"] == str(study / "report.html")
    assert ">bert<" in (study / "report.html").read_text()
    assert list(found["recommendation"]["out"]) == ["bert"]  # larger than --max-mb
    row = next(row for row in found["rungs"] if row["name"] == "bert")
    assert (row["cloze"]["items"], read_json(study / "plan.json")["minutes"]) == (50, 0.002)
    words = ["evaluate", study / "rungs" / "bert", "--task", "cloze", *CPU]
    asked = said(capsys, *words, "--items", study / "cloze.jsonl")
    assert (asked["items"], asked["items_hash"]) == (50, row["cloze"]["items_hash"])
    assert (asked["accuracy"], asked["bits"]) == pytest.approx((row["cloze"]["accuracy"], row["cloze"]["bits"]))
    quick, other = (said(capsys, *words, "--data", text, "--quick", "--seed", seed) for seed in (0, 1))
    assert (quick["items"], quick["items_hash"] == other["items_hash"]) == (50, False)


@pytest.mark.parametrize(("words", "settings"), [
    (["--total", "7.5", "--rungs", "ngram, bert", "--for", "score", "--max-ms", "3", "--size", "small", "--unit",
      "word", *CPU], {"total": 7.5, "rungs": ("ngram", "bert"), "purpose": "score", "max_ms": 3.0, "size": "small",
                      "unit": "word", "threads": 1, "device": "cpu"}),
    (["--minutes", "2", "--for", "classify:a.tsv", "--task-dev", "b.tsv", "--max-mb", "9", "--seed", "4", "--quick",
      "--overwrite"], {"minutes": 2.0, "purpose": "classify", "task": "a.tsv", "task_dev": "b.tsv", "max_mb": 9.0,
                       "seed": 4, "quick": True}),
    (["--task", "a.tsv"], {"task": "a.tsv"})])
def test_every_flag_of_a_ladder_is_a_setting(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str], words: list[str],
                                             settings: dict[str, Any]) -> None:
    asked: list[Any] = []

    def ask(source: Any, folder: Path, config: LadderConfig, *, overwrite: bool, tell: Any) -> None:
        asked.extend((source.corpus.files, source.corpus.document_rule, folder, config, overwrite))
        raise InputError("that will do")

    monkeypatch.setattr("polysemy.ladder.run.run_ladder", ask)
    line = refused(capsys, "ladder", files / "text.txt", "-o", tmp_path / "study", "--document", "line", *words)
    assert line == "polysemy: that will do"
    assert asked == [[files / "text.txt"], "line", tmp_path / "study", LadderConfig(**{"size": "mini", **settings}),
                     "--overwrite" in words]
