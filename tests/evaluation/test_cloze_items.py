"""Every rule of the questions, held against the questions."""
from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from word_world import CONFIG, items, split

from polysemy.errors import InputError
from polysemy.evaluation.cloze_items import QUICK, ClozeConfig, ClozeSet, load_items, save_items
from polysemy.evaluation.cloze_making import make_items
from polysemy.evaluation.split import split_corpus
from polysemy.text.corpus import Corpus, text_documents
from polysemy.text.words import is_han


def texts(part: str) -> list[str]:
    return [document.text for document in split().corpus(part)]


def words(text: str) -> list[str]:
    return text.replace(".", " ").split()


def test_the_question_is_running_text_with_the_right_word_in_its_place() -> None:
    for part, questions in (("test", items().test), ("dev", items().dev)):
        found = texts(part)
        for question in questions:
            document = found[question.document]
            assert question.left + question.candidates[question.gold] + question.right in document
            assert not question.left or not question.left[-1].isalpha()


def test_context_is_as_long_as_the_document_allows() -> None:
    for question in items().test:
        document = texts("test")[question.document]
        left, right = words(question.left), words(question.right)
        assert max(len(left), len(right)) <= 64
        if len(left) < 64:
            assert document.startswith(question.left)
        if len(right) < 64:
            assert document.rstrip(".").endswith(question.right.rstrip("."))


def test_candidates_are_different_words_absent_from_the_context() -> None:
    for question in items().test + items().dev:
        assert len({word.lower() for word in question.candidates}) == 16
        context = {word.lower() for word in words(question.left) + words(question.right)}
        assert not context & {word.lower() for word in question.candidates}


def test_candidates_match_the_right_word_in_case_and_rank() -> None:
    for question in items().test:
        assert len({word[0].isupper() for word in question.candidates}) == 1
        spread = np.exp(np.ptp(question.log_frequency))
        if question.widened <= 1.25 and question.rank > 200:
            assert spread < 2  # a quarter in rank is about as much in frequency
    assert np.mean([question.widened <= 1.25 for question in items().test]) > 0.4


def test_candidates_have_been_seen_five_times_in_training() -> None:
    counts = Counter(word for text in texts("train") for word in words(text))
    total = sum(counts.values())
    ranked = sorted(counts.values(), reverse=True)
    for question in items().test:
        for word, value in zip(question.candidates, question.log_frequency, strict=True):
            assert counts[word] >= 5
            assert value == pytest.approx(np.log(counts[word] / total), abs=1e-5)
        assert ranked[question.rank - 1] == counts[question.candidates[question.gold]]


def test_at_most_two_questions_come_from_a_paragraph() -> None:
    for questions in (items().test, items().dev):
        places = Counter(question.paragraph for question in questions)
        assert max(places.values()) == 2
        lines = Counter((question.document, question.paragraph) for question in questions)
        assert len(lines) == len(places)  # a paragraph lies in one document


def test_bands_are_filled_alike_and_named_by_rank() -> None:
    assert items().bands[0] == "1-100"
    for questions, wanted in ((items().test, CONFIG.test_items), (items().dev, CONFIG.dev_items)):
        assert len(questions) == wanted
        counts = np.bincount([question.band for question in questions], minlength=len(items().bands))
        assert counts.min() > 0.2 * wanted
    assert all((question.rank <= 100) == (question.band == 0) for question in items().test)


def test_the_right_word_stands_at_any_place_among_the_candidates() -> None:
    places = np.bincount([question.gold for question in items().test + items().dev], minlength=16)
    expected = places.sum() / 16
    assert ((places - expected) ** 2 / expected).sum() < 37.7  # chi-squared, 15 degrees: once in a thousand


def test_the_right_word_is_neither_the_most_nor_the_middle_frequent() -> None:
    questions = items().test + items().dev
    frequency = np.array([question.log_frequency for question in questions])
    gold = frequency[np.arange(len(questions)), [question.gold for question in questions]][:, None]
    above = (frequency > gold).sum(axis=1) + 0.5 * ((frequency == gold).sum(axis=1) - 1)
    assert above.mean() == pytest.approx(7.5, abs=0.6)
    assert np.mean(np.abs(above - 7.5) < 1) == pytest.approx(2 / 16, abs=0.06)


def test_the_same_seed_asks_the_same_and_another_seed_other_questions() -> None:
    again = make_items(split(), CONFIG)
    assert again == items()
    assert again.hash == items().hash
    other = make_items(split(), CONFIG.replace(seed=1))
    assert other.hash != items().hash
    same = {(q.document, q.left) for q in other.test} & {(q.document, q.left) for q in items().test}
    assert len(same) < 0.5 * len(other.test)


