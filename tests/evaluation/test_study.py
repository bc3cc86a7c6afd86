"""Split and questions of one corpus, made once."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_encoder import tokenizer
from word_world import CONFIG, documents

from polysemy.evaluation.cloze_items import load_items
from polysemy.evaluation.study import pieces_of, prepare_cloze, prepare_items
from polysemy.text.corpus import text_documents
from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

SENTENCES = ["The unhappy cats sat unhappily.", "Cats and dogs are not unhappy.", "银行在河边。",
             "我喜欢在河边看书。"] * 5


def test_what_is_there_is_taken_as_it_is(tmp_path: Path) -> None:
    corpus = text_documents(documents(700))
    split, items = prepare_cloze(corpus, tmp_path, CONFIG, tokenizer())
    times = [path.stat().st_mtime_ns for path in (split.test, tmp_path / "cloze.jsonl")]
    assert prepare_cloze(corpus, tmp_path, CONFIG, tokenizer()) == (split, items)
    assert [path.stat().st_mtime_ns for path in (split.test, tmp_path / "cloze.jsonl")] == times
    assert load_items(tmp_path / "cloze.jsonl") == items


def test_other_settings_tokenizers_or_damage_make_new_questions(tmp_path: Path) -> None:
    split, items = prepare_cloze(text_documents(documents(700)), tmp_path, CONFIG)
    path = tmp_path / "cloze.jsonl"
    assert prepare_items(split, path, CONFIG.replace(seed=3)).hash != items.hash
    whole = prepare_items(split, path, CONFIG, tokenizer())
    assert whole.hash != items.hash
    assert any(len(set(question.pieces)) == 1 and question.pieces[0] > 1 for question in whole.test)
    path.write_text("damaged", encoding="utf-8")
    assert prepare_items(split, path, CONFIG, tokenizer()) == whole


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "bytebpe", "unigram"])
def test_pieces_are_counted_as_words_stand_in_a_text(kind: str) -> None:
    made = Tokenizer.train(SENTENCES, TokenizerConfig(kind=kind, vocab_size=340, min_frequency=1, coverage=1.0))
    words = ["cats", "unhappily", "Cats", "河"]
    for word, count in zip(words, pieces_of(made)(words).tolist(), strict=True):
        text = f"。{word}" if word == "河" else f"the {word}"
        start = text.index(word)
        encoding = made.encode(text)
        assert count == int(np.sum(encoding.ends > start)), word
    assert pieces_of(made)([]).tolist() == []


def test_importing_evaluation_is_cheap() -> None:
    code = ("import sys, polysemy.evaluation; "
            "print([name for name in ('torch', 'numba', 'scipy', 'tokenizers', 'matplotlib') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
