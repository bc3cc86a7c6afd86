"""A trained encoder in use: every number equals its plain definition, whatever is batched with what."""
from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import SENTENCES, encoder, small_config, tokenizer

from polysemy.capability import ClozeItem, Embeds, Fills, Orders, ScoresCloze, ScoresText
from polysemy.errors import InputError
from polysemy.models.pretrained import PretrainingModel, write_run
from polysemy.models.text_encoder import TextEncoder
from polysemy.text.words import word_spans

LONG = " ".join(SENTENCES[:4])  # longer than the 48 tokens of a window


def states(model: TextEncoder, ids: list[int], segments: list[int] | None = None) -> torch.Tensor:
    """The plain forward of one unpadded input."""
    with torch.no_grad():
        return model.model.body(torch.tensor([ids]), None, None if segments is None else torch.tensor([segments]))[0]


def log_probability(model: TextEncoder, ids: list[int], place: int, piece: int) -> float:
    with torch.no_grad():
        logits = model.model.masked_lm_logits(states(model, ids)[None], torch.tensor([place]))[0]
    return float(logits.double().log_softmax(-1)[piece])


def wrapped(model: TextEncoder, text: str) -> list[int]:
    t = model.tokenizer
    return [t.cls_id, *t.encode(text).ids.tolist(), t.sep_id]


def test_offers_the_protocols() -> None:
    for protocol in (Fills, Embeds, ScoresCloze, ScoresText, Orders):
        assert isinstance(encoder(), protocol)


# embed


@pytest.mark.parametrize("recipe", ["bert", "roberta", "albert", "distilbert"])
def test_embedding_is_the_mean_state_in_any_order_and_company(recipe: str) -> None:
    model = encoder(recipe)
    texts = [*SENTENCES, "", "river"]
    vectors = model.embed(texts)
    assert vectors.shape == (9, 32)
    assert vectors.dtype == np.float32
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(vector, states(model, wrapped(model, text)).mean(0).numpy(), atol=2e-5)
    np.testing.assert_allclose(model.embed(texts[::-1], batch_size=2)[::-1], vectors, atol=2e-5)


def test_any_layer_and_cls() -> None:
    model, text = encoder(), SENTENCES[0]
    with torch.no_grad():
        shown = model.model.body(torch.tensor([wrapped(model, text)]), hidden_states=True)
    for layer in (0, 1, 2, -1, -3):
        vector = model.embed([text], layer=layer, pooling="cls")[0]
        np.testing.assert_allclose(vector, shown.layers[layer][0, 0].numpy(), atol=2e-5)
    np.testing.assert_allclose(model.embed([text], layer="mean")[0],
                               torch.stack(shown.layers).mean(0)[0].mean(0).numpy(), atol=2e-5)


def test_tokens_and_words() -> None:
    model, text = encoder(), "By is 银行!"
    inner = states(model, wrapped(model, text))[1:-1].numpy()
    np.testing.assert_allclose(model.embed([text], pooling="token")[0], inner, atol=2e-5)
    words, encoding = model.embed([text], pooling="word")[0], model.tokenizer.encode(text)
    assert len(words) == len(word_spans(text)) == 4
    first = [i for i in range(len(encoding.ids)) if encoding.ends[i] <= 2]
    assert len(first) > 1
    np.testing.assert_allclose(words[0], inner[first].mean(0), atol=2e-5)


def test_long_texts_are_read_in_windows() -> None:
    model = encoder()
    ids = model.tokenizer.encode(LONG).ids.tolist()
    assert len(ids) > model.length
    cls, sep, step = model.tokenizer.cls_id, model.tokenizer.sep_id, model.length - 2
    windows = [states(model, [cls, *ids[i:i + step], sep]) for i in range(0, len(ids), step)]
    np.testing.assert_allclose(model.embed([LONG])[0], torch.cat(windows).mean(0).numpy(), atol=2e-5)
    np.testing.assert_allclose(model.embed([LONG], pooling="cls")[0], windows[0][0].numpy(), atol=2e-5)
    tokens = model.embed([LONG, "river"], pooling="token")
    assert [len(t) for t in tokens] == [len(ids), 1]
    np.testing.assert_allclose(tokens[0], torch.cat([w[1:-1] for w in windows]).numpy(), atol=2e-5)
    assert len(model.embed([LONG], pooling="word")[0]) == len(word_spans(LONG))


