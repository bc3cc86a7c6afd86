"""ARPA files: KenLM's read, ours read again, and everything that is wrong with one named by its line."""
from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from ngram_twin import SPACE, Twin, encoded, random_text

from polysemy.errors import InputError
from polysemy.models.ngram.arpa_kernels import read_number
from polysemy.models.ngram.arpa_reading import read_arpa
from polysemy.models.ngram.arpa_writing import write_arpa
from polysemy.models.ngram.building import build
from polysemy.models.ngram.config import NgramConfig
from polysemy.models.ngram.model import NgramModel

FIXTURES = Path(__file__).parent / "fixtures"
GOOD = """\\data\\
ngram 1=5
ngram 2=4
ngram 3=1

\\1-grams:
-1.5\t<unk>
-99\t<s>\t-0.3
-0.8\t</s>
-0.6\ta\t-0.2
-0.7\tb\t-0.1

\\2-grams:
-0.2\t<s> a\t-0.4
-0.3\ta b
-0.4\tb a\t0.1
-0.5\tb </s>

\\3-grams:
-0.1\t<s> a b

\\end\\
"""


def trained(text: str, **settings) -> NgramModel:
    found = encoded(text)
    config = NgramConfig(words=SPACE, **settings)
    return NgramModel(build(found.tokens, len(found.vocabulary), config)[0], found.vocabulary, config)


def grams(model: NgramModel) -> dict[str, tuple[float, float]]:
    names = ["<unk>", "<s>", *model.vocabulary.words]
    result, start = {}, 0
    for order, count in enumerate(model.trie.sizes.tolist(), 1):
        for i, row in enumerate(model.trie.rows(order).tolist(), start):
            weight = float(model.trie.backoffs[i]) if order < model.order else 0.0
            result[" ".join(names[w] for w in row)] = float(model.trie.probabilities[i]), weight
        start += count
    return result


def changed(tmp_path: Path, old: str, new: str) -> Path:
    assert GOOD.count(old) == 1, old
    path = tmp_path / "changed.arpa"
    path.write_text(GOOD.replace(old, new))
    return path


@pytest.mark.parametrize(("name", "prune"), [("toy.arpa", ()), ("toy.pruned.arpa", (0, 0, 1))])
def test_our_model_of_a_text_equals_the_file_that_kenlm_makes_of_it(name, prune):
    ours = grams(trained((FIXTURES / "toy.txt").read_text(), order=3, kenlm_compat=True, prune=prune))
    theirs = grams(read_arpa(FIXTURES / name))
    assert set(ours) == set(theirs)
    assert len(ours) > 300
    assert max(abs(a - b) for gram in ours for a, b in zip(ours[gram], theirs[gram], strict=True)) < 2e-6


def test_kenlms_file_gives_the_probabilities_of_the_formula_but_for_its_discount_of_single_words():
    text = (FIXTURES / "toy.txt").read_text()
    twin, theirs = Twin(text, 3), grams(read_arpa(FIXTURES / "toy.arpa"))
    for gram in ("<s> w0 w1", "w1 w0 w0"):
        *history, word = gram.split()
        assert 10 ** theirs[gram][0] == pytest.approx(float(twin.probability(tuple(history), word)), rel=0.02)


@pytest.mark.parametrize("name", ["out.arpa", "out.arpa.gz"])
def test_what_is_written_is_read_again_number_by_number(tmp_path, name):
    model = trained(random_text(21), order=4)
    write_arpa(model, tmp_path / name)
    again = read_arpa(tmp_path / name)
    assert again.vocabulary.words == model.vocabulary.words
    for array in ("words", "first", "sizes", "backoffs"):
        assert np.array_equal(getattr(again.trie, array), getattr(model.trie, array)), array
    assert np.array_equal(again.trie.probabilities, np.clip(model.trie.probabilities, -99, 0))
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("change", [
    lambda text: text, lambda text: text.replace("\t", "   "), lambda text: text.replace("\n", " \t\r\n"),
    lambda text: text.replace("w1 w0", " w1\tw0 "), lambda text: text.replace("-0.", "-0000000000000000."),
    lambda text: text.replace("\t-0.", "\t-.").replace("\t0\n", "\t0.\n"),
])
def test_lines_read_many_at_once_are_those_read_one_by_one(tmp_path, change, monkeypatch):
    write_arpa(trained(random_text(24, lines=200), order=3), tmp_path / "out.arpa")
    (tmp_path / "out.arpa").write_text(change((tmp_path / "out.arpa").read_text()))
    monkeypatch.setattr("polysemy.models.ngram.arpa_lines.BLOCK_BYTES", 1000)
    monkeypatch.setattr("polysemy.models.ngram.arpa_lines.ROWS", 7)
    many = grams(read_arpa(tmp_path / "out.arpa"))
    monkeypatch.setattr("polysemy.models.ngram.arpa_lines.ODD_LINES", -(10**9))
    assert many == grams(read_arpa(tmp_path / "out.arpa"))
    assert len(many) > 300


