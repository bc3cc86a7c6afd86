"""The compiled sentence borders are those of the plain rules, on odd text and on real text."""
from __future__ import annotations

import lzma

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polysemy.text import fast_sentences
from polysemy.text.part import sentence_starts

PIECES = (
    "He", "he", "said", "She left", "Mr", "dr", "no", "No", "U.S", "J", "p", "I", "iv", "12", "1994", "xi", "etc",
    "co", "e.g", "Éa", "éa", "中国", "说", "𠀀", "٣", "antidisestablish", "_em_", "don't", "a-b", "O’Neil", "Smith",
    "thought", ".", "!", "?", "…", "...", ". . .", "。", "！", "？", "।", "，", "\"", "'", "“", "”", "’", ")", "(",
    "]", "[", "」", "「", "—", "--", ",", ";", ":", "*", "&", "#", " ", " ", " ", "  ", "\n", "\n\n",
    "\u00a0", "\u3000", "\t", "\x1c",
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=24).map("".join)


def same(texts: list[str]) -> bool:
    return all(np.array_equal(ours, plain) for ours, plain in
               zip(fast_sentences.sentence_starts(texts), sentence_starts(texts), strict=True))


@settings(max_examples=600, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=4))
@example(["i like it. it is good. they are bad. we are done. ok", "No. 5 is I. He"])
@example(['"Stop!" he cried. "Who?" John asked. "No!" Mary Ann said.', ". A", "x. —", "।।।", "(1. A b. C"])
def test_compiled_borders_are_those_of_the_rules(texts):
    assert same(texts)


def test_wrapped_and_uncased_texts_keep_their_borders():
    lines = ["A line of some sixty characters that was cut there. It goes", "on behind the cut. And on."]
    wrapped = "\n".join(lines * 4)
    uncased = "it was good. we liked it. they did too. that is all.\nso it was. we were glad. ok. bye."
    assert same([wrapped, "One. Two.", uncased, "", wrapped + "\n" + uncased])


@pytest.mark.parametrize("name", ["english/train.txt.xz", "chinese/corpus-zh.txt.xz"])
def test_compiled_borders_are_those_of_the_rules_on_real_text(shared_data, name):
    with lzma.open(shared_data / name) as file:
        text = file.read(600_000).decode("utf-8", "replace")
    assert same(text.split("\n"))
    assert same(text.split("\n\n"))
    assert same([text[start : start + 997] for start in range(0, len(text), 997)])
