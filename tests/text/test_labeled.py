"""Labeled files in each of their forms, which columns are taken, and what is wrong with them."""
from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest

from polysemy.errors import InputError
from polysemy.text.labeled import Example, check_labels, natural_order, read_examples, texts_as_examples


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def items(path: Path, kind: str, columns: str | None = None) -> list[tuple[object, ...]]:
    return [(item.text, item.pair, item.label) for item in read_examples(path, kind, columns)]


# --- forms


def test_tabs_are_not_quoted_and_commas_are(tmp_path: Path) -> None:
    tabs = write(tmp_path / "a.tsv", 'text\tlabel\nsay "hello\tgood\n"x" y\tbad\n')
    assert items(tabs, "classify") == [('say "hello', None, "good"), ('"x" y', None, "bad")]
    commas = write(tmp_path / "a.csv", 'text,label\n"one, two\nthree",good\nfour,bad\n')
    read = read_examples(commas, "classify")
    assert read[0] == Example("one, two\nthree", None, "good", 2)
    assert read[1].row == 4  # the line of the file, though it is the third row


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("xz", lzma.compress)])
def test_a_compressed_file_reads_like_the_plain_one(tmp_path: Path, suffix: str, pack: object) -> None:
    text = "text\tlabel\n不好\tneg\n好\tpos\n"
    (tmp_path / f"a.tsv.{suffix}").write_bytes(pack(text.encode()))  # type: ignore[operator]
    assert items(tmp_path / f"a.tsv.{suffix}", "classify") == items(write(tmp_path / "a.tsv", text), "classify")


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_a_cell(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes("\ufefflabel\ttext\r\nx\tone\r\ny\ttwo\r\n".encode())
    assert items(tmp_path / "a.tsv", "classify") == [("one", None, "x"), ("two", None, "y")]


def test_records_take_numbers_and_booleans_as_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": "t", "label": 3}\n\n{"text": "u", "label": true}\n')
    assert items(path, "classify") == [("t", None, "3"), ("u", None, "true")]


@pytest.mark.parametrize("value", ["7", "true", "{}", "1.5"])
@pytest.mark.parametrize("columns", [None, "text=text,label=label"])
def test_a_record_whose_text_is_no_string_is_refused_with_its_line(tmp_path: Path, value: str, columns: str | None
                                                                   ) -> None:
    path = write(tmp_path / "a.jsonl", f'{{"text": "t", "label": 3}}\n{{"text": {value}, "label": 4}}\n')
    with pytest.raises(InputError, match=rf"a\.jsonl, line 2 must have a string as its text, got {value};"):
        read_examples(path, "classify", columns)
    path = write(tmp_path / "b.jsonl", f'{{"text": "7", "pair": {value}, "score": 3}}\n')
    with pytest.raises(InputError, match=r"line 1 must have a string as its pair"):
        read_examples(path, "regress", "text=text,pair=pair,label=score")


def test_words_in_a_list_are_a_text_and_labels_in_a_list_are_too_many(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", '{"tokens": ["a", "b"], "sense": ["x"]}\n{"tokens": ["c"], "sense": "y"}\n')
    assert items(path, "classify", "label=sense") == [("a b", None, "x"), ("c", None, "y")]
    path = write(tmp_path / "b.jsonl", '{"text": "t", "label": ["x", "y"]}\n')
    with pytest.raises(InputError, match="line 1 must have one label"):
        read_examples(path, "classify")


def test_lines_of_fasttext_are_read_by_their_prefix(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "__label__good a fine day\nno label\nso dull __label__bad\n")
    assert items(path, "classify") == [("a fine day", None, "good"), ("so dull", None, "bad")]


def test_a_text_file_of_tabs_is_a_table_and_lines_alone_are_enough_for_what_needs_no_label(tmp_path: Path) -> None:
    table = write(tmp_path / "a.txt", "wie geht es\tgood\nschlecht ist es\tbad\nganz gut\tgood\nna ja\tbad\n")
    assert items(table, "classify")[0] == ("wie geht es", None, "good")
    lines = write(tmp_path / "b.txt", "one\n\ntwo\n")
    assert [item.text for item in read_examples(lines, "embed")] == ["one", "two"]
    assert [item.row for item in read_examples(lines, "classify", labels=False)] == [1, 3]


def test_three_columns_are_anchor_positive_and_negative(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "anchor\tpositive\tnegative\na b\tc d\te f\n")
    assert read_examples(path, "embed")[0] == Example("a b", "c d", None, 2, "e f")


# --- columns


@pytest.mark.parametrize("columns", ["text=body,label=mark", "body,mark", "2,1", "text=2,label=mark"])
def test_columns_are_taken_by_name_or_number(tmp_path: Path, columns: str) -> None:
    path = write(tmp_path / "a.csv", "mark,body,text\nx,one,other\ny,two,other\n")
    # given numbers alone, the usual name `text` tells that the first line is a heading all the same
    assert items(path, "classify", columns) == [("one", None, "x"), ("two", None, "y")]


def test_the_note_says_what_was_taken_and_columns_repeat_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "id\tsentence\tquality\n1\tone\t0\n2\ttwo\t1\n")
    read = read_examples(path, "classify")
    assert "text = 'sentence'" in read.note
    assert "label = 'quality'" in read.note
    assert read_examples(path, "classify", read.columns).items == read.items


def test_columns_without_usual_names_are_known_by_what_they_hold(tmp_path: Path) -> None:
    rows = "".join(f"r{i}\t{'ab'[i % 2]}\t\tthe sentence number {i} goes on\n" for i in range(9))
    read = read_examples(write(tmp_path / "a.tsv", rows), "classify")
    assert (read[3].text, read[3].label) == ("the sentence number 3 goes on", "b")
    assert "no heading" in read.note
    rows = "".join(f"first text {i}\tsecond text {i}\t{i / 2}\n" for i in range(9))
    scored = read_examples(write(tmp_path / "b.tsv", rows), "regress")
    assert (scored[2].text, scored[2].pair, scored[2].label) == ("first text 2", "second text 2", 1.0)


def test_a_heading_of_unusual_words_over_numbers_is_a_heading(tmp_path: Path) -> None:
    rows = "wort\twert\n" + "".join(f"some text {i}\t{i}\n" for i in range(5))
    assert len(read_examples(write(tmp_path / "a.tsv", rows), "regress")) == 5


@pytest.mark.parametrize(("heading", "kind", "taken"), [
    ("index\tquestion\tsentence\tlabel", "pair", "text=question,pair=sentence,label=label"),  # QNLI
    ("qid1\tquestion1\tquestion2\tis_duplicate", "pair", "text=question1,pair=question2,label=is_duplicate"),  # QQP
    ("genre\tsentence1\tsentence2\tgold_label", "pair", "text=sentence1,pair=sentence2,label=gold_label"),  # MNLI
    ("idx\tpremise\thypothesis\tlabel", "pair", "text=premise,pair=hypothesis,label=label"),
    ("id\tSentence\tlabel_desc\tlabel", "classify", "text=Sentence,label=label"),  # IFLYTEK
    ("id\tsentence\tother\tscore", "regress", "text=sentence,label=score"),
    ("id\tquery\tpositive\tnegative", "embed", "text=query,pair=positive,negative=negative"),
])
def test_columns_of_well_known_sets_are_known_by_name(tmp_path: Path, heading: str, kind: str, taken: str) -> None:
    path = write(tmp_path / "a.tsv", f"{heading}\n1\tone text\tanother text\t0\n2\tother text\tsome text\t1\n")
    if kind == "embed":
        path = write(path, path.read_text().replace("\t0\n", "\tsuch text\n").replace("\t1\n", "\tthis text\n"))
    assert read_examples(path, kind).columns == taken


@pytest.mark.parametrize("rows", ["so good\tpositive\nso bad\tnegative\n", "x\ttext\ny\tlabel\nz\ttext\n"])
def test_a_label_that_could_be_a_heading_is_none(tmp_path: Path, rows: str) -> None:
    path = write(tmp_path / "a.tsv", rows)
    assert len(read_examples(path, "classify")) == rows.count("\n")


def test_the_first_column_of_a_heading_may_have_no_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ",text,label\n0,one,x\n1,two,y\n")
    assert items(path, "classify") == [("one", None, "x"), ("two", None, "y")]


