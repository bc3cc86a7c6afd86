"""Phrases: the rule of word2phrase beside a plain twin and gensim."""
from __future__ import annotations

import lzma
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from polysemy.errors import InputError
from polysemy.text import phrases as module
from polysemy.text.corpus import text_documents
from polysemy.text.encoded import EncodedText, encode
from polysemy.text.phrases import PhraseConfig, Phrases, count_pairs, join_phrases, pair_scores
from polysemy.text.vocabulary import Vocabulary, WordConfig
from polysemy.text.word_store import drop_unknown

TEXT = 9 * ("a trip to new york city\nnew york city hall\nthe new york times\nthe old york\n"
            "new times a hall to the city\n")
RULE = WordConfig(tokens="space", min_count=1, keep_unknown=True)


def lines_of(text: EncodedText) -> list[list[str]]:
    """The words of each line; None for an unknown one."""
    lines: list[list] = [[]]
    for token in text.tokens.tolist():
        if token == -1:
            lines.append([])
        else:
            lines[-1].append(text.vocabulary.words[token] if token >= 0 else None)
    return lines[:-1]


def twin(lines: list[list[str]], config: PhraseConfig) -> list[list[str]]:
    """word2phrase in plain Python."""
    for number in range(config.passes):
        counts = Counter(word for line in lines for word in line)
        pairs = Counter(pair for line in lines for pair in pairwise(line) if None not in pair)
        total = sum(counts.values())
        joined = []
        for line in lines:
            row, place = [], 0
            while place < len(line):
                a, b = line[place], line[place + 1] if place + 1 < len(line) else None
                score = 0.0 if None in (a, b) else (pairs[a, b] - config.delta) / (counts[a] * counts[b]) * total
                if score > config.threshold * config.decay**number:
                    row.append(f"{a}{config.joiner}{b}")
                    place += 2
                else:
                    row.append(a)
                    place += 1
            joined.append(row)
        lines = joined
    return lines


@pytest.mark.parametrize("config", [PhraseConfig(threshold=3.0), PhraseConfig(threshold=3.0, passes=3, delta=2),
                                    PhraseConfig(threshold=2.0, passes=2, decay=1.0, joiner="+-")])
def test_phrases_equal_the_plain_twin(config):
    text = encode(text_documents([TEXT]), RULE)
    before = text.tokens.copy()
    found, phrases = join_phrases(text, config)
    expected = twin(lines_of(text), config)
    assert lines_of(found) == expected
    assert [phrases.join(line) for line in lines_of(text)] == expected
    assert any(config.joiner in word for word in found.vocabulary.words)
    counts = Counter(word for line in expected for word in line)
    order = sorted(counts, key=lambda word: (-counts[word], word.encode()))
    assert found.vocabulary.words == order
    assert found.vocabulary.counts.tolist() == [counts[word] for word in order]
    assert found.vocabulary.total == counts.total()
    assert text.tokens.tolist() == before.tolist()


def test_phrases_of_real_text_equal_the_plain_twin_and_can_live_in_a_file(shared_data, tmp_path):
    with lzma.open(shared_data / "english/train.txt.xz") as file:
        text = encode(text_documents([file.read(1_500_000).decode("utf-8", "ignore")]), WordConfig(keep_unknown=True))
    config = PhraseConfig(threshold=60.0, passes=2)
    found, phrases = join_phrases(text, config, folder=tmp_path)
    assert isinstance(found.tokens, np.memmap)
    in_memory, _ = join_phrases(text, config)
    assert in_memory.tokens.tolist() == found.tokens.tolist()
    lines = lines_of(text)
    total = sum(len(line) for line in lines)
    assert total == text.vocabulary.total  # unknown words count, as in word2phrase
    known = set(found.vocabulary.words)
    assert lines_of(found) == [[word if word in known else None for word in line] for line in twin(lines, config)]
    assert {"young_man", "united_states"} & known
    assert all(count >= 5 for count in found.vocabulary.counts)
    phrases.save(tmp_path)
    assert Phrases.load(tmp_path) == phrases


def gensim_score(worda_count, wordb_count, bigram_count, len_vocab, min_count, corpus_word_count):
    """gensim's own scorer with running words where it has the size of the vocabulary."""
    from gensim.models.phrases import original_scorer

    return original_scorer(worda_count, wordb_count, bigram_count, corpus_word_count, min_count, len_vocab)


