"""Make cloze questions from the dev and test text of a split: find the gaps, draw the candidates, fill the bands.

Every choice is keyed by (seed, part, number of the word in the part's text), so that making the questions again, in
whole or in part, gives the same ones.
"""
from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polysemy.errors import InputError
from polysemy.evaluation.candidates import Pools, make_pools
from polysemy.evaluation.cloze_items import ClozeConfig, ClozeSet, PieceCounts, Question
from polysemy.evaluation.fingerprints import counted, mix, read_blocks, uniform, words_of
from polysemy.evaluation.split import Split
from polysemy.evaluation.vocabulary import Vocabulary, count_words, folded_numbers, looks, standalone
from polysemy.runtime import random_for, seed_for

BAND_EDGES = (100, 1_000, 10_000)
NUM_BANDS = len(BAND_EDGES) + 1
SMALLEST_BAND = 0.05
"""A band that holds less than this part of the questions joins the next more frequent one."""
SPARE = (2, 6, 18)
"""Gaps tried for each question wanted, in rounds: many fall away, for the word stands elsewhere in the context too."""
FEWEST = 50

GAP = np.dtype([("priority", np.float64), ("document", np.int64), ("word", np.int64), ("entry", np.int64),
                ("paragraph", np.int64)])
"""A place to ask: its turn, its document, its number among the document's words, the vocabulary's entry, its line."""


def make_items(split: Split, config: ClozeConfig, piece_counts: PieceCounts | None = None, *,
               source: str = "") -> ClozeSet:
    """The questions of a split; without `piece_counts` every word counts as one piece. source: kept with them.

    Raises InputError where dev or test hold too little text for FEWEST questions.
    """
    lexicon = Lexicon.of_text(split.train, config, piece_counts)
    chosen: dict[str, list[Question]] = {}
    for part, path, wanted in (("dev", split.dev, config.dev_items), ("test", split.test, config.test_items)):
        chosen[part] = _questions(path, part, wanted, lexicon, config)
        if len(chosen[part]) < FEWEST:
            raise InputError(f"{part} text must give at least {FEWEST} cloze questions, got {len(chosen[part])} from "
                             f"{split.counts[part]['words']:,} words; add text")
    number, names = _merge_bands([[question.band for question in questions] for questions in chosen.values()])
    final = {part: tuple(dataclasses.replace(question, band=number[question.band]) for question in questions)
             for part, questions in chosen.items()}
    return ClozeSet(dev=final["dev"], test=final["test"], bands=names, config=config,
                    source=source or split.fingerprint)


@dataclass(frozen=True)
class Lexicon:
    """What the training text says about words: counts, pools, pieces."""

    vocabulary: Vocabulary
    pools: Pools
    pieces: np.ndarray
    folded: np.ndarray
    log_frequency: np.ndarray
    band: np.ndarray

    @classmethod
    def of_text(cls, train: Path, config: ClozeConfig, piece_counts: PieceCounts | None = None) -> Lexicon:
        vocabulary = count_words(train, min_count=config.min_count, unit=config.unit)
        if not len(vocabulary):
            raise InputError(f"training text must repeat some words {config.min_count} times, got none in {train}; "
                             "add text")
        words, counts = vocabulary.words, vocabulary.counts
        pieces = np.ones(len(words), np.int64) if piece_counts is None else np.asarray(piece_counts(words), np.int64)
        folded = folded_numbers(words)
        distinct, times = counted(folded, counts)
        share = times[np.searchsorted(distinct, folded)] / vocabulary.total
        absent = np.exp(-2 * config.context_words * share)
        pools = make_pools(looks(vocabulary), pieces, counts, absent, 1.5 * config.num_candidates)
        band = np.searchsorted(BAND_EDGES, np.arange(1, len(words) + 1), side="left")
        return cls(vocabulary, pools, pieces, folded, vocabulary.log_frequency(), band)