def test_a_first_line_that_looks_like_a_heading_in_another_language_gives_a_warning(tmp_path: Path) -> None:
    rows = "Satz\tKlasse\n" + "".join(f"ein Satz {i}\t{'ab'[i % 2]}\n" for i in range(6))
    path = write(tmp_path / "a.tsv", rows)
    assert "the only one with label 'Klasse'" in read_examples(path, "classify").warnings[0]
    assert read_examples(path, "classify", "Satz,Klasse").warnings == ()


def test_one_empty_cell_does_not_move_the_guess_to_another_column(tmp_path: Path) -> None:
    rows = [f"r{i}\t{'ab'[i % 2]}\tthe sentence number {i} goes on" for i in range(20)]
    rows[7] = "r7\ta\t"
    with pytest.raises(InputError, match=r"line 8 must have a text, got an empty one"):
        read_examples(write(tmp_path / "a.tsv", "\n".join(rows)), "classify")


def test_a_code_is_no_second_text_but_a_word_may_be(tmp_path: Path) -> None:
    codes = "".join(f"id_{i}\t{'ab'[i % 2]}\tthe sentence number {i} goes on and on\n" for i in range(9))
    with pytest.raises(InputError, match="must include one for pair"):
        read_examples(write(tmp_path / "a.tsv", codes), "pair")
    words = "tiger\tcat\t7.35\nbook\tpaper\t7.46\ncar\tautomobile\t8.94\n"
    scored = read_examples(write(tmp_path / "b.tsv", words), "regress")
    assert (scored[2].text, scored[2].pair, scored[2].label) == ("car", "automobile", 8.94)
    named = write(tmp_path / "c.tsv", "text\tlabel\tother\none two\tx\tthree four\nfive six\ty\tseven\n")
    with pytest.raises(InputError, match="must include one for pair"):
        read_examples(named, "pair")


