"""The commands finetune, predict and evaluate on a model of a task, from files to what is printed."""
from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path

import pytest
from tuning_files import FAST, ROWS, said, write_files

from polysemy.artifact import read_json
from polysemy.cli.finetune import _tell
from polysemy.cli.main import main


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def tuned(files: Path) -> Path:
    words = ["finetune", str(files / "bert"), "--task", "classify", "--train", str(files / "train.tsv"), "--dev",
             str(files / "dev.tsv"), "-o", str(files / "tuned"), "--epochs", "6", *FAST]
    assert main(words) == 0
    return files / "tuned"


def test_a_table_becomes_a_model_that_is_evaluated_alike(files: Path, tuned: Path,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, "evaluate", tuned, "--data", files / "dev.tsv", "--threads", 1)
    results = read_json(tuned / "config.json")["results"]
    assert found["accuracy"] == results["metrics"]["accuracy"] > 0.7
    assert found["examples"] == 12
    assert read_json(tuned / "evaluation.json")["accuracy"] == found["accuracy"]


def test_predictions_of_lines_and_of_a_table_are_the_same(files: Path, tuned: Path, tmp_path: Path,
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lines.txt").write_text("\n".join(text for text, _ in ROWS[48:]))
    lines = said(capsys, "predict", tuned, tmp_path / "lines.txt", "--threads", 1)["predictions"]
    table = said(capsys, "predict", tuned, files / "dev.tsv", "--threads", 1)["predictions"]
    assert lines == table
    assert lines[0]["text"] == ROWS[48][0]
    assert lines[0]["probability"] == max(lines[0]["probabilities"].values())
    assert main(["predict", str(tuned), str(tmp_path / "lines.txt"), "--threads", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["label", "probability", "text"]


def test_the_same_command_finds_the_run_done(files: Path, tuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["finetune", str(files / "bert"), "--task", "classify", "--train", str(files / "train.tsv"), "--dev",
             str(files / "dev.tsv"), "-o", str(tuned), "--epochs", "6", *FAST]
    assert main(words) == 0
    assert "is done" in capsys.readouterr().err
    assert main([*words[:-1], "dtype=bfloat16"]) == 2
    assert "dtype must be float32 as in the run" in capsys.readouterr().err


@pytest.mark.parametrize(("task", "ending"), [("pair", "-pairs.csv"), ("tag", ".conll")])
def test_other_tasks_go_the_same_way(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str,
                                     ending: str) -> None:
    train, dev, out = files / f"train{ending}", files / f"dev{ending}", tmp_path / "out"
    found = said(capsys, "finetune", files / "bert", "--task", task, "--train", train, "--dev", dev, "-o", out,
                 "--epochs", 2, *FAST)
    assert found["epochs"][1]["loss"] < found["epochs"][0]["loss"]
    again = said(capsys, "evaluate", out, "--data", dev, "--threads", 1)
    assert again["accuracy"] == found["metrics"]["accuracy"]
    predicted = said(capsys, "predict", out, dev, "--threads", 1)["predictions"]
    assert len(predicted) == 12
    assert ("tags" in predicted[0]) == (task == "tag")


def test_without_dev_a_part_is_held_out_and_several_seeds_are_told(files: Path, tmp_path: Path,
                                                                   capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", str(files / "bert"), "--task", "classify", "--train", str(files / "train.tsv"), "-o",
                 str(tmp_path / "out"), "--steps", "4", "--seeds", "2", "--freeze", "0", *FAST]) == 0
    out, err = capsys.readouterr()
    assert "were held out" in err
    assert "accuracy by seed" in out


def test_too_few_examples_to_judge_are_told_as_such(files: Path, tmp_path: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "few.tsv").write_text("text\tlabel\nshe loves it\tgood\nshe hates it\tbad\n")
    assert main(["finetune", str(files / "bert"), "--task", "classify", "--train", str(tmp_path / "few.tsv"), "-o",
                 str(tmp_path / "out"), "--steps", "2", "--seeds", "2", *FAST]) == 0
    out, err = capsys.readouterr()
    assert "unjudged" in err
    assert "best" not in out
    assert "last epoch, unjudged" in (tmp_path / "out" / "README.md").read_text()


def test_many_metrics_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("exact_match", "f1", "has_answer_exact_match", "has_answer_f1", "no_answer_accuracy", "best_threshold")
    results = {"epoch": 2, "step": 9, "seconds": 1.0, "dev_examples": 7, "seeds": [{}]}
    _tell(argparse.Namespace(output="runs/answers", json=False), {**results, "metrics": dict.fromkeys(names, 0.5)})
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) < 60
    assert "no answer accuracy      0.5000" in lines


def test_of_many_labels_the_f1_is_the_macro_mean(files: Path, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "three.tsv").write_text("text\tlabel\nit is\ta\nit was\tb\nit will be\tc\n")
    assert main(["finetune", str(files / "bert"), "--task", "classify", "--train", str(tmp_path / "three.tsv"), "-o",
                 str(tmp_path / "out"), "--metric", "f1", *FAST]) == 2
    assert "--metric must be accuracy | macro_f1 | matthews for this task" in capsys.readouterr().err


WRONG = {
    "pair": ["--task", "pair", "--train", "train.tsv"],
    "--metric must be accuracy": ["--task", "classify", "--train", "train.tsv", "--metric", "bleu"],
    "--from-text must go with --task embed": ["--task", "classify", "--train", "train.tsv", "--from-text", "twins"],
    "freeze must be 0..1": ["--task", "classify", "--train", "train.tsv", "--freeze", "7"],
    "--gradual must be left out for --task embed": ["--task", "embed", "--train", "train.tsv", "--gradual"],
    "--freeze must be left out for --probe": ["--task", "classify", "--train", "train.tsv", "--probe", "--freeze", "0"],
    "--epochs must be left out for --probe": ["--task", "tag", "--train", "train.conll", "--probe", "--epochs", "2"],
    "--length must be left out for --probe": ["--task", "classify", "--train", "train.tsv", "--probe", "--length", "9"],
    "--metric must be left out for --probe": ["--task", "classify", "--train", "train.tsv", "--probe", "--metric",
                                              "matthews"],
    "--seeds must be left out for --probe": ["--task", "classify", "--train", "train.tsv", "--probe", "--seeds", "2"],
    "--gradual must be left out for --probe": ["--task", "classify", "--train", "train.tsv", "--probe", "--gradual"],
    "--set must be left out for --probe, got dropout=0": ["--task", "classify", "--train", "train.tsv", "--probe",
                                                          "--set", "dropout=0"],
    "--set stride must go with --task span, got --task tag": ["--task", "tag", "--train", "train.conll", "--set",
                                                              "stride=9"],
    "--set question must go with --task span, got --task embed": ["--task", "embed", "--train", "train.tsv", "--set",
                                                                  "question=9"],
    "longest must be at least 1, got 0": ["--task", "span", "--train", "train.json", "--set", "longest=0"],
    "best must be a whole number, got 'all'": ["--task", "span", "--train", "train.json", "--set", "best=all"],
    "column": ["--task", "classify", "--train", "train.tsv", "--columns", "text=nothing,label=label"],
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_use_is_one_line_and_leaves_nothing(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                  message: str) -> None:
    words = [str(files / word) if word.startswith("train") else word for word in WRONG[message]]
    assert main(["finetune", str(files / "bert"), "-o", str(tmp_path / "out"), *words, "--threads", "1"]) == 2
    err = capsys.readouterr().err
    assert message in err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_model_without_a_task_predicts_nothing(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(files / "bert"), "-"]) == 2
    assert "fine-tuned" in capsys.readouterr().err


def test_the_example_in_python_runs(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).parents[2] / "examples" / "finetune.py"
    words = [str(path), str(files / "bert"), str(files / "train.tsv"), str(files / "dev.tsv"), str(tmp_path / "out"),
             "she likes the river"]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(path), run_name="__main__")
    assert "she likes the river" in capsys.readouterr().out.splitlines()[-1]
