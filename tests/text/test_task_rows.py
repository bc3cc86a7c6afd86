"""Examples as rows: cut as BERT cuts, every word and token covered by windows, targets where the answers stand."""
from __future__ import annotations

import gzip
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_readers import CLS, SEP, UNK, Classify, Reader, Regress, Span, Tag

from polysemy.errors import InputError
from polysemy.text import task_encoding
from polysemy.text.encoding import Encoding
from polysemy.text.labeled import Example, Examples, Question, Tagged, read_examples
from polysemy.text.row_form import cut_pairs
from polysemy.text.task_rows import TaskRows, task_rows
from polysemy.text.task_windows import max_context, window_starts
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

WORDS = "abcdefghijklmnopqrstuvwxyz"


def examples(items: Sequence[Any], kind: str = "classify") -> Examples:
    return Examples(tuple(items), kind, "data.tsv")


def text(pieces: int, begin: int = 0) -> str:
    """A text of so many pieces, all different."""
    return " ".join(f"{WORDS[(begin + i) // 26 % 26]}{WORDS[(begin + i) % 26]}" for i in range(pieces))


# --- texts and pairs


@pytest.mark.parametrize("form", ["bert", "roberta", "gpt", "bare"])
def test_a_row_is_the_one_that_the_reader_makes(form: str) -> None:
    reader = Reader(16, form)
    texts = [text(3), text(40), "", "好 不好"]
    rows = task_rows(examples([Example(t, None, "ab"[i % 2], i) for i, t in enumerate(texts)]), reader, Classify())
    for i, encoding in enumerate(reader.encode(texts)):
        ids = encoding.ids[:16 - reader.specials(False)]
        wanted = reader.row(ids if len(ids) or form != "bare" else np.array([UNK]))
        assert rows[i].ids.tolist() == wanted.ids.tolist()
        assert rows[i].segments.tolist() == wanted.segments.tolist()
        assert rows[i].at.tolist() == [len(wanted.ids) - 1 if form == "gpt" else 0]
        assert rows[i].targets == i % 2
    assert rows.cut == 1
    assert rows.warning == "data.tsv: 1 of 4 texts are longer than 16 tokens and lost their end"


def test_the_place_that_sums_a_row_up_may_be_chosen() -> None:
    rows = task_rows(examples([Example(text(3), None, "a")]), Reader(), Classify(), place="all")
    assert rows[0].at.tolist() == [0, 1, 2, 3, 4]
    rows = task_rows(examples([Example(text(3), None, "a")]), Reader(), Classify(), place="last")
    assert rows[0].at.tolist() == [4]
    with pytest.raises(InputError, match="place must be first"):
        task_rows(examples([Example("a", None, "a")]), Reader(), Classify(), place="middle")


@pytest.mark.parametrize("form", ["bert", "roberta"])
def test_a_pair_is_cut_and_set_as_the_reader_does(form: str) -> None:
    reader = Reader(16, form)
    pairs = [(3, 4), (30, 2), (2, 30), (30, 30), (9, 9), (0, 40)]
    items = [Example(text(a), text(b, 100), "a") for a, b in pairs]
    rows = task_rows(examples(items), reader, Classify(pair=True))
    for i, item in enumerate(items):
        first, second = (list(encoding.ids) for encoding in reader.encode([item.text, str(item.pair)]))
        while len(first) + len(second) > 16 - reader.specials(True):  # run_classifier's _truncate_seq_pair
            (first if len(first) > len(second) else second).pop()
        wanted = reader.row(np.array(first, np.int64), np.array(second, np.int64))
        assert rows[i].ids.tolist() == wanted.ids.tolist()
        assert rows[i].segments.tolist() == wanted.segments.tolist()
    assert rows.warning.startswith("data.tsv: 5 of 6 pairs")


@given(a=st.integers(0, 40), b=st.integers(0, 40), room=st.integers(2, 30))
def test_pairs_lose_what_the_loop_of_bert_takes(a: int, b: int, room: int) -> None:
    sizes = [a, b]
    while sum(sizes) > room:
        sizes[0 if sizes[0] > sizes[1] else 1] -= 1
    found = cut_pairs(np.array([a]), np.array([b]), room)
    assert [int(part[0]) for part in found] == sizes


