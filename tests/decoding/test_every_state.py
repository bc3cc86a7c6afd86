"""Every kind of state writes by the same loop: a batch of unequal prompts equals its rows, and the text read anew."""
from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from polysemy.decoding.autoregressive import generate
from polysemy.decoding.compiled import fits
from polysemy.decoding.reading import PlainReader, Window, window_of
from polysemy.decoding.sampling import GenerationConfig
from polysemy.models import RECIPES, resolve
from polysemy.models.pretrained import PretrainingModel
from polysemy.nn.attention import Local

CARRYING = ["rnn", "lstm", "nnlm", "transformer-xl"]
PROMPTS = [[5], [7, 8, 9, 10, 11, 12, 13], [3, 4]]


@functools.cache
def model_of(recipe: str) -> PretrainingModel:
    """An untrained model whose answers differ, for 60 tokens."""
    config = resolve(RECIPES[recipe].configure)("tiny").model.with_vocabulary(60)
    model = PretrainingModel(config, ("next_token",), seed=3).eval()
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    return model


@pytest.mark.parametrize("recipe", CARRYING)
@pytest.mark.parametrize("settings", [GenerationConfig(tokens=12, greedy=True), GenerationConfig(tokens=12, top_p=0.9)],
                         ids=["greedy", "drawn"])
def test_prompts_of_different_lengths_go_on_as_each_alone(recipe: str, settings: GenerationConfig) -> None:
    model = model_of(recipe)
    together = generate(model, PROMPTS, settings)
    assert [generate(model, [prompt], settings)[0] for prompt in PROMPTS] == together
    assert len({number for row in together for number in row.ids}) > 3


@pytest.mark.parametrize("recipe", CARRYING)
def test_reading_on_equals_reading_anew(recipe: str) -> None:
    model, text = model_of(recipe), [5, 9]
    reader = PlainReader(model)
    logits = reader.start([np.array(text)])
    for _ in range(10):
        np.testing.assert_allclose(logits, PlainReader(model).start([np.array(text)]), atol=2e-4)
        text.append(int(logits[0].argmax()))
        logits = reader.advance(np.array(text[-1:]))


@pytest.mark.parametrize("recipe", CARRYING)
def test_what_carries_a_state_never_runs_out_of_room(recipe: str) -> None:
    assert window_of(model_of(recipe).body, 16) == Window(None)
    assert not fits(model_of(recipe))


def test_local_attention_writes_by_the_plain_loop() -> None:
    config = resolve(RECIPES["gpt"].configure)("tiny").model.with_vocabulary(60)
    local = config.replace(transformer=config.transformer.replace(attention=Local(reach=4)))
    model = PretrainingModel(local, ("next_token",)).eval()
    assert not fits(model)
    assert len(generate(model, PROMPTS, GenerationConfig(tokens=12))[1].ids) == 12
