"""A vocabulary: words, numbers, counts, and the rule by which text is cut."""
from __future__ import annotations

import json

import numpy as np
import pytest

from polysemy.errors import InputError
from polysemy.text.vocabulary import Vocabulary, WordConfig, split_words


def small(**rule) -> Vocabulary:
    return Vocabulary(["the", "bank", "河", "don"], np.array([5, 3, 3, 1]), WordConfig(**rule), 40)


def test_words_have_numbers_and_numbers_words():
    vocabulary = small()
    assert len(vocabulary) == 4
    assert [vocabulary.index(word) for word in vocabulary.words] == [0, 1, 2, 3]
    assert "bank" in vocabulary
    assert "Bank" not in vocabulary
    assert vocabulary.find("Bank") == -1
    with pytest.raises(KeyError):
        vocabulary.index("Bank")
    assert vocabulary.counts.dtype == np.int64


def test_text_becomes_numbers_by_the_rule_with_line_ends_only_between_lines():
    vocabulary = small()
    assert vocabulary.split("Don't! THE bank河岸") == ["don", "t", "the", "bank", "河", "岸"]
    assert vocabulary.ids("Don't!\n\n \nTHE bank河岸\n").tolist() == [3, -2, -1, 0, 1, 2, -2]
    assert vocabulary.ids("").dtype == np.int32
    assert vocabulary.ids(" \n").tolist() == []
    assert small(lowercase=False).ids("THE the").tolist() == [-2, 0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a  b\tc\r\nd\x0be\x0cf", ["a", "b", "c", "d", "e", "f"]),
        ("don't <unk> , A.B", ["don't", "<unk>", ",", "a.b"]),
        ("no\u00a0break u+\u3000x line\u2028s \x1c", ["no\u00a0break", "u+\u3000x", "line\u2028s", "\x1c"]),
        ("nul\0nul", ["nul", "nul"]),
        ("", []),
    ],
)
def test_space_cuts_at_white_space_of_ascii_only(text, expected):
    assert split_words(text, WordConfig(tokens="space")) == expected


def test_a_segmenter_gives_chinese_words():
    pytest.importorskip("jieba", reason="needs the extra zh")
    assert split_words("我们在北京 OK", WordConfig(unit="word")) == ["我们", "在", "北京", "ok"]
    assert split_words("我们", WordConfig()) == ["我", "们"]


def test_a_saved_vocabulary_comes_back_equal(tmp_path):
    odd = Vocabulary(["<unk>", "'", "\u2028", "a\u0301", "𠀀", "x\r"], np.array([2**40, 5, 4, 3, 2, 0]),
                     WordConfig(tokens="space", min_count=1, keep_unknown=True), 2**41)
    odd.save(tmp_path)
    back = Vocabulary.load(tmp_path)
    assert back.words == odd.words
    assert back.counts.tolist() == odd.counts.tolist()
    assert (back.config, back.total) == (odd.config, odd.total)


def test_files_that_were_altered_are_refused(tmp_path):
    small().save(tmp_path)
    table, facts = tmp_path / "vocabulary.tsv", tmp_path / "vocabulary.json"
    good = table.read_text()
    for bad, message in [
        (good[:-1], "must have 4 whole lines"),
        (good + "more\t1\n", "must have 4 whole lines, got 5"),
        (good.replace("\t3", " 3"), "a word, a tab and a count on each line, got line 2: 'bank 3'"),
        (good.replace("5", "-5"), "got line 1"),
        (good.replace("5", "9" * 19), "got line 1"),
        (good.replace("don", "the"), "words must be different, got 'the' twice"),
    ]:
        table.write_text(bad)
        with pytest.raises(InputError, match=message):
            Vocabulary.load(tmp_path)
    table.write_bytes(good.encode().replace(b"bank", b"\xff"))
    with pytest.raises(InputError, match="must be UTF-8, got byte 0xff at 6"):
        Vocabulary.load(tmp_path)
    table.write_text(good)
    facts.write_text(json.dumps({"words": "4"}))
    with pytest.raises(InputError, match="must hold words, total and rule"):
        Vocabulary.load(tmp_path)
    table.unlink()
    with pytest.raises(InputError, match="vocabulary"):
        Vocabulary.load(tmp_path)


def test_what_can_be_no_vocabulary_is_refused(tmp_path):
    with pytest.raises(InputError, match="counts must be one for each of 1 words, got \\(2,\\)"):
        Vocabulary(["a"], np.array([1, 2]), WordConfig(), 3)
    with pytest.raises(InputError, match="counts must be at least 0, got -1"):
        Vocabulary(["a"], np.array([-1]), WordConfig(), 3)
    for word in ("", "a\tb", "a\nb", "\ud800"):
        with pytest.raises(InputError, match="words must"):
            Vocabulary([word], np.array([1]), WordConfig(), 3).save(tmp_path)
    with pytest.raises(InputError, match="min_count must be at least 1, got 0"):
        WordConfig(min_count=0)
    with pytest.raises(InputError, match="max_words must be 0"):
        WordConfig(max_words=-1)
