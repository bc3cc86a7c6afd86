"""Shards: prepared once, the same however they were made, found out when they were changed."""
from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest

from polysemy.errors import InputError
from polysemy.text import preparing, processes
from polysemy.text.corpus import Corpus, text_documents
from polysemy.text.part import Encoder, encode_part
from polysemy.text.sentences import sentence_spans
from polysemy.text.shards import Shards, prepare
from polysemy.text.store import ARRAYS
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

TEXT = """The old man sat by the sea. He had no boat, and the sea was wide!
Nobody asked him why.

"Will you come?" said the girl. She was small... He smiled. 那个老人坐在海边。他没有船！为什么？

Unhappiness is a long word; so is naïveté. One more sentence follows here. And 2024 is a number.

最后一段。它很短。
"""


class Characters:
    """Two characters a piece, within words and outside; a mark with an empty span before each word after a space."""

    vocab_size = 70_000

    def fingerprint(self) -> str:
        return "characters"

    def encode_many(self, texts):
        ids, starts, ends, splits = [], [], [], [0]
        for text in texts:
            place = 0
            while place < len(text):
                if text[place].isspace():
                    place += 1
                    continue
                if place and text[place - 1].isspace():
                    ids, starts, ends = [*ids, 1], [*starts, place], [*ends, place]
                stop = place + 1 + (text[place + 1 : place + 2].isalpha() and text[place].isalpha())
                ids.append(2 + zlib.crc32(text[place:stop].encode()) % (self.vocab_size - 2))
                starts.append(place)
                ends.append(stop)
                place = stop
            splits.append(len(ids))
        return *(np.array(column, np.int32) for column in (ids, starts, ends)), np.array(splits, np.int64)


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train([TEXT], TokenizerConfig(vocab_size=150))


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(preparing, "PART_CHARACTERS", 300)


def corpus_of(folder: Path, times: int = 30) -> Corpus:
    path = folder / "corpus.txt"
    path.write_text("".join(TEXT.replace("One more", f"Number {number}") + "\n" for number in range(times)))
    return Corpus(path)


def same(one: Shards, two: Shards) -> bool:
    borders = ("document_starts", "sentence_starts", "document_sentences")
    return (
        (one.hash, one.bytes, one.words, one.vocab_size) == (two.hash, two.bytes, two.words, two.vocab_size)
        and all(np.array_equal(getattr(one, name), getattr(two, name)) for name in borders)
        and np.array_equal(one.ids(0, one.num_tokens), two.ids(0, two.num_tokens))
        and np.array_equal(one.word_starts(0, one.num_tokens), two.word_starts(0, two.num_tokens))
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {file: (folder / file).read_bytes() for file in ARRAYS.values()}


# what is in them


def test_ids_are_those_of_each_document_and_borders_those_of_its_sentences(tmp_path, tokenizer):
    corpus = corpus_of(tmp_path, 2)
    shards = prepare(corpus, tokenizer, tmp_path / "shards")
    documents = [document.text for document in corpus]
    assert shards.num_documents == len(documents)
    for number, text in enumerate(documents):
        start, stop = shards.document_starts[number : number + 2]
        assert shards.ids(start, stop).tolist() == tokenizer.encode(text).ids.tolist()
        first, last = shards.document_sentences[number : number + 2]
        sentences = [text[a:b] for a, b in sentence_spans(text)]
        assert last - first == len(sentences)
        for sentence, a, b in zip(sentences, shards.sentence_starts[first:last], shards.sentence_starts[first + 1 :],
                                  strict=False):
            assert shards.ids(a, b).tolist() == tokenizer.encode(sentence).ids.tolist()
    assert shards.bytes == sum(len(text.encode()) for text in documents)


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "bytebpe", "unigram"])
def test_word_starts_come_from_the_text_whatever_the_tokenizer(kind):
    tokenizer = Tokenizer.train([TEXT], TokenizerConfig(kind=kind, vocab_size=300 if kind == "bytebpe" else 150))
    text = 'Unhappiness, "naïveté" 2024年 海边😀。 Nobody-said that'
    shards_words = []
    part = encode_part(Encoder(tokenizer, "character", "<u2"), [text, "sea"])
    encoding = tokenizer.encode(text)
    group = np.cumsum(part.word_starts[: len(encoding.ids)])
    for number in np.unique(group):
        members = np.flatnonzero(group == number)
        shards_words.append(text[encoding.starts[members[0]] : encoding.ends[members].max()])
    expected = ["Unhappiness", ",", '"', "naïveté", '"', "2024", "年", "海", "边", "😀", "。", "Nobody", "-", "said",
                "that"]
    assert "".join(shards_words) == "".join(expected)
    assert [word for word in shards_words if word.isalnum()] == [word for word in expected if word.isalnum()]
    assert part.words == 9 + 1
    assert part.word_starts[len(encoding.ids)]


