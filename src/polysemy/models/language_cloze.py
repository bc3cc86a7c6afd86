"""Gaps scored by language models: the log-probability of the text around the gap with each candidate in place.

A model that reads from the left: log P(left, w, what follows), of which the left part is the same for all candidates
and is read once; of what follows the first AFTER pieces count (docs/cloze.md says what more would bring).
A model of both directions (ELMo): log P(w | left) + log P(w | right), each piece by both.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from polysemy.capability import GAP, Candidate, ClozeItem
from polysemy.errors import InputError
from polysemy.models.cloze_passes import contexts, fit
from polysemy.models.text_model import like_lengths

if TYPE_CHECKING:
    from polysemy.models.language_model import LanguageModel

AFTER = 4
"""pieces after the candidate that are scored"""
BLOCK = 256
PREFIXES = 8
"""items whose candidates are read at once"""
PROPOSED = 200
"""single-piece words that `fill` proposes for a gap"""


class Asked(NamedTuple):
    """One candidate in its text."""

    item: int
    candidate: int
    left: np.ndarray
    pieces: np.ndarray
    right: np.ndarray


def cloze_scores(model: LanguageModel, items: Sequence[ClozeItem]) -> np.ndarray:
    """(items, candidates) float64; a candidate without pieces gets -inf."""
    counts = {len(item.candidates) for item in items}
    if len(counts) > 1:
        raise InputError(f"items must all have as many candidates, got {', '.join(map(str, sorted(counts)))}")
    scores = np.full((len(items), counts.pop() if counts else 0), -np.inf)
    for start in range(0, len(items), BLOCK):
        asked = [Asked(start + i, c, left, ids, right)
                 for i, parts in enumerate(contexts(model, items[start:start + BLOCK]))
                 for c, (left, right, ids) in enumerate(zip(*parts[:2], parts[2], strict=True)) if len(ids)]
        (_both_sides if model.both else _from_the_left)(model, asked, scores)
    return scores


@torch.inference_mode()
def _from_the_left(model: LanguageModel, asked: Sequence[Asked], scores: np.ndarray) -> None:
    """Read each distinct left part once, then every candidate with what follows from the state after it."""
    most: dict[int, int] = {}
    for one in asked:
        most[one.item] = max(most.get(one.item, 0), len(one.pieces))
    texts: dict[bytes, np.ndarray] = {}
    wanted: dict[bytes, list[Asked]] = {}
    for one in asked:
        room = len(one.left) if model.model.body.stateful else max(model.length - 1 - most[one.item] - AFTER, 0)
        left = one.left[max(len(one.left) - room, 0):]
        key = left.tobytes()
        texts.setdefault(key, np.concatenate([[model.mark], left]).astype(np.int64))
        wanted.setdefault(key, []).append(one)
    keys = list(texts)
    for group in like_lengths([len(texts[key]) for key in keys], PREFIXES):
        ids, lengths = _padded([texts[keys[i]] for i in group], model)
        states, state = model.model.body.advance(ids, None, lengths)
        last = states[torch.arange(len(group), device=ids.device), lengths - 1]
        log = model.logits(last).float().log_softmax(-1)
        rows = [(line, one) for line, i in enumerate(group) for one in wanted[keys[i]]]
        lines = torch.tensor([line for line, _ in rows], device=ids.device)
        ids, lengths = _padded([np.concatenate([one.pieces, one.right[:AFTER]]) for _, one in rows], model)
        total = log[lines, ids[:, 0]].double()
        if ids.shape[1] > 1:
            shown = (lengths - 1).clamp(min=1)  # the last token is only predicted, and nothing is read of no token
            states, _ = model.model.body.advance(ids[:, :-1], tuple(x[lines] for x in state), shown)
            found = model.log_of(states.flatten(0, 1), ids[:, 1:].flatten()).view(len(rows), -1)
            real = torch.arange(1, ids.shape[1], device=ids.device) < lengths[:, None]
            total += (found * real).sum(1).double()
        for (_, one), value in zip(rows, total.tolist(), strict=True):
            scores[one.item, one.candidate] = value


def _padded(texts: Sequence[np.ndarray], model: LanguageModel) -> tuple[Tensor, Tensor]:
    """Rows filled up on the right, and how many of their columns are real."""
    lengths = [len(text) for text in texts]
    ids = np.full((len(texts), max(lengths)), model.mark, np.int64)
    for line, text in enumerate(texts):
        ids[line, :len(text)] = text
    device = model.model.table.device
    return torch.from_numpy(ids).to(device), torch.tensor(lengths, device=device)


@torch.inference_mode()
def _both_sides(model: LanguageModel, asked: Sequence[Asked], scores: np.ndarray) -> None:
    """A row for each text; candidates of one piece share it, for neither direction reads the gap it predicts."""
    rows: list[np.ndarray] = []
    wanted: list[list[tuple[Asked, int]]] = []
    known: dict[bytes, int] = {}
    for one in asked:
        k = len(one.pieces)
        left, right = fit(one.left, one.right, model.length - 2 - k)
        row = np.concatenate([[model.mark], left, one.pieces, right, [model.mark]]).astype(np.int64)
        key = np.concatenate([left, [-k], one.pieces if k > 1 else [], [-k], right]).astype(np.int64).tobytes()
        if key not in known:
            known[key] = len(rows)
            rows.append(row)
            wanted.append([])
        wanted[known[key]].append((one, 1 + len(left)))
    for one, value in _two_way_values(model, rows, wanted):
        scores[one.item, one.candidate] = value


def _two_way_values(model: LanguageModel, rows: Sequence[np.ndarray],
                    wanted: Sequence[Sequence[tuple[Asked, int]]]) -> Iterator[tuple[Asked, float]]:
    for group in like_lengths([len(row) for row in rows], None):
        ids, lengths = _padded([rows[i] for i in group], model)
        visible = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        states = model.model.body(ids, visible=visible)
        for line, i in enumerate(group):
            pieces, at = len(wanted[i][0][0].pieces), wanted[i][0][1]
            before = model.logits(states[line, at - 1:at - 1 + pieces]).float().log_softmax(-1)
            after = model.logits(states[line, at + 1:at + 1 + pieces], "previous_token").float().log_softmax(-1)
            both = (before + after).double().cpu().numpy()
            for one, _ in wanted[i]:
                yield one, float(both[np.arange(pieces), one.pieces].sum())


def fill(model: LanguageModel, text: str, top: int) -> list[list[Candidate]]:
    """Per gap the `top` likeliest words of one piece, sorted; other gaps are left out of the text.

    Words are proposed by what stands to the left (of a two-way model by both sides) and judged as `cloze_scores` does.
    Probabilities are shares among the proposed words.
    """
    if top < 1:
        raise InputError(f"top must be at least 1, got {top}")
    parts = text.split(GAP)
    if len(parts) < 2:
        raise InputError(f"text must hold a gap written {GAP}, got {text[:60]!r}")
    return [_fill_gap(model, "".join(parts[:i]), "".join(parts[i:]), top) for i in range(1, len(parts))]


def _fill_gap(model: LanguageModel, left: str, right: str, top: int) -> list[Candidate]:
    words = tuple(propose(model, left, right))
    if not words:
        return []
    values = cloze_scores(model, [ClozeItem(left=left, right=right, candidates=words)])[0]
    values -= np.logaddexp.reduce(values)
    order = np.argsort(-values, kind="stable")[:top]
    return [Candidate(text=words[i], probability=float(np.exp(values[i])), log_probability=float(values[i]))
            for i in order]


@torch.inference_mode()
def propose(model: LanguageModel, left: str, right: str) -> list[str]:
    """Words of one piece that fit between `left` and `right`, the likeliest by the model first."""
    before, after = (encoding.ids for encoding in model.encode([left.rstrip(), right]))
    before, after = fit(before, after if model.both else after[:0], model.length - 3)
    ids = torch.tensor([[model.mark, *before, model.mark, *after, model.mark]], device=model.model.table.device)
    at = 1 + len(before)
    if model.both:
        states = model.model.body(ids)[0]
        values = model.logits(states[at - 1:at]) + model.logits(states[at + 1:at + 2], "previous_token")
    else:
        states, _ = model.model.body.advance(ids[:, :at], None)
        values = model.logits(states[0, -1:])
    allowed = torch.full_like(values[0], -torch.inf)
    allowed[torch.from_numpy(model.tokenizer.ordinary_ids).to(ids.device)] = 0
    best = (values[0] + allowed).topk(min(2 * PROPOSED, len(model.tokenizer.ordinary_ids))).indices.tolist()
    spelled = dict.fromkeys(model.tokenizer.decode([piece]).strip() for piece in best)
    tried = [word for word in spelled if word and any(map(str.isalpha, word))]
    if not left.strip() and model.tokenizer.kind == "bytebpe":  # a piece that follows nothing may be the end of a word
        tried = [word for word in tried if model.tokenizer.id_of(f"Ġ{word}") is not None or word[:1].isupper()]
    context = "" if not left.strip() else left
    encodings = model.encode([context + word for word in tried])
    alone = len(model.encode([context.rstrip()])[0].ids)
    return [word for word, found in zip(tried, encodings, strict=True) if len(found.ids) == alone + 1][:PROPOSED]
