"""Large documents are cut between paragraphs, else sentences, else words, never inside a character."""
from __future__ import annotations

from itertools import pairwise

import pytest

from polysemy.evaluation.sections import cut_text

TEXTS = {
    "paragraphs": "\n".join(f"Paragraph {number} says so. It says more." * (1 + number % 3) for number in range(80)),
    "one line": "A sentence of some words. " * 200,
    "no spaces": "字" * 3_000,
    "Han sentences": "这是一个句子。" * 400,
    "mixed": "short\n" + "x" * 2_000 + "\n" + "one two three " * 100,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("size", [50, 333])
def test_sections_cover_the_text_within_bounds(text: str, size: int) -> None:
    data = text.encode()
    places = list(cut_text(data, size))
    kept = "".join(data[start:stop].decode() for start, stop in places)
    assert kept.replace("\n", "") == text.replace("\n", "")
    assert all(0 < stop - start <= 2 * size for start, stop in places)
    assert all(data[stop:start] in (b"", b"\n") for (_, stop), (start, _) in pairwise(places))
    assert places[0][0] == 0
    assert places[-1][1] >= len(data) - 1


def test_a_section_ends_with_a_paragraph_or_sentence() -> None:
    data = TEXTS["paragraphs"].encode()
    assert all(data[stop : stop + 1] in (b"", b"\n") for _, stop in cut_text(data, 500))
    data = TEXTS["Han sentences"].encode()
    assert all(data[:stop].decode().endswith("。") for _, stop in cut_text(data, 500))
