"""Every way to fine-tune from the command line: what may be kept, probing, answers and scores, number formats."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tuning_files import FAST, ROWS, said, write_files

import polysemy
from polysemy.artifact import load_tensors, read_json
from polysemy.cli.main import main
from polysemy.models import engine

STILL = ["--learning-rate", "1e-12", "--steps", "1"]
QKV, TABLE = "body.transformer.attention.0.inner.qkv.weight", "body.embedding.token.weight"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def tuned(files: Path) -> Path:
    words = ["finetune", files / "bert", "--task", "classify", "--train", files / "train.tsv", "--dev",
             files / "dev.tsv", "-o", files / "tuned", "--epochs", 4, *FAST]
    assert main([str(word) for word in words]) == 0
    return files / "tuned"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_tensors(folder / "model.safetensors")


def trained(files: Path, out: Path, *words: str) -> dict[str, torch.Tensor]:
    """The weights that a command leaves; later flags win."""
    start = ["finetune", str(files / "bert"), "--task", "classify", "--train", str(files / "train.tsv"), "--dev",
             str(files / "dev.tsv"), "-o", str(out), *FAST]
    assert main([*start, *words]) == 0
    return weights(out)


# what may be kept


def test_gradual_lets_the_head_learn_alone_in_the_first_epoch(files: Path, tmp_path: Path,
                                                              capsys: pytest.CaptureFixture[str]) -> None:
    after, before = trained(files, tmp_path / "run", "--gradual", "--epochs", "1"), weights(files / "bert")
    assert torch.equal(after[QKV], before[QKV])
    assert torch.equal(after[TABLE], before[TABLE])
    assert "gradual: the lowest weights would begin to learn in epoch 3" in capsys.readouterr().err


def test_layer_decay_slows_what_lies_deep(files: Path, tmp_path: Path) -> None:
    after, before = trained(files, tmp_path / "run", "--layer-decay", "1e-3", "--epochs", "1"), weights(files / "bert")
    moved = {name: float((after[name] - before[name]).abs().max()) for name in (QKV, TABLE)}
    assert 0 < moved[TABLE] < moved[QKV] / 10 < 1e-4


@pytest.mark.parametrize("words", [["--reinit", "1"], ["--reuse-layers", "0"]])
def test_layers_may_begin_anew(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
                               ) -> None:
    after, before = trained(files, tmp_path / "run", *words, *STILL), weights(files / "bert")
    assert not torch.allclose(after[QKV], before[QKV], atol=1e-2)
    assert torch.allclose(after[TABLE], before[TABLE], atol=1e-6)
    assert "tensors of the body begin with random weights" in capsys.readouterr().err


def test_patience_ends_a_run_that_grows_no_better(files: Path, tmp_path: Path) -> None:
    trained(files, tmp_path / "run", "--patience", "2", "--epochs", "9", "--learning-rate", "1e-12")
    assert len(read_json(tmp_path / "run" / "config.json")["results"]["epochs"]) == 3


def test_balanced_classes_count_alike(files: Path, tmp_path: Path) -> None:
    """The loss is the mean of both classes' means, where one has three times the rows of the other."""
    rows = [row for i, row in enumerate(ROWS[:48]) if row[1] == "good" or i % 3 == 0]
    (tmp_path / "few.tsv").write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
    losses = {}
    for choice in ("none", "balanced"):
        trained(files, tmp_path / choice, "--train", str(tmp_path / "few.tsv"), "--class-weights", choice,
                "--batch-size", str(len(rows)), "--set", "dropout=0", *STILL)
        losses[choice] = read_json(tmp_path / choice / "config.json")["results"]["loss"]
    model = polysemy.load(tmp_path / "none")
    found = model.predict([text for text, _ in rows])
    own = torch.tensor([[-torch.log(torch.tensor(one.probabilities[label])), label == "good"]
                        for one, (_, label) in zip(found, rows, strict=True)])
    classes = [own[own[:, 1] == kind, 0].mean() for kind in (0, 1)]
    for choice, wanted in (("none", own[:, 0].mean()), ("balanced", sum(classes) / 2)):
        assert losses[choice] == pytest.approx(float(wanted), abs=0.06)  # the dropout of the head is in it
    assert losses["balanced"] - losses["none"] > 0.2


@pytest.mark.parametrize(("making", "told"), [("twins", "3 twins of 3 texts"),
                                              ("adjacent", "2 adjacent sentences of 3 texts")])
def test_vectors_are_learned_from_plain_text(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                             making: str, told: str) -> None:
    (tmp_path / "text.txt").write_text("She loves the river. She hates the bank now. She likes the old house.\n")
    assert main(["finetune", str(files / "bert"), "--task", "embed", "--train", str(tmp_path / "text.txt"), "-o",
                 str(tmp_path / "run"), "--from-text", making, "--epochs", "1", "--threads", "1", "--set",
                 "dtype=float32", "--set", "dropout=0.1"]) == 0
    assert told in capsys.readouterr().err
    assert polysemy.load(tmp_path / "run").embed(["she loves the river"]).shape == (1, 32)


