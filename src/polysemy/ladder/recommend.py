"""Which rung to ship, by a rule that can be read: the best for the purpose, ties broken by cost, limits respected.

1. Rungs over a limit are out. 2. The best is the one with the highest score for the purpose. 3. Whatever ties with it
(the 95 % interval of the paired difference holds 0) is as good. 4. Of these the fastest is shipped, then the smallest.
5. Unless counting does as well: then nothing trained here is worth shipping yet.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from polysemy.report import wording
from polysemy.report.wording import joined

Rung = Mapping[str, Any]
Compare = Callable[[str, str], Mapping[str, Any]]
"""names of two rungs -> {difference (first - second), interval, verdict: tie | better | worse}"""
METRIC = {"fill": "accuracy", "score": "bits", "classify": "labels"}
CHANCE, SMALL_LEAK = 1 / 16, 0.03
"""A control this near to chance weakens a study without making it worthless."""
SAME_SPEED = 1.1
"""Latencies within this ratio are the same: noise must not decide."""


def recommend(rungs: Sequence[Rung], compare: Compare, *, purpose: str = "fill", max_ms: float | None = None,
              max_mb: float | None = None, controls: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """{choice, best, ties, out, lines}: `choice` is a name or None, `lines` are five (name, text) pairs to print."""
    metric = METRIC[purpose]
    judged = [rung for rung in rungs if _judged(rung, metric) and rung.get("kind") in ("trained", "downloaded")
              and not _counted(rung, metric)]
    out = {rung["name"]: reason for rung in judged if (reason := _over(rung, max_ms, max_mb))}
    able = [rung for rung in judged if rung["name"] not in out]
    best = min(able, key=lambda rung: (_loss(rung, metric), rung["name"]), default=None)
    ties: list[Rung] = []
    beaten, choice = None, None
    if best is not None:
        ties = [rung for rung in able
                if rung is not best and compare(best["name"], rung["name"])["verdict"] == "tie"]
        choice = _cheapest([best, *ties])
        beaten = _not_beaten(choice, rungs, compare, metric)
        if beaten is not None and choice is not best and _not_beaten(best, rungs, compare, metric) is None:
            choice, beaten = best, None
    shipped = choice if beaten is None else None
    lines = [
        ("Ship", _ship(choice, beaten, able, judged, metric) + _floor(rungs, metric)),
        ("Why", _why(choice, best, ties, compare, metric)),
        ("Limits", _limits(out, max_ms, max_mb)),
        ("Cost", _cost(choice)),
        ("Trust", _trust(rungs, choice, controls)),
    ]
    return {"choice": shipped["name"] if shipped else None, "best": best["name"] if best else None,
            "ties": [rung["name"] for rung in ties], "out": out, "purpose": purpose, "metric": metric,
            "rule": " ".join((__doc__ or "").split("\n\n")[1].split()),
            "lines": [{"name": name, "text": text} for name, text in lines]}


def _over(rung: Rung, max_ms: float | None, max_mb: float | None) -> str:
    """Why a rung breaks a limit; a figure that was not measured breaks it too."""
    for limit, value, show in ((max_ms, rung.get("milliseconds"), wording.milliseconds),
                               (max_mb, None if rung.get("bytes") is None else rung["bytes"] / 1e6, _megabytes)):
        if limit is not None and (value is None or value > limit):
            return f"{show(value) if value is not None else 'not measured'} is over {show(limit)}"
    return ""


def _judged(rung: Rung, metric: str) -> bool:
    """Whether the rung has a score of this kind."""
    if metric == "labels":
        return (rung.get("downstream") or {}).get("score") is not None
    return bool(rung.get("cloze"))


def _counted(rung: Rung, metric: str) -> bool:
    """Whether the score is one of counting, which whatever is trained has to beat."""
    return bool((rung.get("downstream") or {}).get("counts")) if metric == "labels" else bool(rung.get("counts"))


def _loss(rung: Rung, metric: str) -> float:
    if metric == "labels":
        return -rung["downstream"]["score"]
    return rung["cloze"]["bits"] if metric == "bits" else -rung["cloze"]["accuracy"]


def _cheapest(rungs: Sequence[Rung]) -> Rung:
    """The smallest of those as fast as the fastest."""
    fastest = min((rung["milliseconds"] for rung in rungs if rung.get("milliseconds")), default=None)
    fast = [rung for rung in rungs if fastest is None or (rung.get("milliseconds") or 1e99) <= SAME_SPEED * fastest]
    return min(fast, key=lambda rung: (rung.get("bytes") or 1e99, rung.get("milliseconds") or 1e99, rung["name"]))


def _not_beaten(choice: Rung, rungs: Sequence[Rung], compare: Compare, metric: str) -> Rung | None:
    """The best counting control that is as good as the choice, if there is one."""
    found = [rung for rung in rungs if _counted(rung, metric) and _judged(rung, metric)
             and compare(choice["name"], rung["name"])["verdict"] != "better"]
    return min(found, key=lambda rung: _loss(rung, metric), default=None)


def _score(rung: Rung, metric: str) -> str:
    if metric == "labels":
        return wording.percent(rung["downstream"]["score"])
    cloze = rung["cloze"]
    return wording.percent(cloze["accuracy"]) if metric == "accuracy" else f"{cloze['bits']:.2f} bits"


def _ship(choice: Rung | None, beaten: Rung | None, able: Sequence[Rung], judged: Sequence[Rung], metric: str) -> str:
    if choice is None:
        return "Nothing: every rung is over a limit." if judged and not able else "Nothing: no rung was judged."
    if beaten is not None and metric == "labels":
        return (f"Nothing pretrained yet: {choice['label']} ({_score(choice, metric)} of the labels) does not beat "
                f"{beaten['label']} ({_score(beaten, metric)}), which learned from the labels alone. Train longer, or "
                "give it more text.")
    if beaten is not None:
        return (f"Nothing yet: {choice['label']} ({_score(choice, metric)}) does not beat the {beaten['label']} count "
                f"({_score(beaten, metric)}) at this budget. Train longer, or give it more text.")
    if metric == "labels":
        return f"{choice['label']}: it gives {_score(choice, metric)} of unseen texts their label."
    items = choice["cloze"].get("items")
    if metric == "accuracy":
        questions = f"{items:,} gaps" if items else "the gaps"
        return f"{choice['label']}: it names the word in {_score(choice, metric)} of {questions} (chance 6.2 %)."
    return f"{choice['label']}: it gives the missing word {_score(choice, metric)} of surprise (chance 4 bits)."


def _floor(rungs: Sequence[Rung], metric: str) -> str:
    """What always saying the most frequent label would score."""
    floor = next((rung for rung in rungs if rung["name"] == "unigram" and _judged(rung, metric)), None)
    return "" if metric != "labels" or floor is None else f" The most frequent label alone: {_score(floor, metric)}."


def _why(choice: Rung | None, best: Rung | None, ties: Sequence[Rung], compare: Compare, metric: str) -> str:
    if choice is None or best is None:
        return "There is nothing to choose from."
    others = [rung["label"] for rung in ties if rung is not choice]
    if choice is best:
        if not ties:
            return f"The best of all with {_score(best, metric)}; no other trained rung ties with it."
        return f"The best with {_score(best, metric)}, and none that ties with it ({joined(others)}) is cheaper."
    found = compare(choice["name"], best["name"])
    text = (f"{best['label']} has {_score(best, metric)}, but {choice['label']} ties with it ({_gap(found, metric)}) "
            "and is the cheapest of the tied")
    return f"{text}; {joined(others)} {'ties' if len(others) == 1 else 'tie'} too." if others else f"{text}."


def _gap(found: Mapping[str, Any], metric: str) -> str:
    scale, unit = (1, "bits") if metric == "bits" else (100, "points")
    low, high = found["interval"]
    text = f"{scale * found['difference']:+.1f} {unit}, interval {scale * low:+.1f} to {scale * high:+.1f}"
    return text.replace("-", "−")


def _limits(out: Mapping[str, str], max_ms: float | None, max_mb: float | None) -> str:
    given = [] if max_ms is None else [f"{wording.milliseconds(max_ms)} a sentence on one core"]
    given += [] if max_mb is None else [_megabytes(max_mb)]
    if not given:
        return "None were given (--max-ms, --max-mb)."
    left = "; ".join(f"{name} is out: {reason}" for name, reason in out.items())
    return f"At most {' and '.join(given)}: {left or 'no rung is over'}."


def _cost(choice: Rung | None) -> str:
    if choice is None:
        return "–"
    training = f"{wording.duration(choice['seconds'])} of training" if choice.get("seconds") else "no training here"
    return (f"{training}, {wording.size(choice.get('bytes'))} to ship, "
            f"{wording.milliseconds(choice.get('milliseconds'))} a sentence on one core.")


def _trust(rungs: Sequence[Rung], choice: Rung | None, controls: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    failed = [control for control in controls if not control.get("passed")]
    small = [control for control in failed if abs(control.get("accuracy", 1.0) - CHANCE) <= SMALL_LEAK]
    if len(small) < len(failed):
        names = joined(control["name"] for control in failed if control not in small)
        parts.append(f"DO NOT TRUST THESE SCORES: {names} not as a control must be")
    elif small:
        found = joined(f"{control['name']} reaches {wording.percent(control['accuracy'])}" for control in small)
        parts.append(f"{found} where chance is 6.2 %: differences of that size mean nothing")
    elif controls:
        parts.append(f"all {len(controls)} controls are as they must be")
    parts.append("one seed: another training may move a score by a point or two")
    if choice is not None and choice.get("kind") == "downloaded":
        parts.append(f"{choice['label']} may have seen this text")
    broken = [rung["label"] for rung in rungs if rung.get("error")]
    if broken:
        parts.append(f"{joined(broken)} failed")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _megabytes(value: float) -> str:
    return f"{value:,.1f} MB"
