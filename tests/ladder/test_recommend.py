"""The rule of the recommendation: the best, ties by cost, limits first, counting as the yardstick."""
from __future__ import annotations

from typing import Any

import pytest

from polysemy.ladder.recommend import recommend


def rung(name: str, accuracy: float, milliseconds: float | None = 5.0, megabytes: float | None = 20.0,
         kind: str = "trained", **more: Any) -> dict[str, Any]:
    return {"name": name, "label": name, "kind": kind, "milliseconds": milliseconds, "seconds": 60.0,
            "bytes": None if megabytes is None else megabytes * 1e6,
            "cloze": {"accuracy": accuracy, "bits": 4 - 4 * accuracy, "items": 2000}, **more}


def counting(accuracy: float) -> dict[str, Any]:
    return rung("bigram", accuracy, kind="control", counts=True)


def advise(*rungs: dict[str, Any], tie: float = 0.02, **more: Any) -> dict[str, Any]:
    """The recommendation where differences up to `tie` are ties."""
    score = {one["name"]: one["cloze"]["accuracy"] for one in rungs if one.get("cloze")}

    def compare(first: str, second: str) -> dict[str, Any]:
        gap = score[first] - score[second]
        verdict = "tie" if abs(gap) <= tie + 1e-12 else "better" if gap > 0 else "worse"
        return {"difference": gap, "interval": [gap - tie, gap + tie], "verdict": verdict}

    return recommend(rungs, compare, **more)


def text_of(advice: dict[str, Any], name: str) -> str:
    return next(line["text"] for line in advice["lines"] if line["name"] == name)


def test_the_best_is_shipped_when_nothing_ties_with_it() -> None:
    advice = advise(rung("a", 0.4), rung("b", 0.3, 1.0, 1.0), counting(0.2))
    assert advice["choice"] == "a"
    assert advice["ties"] == []
    assert "no other trained rung ties" in text_of(advice, "Why")


def test_of_the_tied_the_fastest_is_shipped() -> None:
    advice = advise(rung("slow", 0.4, 9.0), rung("quick", 0.39, 3.0, 50.0), counting(0.2))
    assert advice["choice"] == "quick"
    assert advice["best"] == "slow"
    assert advice["ties"] == ["quick"]
    assert "slow has 40.0 %" in text_of(advice, "Why")
    assert "−1.0 points, interval −3.0 to +1.0" in text_of(advice, "Why")


def test_equal_speed_leaves_it_to_size() -> None:
    assert advise(rung("large", 0.4, 5.0, 90.0), rung("small", 0.39, 5.2, 9.0))["choice"] == "small"


def test_ties_are_those_of_the_best_and_do_not_chain() -> None:
    advice = advise(rung("a", 0.40), rung("b", 0.385), rung("c", 0.37, 0.1, 0.1))
    assert advice["ties"] == ["b"]
    assert advice["choice"] != "c"


@pytest.mark.parametrize(("limit", "reason"), [({"max_ms": 6.0}, "9.0 ms is over 6.0 ms"),
                                               ({"max_mb": 30.0}, "90.0 MB is over 30.0 MB")])
def test_a_rung_over_a_limit_is_out_and_named(limit: dict[str, float], reason: str) -> None:
    advice = advise(rung("big", 0.6, 9.0, 90.0), rung("fit", 0.4), counting(0.2), **limit)
    assert advice["choice"] == "fit"
    assert f"big is out: {reason}" in text_of(advice, "Limits")


def test_what_was_not_measured_cannot_keep_a_limit() -> None:
    advice = advise(rung("unknown", 0.6, None), rung("fit", 0.4), max_ms=10.0)
    assert advice["choice"] == "fit"
    assert "not measured" in text_of(advice, "Limits")


def test_nothing_is_shipped_when_all_are_over_the_limit() -> None:
    advice = advise(rung("a", 0.4), counting(0.2), max_ms=1.0)
    assert advice["choice"] is None
    assert text_of(advice, "Ship") == "Nothing: every rung is over a limit."
    assert len(advice["lines"]) == 5


@pytest.mark.parametrize("count", [0.39, 0.5])
def test_nothing_is_shipped_that_counting_can_do_as_well(count: float) -> None:
    advice = advise(rung("a", 0.4), counting(count))
    assert advice["choice"] is None
    assert text_of(advice, "Ship").startswith("Nothing yet: a (40.0 %) does not beat the bigram count")


def test_the_best_is_shipped_when_only_the_cheaper_tie_falls_to_counting() -> None:
    assert advise(rung("best", 0.40, 9.0), rung("cheap", 0.385, 1.0), counting(0.37))["choice"] == "best"


def test_failed_rungs_are_named_and_do_no_harm() -> None:
    broken = {"name": "broken", "label": "broken", "kind": "failed", "error": "no memory"}
    advice = advise(rung("a", 0.4), broken, counting(0.2))
    assert advice["choice"] == "a"
    assert "broken failed" in text_of(advice, "Trust")


def test_no_rung_at_all_is_said() -> None:
    advice = advise(counting(0.2))
    assert advice["choice"] is None
    assert text_of(advice, "Ship") == "Nothing: no rung was judged."


def test_one_seed_and_a_downloaded_model_are_marked() -> None:
    trust = text_of(advise(rung("hf:x", 0.5, kind="downloaded"), counting(0.2)), "Trust")
    assert "may have seen this text" in trust
    assert "One seed" in trust


def test_a_control_off_chance_is_said_first_in_the_line_of_trust() -> None:
    bad = {"name": "random scores", "accuracy": 0.3, "passed": False}
    assert text_of(advise(rung("a", 0.4), controls=[bad]), "Trust").startswith("DO NOT TRUST THESE SCORES: random")
    leak = {"name": "repeats", "accuracy": 0.08, "passed": False}
    assert text_of(advise(rung("a", 0.4), controls=[leak]), "Trust").startswith("Repeats reaches 8.0 %")
    lost = {"name": "planted copies", "passed": False}
    assert "DO NOT TRUST" in text_of(advise(rung("a", 0.4), controls=[lost]), "Trust")
    good = {"name": "random scores", "accuracy": 0.06, "passed": True}
    assert text_of(advise(rung("a", 0.4), controls=[good]), "Trust").startswith("All 1 controls")


def test_scoring_asks_for_bits_not_for_accuracy() -> None:
    sharp = rung("sharp", 0.40)
    sharp["cloze"]["bits"] = 3.0
    calm = rung("calm", 0.395)
    calm["cloze"]["bits"] = 2.0
    assert advise(sharp, calm, tie=0.0, purpose="score")["best"] == "calm"
    assert advise(sharp, calm, tie=0.0, purpose="fill")["best"] == "sharp"


def test_the_rule_is_told() -> None:
    assert advise(rung("a", 0.4))["rule"].startswith("1. Rungs over a limit are out.")
