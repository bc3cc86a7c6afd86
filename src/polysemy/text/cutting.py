"""The compiled loops that cut documents into pieces; what they do and why stands in `polysemy.text.segments`.

Importing this file imports Numba; import it inside functions.
"""
from __future__ import annotations

import numpy as np

from polysemy.text.keyed import below, bits, compiled, find, uniform
from polysemy.text.rows import Sections

# numbers of the random choices inside one chunk
SHORT, TARGET, BORDER, OTHER, DOCUMENT, SENTENCE, TRUNCATE = range(7)


@compiled
def cut_stretches(sections: Sections, order: np.ndarray, fits: np.ndarray, cross: bool, max_empty: int):
    """Runs of contiguous sentences; returns the fields of `Cut`.

    cross: a piece may go on with the next section, as a new run. max_empty: a sentence is cut where ending the piece
    before it would leave more than this many columns empty, and where it is longer than a piece.
    """
    tokens, longest = count_tokens(sections, order), fits[len(fits) - 3]
    # two neighboring pieces of a section exceed `longest` together, but for one column a border
    bound = 2 * ((tokens + len(order)) // longest + len(order)) + 4
    run_starts, run_lengths = np.empty(bound, np.int64), np.empty(bound, np.int32)
    piece_runs = np.zeros(bound + 1, np.int64)
    runs, pieces, text = 0, 0, 0  # text: tokens in the open piece
    for section in order:
        if text > 0 and not cross:
            pieces, text = pieces + 1, 0
            piece_runs[pieces] = runs
        opened = False  # has this section a run in the open piece?
        for sentence in range(sections.sentences[section], sections.sentences[section + 1]):
            begin, stop = sections.sentence_starts[sentence], sections.sentence_starts[sentence + 1]
            while begin < stop:
                separators = runs - piece_runs[pieces] + (0 if opened else 1)
                room = fits[max(0, len(fits) - 2 - separators)] - text
                take = stop - begin
                if take > room:
                    take = room if text == 0 or room > max_empty else 0
                if take > 0:
                    if not opened:
                        run_starts[runs], run_lengths[runs] = begin, 0
                        runs, opened = runs + 1, True
                    run_lengths[runs - 1] += take
                    text += take
                    begin += take
                if begin < stop:
                    pieces, text, opened = pieces + 1, 0, False
                    piece_runs[pieces] = runs
    if text > 0:
        pieces += 1
        piece_runs[pieces] = runs
    labels = np.full(pieces, -1, np.int8)
    return run_starts[:runs].copy(), run_lengths[:runs].copy(), piece_runs[: pieces + 1].copy(), labels


@compiled
def cut_pairs(sections: Sections, order: np.ndarray, longest: int, short_rate: float, key: np.uint64, random: bool):
    """Pairs of runs with a label; returns the fields of `Cut`. longest: text tokens of a piece.

    random: B of label 1 comes from another document; else label 1 is the same pair swapped.
    """
    bound = 2 * (count_tokens(sections, order) // ((longest + 1) // 2))
    for section in order:
        bound += sections.sentences[section + 1] - sections.sentences[section] + 1
    run_starts, run_lengths = np.empty(2 * bound, np.int64), np.empty(2 * bound, np.int32)
    labels = np.empty(bound, np.int8)
    pieces = 0
    for section in order:
        units = units_of(sections, section, longest)
        section_key = bits(key, section)
        first, chunk = 0, 0
        while first < len(units) - 1:
            chunk_key = bits(section_key, chunk)
            last = end_of_chunk(units, first, longest, short_rate, chunk_key)
            border = units[first + 1 + below(chunk_key, BORDER, last - first - 1)] if last > first + 1 else units[last]
            a, a_end, b, b_end = units[first], border, border, units[last]
            other, kept = uniform(chunk_key, OTHER) < 0.5, True
            if random and (other or last == first + 1):
                target = chunk_target(longest, short_rate, chunk_key)
                b, b_end = passage_elsewhere(sections, section, max(1, target - (a_end - a)), longest, chunk_key)
                last, other = find(units, border) - 1, True
            elif last == first + 1:
                kept = a_end - a > 1
                a_end = b = a + 1 + below(chunk_key, BORDER, max(1, a_end - a - 1))
            if kept:
                a, a_end, b, b_end = truncate(a, a_end, b, b_end, longest, bits(chunk_key, TRUNCATE))
                if other and not random:
                    a, a_end, b, b_end = b, b_end, a, a_end
                run_starts[2 * pieces], run_lengths[2 * pieces] = a, a_end - a
                run_starts[2 * pieces + 1], run_lengths[2 * pieces + 1] = b, b_end - b
                labels[pieces] = 1 if other else 0
                pieces += 1
            first, chunk = last, chunk + 1
    runs = 2 * pieces
    piece_runs = np.arange(0, runs + 1, 2)
    return run_starts[:runs].copy(), run_lengths[:runs].copy(), piece_runs, labels[:pieces].copy()


@compiled
def count_tokens(sections: Sections, order: np.ndarray) -> int:
    """Tokens of the listed sections."""
    tokens = 0
    for section in order:
        tokens += sections.sentence_starts[sections.sentences[section + 1]]
        tokens -= sections.sentence_starts[sections.sentences[section]]
    return int(tokens)


@compiled
def units_of(sections: Sections, section: int, longest: int) -> np.ndarray:
    """Bounds of the section's sentences; one longer than a piece is parted into halves of a piece and a rest."""
    first, last = sections.sentences[section], sections.sentences[section + 1]
    half = (longest + 1) // 2
    count = 0
    for sentence in range(first, last):
        size = sections.sentence_starts[sentence + 1] - sections.sentence_starts[sentence]
        count += 1 if size <= longest else (size + half - 1) // half
    bounds = np.empty(count + 1, np.int64)
    count = 0
    for sentence in range(first, last):
        start = sections.sentence_starts[sentence]
        size = sections.sentence_starts[sentence + 1] - start
        parts = 1 if size <= longest else (size + half - 1) // half
        for part in range(parts):
            bounds[count] = start + part * half
            count += 1
    bounds[count] = sections.sentence_starts[last]
    return bounds


@compiled
def chunk_target(longest: int, short_rate: float, key: np.uint64) -> int:
    """Tokens that the chunk wants: the longest, or now and then fewer, so that short inputs are met too."""
    if uniform(key, SHORT) < short_rate:
        return 2 + below(key, TARGET, longest - 1)
    return longest


@compiled
def end_of_chunk(units: np.ndarray, first: int, longest: int, short_rate: float, key: np.uint64) -> int:
    """One past the last unit of the chunk that begins at unit `first`: it reaches the target, or the document ends."""
    target = chunk_target(longest, short_rate, key)
    last = first + 1
    while last < len(units) - 1 and units[last] - units[first] < target:
        last += 1
    return last


@compiled
def passage_elsewhere(sections: Sections, section: int, target: int, longest: int, key: np.uint64):
    """Sentences from a random start in another document until the target is reached or that document ends."""
    documents = sections.document_sentences
    own = find(documents, sections.sentences[section]) - 1
    document = below(key, DOCUMENT, len(documents) - 2)
    if document >= own:
        document += 1
    first, last = documents[document], documents[document + 1]
    sentence = first + below(key, SENTENCE, last - first)
    start = sections.sentence_starts[sentence]
    sentence += 1
    while sentence < last and sections.sentence_starts[sentence] - start < target:
        sentence += 1
    return start, min(sections.sentence_starts[sentence], start + longest)


@compiled
def truncate(a: int, a_end: int, b: int, b_end: int, longest: int, key: np.uint64):
    """While the pair is too long, drop a token of the longer side, at its front or back with equal chance."""
    counter = 0
    while a_end - a + b_end - b > longest:
        front = uniform(key, counter) < 0.5
        if a_end - a > b_end - b:
            a, a_end = (a + 1, a_end) if front else (a, a_end - 1)
        else:
            b, b_end = (b + 1, b_end) if front else (b, b_end - 1)
        counter += 1
    return a, a_end, b, b_end