def _questions(path: Path, part: str, wanted: int, lexicon: Lexicon, config: ClozeConfig) -> list[Question]:
    """The questions of one part, in the order of their turns."""
    present = np.bincount(lexicon.band[lexicon.pools.pool >= 0], minlength=NUM_BANDS) > 0
    share = -(-wanted // max(int(present.sum()), 1))
    gaps = _find_gaps(path, seed_for(config.seed, "cloze", part), lexicon, SPARE[-1] * share, config.unit)
    band = lexicon.band[gaps["entry"]]
    turn = np.zeros(len(gaps), np.int64)  # place of each gap in its band's queue
    for number in range(NUM_BANDS):
        mine = np.flatnonzero(band == number)
        turn[mine[np.argsort(gaps["priority"][mine])]] = np.arange(len(mine))
    drafts: list[tuple[float, Question]] = []
    short, tried = present.copy(), 0
    chosen: list[Question] = []
    for depth in SPARE:
        due = short[band] & (turn >= tried * share) & (turn < depth * share)
        drafts += _ask_all(path, part, gaps[due], lexicon, config)
        drafts.sort(key=lambda draft: draft[0])
        chosen = _choose([question for _, question in drafts], wanted, share, config.per_paragraph)
        tried = depth
        short = present & (np.bincount([question.band for question in chosen], minlength=NUM_BANDS) < share)
        if not short.any():
            break
    return chosen


def _ask_all(path: Path, part: str, gaps: np.ndarray, lexicon: Lexicon,
             config: ClozeConfig) -> Iterator[tuple[float, Question]]:
    """Each gap's turn and question, in order of the text; gaps that cannot be asked are left out."""
    for document, block in enumerate(block for blocks in read_blocks(path) for block in blocks):
        first, last = np.searchsorted(gaps["document"], [document, document + 1])
        if first < last:
            yield from _ask(block, gaps[first:last], part, lexicon, config)


def _find_gaps(path: Path, key: int, lexicon: Lexicon, most: int, unit: str) -> np.ndarray:
    """GAP rows, in order of the text, of the places that may be asked; of each band at most `most`, by their turns."""
    kept = np.zeros(0, GAP)
    seen = np.zeros(0, np.uint64)
    documents = paragraphs = 0
    for blocks in read_blocks(path):
        words = words_of("\n\n".join(blocks), unit)
        numbers, lines = words.numbers(), np.cumsum(words.codes == 10)
        line_of = lines[words.starts]
        document = np.searchsorted(np.cumsum([len(block) + 2 for block in blocks]), words.starts, side="right")
        first_word = np.searchsorted(document, np.arange(len(blocks)))
        fresh, seen = _first_time(numbers, line_of, seen)
        entry = lexicon.vocabulary.find(numbers)
        rows = np.zeros(len(words), GAP)
        rows["document"], rows["word"] = documents + document, np.arange(len(words)) - first_word[document]
        rows["entry"], rows["paragraph"] = entry, paragraphs + line_of
        noise = mix(rows["document"].astype(np.uint64)) + rows["word"].astype(np.uint64)
        rows["priority"] = uniform(noise, key)
        rate = np.where(entry >= 0, lexicon.pools.asked_rate[entry], 0.0)
        rows = rows[standalone(words) & fresh & (uniform(noise, key ^ 1) < rate)]
        kept = _first_turns(np.concatenate([kept, rows]), lexicon.band, most)
        documents, paragraphs = documents + len(blocks), paragraphs + int(lines[-1]) + 1
    return np.sort(kept, order=["document", "word"])


def _first_time(numbers: np.ndarray, line_of: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """bool (words,): in a line that did not stand in the text before (refrains, footers); and the lines seen."""
    line, inverse = np.unique(line_of, return_inverse=True)
    place = np.arange(len(numbers)) - np.searchsorted(line_of, line)[inverse]
    weighted = mix(numbers + mix(place.astype(np.uint64)))
    sums = np.zeros(len(line), np.uint64)
    np.add.at(sums, inverse, weighted)
    _, first = np.unique(sums, return_index=True)
    new = np.zeros(len(line), bool)
    new[first] = True
    new &= ~np.isin(sums, seen)
    return new[inverse], np.concatenate([seen, sums[new]])


def _first_turns(rows: np.ndarray, band: np.ndarray, most: int) -> np.ndarray:
    kept = []
    for number in range(NUM_BANDS):
        mine = rows[band[rows["entry"]] == number]
        if len(mine) > most:
            mine = mine[np.argpartition(mine["priority"], most)[:most]]
        kept.append(mine)
    return np.concatenate(kept)


def _ask(text: str, gaps: np.ndarray, part: str, lexicon: Lexicon,
         config: ClozeConfig) -> Iterator[tuple[float, Question]]:
    """The questions of one document; none where the word recurs in its context or too few candidates are left."""
    words = words_of(text, config.unit)
    folded = words.numbers(folded=True)
    reach = config.context_words
    for gap in gaps:
        at, entry = int(gap["word"]), int(gap["entry"])
        first, last = max(at - reach, 0), min(at + reach + 1, len(words))
        context = np.concatenate([folded[first:at], folded[at + 1 : last]])
        random = random_for(config.seed, "candidates", part, int(gap["document"]), at)
        drawn = _candidates(entry, context, lexicon, config.num_candidates, random)
        if drawn is None:
            continue
        start, stop, pool = int(words.starts[at]), int(words.stops[at]), int(lexicon.pools.pool[entry])
        yield float(gap["priority"]), Question(
            left=text[int(words.starts[first]) : start], right=text[stop : int(words.stops[last - 1])],
            candidates=tuple(lexicon.vocabulary.words[word] for word in drawn.tolist()),
            gold=drawn.tolist().index(entry), document=int(gap["document"]), paragraph=int(gap["paragraph"]),
            band=int(lexicon.band[entry]), rank=entry + 1,
            log_frequency=tuple(lexicon.log_frequency[drawn].round(6).tolist()),
            pieces=tuple(lexicon.pieces[drawn].tolist()), primary=bool(lexicon.pools.same_pieces[pool]),
            widened=round(float(lexicon.pools.ratio[pool]), 4))


def _candidates(entry: int, context: np.ndarray, lexicon: Lexicon, number: int,
                random: np.random.Generator) -> np.ndarray | None:
    """The word and others of its pool, none of which stands in the context, shuffled; None where that cannot be."""
    if (context == lexicon.folded[entry]).any():
        return None
    pool = lexicon.pools.members[lexicon.pools.pool[entry]]
    # a pool that is not much larger is drawn whole, so that "too few" does not hang on the draw
    drawn = random.choice(pool, min(len(pool), 8 * number), replace=False)
    wrong = drawn[(drawn != entry) & ~np.isin(lexicon.folded[drawn], context)][: number - 1]
    return random.permutation(np.append(wrong, entry)) if len(wrong) == number - 1 else None


def _choose(questions: list[Question], wanted: int, share: int, per_paragraph: int) -> list[Question]:
    """The questions to keep, by turn: of each band up to its share, then whatever is left over."""
    in_paragraph: Counter[int] = Counter()
    in_band: Counter[int] = Counter()
    chosen: set[int] = set()
    for limit in (share, wanted):
        for at, question in enumerate(questions):
            full = len(chosen) == wanted or in_band[question.band] >= limit
            if full or at in chosen or in_paragraph[question.paragraph] >= per_paragraph:
                continue
            in_paragraph[question.paragraph] += 1
            in_band[question.band] += 1
            chosen.add(at)
    return [questions[at] for at in sorted(chosen)]


def _merge_bands(parts: list[list[int]]) -> tuple[list[int], tuple[str, ...]]:
    """New number for each band and the names of the new ones; a band that is small in dev or test joins another."""
    groups = [[band] for band in range(NUM_BANDS)]

    def share(group: list[int]) -> float:
        return min(sum(band in group for band in bands) / len(bands) for bands in parts)

    while len(groups) > 1 and min(map(share, groups)) < SMALLEST_BAND:
        smallest = min(range(len(groups)), key=lambda at: share(groups[at]))
        neighbor = smallest - 1 if smallest else 1
        groups[neighbor] = sorted(groups[neighbor] + groups[smallest])
        del groups[smallest]
    number = [next(at for at, group in enumerate(groups) if band in group) for band in range(NUM_BANDS)]
    edges = (0, *BAND_EDGES)
    names = [f"{edges[group[0]] + 1:,}-{edges[group[-1] + 1]:,}" if group[-1] + 1 < len(edges)
             else f"{edges[group[0]] + 1:,} and rarer" for group in groups]
    return number, tuple(names)
