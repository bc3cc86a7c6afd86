"""Train, dev and test: by hash, without shared passages, made once."""
from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import pytest
from word_world import documents

from polysemy.errors import InputError
from polysemy.evaluation import split as splitting
from polysemy.evaluation.split import PARTS, open_split, split_corpus, tidy
from polysemy.runtime import random_for
from polysemy.text.corpus import Corpus, text_documents

DOCUMENTS = tuple(documents(400, seed=1))


def blocks(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").rstrip("\n").split("\n\n")


def parts_of(folder: Path, texts: tuple[str, ...] | list[str]) -> dict[str, list[str]]:
    split = split_corpus(text_documents(texts), folder)
    return {part: blocks(split.folder / f"{part}.txt") for part in PARTS}


def test_every_document_goes_to_one_part_in_the_given_shares(tmp_path: Path) -> None:
    parts = parts_of(tmp_path / "split", DOCUMENTS)
    assert sorted(chain(*parts.values())) == sorted(DOCUMENTS)
    assert len(parts["dev"]) == pytest.approx(40, abs=18)  # three standard deviations
    assert len(parts["test"]) == pytest.approx(40, abs=18)


def test_the_part_depends_on_the_text_alone(tmp_path: Path) -> None:
    order = random_for("order").permutation(len(DOCUMENTS))
    parts = parts_of(tmp_path / "one", DOCUMENTS)
    other = parts_of(tmp_path / "two", [*(DOCUMENTS[at] for at in order), *documents(100, seed=2)])
    for part in PARTS:
        assert set(parts[part]) <= set(other[part])


def test_counts_are_those_of_the_files(tmp_path: Path) -> None:
    split = split_corpus(text_documents(DOCUMENTS), tmp_path / "split")
    for part in PARTS:
        found = blocks(split.folder / f"{part}.txt")
        size = (split.folder / f"{part}.txt").stat().st_size
        words = sum(len(block.replace(".", "").split()) for block in found)
        assert split.counts[part] == {"documents": len(found), "words": words, "bytes": size}
        assert [document.text for document in split.corpus(part)] == found


def test_planted_copies_leave_train_and_only_train(tmp_path: Path) -> None:
    parts = parts_of(tmp_path / "clean", DOCUMENTS)
    stolen = parts["test"][0].split("\n")[2]
    hosts = [f"{text}\nQUOTE: {stolen.upper()}" for text in parts["train"][:40]]
    copies = [text.replace(".", " ;") + "\nA new last line." for text in parts["test"] + parts["dev"]]
    again = parts_of(tmp_path / "planted", [*DOCUMENTS, *hosts, *copies])
    runs = {tuple(words[at : at + 13]) for text in again["test"] + again["dev"]
            for words in [text.lower().replace(".", " ").replace(";", " ").split()] for at in range(len(words) - 12)}
    for text in again["train"]:
        words = text.lower().replace(".", " ").replace(";", " ").split()
        assert not any(tuple(words[at : at + 13]) in runs for at in range(len(words) - 12))
    hosts_in_train = [text for text in again["train"] if text in parts["train"][:40]]
    assert len(hosts_in_train) >= 40  # what stood around the quotation is still there
    facts = json.loads((tmp_path / "planted" / "split.json").read_text())
    assert facts["overlap"]["copies"] > 0
    assert facts["overlap"]["removed"]


def test_equal_documents_are_held_out_once(tmp_path: Path) -> None:
    once, twice = parts_of(tmp_path / "one", DOCUMENTS), parts_of(tmp_path / "two", DOCUMENTS * 2)
    assert twice["test"] == once["test"]
    assert twice["dev"] == once["dev"]
    assert len(twice["train"]) == 2 * len(once["train"])


def test_han_text_is_split_and_cleaned(tmp_path: Path) -> None:
    random = random_for("han")
    letters = "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生"
    texts = ["".join(letters[at] for at in random.integers(0, len(letters), 60)) + "。" for _ in range(300)]
    clean = parts_of(tmp_path / "clean", texts)
    planted = [f"据报道{text[10:35]}等等" for text in clean["test"]]
    again = parts_of(tmp_path / "planted", texts + planted)
    assert not [text for text in again["train"] if any(held[10:35] in text for held in clean["test"])]


def test_a_second_call_takes_what_is_there(tmp_path: Path) -> None:
    first = split_corpus(text_documents(DOCUMENTS), tmp_path / "split")
    times = [path.stat().st_mtime_ns for path in (first.train, first.dev, first.test)]
    assert split_corpus(text_documents(DOCUMENTS), tmp_path / "split") == first
    assert [path.stat().st_mtime_ns for path in (first.train, first.dev, first.test)] == times
    other = split_corpus(text_documents(DOCUMENTS[:-1]), tmp_path / "split")
    assert other.fingerprint != first.fingerprint
    assert not list(tmp_path.glob(".*"))


def test_a_damaged_split_is_noticed_and_made_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = split_corpus(text_documents(DOCUMENTS), tmp_path / "split")
    content = first.test.read_bytes()
    first.test.write_bytes(content[:-100])
    with pytest.raises(InputError, match=r"test\.txt must be as it was written"):
        open_split(tmp_path / "split")
    assert split_corpus(text_documents(DOCUMENTS), tmp_path / "split").test.read_bytes() == content
    assert "split anew" in capsys.readouterr().err


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "split").mkdir()
    (tmp_path / "split" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="must be new or empty"):
        split_corpus(text_documents(DOCUMENTS), tmp_path / "split")
    assert (tmp_path / "split" / "thesis.txt").read_text() == "precious"


