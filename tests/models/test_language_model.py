"""What a language model does with text, against the plain definition: one forward over the whole text."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_models import SENTENCES, language_model

from polysemy.capability import ClozeItem
from polysemy.errors import InputError
from polysemy.models import language_cloze
from polysemy.models.language_model import LanguageModel

CAUSAL = ("gpt", "nnlm", "rnn", "lstm", "transformer-xl", "adaptive")
TEXT = "The bank of the river was green and slow."


@pytest.fixture(params=CAUSAL)
def model(request: Any) -> LanguageModel:
    return language_model(request.param)


@torch.no_grad()
def reference(model: LanguageModel, ids: np.ndarray) -> np.ndarray:
    """log P of each token by one forward over the mark and all of them."""
    tokens = torch.from_numpy(np.concatenate([[model.mark], ids]).astype(np.int64))
    states = model.model.body(tokens[None])
    logits = model.model.next_logits(states)[0, :-1]
    return logits.log_softmax(-1)[torch.arange(len(ids)), tokens[1:]].numpy()


def test_a_score_is_the_sum_over_tokens_given_those_before(model: LanguageModel) -> None:
    ids = model.encode([TEXT])[0].ids
    found = model.score(TEXT)
    assert found.log_probability == pytest.approx(float(reference(model, ids).sum()), rel=1e-5)
    assert (found.tokens, found.words, found.bytes, found.pseudo) == (len(ids), 9, len(TEXT), False)
    assert model.score("").tokens == 0


def test_a_long_text_gives_every_token_one_score(model: LanguageModel) -> None:
    ids = model.encode([" ".join(SENTENCES * (2 if model.length < 100 else 12))])[0].ids
    assert len(ids) > 2 * model.length
    values = model.token_scores(ids)[0]
    assert len(values) == len(ids)
    first = model.length - 1
    assert np.allclose(values[:first], reference(model, ids[:first]), atol=1e-5)
    last = ids[-model.length:]
    if not model.model.body.stateful:
        assert np.allclose(values[-1], windowed(model, last), atol=1e-5)


@torch.no_grad()
def windowed(model: LanguageModel, ids: np.ndarray) -> float:
    states = model.model.body(torch.from_numpy(ids.astype(np.int64))[None])
    return float(model.model.next_logits(states)[0, -2].log_softmax(-1)[int(ids[-1])])


def items() -> list[ClozeItem]:
    words = ("bank", "river", "old woman", "money")
    return [ClozeItem(left="The ", right=" of the river was green and the river was slow.", candidates=words),
            ClozeItem(left="She put the money into the bank before the ", right=" closed.", candidates=words),
            ClozeItem(left="", right=" is not the opposite of happiness.", candidates=words)]


def test_a_gap_is_scored_by_the_whole_text_with_the_word_in_it(model: LanguageModel) -> None:
    found = model.cloze_scores(items())
    for row, item in zip(found, items(), strict=True):
        left = len(model.encode([item.left.rstrip()])[0].ids)
        for value, word in zip(row, item.candidates, strict=True):
            whole = model.encode([item.left + word + item.right])[0].ids
            pieces = len(model.encode([item.left + word])[0].ids) - left
            stop = left + pieces + language_cloze.AFTER
            assert value == pytest.approx(float(reference(model, whole[:stop])[left:].sum()), abs=2e-4)


def test_the_scores_of_an_item_do_not_depend_on_its_company(model: LanguageModel) -> None:
    words = ("bank", "river", "unhappiness of the happiness of the old woman", "money")
    long = ClozeItem(left=" ".join(SENTENCES) + " The ", right=" was green.", candidates=words[:2] * 2)
    some = [*items(), long, ClozeItem(left="He walked along the ", right=" and sat down.", candidates=words)]
    together = model.cloze_scores(some)
    assert np.allclose(together, np.concatenate([model.cloze_scores([item]) for item in some]), atol=1e-3)


def test_fill_offers_words_sorted_by_their_share(model: LanguageModel) -> None:
    gap, = model.fill("The [MASK] of the river was green.", top=4)
    assert len(gap) == 4
    shares = [candidate.probability for candidate in gap]
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 1 + 1e-6
    assert all(candidate.text.strip() == candidate.text != "" for candidate in gap)
    assert len(model.fill("The [MASK] of the [MASK].", top=1)) == 2
    with pytest.raises(InputError, match="must hold a gap"):
        model.fill("no gap")


def test_the_last_state_has_read_all_and_the_first_one_nothing(model: LanguageModel) -> None:
    texts = [TEXT, "The bank of the river was green and old."]
    last = model.embed(texts, pooling="last")
    token = model.embed(texts, pooling="token")
    assert np.allclose(last[0], token[0][-1], atol=1e-5)
    assert np.allclose(token[0][:5], token[1][:5], atol=1e-5), "the same beginning gives the same states"
    assert not np.allclose(last[0], last[1], atol=1e-3)
    for wrong in ("cls", "sum"):
        with pytest.raises(InputError, match="pooling must be"):
            model.embed(texts, pooling=wrong)
    with pytest.raises(InputError, match="pairs"):
        model.embed(texts, pairs=texts)


def test_texts_together_are_what_they_are_alone(model: LanguageModel) -> None:
    together = model.embed(SENTENCES)
    assert np.allclose(together, np.concatenate([model.embed([text]) for text in SENTENCES]), atol=1e-5)


def test_what_is_written_goes_on_from_the_text(model: LanguageModel) -> None:
    text = model.generate("The bank", 12, seed=3)
    assert text.startswith("The bank")
    assert text == model.generate("The bank", 12, seed=3)
    assert text == model.generate_many(["The river", "The bank"], 12, seed=3)[1]
    assert len({model.generate("The bank", 12, seed=seed) for seed in range(4)}) > 1


def test_what_is_written_says_how_much_and_why_it_ended(model: LanguageModel) -> None:
    for written in model.write_many(["The river", "The bank", ""], 6, seed=3):
        assert 0 <= written.tokens <= 6
        assert written.ended == ("tokens" if written.tokens == 6 else "stop")


def test_elmo_scores_by_both_directions_and_a_gap_by_each_side() -> None:
    model = language_model("elmo")
    ids = model.encode([TEXT])[0].ids
    forward, backward = model.token_scores(ids)
    assert model.score(TEXT).log_probability == pytest.approx(float(forward.sum() + backward.sum()) / 2, rel=1e-5)
    assert len(forward) == len(backward) == len(ids)
    item = items()[0]
    word = item.candidates[0]
    whole = model.encode([item.left + word + item.right])[0].ids
    at = len(model.encode([item.left.rstrip()])[0].ids)
    pieces = len(model.encode([item.left + word])[0].ids) - at
    forward, backward = model.token_scores(whole)
    expected = float(forward[at:at + pieces].sum() + backward[at:at + pieces].sum())
    assert model.cloze_scores([item])[0, 0] == pytest.approx(expected, rel=1e-4)
    assert len(model.fill("The [MASK] of the river.", 3)[0]) == 3
    with pytest.raises(InputError, match="must read from left to right to generate"):
        model.generate("The", 3)
