"""Reading a corpus: what is found, how it is decoded and cut, and what is refused."""
from __future__ import annotations

import gzip
import json
import lzma
import os
import socket
import tracemalloc
from pathlib import Path

import pytest

from polysemy.errors import InputError
from polysemy.text import decompress, documents
from polysemy.text.corpus import Corpus, text_documents
from polysemy.text.counts import ReadingReport


def write(path: Path, data: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def texts(*paths: Path | str, **options) -> list[str]:
    return [document.text for document in Corpus(paths, **options)]


# which files


def test_a_folder_stands_for_all_text_files_below_it_in_order(tmp_path):
    for name in ("b.txt", "a/z.md", "a/y.jsonl", ".hidden.txt", ".git/x.txt", "picture.png", "c.txt.gz"):
        content = '{"text": "y"}' if name.endswith("jsonl") else name
        write(tmp_path / name, gzip.compress(b"c") if name.endswith("gz") else content)
    assert texts(tmp_path) == ["b.txt", "c", "y", "a/z.md"]


def test_a_file_named_twice_is_read_once(tmp_path):
    file = write(tmp_path / "a.txt", "one")
    assert texts(file, tmp_path, str(tmp_path / "*.txt")) == ["one"]


def test_patterns_cross_folders_with_two_stars(tmp_path):
    write(tmp_path / "x/y/a.txt", "one")
    assert texts(str(tmp_path / "**" / "*.txt")) == ["one"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    assert texts(write(tmp_path / "a[1].txt", "one")) == ["one"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [("nothing.txt", "existing"), ("*.txt", "match at least one"), ("", "file, folder or pattern"),
     ("empty", "hold text")],
)
def test_a_path_that_gives_no_file_is_refused_by_name(tmp_path, monkeypatch, path, reason):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=reason) as error:
        Corpus([path])
    assert repr(path) in str(error.value) or path in str(error.value)


def test_no_path_at_all_is_refused():
    with pytest.raises(InputError, match="at least one file"):
        Corpus([])


def test_devices_pipes_and_sockets_are_refused_without_being_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.txt").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        for name, kind in ((tmp_path / "pipe", "pipe"), (tmp_path / "link.txt", "character"),
                           ("/dev/zero", "character"), (tmp_path / "s", "socket")):
            with pytest.raises(InputError, match=kind):
                Corpus([name])
    write(tmp_path / "a.txt", "one")
    assert texts(tmp_path) == ["one"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path):
    file = write(tmp_path / "a.txt", "one")
    file.chmod(0)
    with pytest.raises(InputError, match=r"readable, got .*a\.txt \(Permission denied\)"):
        texts(file)


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="Linux only")
def test_an_error_of_the_disk_is_one_clear_error():
    with pytest.raises(InputError, match=r"readable, got /proc/self/mem \(Input/output error\)"):
        texts("/proc/self/mem", document="file")


@pytest.mark.parametrize("content", ["", " \n\t\n \u3000", "\ufeff", "\n" * 1000])
@pytest.mark.parametrize("rule", ["auto", "line", "blank-line", "heading", "file"])
def test_a_corpus_without_text_is_refused_by_name(tmp_path, content, rule):
    file = write(tmp_path / "blank.txt", content)
    with pytest.raises(InputError, match=r"must hold text, got .*blank\.txt"):
        texts(file, document=rule)


def test_an_empty_file_among_others_does_no_harm(tmp_path):
    write(tmp_path / "a.txt", "")
    write(tmp_path / "b.txt", "two")
    assert texts(tmp_path) == ["two"]


# characters


@pytest.mark.parametrize(
    ("bad", "count", "offset"),
    [(b"\xff", 1, 3), (b"\xc0\x80", 2, 3), (b"\xed\xa0\x80", 3, 3), (b"\xe4\xb8", 1, 3),
     (b"\xf8\x88\x80\x80\x80", 5, 3)],
    ids=["lone", "overlong", "surrogate", "truncated", "five bytes"],
)
def test_invalid_utf8_is_replaced_and_counted_or_refused_with_its_place(tmp_path, bad, count, offset):
    file = write(tmp_path / "a.txt", b"ab " + bad)
    corpus = Corpus(file)
    assert [document.text for document in corpus] == ["ab " + "\ufffd" * count]
    assert corpus.report.invalid == count
    with pytest.raises(InputError, match=rf"a\.txt must be valid UTF-8, got byte 0x{bad[0]:02x} at byte {offset}"):
        texts(file, strict=True)


