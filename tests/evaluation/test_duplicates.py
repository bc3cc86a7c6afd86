"""Shared runs: copies are found through disguises, and nothing else is."""
from __future__ import annotations

import numpy as np
import pytest

from polysemy.evaluation.duplicates import HAN_RUN, WORD_RUN, RunIndex, runs_of, without_shared
from polysemy.evaluation.fingerprints import words_of
from polysemy.runtime import random_for

POEM = "It was many and many a year ago in a kingdom by the sea that a maiden there lived whom you may know"
HAN = "从前有座山山里有座庙庙里有个老和尚在给小和尚讲故事他讲的是什么故事呢"


def index_of(text: str) -> RunIndex:
    words = words_of(text)
    return RunIndex([runs_of(words, np.zeros(len(words), np.int64)).numbers])


@pytest.mark.parametrize("disguise", [
    str.upper, lambda text: text.replace(" ", " -- "), lambda text: text.replace(" ", "\n"),
    lambda text: f"Once I read this: {text} And so on.", lambda text: " ".join(text.split()[3 : 3 + WORD_RUN]),
    lambda text: text.replace("kingdom", "castle") + " " + text[-80:],
])
def test_a_copy_is_found_through_a_disguise(disguise) -> None:
    assert disguise(POEM) in index_of(f"He said aloud. {POEM}. Then he left.")


def test_a_run_one_word_short_is_no_copy() -> None:
    index = index_of(POEM)
    assert " ".join(POEM.split()[4 : 4 + WORD_RUN]) in index
    assert " ".join(POEM.split()[4 : 3 + WORD_RUN]) + " zebra" not in index


def test_han_text_needs_twenty_characters() -> None:
    index = index_of(HAN)
    assert HAN[5 : 5 + HAN_RUN] in index
    assert "，".join(HAN[5 : 5 + HAN_RUN]) in index
    assert HAN[5 : 4 + HAN_RUN] + "猫" not in index


def test_no_run_crosses_two_documents() -> None:
    half = len(POEM.split()) // 2
    first, second = (" ".join(part) for part in (POEM.split()[:half], POEM.split()[half:]))
    assert without_shared([first, second], index_of(POEM)).shared_words == 0
    assert without_shared([f"{first} {second}"], index_of(POEM)).shared_words > 0


def test_only_the_shared_paragraph_goes() -> None:
    kept = "A long line of other words stands before, about nothing in particular, and goes on for quite some time."
    left = without_shared([f"{kept}\n{POEM}\n{kept}"], index_of(POEM))
    assert left.kept == [f"{kept}\n{kept}"]
    assert (left.touched, left.copies, left.shared_words) == (1, 0, len(POEM.split()))


def test_a_run_over_two_paragraphs_takes_both() -> None:
    words = POEM.split()
    filler = "filler " * 60
    text = f"{filler}\n{' '.join(words[:8])}\n{' '.join(words[8:])}\n{filler}"
    assert without_shared([text], index_of(POEM)).kept == [f"{filler}\n{filler}"]


def test_a_document_that_is_mostly_shared_goes_whole() -> None:
    left = without_shared([f"{POEM}\nand a few more words", "untouched text"], index_of(POEM))
    assert left.kept == ["untouched text"]
    size = len(POEM.split()) + 5
    assert (left.copies, left.words, left.shared_words) == (1, size + 2, size)


def test_empty_index_and_empty_text_are_harmless() -> None:
    assert without_shared([POEM, ""], RunIndex([])).kept == [POEM, ""]
    assert POEM not in RunIndex([])
    assert len(index_of("")) == 0


def test_runs_agree_with_a_plain_search() -> None:
    """Random text of few words, so that runs do recur by chance, against sets of tuples."""
    random = random_for("runs")
    letters = np.array(list("ab"))

    def text(number: int) -> str:
        return " ".join(letters[random.integers(0, 2, number)])

    held_out, train = text(2_000), [text(300) for _ in range(20)]
    known = {tuple(held_out.split()[at : at + WORD_RUN]) for at in range(2_000)}
    index = index_of(held_out)
    for document in train:
        words = document.split()
        expected = [tuple(words[at : at + WORD_RUN]) in known for at in range(len(words) - WORD_RUN + 1)]
        runs = runs_of(words_of(document), np.zeros(len(words), np.int64))
        assert index.holds(runs.numbers).tolist() == expected
