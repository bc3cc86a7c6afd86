"""A corpus as numbers of words: equal to counting in Python, whatever the files, threads, blocks and memory."""
from __future__ import annotations

import gzip
import json
import lzma
import os
import shutil
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from polysemy.errors import InputError
from polysemy.text import encoded as module
from polysemy.text import word_blocks, word_table
from polysemy.text.corpus import Corpus, text_documents
from polysemy.text.encoded import EncodedText, encode
from polysemy.text.vocabulary import Vocabulary, WordConfig, split_words

TEXT = "The bank, the river!\n\nBank of the Ä ä\n中国的中\nx the\n"


def twin(text: str, config: WordConfig) -> tuple[list[str], list[int], list[int]]:
    """Words, counts and tokens by Counter and sort."""
    lines = [words for line in text.split("\n") if (words := split_words(line, config))]
    counts = Counter(word for line in lines for word in line)
    often = [word for word in counts if counts[word] >= config.min_count]
    words = sorted(often, key=lambda word: (-counts[word], word.encode()))[: config.max_words or None]
    number = {word: place for place, word in enumerate(words)}
    tokens = []
    for line in lines:
        ids = [number.get(word, -2) for word in line if word in number or config.keep_unknown]
        tokens += [*ids, -1] if ids else []
    return words, [counts[word] for word in words], tokens


def equal(found: EncodedText, text: str, config: WordConfig) -> bool:
    words, counts, tokens = twin(text, config)
    return (found.vocabulary.words, found.vocabulary.counts.tolist(), found.tokens.tolist()) == (words, counts, tokens)