def test_one_book_is_cut_at_paragraphs(tmp_path: Path) -> None:
    book = "\n\n".join(DOCUMENTS[:150])
    path = tmp_path / "book.txt"
    path.write_text(book, encoding="utf-8")
    split = split_corpus(Corpus([path], document="file"), tmp_path / "split")
    assert split.cut_documents == 1
    lines = sorted(line for part in PARTS for line in (split.folder / f"{part}.txt").read_text().split("\n") if line)
    assert lines == sorted(line for line in book.split("\n") if line)
    assert "large documents were cut" in "\n".join(split.describe())


def test_text_that_only_repeats_itself_stays_and_says_so(tmp_path: Path) -> None:
    form = "The customer called at noon and asked for the usual service that we offer to all customers here"
    texts = [f"{form}\nTicket {number} closed" for number in range(300)]
    split = split_corpus(text_documents(texts), tmp_path / "split")
    assert not split.overlap["removed"]
    assert split.counts["train"]["documents"] > 200
    assert "left in train" in "\n".join(split.describe())


def test_held_out_text_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = parts_of(tmp_path / "whole", DOCUMENTS)
    monkeypatch.setattr(splitting, "HELD_OUT_BYTES", 8_000)
    bounded = parts_of(tmp_path / "bounded", DOCUMENTS)
    assert 0 < len("".join(bounded["test"])) < 20_000 < len("".join(whole["test"]))
    assert set(bounded["test"]) < set(whole["test"])
    assert len(bounded["train"]) > len(whole["train"])


def test_paragraphs_become_lines(tmp_path: Path) -> None:
    assert tidy("  one \r\n\r\n two\x0bthree\u2028four \n\n") == "one\ntwo\nthree\nfour"
    parts = parts_of(tmp_path / "split", [text.replace("\n", "\r\n \r\n") for text in DOCUMENTS])
    assert sorted(chain(*parts.values())) == sorted(DOCUMENTS)


@pytest.mark.parametrize("texts", [["one short text"], ["a b c\nd e f"] * 30])
def test_too_little_text_is_refused(tmp_path: Path, texts: list[str]) -> None:
    with pytest.raises(InputError, match="corpus must hold enough text"):
        split_corpus(text_documents(texts), tmp_path / "split")
    assert not (tmp_path / "split").exists()


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    split = split_corpus(text_documents(DOCUMENTS), tmp_path / "split")
    with pytest.raises(InputError, match="part must be one of"):
        split.corpus("validation")


@pytest.mark.slow
def test_twenty_million_words_in_a_minute_and_a_gigabyte(shared_data: Path, tmp_path: Path) -> None:
    import time

    start = time.perf_counter()
    split = split_corpus(Corpus([shared_data / "english" / "train.txt.xz"]), tmp_path / "split")
    assert time.perf_counter() - start < 120  # a minute on a quiet machine of two cores; here others may work too
    assert sum(split.counts[part]["words"] for part in PARTS) > 18_000_000
    assert split.overlap["copies"] > 0
