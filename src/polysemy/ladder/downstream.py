"""What each rung is worth for a task with labels: fine-tuned within a share of its budget, or learned by counting.

Bodies, and word vectors averaged over a text, are fine-tuned as `polysemy finetune` does it; the table of rungs names
for each the function that learns. Counting learns too: an n-gram model a class under Bayes' rule. Two controls stand
beside them: always the most frequent label, and fastText's classifier, which knows the labeled texts alone. Whoever
pretrains has to beat it.
"""
from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from polysemy.artifact import read_json
from polysemy.evaluation.bootstrap import compare_values, interval, resampled
from polysemy.evaluation.task_metrics import class_scores
from polysemy.ladder.builders import Built, Work
from polysemy.ladder.class_ngram import ClassNgrams
from polysemy.ladder.labels import Labels, labels_of, texts_of
from polysemy.ladder.rungs import CLASSIFIER, Rung
from polysemy.models import load_run, resolve

SHARE = 0.25
"""of a rung's minutes, for learning the labels"""
METRIC = "accuracy"
CLASSIFIER_SETTINGS = {"epochs": "10", "learning_rate": "0.5", "word_ngrams": "2", "size": "50", "buckets": "500000"}


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What a rung says of the texts it is judged by, and what learning took."""

    answers: list[str]
    seconds: float
    how: str
    counts: bool = False
    """learned by counting: what pretraining has to beat"""
    earlier: float = 0.0
    """processor seconds that were spent when the rung was built"""
    settings: dict[str, Any] = field(default_factory=dict)


Learn = Callable[[Work, Rung, Path, Path], Learned]
"""(work, rung, its run folder, new folder for what is made of it)"""


def learn_labels(work: Work, rung: Rung, run: Path, out: Path) -> dict[str, Any]:
    """Plain values: score (accuracy), interval, metrics, seconds, how it was done, `right` (0 or 1) of each text."""
    labels = labels_in(work)
    learn: Learn = resolve(rung.learn)
    start, clock = time.perf_counter(), time.process_time()
    learned = learn(work, rung, run, out)
    spent = {"seconds": learned.seconds, "wall_seconds": time.perf_counter() - start,
             "cpu_seconds": time.process_time() - clock + learned.earlier}
    gold = labels_of(labels.test)
    right = np.array([a == b for a, b in zip(learned.answers, gold, strict=True)], np.float64)
    draws = resampled(right, np.zeros(len(right), np.int64), np.arange(len(right)), seed=work.seed)[:, 0]
    return {"score": float(right.mean()), "interval": interval(draws), "how": learned.how, "counts": learned.counts,
            "metrics": class_scores(learned.answers, gold, labels.task.labels), **spent, "settings": learned.settings,
            "right": right.astype(int).tolist()}


def compare_learned(first: Mapping[str, Any], second: Mapping[str, Any], seed: int = 0) -> dict[str, Any]:
    """Paired difference first - second over the same texts, its interval, and better, worse or tie."""
    a, b = (np.array(one["right"], np.float64) for one in (first, second))
    found = compare_values(a, b, np.zeros(len(a), np.int64), np.arange(len(a)), seed=seed)
    return {**found, "verdict": {"higher": "better", "lower": "worse", "tie": "tie"}[found["verdict"]]}


def labels_in(work: Work) -> Labels:
    """The task of a ladder that has one."""
    assert work.labels is not None
    return work.labels


# ways to learn: the table of rungs names one for each


def majority(work: Work, rung: Rung, run: Path, out: Path) -> Learned:
    """Always the label that is most frequent in training."""
    labels = labels_in(work)
    counts = Counter(labels_of(labels.train))
    most = max(labels.task.labels, key=lambda label: counts[label])
    return Learned(answers=[most] * len(labels.test), seconds=0.0, how="always the most frequent label")


def count_classes(work: Work, rung: Rung, run: Path, out: Path) -> Learned:
    """An n-gram model a class: order 2 for the control of neighbors, else 3."""
    labels, order = labels_in(work), 2 if rung.kind == "control" else 3
    start = time.process_time()
    model = ClassNgrams(texts_of(labels.train), labels_of(labels.train), order=order, unit=work.unit)
    seconds = time.process_time() - start
    return Learned(answers=model.predict(texts_of(labels.test)), seconds=seconds, counts=True,
                   how=f"{order}-grams of each label's texts, Bayes' rule", settings={"n-grams": model.ngrams})


def ask_classifier(work: Work, rung: Rung, run: Path, out: Path) -> Learned:
    """fastText's classifier, which is trained when it is built."""
    model, labels = load_run(run), labels_in(work)
    found = model.predict_many(texts_of(labels.test))
    seconds = float(read_json(run / "config.json")["results"]["seconds"])
    return Learned(answers=[row[0][0] for row in found], counts=True, seconds=seconds, earlier=seconds,
                   how="words and pairs of words, from the labels alone")


