"""A tiny untrained BERT and labeled files of every kind, for tests of the commands that fine-tune."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polysemy.cli.main import main
from polysemy.models import bert
from polysemy.models.pretrained import PretrainingModel, write_run
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

THINGS = ("river", "bank", "house", "garden", "street", "window", "teacher", "doctor", "winter", "summer")
VERBS = {"good": ("loves", "likes", "enjoys"), "bad": ("hates", "dislikes", "despises")}
ROWS = [(f"she {verb} the {thing}", label) for thing in THINGS for label, verbs in VERBS.items() for verb in verbs]
FAST = ["--threads", "1", "--device", "cpu", "--learning-rate", "3e-3", "--batch-size", "8", "--set", "dtype=float32"]


def write_files(folder: Path) -> Path:
    """`bert` and tables of texts, pairs, scores, tagged words and questions, each for train and dev."""
    texts = [text for text, _ in ROWS]
    tokenizer = Tokenizer.train(texts, TokenizerConfig(kind="wordpiece", vocab_size=340, min_frequency=1))
    config = bert.configure("tiny", "paper")
    config = config.replace(model=config.model.replace(
        embedding=config.model.embedding.replace(vocab_size=tokenizer.vocab_size),
        transformer=config.model.transformer.replace(
            initializer="xavier", hidden_size=32, num_heads=2, intermediate_size=48, num_layers=1)),
        training=config.training.replace(length=48))
    write_run(folder / "bert", PretrainingModel(config.model, config.heads, seed=1), tokenizer, config)
    for name, rows in (("train", ROWS[:48]), ("dev", ROWS[48:])):
        (folder / f"{name}.tsv").write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
        (folder / f"{name}.conll").write_text("\n".join(
            "".join(f"{word}\t{'B-' + label if word in VERBS[label] else 'O'}\n" for word in text.split())
            for text, label in rows))
        (folder / f"{name}-pairs.csv").write_text("sentence1,sentence2,label\n" + "".join(
            f"{text},she knows it,{label}\n" for text, label in rows))
        (folder / f"{name}-scores.tsv").write_text("sentence\tscore\n" + "".join(
            f"{text}\t{4.5 if label == 'good' else 0.5}\n" for text, label in rows))
        (folder / f"{name}.json").write_text(json.dumps({"data": [{"paragraphs": [
            _paragraph(number, [text for text, _ in rows[number:number + 12]])
            for number in range(0, len(rows), 12)]}]}))
    return folder


def _paragraph(number: int, texts: list[str]) -> dict[str, Any]:
    """Twelve sentences, each of which tells what is felt about a thing: a verb is the answer."""
    context = ". ".join(texts) + "."
    asked = [{"id": f"{number}-{i}", "question": f"she what the {text.split()[-1]}?",
              "answers": [{"text": text.split()[1], "answer_start": context.index(text) + 4}]}
             for i, text in enumerate(texts)]
    return {"context": context, "qas": asked}


def said(capsys: pytest.CaptureFixture[str], *words: Any) -> dict[str, Any]:
    """The JSON that a command printed."""
    capsys.readouterr()
    assert main([str(word) for word in words] + ["--json"]) == 0
    return json.loads(capsys.readouterr().out)
