"""The judge of cloze questions: a model's scores become probabilities, the probabilities a result with its interval."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from polysemy.capability import ScoresCloze
from polysemy.errors import InputError
from polysemy.evaluation.bootstrap import band_mean, compare_values, interval, resampled
from polysemy.evaluation.calibration import Calibration, fit_calibration, log_softmax
from polysemy.evaluation.cloze_items import ClozeSet, Question

BATCH = 500
FLOOR = 20.0
"""A score of minus infinity counts as this much below the item's least finite one."""
TIE = 1e-9
METRICS = ("accuracy", "mrr", "bits")
MEANS = (*METRICS, "raw_accuracy")


@runtime_checkable
class CountsPieces(Protocol):
    """Tells into how many pieces it cuts each word as it stands inside a text."""

    def piece_counts(self, words: Sequence[str]) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class ClozeResult:
    """How one model answered: arrays with one entry a test question, and what they were computed with."""

    accuracy: np.ndarray
    """credit: 1 for the right word, shared among candidates with equal probability"""
    mrr: np.ndarray
    """expected reciprocal rank of the right word"""
    bits: np.ndarray
    """-log2 of the right word's probability; 4 is chance among 16"""
    raw_accuracy: np.ndarray
    """credit by the model's own score, without calibration"""
    bands: np.ndarray
    documents: np.ndarray
    primary: np.ndarray
    calibration: Calibration
    band_names: tuple[str, ...]
    chance: float
    items_hash: str
    seeds: int = 1
    """trainings whose answers are averaged here"""

    def summary(self, *, seed: int = 0) -> dict[str, Any]:
        """Plain values for tables and JSON: headline numbers weigh every frequency band the same."""
        columns = np.stack([getattr(self, name) for name in METRICS], axis=-1)
        draws = resampled(columns, self.bands, self.documents, seed=seed)
        result: dict[str, Any] = {name: band_mean(getattr(self, name), self.bands) for name in METRICS}
        result["interval"] = interval(draws[:, 0])
        result["intervals"] = {name: interval(draws[:, at]) for at, name in enumerate(METRICS)}
        result["bands"] = [self._band(number, name) for number, name in enumerate(self.band_names)
                           if (self.bands == number).any()]
        result["accuracy_uncalibrated"] = band_mean(self.raw_accuracy, self.bands)
        same = self.primary
        result["accuracy_same_pieces"] = band_mean(self.accuracy[same], self.bands[same]) if same.any() else None
        return {**result, "calibration": self.calibration.to_dict(), "chance": self.chance,
                "chance_bits": float(-np.log2(self.chance)), "items": len(self.bands),
                "documents": len(np.unique(self.documents)), "items_hash": self.items_hash, "seeds": self.seeds,
                "label": seeds_label(self.seeds)}

    def _band(self, number: int, name: str) -> dict[str, Any]:
        mine = self.bands == number
        return {"name": name, "items": int(mine.sum()),
                **{metric: float(getattr(self, metric)[mine].mean()) for metric in METRICS}}

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON values: keep it beside a study so that any two models can be compared later."""
        arrays = {name: getattr(self, name).round(6).tolist() for name in MEANS}
        return {**arrays, "bands": self.bands.tolist(), "documents": self.documents.tolist(),
                "primary": self.primary.tolist(), "calibration": self.calibration.to_dict(),
                "band_names": list(self.band_names), "chance": self.chance, "items_hash": self.items_hash,
                "seeds": self.seeds}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ClozeResult:
        """The result that `to_dict` wrote."""
        try:
            arrays = {name: np.array(data[name], np.float64) for name in MEANS}
            arrays |= {name: np.array(data[name], np.int64) for name in ("bands", "documents")}
            arrays["primary"] = np.array(data["primary"], bool)
            return cls(**arrays, calibration=Calibration(**data["calibration"]), band_names=tuple(data["band_names"]),
                       chance=data["chance"], items_hash=data["items_hash"], seeds=data["seeds"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"cloze result must be one that polysemy wrote ({error})") from error


def judge(model: ScoresCloze, items: ClozeSet, *, progress: Callable[[int, int], None] | None = None) -> ClozeResult:
    """Ask a model all questions: fit the calibration on dev, report test.

    The model gets the items without their answers. Its score of a candidate may be minus infinity, never NaN or plus
    infinity (InputError). progress, if given, is called with (answered, all).
    """
    total = len(items.dev) + len(items.test)
    answered = 0

    def ask(questions: Sequence[Question]) -> np.ndarray:
        nonlocal answered
        parts = []
        for start in range(0, len(questions), BATCH):
            parts.append(_scores(model, questions[start : start + BATCH]))
            answered += len(parts[-1])
            if progress is not None:
                progress(answered, total)
        return np.concatenate(parts)

    return judge_scores(ask(items.dev), ask(items.test), items, model if isinstance(model, CountsPieces) else None)


def judge_scores(dev: np.ndarray, test: np.ndarray, items: ClozeSet, model: CountsPieces | None = None) -> ClozeResult:
    """The result of given scores (items, candidates) of the dev and test questions."""
    bands = np.array([question.band for question in items.dev])
    gold = np.array([question.gold for question in items.dev])
    calibration = fit_calibration(dev, _frequency(items.dev), _pieces(items.dev, model), gold, _band_weights(bands))
    logits = calibration.logits(test, _frequency(items.test), _pieces(items.test, model))
    gold = np.array([question.gold for question in items.test])
    log_p = log_softmax(logits)
    credit, reciprocal = _ranked(log_p, gold)
    return ClozeResult(
        accuracy=credit, mrr=reciprocal, bits=-log_p[np.arange(len(gold)), gold] / np.log(2),
        raw_accuracy=_ranked(test, gold)[0], bands=np.array([question.band for question in items.test]),
        documents=np.array([question.document for question in items.test]),
        primary=np.array([question.primary for question in items.test], bool), calibration=calibration,
        band_names=items.bands, chance=items.chance, items_hash=items.hash)


def average(results: Sequence[ClozeResult]) -> ClozeResult:
    """One result for several trainings (seeds) of one recipe: each question's mean."""
    if not results:
        raise InputError("results must hold at least one, got none")
    _same_items(results)
    means = {name: np.mean([getattr(result, name) for result in results], axis=0) for name in MEANS}
    numbers = [list(result.calibration.to_dict().values()) for result in results]
    return dataclasses.replace(results[0], **means, calibration=Calibration(*np.mean(numbers, axis=0).tolist()),
                               seeds=sum(result.seeds for result in results))