def test_a_replacement_character_in_the_text_is_not_counted_as_invalid(tmp_path):
    corpus = Corpus(write(tmp_path / "a.txt", "x \ufffd y ".encode() + b"\xff"))
    list(corpus)
    assert corpus.report.invalid == 1


@pytest.mark.parametrize("shift", range(5))
def test_characters_and_line_ends_may_cross_the_borders_of_blocks(tmp_path, monkeypatch, shift):
    monkeypatch.setattr(decompress, "BLOCK_BYTES", 8)
    content = "x" * shift + "中文😀\r\nnaïve\r\n\r\nüber\r\n"
    expected = content.replace("\r\n", "\n").split()
    corpus = Corpus(write(tmp_path / "a.txt", content), document="line")
    assert [document.text for document in corpus] == expected
    assert corpus.report.invalid == 0


def test_the_strict_offset_counts_from_the_start_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(decompress, "BLOCK_BYTES", 8)
    file = write(tmp_path / "a.txt", b"\xef\xbb\xbf" + b"abcd" * 10 + b"\xff")
    with pytest.raises(InputError, match="at byte 43 "):
        texts(file, strict=True)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_byte_order_mark_chooses_the_encoding_and_is_dropped(tmp_path, encoding):
    mark = "" if encoding in ("utf-8-sig", "utf-16", "utf-32") else "\ufeff"
    file = write(tmp_path / "a.txt", (mark + "naïve 中文\nzwei 😀").encode(encoding))
    assert texts(file) == ["naïve 中文", "zwei 😀"]


def test_utf16_without_a_mark_is_refused_with_a_hint(tmp_path):
    with pytest.raises(InputError, match=r"a\.txt .*UTF-16 without a byte-order mark"):
        texts(write(tmp_path / "a.txt", ("plain text " * 20).encode("utf-16-le")))


def test_a_few_nuls_become_spaces_and_are_counted(tmp_path):
    corpus = Corpus(write(tmp_path / "a.txt", "one\0two " + "x" * 100))
    assert next(iter(corpus)).text.startswith("one two")
    list(corpus)
    assert corpus.report.nuls == 1


def test_lines_end_with_line_feeds_only_as_wc_counts_them(tmp_path):
    content = "one\r\ntwo\rstill two\nthree\u2028still three\x0b\x0c\x85\nfour"
    found = texts(write(tmp_path / "a.txt", content), document="line")
    assert len(found) == content.count("\n") + 1
    assert found[:2] == ["one", "two\rstill two"]
    assert found[2].startswith("three\u2028still three")


def test_ten_thousand_combining_marks_are_one_document(tmp_path):
    text = "e" + "\u0301" * 10_000
    assert texts(write(tmp_path / "a.txt", text)) == [text]


# documents


def test_the_rule_is_chosen_from_the_beginning_and_reported(tmp_path):
    cases = {
        "blank.txt": ("a b\nc\n\nd\n", "blank-line", ["a b\nc", "d"]),
        "line.txt": ("a b\nc\nd\n", "line", ["a b", "c", "d"]),
        "wiki.txt": (" = T = \n \n a\n = = S = = \n b\n = U = \n c\n", "heading",
                     [" = T =\n\n a\n = = S = =\n b", " = U =\n c"]),
        "records.txt": ('{"text": "a\\nb"}\n{"text": "c"}\n', "record", ["a\nb", "c"]),
        "records.jsonl": ('{"text": "a"}\n\n{"id": 1, "text": "c"}\n', "record", ["a", "c"]),
    }
    for name, (content, rule, expected) in cases.items():
        corpus = Corpus(write(tmp_path / name, content))
        assert corpus.document_rule == rule
        assert [document.text for document in corpus] == expected
    assert Corpus(tmp_path).document_rule == "blank-line+heading+line+record"