@pytest.mark.parametrize(("recipe", "kind", "separators"), [("bert", "wordpiece", 1), ("roberta", "bytebpe", 2)])
def test_pairs(recipe: str, kind: str, separators: int) -> None:
    model = encoder(recipe, kind=kind)
    t, a, b = model.tokenizer, "the river", "the bank was green"
    first, second = t.encode(a).ids.tolist(), t.encode(b).ids.tolist()
    ids = [t.cls_id, *first, *[t.sep_id] * separators, *second, t.sep_id]
    segments = [0] * (len(first) + 2) + [1] * (len(second) + 1) if recipe == "bert" else [0] * len(ids)
    plain = states(model, ids, segments)
    np.testing.assert_allclose(model.embed([a], pairs=[b])[0], plain.mean(0).numpy(), atol=2e-5)
    tokens = model.embed([a], pairs=[b], pooling="token")[0]
    inner = torch.cat([plain[1:1 + len(first)], plain[1 + len(first) + separators:-1]])
    np.testing.assert_allclose(tokens, inner.numpy(), atol=2e-5)
    assert len(model.embed([a], pairs=[b], pooling="word")[0]) == 6


def test_an_overlong_pair_loses_the_end_of_its_longer_part() -> None:
    model = encoder()
    tokens = model.embed([LONG], pairs=["the river"], pooling="token")[0]
    assert len(tokens) == model.length - 3
    assert model.embed([LONG], pairs=[LONG]).shape == (1, 32)


def test_no_texts_give_no_vectors() -> None:
    assert encoder().embed([]).shape == (0, 32)
    assert encoder().embed([], pooling="word") == []


@pytest.mark.parametrize(("arguments", "message"), [
    ({"layer": 3}, "layer must be 0..2, -3..-1, mean or mix, got 3"), ({"layer": "last"}, "layer must be"),
    ({"pooling": "max"}, r"pooling must be mean \| cls \| last \| token \| word, got 'max'"),
    ({"pairs": ["a", "b"]}, "pairs must be as many as texts, got 2 and 1"), ({"batch_size": 0}, "batch_size must be")])
def test_impossible_embeddings_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encoder().embed(["the river"], **arguments)
    with pytest.raises(InputError, match="texts must be a list"):
        encoder().embed("the river")


def test_bfloat16_stays_near() -> None:
    model = TextEncoder(PretrainingModel(encoder().model.config, ("masked_lm",), seed=1), tokenizer(), encoder().config)
    wanted, found = model.embed(SENTENCES), model.to("cpu", "bfloat16").embed(SENTENCES)
    cosines = (wanted * found).sum(1) / np.linalg.norm(wanted, axis=1) / np.linalg.norm(found, axis=1)
    assert cosines.min() > 0.999


# fill


@pytest.mark.parametrize(("kind", "recipe"), [("wordpiece", "bert"), ("bytebpe", "roberta"), ("unigram", "albert"),
                                              ("bpe", "bert")])
def test_fillings_are_words_that_fit_with_their_probability(kind: str, recipe: str) -> None:
    model = encoder(recipe, kind=kind)
    t = model.tokenizer
    left, right = "the bank of the", " was green"
    (gap,) = model.fill(f"{left} [MASK]{right}", top=8)
    assert len(gap) == 8
    assert [c.log_probability for c in gap] == sorted((c.log_probability for c in gap), reverse=True)
    (singles,) = model.fill(f"{left} [MASK]{right}", top=5, longest=1)
    before, after = t.encode(left).ids.tolist(), t.encode("the x" + right).ids[-len(t.encode(right).ids):].tolist()
    for candidate in singles:
        whole = t.encode(f"{left} {candidate.text}{right}").ids.tolist()
        assert len(whole) == len(before) + 1 + len(after)
        hidden = [t.cls_id, *whole[:len(before)], t.mask_id, *whole[len(before) + 1:], t.sep_id]
        wanted = log_probability(model, hidden, 1 + len(before), whole[len(before)])
        assert candidate.log_probability == pytest.approx(wanted, abs=1e-4)
        assert candidate.probability == pytest.approx(math.exp(wanted), rel=1e-3)


