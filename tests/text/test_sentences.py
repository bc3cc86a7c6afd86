"""Sentence borders in English and Chinese; `|` marks them in the examples."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polysemy.text.lines import paragraph_spans
from polysemy.text.sentences import sentence_spans


def check(marked: str) -> None:
    text = marked.replace("|", "")
    assert [text[start:stop] for start, stop in sentence_spans(text)] == [part.strip() for part in marked.split("|")]


ENGLISH = {
    "titles": "He met Mr. Smith and Dr. Jones at St. Mary's.| They left.",
    "initials": "J. R. R. Tolkien wrote it.| So did George W. Bush.| It was I.| He agreed.",
    "dotted": "He lives in the U.S. Army base at 5 p.m. Eastern time.| We left the U.S.| The rest stayed.",
    "latin": "Fruits, e.g. Apples, i.e. sweet ones, cf. Pears etc. Etcetera is long.",
    "decimals": "Pi is 3.14 and not 3.| It costs $5.50.| 25 people paid.",
    "numbers": "See No. 5 and Fig. 3 on pp. 7.| No.| He said no.| Then Vol. II came.",
    "list": "1. Introduction is first.| 2. The rest is not.| (a) Last it is.",
    "months": "On Jan. 5 it rained.| In Sept. Monday was dry.",
    "quote after the full stop": '"I came."| "You saw."| He won.| (He left.) |She did not.',
    "speech goes on": '"Stop!" he cried.| "Who?" John asked.| "Why?" asked Jane.| "Now!"| Everybody ran.',
    "single quotes": "'Really?' he said.| 'Yes.'| ‘No!’ she cried.| “Well.”| That was all.",
    "ellipsis": "He waited... and waited.| Then he left...| Nobody knew.| Well . . . perhaps.| So . . . |No.",
    "several marks": "What?!| No!!!| Really??? |Yes.",
    "no capital after it": "Yahoo! is a company.| The p.s. was long.",
    "cut into tokens": 'He went to the U.S. and Mr. Fox .| It was " good . " |He left .| Yes !',
    "addresses": "Visit www.example.com or a.b@c.org.| It runs python3.11 well.",
    "brackets": "It works (see Fig. 3).| [Well.] |It does.",
    "business": "He works for Acme Inc. The company grew.".replace("Inc. ", "Inc.| "),
    "uncased": "i like it.| it is good.| they are bad.| we are done.| ok",
}
CHINESE = {
    "marks": "你好。|我来了！|真的吗？|是。",
    "closing quotes": "他说：“我来了。”|她走了。|（全文完。）|好。",
    "speech goes on": "“你好！”他说。|“真的吗？”，她问。|“走！”他笑道：“好。”|完。",
    "several marks": "什么？！|不！！！|真的吗？？？|是。",
    "ellipsis": "他去了……|后来回来了。",
    "decimals": "３．１４是圆周率。|价格是3.5元。|第1.2节很短。",
    "Latin marks": "好吗?|我不知道!|他说. |好",
    "list": "1.外观好看。|2.价格便宜。|3、很好。",
    "mixed": "我用 Windows 3.1。|I like it. |他也喜欢。",
    "lines": "标题\n|第一段。|第二句。\n|结尾",
}


@pytest.mark.parametrize("marked", ENGLISH.values(), ids=ENGLISH)
def test_english_sentences(marked):
    check(marked)


@pytest.mark.parametrize("marked", CHINESE.values(), ids=CHINESE)
def test_chinese_sentences(marked):
    check(marked)


def test_other_scripts_end_their_sentences_with_their_own_marks():
    check("यह एक है।| यह दो है।")
    check("هل هذا؟| نعم.")


def test_a_line_is_a_paragraph():
    check("CHAPTER I\n|\n|The first line has no full stop\n|And the second is another.".replace("|\n|", "\n|"))


def test_wrapped_lines_are_joined_and_headings_are_not():
    wrapped = ("It was a dark night in the middle of nowhere and the wind was\n"
               "blowing hard over the plains and the hills. Nobody came to see\n"
               "the three old men who lived there, and nobody ever asked about\n"
               "Them. So they waited.")
    check(wrapped.replace("hills. ", "hills. |").replace("Them. ", "Them. |"))
    heading = "THE END OF IT\n\n" + wrapped
    assert len(paragraph_spans(heading)) == 2


def test_chinese_and_verse_lines_are_not_joined():
    verse = ("Tyger Tyger, burning bright,\nIn the forests of the night;\n"
             "What immortal hand or eye,\nCould frame thy symmetry?")
    assert len(paragraph_spans(verse)) == 4
    assert len(paragraph_spans("春眠不觉晓\n处处闻啼鸟\n夜来风雨声\n花落知多少")) == 4


@given(st.text(st.sampled_from("aB c.!?…。”\"'（)\n\u3000 1中Mr—-”"), max_size=60))
def test_sentences_cover_all_that_is_not_white_space_once(text):
    spans = sentence_spans(text)
    covered = [place for start, stop in spans for place in range(start, stop)]
    assert covered == sorted(set(covered))
    assert {place for place, ch in enumerate(text) if not ch.isspace()} <= set(covered)
    for start, stop in spans:
        assert text[start:stop] == text[start:stop].strip() != ""


@pytest.mark.timeout(30)
@pytest.mark.parametrize("text", [
    "." * 100_000 + "a", "a. " * 50_000, '"' * 50_000, "A.B." * 20_000, ". " * 50_000 + ".a", "x\n" * 50_000,
    '. "' * 50_000, "a. (" * 50_000, "b.\n" * 50_000, "。”" * 50_000, "A b c. d " * 20_000, "Mr. " * 50_000,
    "!)" * 50_000,
], ids=range(13))
def test_odd_texts_take_linear_time(text):
    spans = sentence_spans(text)
    assert spans[0][0] == 0
    assert spans[-1][1] == len(text.rstrip())


def test_real_text_gives_sentences_of_a_sane_length(shared_data):
    from polysemy.text.corpus import Corpus

    for name, low, high in (("english/train.txt.xz", 60, 140), ("chinese/corpus-zh.txt.xz", 20, 50)):
        lengths = []
        for document in Corpus(shared_data / name):
            lengths += [stop - start for start, stop in sentence_spans(document.text)]
            if len(lengths) > 20_000:
                break
        assert low < sum(lengths) / len(lengths) < high
        assert sum(length < 3 for length in lengths) < 0.02 * len(lengths)
