"""A training row as a table to read."""
from __future__ import annotations

import re

import numpy as np
import pytest
from token_world import IdTokenizer, corpus, from_ids

from polysemy.errors import InputError
from polysemy.text.batches import Batch, Batches
from polysemy.text.masking import Corruption, MarkedSpans, Spans, Tokens
from polysemy.text.segments import NextSentence, Segments, SentenceOrder, Stretch
from polysemy.text.sentences import sentence_spans
from polysemy.text.shards import Shards
from polysemy.text.show import display_width, render
from polysemy.text.streams import Chunks, LanguageBatches
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

ENGLISH = ["The unhappiness of the bank was plain. It sat by the river and the river ran on. Nobody came to the bank.",
           "A robot must obey the orders given to it. It may not harm a human being. Nobody asked the robot about it."]
CHINESE = ["银行在河边。他坐在河岸上看书，没有人来。河水一直流。",
           "机器人必须服从命令。它不得伤害人类！没有人问过机器人。"]


def trained(texts: list[str], size: int) -> tuple[Tokenizer, Shards]:
    tokenizer = Tokenizer.train(texts * 3, TokenizerConfig(vocab_size=size, marks=True))
    documents = [[tokenizer.encode(text[start:stop]).ids.tolist() for start, stop in sentence_spans(text)]
                 for text in texts]
    return tokenizer, Shards.from_documents(documents, tokenizer.vocab_size)


@pytest.fixture(scope="module")
def english() -> tuple[Tokenizer, Shards]:
    return trained(ENGLISH, 90)


@pytest.fixture(scope="module")
def chinese() -> tuple[Tokenizer, Shards]:
    return trained(CHINESE, 60)


def batch_of(world: tuple[Tokenizer, Shards], segments: Segments, corruption: Corruption, length: int = 64) -> Batch:
    return Batches(world[1], world[0], segments, corruption, batch_size=4, length=length, seed=0)[0]


def blocks_of(text: str) -> list[dict[str, list[tuple[int, str]]]]:
    """For each block of the table, by line name: (column on the screen, cell)."""
    blocks = []
    for part in text.split("\n\n"):
        block = {}
        for line in part.splitlines():
            name = line.split(" ")[0]
            if name in ("column", "position", "shown", "original", "why", "segment", "document", "span"):
                cells = [(display_width(line[: found.start()]), found.group()) for found in re.finditer(r"\S+", line)]
                block[name] = cells[1:]
        if "shown" in block:
            blocks.append(block)
    return blocks


def cells_of(text: str, name: str) -> list[str]:
    return [cell for block in blocks_of(text) for _, cell in block.get(name, [])]


@pytest.mark.parametrize("columns", [40, 80, 132])
@pytest.mark.parametrize("language", ["english", "chinese"])
def test_the_table_fits_the_screen_and_stands_in_columns(language: str, columns: int,
                                                         request: pytest.FixtureRequest) -> None:
    world = request.getfixturevalue(language)
    batch = batch_of(world, NextSentence(), Tokens())
    for row in range(4):
        text = render(batch, world[0], row, columns=columns)
        assert max(map(display_width, text.splitlines())) <= columns
        blocks = blocks_of(text)
        assert len(blocks) >= (1 if columns > 80 else 2)
        for block in blocks:
            places = [place for place, _ in block["shown"]]
            assert [place for place, _ in block["position"]] == places
            for name in ("original", "why"):
                assert {place for place, _ in block.get(name, [])} <= set(places)


@pytest.mark.parametrize("language", ["english", "chinese"])
def test_the_table_shows_what_the_batch_holds(language: str, request: pytest.FixtureRequest) -> None:
    tokenizer, shards = request.getfixturevalue(language)
    batch = batch_of((tokenizer, shards), NextSentence(), Tokens(rate=0.4, mask_rate=0.5, random_rate=0.3))
    seen = set()
    for row in range(4):
        text = render(batch, tokenizer, row, columns=100)
        visible, hidden = batch.visible[row], batch.hidden[row]
        assert cells_of(text, "shown") == tokenizer.pieces(batch.ids[row, visible])
        assert cells_of(text, "position") == [str(position) for position in batch.positions[row, visible]]
        assert cells_of(text, "segment") == [str(segment) for segment in batch.segments[row, visible]]
        targets = batch.take([row]).targets
        assert cells_of(text, "original") == tokenizer.pieces(targets)
        expected = ["mask" if shown == tokenizer.mask_id else "kept" if shown == target else "random"
                    for shown, target in zip(batch.ids[row, hidden], targets, strict=True)]
        assert cells_of(text, "why") == expected
        seen |= set(expected)
        assert f"{len(targets)} hidden (" in text
        assert f"global row {batch.rows[row]}:" in text
    assert seen == {"mask", "kept", "random"}


