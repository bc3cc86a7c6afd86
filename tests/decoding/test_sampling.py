"""The next token: what each setting leaves, and draws that depend on their key alone."""
from __future__ import annotations

import numpy as np
import pytest

from polysemy.decoding.sampling import GenerationConfig, choose, distribution, penalized, row_keys
from polysemy.errors import InputError

LOGITS = np.log(np.array([0.05, 0.4, 0.1, 0.25, 0.2], np.float32))


def test_top_k_keeps_the_likeliest() -> None:
    ids, mass = distribution(LOGITS, GenerationConfig(top_k=2))
    assert ids.tolist() == [1, 3]
    np.testing.assert_allclose(mass, [0.4 / 0.65, 0.25 / 0.65], rtol=1e-6)


def test_top_k_keeps_ties_with_the_last() -> None:
    ids, _ = distribution(np.array([1.0, 3.0, 2.0, 2.0], np.float32), GenerationConfig(top_k=2))
    assert ids.tolist() == [1, 2, 3]


@pytest.mark.parametrize(("top_p", "kept"), [(0.3, [1]), (0.41, [1, 3]), (0.64, [1, 3]), (0.66, [1, 3, 4]),
                                             (0.9999, [1, 3, 4, 2, 0]), (1e-9, [1])])
def test_top_p_keeps_the_token_that_crosses_it(top_p: float, kept: list[int]) -> None:
    ids, mass = distribution(LOGITS, GenerationConfig(top_p=top_p))
    assert ids.tolist() == kept
    assert mass.sum() == pytest.approx(1)


def test_top_p_comes_after_temperature_and_top_k() -> None:
    cold = distribution(LOGITS, GenerationConfig(top_p=0.6, temperature=0.5))[0].tolist()
    assert cold == [1, 3]  # squared probabilities: .16 of .275 is 0.58
    assert distribution(LOGITS, GenerationConfig(top_p=0.58, temperature=0.5))[0].tolist() == [1]
    assert distribution(LOGITS, GenerationConfig(top_p=0.6, top_k=2))[0].tolist() == [1]  # .4 of .65


def test_the_quick_way_to_top_p_gives_what_sorting_all_gives() -> None:
    random = np.random.default_rng(1)
    for scale in (0.1, 1.0, 3.0, 8.0):
        logits = (scale * random.standard_normal(5000)).astype(np.float32)
        for top_p in (0.05, 0.5, 0.95, 0.999):
            mass = np.exp(logits.astype(np.float64) - logits.max())
            mass /= mass.sum()
            order = np.argsort(-mass, kind="stable")
            count = int(np.count_nonzero(np.cumsum(mass[order]) - mass[order] < top_p))
            assert distribution(logits, GenerationConfig(top_p=top_p))[0].tolist() == order[:count].tolist()


def test_the_penalty_divides_what_is_positive_and_multiplies_what_is_negative() -> None:
    logits = np.array([2.0, -2.0, 1.0, 0.5], np.float32)
    assert penalized(logits, [0, 1, 0], 2.0).tolist() == [1.0, -4.0, 1.0, 0.5]
    assert logits[0] == 2.0


def test_draws_follow_the_probabilities() -> None:
    counts = np.bincount([choose(LOGITS, GenerationConfig(), (), "row", step) for step in range(4000)], minlength=5)
    np.testing.assert_allclose(counts / 4000, np.exp(LOGITS), atol=0.025)


def test_a_draw_depends_on_seed_and_key_alone() -> None:
    def drawn(seed: int, *key: int | str) -> list[int]:
        return [choose(LOGITS, GenerationConfig(seed=seed), (), *key, step) for step in range(30)]

    assert drawn(1, "a") == drawn(1, "a")
    assert drawn(1, "a") != drawn(2, "a")
    assert drawn(1, "a") != drawn(1, "b")


def test_greedy_takes_the_first_of_equals_and_heeds_the_penalty() -> None:
    logits = np.array([1.0, 3.0, 3.0], np.float32)
    assert choose(logits, GenerationConfig(greedy=True), ()) == 1
    assert choose(logits, GenerationConfig(greedy=True, repetition_penalty=4.0), [1, 2]) == 0


def test_a_token_without_a_chance_never_comes() -> None:
    logits = np.array([0.0, -np.inf, 0.0], np.float32)
    assert {choose(logits, GenerationConfig(temperature=5.0), (), step) for step in range(100)} == {0, 2}


def test_rows_are_told_apart_by_their_prompt_and_how_often_it_came() -> None:
    keys = row_keys([[1, 2], [3], np.array([1, 2]), [1, 2]])
    assert keys[0][0] == keys[2][0] != keys[1][0]
    assert [key[1] for key in keys] == [0, 0, 1, 2]
    assert row_keys([[3]])[0] == keys[1]


@pytest.mark.parametrize(("setting", "message"), [
    ({"tokens": 0}, "tokens must be at least 1, got 0"), ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
    ({"temperature": -1.0}, "temperature must be above 0, got -1.0"),
    ({"top_p": 0.0}, "top_p must be above 0 and at most 1, got 0.0"),
    ({"top_p": 1.5}, "top_p must be above 0 and at most 1, got 1.5"), ({"top_k": 0}, "top_k must be at least 1, got 0"),
    ({"repetition_penalty": 0.0}, "repetition_penalty must be above 0, got 0.0")])
def test_settings_out_of_range_are_refused(setting: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        GenerationConfig(**setting)
