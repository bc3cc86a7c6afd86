"""What is held out depends on the passages alone, and prepared text is made once."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polysemy.errors import InputError
from polysemy.runtime import random_for
from polysemy.text.corpus import Corpus, text_documents
from polysemy.text.portions import PASSAGE, Portion, hold_out, passages
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig
from polysemy.training.prepared import open_text, prepare_text
from small_runs import small_config, write_text


def documents(count: int, tag: str = "") -> list[str]:
    return [f"Document {tag}{number} says {number * 7919 % 101} things about the river." for number in range(count)]


def parts(texts: list[str]) -> tuple[set[str], set[str]]:
    train, held_out = hold_out(text_documents(texts))
    return {text for text, _, _ in train}, {text for text, _, _ in held_out} if held_out else set()


def test_what_is_no_text_in_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(random_for("bytes").integers(1, 256, 30_000, np.uint8).tobytes())
    for _ in range(2):
        with pytest.raises(InputError, match=r"corpus must be UTF-8 text, got [\d,]+ invalid bytes among"):
            prepare_text(Corpus([tmp_path / "bytes"]), small_config(), tmp_path / "text")
    write_text(tmp_path / "good.txt")
    tokenizer = prepare_text(Corpus([tmp_path / "good.txt"]), small_config(), tmp_path / "text").tokenizer
    with pytest.raises(InputError, match="corpus must be UTF-8 text"):
        prepare_text(Corpus([tmp_path / "bytes"]), small_config(), tmp_path / "text", tokenizer=tokenizer)


@pytest.mark.parametrize(("count", "held"), [(10, 2), (50, 10), (100, 20), (1000, 20)])
def test_at_least_twenty_passages_are_held_out_but_never_more_than_a_fifth(count: int, held: int) -> None:
    train, held_out = parts(documents(count))
    assert len(held_out) == held
    assert train | held_out == set(documents(count))
    assert not train & held_out


def test_one_in_a_hundred_of_a_large_corpus_is_held_out() -> None:
    _, held_out = parts(documents(20_000))
    assert 150 < len(held_out) < 250


def test_too_short_a_text_is_trained_on_whole() -> None:
    corpus = text_documents(documents(9))
    assert hold_out(corpus) == (corpus, None)
    copies = text_documents(["the same words"] * 40)
    assert hold_out(copies)[1] is None


def test_order_repetition_and_more_text_move_no_passage_of_a_large_corpus() -> None:
    texts = documents(3000)
    train, held_out = parts(texts)
    assert parts(texts[::-1]) == (train, held_out)
    assert parts(texts + texts[:500]) == (train, held_out)
    more_train, more_held_out = parts(texts + documents(1000, "new "))
    assert train <= more_train
    assert held_out <= more_held_out


def test_a_single_book_is_held_out_in_stretches_and_nothing_is_lost() -> None:
    lines = [f"Line {number} of the book, on {number * 31 % 17} and {number % 13}." for number in range(40_000)]
    book = "\n".join(lines)
    assert "".join(passages(book)) == book
    assert all(len(passage) < 1.6 * PASSAGE for passage in passages(book))
    train, held_out = hold_out(text_documents([book]))
    assert held_out is not None
    kept, spared = [text for text, _, _ in train], [text for text, _, _ in held_out]
    assert len(kept) > 1
    assert sorted(line for text in kept + spared for line in text.split("\n")) == sorted(lines)
    assert 0.05 < sum(map(len, spared)) / len(book) <= 0.25


def test_a_long_line_without_any_space_is_cut_anyway() -> None:
    text = "x" * 100_000
    assert "".join(passages(text)) == text
    assert len(list(passages(text))) == 5


def test_both_portions_have_their_own_key() -> None:
    corpus = text_documents(documents(100))
    train, held_out = hold_out(corpus)
    assert isinstance(train, Portion)
    assert len({corpus.fingerprint(), train.fingerprint(), held_out.fingerprint()}) == 3  # type: ignore[union-attr]


def test_prepared_text_is_made_once_and_opened_again(tmp_path: Path) -> None:
    corpus = Corpus([write_text(tmp_path / "corpus.txt")])
    first = prepare_text(corpus, small_config(), tmp_path / "text")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "text").rglob("*.bin")}
    second = prepare_text(corpus, small_config(), tmp_path / "text")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "text").rglob("*.bin")} == before
    opened = open_text(first.source, first.tokenizer)
    assert first.hash == second.hash == opened.hash
    assert first.held_out is not None
    assert first.train.hash != first.held_out.hash
    assert opened.train.num_tokens == first.train.num_tokens
    assert first.source["held_out_tokens"] == first.held_out.num_tokens > 0


def test_the_tokenizer_never_sees_held_out_text(tmp_path: Path) -> None:
    texts = documents(100)
    _, held_out = parts(texts)
    secret = next(iter(held_out))
    train, rest = hold_out(text_documents(texts))
    assert secret not in {text for text, _, _ in train}
    marked = [text.replace("river", "zzzqqq") if text in held_out else text for text in texts]
    assert rest is not None
    found = prepare_text(text_documents(texts), small_config(), tmp_path)
    assert not any("zq" in piece for piece in found.tokenizer.vocabulary)
    given = prepare_text(text_documents(marked), small_config(), tmp_path / "given", tokenizer=found.tokenizer)
    assert given.tokenizer is found.tokenizer


def test_text_of_another_tokenizer_is_refused(tmp_path: Path) -> None:
    found = prepare_text(text_documents(documents(50)), small_config(), tmp_path)
    other = Tokenizer.train(documents(50), TokenizerConfig(kind="bpe", vocab_size=100))
    with pytest.raises(InputError, match="must be prepared with this tokenizer"):
        open_text(found.source, other)


def test_a_given_held_out_text_replaces_the_own_one(tmp_path: Path) -> None:
    found = prepare_text(text_documents(documents(50)), small_config(), tmp_path,
                         held_out=text_documents(documents(5, "other ")))
    assert found.train.num_documents == 50
    assert found.held_out is not None
    assert found.held_out.num_documents == 5