def fine_tune(work: Work, rung: Rung, run: Path, out: Path) -> Learned:
    """The run's body with a new head on it, all weights learned."""
    return _fine_tuned(work, run, out, "vectors of its words averaged, fine-tuned" if _is_static(run)
                       else "fine-tuned")


def fine_tune_random(work: Work, rung: Rung, run: Path, out: Path) -> Learned:
    """The body as it is before the first step, learning from the labels alone."""
    from polysemy.ladder.builders import draw_weights
    from polysemy.models.pretrained import write_run

    if not (run / "config.json").is_file():
        model = draw_weights(work, rung, run).model
        write_run(run, model.model, model.tokenizer, model.config, overwrite=True)
    return _fine_tuned(work, run, out, "never pretrained, only fine-tuned")


def build_classifier(work: Work, rung: Rung, folder: Path) -> Built:
    """Train fastText's classifier on the labels within its share of the budget."""
    from polysemy.config import with_settings
    from polysemy.models.fasttext.config import FasttextConfig
    from polysemy.models.fasttext.labels import LabeledText
    from polysemy.training.budget import Budget
    from polysemy.training.words import train_words

    labels = labels_in(work)
    config: Any = with_settings(FasttextConfig(task="classify"), CLASSIFIER_SETTINGS)
    config = config.replace(words=config.words.replace(unit=work.unit))
    data = LabeledText(texts_of(labels.train), [(label,) for label in labels_of(labels.train)])
    if not (folder / "config.json").is_file():
        train_words(config, data, folder, budget=Budget(minutes=SHARE * work.minutes, clock=work.clock),
                    seed=work.seed, held_out=False)
    record = read_json(folder / "config.json")["results"]
    return Built(model=load_run(folder), seconds=float(record["seconds"]), folder=folder,
                 bytes=_bytes(folder), parameters=record["parameters"], settings=dict(CLASSIFIER_SETTINGS))


def _fine_tuned(work: Work, run: Path, out: Path, how: str) -> Learned:
    """Fine-tune what is in `run` into `out`, or take what was finished there; judge by texts that chose nothing."""
    from polysemy.evaluation.judged_tuning import judged_tuning

    labels = labels_in(work)
    found = judged_tuning(run, labels.task, (labels.train, labels.choose), out, minutes=SHARE * work.minutes,
                          seed=work.seed, device=work.device)
    model = load_run(out)
    answers = [one.label for one in model.to(work.device).predict_examples(labels.test)]
    settings = {name: found[name] for name in ("epoch", "step", "tokens", "score")}
    return Learned(answers=answers, seconds=float(found["seconds"]), how=f"{how}, {len(found['epochs'])} epochs",
                   settings=settings)


def _is_static(run: Path) -> bool:
    from polysemy.models import RECIPES

    return bool(RECIPES[read_json(run / "config.json")["recipe"]].fit)


def _bytes(folder: Path) -> int:
    from polysemy.evaluation.speed import bytes_on_disk

    return bytes_on_disk(folder)


def classifier_rung(labels: Labels) -> Rung:
    """The control's row, with a folder of its own for each task."""
    return replace(CLASSIFIER, name=f"{CLASSIFIER.name} {labels.fingerprint[:6]}", shown=CLASSIFIER.name)
