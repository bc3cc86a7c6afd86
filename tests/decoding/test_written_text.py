"""Text while it is written: pieces whose sum is the whole, characters never in halves, the mark at both ends."""
from __future__ import annotations

import functools

import pytest

from polysemy.decoding.sampling import GenerationConfig
from polysemy.decoding.text import BROKEN, Unfolding, prompt_ids, stream, unwanted
from polysemy.errors import InputError
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

from .small_bodies import small_gpt

TEXTS = ["She walked along the river, looked at the water and sat down.", "银行在河边。她去银行取钱。",
         "Café naïve — 🦉🦉 said the owl!", "don't  keep   spaces\nand lines"]


@functools.cache
def tokenizer(kind: str = "bytebpe") -> Tokenizer:
    return Tokenizer.train(TEXTS * 3, TokenizerConfig(kind=kind, vocab_size=330, coverage=1.0,  # type: ignore[arg-type]
                                                      min_frequency=1, lowercase=False))


@pytest.mark.parametrize("text", TEXTS)
def test_bytes_of_half_a_character_are_held_back(text: str) -> None:
    ids = tokenizer().encode(text).ids.tolist()
    unfolding = Unfolding(tokenizer())
    pieces = [unfolding.add(number) for number in ids]
    assert "".join(pieces) + unfolding.finish() == text
    assert not any(BROKEN in piece for piece in pieces)
    assert len(ids) > len([piece for piece in pieces if piece]) or text.isascii()


def test_what_stays_broken_is_given_at_the_end() -> None:
    ids = tokenizer().encode("🚲").ids.tolist()
    assert len(ids) > 1
    unfolding = Unfolding(tokenizer(), before=tokenizer().encode("an owl").ids.tolist())
    assert unfolding.add(ids[0]) == ""
    assert unfolding.finish() == BROKEN
    assert unfolding.finish() == ""


@pytest.mark.parametrize("kind", ["bytebpe", "wordpiece", "bpe", "unigram"])
def test_the_text_goes_on_as_if_it_had_been_decoded_whole(kind: str) -> None:
    trained, text = tokenizer(kind), "She sat down and looked at the water"
    ids = trained.encode(text).ids.tolist()
    for cut in range(1, len(ids)):
        unfolding = Unfolding(trained, before=ids[:cut])
        rest = "".join(unfolding.add(number) for number in ids[cut:]) + unfolding.finish()
        assert trained.decode(ids[:cut]) + rest == trained.decode(ids)


def test_an_empty_text_begins_with_the_mark() -> None:
    assert prompt_ids(tokenizer(), "").tolist() == [tokenizer().sep_id]
    assert prompt_ids(tokenizer(), "water").tolist() == [tokenizer().sep_id, *tokenizer().encode("water").ids]
    assert tokenizer().sep_id not in unwanted(tokenizer())
    assert tokenizer().mask_id in unwanted(tokenizer())


def test_a_stream_gives_the_text_of_its_tokens_and_ends() -> None:
    model = small_gpt(vocab_size=tokenizer().vocab_size)
    settings = GenerationConfig(tokens=60, seed=5, temperature=2.0)
    stopped = False
    for seed in range(8):
        pieces = stream(model, tokenizer(), "the water", settings.replace(seed=seed))
        text = "".join(pieces)
        before = tokenizer().decode(prompt_ids(tokenizer(), "the water"))
        assert before + text == tokenizer().decode([*prompt_ids(tokenizer(), "the water"), *pieces.ids])
        assert not set(pieces.ids) & tokenizer().special_ids
        assert pieces.ended == ("stop" if len(pieces.ids) < 60 else "tokens")
        stopped = stopped or pieces.ended == "stop"
        assert next(pieces, None) is None
    assert stopped


def test_a_prompt_too_long_is_an_error_before_the_first_piece() -> None:
    model = small_gpt("paper", positions=16, vocab_size=tokenizer().vocab_size)
    with pytest.raises(InputError, match="prompt must be at most 16 tokens long"):
        stream(model, tokenizer(), TEXTS[0], GenerationConfig())