def test_scores_and_joined_lines_are_those_of_gensim():
    gensim = pytest.importorskip("gensim.models.phrases")
    text = encode(text_documents([TEXT]), RULE)
    lines, total = lines_of(text), text.vocabulary.total
    _, phrases = join_phrases(text, PhraseConfig(threshold=3.0))

    theirs = gensim.Phrases(lines, min_count=5, threshold=3.0, scoring=gensim_score)
    assert theirs.corpus_word_count == total
    assert {pair: pytest.approx(value) for pair, value in phrases.passes[0].items()} == {
        tuple(pair.split("_")): value for pair, value in theirs.export_phrases().items()}
    assert [phrases.join(line) for line in lines] == [theirs[line] for line in lines]
    assert pair_scores(np.array([9]), np.array([20]), np.array([30]), 400, 5)[0] == pytest.approx(
        gensim.original_scorer(20, 30, 9, 400, 5, 0))


def test_pairs_are_counted_within_lines_while_the_table_grows():
    rng = np.random.default_rng(0)
    tokens = rng.integers(-2, 300, 60_000).astype(np.int32)
    expected = Counter((a, b) for a, b in pairwise(tokens.tolist()) if a >= 0 and b >= 0)
    pairs, counts = count_pairs(tokens)
    assert [tuple(pair) for pair in pairs.tolist()] == sorted(expected)
    assert counts.tolist() == [expected[pair] for pair in sorted(expected)]
    for short in ([], [3], [3, -1], [-1, 3, -2, 3]):
        assert len(count_pairs(np.array(short, np.int32))[0]) == 0


def test_rare_pairs_are_forgotten_when_there_are_too_many():
    rare = np.stack([np.arange(40_000), np.arange(40_000) + 1, np.full(40_000, -1)], 1)
    often = np.tile(np.array([7, 9, -1]), (len(rare), 1))
    tokens = np.stack([rare, often], 1).ravel().astype(np.int32)
    pairs, counts = count_pairs(tokens, 10_000)
    assert len(pairs) < 20_000
    assert counts.max() == 40_000
    assert pairs[counts.argmax()].tolist() == [7, 9]


def test_a_phrase_that_is_a_word_already_is_that_word():
    text = encode(text_documents(["new york new_york x\n" * 9 + "x x y\n" * 9]), RULE)
    found, _ = join_phrases(text, PhraseConfig(threshold=0.1, delta=0))
    assert found.vocabulary.words.count("new_york") == 1
    assert found.vocabulary.counts[found.vocabulary.index("new_york")] >= 9


def test_rules_of_the_config_are_checked(tmp_path):
    for wrong in ({"threshold": -1.0}, {"delta": -1}, {"passes": 0}, {"decay": 0.0}, {"joiner": ""}, {"joiner": " "}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))} must be"):
            PhraseConfig(**wrong)
    (tmp_path / "phrases.json").write_text('{"passes": [[["a", "b"]]], "joiner": "_"}')
    with pytest.raises(InputError, match="must hold passes of pairs"):
        Phrases.load(tmp_path)
    assert module.FILE_NAME == "phrases.int32"


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_marks_of_unknown_words_are_dropped_with_the_lines_they_leave_empty(chunk: int, monkeypatch) -> None:
    monkeypatch.setattr("polysemy.text.word_store.CHUNK", chunk)
    tokens = np.array([-2, -1, 5, -2, 6, -1, -2, -2, -1, -2, -1, 7, -1, -2], np.int32)
    assert tokens[: drop_unknown(tokens)].tolist() == [5, 6, -1, 7, -1]


def test_a_text_read_with_phrases_has_them_as_words_and_its_vocabulary_joins_new_text(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    names = [chr(97 + i % 26) * (1 + i // 26) for i in range(40)]
    lines = [" ".join([*rng.choice(names, 4), *(["new", "york"] if i % 20 == 0 else []), "rare" * (i == 7),
                       *rng.choice(names, 3)]) for i in range(600)]
    config = WordConfig(min_count=2, phrases=1)
    text = encode(text_documents(lines), config)
    assert "new_york" in text.vocabulary
    assert "rare" not in text.vocabulary
    assert text.tokens.min() == -1  # no mark of unknown words is left
    assert not ((text.tokens[1:] == -1) & (text.tokens[:-1] == -1)).any()
    assert int(text.vocabulary.counts[text.vocabulary.index("new_york")]) == 30
    in_file = encode(text_documents(lines), config, folder=tmp_path)
    assert isinstance(in_file.tokens, np.memmap)
    assert in_file.tokens.tolist() == text.tokens.tolist()
    text.vocabulary.save(tmp_path)
    loaded = Vocabulary.load(tmp_path)
    assert loaded.config == config
    assert loaded.split("In New York b") == ["in", "new_york", "b"]
    assert loaded.ids("new york")[0] == loaded.index("new_york")
    with pytest.raises(InputError, match="vocabulary must have no phrases"):
        encode(text_documents(lines), config, vocabulary=loaded)