def test_labels_are_ordered_as_people_would() -> None:
    assert natural_order({"10", "9", "-1"}) == ("-1", "9", "10")
    assert natural_order({"class 10", "class 2", "a"}) == ("a", "class 2", "class 10")
    assert natural_order(["b", "a", "b", "2"]) == ("2", "a", "b")


def test_texts_make_examples_without_labels() -> None:
    read = texts_as_examples(["a", "b"], ["c", "d"])
    assert read.pair
    assert read[1] == Example("b", "d", None, 2)
    with pytest.raises(InputError, match="pairs must be as many"):
        texts_as_examples(["a"], [])


# --- bad input: file and line in each message


@pytest.mark.parametrize(("name", "text", "kind", "columns", "reason"), [
    ("a.tsv", "sentense\tlabel\nx\ty\n", "classify", "text=sentence", "column 'sentence' must be in .*'sentense'?"),
    ("a.tsv", "text\tlabel\nx\ty\n", "classify", "text=3", "must be 1 to 2, got 3"),
    ("a.tsv", "text\tlabel\nx\ty\n", "classify", "corpus=text", "must be given for text, label"),
    ("a.tsv", "text\tlabel\nx\ty\n", "classify", "a,b,c", "at most 2 for classify"),
    ("a.tsv", "text\tlabel\nx\ty\n", "classify", "text=text,label=text", "must differ"),
    ("a.tsv", "text\ttext\tlabel\nx\ty\tz\n", "classify", "text=text", "different names"),
    ("a.tsv", "text\nx\ny\n", "classify", None, "must include one for label"),
    ("a.tsv", "text\tlabel\nx\ty\nx\n", "classify", None, "line 3 must have 2 columns like the first, got 1"),
    ("a.csv", "text,label\nx,y\nx,y,z\n", "classify", None, "line 3 must have 2 columns like the first, got 3"),
    ("a.csv", 'text,label\nx,y\n"x\n', "classify", None, "line 3 must have 2.*its quotation mark is closed"),
    ("a.tsv", "text\tlabel\nx\ty\n \tz\n", "classify", None, "line 3 must have a text, got an empty one"),
    ("a.tsv", "sentence1\tsentence2\tlabel\nx\t\tz\n", "pair", None, r"line 2 must have a text.*\(pair\)"),
    ("a.tsv", "text\tlabel\nx\t\n", "classify", None, "line 2 must have a label"),
    ("a.tsv", "text\tscore\nx\t1\ny\tnan\n", "regress", None, "line 3 must have a finite score"),
    ("a.tsv", "text\tscore\nx\tinf\n", "regress", None, "line 2 must have a finite score"),
    ("a.tsv", "text\tscore\nx\tgood\n", "regress", None, "line 2 must have a number as its score"),
    ("a.tsv", "1\t0\n2\t1\n3\t0\n4\t1\n", "classify", None, "must hold texts, got only numbers"),
    ("a.tsv", "", "classify", None, "must hold examples, got none; it is empty"),
    ("a.tsv", "text\tlabel\n", "classify", None, "must hold examples, got none; it has a heading alone"),
    ("a.txt", "just a text\n", "classify", None, "must hold texts with labels"),
    ("a.txt", "__label__a __label__b x\n", "classify", None, "line 1 must have one label"),
    ("a.jsonl", "[1\n", "classify", None, "line 1 must be a JSON object"),
    ("a.jsonl", "[1]\n", "classify", None, "line 1 must be a JSON object"),
    ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b"}\n', "classify", None, "line 2.*'label' is missing"),
    ("a.jsonl", '{"text": "a", "label": null}\n', "classify", None, "line 1 must have a label"),
    ("a.tsv", "text\tlabel\nx\ty\n", "parse", None, "task must be classify"),
])
def test_bad_input_is_one_line_with_its_place(tmp_path: Path, name: str, text: str, kind: str, columns: str | None,
                                              reason: str) -> None:
    path = write(tmp_path / name, text)
    with pytest.raises(InputError, match=reason) as caught:
        read_examples(path, kind, columns)
    assert "\n" not in str(caught.value)
    assert kind == "parse" or columns in ("corpus=text", "a,b,c") or name in str(caught.value)


