"""Parameter counts equal the published ones, counted on the meta device."""
from __future__ import annotations

import pytest

from polysemy.models import albert, bert, distilbert, roberta, spanbert
from polysemy.models.pretrained import PretrainingModel, count_parameters
from polysemy.models.recipe import PretrainingConfig


def body_and_pooler(config: PretrainingConfig) -> int:
    """What transformers counts in BertModel and its like: our pooler belongs to the pair head."""
    model = PretrainingModel.empty(config.model, ("pair",))
    return count_parameters(model.body) + count_parameters(model.heads["pair"].pooler)  # type: ignore[arg-type]


def test_bert_counts() -> None:
    base = bert.configure("base", "paper")
    assert body_and_pooler(base) == 109_482_240
    assert count_parameters(PretrainingModel.empty(base.model, base.heads)) == 110_106_428
    assert body_and_pooler(bert.configure("large", "paper")) == 335_141_888


def test_bert_counts_follow_the_closed_form() -> None:
    v, p, s, d, n, f = 30_522, 512, 2, 256, 4, 1024
    layer = 4 * (d * d + d) + 2 * d + 2 * d * f + f + d + 2 * d
    assert body_and_pooler(bert.configure("mini", "paper")) == (v + p + s) * d + 2 * d + n * layer + d * d + d


def test_roberta_counts() -> None:
    assert body_and_pooler(roberta.configure("base", "paper")) == 124_645_632


@pytest.mark.parametrize(("size", "count"), [("base", 11_683_584), ("large", 17_683_968), ("xlarge", 58_724_864),
                                             ("xxlarge", 222_595_584)])
def test_albert_counts(size: str, count: int) -> None:
    assert body_and_pooler(albert.configure(size, "paper")) == count


@pytest.mark.parametrize(("factor_size", "share", "millions"), [
    (768, "all", 31.71), (768, "attention", 83.67), (768, "feed_forward", 57.71), (768, "none", 109.67),
    (128, "all", 11.68), (128, "attention", 63.65), (128, "feed_forward", 37.69), (128, "none", 89.65),
    (64, "all", 9.68), (256, "all", 15.69)])
def test_albert_sharing_table(factor_size: int, share: str, millions: float) -> None:
    config = albert.configure("base", "paper")
    model = config.model.replace(embedding=config.model.embedding.replace(factor_size=factor_size),
                                 transformer=config.model.transformer.replace(share=share))
    assert round(body_and_pooler(config.replace(model=model)) / 1e6, 2) == millions


def test_distilbert_counts() -> None:
    model = PretrainingModel.empty(distilbert.configure("base", "paper").model, ())
    assert count_parameters(model.body) == 66_362_880


def test_spanbert_has_the_body_of_bert() -> None:
    assert body_and_pooler(spanbert.configure("base", "paper", vocab_size=30_522)) == 109_482_240