def test_the_pair_label_is_said_in_words(english: tuple[Tokenizer, Shards]) -> None:
    for segments, words in ((NextSentence(), ("follows", "another document")), (SentenceOrder(), ("order", "swapped"))):
        batches = Batches(english[1], english[0], segments, Tokens(), batch_size=30, length=64, seed=0)
        batch, said = batches[0], set()
        for row, label in zip(batch.pair_at // 64, batch.pair_labels, strict=True):
            text = render(batch.take([row]), english[0], 0, pair_names=segments.pair_names)
            assert f"label {label}, " in text
            assert words[label] in text
            assert ("B follows A" if label == 0 else "B does not follow A") in render(batch.take([row]), english[0], 0)
            said.add(int(label))
        assert said == {0, 1}


def test_packed_pieces_show_their_column_and_document() -> None:
    shards = from_ids([[[7, 8, 9, 10]], [[11, 12, 13]], [[14, 15]]])
    batch = batch_of((IdTokenizer(), shards), Stretch(), Tokens(), length=16)
    text = render(batch, IdTokenizer(), 0)
    assert cells_of(text, "document") == list("0000001111122220")[:15]
    assert cells_of(text, "column") == [str(column) for column in range(15)]
    assert cells_of(text, "position") == list("012345012340123")
    assert "3 pieces" in text
    single = render(batch_of((IdTokenizer(), corpus()), Stretch(), Tokens()), IdTokenizer(), 0)
    assert not cells_of(single, "document")
    assert not cells_of(single, "segment")
    assert not cells_of(single, "column")


@pytest.mark.parametrize("corruption", [Spans(), MarkedSpans(), MarkedSpans(boundary="external")], ids=repr)
def test_spans_show_their_boundaries(corruption: Spans) -> None:
    world = IdTokenizer(), corpus(sentences=60)
    batch = batch_of(world, Stretch(), corruption, length=128)
    one = batch.take([1])
    text = render(batch, world[0], 1, columns=120)
    cells = cells_of(text, "span")
    opening, closing = (sum(cell.count(mark) for cell in cells) for mark in "<>")
    assert opening == closing == (one.span_offset == 1).sum() > 0
    assert sum(cell.isdigit() for cell in cells) == len(one.span_at)
    assert f"{opening} span" in text


@pytest.mark.parametrize("both", [False, True])
def test_running_text_shows_what_is_to_be_predicted(both: bool) -> None:
    batch = LanguageBatches(corpus(), IdTokenizer(), Chunks(), batch_size=1, length=8, seed=0)[0]
    heading, _, *lines = render(batch, IdTokenizer(), 0, both=both, columns=300).splitlines()
    cells = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert cells["next"][:-1] == cells["token"][1:]
    assert ("tokens before and after" in heading) == both == ("previous" in cells)
    if both:
        assert cells["previous"] == cells["token"][:-1], "the first place has nothing before it"


def test_the_terminal_says_how_wide(monkeypatch: pytest.MonkeyPatch, english: tuple[Tokenizer, Shards]) -> None:
    batch = batch_of(english, NextSentence(), Tokens())
    monkeypatch.setenv("COLUMNS", "60")
    assert render(batch, english[0], 0) == render(batch, english[0], 0, columns=60)
    assert render(batch, english[0], 0) != render(batch, english[0], 0, columns=120)


def test_widths_are_those_of_a_terminal() -> None:
    widths = {"bank": 4, "银行": 4, "，。": 4, "e\u0301": 1, "ｆ": 2, "##ness": 6, "": 0}
    assert {text: display_width(text) for text in widths} == widths


def test_pieces_that_do_not_print_are_written_as_codes() -> None:
    class Odd(IdTokenizer):
        def pieces(self, ids: list[int]) -> list[str]:
            return ["\n" if i == 7 else "a b" if i == 8 else "\u3000" for i in ids]

    batch = batch_of((Odd(), from_ids([[[7, 8, 9]]])), Stretch(), Tokens(), length=16)
    text = render(batch, Odd(), 0)
    assert "\u3000" not in text
    assert set(cells_of(text, "shown")) <= {"\\u000a", "a\\u0020b", "\\u3000"}


def test_a_row_that_is_not_there_is_refused(english: tuple[Tokenizer, Shards]) -> None:
    with pytest.raises(InputError, match=r"row must be in 0\.\.3, got 4"):
        render(batch_of(english, NextSentence(), Tokens()), english[0], 4)


def test_the_row_is_not_changed_by_showing_it(english: tuple[Tokenizer, Shards]) -> None:
    batch = batch_of(english, NextSentence(), Tokens())
    before = batch.ids.copy()
    render(batch, english[0], 0)
    assert np.array_equal(before, batch.ids)
