"""Refuse to train on what is no text, or text in another encoding than it was read in."""
from __future__ import annotations

from polysemy.errors import InputError

MOST_REPLACED = 0.1
"""of the characters read; text in a western encoding of one byte a letter has some hundredths"""


def check_characters(replaced: int, read: int) -> None:
    """InputError when more than a tenth of the characters that a whole pass over a corpus read had to be replaced."""
    if replaced > MOST_REPLACED * read:
        raise InputError(f"corpus must be UTF-8 text, got {replaced:,} invalid bytes among {read:,} characters; it is "
                         "no text, or in another encoding: convert it (iconv -f ENCODING -t UTF-8)")
