"""Counting as a classifier: Bayes' rule worked by hand, order, Chinese, and the corners."""
from __future__ import annotations

import numpy as np
import pytest

from polysemy.errors import InputError
from polysemy.ladder.class_ngram import ClassNgrams

TEXTS = ["good fine day", "fine good film", "bad poor day", "poor film"]
LABELS = ["up", "up", "down", "down"]


def test_words_decide_and_then_how_frequent_a_class_is() -> None:
    model = ClassNgrams([*TEXTS, "poor bad"], [*LABELS, "down"], order=1)
    assert model.predict(["a fine one", "poor", "nothing known"]) == ["up", "down", "down"]


def test_every_class_spreads_one_over_the_same_words() -> None:
    """Otherwise a class that knows fewer words would win by it."""
    model = ClassNgrams(TEXTS, LABELS, order=2)
    shares = [fitted.next_word_distribution([]) for fitted in model.models if fitted is not None]
    assert [len(share) for share in shares] == [len(model.numbers) + 2] * 2
    assert [float(share.sum()) for share in shares] == pytest.approx([1, 1], abs=1e-5)
    assert min(float(share[2:].min()) for share in shares) > 0


def test_longer_ngrams_know_the_order_of_words() -> None:
    texts = ["man bites dog"] * 6 + ["dog bites man"] * 6
    labels = ["news"] * 6 + ["no news"] * 6
    known = ["man bites dog", "dog bites man"]
    assert ClassNgrams(texts, labels, order=3).predict(known) == ["news", "no news"]
    assert len(set(ClassNgrams(texts, labels, order=1).predict(known))) == 1


def test_chinese_is_counted_by_characters() -> None:
    model = ClassNgrams(["很好看", "好吃", "不行", "太差了不行"], ["好", "好", "差", "差"], order=2)
    assert model.predict(["真好", "不行啊"]) == ["好", "差"]


def test_a_class_of_empty_texts_is_never_the_answer_and_no_words_at_all_are_refused() -> None:
    assert ClassNgrams(["good", "..."], ["a", "b"], order=1).predict(["good"]) == ["a"]
    with pytest.raises(InputError, match="must hold words"):
        ClassNgrams(["..."], ["a"])


def test_it_beats_the_majority_on_real_reviews(shared_data) -> None:
    from polysemy.text.labeled import read_examples

    train, dev = (read_examples(shared_data / "chinese" / "ChnSentiCorp" / f"{part}.tsv.gz", "classify")
                  for part in ("train", "dev"))
    model = ClassNgrams([one.text for one in train[:2000]], [one.label for one in train[:2000]], order=2)
    right = [a == one.label for a, one in zip(model.predict([one.text for one in dev]), dev, strict=True)]
    assert np.mean(right) > 0.75
