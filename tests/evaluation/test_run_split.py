from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polysemy.errors import InputError
from polysemy.evaluation.run_split import split_of_run
from polysemy.text.corpus import Corpus
from polysemy.text.portions import hold_out


def document(number: int) -> str:
    return " ".join(spelled(61 * number + i * i) for i in range(60))


def spelled(number: int) -> str:
    """A number in letters: one word under every rule of what a word is."""
    return "".join(chr(97 + int(digit)) for digit in str(number))


def corpus(path: Path, texts: list[str]) -> dict[str, Any]:
    path.write_text("\n\n".join(texts))
    return {"text": {"files": [str(path)], "rule": "blank-line"}, "text_hash": "x"}


def known(path: Path, texts: list[str], folder: Path | None = None) -> dict[str, Any]:
    """A record that tells which text was read: by its hash, or by the folder of its shards."""
    record = corpus(path, texts)
    fingerprint = hold_out(Corpus([path], document="blank-line"))[0].fingerprint()
    if folder is None:
        return record | {"recipe": "word2vec", "text_hash": fingerprint}
    (folder / "shards").mkdir()
    (folder / "shards" / "shards.json").write_text(json.dumps({"corpus": fingerprint}))
    return record | {"recipe": "bert", "text": record["text"] | {"folder": str(folder), "train": "shards"}}


def test_dev_and_test_are_what_training_held_out(tmp_path: Path) -> None:
    record = corpus(tmp_path / "corpus.txt", [document(i) for i in range(150)])
    split = split_of_run(record, tmp_path / "split")
    train, held_out = hold_out(Corpus([tmp_path / "corpus.txt"], document="blank-line"))
    assert held_out is not None
    found = {part: set((tmp_path / "split" / f"{part}.txt").read_text().split("\n\n")) - {""} for part in split.counts}
    assert found["train"] == {d.text.strip() for d in train}
    assert found["dev"] | found["test"] == {d.text.strip() for d in held_out}
    assert split.counts["train"]["documents"] == len(found["train"])
    assert split.counts["train"]["words"] == sum(len(text.split()) for text in found["train"])


def test_held_out_text_that_training_has_read_is_taken_out(tmp_path: Path) -> None:
    texts = [document(i) for i in range(150)]
    record = corpus(tmp_path / "corpus.txt", texts)
    _, held_out = hold_out(Corpus([tmp_path / "corpus.txt"], document="blank-line"))
    assert held_out is not None
    leaked = next(iter(held_out)).text.strip()
    host = next(i for i, text in enumerate(texts) if text not in {d.text.strip() for d in held_out})
    for extra in range(200):  # until the document with the copy falls to the training side again
        texts[host] = f"{document(1000 + extra)} {leaked}"
        record = corpus(tmp_path / "corpus.txt", texts)
        train, rest = hold_out(Corpus([tmp_path / "corpus.txt"], document="blank-line"))
        assert rest is not None
        held = {d.text.strip() for d in rest}
        if texts[host] in {d.text.strip() for d in train} and leaked in held:
            break
    split = split_of_run(record, tmp_path / "split")
    kept = (tmp_path / "split" / "dev.txt").read_text() + (tmp_path / "split" / "test.txt").read_text()
    assert leaked not in kept
    assert split.overlap["copies"] == 1


@pytest.mark.parametrize("neural", [False, True])
def test_text_that_has_changed_since_is_one_clear_line(tmp_path: Path, neural: bool) -> None:
    record = known(tmp_path / "corpus.txt", [document(i) for i in range(150)], tmp_path if neural else None)
    assert split_of_run(record, tmp_path / "split").counts["test"]["documents"]
    (tmp_path / "corpus.txt").write_text("\n\n".join(document(i) for i in range(1, 151)))
    with pytest.raises(InputError, match=r"as it was then, got .*corpus.txt, which has changed since; name .*--data"):
        split_of_run(record, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_run_that_held_nothing_out_is_not_judged_by_what_it_read(tmp_path: Path) -> None:
    record = known(tmp_path / "corpus.txt", [document(i) for i in range(150)])
    record["text_hash"] = Corpus([tmp_path / "corpus.txt"], document="blank-line").fingerprint()
    with pytest.raises(InputError, match="a run that read the whole of its text; name other text with --data"):
        split_of_run(record, tmp_path / "split")


def test_more_files_than_a_record_names_are_not_judged_by_a_part(tmp_path: Path) -> None:
    record = known(tmp_path / "corpus.txt", [document(i) for i in range(150)])
    record["text"] = record["text"] | {"num_files": 250}
    with pytest.raises(InputError, match=r"at most 1 files to be found again, got 250.*name text with --data"):
        split_of_run(record, tmp_path / "split")


def test_files_of_several_kinds_are_found_again(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text("".join(json.dumps({"text": document(i)}) + "\n" for i in range(90)))
    (tmp_path / "plain.txt").write_text("\n\n".join(document(i) for i in range(90, 150)))
    corpus = Corpus([tmp_path / "records.jsonl", tmp_path / "plain.txt"])
    record = {"recipe": "word2vec", "text_hash": hold_out(corpus)[0].fingerprint(),
              "text": {"files": [str(path) for path in corpus.files], "num_files": 2, "rule": corpus.document_rule}}
    assert split_of_run(record, tmp_path / "split").counts["test"]["documents"]


def test_text_that_is_gone_or_too_short_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--data"):
        split_of_run({"text": {"files": [str(tmp_path / "gone.txt")]}}, tmp_path / "split")
    with pytest.raises(InputError, match="--data"):
        split_of_run(corpus(tmp_path / "short.txt", ["only one document"]), tmp_path / "split")
    assert not (tmp_path / "split").exists()