def test_a_missing_file_a_folder_and_a_binary_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        read_examples(tmp_path / "nowhere.tsv", "classify")
    with pytest.raises(InputError, match="folder"):
        read_examples(tmp_path, "classify")
    (tmp_path / "a.tsv").write_bytes(bytes(range(256)) * 40)
    with pytest.raises(InputError, match=r"a\.tsv"):
        read_examples(tmp_path / "a.tsv", "classify")
    (tmp_path / "b.tsv").write_bytes("这个酒店很好\tgood\n这个酒店不好\tbad\n".encode("gbk") * 20)
    with pytest.raises(InputError, match=r"UTF-8.*another encoding"):
        read_examples(tmp_path / "b.tsv", "classify")


def test_a_few_invalid_bytes_are_replaced_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b"text\tlabel\n" + b"a good day\t1\nso \xff bad\t0\n" * 3)
    read = read_examples(tmp_path / "a.tsv", "classify")
    assert read[1].text == "so \ufffd bad"
    assert any("3 invalid bytes" in warning for warning in read.warnings)


def test_half_a_character_in_a_record_is_replaced_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": "so \\ud83d \\ud83d\\ude00", "label": 1}\n')
    read = read_examples(path, "classify")
    assert read[0].text == "so \ufffd \U0001f600"
    assert read.warnings == (f"{path}: 1 invalid bytes were replaced",)


def test_so_many_labels_that_they_must_be_something_else_give_a_warning(tmp_path: Path) -> None:
    rows = "text\tlabel\n" + "".join(f"a text {i}\tname {i}\n" for i in range(300))
    assert "300 different labels" in read_examples(write(tmp_path / "a.tsv", rows), "classify").warnings[0]


