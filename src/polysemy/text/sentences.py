"""Where sentences begin and end, in English and Chinese (and whatever ends its sentences with the same marks).

Rules, no model: a full stop ends a sentence unless an abbreviation, an initial, a list number or a small letter after
it says otherwise; 。！？ end one at once, with the quotes and brackets that close behind them; a line break ends one
unless the text is wrapped at a fixed width (`polysemy.text.lines`). Only offsets are given, the text is never changed.

The lists are short on purpose: they name what was seen to go wrong in books, reviews, news and encyclopedias.
"""
from __future__ import annotations

import re

from polysemy.text.abbreviations import ABBREVIATIONS, ALSO_WORDS, BEFORE_NAMES, PERHAPS, STARTERS
from polysemy.text.lines import paragraph_spans

CLOSERS = "\"'”’»›)\\]}）】》〉」』〕＂"
OPENERS = "\"'“‘«‹(\\[{（【《〈「『〔¿¡_*–—-"
HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
WIDE = HAN + "\u3040-\u30ff\uff00-\uffef\u3000-\u303f“‘"

WIDE_MARKS = "。！？｡।॥؟۔"
# A run of end marks with the quotes and brackets that close behind it, before a space, the end or Chinese. It is taken
# whole or not at all (the looks back, the possessive repeats), so that no text costs more than linear time.
END = re.compile(
    rf"[.!?…{WIDE_MARKS}](?<![.!?…][.!?…])(?<!\.[ \u00a0]\.)[.!?…。！？]*+(?:[ \u00a0]\.)*+[{CLOSERS}]*+"
    rf"(?:(?<=[{CLOSERS}{WIDE_MARKS}])|(?=\s|\Z|[{WIDE}]))"
)
NEXT = re.compile(rf"\s*(?P<open>[{OPENERS}]*\s?)(?P<word>[^\W\d_]+|\d+)?")
WORD_BEFORE = re.compile(r"[^\s\"'“‘(\[{—–/-]*\Z")
# After 。！？ and their closing quotes these go on with the same sentence.
CONTINUES = "，、；：,;:。！？"
WIDE_QUOTES = "”’」』"
DOTTED = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]\Z")
LIST_NUMBER = re.compile(r"\s*[(\[]?(?:\d{1,3}|[ivxlcIVXLC]{1,5}|[A-Za-z])\Z")
VERBS = (
    "said|says|asked|asks|cried|replied|answered|exclaimed|shouted|whispered|murmured|muttered|returned|added|"
    "continued|repeated|remarked|inquired|demanded|called|thought|observed|began|ejaculated|screamed|growled"
)
SAID = re.compile(rf"(?:[A-Z][\w'’]*|[Hh]e|[Ss]he|[Tt]hey|I|[Ww]e)(?: [A-Z][\w'’]*)? (?:{VERBS})\b")
SAID_HAN = re.compile(rf"[{HAN}]{{1,8}}?(?:说|问|道|答|喊|叫|嚷|笑)[，。：！；,]")
UNCASED_EVIDENCE = 3
LONG_QUOTE = 4000


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """The sentences as (start, stop) character offsets, in order, without overlap or surrounding white space.

    Every character that is not white space lies in exactly one of them. Depends on the text alone.
    """
    spans: list[tuple[int, int]] = []
    soft: list[int] = []
    for start, stop in paragraph_spans(text):
        _split_paragraph(text, start, stop, spans, soft)
    if len(soft) >= UNCASED_EVIDENCE and len(soft) > 2 * len(spans):
        spans = _cut_at(text, spans, soft)
    return spans


def _split_paragraph(text: str, start: int, stop: int, spans: list[tuple[int, int]], soft: list[int]) -> None:
    """Append the sentences of one paragraph; `soft` takes the full stops that only a small letter argues against."""
    for match in END.finditer(text, start, stop):
        if match.end() >= stop:
            break
        verdict, end = border(text, start, match, stop)
        if verdict is None:
            soft.append(end)
        if not verdict or end >= stop:
            continue
        spans.append((start, end))
        start = end
        while text[start].isspace():  # a paragraph ends with something else
            start += 1
    spans.append((start, stop))


