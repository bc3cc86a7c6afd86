"""Gaps filled and scored by a masked language model: one mask for each piece, filled from left to right.

    log P(w) = sum over i of log P(piece i | context, pieces before i, masks for the pieces after)

A mask for each piece tells the model how many pieces the word has.  Where words of different numbers of pieces compete
(`fill`), each number has a prior share, so that the probabilities of all words together do not exceed 1.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from polysemy.capability import GAP, Candidate, ClozeItem, Score
from polysemy.errors import InputError
from polysemy.models.cloze_passes import Passes, fit
from polysemy.text.tokenizer import Tokenizer
from polysemy.text.words import is_han, word_spans

if TYPE_CHECKING:
    from polysemy.models.text_encoder import TextEncoder
    from polysemy.models.text_model import Row

SHARES = (0.8, 0.15, 0.05)
"""shares of words with 1, 2, 3 pieces in running text; our choice, near what vocabularies of 8,000 to 30,000 give"""
HAN_SHARES = (0.45, 0.45, 0.1)
"""the same between Chinese characters, where a piece is a character and most words have one or two"""
MAX_LONGEST = len(SHARES)
MAX_GAPS = 32


def fill(encoder: TextEncoder, text: str, top: int, longest: int) -> list[list[Candidate]]:
    """Per gap the `top` likeliest words, sorted; other gaps stay one mask each.

    A candidate is kept when the text with it is cut into exactly these pieces, so it fits what stands left and right of
    it.  Punctuation is no word and is offered only in a gap that is written onto the letters before it.  Words of
    several pieces are found by a beam.  With longest=1 probabilities are the model's.
    """
    if top < 1 or not 1 <= longest <= MAX_LONGEST:
        raise InputError(f"top must be at least 1 and longest in 1..{MAX_LONGEST}, got {top} and {longest}")
    gaps = text.count(GAP)
    if not 1 <= gaps <= MAX_GAPS:
        raise InputError(f"text must hold 1 to {MAX_GAPS} gaps written {GAP}, got {gaps}")
    return [_fill_gap(Gap(encoder, text, number), top, longest) for number in range(gaps)]


class Gap:
    """One gap of a text: the ids around it, and which words fit in."""

    def __init__(self, encoder: TextEncoder, text: str, number: int) -> None:
        self.encoder, self.tokenizer = encoder, encoder.tokenizer
        mask = self.tokenizer.roles["mask"] if self.tokenizer.has("mask") else GAP
        parts = text.split(GAP)
        self.left, self.right = mask.join(parts[:number + 1]), mask.join(parts[number + 1:])
        ids = self.tokenizer.encode(self.left + mask + self.right, special=True).ids
        stray = set(ids.tolist()) & (self.tokenizer.special_ids - {self.tokenizer.mask_id, self.tokenizer.unk_id})
        if stray:
            raise InputError(f"text must hold no special token but {GAP}, got {self.tokenizer.pieces(stray)[0]}")
        at = int(np.flatnonzero(ids == self.tokenizer.mask_id)[number])
        self.before, self.after = ids[:at], ids[at + 1:]
        last = self.left[-1:] or " "
        self.attached = not last.isspace() and not is_han(last)
        self.han = is_han(self.left.rstrip()[-1:] or " ") or is_han(self.right.lstrip()[:1] or " ")

    def row(self, pieces: Sequence[int], masks: int) -> tuple[Row, int]:
        """The model's input with these pieces and masks in the gap, and the place of the first mask."""
        middle = [*pieces, *[self.tokenizer.mask_id] * masks]
        before, after = fit(self.before, self.after, self.encoder.length - 2 - len(middle))
        row = self.encoder.row(np.concatenate([before, middle, after]).astype(np.int64))
        return row, 1 + len(before) + len(pieces)

    def fitting(self, words: Sequence[tuple[int, ...]]) -> list[str | None]:
        """The text of each sequence of pieces if it is a word that fits here; None otherwise."""
        texts = [spell(self.tokenizer, pieces) for pieces in words]
        tried = self.tokenizer.encode_batch([self.left + text + self.right for text in texts], special=True)
        result: list[str | None] = []
        for pieces, text, encoding in zip(words, texts, tried, strict=True):
            words_in = word_spans(text)
            whole = (words_in == [(0, len(text))] or (len(pieces) == 1 and (self.attached or bool(words_in)))
                     or (self.han and all(map(is_han, text))))
            same = np.array_equal(encoding.ids, np.concatenate([self.before, pieces, self.after]))
            result.append(text if text and whole and same else None)
        return result


def _fill_gap(gap: Gap, top: int, longest: int) -> list[Candidate]:
    shares = np.array((HAN_SHARES if gap.han else SHARES)[:longest])
    shares = shares / shares.sum()
    found: dict[str, Candidate] = {}
    for k in range(1, longest + 1):
        ranked = _beam(gap, k, beam=min(64, max(16, 2 * top)) if k > 1 else 8 * top + 64)
        for (_, beam_score), text in zip(ranked, gap.fitting([pieces for pieces, _ in ranked]), strict=True):
            total = beam_score + float(np.log(shares[k - 1]))
            if text is not None and (text not in found or found[text].log_probability < total):
                found[text] = Candidate(text=text, probability=float(np.exp(total)), log_probability=total, pieces=k)
    return sorted(found.values(), key=lambda candidate: -candidate.log_probability)[:top]