def test_the_rule_can_be_given(tmp_path):
    file = write(tmp_path / "a.txt", "before\n\n# One\na\n## Sub\nb\n\n# Two\nc\n")
    assert texts(file, document="heading") == ["before", "# One\na\n## Sub\nb", "# Two\nc"]
    assert texts(file, document="blank-line") == ["before", "# One\na\n## Sub\nb", "# Two\nc"]
    assert texts(file, document="file") == ["before\n\n# One\na\n## Sub\nb\n\n# Two\nc"]
    assert len(texts(file, document="line")) == 7
    with pytest.raises(InputError, match=r"document must be one of auto, .* got 'page'"):
        Corpus(file, document="page")


def test_documents_are_numbered_through_and_name_their_file(tmp_path):
    write(tmp_path / "a.txt", "one\ntwo")
    write(tmp_path / "b.txt", "three")
    corpus = Corpus(tmp_path)
    for _ in range(2):
        assert [(d.number, Path(d.name).name) for d in corpus] == [(0, "a.txt"), (1, "a.txt"), (2, "b.txt")]
        assert (corpus.report.documents, corpus.report.characters) == (3, 11)


def test_a_line_of_ten_megabytes_is_cut_at_white_space(tmp_path):
    line = "word " * 2_000_000
    corpus = Corpus(write(tmp_path / "a.txt", line + "\nlast\n"))
    pieces = [document.text for document in corpus]
    assert pieces[-1] == "last"
    assert max(map(len, pieces)) <= documents.MAX_CHARACTERS
    assert all(piece.startswith("word") and piece.endswith("word") for piece in pieces[:-1])
    assert " ".join(pieces[:-1]).split() == line.split()
    assert corpus.report.cut == len(pieces) - 2


@pytest.mark.parametrize("rule", ["line", "blank-line", "file"])
def test_a_huge_line_without_any_space_needs_bounded_memory(rule):
    block = "\u4e2d" * 1_000_000
    tracemalloc.start()
    total = 0
    for piece in documents.split_documents((block for _ in range(60)), rule, ReadingReport()):
        assert len(piece) <= documents.MAX_CHARACTERS
        total += len(piece)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 60_000_000
    assert peak < 40_000_000


def test_a_long_document_is_cut_between_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "MAX_CHARACTERS", 30)
    corpus = Corpus(write(tmp_path / "a.txt", "ten letters\n" * 7), document="file")
    assert [document.text for document in corpus] == ["ten letters\nten letters"] * 3 + ["ten letters"]
    assert corpus.report.cut == 3


