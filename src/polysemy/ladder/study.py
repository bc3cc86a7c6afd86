"""From what was found to the plain dict that the report shows: ties, recommendation, words about each paradigm."""
from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from polysemy import __version__
from polysemy.evaluation.cloze import ClozeResult, compare
from polysemy.ladder.builders import Work
from polysemy.ladder.downstream import METRIC as LABEL_METRIC
from polysemy.ladder.downstream import SHARE, compare_learned
from polysemy.ladder.judging import read_answers, sample_gaps
from polysemy.ladder.recommend import METRIC, recommend
from polysemy.ladder.rungs import Rung
from polysemy.ladder.settings import LadderConfig
from polysemy.report import wording
from polysemy.runtime import environment

METHOD = (
    "Documents were split 80/10/10 by their hash. Passages of the test that also stood in the training text were "
    "removed from the latter first; tokenizer, counts and weights come from the training text alone.",
    "Each trained rung had the same time in training steps, on the same threads, one rung at a time, with the same "
    "body size, tokenizer and optimizer: the table compares the ideas.",
    "All rungs answered the same stored questions. A model of both sides gets a mask for each piece of a candidate and "
    "fills them from left to right; the score is the log-probability of the candidate.",
    "One calibration for all: P = softmax(a · score + b · log frequency + c · pieces), three numbers fitted on other "
    "questions than those reported.",
    "Intervals and ties come from drawing the documents anew 2,000 times, the same draws for both rungs of a pair.",
    "Curves: the model after 1/16 and 1/4 of the budget, in the middle of its schedule, by a quarter or less of the "
    "questions. A run of that smaller budget would end its schedule there and do somewhat better.",
)


LABEL_METHOD = (
    "Labels: every rung was fine-tuned on the same labeled texts within a quarter of its minutes, one seed; epochs "
    "were chosen by a part that the score does not count. Word vectors are averaged over a text, then fine-tuned too; "
    "counts become an n-gram model a label under Bayes' rule. Two controls know the labeled texts alone: fastText's "
    "classifier, and the body that was never pretrained."
)


def assemble(rungs: Sequence[Rung], found: Mapping[str, dict[str, Any]], errors: Mapping[str, str], work: Work,
             config: LadderConfig, controls: list[dict[str, Any]]) -> dict[str, Any]:
    """The study of these rungs; `found` by name is what `judge_rung` gave, `errors` what failed."""
    rows = [_row(rung, found.get(rung.name), errors.get(rung.name)) for rung in rungs]
    against = _comparer(found, METRIC["fill" if config.purpose == "classify" else config.purpose], config.seed)
    judge = _label_comparer(found, config.seed) if config.purpose == "classify" else against
    advice = recommend(rows, judge, purpose=config.purpose, max_ms=config.max_ms, max_mb=config.max_mb,
                       controls=controls)
    tied = {advice["best"], *advice["ties"]} if advice["ties"] else set()
    for row in rows:
        if row["name"] in tied:
            row["remarks"].append("tie")
    split, items = work.split, work.items
    return {
        "kind": "ladder", "title": "Which model of language for this text?", "version": __version__,
        "created": datetime.now().strftime("%Y-%m-%d %H:%M"), "purpose": config.purpose,
        "limits": {"max_ms": config.max_ms, "max_mb": config.max_mb},
        "corpus": {"files": work.text.source.get("files"), **_totals(split.counts), "fingerprint": split.fingerprint,
                   "split": split.counts, "overlap": split.overlap},
        "budget": {"seconds": 60 * work.minutes, "clock": "CPU seconds / threads" if work.clock == "cpu" else "wall",
                   "threads": _threads(), "device": work.device, "size": config.size, "seed": config.seed,
                   "questions": "quick" if config.quick else "full"},
        "cloze": {"items": len(items.test), "dev": len(items.dev), "hash": items.hash, "seed": items.config.seed,
                  "chance": items.chance, "bands": _bands(items)},
        "tokenizer": {"kind": work.text.tokenizer.kind, "vocab_size": work.text.tokenizer.vocab_size,
                      "hash": work.text.tokenizer.fingerprint()},
        "rungs": rows, "samples": sample_gaps(items), "controls": controls, "recommendation": advice,
        "pairs": _pairs(rows, against),
        "method": [*METHOD, *((LABEL_METHOD,) if work.labels else ()),
                   f"The rule of the recommendation: {advice['rule']}"],
        "environment": environment(), **_task(work),
    }


