"""Counting neighbors, against a plain count."""
from __future__ import annotations

from collections import Counter
from itertools import pairwise
from math import log
from pathlib import Path

import numpy as np
import pytest
from word_world import items, split

from polysemy.capability import ClozeItem
from polysemy.errors import InputError
from polysemy.evaluation import bigram
from polysemy.evaluation.bigram import BigramControl, UnigramControl
from polysemy.evaluation.cloze import judge

TEXT = "The cat sat. the dog sat!\nA cat ran.\n\nThe cat ran, the end"
UNITS = [["<>", "the", "cat", "sat", ".", "the", "dog", "sat", "!", "a", "cat", "ran", ".", "<>",
          "the", "cat", "ran", ",", "the", "end", "<>"]]


@pytest.fixture
def trained(tmp_path: Path) -> BigramControl:
    (tmp_path / "train.txt").write_text(TEXT, encoding="utf-8")
    return BigramControl.train(tmp_path / "train.txt", smoothing=2.0)


def plain(first: str, second: str) -> float:
    units, pairs = Counter(UNITS[0]), Counter(pairwise(UNITS[0]))
    share = (units[second] + 0.5) / (len(UNITS[0]) + 0.5)
    return log((pairs[first, second] + 2 * share) / (units[first] + 2))


def test_scores_agree_with_a_plain_count(trained: BigramControl) -> None:
    cases = [("Then the ", " ran away", "the", "ran"), ("", " sat", "<>", "sat"), ("... the ", "", "the", "<>"),
             ("They saw the ", ", too", "the", ","), ("no such (", ") thing", "(", ")")]
    for left, right, before, after in cases:
        item = ClozeItem(left=left, right=right, candidates=("cat", "Dog", "unicorn"))
        expected = [plain(before, word) + plain(word, after) for word in ("cat", "dog", "unicorn")]
        assert trained.cloze_scores([item])[0] == pytest.approx(expected)


def test_probabilities_of_known_units_sum_to_nearly_one(trained: BigramControl) -> None:
    units = trained.units[0]
    for first in units[:4]:
        total = np.exp(trained.log_probability(np.full(len(units), first), units)).sum()
        assert total == pytest.approx(1, abs=0.35)  # half a count a unit is kept for unknown ones


def test_batches_do_not_change_the_counts(trained: BigramControl, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(bigram, "BATCH_UNITS", 3)
    monkeypatch.setattr("polysemy.evaluation.fingerprints.read_blocks.__defaults__", (1,))
    again = BigramControl.train(tmp_path / "train.txt")
    known = set(zip(again.pairs[0].tolist(), again.pairs[1].tolist(), strict=True))
    edge = bigram._pair(np.array([bigram.EDGE]), np.array([bigram.EDGE]))[0]
    expected = set(zip(*(part.tolist() for part in trained.pairs), strict=True))
    assert {pair for pair in known if pair[0] != edge} == expected


def test_rare_pairs_are_forgotten_when_there_are_too_many(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(bigram, "MOST_PAIRS", 5)
    (tmp_path / "train.txt").write_text(TEXT, encoding="utf-8")
    assert BigramControl.train(tmp_path / "train.txt").pairs[1].min() > 1


def test_habits_of_succession_are_learned() -> None:
    """Half the words are one of three followers of the word before."""
    summary = judge(BigramControl.train(split().train), items()).summary()
    assert summary["interval"][0] > 0.3
    assert summary["bits"] < 3.2


def test_the_unigram_control_scores_by_frequency() -> None:
    scores = UnigramControl().cloze_scores(items().test[:3])
    assert scores.tolist() == [list(question.log_frequency) for question in items().test[:3]]


def test_text_without_words_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="training text must hold words"):
        BigramControl.train(tmp_path / "train.txt")
