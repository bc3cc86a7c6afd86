"""The commands on sentence vectors: finetune --task embed, similarity, embed, evaluate, convert."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from polysemy.cli.main import main
from polysemy.models import bert
from polysemy.models.pretrained import PretrainingModel, write_run
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

TEXTS = [f"{who} {verb} the {what}" for who in ("she", "he") for verb in ("loves", "likes", "hates")
         for what in ("river", "bank", "garden", "house")]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("start") / "bert"
    tokenizer = Tokenizer.train(TEXTS, TokenizerConfig(kind="wordpiece", vocab_size=300, min_frequency=1))
    config = bert.configure("tiny", "paper")
    sizes = {"hidden_size": 16, "num_heads": 2, "intermediate_size": 24, "num_layers": 1}
    config = config.replace(model=config.model.replace(
        embedding=config.model.embedding.replace(vocab_size=tokenizer.vocab_size),
        transformer=config.model.transformer.replace(**sizes)), training=config.training.replace(length=32))
    write_run(folder, PretrainingModel(config.model, config.heads, seed=1), tokenizer, config)
    return str(folder)


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_from_pairs_to_vectors_and_to_another_library(start: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                                      ) -> None:
    rows = [(text, text.replace("loves", "likes"), 5 if "loves" in text else 0 if "hates" in text else 3)
            for text in TEXTS]
    scored = tmp_path / "scored.tsv"
    scored.write_text("sentence1\tsentence2\tscore\n" + "".join(f"{a}\t{b}\t{c}\n" for a, b, c in rows))
    run = str(tmp_path / "run")
    words = ["finetune", start, "--task", "embed", "--train", str(scored), "--dev", str(scored), "-o", run, "--epochs",
             "2", "--set", "prefixes=4,8", "--set", "dtype=float32", "--threads", "1", "--json"]
    results = json.loads(printed(words, capsys))
    assert results["output"] == run
    assert {"spearman", "pearson"} <= results["scores"].keys()
    cosine = float(printed(["similarity", run, "she loves the river", "he hates the bank"], capsys))
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("she loves the river\the hates the bank\nshe loves the river\tshe loves the river\n")
    found = json.loads(printed(["similarity", run, "--file", str(pairs), "--json"], capsys))["pairs"]
    assert [pair["cosine"] for pair in found] == pytest.approx([cosine, 1.0], abs=1e-4)
    named = json.loads(printed(["similarity", run, "--file", str(scored), "--json"], capsys))["pairs"]
    assert [pair["texts"] for pair in named] == [[a, b] for a, b, _ in rows]
    judged = json.loads(printed(["evaluate", run, "--data", str(scored), "--json"], capsys))
    assert judged["spearman"] == pytest.approx(results["scores"]["spearman"], abs=1e-6)
    assert len(judged["interval"]) == 2
    printed(["embed", run, str(pairs), "-o", str(tmp_path / "v.npy"), "--dimensions", "8"], capsys)
    vectors = np.load(tmp_path / "v.npy")
    assert vectors.shape == (2, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    printed(["convert", run, str(tmp_path / "st"), "--to", "sentence-transformers"], capsys)
    printed(["convert", str(tmp_path / "st"), str(tmp_path / "back"), "--from", "sentence-transformers"], capsys)
    again = float(printed(["similarity", str(tmp_path / "back"), "she loves the river", "he hates the bank"], capsys))
    assert again == pytest.approx(cosine, abs=1e-4)


@pytest.mark.parametrize(("words", "message"), [
    (["similarity", "RUN", "one text"], "got 1 words"),
    (["similarity", "RUN", "a", "b", "--file", "x"], "similarity must have two texts, --file or --pairs"),
    (["similarity", "RUN", "--file", "BAD"], "bad.tsv, line 2 must have a text, got an empty one (pair)"),
    (["similarity", "RUN", "--file", "TEXT"], "each line must be text TAB text with --file, got line 1 of"),
    (["embed", "RUN", "BAD", "--dimensions", "99"], "dimensions must be in 1..16, got 99"),
    (["embed", "RUN", "BAD", "--dimensions", "2", "--pooling", "word"], "--dimensions must go with one vector a text"),
    (["finetune", "RUN", "--task", "embed", "--train", "BAD", "-o", "NEW", "--set", "loss=cosent"],
     "loss cosent must be learned from pairs with scores"),
    (["finetune", "RUN", "--task", "embed", "--train", "TEXT", "-o", "NEW", "--set", "dropout=0"],
     "dropout must be above 0 to learn from twins"),
    (["finetune", "RUN", "--task", "embed", "--train", "TEXT", "-o", "NEW", "--set", "prefixs=4"],
     "did you mean 'prefixes'?")])
def test_bad_wishes_are_one_line(start: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str],
                                 message: str) -> None:
    (tmp_path / "bad.tsv").write_text("a cat\ta feline\nno second text\t \n" if "loss=cosent" not in words
                                      else "a cat\ta feline\nthe rain\tthe wet weather\n")
    (tmp_path / "text.txt").write_text("She loves the green river. He hates the old bank. They like the garden.\n")
    names = {"RUN": start, "BAD": str(tmp_path / "bad.tsv"), "NEW": str(tmp_path / "new"),
             "TEXT": str(tmp_path / "text.txt")}
    assert main([names.get(word, word) for word in words]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error
    assert not (tmp_path / "new" / "config.json").exists()
