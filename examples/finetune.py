"""Teach a trained model a task from labeled examples, and ask it.

    python examples/finetune.py runs/bert train.tsv dev.tsv runs/sentiment "a fine film"

The tables have a text and a label in each row; columns are guessed and told.
"""
from __future__ import annotations

import sys

import polysemy
from polysemy.evaluation.task_metrics import headline, task_metrics
from polysemy.text.labeled import read_examples
from polysemy.training.fine_tuning_config import FineTuningConfig
from polysemy.training.fine_tuning_run import Judge
from polysemy.training.fine_tuning_start import task_for
from polysemy.training.finetune import finetune


def main(start: str, train_file: str, dev_file: str, out: str, *texts: str) -> None:
    train, dev = read_examples(train_file, "classify"), read_examples(dev_file, "classify")
    task = task_for("classify", train, dev)
    config = FineTuningConfig(epochs=3, layer_decay=0.9)
    results = finetune(start, task, train, dev, out, config, judge=Judge(task_metrics, headline(task)), tell=print)
    print(f"best epoch {results['epoch']}: accuracy {results['score']:.3f}")
    for text, found in zip(texts, polysemy.load(out).predict(texts), strict=True):
        print(f"{found.label}  {found.probability:.2f}  {text}")


if __name__ == "__main__":
    main(*sys.argv[1:])
