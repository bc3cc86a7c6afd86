"""Words from bytes: the frame, published sizes, nothing lost by shortening, gates that carry at first."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from polysemy.errors import InputError
from polysemy.nn import characters
from polysemy.nn.characters import CharacterEncoder, Characters, Highway, framed, frames
from polysemy.runtime import seed_for

SMALL = Characters(byte_size=6, widths=(1, 3, 4), filters=(5, 7, 4), num_highways=2)


def generator(name: str) -> torch.Generator:
    return torch.Generator().manual_seed(seed_for(name) >> 1)


def encoder(config: Characters = SMALL) -> CharacterEncoder:
    found = CharacterEncoder(config, 9).double()
    done = {id(parameter) for parameter in found.first_weights(generator)}
    for highway in found.highways:
        assert isinstance(highway, Highway)
        done |= {id(parameter) for parameter in highway.first_weights(generator)}
    assert done == {id(parameter) for parameter in found.parameters()}
    return found


def test_a_word_is_its_bytes_between_two_marks() -> None:
    assert framed("cat") == [258, 99, 97, 116, 259] + [260] * 45
    assert framed("é")[:4] == [258, 0xC3, 0xA9, 259]
    assert framed("") == [258, 259] + [260] * 48
    assert framed("a" * 60) == [258] + [97] * 48 + [259]
    assert frames(["cat", "é"]).tolist() == [framed("cat"), framed("é")]


def test_a_broken_character_is_still_a_word() -> None:
    assert framed("\ud800")[:3] == [258, ord("?"), 259]


def test_published_sizes_have_the_published_number_of_parameters() -> None:
    published = Characters(widths=(1, 2, 3, 4, 5, 6, 7), filters=(32, 32, 64, 128, 256, 512, 1024), num_highways=2)
    with torch.device("meta"):
        found = CharacterEncoder(published, 512)
    counts = {name: sum(parameter.numel() for parameter in part.parameters())
              for name, part in found.named_children()}
    assert counts == {"convolutions": 199_168, "highways": 16_785_408, "projection": 1_049_088}
    assert found.byte.numel() == 261 * 16


def test_equals_the_definition_over_the_whole_frame() -> None:
    found, words = encoder(), ["a", "cat", "unhappiness", "猫", "x" * 70, ""]
    x = found.byte[frames(words).long()]
    parts = []
    for layer, width in zip(found.convolutions, SMALL.widths, strict=True):
        windows = torch.stack([x[:, i:i + width] for i in range(50 - width + 1)], 1)
        parts.append(F.relu(torch.einsum("nswe,few->nsf", windows, layer.weight).amax(1) + layer.bias))  # type: ignore[arg-type]
    y = torch.cat(parts, -1)
    for highway in found.highways:
        changed, gate = (y @ highway.weight.t() + highway.bias).chunk(2, -1)  # type: ignore[operator, union-attr]
        y = gate.sigmoid() * y + (1 - gate.sigmoid()) * changed.relu()
    wanted = y @ found.projection.weight.t() + found.projection.bias
    torch.testing.assert_close(found(frames(words)), wanted, atol=1e-12, rtol=0)


def test_a_words_vector_does_not_depend_on_the_other_words() -> None:
    found = encoder()
    together = found(frames(["a", "extraordinarily", "cat"]))
    for row, word in enumerate(["a", "extraordinarily", "cat"]):
        torch.testing.assert_close(found(frames([word]))[0], together[row], atol=1e-12, rtol=0)


def test_highways_begin_by_carrying_most_of_their_input() -> None:
    layer, x = Highway(32).double(), torch.randn(200, 32, generator=generator("x"), dtype=torch.float64)
    layer.first_weights(generator)
    assert layer.bias.tolist() == [0.0] * 32 + [1.0] * 32
    near = F.cosine_similarity(layer(x), x).mean()
    with torch.no_grad():
        layer.bias.chunk(2)[1].fill_(-1)
    assert near > 0.85 > F.cosine_similarity(layer(x), x).mean()


def test_no_words_give_no_vectors() -> None:
    assert encoder()(frames([])).shape == (0, 9)


def test_filters_must_fit_their_widths() -> None:
    with pytest.raises(InputError, match="filters must be one number for each of widths, got 2 and 1"):
        Characters(widths=(1,), filters=(3, 4))
    with pytest.raises(InputError, match=r"widths must be in 1\.\.50, got 51"):
        Characters(widths=(51,), filters=(3,))


def test_symbols_are_as_published() -> None:
    assert (characters.BEGIN_SENTENCE, characters.END_SENTENCE, characters.BEGIN_WORD, characters.END_WORD,
            characters.PAD) == (256, 257, 258, 259, 260)