def test_a_word_of_several_pieces_has_the_product_of_its_passes() -> None:
    model = encoder()
    t = model.tokenizer
    (gap,) = model.fill("she sat by the [MASK].", top=500)
    longer = [c for c in gap if c.pieces == 2]
    assert longer
    word = longer[0]
    ids = t.encode("she sat by the").ids.tolist()
    first, second = t.encode(word.text).ids.tolist()
    end = t.encode(".").ids.tolist()
    one = log_probability(model, [t.cls_id, *ids, t.mask_id, t.mask_id, *end, t.sep_id], 1 + len(ids), first)
    two = log_probability(model, [t.cls_id, *ids, first, t.mask_id, *end, t.sep_id], 2 + len(ids), second)
    assert word.log_probability == pytest.approx(one + two + math.log(0.15), abs=1e-4)
    assert word_spans(word.text) == [(0, len(word.text))]


def test_probabilities_never_exceed_one_together() -> None:
    (gap,) = encoder().fill("the [MASK] was green", top=500)
    assert 0.3 < sum(c.probability for c in gap) <= 1


def test_several_gaps_and_gaps_inside_words() -> None:
    model = encoder()
    gaps = model.fill("the [MASK] of the [MASK]", top=3)
    assert [len(gap) for gap in gaps] == [3, 3]
    (inside,) = model.fill("the ri[MASK] was", top=5)
    pieces = [model.tokenizer.encode("the ri" + c.text + " was").ids for c in inside]
    assert all(len(ids) == len(model.tokenizer.encode("the ri").ids) + 1 + c.pieces
               for ids, c in zip(pieces, inside, strict=True))


def test_punctuation_is_offered_only_where_it_is_written_onto_a_word() -> None:
    model = encoder()
    (apart,) = model.fill("the river [MASK]", top=500, longest=1)
    (attached,) = model.fill("the river[MASK]", top=500, longest=1)
    assert not {".", ","} & {c.text for c in apart}
    assert {".", ","} <= {c.text for c in attached}


def test_chinese_gaps_take_words_of_several_characters() -> None:
    (gap,) = encoder().fill("她去[MASK]取钱。", top=500)
    assert {c.pieces for c in gap} >= {1, 2}
    assert any(len(c.text) == 2 and c.pieces == 2 for c in gap)


@pytest.mark.parametrize(("text", "message"), [
    ("no gap", "text must hold 1 to 32 gaps written"), ("[MASK] " * 33, "got 33"),
    ("the [MASK] and [SEP]", r"no special token but \[MASK\], got \[SEP\]")])
def test_bad_gaps_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encoder().fill(text)
    with pytest.raises(InputError, match="top must be at least 1"):
        encoder().fill("[MASK]", top=0)


def test_a_model_without_the_head_says_so() -> None:
    model = TextEncoder(PretrainingModel(encoder().model.config, ()), tokenizer(), encoder().config)
    with pytest.raises(InputError, match="must have a masked-LM head, got heads none"):
        model.fill("the [MASK]")


# cloze


def items() -> list[ClozeItem]:
    candidates = ("bank", "river", "unhappiness", "woman", "银行", "day")
    return [ClozeItem(left="She sat by the ", right=" and looked.", candidates=candidates),
            ClozeItem(left="", right=" was green.", candidates=candidates),
            ClozeItem(left="我喜欢在", right="看书。", candidates=candidates),
            ClozeItem(left=LONG + " the ", right=" " + LONG, candidates=candidates)]


@pytest.mark.parametrize(("kind", "recipe"), [("wordpiece", "bert"), ("bytebpe", "roberta"), ("unigram", "albert")])
def test_cloze_scores_fill_masks_from_left_to_right(kind: str, recipe: str) -> None:
    model = encoder(recipe, kind=kind)
    t = model.tokenizer
    found = model.cloze_scores(items())
    assert found.shape == (4, 6)
    for i, item in enumerate(items()[:3]):
        for j, candidate in enumerate(item.candidates):
            whole = t.encode(item.left + candidate + item.right)
            edge = len(item.left)
            inside = [n for n in range(len(whole.ids)) if whole.starts[n] < edge + len(candidate)
                      and (whole.ends[n] > edge or whole.starts[n] == whole.ends[n] == edge)]  # the mark of a space too
            ids, total = [t.cls_id, *whole.ids.tolist(), t.sep_id], 0.0
            if kind == "unigram" and len(inside) != inside[-1] - inside[0] + 1:
                continue
            for n in inside:
                shown = [t.mask_id if n <= at - 1 <= inside[-1] else piece for at, piece in enumerate(ids)]
                total += log_probability(model, shown, n + 1, int(whole.ids[n]))
            assert found[i, j] == pytest.approx(total, abs=1e-4), (item.left, candidate)


