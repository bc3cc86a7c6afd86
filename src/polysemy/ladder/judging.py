"""Judge one rung: the same questions, losses, timings and sample gaps for all, as plain values."""
from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from polysemy.capability import GAP, Fills
from polysemy.errors import InputError
from polysemy.evaluation.cloze import ClozeResult, judge
from polysemy.evaluation.cloze_items import ClozeSet, Question
from polysemy.evaluation.passages import passages_of, sentences_of
from polysemy.ladder.builders import CURVE_MOST, CURVE_SHARE, Built, Work
from polysemy.ladder.word_map import word_map
from polysemy.report import wording

LOSS_WORDS, QUICK_LOSS_WORDS = 40_000, 12_000
SAMPLES = 5
SAMPLE_CHARACTERS = (60, 170)
SHOWN_FILLS = 5
EMBEDS_ONLY, LABELS_ONLY = "embeds only: it has no head that fills gaps", "knows labels only: it fills no gaps"


def judge_rung(work: Work, built: Built) -> dict[str, Any]:
    """All that the report says of one rung; `answers` keeps every answer, for paired comparisons later.

    A model that can only embed, or tell labels, has no answers: its row has its size and speed.
    """
    if not answers_gaps(built.model):
        passages = passages_of(work.split.test, words=QUICK_LOSS_WORDS)
        assert built.folder is not None
        why = LABELS_ONLY if hasattr(built.model, "predict_many") else EMBEDS_ONLY
        return {"cloze": None, "seconds": built.seconds, "bytes": built.bytes, "parameters": built.parameters,
                "settings": built.settings, "remarks": [*built.remarks, why],
                **_speed(built.folder, passages, work)}
    result = judge(built.model, work.items)
    found: dict[str, Any] = {"cloze": result.summary(seed=work.seed), "answers": result.to_dict(),
                             "seconds": built.seconds, "bytes": built.bytes, "parameters": built.parameters,
                             "settings": built.settings, "remarks": built.remarks}
    passages = passages_of(work.split.test, words=QUICK_LOSS_WORDS if work.quick else LOSS_WORDS)
    if built.folder is not None:
        found |= _loss(built.model, passages, built.bits_per_byte) | _speed(built.folder, passages, work)
        found["curve"] = _curve(work, built, result, found, passages)
        found["words"] = word_map(built.model, work.items)
        found["fills"] = fills(built.model, sample_gaps(work.items))
    return found


def answers_gaps(model: Any) -> bool:
    """Whether the model has a head that says what stands in a gap; some can only embed, or tell labels."""
    if not hasattr(model, "cloze_scores"):
        return False
    heads = getattr(getattr(model, "model", None), "heads", None)
    return heads is None or "masked_lm" in heads or "next_token" in heads


def curve_items(items: ClozeSet) -> ClozeSet:
    """The questions of a curve: the first of each band, in their order, so that every band keeps its part."""
    test, dev = (min(CURVE_MOST, round(CURVE_SHARE * len(part))) for part in (items.test, items.dev))
    return dataclasses.replace(items, test=_first(items.test, test), dev=_first(items.dev, dev))


def sample_gaps(items: ClozeSet, count: int = SAMPLES) -> list[dict[str, str]]:
    """A few test questions of frequent words in contexts of a readable length: {left, right, gold}."""
    chosen: list[dict[str, str]] = []
    used: set[int] = set()
    for question in items.test:
        gap = _readable(question)
        if gap is None or question.document in used:
            continue
        used.add(question.document)
        chosen.append(gap)
        if len(chosen) == count:
            break
    return chosen


def fills(model: Any, gaps: Sequence[dict[str, str]]) -> list[list[dict[str, Any]]]:
    """The likeliest words for each gap with their probabilities; empty lists where the model cannot fill."""
    if not isinstance(model, Fills):
        return [[] for _ in gaps]
    found = []
    for gap in gaps:
        candidates = model.fill(f"{gap['left']}{GAP}{gap['right']}", SHOWN_FILLS)[0]
        found.append([{"text": one.text, "probability": one.probability} for one in candidates])
    return found


def read_answers(found: dict[str, Any]) -> ClozeResult:
    """The answers that `judge_rung` kept."""
    return ClozeResult.from_dict(found["answers"])


