"""Files of word vectors: what others write opens here and what is written here there, each damage has one result."""
from __future__ import annotations

import gzip
import struct
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from polysemy.errors import InputError
from polysemy.models.vector_files import read_vectors, write_vectors
from polysemy.models.word_vectors import WordVectors
from polysemy.runtime import random_for

FORMATS = ("word2vec-text", "word2vec-binary", "glove", "fasttext")


def some(count: int = 40, size: int = 7) -> WordVectors:
    words = [f"w{i}" for i in range(count - 4)] + ["naïve", "中国", "12", "..."]
    return WordVectors(words, random_for("vector files").normal(size=(count, size)).astype(np.float32))


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def binary(rows: list[tuple[bytes, tuple[float, ...]]], header: str | None = None) -> bytes:
    head = header if header is not None else f"{len(rows)} {len(rows[0][1])}\n"
    return head.encode() + b"".join(word + b" " + struct.pack(f"<{len(v)}f", *v) + b"\n" for word, v in rows)


TWO = [(b"one", (1.0, 2.0)), (b"two", (3.0, 4.0))]


@pytest.mark.parametrize("name", FORMATS)
def test_vectors_come_back_bit_for_bit(tmp_path, name):
    vectors = some()
    vectors.vectors[0] = [0, 1e-45, 3.4e38, -1e-7, 123456792.0, 0.1, -0.0001]
    write_vectors(tmp_path / "v", vectors, name)
    for asked in ("auto", name):
        found = read_vectors(tmp_path / "v", asked)
        assert found.index_to_key == vectors.index_to_key
        assert np.array_equal(found.vectors, vectors.vectors)
    assert read_vectors(tmp_path / "v", limit=3).index_to_key == ["w0", "w1", "w2"]
    assert [p.name for p in tmp_path.iterdir()] == ["v"]


def test_any_float_is_written_in_a_decimal_that_gives_it_back_and_none_shorter_does(tmp_path):
    bits = random_for("floats").integers(0, 2**32, 30_000, dtype=np.uint32)
    floats = bits.view(np.float32)
    floats = np.concatenate([floats[np.isfinite(floats)], np.float32([1, 10, 1e9, 0.5, 1e-4, 123.25])])
    write_vectors(tmp_path / "v", WordVectors(["x"], floats[None, :]), "glove")
    texts = (tmp_path / "v").read_text().split()[1:]
    assert np.array_equal(np.array(texts, np.float64).astype(np.float32), floats)
    digits = [len(t.split("e")[0].replace("-", "").replace(".", "").strip("0")) for t in texts]
    shortest = [len(str(f).split("e")[0].replace("-", "").replace(".", "").strip("0")) for f in floats]
    assert np.mean(np.array(digits) == shortest) > 0.999  # NumPy's shortest decimals
    assert np.array_equal(read_vectors(tmp_path / "v").vectors[0], floats)


@pytest.mark.parametrize("text", ["1.5", "-.5", "5.", "+2e3", "1E-3", "0.1234567890123456789012", "00012", "1e-60"])
def test_numbers_are_read_as_numpy_reads_them(tmp_path, text):
    found = read_vectors(written(tmp_path / "v", f"word {text} 1\n"), "glove")
    assert found["word"][0] == np.float32(text)


@pytest.mark.parametrize("is_binary", [False, True])
def test_gensim_opens_ours_and_we_open_gensims(tmp_path, is_binary):
    keyed = pytest.importorskip("gensim.models.keyedvectors")
    vectors = some()
    vectors.save_word2vec_format(tmp_path / "ours", binary=is_binary)
    theirs = keyed.KeyedVectors.load_word2vec_format(str(tmp_path / "ours"), binary=is_binary)
    assert theirs.index_to_key == vectors.index_to_key
    assert np.array_equal(theirs.vectors, vectors.vectors)
    theirs.save_word2vec_format(str(tmp_path / "theirs"), binary=is_binary)
    for back in (read_vectors(tmp_path / "theirs"), WordVectors.load_word2vec_format(tmp_path / "theirs", is_binary)):
        assert back.index_to_key == vectors.index_to_key
        assert np.array_equal(back.vectors, vectors.vectors)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # gensim leaves the file open
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_gensim_opens_our_glove_file(tmp_path):
    keyed = pytest.importorskip("gensim.models.keyedvectors")
    vectors = some()
    vectors.save_word2vec_format(tmp_path / "v", write_header=False)
    theirs = keyed.KeyedVectors.load_word2vec_format(str(tmp_path / "v"), no_header=True)
    assert np.array_equal(theirs.vectors, vectors.vectors)