def test_a_segmenter_joins_the_characters_of_a_chinese_word(tmp_path, tokenizer):
    pytest.importorskip("jieba", reason="needs the extra zh")
    corpus = text_documents(["中国人民银行在北京。"])
    by_character = prepare(corpus, Characters(), tmp_path)
    by_word = prepare(corpus, Characters(), tmp_path, unit="word")
    assert by_character.hash != by_word.hash
    assert (by_character.words, by_word.words) == (9, 3)
    assert by_word.word_starts(0, 6).sum() < by_character.word_starts(0, 6).sum()


def test_pieces_with_empty_spans_stay_with_the_word_and_sentence_behind_them():
    part = encode_part(Encoder(Characters(), "character", "<u4"), ["One two. Three four.", "Six"])
    texts = ["On", "e", "", "tw", "o", ".", "", "Th", "re", "e", "", "fo", "ur", ".", "Si", "x"]
    assert len(part.ids) == len(texts)
    assert part.word_starts.tolist() == [
        True, False, True, False, False, True, True, False, False, False, True, False, False, True, True, False]
    assert part.sentence_ends.tolist() == [6, 14, 16]
    assert part.document_ends.tolist() == [14, 16]
    assert part.document_sentence_ends.tolist() == [2, 3]


def test_documents_and_sentences_without_pieces_are_left_out():
    class Latin(Characters):
        def encode_many(self, texts):
            ids, starts, ends, splits = super().encode_many(texts)
            keep = np.array([text[a].isascii() for text, lo, hi in zip(texts, splits, splits[1:], strict=False)
                             for a in starts[lo:hi]], bool)
            kept = np.concatenate([[0], np.cumsum(keep)])
            return ids[keep], starts[keep], ends[keep], kept[splits]

    part = encode_part(Encoder(Latin(), "character", "<u4"), ["中文。", "one. 中文。 two.", "文", "three"])
    assert part.document_sentence_ends.tolist() == [2, 3]
    assert part.sentence_ends.tolist()[-1] == part.document_ends.tolist()[-1] == len(part.ids)
    assert np.diff([0, *part.sentence_ends]).min() > 0


def test_a_text_of_which_the_tokenizer_knows_nothing_is_refused(tmp_path):
    class Nothing(Characters):
        def encode_many(self, texts):
            empty = np.zeros(0, np.int32)
            return empty, empty, empty, np.zeros(len(texts) + 1, np.int64)

    with pytest.raises(InputError, match="at least one piece"):
        prepare(text_documents(["one"]), Nothing(), tmp_path)


@pytest.mark.parametrize(("size", "bytes_each"), [(65_536, 2), (65_537, 4)])
def test_ids_take_the_narrowest_type_that_holds_them(tmp_path, size, bytes_each):
    tokenizer = Characters()
    tokenizer.vocab_size = size
    shards = prepare(text_documents(["one two"]), tokenizer, tmp_path)
    assert (shards.folder / "ids.bin").stat().st_size == bytes_each * shards.num_tokens
    assert shards.ids(0, 3).dtype == np.int32


# how they are made


def test_the_result_does_not_depend_on_parts_or_processes(tmp_path, tokenizer, monkeypatch):
    corpus = corpus_of(tmp_path)
    whole = prepare(corpus, tokenizer, tmp_path / "whole", processes=1)
    monkeypatch.setattr(preparing, "PART_CHARACTERS", 700)
    one = prepare(corpus, tokenizer, tmp_path / "one", processes=1)
    two = prepare(corpus, tokenizer, tmp_path / "two", processes=2)
    assert same(one, two)
    assert contents(whole.folder) == contents(one.folder) == contents(two.folder)


