"""Writing on: a batch equals its rows one by one, cached equals uncached, windows slide or end, bad prompts told."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from polysemy.decoding.autoregressive import Continuation, generate, write
from polysemy.decoding.reading import PlainReader, Window, window_of
from polysemy.decoding.sampling import GenerationConfig, choose, row_keys
from polysemy.errors import InputError

from .small_bodies import VOCABULARY, RereaderModel, small_gpt

PROMPTS: list[list[int]] = [[5], [7, 8, 9, 10, 11, 12, 13], [3, 4], [5], [20] * 12]
MODELS = {"rereader": RereaderModel, "learned": lambda: small_gpt("paper"), "rotary": lambda: small_gpt("ladder"),
          "post": lambda: small_gpt("paper", changes=(("norm", "post"),)),
          "shared": lambda: small_gpt("ladder", changes=(("num_groups", 1), ("num_layers", 3)))}
SETTINGS = [GenerationConfig(tokens=15, greedy=True), GenerationConfig(tokens=15, seed=3, top_p=0.9, temperature=1.3),
            GenerationConfig(tokens=15, seed=4, top_k=5, repetition_penalty=1.5)]


def uncached(model: Any, prompt: Sequence[int], settings: GenerationConfig, **how: Any) -> list[int]:
    """The definition: the whole text is read for every token."""
    text = list(prompt)
    for step in range(settings.tokens):
        logits = PlainReader(model).start([np.array(text)])[0]
        text.append(choose(logits, settings, text, *row_keys([prompt])[0], step))
    return text[len(prompt):]


@pytest.mark.parametrize("settings", SETTINGS, ids=["greedy", "top-p", "top-k"])
@pytest.mark.parametrize("name", MODELS)
def test_prompts_of_different_lengths_go_on_as_each_alone(name: str, settings: GenerationConfig) -> None:
    model = MODELS[name]()
    together = generate(model, PROMPTS, settings)
    for row in (0, 1, 2, 4):
        alone = generate(model, [PROMPTS[row]], settings)[0]
        assert together[row] == alone
        assert alone.ids == uncached(model, PROMPTS[row], settings)
        assert alone.ended == "tokens"


@pytest.mark.parametrize("name", ["rereader", "rotary"])
def test_rows_that_stop_leave_the_others_as_they_were(name: str) -> None:
    model, settings = MODELS[name](), GenerationConfig(tokens=25, seed=2)
    free = generate(model, PROMPTS, settings)
    stop = free[1].ids[4]
    stopped = generate(model, PROMPTS, settings, stop=[stop])
    for one, two in zip(stopped, free, strict=True):
        cut = two.ids.index(stop) if stop in two.ids else len(two.ids)
        assert one == Continuation(two.ids[:cut], "stop" if cut < len(two.ids) else "tokens")
    assert len({len(row.ids) for row in stopped}) > 1


def test_a_prompt_given_twice_goes_on_in_two_ways_and_greedily_in_one() -> None:
    model = small_gpt()
    drawn = generate(model, [[5]] * 3, GenerationConfig(tokens=20))
    assert len({tuple(row.ids) for row in drawn}) == 3
    assert len({tuple(row.ids) for row in generate(model, [[5]] * 3, GenerationConfig(tokens=20, greedy=True))}) == 1


def test_the_seed_decides_the_text() -> None:
    model = small_gpt()
    texts = [generate(model, [[5, 6]], GenerationConfig(tokens=20, seed=seed))[0].ids for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_banned_tokens_never_come() -> None:
    model, settings = small_gpt(), GenerationConfig(tokens=40, temperature=5.0)
    free = generate(model, [[5]], settings)[0].ids
    banned = set(free[:3])
    assert not banned & set(generate(model, [[5]], settings, banned=banned)[0].ids)


def test_tokens_are_told_as_they_come() -> None:
    told: list[tuple[int, int]] = []
    found = generate(small_gpt(), [[5], [6, 7]], GenerationConfig(tokens=4), on_token=lambda *one: told.append(one))
    assert [row for row, _ in told] == [0, 1] * 4
    for row in (0, 1):
        assert [number for at, number in told if at == row] == found[row].ids


def test_more_prompts_than_are_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from polysemy.decoding import autoregressive

    settings = GenerationConfig(tokens=5)
    wanted = generate(small_gpt(), PROMPTS, settings)
    monkeypatch.setattr(autoregressive, "ROWS", 2)
    assert generate(small_gpt(), PROMPTS, settings) == wanted


# windows


def test_a_window_begins_later_by_half_its_length_at_a_time() -> None:
    window = Window(8)
    assert [window.start(count) for count in range(1, 18)] == [0] * 8 + [4] * 4 + [8] * 4 + [12]
    assert all(count - window.start(count) <= 8 for count in range(200))
    assert [Window(1).start(count) for count in range(1, 5)] == [0, 1, 2, 3]
    assert Window(None).start(10**9) == 0


def test_bodies_say_how_much_they_read() -> None:
    assert window_of(small_gpt("ladder").body, 128) == Window(128)
    assert window_of(small_gpt("ladder").body) == Window(None)
    assert window_of(small_gpt("paper", positions=40).body, 128) == Window(40, slides=False)
    assert window_of(small_gpt("paper", positions=40).body, 32) == Window(32, slides=False)
    assert window_of(RereaderModel().body, 32) == Window(None)


def test_rotary_positions_slide_and_each_token_depends_on_the_window_alone() -> None:
    model, settings, window = small_gpt("ladder"), GenerationConfig(tokens=40, greedy=True), Window(10)
    prompts = [PROMPTS[1], PROMPTS[2], PROMPTS[4]]  # the last is longer than a window
    found = generate(model, prompts, settings, length=10)
    for prompt, row in zip(prompts, found, strict=True):
        text = list(prompt)
        for _ in range(settings.tokens):
            text.append(int(PlainReader(model).start([np.array(text[window.start(len(text)):])])[0].argmax()))
        assert row.ids == text[len(prompt):]
        assert row == generate(model, [prompt], settings, length=10)[0]
    assert found[0].ended == "tokens"


def test_learned_positions_end_the_text_and_say_so() -> None:
    model = small_gpt("paper", positions=16)
    long, short = generate(model, [[5] * 14, [5]], GenerationConfig(tokens=10, greedy=True))
    assert (len(long.ids), long.ended) == (3, "limit")  # 16 are read, and one more is predicted
    assert (len(short.ids), short.ended) == (10, "tokens")
    whole = generate(model, [[5] * 16], GenerationConfig(tokens=10))[0]
    assert (len(whole.ids), whole.ended) == (1, "limit")


# bad input


@pytest.mark.parametrize(("prompt", "message"), [
    ([], "prompt must hold at least one token, got none; begin with the mark"),
    ([3, VOCABULARY], rf"prompt must hold ids of 0..{VOCABULARY - 1}, got 3..{VOCABULARY}"),
    ([1] * 17, "prompt 2 must be at most 16 tokens long, got 17; cut it")])
def test_prompts_that_cannot_be_read_are_refused_before_anything_is_written(prompt: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        write(small_gpt("paper", positions=16), [[5], prompt], GenerationConfig())


def test_no_prompt_gives_no_text() -> None:
    assert generate(small_gpt(), [], GenerationConfig()) == []


def test_bfloat16_models_write_too() -> None:
    import copy

    model = copy.deepcopy(small_gpt()).to(torch.bfloat16)
    assert len(generate(model, [[5], [6, 7]], GenerationConfig(tokens=5))[1].ids) == 5