@pytest.mark.parametrize(
    "content",
    [
        "one 1 2\ntwo 3 4\n",
        "one 1 2\r\ntwo 3 4\r\n",
        "one 1 2 \ntwo 3 4 ",
        "one  1\t2\n\n\ntwo 3   4\n\n",
        "\ufeffone 1 2\ntwo 3 4\n",
        "2 2\none 1 2\ntwo 3 4\n",
        "\ufeff2 2\r\none 1 2\r\ntwo 3 4",
        "2 2 \none 1 2 \ntwo 3 4 \n",
        binary(TWO),
        binary(TWO).replace(b"@\n", b"@"),
        gzip.compress(b"one 1 2\ntwo 3 4\n", mtime=0),
        gzip.compress(binary(TWO), mtime=0),
    ],
)
def test_what_other_tools_write_is_read_without_being_told_what_it_is(tmp_path, content):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_vectors(written(tmp_path / "v", content))
    assert found.index_to_key == ["one", "two"]
    assert found.vectors.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("header", ["4000000000 300", "2 2000000000", "1000000000000000000 1000000000000000000",
                                    "999999999999999999999 5"])
@pytest.mark.parametrize("name", ["auto", "word2vec-text", "word2vec-binary"])
def test_a_lying_header_is_refused_at_once(tmp_path, header, name):
    path = written(tmp_path / "v", f"{header}\n".encode() + b"a \0\0\0\0" * 20)
    start = time.perf_counter()
    with pytest.raises(InputError, match="header must"):
        read_vectors(path, name)
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "which is empty"),
        ("2 2\n", r"header must fit the file, got 2 words of 2 numbers"),
        ("1 3\n\n\n\n\n", "with a header and no rows"),
        ("0 3\na 1 2 3\n", "header must claim at least 1 word"),
        ("-1 -5\na 1 2 3\n", "header must be two whole numbers, got '-1 -5'"),
        ("1e9 5\n", "header must be two whole numbers"),
        ("hello\n", "must begin with a word and its numbers, got 'hello'"),
        ("one 1 2\ntwo 3\n", "line 2 of .* must have 2 numbers, it has 1, got 'two 3'"),
        ("2 2\none 1 2\ntwo 3\n", "line 3 of .* must have 2 numbers, it has 1"),
        ("one 1 2\ntwo\n", "line 2 of .* must have 2 numbers, it has 0, got 'two'"),
        ("one 1 2\ntwo 3 4 5\n", "line 2 of .* must have 2 numbers, it has 3"),
        ("one 1 2\ntwo 3 x\n", "line 2 of .* must end in 2 numbers, one is no number"),
        ("one 1 2\ntwo 3 4x\n", "one is no number"),
        ("one 1 2\ntwo 3 nan\n", "line 2 of .* must end in 2 finite numbers"),
        ("one 1 2\ntwo -inf 4\n", "must end in 2 finite numbers"),
        ("one 1 2\ntwo 1e39 4\n", "must end in 2 finite numbers"),
        ("one 1 2\n 3 4\n", "line 2 of .* must begin with a word, not with a space"),
        ("5 2\n" + "one 1 2\n" * 1 + "two 3 4\nthree 0.12345 0.12345\n", "must have the 5 rows .* got 3"),
        ("1 2\none 1 2\ntwo 3 4\nthree 5 6\n", "must have the 1 rows .* got 3"),
        (binary(TWO)[:-3], r"header must fit|be followed by its whole vector"),
        (binary([(b"longer", (1.0, 2.0)), *TWO])[:-3], "word 3 of .* be followed by its whole vector"),
        (binary(TWO) + b"more", "must end after the 2 words of its header, got 4 bytes more"),
        (binary([(b"", (1.0, 2.0)), (b"long", (3.0, 4.0))]), "word 1 of .* must have at least one byte"),
        (binary([(b"a\nb", (1.0, 2.0))]), "word 1 of .* must hold no line feed"),
        (b"2 2\n" + b"\1" * 10_000, "end in a space within 4,096 bytes"),
        (b"2 2\n" + b"\1" * 100, "be followed by its whole vector, but the file ends"),
        (binary([(b"a", (1.0, float("nan")))]), "must be finite, got NaN or infinity at word 1"),
        (b"one 1 2\n\xff\xfe 3 4\n", r"words must be UTF-8, got b'\\xff\\xfe' as word 2"),
        (binary([(b"one", (1.0, 2.0)), (b"\xff", (3.0, 4.0))]), r"words must be UTF-8, got b'\\xff' as word 2"),
        (b"\xba\x16\x4f\x2f" + b"\0" * 50, "it is a fastText model"),
    ],
)
def test_each_damage_is_one_error(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        read_vectors(written(tmp_path / "v", content))


def test_a_header_must_be_there_where_the_format_has_one(tmp_path):
    with pytest.raises(InputError, match=r"must begin with a line `words size`, it does not; is it GloVe's"):
        read_vectors(written(tmp_path / "v", "one 1 2\n"), "word2vec")
    with pytest.raises(InputError, match=r"line 2 of .* must have 1 numbers"):
        read_vectors(written(tmp_path / "v", "2 2\none 1 2\ntwo 3 4\n"), "glove")
    with pytest.raises(InputError, match="format must be one of auto, word2vec"):
        read_vectors(tmp_path / "v", "arpa")
    with pytest.raises(InputError, match=r"vectors must be a readable file, got .*absent"):
        read_vectors(tmp_path / "absent")


@pytest.mark.parametrize("claimed", [1, 3])
def test_a_header_that_is_off_by_one_warns_and_the_rows_count(tmp_path, claimed):
    path = written(tmp_path / "v", f"{claimed} 2\none 1 2\ntwo 3 4\n")
    with pytest.warns(UserWarning, match=f"the header says {claimed} words, there are 2, which were read"):
        assert len(read_vectors(path)) == 2


def test_of_equal_words_the_first_counts(tmp_path):
    path = written(tmp_path / "v", "one 1 2\ntwo 3 4\none 5 6\none 7 8\nsix 9 9\n")
    with pytest.warns(UserWarning, match="2 rows left out whose word stood before, such as 'one'"):
        found = read_vectors(path)
    assert found.index_to_key == ["one", "two", "six"]
    assert found.vectors.tolist() == [[1, 2], [3, 4], [9, 9]]


def test_words_may_hold_spaces_when_the_rest_is_no_number(tmp_path):
    found = read_vectors(written(tmp_path / "v", "one 1 2\n. . . 3 4\nat a@b.c 5 6\n12 7 8\n1 1/2 9 9\n"))
    assert found.index_to_key == ["one", ". . .", "at a@b.c", "12", "1 1/2"]
    for name in FORMATS:
        with pytest.raises(InputError, match=r"words must be without white space to be written, got '\. \. \.'"):
            write_vectors(tmp_path / "w", found, name)
        write_vectors(tmp_path / "w", found, name, space="_")
        assert read_vectors(tmp_path / "w").index_to_key == ["one", "._._.", "at_a@b.c", "12", "1_1/2"]


@pytest.mark.parametrize(("errors", "word"), [("replace", "a\ufffd"), ("ignore", "a")])
def test_invalid_utf8_is_read_by_the_policy_that_was_asked_for(tmp_path, errors, word):
    for content in (b"one 1 2\na\xff 3 4\n", binary([(b"one", (1.0, 2.0)), (b"a\xff", (3.0, 4.0))])):
        assert read_vectors(written(tmp_path / "v", content), errors=errors).index_to_key == ["one", word]
    with pytest.raises(InputError, match="errors must be one of strict, replace, ignore"):
        read_vectors(tmp_path / "v", errors="guess")


@pytest.mark.filterwarnings("ignore:.*(the header says|rows left out)")
@pytest.mark.parametrize("name", FORMATS)
def test_whatever_is_changed_in_a_file_it_is_read_whole_or_refused(tmp_path, name):
    vectors, random = some(12, 3), random_for("mutations", name)
    write_vectors(tmp_path / "v", vectors, name)
    good = (tmp_path / "v").read_bytes()
    refused: list[str] = []
    for _ in range(400):
        data = bytearray(good)
        for _ in range(random.integers(1, 4)):
            at = int(random.integers(len(data)))
            kind = random.integers(4)
            if kind == 0:
                data[at] = int(random.integers(256))
            elif kind == 1:
                del data[at : at + int(random.integers(1, 9))]
            elif kind == 2:
                data[at:at] = bytes(random.choice(list(b" \n0123456789.-e\r\tn"), int(random.integers(1, 5))).tolist())
            else:
                del data[at:]
            if not data:
                break
        try:
            found = read_vectors(written(tmp_path / "v", bytes(data)), str(random.choice(["auto", name])))
        except InputError as error:
            refused.append(str(error))
            continue
        assert np.isfinite(found.vectors).all()
        assert len(found) == len(found.vectors) == len(set(found.index_to_key)) >= 1
        assert all(found.index_to_key)
    assert 50 < len(refused) < 400
    assert not any("\n" in message for message in refused)


def test_nothing_is_left_behind_when_vectors_cannot_be_written(tmp_path):
    bad = WordVectors(["a"], np.array([[1, np.inf]], np.float32))
    with pytest.raises(InputError, match="must be finite to be written"):
        write_vectors(tmp_path / "v", bad)
    with pytest.raises(InputError, match="format must be one of word2vec, "):
        write_vectors(tmp_path / "v", bad, "auto")
    assert list(tmp_path.iterdir()) == []


def test_a_real_glove_file_opens_in_a_moment(shared_data):
    path = shared_data / "pretrained" / "glove.6B.50d.top50k.txt.gz"
    read_vectors(path, limit=10)
    start = time.perf_counter()
    vectors = read_vectors(path)
    assert time.perf_counter() - start < 2
    assert (len(vectors), vectors.vector_size) == (50_000, 50)
    assert vectors["the"][:3].tolist() == pytest.approx([0.418, 0.24968, -0.41242])
    assert [word for word, _ in vectors.most_similar("bank", topn=2)] == ["banks", "securities"]