def test_numbers_of_the_usual_form_are_read_as_python_reads_them():
    def read(text: str) -> float | None:
        value, end = read_number(np.frombuffer(text.encode() + b"\n", np.uint8), 0)
        return value if 0 < end == len(text) else None

    random = np.random.default_rng(25)
    for value in (random.standard_normal(500) * 10.0 ** random.integers(-5, 5, 500)).tolist():
        for text in (f"{value:.9g}", f"{value:.7f}", f"{value:.12e}", f"{value:.3E}".replace("E", "e")):
            assert read(text) == float(text), text
    assert [read(text) for text in ("-0", "5.", ".5", "1e+2", "-99", "12e-3")] == [0, 5, 0.5, 100, -99, 0.012]
    for text in ("", "-", ".", "1e", "1e-", "nan", "-inf", "+1", "1_0", "1.2.3", "0x1", "1e400", "1234567890.1234567"):
        assert read(text) is None, text


def test_the_file_is_as_the_format_asks(tmp_path):
    model = trained("a b a\nb a\n", order=2)
    write_arpa(model, tmp_path / "out.arpa")
    lines = (tmp_path / "out.arpa").read_bytes().decode().split("\n")
    at = lines.index("\\2-grams:")
    assert lines[:5] == ["\\data\\", "ngram 1=5", f"ngram 2={model.trie.sizes[1]}", "", "\\1-grams:"]
    assert lines[5].split("\t")[1:] == ["</s>", "0"]
    assert [line.split("\t")[1] for line in lines[6:at - 1]] == ["<unk>", "<s>", "a", "b"]
    assert lines[7].startswith("-99\t<s>\t-")
    assert lines[at - 1] == ""
    assert all(len(line.split("\t")) == 2 and len(line.split("\t")[1].split(" ")) == 2 for line in lines[at + 1:-4])
    assert lines[-4:] == [lines[-4], "", "\\end\\", ""]


def test_kenlm_reads_what_we_write(tmp_path):
    kenlm = pytest.importorskip("kenlm", reason="needs KenLM's Python module")
    model = trained(random_text(22, lines=200, words=30), order=4)
    write_arpa(model, tmp_path / "out.arpa")
    peer = kenlm.Model(str(tmp_path / "out.arpa"))
    for line in (*random_text(23, words=33).split("\n"), "", "nothing known w1 w1"):
        ours = [(score.log10, score.order, score.unknown) for score in model.score_words(line)]
        theirs = list(peer.full_scores(line))
        assert [a[1:] for a in ours] == [b[1:] for b in theirs]
        assert [a[0] for a in ours] == pytest.approx([b[0] for b in theirs], abs=1e-4)


def test_a_file_of_another_tool_is_read(tmp_path):
    path = tmp_path / "good.arpa"
    path.write_text(GOOD)
    model = read_arpa(path)
    assert model.vocabulary.words == ["a", "b"]
    scores = model.score_words("a b a")
    assert [(s.word, s.order) for s in scores] == [("a", 2), ("b", 3), ("a", 2), ("</s>", 1)]
    assert [s.log10 for s in scores] == pytest.approx([-0.2, -0.1, -0.4, 0.1 - 0.2 - 0.8])
    assert model.score_words("c")[0].log10 == pytest.approx(-0.3 - 1.5)
    crlf, packed = tmp_path / "crlf.arpa", tmp_path / "packed"
    crlf.write_bytes(GOOD.replace("\n", "\r\n").encode())
    packed.write_bytes(gzip.compress(GOOD.encode()))
    for other in (crlf, packed):
        assert grams(read_arpa(other)) == grams(model)


def test_a_missing_beginning_or_end_of_an_ngram_is_put_in_without_changing_a_score(tmp_path):
    pruned = GOOD.replace("ngram 2=4", "ngram 2=2").replace("-0.2\t<s> a\t-0.4\n-0.3\ta b\n", "")
    path = tmp_path / "pruned.arpa"
    path.write_text(pruned)
    model = read_arpa(path)
    assert model.trie.sizes.tolist() == [4, 4, 1]
    assert [s.log10 for s in model.score_words("a b")] == pytest.approx([-0.3 - 0.6, -0.1, -0.5])


def test_a_file_without_unk_gets_kenlms_probability_for_it(tmp_path):
    path = changed(tmp_path, "-1.5\t<unk>\n", "")
    path.write_text(path.read_text().replace("ngram 1=5", "ngram 1=4"))
    assert read_arpa(path).trie.probabilities[0] == -100


