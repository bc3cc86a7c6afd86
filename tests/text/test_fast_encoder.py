from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizer_text import CHINESE, KINDS, english, texts, trained

from polysemy.errors import InputError
from polysemy.text import fast_encoder
from polysemy.text.fast_check import check_lines
from polysemy.text.fast_encoder import FastEncoder, encoder_for, why_plain
from polysemy.text.fast_tables import UnsupportedError
from polysemy.text.tokenizer import Tokenizer

SETTINGS = [(kind, {}) for kind in KINDS] + [
    ("wordpiece", {"lowercase": False}), ("bytebpe", {"lowercase": True}), ("bytebpe", {"prefix_space": True}),
    ("bpe", {"lowercase": True}), ("unigram", {"lowercase": False}),
]
NAMES = [" ".join([kind, *changes]) for kind, changes in SETTINGS]
ALL = pytest.mark.parametrize(("kind", "changes"), SETTINGS, ids=NAMES)
SCRIPTS = ("aZé09 \n\t'.,-_ßİıſﬁ½①…中国ひらカﾞ한국가हिन्दีภาอัעִבְ"
           "\u0301\u0323\u00a0\u3000\u200b\u200d\u0000\u001c\ufeff▁Ġ#[]<>😀")


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("POLYSEMY_PLAIN", raising=False)
    fast_encoder._known.clear()
    yield
    fast_encoder._known.clear()


def assert_equal(encoder: FastEncoder, lines: Sequence[str]) -> None:
    ours, theirs = encoder.encode_many(lines), encoder.tokenizer.encode_many(lines)
    for name, a, b in zip(("ids", "starts", "ends", "row_splits"), ours, theirs, strict=True):
        assert a.dtype == b.dtype, name
        assert np.array_equal(a, b), name


_encoders: dict[str, FastEncoder] = {}


def encoder_of(kind: str, changes: dict[str, bool]) -> FastEncoder:
    key = f"{kind} {changes}"
    if key not in _encoders:
        _encoders[key] = FastEncoder(trained(kind, **changes))
    return _encoders[key]


@ALL
def test_passes_its_own_check(kind: str, changes: dict[str, bool]) -> None:
    tokenizer = trained(kind, **changes)
    assert encoder_for(tokenizer) is encoder_for(tokenizer), "made and checked once"
    assert why_plain(tokenizer) is None


@ALL
@settings(max_examples=80, deadline=None)
@given(lines=st.lists(st.text(alphabet=st.one_of(st.sampled_from(SCRIPTS), st.characters()), max_size=30), max_size=4))
@example(lines=["", " ", "\n \n", "don't  'S", "a\u0301 b\u0323\u0301c", "한국어 가", "x" * 120])
def test_ids_and_spans_equal_those_of_the_library(kind: str, changes: dict[str, bool], lines: list[str]) -> None:
    try:
        assert_equal(encoder_of(kind, changes), lines)
    except InputError:
        assert any("\ud800" <= ch <= "\udfff" for line in lines for ch in line)


@ALL
def test_real_text_gives_equal_ids(kind: str, changes: dict[str, bool]) -> None:
    lines = [*texts(), "\n".join(english()), "".join(CHINESE) * 20]
    assert_equal(encoder_of(kind, changes), lines)


@pytest.mark.parametrize("name", ["bert-base-uncased-vocab.txt.gz", "gpt2-bpe"])
def test_files_of_bert_and_gpt2_give_equal_ids(name: str, shared_data: Path) -> None:
    encoder = encoder_for(Tokenizer.load(shared_data / "pretrained" / name))
    assert encoder is not None
    assert_equal(encoder, texts())


@pytest.mark.parametrize("kind", KINDS)
def test_marks_of_hidden_spans_are_plain_text(kind: str) -> None:
    encoder = encoder_for(trained(kind, marks=True))
    assert encoder is not None
    assert_equal(encoder, ["[S] one [/S] two", "[MASK]", "<s>"])