def test_pieces_are_equal_in_the_primary_stratum() -> None:
    made = make_items(split(), CONFIG, lambda words: np.array([1 + len(word) // 3 for word in words]))
    assert sum(question.primary for question in made.test) > 0.8 * len(made.test)
    for question in made.test:
        assert question.pieces == tuple(1 + len(word) // 3 for word in question.candidates)
        if question.primary:
            assert len(set(question.pieces)) == 1


def test_a_model_gets_the_question_without_its_answer() -> None:
    for question in items().test[:50]:
        blind = question.blind()
        assert blind.gold == 0
        assert not hasattr(blind, "rank")
        assert (blind.left, blind.right, blind.candidates) == (question.left, question.right, question.candidates)


def test_repeated_paragraphs_are_asked_once(tmp_path: Path) -> None:
    refrain = " ".join(text.split("\n")[0] for text in texts("train")[:3])
    repeated = [f"{text}\n{refrain}" for text in texts("train")]
    made = make_items(split_corpus(text_documents(repeated), tmp_path / "split"), CONFIG)
    inside = [question for question in made.test if question.left.split("\n")[-1][-30:] in refrain
              and question.right.split("\n")[0][:30] in refrain]
    assert len(inside) <= 2


def test_questions_are_written_and_read_back(tmp_path: Path) -> None:
    save_items(items(), tmp_path / "cloze.jsonl")
    assert load_items(tmp_path / "cloze.jsonl") == items()
    header = json.loads((tmp_path / "cloze.jsonl").read_text(encoding="utf-8").split("\n")[0])
    assert header["hash"] == items().hash
    assert header["seed"] == 0


def test_odd_line_ends_in_the_text_survive_the_file(tmp_path: Path) -> None:
    odd = dataclasses.replace(items().test[0], left="a\u2028b\u2029c\x85d\ne\x0b\x1cf")
    changed = dataclasses.replace(items(), test=(odd, *items().test[1:]))
    save_items(changed, tmp_path / "cloze.jsonl")
    assert load_items(tmp_path / "cloze.jsonl") == changed


@pytest.mark.parametrize("damage", [
    lambda text: text[: len(text) // 2], lambda text: text.replace('"gold": 3', '"gold": 4', 1),
    lambda text: "\n".join(text.split("\n")[:-2]) + "\n", lambda text: "", lambda text: "[]\n", lambda text: "{}\n",
    lambda text: text.replace('"format": 1', '"format": 9', 1), lambda text: text.replace('"left"', '"lift"', 1),
    lambda text: text.split("\n")[0] + "\n[1]\n", lambda text: "[" * 100_000,
])
def test_a_damaged_file_is_refused(tmp_path: Path, damage) -> None:
    path = tmp_path / "cloze.jsonl"
    save_items(items(), path)
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(InputError, match="cloze items must be"):
        load_items(path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(bytes(range(256)))
    for path in (tmp_path / "bytes", tmp_path / "absent", tmp_path):
        with pytest.raises(InputError, match="cloze items must be a readable file"):
            load_items(path)


def test_text_without_frequent_words_is_refused(tmp_path: Path) -> None:
    numbered = [" ".join(f"w{'abcdefghij'[int(digit)]}" + f"{at:b}".replace("0", "o").replace("1", "i")
                         for digit in str(at)) + " " + " ".join("xyzuv") for at in range(4_000)]
    made = split_corpus(text_documents(numbered), tmp_path / "split")
    with pytest.raises(InputError, match=r"cloze questions|repeat some words"):
        make_items(made, ClozeConfig(min_count=4_000))


def test_settings_are_checked() -> None:
    for wrong in ({"test_items": 10}, {"num_candidates": 1}, {"unit": "letter"}, {"context_words": 0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            ClozeConfig(**wrong)
    assert (QUICK.test_items, QUICK.dev_items) == (2_000, 1_000)
    assert (ClozeConfig().test_items, ClozeConfig().dev_items) == (5_000, 2_000)


def test_han_questions_ask_characters(shared_data: Path, tmp_path: Path) -> None:
    made = han_items(shared_data, tmp_path, "character")
    assert all(len(word) == 1 and is_han(word) for question in made.test for word in question.candidates
               if is_han(question.candidates[0]))
    assert np.mean([is_han(question.candidates[0]) for question in made.test]) > 0.9


@pytest.mark.slow
def test_han_questions_can_ask_words(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("jieba")
    made = han_items(shared_data, tmp_path, "word")
    lengths = [{len(word) for word in question.candidates} for question in made.test
               if is_han(question.candidates[0][0])]
    assert all(len(found) == 1 for found in lengths)  # length would give the word away
    assert {2} in lengths


def han_items(shared_data: Path, folder: Path, unit: str) -> ClozeSet:
    corpus = Corpus([shared_data / "chinese" / "corpus-zh.txt.xz"])
    documents = [document.text for document, _ in zip(corpus, range(8_000), strict=False)]
    made = split_corpus(text_documents(documents), folder / "split")
    return make_items(made, ClozeConfig(test_items=300, dev_items=200, unit=unit))
