"""Files of labels in each of their forms, and what is wrong with them."""
from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from polysemy.errors import InputError
from polysemy.models.fasttext.labels import read_labels


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_lines_of_fasttext_have_labels_anywhere_and_several(tmp_path: Path) -> None:
    text = "__label__x a fine day\nno label\n\na __label__y __label__x dull one\n"
    data = read_labels(write(tmp_path / "a.txt", text))
    assert data.texts == ["a fine day", "a dull one"]
    assert data.labels == [("x",), ("y", "x")]


def test_another_prefix_may_be_named(tmp_path: Path) -> None:
    data = read_labels(write(tmp_path / "a.txt", "#x hello\n"), prefix="#")
    assert (data.texts, data.labels) == (["hello"], [("x",)])


def test_tables_have_named_columns_compressed_or_not(tmp_path: Path) -> None:
    text = 'label\tid\ttext\npos\t1\tsay "hello", twice\nneg\t2\t不好\n'
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(text.encode()))
    data = read_labels(tmp_path / "a.tsv.gz")
    assert data.texts == ['say "hello", twice', "不好"]
    assert data.labels == [("pos",), ("neg",)]


def test_commas_are_quoted_in_csv(tmp_path: Path) -> None:
    data = read_labels(write(tmp_path / "a.csv", 'text,label\n"one, two\nthree",x\n'))
    assert data.texts == ["one, two\nthree"]


def test_columns_by_number_mean_no_heading(tmp_path: Path) -> None:
    data = read_labels(write(tmp_path / "a.tsv", "好\t1\n坏\t0\n"), text="1", label="2")
    assert (data.texts, data.labels) == (["好", "坏"], [("1",), ("0",)])


def test_records_may_hold_a_list_of_labels(tmp_path: Path) -> None:
    data = read_labels(write(tmp_path / "a.jsonl", '{"text": "t", "label": ["x", "y"]}\n{"text": "u", "label": 3}\n'))
    assert data.labels == [("x", "y"), ("3",)]


@pytest.mark.parametrize(("name", "text", "reason"), [
    ("a.txt", "no labels here\n", "texts with labels"),
    ("a.tsv", "words\tlabel\nx\ty\n", "one column 'text'"),
    ("a.tsv", "text\tlabel\nx\n", "line 2 must have 2 columns"),
    ("a.tsv", "text\tlabel\nx\t\n", "line 2 must have a label"),
    ("a.jsonl", "{}\n", "line 1 must have fields"),
    ("a.jsonl", "[1\n", "line 1 must be a JSON object"),
    ("a.jsonl", '{"text": "t", "label": [{}]}\n', "labels that are words"),
])
def test_a_malformed_file_is_refused_with_its_place(tmp_path: Path, name: str, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_labels(write(tmp_path / name, text))
