"""Which words are counted, how often, and which look alike."""
from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from word_world import split

from polysemy.evaluation import fingerprints
from polysemy.evaluation.fingerprints import words_of
from polysemy.evaluation.vocabulary import count_words, folded_numbers, looks, standalone


def alone(text: str) -> list[str]:
    words = words_of(text)
    return [text[start:stop] for start, stop, kept in
            zip(words.starts.tolist(), words.stops.tolist(), standalone(words).tolist(), strict=True) if kept]


@pytest.mark.parametrize(("text", "expected"), [
    ("He said (softly) \"no\", then left.", "He said softly no then left"),
    ("don't won’t mother-in-law's 'tis", ""),
    ("well--yes -- no—never", "well yes no never"),
    ("see www.site.com or a@b.org, and/or U.S. law", "see or law"),
    ("the end. Next", "the end Next"),
    ("B2B x1 snake_case", ""),
    ("我爱Python和你。", "我 爱 Python 和 你"),
    ("他说：“好。”", "他 说 好"),
])
def test_only_words_that_stand_by_themselves_count(text: str, expected: str) -> None:
    assert alone(text) == expected.split()


def test_counts_agree_with_a_dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints.read_blocks, "__defaults__", (5_000,))  # many batches
    expected = Counter(split().train.read_text(encoding="utf-8").replace(".", "").split())
    vocabulary = count_words(split().train, min_count=3)
    found = dict(zip(vocabulary.words, vocabulary.counts.tolist(), strict=True))
    assert found == {word: count for word, count in expected.items() if count >= 3}
    assert vocabulary.total == sum(expected.values())
    assert (np.diff(vocabulary.counts) <= 0).all()
    assert np.exp(vocabulary.log_frequency())[0] == pytest.approx(max(expected.values()) / sum(expected.values()))


def test_words_are_found_by_their_numbers() -> None:
    vocabulary = count_words(split().train)
    numbers = words_of(" ".join([*vocabulary.words[:50], "unknownword"])).numbers()
    assert vocabulary.find(numbers).tolist() == [*range(50), -1]


def test_looks_tell_script_and_case(tmp_path: Path) -> None:
    lines = {"the": 90, "The": 30, "cat": 20, "Cat": 9, "Anna": 20, "Rome": 8, "rome": 5, "NASA": 9, "USA": 8,
             "iPod": 7, "银": 9, "行": 9, "кот": 9, "1998": 9, "a": 30, "q": 9, "I": 30}
    path = tmp_path / "train.txt"
    path.write_text("\n\n".join(f"{word} " * count for word, count in lines.items()), encoding="utf-8")
    vocabulary = count_words(path)
    look = dict(zip(vocabulary.words, looks(vocabulary).tolist(), strict=True))
    assert look["the"] == look["cat"] == look["rome"] == look["a"]
    assert look["The"] == look["Cat"]  # small words at the start of a sentence
    assert look["Anna"] == look["Rome"] != look["The"]  # names
    assert look["NASA"] == look["USA"]
    assert look["银"] == look["行"]
    assert len({look[word] for word in ("the", "The", "Anna", "NASA", "iPod", "银", "кот")}) == 7
    assert look["1998"] == look["I"] == -1


def test_single_letters_count_only_when_frequent(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    frequent = [first + second + third for first in "bcdfgh" for second in "aeiou" for third in "lmnr"]
    path.write_text(" ".join(["a"] * 50 + frequent * 20 + ["q"] * 6), encoding="utf-8")
    vocabulary = count_words(path)
    look = dict(zip(vocabulary.words, looks(vocabulary).tolist(), strict=True))
    assert look["a"] >= 0
    assert look["q"] == -1


def test_folded_numbers_are_those_of_running_text() -> None:
    words = ["The", "NASA", "Ärger", "银"]
    assert folded_numbers(words).tolist() == words_of("the nasa ärger 银").numbers().tolist()