def test_a_reader_from_the_left_gets_its_mark_between_two_texts() -> None:
    rows = task_rows(examples([Example("a b", "c", "a")]), Reader(form="gpt"), Classify(pair=True))
    assert rows[0].ids.tolist() == [CLS, 10, 11, CLS, 12]
    assert rows[0].at.tolist() == [4]


def test_scores_are_targets_and_must_lie_in_their_range() -> None:
    items = [Example("a", "b", 0.5, 2), Example("c", "d", None, 3)]
    rows = task_rows(examples(items, "regress"), Reader(), Regress(0, 1, True))
    assert rows.targets.dtype == np.float32
    assert rows.targets[0] == 0.5
    assert np.isnan(rows.targets[1])
    with pytest.raises(InputError, match=r"data\.tsv, line 2: score must be 1 to 5, got 0.5"):
        task_rows(examples(items, "regress"), Reader(), Regress(1, 5, True))
    assert len(task_rows(examples(items, "regress"), Reader(), Regress(pair=True))) == 2


def test_a_label_that_the_task_does_not_have_is_refused_and_none_is_unknown() -> None:
    with pytest.raises(InputError, match=r"data\.tsv, line 7: label must be one of .* \('a', 'b'\), got 'c'"):
        task_rows(examples([Example("x", None, "c", 7)]), Reader(), Classify())
    assert task_rows(examples([Example("x")]), Reader(), Classify()).targets.tolist() == [-1]


def test_what_cannot_be_laid_out_is_refused() -> None:
    with pytest.raises(InputError, match="line 4: example must have two texts"):
        task_rows(examples([Example("x", None, "a", 4)]), Reader(), Classify(pair=True))
    with pytest.raises(InputError, match="length must be at least 5 tokens for 2 texts and 3 special ones, got 4"):
        task_rows(examples([Example("x", "y", "a")]), Reader(), Classify(pair=True), length=4)
    with pytest.raises(InputError, match="stride must be at least 1"):
        task_rows(examples([Question("q", "a", "b", ())], "span"), Reader(), Span(0))


def test_a_shorter_length_than_that_of_the_reader_may_be_asked_for() -> None:
    assert task_rows(examples([Example(text(40), None, "a")]), Reader(32), Classify(), length=10).lengths[0] == 10
    assert task_rows(examples([Example(text(40), None, "a")]), Reader(32), Classify(), length=99).lengths[0] == 32


# --- words


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=30), min_size=1, max_size=4),
       length=st.integers(3, 24))
def test_every_word_is_judged_once_by_its_first_piece(sizes: list[list[int]], length: int) -> None:
    items = []
    for number, sentence in enumerate(sizes):
        words = tuple(f"{WORDS[number]}{WORDS[i % 26]}{WORDS[i // 26]}" + "x" * (3 * size - 3)
                      for i, size in enumerate(sentence))
        items.append(Tagged(words, tuple("AB"[i % 2] for i in range(len(words))), number))
    reader = Reader(length)
    rows = task_rows(examples(items, "tag"), reader, Tag())
    windows: Any = rows.windows
    judged: dict[int, list[int]] = {i: [] for i in range(len(items))}
    for i in range(len(rows)):
        row = rows[i]
        own = windows.words[windows.at_splits[i]:windows.at_splits[i + 1]]
        assert len(row.ids) <= length
        assert (row.ids[0], row.ids[-1]) == (CLS, SEP)
        for column, word, target in zip(row.at, own, row.targets, strict=True):
            assert row.ids[column] == reader.encode([items[row.example].words[word]])[0].ids[0]
            assert target == word % 2
        judged[row.example] += own.tolist()
    for i, item in enumerate(items):
        assert sorted(judged[i]) == list(range(len(item.words)))


def test_a_word_without_a_piece_is_unknown_and_not_lost() -> None:
    rows = task_rows(examples([Tagged(("a", "#", "好"), ("A", "B", "A"))], "tag"), Reader(), Tag())
    assert rows[0].ids.tolist() == [CLS, 10, UNK, 11, SEP]
    assert rows[0].at.tolist() == [1, 2, 3]
    assert rows[0].targets.tolist() == [0, 1, 0]


def test_words_of_a_long_sentence_are_judged_with_words_on_both_sides() -> None:
    words = tuple(text(200).split())
    rows = task_rows(examples([Tagged(words, None)], "tag"), Reader(34), Tag())
    assert "1 of 1 sentences are longer than 34 tokens and are read in windows" in rows.warning
    for i in range(1, len(rows) - 1):
        assert rows[i].at.min() > 6
        assert rows[i].at.max() < 34 - 6
    assert (rows.targets == -1).all()


