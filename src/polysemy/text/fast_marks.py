"""One end mark in a text: what the compiled sentence rules (`fast_sentences`) know of characters, and their verdict."""
from __future__ import annotations

import functools

import numpy as np

from polysemy.machine_code import compiled
from polysemy.text import sentences as rules
from polysemy.text.abbreviations import ABBREVIATIONS, ALSO_WORDS, BEFORE_NAMES

# what a character is, in bits
SPACE, LOWER, UPPER, MARK, RUN, CLOSER, WIDE, BREAK = (1 << bit for bit in range(8))
"""white space; small letter; capital; end mark; what may follow one; what closes behind; Chinese; ends a word's look
back for abbreviations"""
LAST_KIND = 0x20000  # beyond it there is only Han, and nothing a rule asks for
LAST_HAN = 0x323AF
NO, NAME, PERHAPS = range(3)  # is the word before a full stop an abbreviation?
LONGEST = 8  # letters of an abbreviation
LINE_FEED, BLANK, NO_BREAK, STOP, ELLIPSIS, QUOTE, COMMA, SEMICOLON, ROUND, SQUARE = map(ord, "\n \u00a0.…\",;([")
QUOTES, CONTINUES, WIDE_QUOTES, OPENERS, ROMAN, WESTERN, INNER = (np.array([*map(ord, signs)]) for signs in (
    "\"'”’", rules.CONTINUES, rules.WIDE_QUOTES, rules.OPENERS.replace("\\", ""), "ivxlcIVXLC", ".!?…", "._*"))
VERBS = np.array([int.from_bytes(verb[:4].encode(), "little") for verb in rules.VERBS.split("|")])
GOES_ON, ENDS, SOFT, UNSURE = range(4)  # what a mark means; SOFT: only a small letter argues against an end


@functools.cache
def tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """uint8 by character: its bits; abbreviations of ASCII packed into uint64 in rising order, and what each is."""
    kinds = np.zeros(LAST_KIND, np.uint8)
    signs = [chr(code) for code in range(LAST_KIND)]
    for bit, is_one in ((SPACE, str.isspace), (LOWER, str.islower), (UPPER, str.isupper)):
        kinds |= np.fromiter(map(is_one, signs), bool, LAST_KIND) * np.uint8(bit)
    letters = np.fromiter(map(str.isalpha, signs), bool, LAST_KIND)
    kinds[~letters] &= ~np.uint8(LOWER | UPPER)
    for bit, expression in ((MARK, f"[.!?…{rules.WIDE_MARKS}]"), (RUN, "[.!?…。！？]"), (CLOSER, f"[{rules.CLOSERS}]"),
                            (WIDE, f"[{rules.WIDE}]"), (BREAK, r"[\s\"'“‘(\[{—–/-]")):
        places = [match.start() for match in rules.re.finditer(expression, "".join(signs))]
        kinds[places] |= np.uint8(bit)
    words = sorted((int.from_bytes(word.encode(), "little"), word) for word in ABBREVIATIONS | ALSO_WORDS)
    assert max(len(word) for _, word in words) <= LONGEST
    names = [NAME if word in BEFORE_NAMES and word not in ALSO_WORDS else PERHAPS for _, word in words]
    return kinds, np.array([packed for packed, _ in words], np.uint64), np.array(names, np.uint8)


@compiled(inline="always")
def kind_of(code, kinds):
    return kinds[code] if code < LAST_KIND else np.uint8(WIDE if code <= LAST_HAN else 0)


@compiled
def end_of_marks(codes, kinds, at, stop):
    """Where a match of END that begins at `at` ends, -1 if there is none."""
    if at > 0 and _western(codes[at]) and _western(codes[at - 1]):
        return -1
    if at > 1 and codes[at] == STOP and codes[at - 2] == STOP and (codes[at - 1] == BLANK or codes[at - 1] == NO_BREAK):
        return -1
    end = at + 1
    while end < stop and kind_of(codes[end], kinds) & RUN:
        end += 1
    while end + 1 < stop and codes[end + 1] == STOP and (codes[end] == BLANK or codes[end] == NO_BREAK):
        end += 2
    while end < stop and kind_of(codes[end], kinds) & CLOSER:
        end += 1
    last = kind_of(codes[end - 1], kinds)
    if last & CLOSER or (last & MARK and not _western(codes[end - 1])):
        return end
    return end if end == stop or kind_of(codes[end], kinds) & (SPACE | WIDE) else -1