# probing


def test_a_probe_scores_every_layer_and_draws_it(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                                 ) -> None:
    found = said(capsys, "finetune", files / "bert", "--task", "classify", "--train", files / "train.tsv", "--dev",
                 files / "dev.tsv", "-o", tmp_path / "probe", "--probe", "--threads", 1)
    assert [row["layer"] for row in found["layers"]] == [0, 1]
    assert found["controls"]["majority"]["matthews"] == 0
    assert (found["train"], found["dev"]) == (48, 12)
    assert (tmp_path / "probe" / "probe.json").is_file()
    assert (tmp_path / "probe" / "layers.png").stat().st_size > 5000
    assert not (tmp_path / "probe" / "config.json").exists()


# answers and scores


def test_answers_are_looked_for_in_windows_as_it_was_asked(files: Path, tmp_path: Path,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    words = ["finetune", files / "bert", "--task", "span", "--train", files / "train.json", "--dev", files / "dev.json",
             "-o", tmp_path / "run", "--epochs", "2", *FAST, "--set", "longest=3", "--set", "best=5", "--set",
             "question=4"]
    found = said(capsys, *words, "--set", "stride=12")
    task = read_json(tmp_path / "run" / "config.json")["task"]
    assert {name: task[name] for name in ("stride", "longest", "best", "question")} == {
        "stride": 12, "longest": 3, "best": 5, "question": 4}
    model = polysemy.load(tmp_path / "run")
    from polysemy.text.labeled import read_examples

    rows = model.rows_of(read_examples(files / "dev.json", "span"))
    assert rows.windows.queries.tolist() == [4] * 12
    assert rows.windows.first_tokens[:3].tolist() == [0, 12, 24]
    assert found["epochs"][1]["loss"] < found["epochs"][0]["loss"]
    judged = said(capsys, "evaluate", tmp_path / "run", "--data", files / "dev.json", "--threads", 1)
    assert judged["f1"] == found["metrics"]["f1"]
    answers = said(capsys, "predict", tmp_path / "run", files / "dev.json", "--threads", 1)["predictions"]
    context = ". ".join(text for text, _ in ROWS[48:]) + "."
    for one in answers:
        assert context[one["answer"]["start"]:one["answer"]["stop"]] == one["answer"]["text"] != ""
    assert main([str(word) for word in words] + ["--set", "stride=13"]) == 2
    assert "stride must be 12 as in the run" in capsys.readouterr().err


def test_scores_are_learned_and_told(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, "finetune", files / "bert", "--task", "regress", "--train", files / "train-scores.tsv",
                 "--dev", files / "dev-scores.tsv", "-o", tmp_path / "run", "--epochs", "6", *FAST)
    assert found["metrics"]["pearson"] > 0.5
    predicted = said(capsys, "predict", tmp_path / "run", files / "dev-scores.tsv", "--threads", 1)["predictions"]
    good, bad = ([one["value"] for one, (_, label) in zip(predicted, ROWS[48:], strict=True) if label == kind]
                 for kind in ("good", "bad"))
    assert sum(good) / len(good) > sum(bad) / len(bad)
    assert main(["predict", str(tmp_path / "run"), str(files / "dev-scores.tsv"), "--threads", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["value", "text"]


# number formats


@pytest.mark.parametrize(("dtype", "bound"), [("auto", 1e-4), ("int16", 1e-4), ("int8", 0.05), ("bfloat16", 0.05)])
def test_another_number_format_moves_probabilities_by_less_than_its_bound(
        files: Path, tuned: Path, capsys: pytest.CaptureFixture[str], dtype: str, bound: float) -> None:
    if dtype.startswith("int") and not (engine.fits(polysemy.load(tuned).model.body) and engine.multiplies(dtype)):
        pytest.skip("no whole-number instructions here")
    exact, fast = (said(capsys, "predict", tuned, files / "train.tsv", "--threads", 1, "--dtype", name)["predictions"]
                   for name in ("float32", dtype))
    drift = max(abs(a["probabilities"]["good"] - b["probabilities"]["good"]) for a, b in zip(exact, fast, strict=True))
    assert drift < bound
    if dtype != "auto":  # with so little to read it may be left to torch
        assert drift > 0
    for a, b in zip(exact, fast, strict=True):
        assert a["label"] == b["label"] or a["probability"] < 0.5 + bound


def test_scores_are_told_of_float32_unless_asked_otherwise(files: Path, tuned: Path, monkeypatch: pytest.MonkeyPatch,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    given: list[str] = []
    monkeypatch.setattr(engine, "choose_form", lambda body, form: given.append(form))
    lines = files / "pair.tsv"
    lines.write_text("she loves it\tshe hates it\n")
    for words in (["evaluate", tuned, "--data", files / "dev.tsv"], ["predict", tuned, files / "dev.tsv"],
                  ["similarity", files / "bert", "--file", lines]):
        for more in ([], ["--dtype", "int8"]):
            said(capsys, *words, *more, "--threads", 1, "--device", "cpu")
    assert given == ["float32", "int8", "auto", "int8", "auto", "int8"]