def test_a_second_text_that_the_task_does_not_read_gives_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "sentence1\tsentence2\tlabel\na\tb\tx\nc\td\ty\n")
    assert "'sentence2' is not read" in read_examples(path, "classify").warnings[0]
    assert read_examples(path, "pair").warnings == ()
    assert read_examples(path, "classify", "text=sentence1").warnings == ()  # as the user says


def test_labels_are_checked_between_training_and_dev(tmp_path: Path) -> None:
    train = read_examples(write(tmp_path / "train.tsv", "text\tlabel\na\tx\nb\ty\n"), "classify")
    assert check_labels(train, train) == ("x", "y")
    dev = read_examples(write(tmp_path / "dev.tsv", "text\tlabel\na\tx\nb\tz\n"), "classify")
    with pytest.raises(InputError, match=r"dev\.tsv, line 3: label must be one that .*train\.tsv has .*got 'z'"):
        check_labels(train, dev)
    one = read_examples(write(tmp_path / "one.tsv", "text\tlabel\na\tx\nb\tx\n"), "classify")
    assert check_labels(train, one) == ("x", "y")  # dev may hold one class only
    with pytest.raises(InputError, match="at least two to be learned, got only 'x'"):
        check_labels(one)
    flat = read_examples(write(tmp_path / "flat.tsv", "text\tscore\na\t2\nb\t2\n"), "regress")
    with pytest.raises(InputError, match=r"scores of .* must differ"):
        check_labels(flat)


# --- real files


REAL = [
    ("glue/CoLA/train.tsv.gz", "classify", 8551, ("0", "1")), ("glue/CoLA/dev.tsv.gz", "classify", 1043, ("0", "1")),
    ("glue/SST-2/dev.tsv.gz", "classify", 872, ("0", "1")), ("glue/MRPC/train.tsv.gz", "pair", 3667, ("0", "1")),
    ("glue/MRPC/dev.tsv.gz", "pair", 408, ("0", "1")), ("glue/STS-B/train.tsv.gz", "regress", 5749, ()),
    ("glue/STS-B/dev.tsv.gz", "regress", 1500, ()), ("glue/RTE/dev.tsv.gz", "pair", 277,
                                                     ("entailment", "not_entailment")),
    ("glue/WNLI/train.tsv.gz", "pair", 635, ("0", "1")), ("imdb/test.tsv.gz", "classify", 5000, ("0", "1")),
    ("chinese/ChnSentiCorp/dev.tsv.gz", "classify", 860, ("negative", "positive")),
    ("chinese/LCQMC/dev.txt.gz", "pair", 8802, ("0", "1")), ("xquad/xquad.en.30-articles.json.gz", "span", 773, ()),
    ("xquad/xquad.zh.30-articles.json.gz", "span", 773, ()),
]


@pytest.mark.parametrize(("name", "kind", "count", "labels"), REAL)
def test_real_files_are_read_without_options(shared_data: Path, name: str, kind: str, count: int,
                                             labels: tuple[str, ...]) -> None:
    read = read_examples(shared_data / name, kind)
    assert len(read) == count
    if kind in ("classify", "pair"):
        assert read.labels == labels
    if kind in ("pair", "regress"):
        assert all(item.pair for item in read)
    assert read.warnings == ()


def test_the_columns_of_real_files_are_those_of_their_makers(shared_data: Path) -> None:
    cola = read_examples(shared_data / "glue/CoLA/dev.tsv.gz", "classify")
    assert cola[0] == Example("The sailors rode the breeze clear of the rocks.", None, "1", 1)
    mrpc = read_examples(shared_data / "glue/MRPC/dev.tsv.gz", "pair")
    assert mrpc[0].text.startswith("He said the foodservice pie business")
    assert mrpc[0].pair is not None
    assert mrpc[0].pair.startswith('" The foodservice pie business')
    assert read_examples(shared_data / "glue/STS-B/dev.tsv.gz", "regress").range == (0.0, 5.0)
    tnews = read_examples(shared_data / "chinese/tnews/dev.tsv.gz", "classify")
    assert len(tnews.labels) == 15
    assert tnews[0].label == "news_entertainment"