def test_a_full_cache_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_encoder, "CACHED_WORDS", 16)
    for kind in KINDS:
        encoder = FastEncoder(trained(kind))
        assert_equal(encoder, texts())
        assert encoder._cache.state[0] <= 16


def test_too_little_room_for_the_output_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_encoder, "SLICE_CHARACTERS", 500)
    for kind in KINDS:
        encoder = FastEncoder(trained(kind))
        encoder._pieces_per_character = 0.0
        assert_equal(encoder, texts())


@pytest.mark.parametrize("kind", KINDS)
def test_words_of_thousands_of_characters_are_equal(kind: str) -> None:
    long = ["antidisestablishment" * 300, "我喜欢北京" * 500 + " end", "x\u0301" * 700, "\n" * 3000 + "a"]
    assert_equal(encoder_of(kind, {}), [*long, "after", *long])


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickled_encoder_gives_the_same(kind: str) -> None:
    encoder = encoder_of(kind, {})
    copy = pickle.loads(pickle.dumps(encoder))
    for a, b in zip(copy.encode_many(texts()), encoder.encode_many(texts()), strict=True):
        assert np.array_equal(a, b)


def test_bad_text_is_an_input_error() -> None:
    encoder = encoder_of("wordpiece", {})
    with pytest.raises(InputError, match="Unicode"):
        encoder.encode_many(["fine", "\ud800"])
    with pytest.raises(InputError, match="string"):
        encoder.encode_many(["fine", 5])  # type: ignore[list-item]
    assert [len(column) for column in encoder.encode_many([])] == [0, 0, 0, 1]


@pytest.mark.parametrize("table", ["classes", "forms"])
def test_the_check_finds_a_wrong_table(table: str) -> None:
    encoder = FastEncoder(trained("wordpiece"))
    encoder.encode_many(["ae"])
    column = getattr(encoder._characters, table)
    column[ord("e")] = column[ord("e")] - 1
    with pytest.raises(UnsupportedError, match="differs from the tokenizers library on"):
        encoder.check()


def test_the_check_finds_a_wrong_merge() -> None:
    encoder = FastEncoder(trained("bytebpe"))
    encoder._vocabulary.pairs[encoder._vocabulary.pairs[:, 0] >= 0, 0] += 1
    with pytest.raises(UnsupportedError):
        encoder.check()


def changed(kind: str, **changes: object) -> Tokenizer:
    definition = json.loads(trained(kind).definition)
    definition.update(changes)
    return Tokenizer(json.dumps(definition), trained(kind).roles)


def test_other_makes_of_tokenizer_have_no_fast_encoder_and_a_reason() -> None:
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    new = {"id": trained("bpe").vocab_size, "content": "new", "special": False, "single_word": False, "lstrip": False,
           "rstrip": False, "normalized": False}
    others = {
        "of another make": changed("unigram", pre_tokenizer=metaspace, normalizer=None),
        "not special": changed("bpe", added_tokens=[*json.loads(trained("bpe").definition)["added_tokens"], new]),
        "not BERT's": changed("wordpiece", normalizer={"type": "Lowercase"}),
        "another way": changed("bytebpe", normalizer={"type": "NFC"}),
    }
    for reason, tokenizer in others.items():
        assert encoder_for(tokenizer) is None
        assert reason in str(why_plain(tokenizer))


def test_the_environment_switches_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYSEMY_PLAIN", "1")
    assert encoder_for(trained("bpe")) is None
    assert "POLYSEMY_PLAIN" in str(why_plain(trained("bpe")))


def test_the_check_lines_are_many_and_always_the_same() -> None:
    lines = list(check_lines(trained("bpe")))
    assert len(lines) == 3000
    assert lines == list(check_lines(trained("bpe")))
    assert len({ch for line in lines for ch in line}) > 5000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1023, 1025, 4095, 4096, 4097, 4098, 4099])
def test_words_about_as_long_as_the_work_space_are_equal(kind: str, size: int) -> None:
    assert_equal(encoder_of(kind, {}), ["x " + "ab" * (size // 2) + "c" * (size % 2) + " y", "é" * size])