def test_equal_text_and_tokenizer_share_a_folder_and_others_do_not(tmp_path, tokenizer):
    corpus = corpus_of(tmp_path, 2)
    first = prepare(corpus, tokenizer, tmp_path / "shards")
    stamp = (first.folder / "ids.bin").stat().st_mtime_ns
    (tmp_path / "copy.txt").write_bytes((tmp_path / "corpus.txt").read_bytes())
    again = prepare(Corpus(tmp_path / "copy.txt"), tokenizer, tmp_path / "shards")
    assert same(first, again)
    assert (again.folder / "ids.bin").stat().st_mtime_ns == stamp
    other_text = prepare(corpus_of(tmp_path, 3), tokenizer, tmp_path / "shards")
    other_tokenizer = prepare(Corpus(tmp_path / "copy.txt"), Characters(), tmp_path / "shards")
    assert len({first.hash, other_text.hash, other_tokenizer.hash}) == 3
    assert same(Shards.open(first.folder), first)
    with pytest.raises(InputError, match=r"must be one folder, got .* with 3 of them"):
        Shards.open(tmp_path / "shards")


def test_the_folder_given_to_prepare_may_be_opened_when_it_holds_one(tmp_path, tokenizer):
    shards = prepare(text_documents([TEXT]), tokenizer, tmp_path)
    assert same(Shards.open(tmp_path), shards)
    assert "1 documents" in repr(shards)
    assert shards.report["documents"] == 1


@pytest.mark.usefixtures("small_parts")
def test_finished_parts_are_kept_wherever_preparing_was_stopped(tmp_path, tokenizer):
    corpus = corpus_of(tmp_path, 14)
    expected = contents(prepare(corpus, tokenizer, tmp_path / "expected").folder)
    for stop_after in range(1, 11):
        folder = tmp_path / f"stopped{stop_after}"

        def stop(progress, stop_after=stop_after):
            if progress.parts == stop_after:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            prepare(corpus, tokenizer, folder, progress=stop)
        assert not list(folder.glob("*/shards.json"))
        with pytest.raises(InputError, match="was not finished; prepare it again"):
            Shards.open(folder)
        seen = []
        shards = prepare(corpus, tokenizer, folder, progress=seen.append)
        assert seen[0].reused == stop_after
        assert seen[0].parts == stop_after + 1
        assert contents(shards.folder) == expected


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("damage", ["longer", "shorter", "changed", "journal cut", "journal garbage", "removed"])
def test_damage_to_unfinished_parts_is_found_and_mended(tmp_path, tokenizer, damage):
    corpus = corpus_of(tmp_path, 14)
    expected = contents(prepare(corpus, tokenizer, tmp_path / "expected").folder)

    def stop(progress):
        if progress.parts == 5:
            raise KeyboardInterrupt

    folder = tmp_path / "shards"
    with pytest.raises(KeyboardInterrupt):
        prepare(corpus, tokenizer, folder, progress=stop)
    work = next(folder.glob("*.unfinished"))
    ids, journal = work / "ids.bin", work / "parts.jsonl"
    data, lines = ids.read_bytes(), journal.read_bytes()
    {
        "longer": lambda: ids.write_bytes(data + b"half a part"),
        "shorter": lambda: ids.write_bytes(data[:-3]),
        "changed": lambda: ids.write_bytes(bytes([data[0] ^ 1]) + data[1:]),
        "journal cut": lambda: journal.write_bytes(lines[:-9]),
        "journal garbage": lambda: journal.write_bytes(lines + b'{"parts": "x"}\n[]\n'),
        "removed": lambda: ids.unlink(),
    }[damage]()
    seen = []
    assert contents(prepare(corpus, tokenizer, folder, progress=seen.append).folder) == expected
    reused = {"longer": 5, "shorter": 4, "changed": 0, "journal cut": 4, "journal garbage": 5, "removed": 0}
    assert seen[0].reused == reused[damage]


KILLED = """
import os, signal, sys
from polysemy.text import preparing
from polysemy.text.corpus import Corpus
from polysemy.text.shards import prepare
from polysemy.text.tokenizer import Tokenizer
preparing.PART_CHARACTERS = 300
def progress(now):
    if now.parts == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
prepare(Corpus(sys.argv[1]), Tokenizer.load(sys.argv[2]), sys.argv[3], processes=2, progress=progress)
"""


@pytest.mark.usefixtures("small_parts")
def test_a_run_killed_outright_goes_on_where_it_was(tmp_path, tokenizer):
    corpus = corpus_of(tmp_path, 14)
    tokenizer.save(tmp_path / "tokenizer")
    arguments = [str(tmp_path / name) for name in ("corpus.txt", "tokenizer", "shards")]
    # a script without a main guard, given by -c: workers must not run it again
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments, "4"], capture_output=True, text=True,
                            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    seen = []
    shards = prepare(corpus, tokenizer, tmp_path / "shards", progress=seen.append)
    assert seen[0].reused == 4
    assert contents(shards.folder) == contents(prepare(corpus, tokenizer, tmp_path / "expected").folder)