def border(text: str, start: int, match: re.Match[str], stop: int) -> tuple[bool | None, int]:
    """Does this mark within a paragraph end the sentence that began at `start`, and where; None as `_ends_sentence`."""
    first, end = match.span()
    if text[first] in WIDE_MARKS:
        goes_on = text[end] in CONTINUES or (text[end - 1] in WIDE_QUOTES and SAID_HAN.match(text, end, stop))
        return not goes_on, end
    return (True, end) if _plainly_ends(text, start, first, end) else _ends_sentence(text, start, match, stop)


def _plainly_ends(text: str, start: int, first: int, end: int) -> bool:
    """The case of nearly all sentences, quickly: a known-harmless word, one mark, one space, a capital letter."""
    if end - first != 1 or text[end] != " ":
        return False
    after = text[end + 1 : end + 3]
    if not (after[0].isupper() or (after[0] in "\"“‘(" and after[1:].isupper())):
        return False
    if text[first] != ".":
        return True
    before = text[text.rfind(" ", start, first) + 1 : first]
    return first - start > 10 and len(before) > 1 and before.isalpha() and before.lower() not in ABBREVIATIONS


def _ends_sentence(text: str, start: int, match: re.Match[str], stop: int) -> tuple[bool | None, int]:
    """Does this mark end the sentence that began at `start`, and where; None: only if the text has no capitals."""
    first, end = match.span()
    after = NEXT.match(text, end, stop)
    assert after is not None, "NEXT matches the empty string"
    word = after["word"] or ""
    if text[end:end + 3] in (' "', ' " ') and text.count('"', max(start, end - LONG_QUOTE), end) % 2:
        end += 2  # text that was cut into tokens: the quote stands apart and closes
    mark = match.group()
    if end >= stop or _is_wide(text[end]):
        return mark != "." or not _is_list_number(text, start, first), end
    if not word:  # a sign follows: a dash or comma goes on, an opening bracket or a new line does not
        return bool(after["open"].strip("-–— ")) or text[after.end():after.end() + 1] in "#$£€<&@", end
    if word[0].islower():
        if after["open"].endswith("(") and len(word) < 4 and text.startswith(")", after.end()):
            return True, end  # (a), (iv): an item of a list
        plain = mark[0] in ".!?" and len(mark) == 1 and text[first - 1:first].isalpha()
        return (None if plain and not _is_abbreviation(text, start, first, word) else False), end
    if mark.startswith(".") and not mark.startswith("..") and _is_abbreviation(text, start, first, word):
        return False, end
    if mark[-1] in "\"'”’" and SAID.match(text, after.start("word"), stop):
        return False, end
    return True, end


def _is_abbreviation(text: str, start: int, first: int, word: str) -> bool:
    """Is the full stop at `first` that of an abbreviation, an initial or a list number, given the word after it?"""
    found = WORD_BEFORE.search(text, max(start, first - 24), first)
    before = found.group() if found else ""
    if not before:
        return False
    if _is_list_number(text, start, first):
        return True
    lower = before.lower().strip("_*")
    opens = word.lower() in STARTERS
    if lower == "no":
        return word.isdigit()
    if lower in ALSO_WORDS and before[0].islower() and not word.isdigit():
        return False
    if lower in BEFORE_NAMES:
        return True
    if lower in PERHAPS or DOTTED.match(before) or (len(before) == 1 and before.isupper()):
        return not opens
    return False


def _is_list_number(text: str, start: int, first: int) -> bool:
    """Has the sentence so far nothing but a number, a letter or a Roman numeral?"""
    return first - start < 10 and LIST_NUMBER.match(text[start:first]) is not None and text[start:first] != "I"


def _is_wide(ch: str) -> bool:
    return "\u3000" <= ch <= "\u9fff" or "\uff00" <= ch <= "\uffef"


def _cut_at(text: str, spans: list[tuple[int, int]], cuts: list[int]) -> list[tuple[int, int]]:
    """Cut the spans once more, at these offsets."""
    result = []
    position = 0
    for start, stop in spans:
        while position < len(cuts) and cuts[position] < stop:
            cut = cuts[position]
            position += 1
            if cut <= start:
                continue
            result.append((start, cut))
            start = cut
            while text[start].isspace():
                start += 1
        result.append((start, stop))
    return result