def _beam(gap: Gap, k: int, beam: int) -> list[tuple[tuple[int, ...], float]]:
    """The likeliest sequences of k pieces with their log-probabilities; later pieces go on with the word."""
    ordinary = np.zeros(gap.encoder.config.model.vocab_size, bool)
    ordinary[gap.tokenizer.ordinary_ids] = True
    starting, going_on = (ordinary & flags for flags in piece_places(gap, len(ordinary)))
    paths: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    for step in range(k):
        rows = [gap.row(pieces, k - step) for pieces, _ in paths]
        allowed = starting if step == 0 else going_on
        scores = np.full((len(paths), len(ordinary)), -np.inf)
        for group, values in gap.encoder.log_probabilities([row for row, _ in rows], [place for _, place in rows]):
            scores[group] = np.where(allowed, values.cpu().numpy(), -np.inf)
        scores += np.array([score for _, score in paths])[:, None]
        flat = scores.ravel()
        count = min(beam, int(np.isfinite(flat).sum()))
        best = np.argpartition(-flat, count - 1)[:count] if count else np.zeros(0, np.int64)
        best = best[np.lexsort((best, -flat[best]))]
        paths = [((*paths[i // len(ordinary)][0], int(i % len(ordinary))), float(flat[i])) for i in best.tolist()]
    return paths


def piece_places(gap: Gap, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Two (size,) bool arrays: pieces that may come first in the gap, and pieces that may go on with a word.

    Between Chinese characters, characters go on too.  This only keeps the beam from filling with what cannot be; what
    is a word that fits is decided by `Gap.fitting`.
    """
    vocabulary = gap.tokenizer.vocabulary
    wordpiece = gap.tokenizer.kind == "wordpiece"
    mark = "##" if wordpiece else "Ġ" if gap.tokenizer.kind == "bytebpe" else "▁"
    marked = np.array([piece.startswith(mark) for piece in vocabulary])
    han = np.array([bool(piece) and all(map(is_han, piece)) for piece in vocabulary]) & gap.han
    inside = marked if wordpiece else ~marked
    last = gap.left[-1:]
    if not last or is_han(last):
        starting = np.ones(len(vocabulary), bool)
    elif wordpiece:
        signs = np.array([not any(map(str.isalnum, piece)) for piece in vocabulary])
        starting = marked | signs if last.isalnum() else ~marked
    else:
        starting = marked if last.isspace() else ~marked
    return tuple(np.pad(flags, (0, size - len(vocabulary))) for flags in (starting, inside | han))  # type: ignore[return-value]


def spell(tokenizer: Tokenizer, pieces: Sequence[int]) -> str:
    """The characters that pieces stand for, without the space before them."""
    if tokenizer.kind == "wordpiece":
        return "".join(piece.removeprefix("##") for piece in tokenizer.pieces(pieces))
    return tokenizer.decode(pieces).strip()


def cloze_scores(encoder: TextEncoder, items: Sequence[ClozeItem], block: int = 512) -> np.ndarray:
    """(items, candidates) float64; a candidate without pieces gets -inf.  All passes of a block of items run together.

    Candidates of one item with as many pieces share the pass of their first piece, and of each common beginning.
    """
    counts = {len(item.candidates) for item in items}
    if len(counts) > 1:
        raise InputError(f"items must all have as many candidates, got {', '.join(map(str, sorted(counts)))}")
    scores = np.zeros((len(items), counts.pop() if counts else 0))
    for start in range(0, len(items), block):
        passes = Passes(encoder, items[start:start + block])
        scores[start:start + block] = passes.scores(scores.shape[1])
    return scores


def score(encoder: TextEncoder, text: str) -> Score:
    """Sum over tokens of log P(token | all others of its window); windows follow each other without overlap."""
    ids = encoder.encode([text])[0].ids
    rows, places, targets = [], [], []
    step = encoder.length - 2
    for start in range(0, len(ids), step):
        window = encoder.row(ids[start:start + step])
        for place in range(1, len(window.ids) - 1):
            hidden = window.ids.copy()
            hidden[place] = encoder.tokenizer.mask_id
            rows.append(window._replace(ids=hidden))
            places.append(place)
            targets.append(int(window.ids[place]))
    total = 0.0
    for group, values in encoder.log_probabilities(rows, places):
        wanted = values.new_tensor([targets[i] for i in group]).long()
        total += float(values.gather(1, wanted[:, None]).double().sum())
    return Score(log_probability=total, tokens=len(ids), words=len(word_spans(text)), bytes=len(text.encode()),
                 pseudo=True)