def test_two_preparations_at_once_do_the_work_once(tmp_path, tokenizer):
    corpora = [corpus_of(tmp_path, 5), Corpus(tmp_path / "corpus.txt")]
    calls, results = [], []

    def work(corpus):
        results.append(prepare(corpus, tokenizer, tmp_path / "shards", progress=calls.append))

    threads = [threading.Thread(target=work, args=(corpus,)) for corpus in corpora]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert same(*results)


def test_a_corpus_that_changes_while_it_is_prepared_is_refused_and_leaves_no_shards(tmp_path, tokenizer, small_parts):
    corpus = corpus_of(tmp_path, 14)

    def change(progress):
        with open(tmp_path / "corpus.txt", "a") as file:
            file.write("more\n")

    with pytest.raises(InputError, match=r"corpus\.txt was changed"):
        prepare(corpus, tokenizer, tmp_path / "shards", progress=change)
    with pytest.raises(InputError, match="was not finished"):
        Shards.open(tmp_path / "shards")
    assert prepare(Corpus(tmp_path / "corpus.txt"), tokenizer, tmp_path / "shards").num_documents == 57


def test_a_corpus_changed_between_runs_gets_another_key(tmp_path, tokenizer):
    before = prepare(corpus_of(tmp_path, 3), tokenizer, tmp_path / "shards")
    path = tmp_path / "corpus.txt"
    facts = path.stat()
    path.write_text(path.read_text().replace("wide", "vast"))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # same size, same time
    assert prepare(Corpus(path), tokenizer, tmp_path / "shards").hash != before.hash


def test_wrong_wishes_are_refused(tmp_path, tokenizer):
    corpus = text_documents([TEXT])
    with pytest.raises(InputError, match="processes must be at least 1, got 0"):
        prepare(corpus, tokenizer, tmp_path, processes=0)
    with pytest.raises(InputError, match="unit must be one of"):
        prepare(corpus, tokenizer, tmp_path, unit="syllable")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="must be writable"):
        prepare(corpus, tokenizer, tmp_path / "file" / "shards")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux only")
def test_a_full_disk_is_one_clear_error_and_keeps_what_is_finished(tmp_path, tokenizer, small_parts):
    corpus = corpus_of(tmp_path, 14)

    def stop(progress):
        if progress.parts == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(corpus, tokenizer, tmp_path / "shards", progress=stop)
    work = next((tmp_path / "shards").glob("*.unfinished"))
    from polysemy.text import store

    opened = store._appending
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_appending", lambda path: opened(Path("/dev/full") if path.name == "ids.bin" else path))
        with pytest.raises(InputError, match=r"must be writable and have room, .* \(No space left on device\)"):
            prepare(corpus, tokenizer, tmp_path / "shards")
    assert work.is_dir()
    seen = []
    prepare(corpus, tokenizer, tmp_path / "shards", progress=seen.append)
    assert seen[0].reused == 3


# opening them


@pytest.mark.parametrize("name", ARRAYS.values())
@pytest.mark.parametrize("damage", ["cut", "flipped", "removed", "longer"])
def test_a_shard_file_changed_behind_our_back_is_found_when_opened(tmp_path, tokenizer, name, damage):
    folder = prepare(text_documents([TEXT]), tokenizer, tmp_path).folder
    path = folder / name
    data = path.read_bytes()
    if damage == "removed":
        path.unlink()
    else:
        flipped = data[:5] + bytes([data[5] ^ 1]) + data[6:]
        path.write_bytes({"cut": data[:-1], "flipped": flipped, "longer": data + b"0"}[damage])
    for _ in range(2):
        with pytest.raises(InputError, match=rf"{name} must .*prepare the text again"):
            Shards.open(folder)


@pytest.mark.parametrize(
    ("old", "new"),
    [('"format": 1', '"format": 2'), ('"num_tokens": ', '"num_tokens": 1'), ('"num_tokens": ', '"num_tokens": -'),
     ('"files"', '"fils"'), ('"ids.bin"', '"../ids.bin"'), ("{", "["), ('"vocab_size": 1', '"vocab_size": 99999')],
)
def test_a_wrong_manifest_is_refused(tmp_path, tokenizer, old, new):
    folder = prepare(text_documents([TEXT]), tokenizer, tmp_path).folder
    manifest = folder / "shards.json"
    text = manifest.read_text()
    assert old in text
    manifest.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError):
        Shards.open(folder)