@compiled
def _western(code):
    return _among(code, WESTERN)


@compiled
def verdict_on(codes, kinds, abbreviations, names, start, first, end, stop):
    """What `sentences.border` says of the marks first..end of a sentence that began at `start`; UNSURE: ask it."""
    if not _western(codes[first]):
        if _among(codes[end], CONTINUES):
            return GOES_ON
        return UNSURE if _among(codes[end - 1], WIDE_QUOTES) else ENDS
    if codes[end] == COMMA or codes[end] == SEMICOLON:
        return GOES_ON
    word = _next_word(codes, kinds, end, stop)
    if word < 0:
        return UNSURE
    single, mark, before = end - first == 1, codes[end - 1], codes[first - 1] if first > start else BLANK
    if kind_of(codes[word], kinds) & LOWER:
        if not single or (before < 128 and not kind_of(before, kinds) & (LOWER | UPPER)):
            return GOES_ON
        if mark == ELLIPSIS or before > 127:
            return UNSURE
    elif _among(mark, QUOTES) and _perhaps_said(codes, kinds, word, stop):
        return UNSURE
    elif codes[first] != STOP or codes[first + 1] == STOP:
        return ENDS
    found = _abbreviation(codes, kinds, abbreviations, names, start, first)
    if found != NO:
        return UNSURE if found == PERHAPS else GOES_ON
    return SOFT if kind_of(codes[word], kinds) & LOWER else ENDS


@compiled
def _next_word(codes, kinds, end, stop):
    """Where, behind one space and perhaps openers, a letter that is large or small stands; -1: there is something else.

    After openers a small letter is something else.
    """
    at = end + 1
    if codes[end] != BLANK or at >= stop or (codes[at] == QUOTE and at + 1 < stop and codes[at + 1] == BLANK):
        return -1
    while at < stop and _among(codes[at], OPENERS):
        at += 1
    opened = at > end + 1
    if opened and at < stop and codes[at] == BLANK:
        at += 1
    wanted = UPPER if opened else UPPER | LOWER
    return at if at < stop and kind_of(codes[at], kinds) & wanted else -1


@compiled
def _perhaps_said(codes, kinds, word, stop):
    """Could the expression SAID match here: one or two names, and a word that begins like one of its verbs?"""
    at = word
    for _ in range(2):
        if at >= stop or not 65 <= codes[at] <= 90:
            break
        while at < stop and codes[at] != BLANK:
            if codes[at] > 127:
                return True
            at += 1
        at += 1
    if at == word or at + 4 > stop:
        return False
    packed = np.int64(0)
    for i in range(4):
        packed |= np.int64(codes[at + i]) << (8 * i)
    return _among(packed, VERBS)


@compiled
def _abbreviation(codes, kinds, abbreviations, names, start, first):
    """Is the word before a full stop an abbreviation whatever follows (NAME), or may it be one (PERHAPS)?"""
    at, packed, odd = first, np.uint64(0), False
    while at > start and at > first - 24 and not kind_of(codes[at - 1], kinds) & BREAK:
        at -= 1
        code = np.uint64(codes[at])
        odd |= _among(codes[at], INNER)
        if first - at <= LONGEST:
            odd |= code > 127
            packed = packed << np.uint64(8) | (code | np.uint64(32) if 65 <= code <= 90 else code)
    length = first - at
    if length == 0:
        return NO
    if odd or (length == 1 and 65 <= codes[at] <= 90) or _perhaps_listed(codes, start, first):
        return PERHAPS
    if length > LONGEST:
        return NO
    place = np.searchsorted(abbreviations, packed)
    return names[place] if place < len(abbreviations) and abbreviations[place] == packed else NO


@compiled
def _perhaps_listed(codes, start, first):
    """Could the sentence so far be a number or letter of a list: at most a bracket and five signs of that kind?"""
    at = start + 1 if codes[start] == ROUND or codes[start] == SQUARE else start
    for place in range(at, min(first, at + 6)):
        code = codes[place]
        if code < 128 and not 48 <= code <= 57 and not _among(code, ROMAN) and first - at > 1:
            return False
    return first - at < 6


@compiled
def _among(code, signs):
    for sign in signs:  # noqa: SIM110, Numba knows no any()
        if code == sign:
            return True
    return False