# compressed files


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress], ids=["gz", "xz"])
def test_compressed_files_and_all_their_members_are_read(tmp_path, compress):
    data = compress(b"one\n") + compress(b"two\n") + b"\0" * 8 + compress("drei 中\n".encode())
    assert texts(write(tmp_path / "a.txt", data), document="line") == ["one", "two", "drei 中"]


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress], ids=["gz", "xz"])
def test_a_cut_compressed_file_is_refused_with_the_place(tmp_path, compress):
    data = compress(os.urandom(3000).hex().encode())
    for size in range(7, len(data), 100):
        with pytest.raises(InputError, match=rf"a\.gz must be a whole \w+ file, .* at byte {size:,};"):
            texts(write(tmp_path / "a.gz", data[:size]))


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress], ids=["gz", "xz"])
def test_garbage_behind_and_damage_inside_are_refused_with_the_place(tmp_path, compress):
    data = compress(os.urandom(3000).hex().encode())
    with pytest.raises(InputError, match=rf"something else begins at byte {len(data):,}"):
        texts(write(tmp_path / "a.gz", data + b"garbage"))
    broken = bytearray(data)
    broken[len(data) // 2] ^= 0xFF
    with pytest.raises(InputError, match=r"undamaged \w+ file, but near byte"):
        texts(write(tmp_path / "b.gz", bytes(broken)))


def test_a_decompression_bomb_is_stopped_early(tmp_path):
    bomb = write(tmp_path / "a.gz", gzip.compress(b"a" * 200_000_000, 1))
    sizes = []
    with pytest.raises(InputError, match="at most 200 times its size"):
        sizes.extend(map(len, decompress.read_blocks(bomb)))
    assert sum(sizes) < 120_000_000


def test_an_honest_text_that_compresses_well_is_read(tmp_path):
    assert len(texts(write(tmp_path / "a.gz", gzip.compress(b"all work and no play\n" * 100_000)))) == 100_000


def test_a_name_that_promises_compression_must_keep_it(tmp_path):
    with pytest.raises(InputError, match="must be gzip as its name says"):
        texts(write(tmp_path / "a.txt.gz", "plain"))


@pytest.mark.parametrize("head", [b"PK\x03\x04", b"%PDF-1.7", b"\x7fELF", b"BZh91AY&SY", b"\x89PNG\r\n\x1a\n"])
def test_files_that_are_no_text_are_refused_by_what_they_are(tmp_path, head):
    with pytest.raises(InputError, match=r"must be text, got .*a\.txt, "):
        texts(write(tmp_path / "a.txt", head + b"x" * 100))


def test_zstandard_files_are_read_member_by_member_and_cut_ones_refused(tmp_path):
    compress = pytest.importorskip("zstandard", reason="needs the extra formats").ZstdCompressor().compress
    data = compress(b"one\n" * 50_000) + compress(os.urandom(3000).hex().encode())
    found = texts(write(tmp_path / "a.txt.zst", data), document="line")
    assert found[:50_000] == ["one"] * 50_000
    assert len(found[-1]) == 6000
    with pytest.raises(InputError, match="whole zstandard file"):
        texts(write(tmp_path / "b.zst", data[:-500]))
    bomb = write(tmp_path / "c.zst", compress(b"a" * 200_000_000))
    with pytest.raises(InputError, match="at most 200 times"):
        texts(bomb)


def test_parquet_files_are_read_by_column(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra formats")
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra formats")
    table = pyarrow.table({"text": ["one", None, " ", "two"], "n": [1, 2, 3, 4]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert texts(tmp_path) == ["one", "two"]
    for field, reason in (("body", "must have a column 'body', got text, n"), ("n", "must hold strings")):
        with pytest.raises(InputError, match=reason):
            texts(tmp_path, field=field)
    with pytest.raises(InputError, match="undamaged parquet"):
        texts(write(tmp_path / "b.parquet", (tmp_path / "a.parquet").read_bytes()[:-9]))


# records

BAD = {
    "{not json": "not JSON", "[1]": "not a JSON object", '{"body": "x"}': "no field 'text' among 'body'",
    '{"text": 5}': "is no string", '{"text": null}': "is no string", "[" * 100_000: "nested too deeply|not JSON",
}


@pytest.mark.parametrize("line", BAD, ids=[reason.split("|")[0] for reason in BAD.values()])
def test_a_bad_line_is_skipped_counted_and_explained_or_refused(tmp_path, line):
    file = write(tmp_path / "a.jsonl", '{"text": "one"}\n' + line + '\n{"text": "two"}')
    corpus = Corpus(file)
    assert [document.text for document in corpus] == ["one", "two"]
    assert corpus.report.bad_lines == 1
    with pytest.raises(InputError, match=rf"a\.jsonl must have .* got line 2: .*({BAD[line]})"):
        texts(file, strict=True)
    assert "a.jsonl, line 2" in corpus.report.first_bad_line
    assert "1 lines skipped" in str(corpus.report)


def test_too_many_bad_lines_stop_the_reading(tmp_path):
    good, bad = '{"text": "one"}\n', '{"body": "one"}\n'
    assert len(texts(write(tmp_path / "a.jsonl", good + bad * 100))) == 1
    with pytest.raises(InputError, match="101 others up to line 102"):
        texts(write(tmp_path / "b.jsonl", good + bad * 101))
    assert len(texts(write(tmp_path / "c.jsonl", (good * 200 + bad) * 150))) == 30_000


def test_only_bad_lines_are_named_when_nothing_is_left(tmp_path):
    with pytest.raises(InputError, match=r"must hold text, got .*: 2 lines were skipped, .*no field 'text'"):
        texts(write(tmp_path / "a.jsonl", '{"body": "one"}\n' * 2))


def test_an_endless_record_is_skipped_with_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "MAX_RECORD_CHARACTERS", 1000)
    long = json.dumps({"text": "x" * 5_000_000})
    corpus = Corpus(write(tmp_path / "a.jsonl", f'{{"text": "one"}}\n{long}\n{{"text": "two"}}\n{long}'))
    assert [document.text for document in corpus] == ["one", "two"]
    assert corpus.report.bad_lines == 2


def test_records_are_cleaned_like_files(tmp_path):
    record = {"body": "one\r\ntwo\0three"}
    file = write(tmp_path / "a.jsonl", json.dumps(record) + '\n{"body": "lone \\ud800 x"}\n{"body": "  "}')
    corpus = Corpus(file, field="body")
    assert [document.text for document in corpus] == ["one\ntwo three", "lone \ufffd x"]
    assert (corpus.report.nuls, corpus.report.invalid, corpus.report.bad_lines) == (1, 1, 0)


def test_a_long_record_is_cut(tmp_path):
    corpus = Corpus(write(tmp_path / "a.jsonl", json.dumps({"text": "word " * 500_000})))
    assert [len(document.text) for document in corpus] == [999_999, 999_999, 499_999]


# changes and keys


def test_a_file_that_changes_or_vanishes_after_it_was_found_is_noticed(tmp_path):
    file = write(tmp_path / "a.txt", "one\n" * 1000)
    before, during, gone = Corpus(file), Corpus(file), Corpus(file)
    iterator = iter(during)
    next(iterator)
    write(file, "two\n" * 1001)
    for act in (lambda: list(before), before.fingerprint, lambda: list(iterator)):
        with pytest.raises(InputError, match=r"a\.txt was changed"):
            act()
    file.unlink()
    with pytest.raises(InputError, match=r"a\.txt is gone"):
        list(gone)


def test_the_fingerprint_depends_on_content_and_rule_and_nothing_else(tmp_path):
    one = Corpus(write(tmp_path / "a.txt", "x\n\ny")).fingerprint()
    assert Corpus(write(tmp_path / "sub/b.txt", "x\n\ny")).fingerprint() == one
    assert Corpus(tmp_path / "a.txt", document="blank-line").fingerprint() == one
    assert Corpus(tmp_path / "a.txt", document="line").fingerprint() != one
    assert Corpus(write(tmp_path / "c.txt", "x\n\nz")).fingerprint() != one
    assert Corpus([tmp_path / "a.txt", tmp_path / "c.txt"]).fingerprint() not in (one, Corpus(tmp_path).fingerprint())


def test_texts_in_memory_are_a_corpus(tmp_path):
    corpus = text_documents(["one\r\n", " ", "two \ud800"])
    assert [tuple(document) for document in corpus] == [("one", "", 0), ("two \ufffd", "", 1)]
    assert (len(corpus), corpus.bytes, corpus.report.invalid) == (2, 10, 1)
    assert corpus.fingerprint() == text_documents(["one", "two \ufffd"]).fingerprint()
    assert corpus.fingerprint() != text_documents(["onet", "wo \ufffd"]).fingerprint()
    with pytest.raises(InputError, match="at least one that is not blank"):
        text_documents([" ", ""])


def test_real_corpora_are_read_by_their_own_rule(shared_data):
    chinese = Corpus(shared_data / "chinese" / "corpus-zh.txt.xz")
    assert chinese.document_rule == "line"
    assert sum(1 for _ in chinese) == 95_389
    assert chinese.report.invalid == 0
    assert Corpus(shared_data / "english" / "train.txt.xz").document_rule == "blank-line"
    wiki = Corpus(shared_data / "wikitext-2" / "test.txt.gz")
    assert wiki.document_rule == "heading"
    assert 60 <= sum(1 for _ in wiki) <= 64