def test_a_folder_without_shards_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputError, match=r"shards must be a folder made by preparing a text, got .* holds none"):
            Shards.open(path)


def test_opening_again_does_not_read_everything_again(tmp_path, tokenizer, monkeypatch):
    folder = prepare(text_documents([TEXT]), tokenizer, tmp_path).folder
    from polysemy.text import manifest

    hashed = []
    monkeypatch.setattr(manifest, "sha256", lambda path: hashed.append(path.name) or "wrong")
    Shards.open(folder)
    assert hashed == []
    os.utime(folder / "ids.bin", ns=(1, 1))
    with pytest.raises(InputError, match="sha256 is another"):
        Shards.open(folder)
    assert hashed == ["ids.bin"]


def test_shards_go_through_pickle_by_folder_or_whole(tmp_path, tokenizer):
    shards = prepare(text_documents([TEXT]), tokenizer, tmp_path)
    assert len(pickle.dumps(shards)) < 500
    assert same(pickle.loads(pickle.dumps(shards)), shards)
    small = Shards.from_documents([[[1, 2], [3]], [[4]]], 5)
    assert same(pickle.loads(pickle.dumps(small)), small)


def test_shards_from_lists_have_the_same_shape():
    shards = Shards.from_documents([[[1, 2], [3]], [[4]]], 5, [[[True, False], [True]], [[True]]])
    assert shards.document_starts.tolist() == [0, 3, 4]
    assert shards.sentence_starts.tolist() == [0, 2, 3, 4]
    assert shards.document_sentences.tolist() == [0, 2, 3]
    assert shards.ids(1, 3).tolist() == [2, 3]
    assert shards.word_starts(0, 4).tolist() == [True, False, True, True]
    assert (shards.num_tokens, shards.num_sentences, shards.num_documents, shards.words) == (4, 3, 2, 3)
    assert shards.hash == Shards.from_documents([[[1, 2], [3]], [[4]]], 5, [[[True, False], [True]], [[True]]]).hash
    assert shards.hash != Shards.from_documents([[[1, 2], [3]], [[4]]], 5).hash
    for documents in ([], [[]], [[[1], []]]):
        with pytest.raises(InputError, match="non-empty"):
            Shards.from_documents(documents, 5)
    with pytest.raises(InputError, match="ids must be from 0 to 4, got 1 to 5"):
        Shards.from_documents([[[1, 5]]], 5)
    with pytest.raises(InputError, match="one entry a token"):
        Shards.from_documents([[[1, 2]]], 5, [[[True]]])


# the processes behind it


def double(state, item):
    if item == "refuse":
        raise InputError("item must be good")
    if item == "fail":
        raise ZeroDivisionError("oh")
    if item == "die":
        os._exit(3)
    print("noise on standard output")
    return state * item


def test_results_come_in_order_from_several_processes():
    assert list(processes.ordered_map(double, 2, range(40), 2)) == [2 * item for item in range(40)]
    assert list(processes.ordered_map(double, 2, range(3), 1)) == [0, 2, 4]


@pytest.mark.parametrize(
    ("item", "kind", "reason"),
    [("refuse", InputError, "item must be good"), ("fail", RuntimeError, "ZeroDivisionError: oh"),
     ("die", RuntimeError, "ended with exit code 3; what is finished is kept")],
)
def test_what_goes_wrong_in_a_process_is_raised_here(item, kind, reason):
    with pytest.raises(kind, match=reason):
        list(processes.ordered_map(double, 2, [1, item, 2], 2))


def test_items_are_read_only_as_fast_as_results_are_taken():
    read = []

    def items():
        for item in range(1000):
            read.append(item)
            yield item

    results = processes.ordered_map(double, 1, items(), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    results.close()
    assert len(read) <= 3 + 2 * 2


def test_the_fast_encoder_gives_the_same_shards_and_the_choice_is_reported(tmp_path, tokenizer, monkeypatch):
    corpus = corpus_of(tmp_path)
    monkeypatch.setattr(preparing, "PART_CHARACTERS", 2000)
    small = prepare(corpus, tokenizer, tmp_path / "small")
    monkeypatch.setattr(preparing, "SMALL_BYTES", 0)
    large = prepare(corpus, tokenizer, tmp_path / "large", processes=2)
    assert small.report["encoder"] == "plain: the text is small"
    assert large.report["encoder"] == "fast"
    assert contents(small.folder) == contents(large.folder)