def _row(rung: Rung, found: Mapping[str, Any] | None, error: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {"name": rung.name, "label": rung.label, "kind": rung.kind, "counts": rung.counts,
                           "sees": rung.sees, "costs": rung.costs, "good_for": rung.good_for, "remarks": []}
    if found is None:
        return {**row, "kind": "failed", "error": error or "not judged"}
    kept = {name: value for name, value in found.items() if name not in ("answers", "name")}
    if "downstream" in kept:
        kept["downstream"] = {name: value for name, value in kept["downstream"].items() if name != "right"}
    return {**row, **kept, "remarks": list(kept.get("remarks") or ())}


def _task(work: Work) -> dict[str, Any]:
    """What the report says of the labels."""
    if work.labels is None:
        return {}
    return {"downstream": {**work.labels.facts(), "metric": LABEL_METRIC, "seconds": 60 * SHARE * work.minutes}}


def _label_comparer(found: Mapping[str, dict[str, Any]], seed: int) -> Callable[[str, str], dict[str, Any]]:
    @functools.cache
    def against(first: str, second: str) -> dict[str, Any]:
        return compare_learned(found[first]["downstream"], found[second]["downstream"], seed)

    return against


def _comparer(found: Mapping[str, dict[str, Any]], metric: str, seed: int) -> Callable[[str, str], dict[str, Any]]:
    answers: dict[str, ClozeResult] = {}

    @functools.cache
    def against(first: str, second: str) -> dict[str, Any]:
        for name in (first, second):
            if name not in answers:
                answers[name] = read_answers(found[name])
        return compare(answers[first], answers[second], metric, seed=seed)

    return against


def _pairs(rows: Sequence[Mapping[str, Any]], against: Callable[[str, str], dict[str, Any]]) -> list[dict[str, Any]]:
    """Every pair of judged rungs that are no control, the better one first."""
    judged = sorted((row for row in rows if row.get("cloze") and row["kind"] in ("trained", "downloaded")),
                    key=lambda row: -row["cloze"]["accuracy"])
    return [{"first": a["label"], "second": b["label"], **against(a["name"], b["name"])}
            for i, a in enumerate(judged) for b in judged[i + 1:]]


def _totals(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    return {name: sum(part[name] for part in counts.values()) for name in ("documents", "words", "bytes")}


def _bands(items: Any) -> list[dict[str, Any]]:
    return [{"name": name, "items": sum(question.band == number for question in items.test)}
            for number, name in enumerate(items.bands)]


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def summary(study: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]], list[str]]:
    """(header, rows, lines) for a terminal: the table, best rung first, and the recommendation in five lines."""
    labels = ("labels", "± ") if study.get("downstream") else ()
    header = ("rung", "cloze", "±", *labels, "bits", "loss", "bits a byte", "training", "size", "latency", "remarks")
    judged = sorted(study["rungs"], key=lambda row: -((row.get("cloze") or {}).get("accuracy") or -1.0))
    rows = []
    for row in judged:
        cloze = row.get("cloze") or {}
        low, high = cloze.get("interval") or (0.0, 0.0)
        remarks = "; ".join([*(("FAILED: " + row["error"],) if row.get("error") else ()), *row.get("remarks", ())])
        rows.append((wording.one_line(row["label"], 24), wording.percent(cloze.get("accuracy")),
                     f"{50 * (high - low):.1f}" if high else wording.NOTHING, *(_labels(row) if labels else ()),
                     wording.number(cloze.get("bits")),
                     wording.number(row.get("loss")), wording.number(row.get("bits_per_byte")),
                     wording.duration(row.get("seconds") or None),
                     wording.size(row.get("bytes")), wording.milliseconds(row.get("milliseconds")),
                     wording.one_line(remarks, 60)))
    return header, rows, [f"{line['name'] + ':':8}{line['text']}" for line in study["recommendation"]["lines"]]


def _labels(row: Mapping[str, Any]) -> tuple[str, str]:
    """Score of the labels and half its interval."""
    found = row.get("downstream") or {}
    low, high = found.get("interval") or (0.0, 0.0)
    return wording.percent(found.get("score")), f"{50 * (high - low):.1f}" if high else wording.NOTHING
