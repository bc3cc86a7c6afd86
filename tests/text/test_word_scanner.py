"""The scanner equals the plain rule, byte for byte, on odd text and on real text."""
from __future__ import annotations

import lzma

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polysemy.text import word_scanner
from polysemy.text.vocabulary import WordConfig, split_words
from polysemy.text.word_blocks import valid_utf8
from polysemy.text.word_rows import COUNT, NUMBER, joined
from polysemy.text.word_scanner import scan_block
from polysemy.text.word_table import WordTable

CONFIGS = [WordConfig(tokens=tokens, lowercase=small) for tokens in ("words", "space") for small in (True, False)]
ODD = "ab Bz中国0９.\n\r\t\0\u0301я\u200dのİΣσςßẞǅﬁ\u2028\u3000\u00a0\u00ad"


def scanned(text: str, config: WordConfig) -> list[str]:
    """The words of a text as the scanner finds them, with a line feed for a line end."""
    found = []
    for scan in scan_block(text.encode(), config):
        words = joined(scan.words, np.arange(scan.words.state[0])).tobytes().decode().split("\n")
        rows = scan.words.rows[: scan.words.state[0]]
        stands_for = rows[:, NUMBER].astype(int)
        found += ["\n" if token < 0 else words[stands_for[token]] for token in scan.tokens]
        counts = np.bincount(stands_for[scan.tokens[scan.tokens >= 0]], minlength=len(rows))
        assert counts.tolist() == rows[:, COUNT].tolist()
    return found[1:] if found[:1] == ["\n"] else found  # the first line has no words


def plain(text: str, config: WordConfig) -> list[str]:
    lines = [split_words(line, config) for line in text.split("\n")]
    found = [word for line in lines if line for word in [*line, "\n"]]
    return found if text.endswith("\n") or not lines[-1] else found[:-1]


@settings(max_examples=200, deadline=None)
@given(st.text(st.one_of(st.sampled_from(ODD), st.characters(exclude_categories=["Cs"])), max_size=60))
@example("İSTANBUL ΟΔΟΣ ΟΔΟΣ. Ⱥ ŉ ǰ ΐ")
@example("x" * 16 + " " + "x" * 17 + " " + "X" * 17 + "y" + " " + "x" * 16 + "Ä")
@example("\u0301\n\u0301x\n")
@example("a\u0345Σ Σ\u0345 \u0345Σ")
def test_the_scanner_equals_the_plain_rule(text):
    for config in CONFIGS:
        words = [word for word in scanned(text, config) if word != "\n"]
        assert words == [word for word in plain(text, config) if word != "\n"]
        assert scanned(text + "\n", config) == plain(text + "\n", config)


def test_lines_without_words_leave_nothing():
    assert scanned("\n\n a \n \n.\nb\n\n", WordConfig()) == ["a", "\n", "b", "\n"]


@pytest.mark.parametrize("name", ["english/train.txt.xz", "chinese/corpus-zh.txt.xz"])
def test_the_scanner_equals_the_plain_rule_on_real_text(shared_data, name):
    with lzma.open(shared_data / name) as file:
        text = file.read(400_000).decode("utf-8", "replace").replace("\0", " ")
    for config in CONFIGS:
        assert scanned(text, config) == plain(text, config)


def test_every_character_is_cut_and_lowered_as_python_does_it():
    every = [chr(code) for code in range(0x30000) if not 0xD800 <= code < 0xE000 and code != 10]
    rows = [every[start : start + 1000] for start in range(0, len(every), 1000)]
    text = "\n".join(" ".join(f"a{ch}B {ch}" for ch in row) for row in rows)
    for config in CONFIGS:
        assert scanned(text, config) == plain(text, config)
    assert [ch for ch in every if ch.lower().lower() != ch.lower()] == []


def test_a_full_table_goes_on_in_another_one(monkeypatch):
    text = "".join(f"w{number} Ä{number % 100}\n" for number in range(100_000))
    assert len(list(scan_block(text.encode(), WordConfig()))) == 2
    assert scanned(text, WordConfig(tokens="space")) == plain(text, WordConfig(tokens="space"))
    assert word_scanner.MAX_DIFFERENT == 1 << 16


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=24), st.text(max_size=16).map(lambda text: text.encode("utf-8", "surrogatepass"))),
       st.integers(0, 9))
@example(b"\xed\xa0\x80", 0)
@example(b"\xf4\x90\x80\x80", 0)
@example(b"\xe0\x80\xaf", 8)
@example(b"\xc3", 7)
def test_valid_utf8_is_what_python_decodes(data, shift):
    data = b"x" * shift + data
    try:
        data.decode()
        valid = True
    except UnicodeDecodeError:
        valid = False
    assert valid_utf8(np.frombuffer(data, np.uint8)) == valid


def test_words_of_equal_count_stand_in_the_order_of_their_bytes():
    long = "antidisestablish"
    words = [long + tail for tail in ("m", "me", "mé", "mz", "", "a", "中")]
    words += ["b", "ba", "B", "é", "中", "𠀀", "a" * 9]
    table = WordTable()
    for word in words:
        for scan in scan_block(f"{word} {word}\n".encode(), WordConfig(tokens="space", lowercase=False)):
            table.add(scan.words)
    for scan in scan_block(b"zz zz zz\n", WordConfig()):
        table.add(scan.words)
    found, counts, numbers = table.ranked(1)
    assert found == ["zz", *sorted(words, key=str.encode)]
    assert counts.tolist() == [3] + [2] * len(words)
    assert [([*words, "zz"])[number] for number in numbers] == found


def test_a_table_of_given_words_finds_them_and_no_others():
    words = [f"word {number}" for number in range(5000)] + ["x" * 20, "x" * 21]
    table = WordTable.of(words)
    block = next(iter(scan_block(("x" * 20 + " " + "x" * 22 + "\n").encode(), WordConfig())))
    assert table.find(block.words).tolist() == [5000, -1]
    assert len(table) == len(words)
