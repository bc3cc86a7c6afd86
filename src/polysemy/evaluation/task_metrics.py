"""What a fine-tuned model is worth: the field's metrics for each kind of task, from its predictions and the examples.

Classification has accuracy, F1 and Matthews' correlation (scikit-learn), regression Pearson's and Spearman's
correlation (scipy), tagging strict entity F1 (seqeval) and accuracy, questions exact match and F1 (SQuAD's formula).
All are in 0..1 or -1..1, not in percent.
"""
from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from polysemy.errors import InputError
from polysemy.evaluation.entity_metrics import entity_scores, has_entities
from polysemy.evaluation.span_metrics import answer_f1, best_threshold, span_scores

HEADLINES = {"Classify": "accuracy", "Regress": "spearman", "Tag": "f1", "Span": "f1", "Embed": "spearman"}


def headline(task: Any) -> str:
    """The metric by which epochs, seeds and models are ranked; of tags without entities it is the accuracy."""
    if _kind(task) == "Tag" and not has_entities(task.labels):
        return "accuracy"
    return HEADLINES[_kind(task)]


def task_metrics(task: Any, predictions: Sequence[Any], examples: Iterable[Any]) -> dict[str, Any]:
    """Plain values by name. A prediction belongs to the example at its place.

    classify: accuracy, f1 (with two labels only: that of the last, which counts as the positive one), macro_f1,
    matthews. regress: pearson, spearman (0 where either side is constant). tag: accuracy of words, and with
    entities precision, recall, f1. span: exact_match, f1, the same for questions with and without an answer, and where
    predictions know the score of no answer best_threshold and best_f1.

    Raises InputError when the counts differ or there are no examples.
    """
    rows = list(examples)
    if not rows or len(rows) != len(predictions):
        raise InputError(f"predictions must be one an example, got {len(predictions):,} for {len(rows):,} examples")
    return _METRICS[_kind(task)](task, predictions, rows)


def class_scores(found: Sequence[str], gold: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """{accuracy, f1 (of two labels), macro_f1, matthews} of labels; see `task_metrics`."""
    metrics = _sklearn()
    accuracy = float(np.mean([a == b for a, b in zip(found, gold, strict=True)]))
    gold, found, labels = [str(x) for x in gold], [str(x) for x in found], [str(x) for x in labels]
    with warnings.catch_warnings():  # of one class only: the values are right, zero
        warnings.simplefilter("ignore")
        macro = float(metrics.f1_score(gold, found, labels=labels, average="macro", zero_division=0))
        one = {}
        if len(labels) == 2:
            one["f1"] = float(metrics.f1_score(gold, found, labels=labels[-1:], average="macro", zero_division=0))
        matthews = float(metrics.matthews_corrcoef(gold, found))
    return {"accuracy": accuracy, **one, "macro_f1": macro, "matthews": matthews}


def correlations(found: Sequence[float], gold: Sequence[float]) -> dict[str, float]:
    """{pearson, spearman}, each in -1..1; 0 where one side is constant, which has no correlation."""
    from scipy.stats import pearsonr, spearmanr

    a, b = (np.asarray(values, np.float64) for values in (found, gold))
    if not np.isfinite(a).all():
        raise InputError("predicted scores must be finite numbers, got one that is not; train with a lower rate")
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return {"pearson": 0.0, "spearman": 0.0}
    with warnings.catch_warnings():  # nearly constant input
        warnings.simplefilter("ignore")
        found_by: Any = {"pearson": pearsonr(a, b), "spearman": spearmanr(a, b)}
    values = {name: float(one.statistic) for name, one in found_by.items()}
    return {name: value if math.isfinite(value) else 0.0 for name, value in values.items()}


def majority_metrics(task: Any, train: Iterable[Any], dev: Iterable[Any]) -> dict[str, Any]:
    """The metrics of always giving the most frequent answer of `train`: the floor that every model must leave.

    classify: its most frequent label (the first in the task's order of a tie); regress: its mean; tag: its most
    frequent tag; span: never an answer. No control of embeddings: an empty dict.
    """
    kind, rows, asked = _kind(task), list(train), list(dev)
    if kind == "Classify":
        counts = Counter(row.label for row in rows)
        most = max(task.labels, key=lambda label: counts[label])
        return class_scores([most] * len(asked), [row.label for row in asked], task.labels)
    if kind == "Regress":
        return correlations([0.0] * len(asked), [row.label for row in asked])
    if kind == "Tag":
        tags = Counter(tag for row in rows for tag in row.tags)
        most = max(task.labels, key=lambda label: tags[label])
        return _tags_of([[most] * len(row.tags) for row in asked], [row.tags for row in asked], task.labels)
    if kind == "Span":
        return span_scores([""] * len(asked), [_golds(row) for row in asked])
    return {}


def _classes(task: Any, predictions: Sequence[Any], rows: Sequence[Any]) -> dict[str, Any]:
    return class_scores([one.label for one in predictions], [row.label for row in rows], task.labels)


def _scores(task: Any, predictions: Sequence[Any], rows: Sequence[Any]) -> dict[str, Any]:
    return correlations([one.value for one in predictions], [row.label for row in rows])


def _tags(task: Any, predictions: Sequence[Any], rows: Sequence[Any]) -> dict[str, Any]:
    return _tags_of([one.tags for one in predictions], [row.tags for row in rows], task.labels)


def _tags_of(found: Sequence[Sequence[str]], gold: Sequence[Sequence[str]], labels: Sequence[str]) -> dict[str, Any]:
    for row, right in zip(found, gold, strict=True):
        if len(row) != len(right):
            raise InputError(f"predicted tags must be one a word, got {len(row)} for {len(right)} words")
    pairs = [(a, b) for row, right in zip(found, gold, strict=True) for a, b in zip(row, right, strict=True)]
    scores = {"accuracy": float(np.mean([a == b for a, b in pairs]))}
    return {**entity_scores(found, gold), **scores} if has_entities(labels) else scores


def _spans(task: Any, predictions: Sequence[Any], rows: Sequence[Any]) -> dict[str, Any]:
    golds = [_golds(row) for row in rows]
    answers = [answer_text(one) for one in predictions]
    scores = span_scores(answers, golds)
    spans = [best_span(one) for one in predictions]
    if not all(golds) and all(span is not None for span in spans):
        texts, gaps = zip(*(span for span in spans if span is not None), strict=True)
        values = [answer_f1(text, right) for text, right in zip(texts, golds, strict=True)]
        null = [answer_f1("", right) for right in golds]
        scores["best_threshold"], scores["best_f1"] = best_threshold(values, null, gaps)
    return scores


def answer_text(prediction: Any) -> str:
    """The answer that a prediction gives, '' for none."""
    answer = prediction.answer
    return "" if answer is None else str(getattr(answer, "text", answer))


def best_span(prediction: Any) -> tuple[str, float] | None:
    """(best span whatever the threshold says, score of no answer less the span's); None where it is not known."""
    answer = prediction.answer
    gap, text = getattr(answer, "null_difference", None), getattr(answer, "span", None)
    return None if gap is None or text is None else (str(text), float(gap))


def _golds(question: Any) -> list[str]:
    return [text for _, text in question.answers]


_METRICS = {"Classify": _classes, "Regress": _scores, "Tag": _tags, "Span": _spans}


def _kind(task: Any) -> str:
    """The task's class name, which is its `kind` in JSON."""
    return type(task).__name__


def _sklearn() -> Any:
    try:
        import sklearn.metrics
    except ImportError as error:
        raise InputError("scikit-learn must be installed to score labels, got none; "
                         'pip install "polysemy[tasks]"') from error
    return sklearn.metrics