def compare(first: ClozeResult, second: ClozeResult, metric: str = "accuracy", *, seed: int = 0) -> dict[str, Any]:
    """Paired comparison of two models on the same questions, by bootstrap over documents.

    Gives difference (first - second), interval, verdict ("tie", "better" or "worse" for the first) and label; an
    interval that holds 0 is a tie. Raises InputError where the questions differ.
    """
    if metric not in METRICS:
        raise InputError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
    _same_items([first, second])
    found = compare_values(getattr(first, metric), getattr(second, metric), first.bands, first.documents, seed=seed)
    good, bad = ("worse", "better") if metric == "bits" else ("better", "worse")
    verdict = {"tie": "tie", "higher": good, "lower": bad}[found["verdict"]]
    return {**found, "metric": metric, "verdict": verdict, "label": seeds_label(min(first.seeds, second.seeds))}


def seeds_label(seeds: int) -> str:
    """What a reader must know of how many trainings stand behind a number."""
    return "one seed: the interval leaves out how much another training would differ" if seeds < 2 else f"{seeds} seeds"


def _same_items(results: Sequence[ClozeResult]) -> None:
    if len({result.items_hash for result in results}) > 1:
        raise InputError("results must be of the same cloze questions, got different hashes; judge the models again")


def _scores(model: ScoresCloze, questions: Sequence[Question]) -> np.ndarray:
    scores = np.asarray(model.cloze_scores([question.blind() for question in questions]), np.float64)
    expected = (len(questions), len(questions[0].candidates))
    if scores.shape != expected:
        raise InputError(f"cloze_scores must give an array of shape {expected}, got {scores.shape}")
    if np.isnan(scores).any() or np.isposinf(scores).any():
        raise InputError("cloze scores must be numbers, got NaN or infinity; the model's weights are damaged")
    finite = np.isfinite(scores)
    if not finite.all():
        least = np.where(finite, scores, np.inf).min(axis=1, keepdims=True)
        scores = np.where(finite, scores, np.where(np.isfinite(least), least - FLOOR, 0.0))
    return scores


def _frequency(questions: Sequence[Question]) -> np.ndarray:
    return np.array([question.log_frequency for question in questions])


def _pieces(questions: Sequence[Question], model: CountsPieces | None) -> np.ndarray:
    if model is None:
        return np.array([question.pieces for question in questions], np.float64)
    words = sorted({word for question in questions for word in question.candidates})
    counts = dict(zip(words, np.asarray(model.piece_counts(words), np.float64).tolist(), strict=True))
    return np.array([[counts[word] for word in question.candidates] for question in questions])


def _band_weights(bands: np.ndarray) -> np.ndarray:
    """Weights that make every band count the same, as the headline does."""
    _, inverse, counts = np.unique(bands, return_inverse=True, return_counts=True)
    return 1.0 / counts[inverse]


def _ranked(values: np.ndarray, gold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Credit and expected reciprocal rank of the gold candidate; equal values share both."""
    mine = values[np.arange(len(gold)), gold][:, None]
    tolerance = TIE * np.maximum(1.0, np.abs(mine))
    above = (values > mine + tolerance).sum(axis=1)
    ties = (np.abs(values - mine) <= tolerance).sum(axis=1)
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, values.shape[1] + 1))])
    return np.where(above == 0, 1.0 / ties, 0.0), (harmonic[above + ties] - harmonic[above]) / ties
