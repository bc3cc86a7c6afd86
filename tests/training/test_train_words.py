"""A whole run of a recipe of counts or word vectors: what it leaves, what it refuses, how it stops."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import polysemy
from polysemy.artifact import read_folder
from polysemy.errors import InputError
from polysemy.models.word2vec.config import Word2VecConfig
from polysemy.runtime import random_for
from polysemy.text.corpus import Corpus, text_documents
from polysemy.training.budget import Budget
from polysemy.training.outcome import InterruptError
from polysemy.training.words import Pass, train_words

CONFIG = Word2VecConfig(size=16, min_count=1, epochs=2, algorithm="plain", subsample=0.0)
TEXTS = [f"the bank of river {i % 7} was green and the boat number {i % 5} lay there" for i in range(60)]


def test_a_run_folder_has_all_that_is_needed_and_loads(tmp_path: Path) -> None:
    seen: list[Pass] = []
    folder = train_words(CONFIG, text_documents(TEXTS), tmp_path / "run", seed=3, threads=1, progress=seen.append)
    record = read_folder(folder).config
    assert record["recipe"] == "word2vec"
    assert record["results"]["parameters"] == 2 * 16 * record["text"]["vocabulary"]
    assert record["text"]["words"] < 15 * len(TEXTS)  # some of it is held out
    assert {path.name for path in folder.iterdir()} == {"config.json", "metrics.jsonl", "README.md",
                                                         "model.safetensors", "vocabulary.tsv", "vocabulary.json"}
    assert (folder / "README.md").read_text().startswith("# word2vec")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert {"step", "seconds", "tokens", "loss"} <= rows[-1].keys()
    assert polysemy.load(folder)["bank"].shape == (16,)


def test_the_same_run_is_left_as_it_is_and_another_is_refused(tmp_path: Path) -> None:
    folder = train_words(CONFIG, text_documents(TEXTS), tmp_path / "run", threads=1)
    before = (folder / "config.json").stat().st_mtime_ns
    train_words(CONFIG, text_documents(TEXTS), folder, threads=1)
    assert (folder / "config.json").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="output folder must be new, empty or hold this very run"):
        train_words(CONFIG.replace(size=8), text_documents(TEXTS), folder, threads=1)


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "run" / ".work-old").mkdir(parents=True)
    (tmp_path / "run" / ".work-old" / "model.safetensors").write_bytes(b"half")
    (tmp_path / "run" / ".work-old" / ".text-old").mkdir()
    (tmp_path / "run" / ".work-old" / ".text-old" / "words.int32").write_bytes(b"half")
    folder = train_words(CONFIG, text_documents(TEXTS), tmp_path / "run", threads=1)
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(("budget", "said"), [
    (Budget(steps=3), "budget must be minutes or epochs for word2vec, got 3 steps"),
    (Budget(tokens=3), "budget must be minutes or epochs"),
    (Budget(epochs=1.5), "budget.epochs must be a whole number for word2vec, got 1.5")])
def test_budgets_that_it_cannot_have_are_refused(budget: Budget, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        train_words(CONFIG, text_documents(TEXTS), tmp_path / "run", budget=budget)
    assert not (tmp_path / "run").exists()


def test_minutes_are_a_limit_beside_the_epochs(tmp_path: Path) -> None:
    short = train_words(CONFIG.replace(epochs=100_000), text_documents(TEXTS), tmp_path / "short", threads=1,
                        budget=Budget(minutes=0.01))
    assert read_folder(short).config["results"]["seconds"] < 20
    long = train_words(CONFIG, text_documents(TEXTS), tmp_path / "long", threads=1, budget=Budget(minutes=60))
    results = read_folder(long).config["results"]
    assert (results["seconds"] < 60, results["epochs"]) == (True, CONFIG.epochs)


def test_an_empty_text_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to train on"):
        train_words(CONFIG.replace(min_count=1000), text_documents(TEXTS), tmp_path / "run", threads=1)
    assert not (tmp_path / "run").exists()


def test_what_is_no_text_in_utf_8_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    for name, data in (("bytes", random_for("bytes").integers(1, 256, 30_000, np.uint8).tobytes()),
                       ("russian", "белый кот сидит на крыше дома\n\n".encode("cp1251") * 300)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=r"corpus must be UTF-8 text, got [\d,]+ invalid bytes among") as caught:
            train_words(CONFIG, Corpus([tmp_path / name]), tmp_path / "run", threads=1)
        assert "\n" not in str(caught.value)
        with pytest.raises(InputError, match="corpus must be UTF-8 text" if name == "bytes" else "must hold words"):
            train_words(CONFIG, Corpus([tmp_path / name]), tmp_path / "run", threads=1, held_out=False)
        assert not (tmp_path / "run").exists()
    lines = [f"un été dans la forêt {number} avec des amis venus de Paris" for number in range(99)]
    (tmp_path / "french").write_bytes("\n\n".join(lines).encode("latin-1"))  # few enough to be counted only
    folder = train_words(CONFIG, Corpus([tmp_path / "french"]), tmp_path / "run", threads=1)
    assert read_folder(folder).config["text"]["report"]["invalid"] > 100


def test_a_signal_keeps_what_was_learned(tmp_path: Path) -> None:
    shown = threading.Event()

    def interrupt(step: Pass) -> None:
        if not shown.is_set():
            shown.set()
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(InterruptError, match=r"stopped at .*; what was learned is in .*run") as caught:
        train_words(CONFIG.replace(epochs=100_000), text_documents(TEXTS), tmp_path / "run", threads=1,
                    progress=interrupt)
    assert caught.value.exit_code == 130
    assert read_folder(tmp_path / "run").config["results"]["stopped"]
    assert "bank" in polysemy.load(tmp_path / "run")
    shown.clear()
    with pytest.raises(InterruptError):  # the same command begins anew instead of taking it for done
        train_words(CONFIG.replace(epochs=100_000), text_documents(TEXTS), tmp_path / "run", threads=1,
                    progress=interrupt)


def test_no_torch_is_imported(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\n\n".join(TEXTS))
    script = ("import sys; from polysemy.cli.main import main; code = main(sys.argv[1:]); "
              "assert 'torch' not in sys.modules, 'torch was imported'; sys.exit(code)")
    settings = ["--set", "min_count=1", "--set", "size=8", "--set", "algorithm=plain", "--epochs", "1"]
    for command in (["train", "word2vec", "text.txt", "-o", "run", *settings], ["neighbors", "run", "bank"]):
        done = subprocess.run([sys.executable, "-c", script, *command], cwd=tmp_path, capture_output=True, text=True,
                              check=False)
        assert done.returncode == 0, done.stderr


def test_the_part_held_out_is_that_of_every_recipe(tmp_path: Path) -> None:
    from polysemy.text.portions import hold_out

    (tmp_path / "text.txt").write_text("\n\n".join(TEXTS))
    folder = train_words(CONFIG, Corpus([tmp_path / "text.txt"]), tmp_path / "run", threads=1)
    kept = sum(len(document.text.split()) for document in hold_out(Corpus([tmp_path / "text.txt"]))[0])
    assert read_folder(folder).config["text"]["words"] == kept