@pytest.mark.parametrize(("old", "new", "line", "message"), [
    ("\\data\\", "data", 1, r"must begin with \\data\\"),
    ("ngram 1=5", "ngram 1=6", 12, "1-grams must be 6 as .* got 5"),
    ("ngram 2=4", "ngram 2=3", 17, "2-grams must be 3 as .* got more"),
    ("ngram 2=4", "ngram 2=4000000000", 3, "must fit a file of"),
    ("ngram 1=5", "ngram 1=99999999999999999999", 2, "must be ngram ORDER=COUNT"),
    ("ngram 1=5", "ngram 1=-5", 2, "must be ngram ORDER=COUNT"),
    ("ngram 1=5", "ngram 0=5", 2, "orders must be 1, 2, .* got 0"),
    ("ngram 2=4", "ngram 3=4", 3, "orders must be 1, 2, .* got 3 after 1"),
    ("ngram 1=5\nngram 2=4\nngram 3=1\n", "", 2, "at least one 1-gram"),
    ("\\2-grams:", "\\4-grams:", 13, "must be '.*2-grams:', got '.*4-grams:'"),
    ("\\2-grams:", "\\nonsense:", 13, "must be '.*2-grams:', got '.*nonsense:'"),
    ("\n\\2-grams:", "\\2-grams:", 12, "a blank line must stand before"),
    ("ngram 3=1\n\n", "ngram 3=1\n", 5, "a blank line must stand before"),
    ("\n\\end\\", "\\end\\", 21, "a blank line must stand before"),
    ("\\end\\\n", "", 21, "must be '.*end.*', got the end of the file"),
    ("\\end\\", "\\4-grams:", 22, "must be '.*end.*', got"),
    ("\\end\\\n", "\\end\\\nmore\n", 23, "nothing may follow"),
    ("-0.6\ta", "0.6\ta", 10, "at most 0, got 0.6"),
    ("-0.6\ta", "nan\ta", 10, "must be a number, got 'nan'"),
    ("-0.6\ta", "x\ta", 10, "must be a number, got 'x'"),
    ("b a\t0.1", "b a\tinf", 16, "back-off must be finite"),
    ("-0.6\ta\t-0.2", "-0.6\ta", 10, "must have a back-off, since longer ones begin with it"),
    ("<s> a\t-0.4", "<s> a", 14, "must have a back-off"),
    ("<s> a b", "<s> a", 20, "3-gram must be a number, 3 words, got"),
    ("<s> a b", "<s> a b\t0", 20, "3-gram must be a number, 3 words, got"),
    ("-0.3\ta b", "-0.3\ta c", 15, "must be one of the 1-grams, got 'c'"),
    ("-0.3\ta b", "-0.3\ta <s>", 15, "<s> must stand first only"),
    ("-0.3\ta b", "-0.3\t</s> b", 15, "</s> last only"),
    ("-0.3\ta b", "-0.3\tb a", 16, "n-gram must stand once"),
    ("-0.7\tb", "-0.7\ta", 11, "word must stand once, got 'a'"),
])
def test_what_is_wrong_is_named_with_its_line(tmp_path, old, new, line, message):
    with pytest.raises(InputError, match=message) as caught:
        read_arpa(changed(tmp_path, old, new))
    assert f"changed.arpa, line {line}: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_bad_files_are_refused(tmp_path):
    path = changed(tmp_path, "-0.7\tb", "-0.7\tb")
    path.write_bytes(path.read_bytes().replace(b"\tb\t", b"\t\xff\t"))
    with pytest.raises(InputError, match="line 11: word must be UTF-8, got byte 0xff"):
        read_arpa(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="line 0: file must begin with"):
        read_arpa(path)
    path.write_bytes(gzip.compress(GOOD.encode())[:-12])
    with pytest.raises(InputError, match="gzip data must be whole"):
        read_arpa(path)
    path.write_bytes(b"\\data\\\nngram 1=" + b"9" * (1 << 21))
    with pytest.raises(InputError, match="line must be shorter than"):
        read_arpa(path)
    with pytest.raises(InputError, match="must be a readable ARPA file"):
        read_arpa(tmp_path / "none.arpa")
    no_start = GOOD.replace("-99\t<s>\t-0.3\n", "").replace("ngram 1=5", "ngram 1=4")
    path.write_text(no_start.replace("<s> a b", "b a b").replace("<s> a", "b b"))
    with pytest.raises(InputError, match="must have the 1-gram <s>"):
        read_arpa(path)


def test_marks_among_the_words_of_a_text_need_another_name(tmp_path):
    model = trained("a <unk> b\na b\n", order=2)
    with pytest.raises(InputError, match="word must not be <unk> in an ARPA file"):
        write_arpa(model, tmp_path / "out.arpa")
    write_arpa(model, tmp_path / "out.arpa", rename={"<unk>": "UNKNOWN"})
    assert "UNKNOWN" in read_arpa(tmp_path / "out.arpa").vocabulary
    with pytest.raises(InputError, match="leave all words different"):
        write_arpa(model, tmp_path / "out.arpa", rename={"<unk>": "a"})


@pytest.mark.parametrize("smoothing", ["add_k", "stupid_backoff"])
def test_smoothing_that_is_no_table_of_backoffs_is_not_written(tmp_path, smoothing):
    with pytest.raises(InputError, match=f"got {smoothing}, which no table"):
        write_arpa(trained("a b a", order=2, smoothing=smoothing), tmp_path / "out.arpa")
