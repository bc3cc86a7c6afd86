"""Tagged words: CoNLL columns and JSON Lines, the schemes of their tags, and what is wrong with them."""
from __future__ import annotations

from pathlib import Path

import pytest

from polysemy.errors import InputError
from polysemy.text.conll import as_iob2, scheme
from polysemy.text.labeled import Tagged, check_labels, read_examples

CONLL = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O

-DOCSTART- -X- -X- O

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_last_of_the_conll_columns_is_the_tag(tmp_path: Path) -> None:
    read = read_examples(write(tmp_path / "a.conll", CONLL), "tag")
    assert list(read) == [Tagged(("EU", "rejects"), ("B-ORG", "O"), 3),
                          Tagged(("Peter", "Blackburn"), ("B-PER", "I-PER"), 8)]
    assert read.labels == ("B-ORG", "B-PER", "I-PER", "O")
    assert "4 columns, 4 words, tags IOB2" in read.note


def test_texts_with_labels_are_no_tagged_words(tmp_path: Path) -> None:
    chinese = "酒店装修一般但是还算干净整洁\tgood\n这个地方很不好玩以后再也不来了\tbad\n"
    for text in ("a fine film of our time\tgood\nnot a good one\tbad\n", chinese):
        with pytest.raises(InputError, match="for a label a text use --task classify"):
            read_examples(write(tmp_path / "a.tsv", text), "tag")
    assert len(read_examples(write(tmp_path / "a.tsv", "商赢环球股份有限公司\tB-ORG\n公告\tO\n"), "tag")) == 1


def test_another_column_may_be_the_tag(tmp_path: Path) -> None:
    read = read_examples(write(tmp_path / "a.txt", CONLL), "tag", "label=2")
    assert read[0].tags == ("NNP", "VBZ")
    assert "plain" in read.note


def test_tabs_keep_words_with_spaces_and_comments_are_left_out(tmp_path: Path) -> None:
    read = read_examples(write(tmp_path / "a.tsv", "# id 1\nNew York\tB-LOC\n好\tO\n\n\n\n# \tO\n"), "tag")
    assert [item.words for item in read] == [("New York", "好")]


def test_records_of_tokens_and_tags(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"id": 1, "tokens": ["我", "好"], "ner_tags": [0, 10]}\n')
    read = read_examples(path, "tag")
    assert (read[0].words, read[0].tags) == (("我", "好"), ("0", "10"))
    assert "text = 'tokens', label = 'ner_tags'" in read.note


def test_words_without_tags_are_enough_to_predict(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "EU\nrejects\n")
    assert read_examples(path, "tag", labels=False)[0] == Tagged(("EU", "rejects"), None, 1)
    path = write(tmp_path / "a.jsonl", '{"tokens": ["a"]}\n')
    assert read_examples(path, "tag", labels=False)[0].tags is None


@pytest.mark.parametrize(("tags", "found"), [
    (["B-A", "I-A", "O"], "IOB2"), (["I-A", "B-A", "O"], "IOB1"), (["O", "I-A", "O"], "IOB1"),
    (["B-A", "E-A", "S-B"], "BIOES"), (["NN", "VB"], "plain"), (["O", "O"], "plain"),
])
def test_the_scheme_of_tags_is_recognized(tags: list[str], found: str) -> None:
    assert scheme(tags) == found


@pytest.mark.parametrize("tags", [
    ["I-A", "I-A", "B-A", "I-B", "O", "I-B"],  # IOB1
    ["B-A", "I-A", "B-A", "B-B", "O", "B-B"],  # IOB2
    ["B-A", "E-A", "S-A", "S-B", "O", "S-B"],  # BIOES
    ["B-A", "L-A", "U-A", "U-B", "O", "U-B"],  # BILOU
])
def test_all_schemes_say_the_same_in_iob2(tags: list[str]) -> None:
    assert as_iob2(tags) == ("B-A", "I-A", "B-A", "B-B", "O", "B-B")


def test_tags_without_a_scheme_stay_as_they_are() -> None:
    assert as_iob2(["NN", "X-1", "O"]) == ("NN", "X-1", "O")


@pytest.mark.parametrize(("name", "text", "reason"), [
    ("a.conll", "a B\nb\n", "line 2 must have 2 columns like the first, got 1"),
    ("a.conll", "a\nb\n", "line 1 must have a word and its tag"),
    ("a.tsv", "a\tO\n\tO\n", "line 2 must have a word and its tag, got an empty one"),
    ("a.tsv", "text\tlabel\na whole text\tgood\nand one\tbad\n", "a word a line.*such as 'a whole text'; for a label"),
    ("a.conll", "\n\n", "must hold examples, got none"),
    ("a.conll", "-DOCSTART- O\n\n", "must hold examples, got none"),
    ("a.jsonl", '{"tokens": ["a", "b"], "tags": ["O"]}\n', "line 1 must have as many tags as words, got 1 and 2"),
    ("a.jsonl", '{"tokens": ["a"], "tags": ["O"]}\n{"tokens": "b", "tags": ["O"]}\n', "line 2 must have a list"),
    ("a.jsonl", '{"tokens": ["a", ""], "tags": ["O", "O"]}\n', "line 1.*empty one as number 2"),
    ("a.jsonl", '{"tokens": [], "tags": []}\n', "line 1 must have words.*none"),
    ("a.jsonl", '{"text": "a b"}\n', "must have lists of words, got fields 'text'"),
    ("a.jsonl", '{"tokens": ["a"]}\n', "must have lists of tags"),
])
def test_bad_files_of_tags_are_refused_with_their_line(tmp_path: Path, name: str, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_examples(write(tmp_path / name, text), "tag")


def test_misnamed_columns_of_tags_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 to 4, got '9'"):
        read_examples(write(tmp_path / "a.conll", CONLL), "tag", "label=9")
    path = write(tmp_path / "a.jsonl", '{"tokens": ["a"], "tags": ["O"]}\n')
    with pytest.raises(InputError, match="did you mean 'tags'"):
        read_examples(path, "tag", "label=tag")


def test_a_tag_that_training_does_not_have_is_refused_with_its_line(tmp_path: Path) -> None:
    train = read_examples(write(tmp_path / "train.conll", "a O\nb B-X\n"), "tag")
    dev = read_examples(write(tmp_path / "dev.conll", "a O\n\nb B-Y\n"), "tag")
    with pytest.raises(InputError, match=r"dev\.conll, line 3: label must be one .* got 'B-Y'"):
        check_labels(train, dev)