def test_cloze_scores_do_not_depend_on_company() -> None:
    model = encoder()
    together = model.cloze_scores(items())
    for i, item in enumerate(items()):
        np.testing.assert_allclose(model.cloze_scores([item])[0], together[i], atol=1e-4)
    assert np.isfinite(together).all()


def test_candidates_with_equally_many_pieces_share_their_first_pass() -> None:
    from polysemy.models.cloze_passes import Passes

    model = encoder()
    item = ClozeItem(left="She sat by the ", right=".", candidates=("bank", "river", "money", "unhappiness"))
    counts = model.piece_counts(item.candidates).tolist()
    single = counts.count(1)
    assert single >= 2
    passes = Passes(model, [item])
    assert len(passes.rows) == 1 + sum(c for c in counts if c > 1) - (len({c for c in counts if c > 1}) < len(
        [c for c in counts if c > 1]))
    assert len(passes.wanted[0]) == single


def test_items_with_different_numbers_of_candidates_are_refused() -> None:
    bad = [ClozeItem(left="", right="", candidates=("a",)), ClozeItem(left="", right="", candidates=("a", "b"))]
    with pytest.raises(InputError, match="items must all have as many candidates, got 1, 2"):
        encoder().cloze_scores(bad)
    assert encoder().cloze_scores([]).shape == (0, 0)


def test_piece_counts_are_those_in_running_text() -> None:
    model = encoder()
    words = ["bank", "unhappiness", "银行"]
    assert model.piece_counts(words).tolist() == [len(model.tokenizer.encode(w).ids) for w in words]


# score


def test_score_hides_each_token_once() -> None:
    model, text = encoder(), "the river was slow"
    ids = wrapped(model, text)
    total = sum(log_probability(model, [*ids[:n], model.tokenizer.mask_id, *ids[n + 1:]], n, ids[n])
                for n in range(1, len(ids) - 1))
    found = model.score(text)
    assert found.log_probability == pytest.approx(total, abs=1e-3)
    assert (found.tokens, found.words, found.bytes, found.pseudo) == (len(ids) - 2, 4, 18, True)


def test_score_of_a_long_text_is_the_sum_over_windows_and_of_an_empty_one_zero() -> None:
    model = encoder()
    found = model.score(LONG)
    assert found.tokens == len(model.tokenizer.encode(LONG).ids)
    assert found.log_probability < -found.tokens
    assert model.score("").log_probability == 0


# attention


def test_attention_rows_sum_to_one() -> None:
    shown = encoder().attention("the river was slow")
    assert shown.pieces[0] == "[CLS]"
    assert shown.weights.shape == (2, 2, len(shown.pieces), len(shown.pieces))
    np.testing.assert_allclose(shown.weights.sum(-1), 1, atol=1e-5)
    assert len(encoder().attention("the river", "the bank").pieces) > len(encoder().attention("the river").pieces)
    with pytest.raises(InputError, match="at most 48 tokens"):
        encoder().attention(LONG)


# folders


@pytest.mark.parametrize("recipe", ["bert", "roberta", "albert", "spanbert", "distilbert"])
def test_a_folder_gives_the_same_model_back(recipe: str, tmp_path: Path) -> None:
    import polysemy

    config = small_config(recipe)
    model = PretrainingModel(config.model, config.heads, seed=3)
    write_run(tmp_path / "run", model, tokenizer(), config)
    again = polysemy.load(tmp_path / "run")
    assert again.config == config
    np.testing.assert_array_equal(again.embed(SENTENCES), TextEncoder(model, tokenizer(), config).embed(SENTENCES))


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    config = small_config("bert")
    model = PretrainingModel(config.model, config.heads)
    other = config.replace(model=small_config("bert", num_layers=1).model)
    write_run(tmp_path / "run", model, tokenizer(), other)
    with pytest.raises(InputError, match=r"must hold nothing that config\.json does not ask for"):
        TextEncoder.load(tmp_path / "run")