# --- questions


def best_window(starts: Sequence[int], counts: Sequence[int], token: int) -> int:
    """run_squad's _check_is_max_context."""
    best, found = -math.inf, -1
    for number, (start, count) in enumerate(zip(starts, counts, strict=True)):
        end = start + count - 1
        if start <= token <= end:
            score = min(token - start, end - token) + 0.01 * count
            if score > best:
                best, found = score, number
    return found


def squad_spans(tokens: int, room: int, stride: int) -> list[tuple[int, int]]:
    """run_squad's loop over doc_spans: the first token and the size of each window."""
    found, start = [], 0
    while start < tokens:
        size = min(tokens - start, room)
        found.append((start, size))
        if start + size == tokens:
            break
        start += min(size, stride)
    return found


@settings(max_examples=80, deadline=None)
@given(tokens=st.integers(1, 80), room=st.integers(1, 40), stride=st.integers(1, 60))
def test_windows_cover_every_token_and_give_it_to_the_one_with_most_context(tokens: int, room: int, stride: int
                                                                            ) -> None:
    starts = window_starts(tokens, room, stride)
    counts = np.minimum(tokens - starts, room)
    expected = squad_spans(tokens, room, min(stride, max(1, room // 2)))
    assert list(zip(starts.tolist(), counts.tolist(), strict=True)) == expected
    owner = max_context(starts, counts, tokens)
    assert owner.tolist() == [best_window(starts.tolist(), counts.tolist(), token) for token in range(tokens)]


@pytest.mark.parametrize("question", [1, 20, 64])
def test_at_384_tokens_and_a_step_of_128_windows_are_those_of_run_squad(question: int) -> None:
    room = 384 - 3 - question
    for tokens in (1, room - 1, room, room + 1, 2 * room, 900):
        assert window_starts(tokens, room, 128).tolist() == [first for first, _ in squad_spans(tokens, room, 128)]


@settings(max_examples=200, deadline=None)
@given(tokens=st.integers(1, 400), question=st.integers(1, 64), data=st.data())
def test_an_answer_of_up_to_half_a_window_of_128_tokens_lies_whole_in_one(tokens: int, question: int, data: Any
                                                                          ) -> None:
    room = 128 - 3 - question
    first = data.draw(st.integers(0, tokens - 1))
    last = min(tokens, first + room // 2) - 1
    starts = window_starts(tokens, room, 128)  # the usual step
    assert ((starts <= first) & (last < starts + room)).any()


def asked(tokens: int, first: int, last: int) -> Question:
    context = text(tokens)
    start, end = 3 * first, 3 * last + 2
    return Question("q", "who is it", context, ((start, context[start:end]),), 1)


def read_out(rows: TaskRows, question: Question) -> list[str]:
    """What an oracle that points at the targets answers, where the first token has its max context in the window."""
    windows: Any = rows.windows
    answers = []
    for i in range(len(rows)):
        start, end = rows.targets[i].tolist()
        if not start:
            continue
        flags = windows.best[windows.best_splits[i]:windows.best_splits[i + 1]]
        shift = int(windows.first_tokens[i] - windows.columns[i])
        encoding = windows.encodings[int(rows.examples[i])]
        if flags[start - windows.columns[i]]:
            answers.append(question.context[encoding.starts[start + shift]:encoding.ends[end + shift]])
    return answers


@settings(max_examples=80, deadline=None)
@given(tokens=st.integers(1, 90), length=st.integers(12, 40), stride=st.integers(1, 40), data=st.data())
def test_an_oracle_gets_the_answer_from_the_windows(tokens: int, length: int, stride: int, data: Any) -> None:
    room = length - 3 - 3  # three pieces of the question, three special tokens
    step = min(stride, room // 2)
    longest = max(1, (room - step) // 2) if tokens > room else tokens
    first = data.draw(st.integers(0, tokens - 1))
    last = data.draw(st.integers(first, min(tokens, first + longest) - 1))
    question = asked(tokens, first, last)
    rows = task_rows(examples([question], "span"), Reader(length), Span(stride))
    assert rows.lengths.max() <= length
    assert set(read_out(rows, question)) == {question.answers[0][1]}
    windows: Any = rows.windows
    assert int(windows.best.sum()) == tokens  # each token counts once


def test_a_window_without_the_answer_points_at_the_first_column() -> None:
    rows = task_rows(examples([asked(60, 50, 51)], "span"), Reader(20), Span(7))
    inside = [bool(rows.targets[i].any()) for i in range(len(rows))]
    windows: Any = rows.windows
    for i, holds in enumerate(inside):
        begin = windows.first_tokens[i]
        assert holds == (begin <= 50 and begin + windows.counts[i] > 51)
    assert 0 < sum(inside) < len(inside)


def test_a_question_is_cut_and_one_without_an_answer_points_at_the_first_column() -> None:
    question = Question("q", text(100), text(30), (), 1)
    rows = task_rows(examples([question], "span"), Reader(128), Span(16))
    windows: Any = rows.windows
    assert windows.queries.tolist() == [64]
    assert int(windows.columns[0]) == 66
    assert rows.targets.tolist() == [[0, 0]]
    assert rows[0].at.tolist() == list(range(64 + 3 + 30))
    assert rows[0].segments[66:].all()
    shorter: Any = task_rows(examples([question], "span"), Reader(128), Span(16, question=9)).windows
    assert shorter.queries.tolist() == [9]


def test_an_answer_inside_a_piece_takes_the_whole_piece() -> None:
    question = Question("q", "wer", "abcdef ghi", ((1, "bcd"),), 1)
    rows = task_rows(examples([question], "span"), Reader(), Span(8))
    assert rows.targets.tolist() == [[3, 4]]


@pytest.mark.parametrize("honest", [True, False])
def test_much_text_is_encoded_fast_and_as_the_reader_does(monkeypatch: pytest.MonkeyPatch, honest: bool) -> None:
    texts = [f"The river number {i} flows by the bank. 好的" for i in range(40)]
    reader: Any = Reader(24)
    reader.tokenizer = Tokenizer.train(texts, TokenizerConfig(vocab_size=120))
    asked: list[int] = []

    def encode(some: Sequence[str]) -> list[Encoding]:
        asked.append(len(some))
        return reader.tokenizer.encode_batch([text if honest else text.upper()[:9] for text in some])

    reader.encode = encode
    slow = task_rows(examples([Example(t, None, "a") for t in texts]), reader, Classify())
    monkeypatch.setattr(task_encoding, "MUCH", 10)
    monkeypatch.setattr(task_encoding, "SAMPLE", 4)
    fast = task_rows(examples([Example(t, None, "a") for t in texts]), reader, Classify())
    assert asked == ([40, 4] if honest else [40, 4, 40])  # one whose encode is another than its tokenizer's is asked
    assert fast.ids.tolist() == slow.ids.tolist()
    assert fast.splits.tolist() == slow.splits.tolist()


@pytest.mark.parametrize(("language", "length", "stride"), [("en", 192, 64), ("zh", 192, 64), ("en", 128, 128)])
def test_the_answers_of_real_questions_are_found_in_their_windows(shared_data: Path, tmp_path: Path, language: str,
                                                                  length: int, stride: int) -> None:
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_bytes(gzip.decompress((shared_data / "pretrained/bert-base-uncased-vocab.txt.gz").read_bytes()))
    reader: Any = Reader(length)
    reader.tokenizer = Tokenizer.load(vocabulary)
    reader.encode = reader.tokenizer.encode_batch
    read = read_examples(shared_data / f"xquad/xquad.{language}.30-articles.json.gz", "span")
    questions = replace(read, items=read.items[:200])
    rows = task_rows(questions, reader, Span(stride))
    windows: Any = rows.windows
    found: dict[int, set[str]] = {}
    for i in range(len(rows)):
        question, encoding = questions[int(rows.examples[i])], windows.encodings[int(rows.examples[i])]
        start, end = (int(column + windows.first_tokens[i] - windows.columns[i]) for column in rows.targets[i])
        if windows.inside[i] and windows.best[windows.best_splits[i] + rows.targets[i][0] - windows.columns[i]]:
            text = question.context[encoding.starts[start]:encoding.ends[end]]
            found.setdefault(int(rows.examples[i]), set()).add(text)
    answers = {i: question.answers[0][1] for i, question in enumerate(questions)}
    assert {i for i in answers if i not in found} == set()
    exact = sum(found[i] == {answers[i]} for i in answers)
    assert exact >= 0.97 * len(answers)  # others begin or end inside a piece
    assert all(answers[i] in text for i in answers for text in found[i])
