"""Words by our own rule."""
from __future__ import annotations

import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysemy.errors import InputError
from polysemy.text.words import HAN_RANGES, character_table, is_han, word_bounds, word_spans


def words(text: str, unit: str = "character") -> list[str]:
    return [text[start:stop] for start, stop in word_spans(text, unit)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mother-in-law's B2B, don't!", "Mother in law s B 2 B don t"),
        ("3.14 and 1,000 or ４２", "3 14 and 1 000 or ４２"),
        ("naïve nai\u0308ve co\u00adop", "naïve nai\u0308ve co\u00adop"),
        ("МоскваMoscow Αθήνα", "Москва Moscow Αθήνα"),
        ("中国人abc，２０年", "中 国 人 abc ２０ 年"),
        ("日本のカタカナー", "日 本 の カタカナー"),
        ("हिन्दी 한국어 می\u200cخواهم", "हिन्दी 한국어 می\u200cخواهم"),
        ("ＡＢＣ𠀀々〇", "ＡＢＣ 𠀀 々 〇"),
        ("... — $ \u0301 😀 _", ""),
        ("\u0301x", "x"),
        ("", ""),
    ],
)
def test_words_are_runs_of_one_script_or_of_digits_and_han_characters(text, expected):
    assert words(text) == expected.split()


def test_a_segmenter_cuts_han_runs_and_leaves_the_rest_alone():
    pytest.importorskip("jieba", reason="needs the extra zh")
    text = "中国人民银行 in 北京，naïve。"
    assert words(text, "word") == ["中国人民银行", "in", "北京", "naïve"]
    assert "".join(words(text, "word")) == "".join(words(text))


def test_a_missing_segmenter_is_named(monkeypatch):
    from polysemy.text import words as module

    monkeypatch.setitem(sys.modules, "jieba", None)
    monkeypatch.setattr(module, "_segmenter", module._segmenter.__wrapped__)
    with pytest.raises(InputError, match=r'installed, got "word"; pip install "polysemy\[zh\]"'):
        word_spans("中国", "word")
    assert words("plain text", "word") == ["plain", "text"]
    with pytest.raises(InputError, match="unit must be one of character, word, got 'syllable'"):
        word_spans("中国", "syllable")


def slow_words(text: str) -> list[str]:
    """The same rule, character by character."""
    found: list[str] = []
    table = character_table()
    kind = 0
    for ch in text:
        now = int(table[ord(ch)])
        if now == 2:  # a mark goes on with what is there
            if kind:
                found[-1] += ch
            continue
        if now and now == kind and not is_han(ch):
            found[-1] += ch
        elif now:
            found.append(ch)
        kind = now
    return found


@given(st.text(st.one_of(st.sampled_from("ab中国0９. \u0301я\u200dの"), st.characters()), max_size=40))
def test_the_array_rule_equals_the_plain_one(text):
    assert words(text) == slow_words(text)
    starts, stops = word_bounds(text)
    assert (starts < stops).all()
    assert (starts[1:] >= stops[:-1]).all()


def test_every_letter_and_digit_is_inside_a_word_and_no_punctuation_is():
    for code in [*range(0x3000), *range(0xFF00, 0xFFF0)]:
        ch = chr(code)
        kind = unicodedata.category(ch)[0]
        alone, after = bool(words(ch)), len("".join(words("a" + ch)))
        if kind in "LN":
            assert after == 2, hex(code)
        elif kind in "PSZC" and code not in (0xAD, 0x200C, 0x200D, 0x2060):
            assert not alone, hex(code)
            assert after == 1, hex(code)


def test_the_table_fits_bytes_and_agrees_with_is_han():
    table = character_table()
    assert table.dtype == np.uint8
    for first, last in HAN_RANGES:
        assert is_han(chr(first))
        assert is_han(chr(last))
    assert [ch for ch in "a1 。の한" if is_han(ch)] == []
