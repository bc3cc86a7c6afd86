"""Does a model put the shuffled sentences of a text back in order (`polysemy order`)? Kendall's tau, with its interval.

Tau is the share of pairs of sentences that stand in the right order less the share of those that do not: 1 for the
text's own order, -1 for its reverse, 0 in the mean for a random one. Neighbors of the text are judged apart, for the
sentence-order head was trained on neighbors alone; half of them are in order by chance.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from polysemy.errors import InputError
from polysemy.evaluation.bootstrap import interval, resampled
from polysemy.runtime import random_for
from polysemy.text.lines import paragraph_spans
from polysemy.text.sentences import sentence_spans

FEWEST, MOST = 3, 8
"""sentences of a passage; up to 8 the best order is found exactly (models/ordering.py)"""
PASSAGES = 200
"""a standard error of tau near 0.02; each passage is up to 56 pairs of sentences to read"""
SHARE = 4
"""passages of one document, more only where documents are few"""
LEAST_DOCUMENTS = 5
"""fewer are too few to draw from, and no interval is given"""


class OrdersSentences(Protocol):
    """A model with a sentence-order head."""

    def order(self, sentences: Sequence[str]) -> list[int]: ...


class Passage(NamedTuple):
    """Sentences in the order of their text, no two of them equal, and the number of the document they are from."""

    sentences: tuple[str, ...]
    document: int


def judge_order(model: OrdersSentences, documents: Iterable[str], *, most: int = PASSAGES, seed: int = 0,
                progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Plain values: shuffle up to `most` passages of some documents, let the model order them, compare with the text.

    kendall_tau and neighbors_in_order (the share of neighbors of the text whose first stands before its second), means
    over passages, with their 95 % intervals (documents are drawn anew; None below 5); passages, source_documents.
    Deterministic in seed. A model that finds all orders equally good gets a random one's tau, for it sees the shuffled
    order only. InputError where no passage has 3 sentences. progress, if given, is called with (done, all).
    """
    passages = passages_to_order(documents, most=most, seed=seed)
    values = np.zeros((len(passages), 2))
    for number, passage in enumerate(passages):
        shuffled = random_for(seed, "order", "shuffled", number).permutation(len(passage.sentences))
        found = model.order([passage.sentences[i] for i in shuffled.tolist()])
        values[number] = agreement(shuffled[found])
        if progress is not None:
            progress(number + 1, len(passages))
    sources = np.array([passage.document for passage in passages])
    names, bounds = np.unique(sources), (None, None)
    if len(names) >= LEAST_DOCUMENTS:
        draws = resampled(values, np.zeros(len(values)), sources, seed=seed)
        bounds = interval(draws[:, 0]), interval(draws[:, 1])
    tau, neighbors = values.mean(axis=0).tolist()
    return {"kendall_tau": tau, "kendall_tau_interval": bounds[0], "neighbors_in_order": neighbors,
            "neighbors_in_order_interval": bounds[1], "passages": len(passages),
            "source_documents": len(names),
            "random_order": "a random order has a tau of 0 and half of the neighbors in order, in the mean"}


def agreement(order: np.ndarray) -> tuple[float, float]:
    """(Kendall's tau, share of neighbors in order) of sentences that were put into this order of their true places."""
    from scipy.stats import kendalltau

    place = np.argsort(order)
    tau: Any = kendalltau(np.arange(len(order)), place)
    return float(tau.statistic), float((np.diff(place) > 0).mean())


def passages_to_order(documents: Iterable[str], *, most: int = PASSAGES, seed: int = 0) -> list[Passage]:
    """Passages of 3 to 8 sentences, at most 4 a document as long as that is enough; which ones depends on seed."""
    texts = list(documents)
    share = max(SHARE, -(-most // max(len(texts), 1)))
    chosen: list[Passage] = []
    for document in random_for(seed, "order", "documents").permutation(len(texts)).tolist():
        found = passages_in(texts[document])
        drawn = random_for(seed, "order", "passages", document).permutation(len(found))[:share]
        chosen += [Passage(found[i], document) for i in drawn.tolist()]
        if len(chosen) >= most:
            break
    if not chosen:
        raise InputError(f"text must have paragraphs or documents of at least {FEWEST} sentences to be shuffled, got "
                         f"none in {len(texts):,} documents; name other text by --data")
    return chosen[:most]


def passages_in(text: str) -> list[tuple[str, ...]]:
    """The beginning, up to 8 sentences, of each paragraph that has 3; without such, that of the document itself.

    So text with a sentence a line is ordered too. Where two sentences are equal no order is right: left out.
    """
    spans = sentence_spans(text)
    starts = np.array([start for start, _ in spans])
    cuts = np.searchsorted(starts, [start for start, _ in paragraph_spans(text)]).tolist()
    sentences = [text[start:stop] for start, stop in spans]
    parts = [sentences[first:last] for first, last in zip(cuts, [*cuts[1:], len(spans)], strict=True)]
    wanted = [part for part in parts if len(part) >= FEWEST] or [sentences] * (len(sentences) >= FEWEST)
    return [tuple(part[:MOST]) for part in wanted if len(set(part[:MOST])) == len(part[:MOST])]
