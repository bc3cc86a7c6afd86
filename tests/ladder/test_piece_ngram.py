"""Counting on the axis of bits per byte: the same pieces as the neural rungs, and longer contexts that help."""
from __future__ import annotations

import math

import numpy as np

from polysemy.ladder.piece_ngram import END, UNKNOWN, PieceNgram
from polysemy.text.shards import Shards
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

TEXTS = ["the cat sat on the mat", "the dog sat on the rug", "a cat and a dog sat on the mat"] * 20


def made(order: int) -> tuple[PieceNgram, Tokenizer]:
    tokenizer = Tokenizer.train(TEXTS, TokenizerConfig(vocab_size=60, min_frequency=1))
    documents = [[encoding.ids.tolist()] for encoding in tokenizer.encode_batch(TEXTS)]
    return PieceNgram(Shards.from_documents(documents, tokenizer.vocab_size), tokenizer, order), tokenizer


def test_bits_are_those_of_every_piece_by_byte_of_text() -> None:
    model, tokenizer = made(3)
    text = "the cat sat on the rug"
    row = model.numbers[tokenizer.encode(text).ids]
    logs = model.model.score_tokens(np.append(row, END).astype(np.int32))[:-1]
    by_hand = -sum(math.log2(10.0) * float(log) for log in logs)
    assert math.isclose(model.bits_per_byte([text]), by_hand / len(text), rel_tol=1e-6)
    assert math.isclose(model.bits_per_byte([text, text]), by_hand / len(text), rel_tol=1e-6)


def test_longer_contexts_need_fewer_bits_and_an_unseen_piece_is_unknown() -> None:
    bits = [made(order)[0].bits_per_byte(["the dog sat on the mat"]) for order in (1, 2, 3)]
    assert bits[0] > bits[1] > bits[2] > 0
    model, tokenizer = made(2)
    assert model.numbers[tokenizer.mask_id] == UNKNOWN