def _first(questions: Sequence[Question], count: int) -> tuple[Question, ...]:
    part = min(1.0, count / max(len(questions), 1))
    totals: dict[int, int] = {}
    for question in questions:
        totals[question.band] = totals.get(question.band, 0) + 1
    left = {band: max(1, round(part * total)) for band, total in totals.items()}
    kept = []
    for question in questions:
        if left[question.band]:
            left[question.band] -= 1
            kept.append(question)
    return tuple(kept)


def _curve(work: Work, built: Built, result: ClozeResult, found: dict[str, Any],
           passages: Sequence[str]) -> list[dict[str, Any]]:
    """Accuracy and loss at each milestone, by the quick questions, and at the end by all of them."""
    from polysemy.models import load_run

    quick = curve_items(work.items)
    rows = []
    for seconds, folder in built.milestones:
        model = load_run(folder)
        if hasattr(model, "to"):  # word vectors stay where they are
            model = model.to(work.device)
        summary = judge(model, quick).summary(seed=work.seed)
        rows.append({"seconds": seconds, "accuracy": summary["accuracy"], **_loss(model, passages)})
    if rows:
        last = {name: found[name] for name in ("loss", "bits_per_byte") if name in found}
        rows.append({"seconds": built.seconds, "accuracy": result.summary(seed=work.seed)["accuracy"], **last})
    return rows


def _loss(model: Any, passages: Sequence[str],
          other: Callable[[Sequence[str]], float] | None = None) -> dict[str, Any]:
    """The loss at the same hidden tokens for all masked rungs, bits per byte for those that give texts a probability.

    `other` gives the bits of a model that cannot give them by itself; nothing for one that has neither.
    """
    from polysemy.evaluation.masked_lm import masked_lm_loss
    from polysemy.models.language_model import LanguageModel
    from polysemy.models.text_encoder import TextEncoder

    if isinstance(model, LanguageModel):
        scores = [model.score(text) for text in passages]
        total, size = sum(score.log_probability for score in scores), sum(score.bytes for score in scores)
        return {"bits_per_byte": -total / math.log(2) / max(size, 1)}
    if other is not None:
        return {"bits_per_byte": other(passages)}
    if not isinstance(model, TextEncoder):
        return {}
    try:
        return {"loss": masked_lm_loss(model, passages)["masked_lm_loss"]}
    except InputError:
        return {}


def _speed(folder: Path, passages: Sequence[str], work: Work) -> dict[str, Any]:
    from polysemy.evaluation.speed import measure_folder

    measured = measure_folder(folder, sentences_of(passages, 200), seconds=2.0 if work.quick else 5.0)
    return {"milliseconds": measured["milliseconds_p50"], "speed": measured}


def _readable(question: Question) -> dict[str, str] | None:
    """The question's sentence and a little more, or None where it is too short, or holds a gap of its own."""
    gold = question.candidates[question.gold]
    left, right = question.left.rsplit("\n", 1)[-1], question.right.split("\n", 1)[0]
    least, most = SAMPLE_CHARACTERS
    if len(left) + len(right) < least or GAP in left + right or not gold[:1].isalpha():
        return None
    if len(left) > most:
        left = left[-most:].split(" ", 1)[-1] if " " in left[-most:] else left[-most:]
    if len(right) > most:
        right = right[:most].rsplit(" ", 1)[0] if " " in right[:most] else right[:most]
    return {"left": left, "right": right, "gold": gold}


def controls_of(work: Work, trained: dict[str, Any], untrained: dict[str, Any]) -> list[dict[str, Any]]:
    """The verdicts on the questions themselves, as rows of the report: what knows no context must be at chance."""
    from polysemy.evaluation.controls import at_chance, run_controls, shuffle_contexts

    quick = curve_items(work.items)
    shuffled = shuffle_contexts(quick, work.seed)
    verdicts = run_controls(work.items, work.split, seed=work.seed)
    verdicts += [at_chance(name, judge(model, quick), seed=work.seed) for name, model in untrained.items()]
    verdicts += [at_chance(f"{name}, shuffled contexts", judge(model, shuffled), seed=work.seed)
                 for name, model in trained.items()]
    rows = []
    for verdict in verdicts:
        row = {**verdict, "expected": f"chance, {wording.percent(1 / work.items.config.num_candidates)}"}
        if "planted" in verdict:
            row |= {"expected": "all are found", "measured": f"{verdict['found']} of {verdict['planted']}"}
        rows.append(row)
    return rows