@pytest.mark.parametrize(
    "config",
    [WordConfig(min_count=2), WordConfig(min_count=1, keep_unknown=True), WordConfig(tokens="space", min_count=1),
     WordConfig(min_count=1, max_words=3, keep_unknown=True), WordConfig(lowercase=False, min_count=1, max_words=2)],
)
def test_encoding_equals_counting_in_python(config, tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    for corpus in (Corpus(tmp_path), text_documents([TEXT])):
        found = encode(corpus, config)
        assert equal(found, TEXT, config)
        assert found.tokens.dtype == np.int32
        assert found.vocabulary.total == sum(len(split_words(line, config)) for line in TEXT.split("\n"))
        assert found.num_tokens == found.vocabulary.counts.sum()


def test_a_segmenter_works_too(tmp_path):
    pytest.importorskip("jieba", reason="needs the extra zh")
    text = "我们在北京。\n北京 Bank 我们\n"
    config = WordConfig(unit="word", min_count=1)
    assert equal(encode(text_documents([text]), config), text, config)


def test_threads_and_blocks_change_nothing(shared_data, tmp_path, monkeypatch):
    with lzma.open(shared_data / "english/train.txt.xz") as file:
        text = file.read(600_000).decode("utf-8", "ignore").replace("\0", " ")
    (tmp_path / "a.txt").write_text(text, newline="")
    config = WordConfig(min_count=3, keep_unknown=True)
    assert equal(encode(Corpus(tmp_path), config, threads=1), text, config)
    monkeypatch.setattr(word_blocks, "BLOCK_BYTES", 10_000)
    for threads in (1, 2, 3):
        assert equal(encode(Corpus(tmp_path), config, threads=threads), text, config)


def test_one_text_in_every_wrapping_gives_the_same_words(tmp_path):
    wrapped = {
        "a.txt": TEXT.encode(), "b.txt.gz": gzip.compress(TEXT.encode()), "c.txt.xz": lzma.compress(TEXT.encode()),
        "d.txt": TEXT.encode("utf-16"), "e.txt": b"\xef\xbb\xbf" + TEXT.encode(),
        "f.txt": TEXT.replace("\n", "\r\n").encode(), "g.txt": TEXT.rstrip("\n").encode(),
    }
    config = WordConfig(tokens="space", min_count=1)
    for name, data in wrapped.items():
        (tmp_path / name).write_bytes(data)
        assert equal(encode(Corpus(tmp_path / name), config), TEXT, config), name
    records = ({"text": "The bank, the river!\n\nBank of the Ä ä"}, {"text": "中国的中\nx the"})
    (tmp_path / "h.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert equal(encode(Corpus(tmp_path / "h.jsonl"), config), TEXT, config)
    whole = encode(Corpus(tmp_path), config)
    assert whole.vocabulary.total == 8 * encode(Corpus(tmp_path / "a.txt"), config).vocabulary.total


def test_numbers_go_to_a_file_when_they_are_too_many(tmp_path):
    text = TEXT * 3000
    (tmp_path / "a.txt").write_text(text)
    folder = tmp_path / "out"
    folder.mkdir()
    config = WordConfig(min_count=2, max_words=4)
    found = encode(Corpus(tmp_path / "a.txt"), config, folder=folder, memory_bytes=1000)
    assert isinstance(found.tokens, np.memmap)
    assert equal(found, text, config)
    assert (folder / "words.int32").stat().st_size == 4 * len(found.tokens)
    again = encode(Corpus(tmp_path / "a.txt"), config, folder=folder, memory_bytes=1000, vocabulary=found.vocabulary)
    assert again.tokens.tolist() == found.tokens.tolist()
    in_memory = encode(Corpus(tmp_path / "a.txt"), config, folder=folder)
    assert not isinstance(in_memory.tokens, np.memmap)
    assert in_memory.tokens.tolist() == found.tokens.tolist()


def test_a_failed_run_leaves_no_file(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT * 3000)
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(InputError, match="nothing to train on"):
        encode(Corpus(tmp_path / "a.txt"), WordConfig(min_count=10**6), folder=folder, memory_bytes=1000)
    assert list(folder.iterdir()) == []


def test_a_given_vocabulary_and_its_rule_are_used():
    vocabulary = Vocabulary(["bank", "the", "i̇stanbul"], np.array([1, 2, 3]), WordConfig(min_count=9), 6)
    text = "İstanbul: The BANK\nof\nÄ the\n"
    found = encode(text_documents([text]), WordConfig(tokens="space"), vocabulary=vocabulary)
    assert found.vocabulary is vocabulary
    assert found.tokens.tolist() == [2, 1, 0, -1, 1, -1]
    kept = encode(text_documents([text]), WordConfig(keep_unknown=True), vocabulary=vocabulary)
    assert kept.tokens.tolist() == [*vocabulary.ids(text).tolist(), -1]
    with pytest.raises(InputError, match="nothing to train on"):
        encode(text_documents(["nothing known"]), WordConfig(), vocabulary=vocabulary)


def test_rare_words_are_forgotten_and_counted_when_there_are_too_many(monkeypatch):
    lines = [f"often seen w{number}\n" for number in range(3000)]
    monkeypatch.setattr(word_table, "MOST_WORDS", 1000)
    monkeypatch.setattr(word_blocks, "BLOCK_BYTES", 2000)
    results = [encode(text_documents(["".join(lines)]), WordConfig(tokens="space", min_count=2), threads=threads)
               for threads in (1, 2)]
    for found in results:
        assert found.vocabulary.words == ["often", "seen"]
        assert found.vocabulary.counts.tolist() == [3000, 3000]
        assert found.vocabulary.total == 9000
        assert found.forgotten == found.lost > 1500
        assert f"{found.forgotten:,} rare words forgotten" in str(found)
        assert found.tokens.tolist() == [0, 1, -1] * 3000
    assert results[0].forgotten == results[1].forgotten


def test_bad_bytes_are_counted_as_a_corpus_counts_them(tmp_path):
    data = b"good \xff text\xed\xa0\x80 \xe2\x82\n" * 50
    data += b"nul\0nul a\xcc\x81b u\xe2\x80\xa8v \xef\xbf\xbd\ncut \xe2\x82"
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    corpus = Corpus(path)
    text = "\n".join(document.text for document in corpus)
    config = WordConfig(min_count=1)
    found = encode(corpus, config)
    assert equal(found, text, config)
    assert (found.report.invalid, found.report.nuls) == (corpus.report.invalid, corpus.report.nuls)
    assert "invalid bytes replaced" in str(found)
    with pytest.raises(InputError, match="got byte 0xff at byte 5"):
        encode(Corpus(path, strict=True), config)


@pytest.mark.parametrize("data", [b"", b" \n\n\t\n", b"... ,\n!"])
def test_a_corpus_without_words_is_refused(tmp_path, data):
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"corpus must hold words, got .* without any; nothing to train on"):
        encode(Corpus(path), WordConfig())


def test_too_few_words_are_refused():
    with pytest.raises(InputError, match=r"seen 5 times .* got 0 among 2 running words; nothing to train on"):
        encode(text_documents(["two words"]), WordConfig())
    with pytest.raises(InputError, match="got 1 among 6 running words; nothing to train on"):
        encode(text_documents(["same same same same same other"]), WordConfig())
    with pytest.raises(InputError, match="threads must be at least 1, got 0"):
        encode(text_documents(["two words"]), WordConfig(), threads=0)


def test_binary_files_and_changed_files_are_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("utf-16 without a mark, which is full of zeros".encode("utf-16-le"))
    with pytest.raises(InputError, match=r"NULs in .* it is binary, or UTF-16"):
        encode(Corpus(path), WordConfig())
    path.write_bytes(b"%PDF-1.4 words")
    with pytest.raises(InputError, match="a PDF"):
        encode(Corpus(path), WordConfig())
    path.write_text(TEXT)
    corpus = Corpus(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(InputError, match="must stay as it is"):
        encode(corpus, WordConfig(min_count=1))


def test_one_long_line_and_long_marks_take_bounded_blocks(tmp_path):
    text = "word " * 2_000_000 + "\n" + "a" + "\u0301" * 10_000 + " 中文。" * 5 + "\n"
    path = tmp_path / "a.txt"
    path.write_text(text)
    found = encode(Corpus(path), WordConfig(min_count=1))
    assert found.vocabulary.words[0] == "word"
    assert found.vocabulary.counts[0] == 2_000_000
    assert np.flatnonzero(found.tokens == -1).tolist() == [2_000_000, 2_000_012]
    assert len(found.vocabulary.words[-1]) == 10_001


@pytest.mark.parametrize("text", ["中国。" * 40 + "人" * 100, "ab" * 500, "a b" * 300 + "\n\n" + "é" * 700])
def test_lines_longer_than_a_block_are_cut_between_words_where_there_are_any(text):
    buffers = word_blocks.Buffers(101)
    blocks = [block.data.tobytes() for block in
              word_blocks.read_corpus(text_documents([text]), module.ReadingReport(), buffers)]
    assert b"".join(blocks).decode() == text + "\n"
    assert all(len(data) <= 104 for data in blocks)
    assert [data.decode()[-1] in "。 ab\n人é" for data in blocks] == [True] * len(blocks)


def test_stopping_keeps_what_was_read(monkeypatch):
    monkeypatch.setattr(word_blocks, "BLOCK_BYTES", 2000)
    asked = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 3

    found = encode(text_documents([TEXT * 1000]), WordConfig(min_count=1), stop=stop, threads=1)
    assert len(asked) == 3
    assert 0 < found.vocabulary.total < 100 * 16
    assert found.tokens[-1] == -1


MEASURE = """
import json, resource, sys
from polysemy.text.corpus import Corpus, text_documents
from polysemy.text.encoded import encode
from polysemy.text.vocabulary import WordConfig
encode(text_documents(["compile a a"]), WordConfig(min_count=1))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if sys.platform == "linux" else 1)
before = peak()
found = encode(Corpus(sys.argv[1]), WordConfig())
print(json.dumps([peak() - before, found.tokens.nbytes]))
"""


@pytest.mark.slow
def test_memory_stays_near_the_size_of_the_encoded_text(shared_data, tmp_path):
    with lzma.open(shared_data / "english/train.txt.xz") as file, open(tmp_path / "a.txt", "wb") as target:
        shutil.copyfileobj(file, target)
    done = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path / "a.txt")], capture_output=True, check=True)
    peak, size = json.loads(done.stdout)
    assert size > 70e6
    assert peak < 1.3 * size
