"""Numbers as a reader says them, foreign text made harmless."""
from __future__ import annotations

import pytest

from polysemy.report import wording


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "200 ms"), (9.96, "10.0 s"), (72, "72 s"), (150, "2 min 30 s"),
                                              (600, "10 min"), (7500, "2 h 05 min"), (None, "–"), (float("nan"), "–")])
def test_durations(seconds: float | None, text: str) -> None:
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(900, "900 B"), (13_200_000, "13.2 MB"), (440e6, "440 MB"), (None, "–")])
def test_sizes(count: float | None, text: str) -> None:
    assert wording.size(count) == text


@pytest.mark.parametrize(("value", "text"), [(0.0312, "0.031 ms"), (6.24, "6.2 ms"), (1234.5, "1,234 ms")])
def test_milliseconds(value: float, text: str) -> None:
    assert wording.milliseconds(value) == text


def test_foreign_text_is_one_bounded_line_without_controls() -> None:
    assert wording.one_line("a\nb\x1b[2Jc\u2028d\u202ee\t f") == "a b [2Jc d e f"
    assert len(wording.one_line("x" * 10_000)) == 400


@pytest.mark.parametrize("value", ["=1+1", "+x", "-x", "@x", "\t=1"])
def test_text_cells_that_look_like_formulas_are_quoted(value: str) -> None:
    assert wording.cell(value).startswith("'")


def test_number_cells_stay_numbers() -> None:
    assert wording.cell(-3.5) == "-3.5"


def test_what_is_trained_in_one_go_and_beats_the_count_is_named() -> None:
    from polysemy.report.crossings import crossings

    def rung(label: str, accuracy: float, **more: object) -> dict[str, object]:
        return {"label": label, "cloze": {"accuracy": accuracy}, "kind": "trained", **more}

    slow = rung("bert", 0.3, curve=[{"seconds": 1.0, "accuracy": 0.1}, {"seconds": 9.0, "accuracy": 0.3}])
    count = rung("bigram", 0.5, kind="control", counts=True)
    assert crossings([count, slow, rung("glove", 0.2)])[0].startswith("Nothing trained here beats the bigram")
    assert crossings([count, slow, rung("ngram", 0.6)])[0].startswith("Nothing trained here but ngram beats the bigram")
