"""The character n-grams of words and the rows they share: what lets fastText give a vector to a word it never saw.

The n-grams of a word are those of `<word>`, counted in characters of its UTF-8 form; an n-gram of one character that is
only a border is none. Each is hashed by 32-bit FNV-1a to one of `buckets` rows, so different n-grams may share one. The
original hashes bytes as signed numbers (a byte of 128 or more is extended by ones): its published files depend on it,
so it is done here too, and differs from FNV-1a proper for letters beyond ASCII.

Source: Bojanowski et al. 2017; facebookresearch/fastText, dictionary.cc. `</s>`, the end of a line, has no n-grams.
"""

from __future__ import annotations

END = "</s>"
"""The original's word for the end of a line."""
FNV_START, FNV_PRIME = 2166136261, 16777619


def hash_bytes(data: bytes) -> int:
    """32-bit FNV-1a of bytes taken as signed numbers, as the original does."""
    state = FNV_START
    for byte in data:
        state ^= byte if byte < 128 else byte | 0xFFFFFF00
        state = (state * FNV_PRIME) & 0xFFFFFFFF
    return state


def to_bytes(word: str) -> bytes:
    """The word in UTF-8; a byte that could not be decoded when it was read from a file comes back as it was."""
    return word.encode("utf-8", "surrogateescape")


def subwords(word: str, shortest: int = 3, longest: int = 6) -> list[str]:
    """The n-grams of a word in the original's order: by their first character, then by length; `longest` 0: none.

    >>> subwords("was", 3, 4)
    ['<wa', '<was', 'was', 'was>', 'as>']
    """
    if word == END:
        return []
    marked = f"<{word}>"
    found = []
    for start in range(len(marked)):
        for stop in range(start + shortest, min(start + longest, len(marked)) + 1):
            if stop - start > 1 or 0 < start < len(marked) - 1:
                found.append(marked[start:stop])
    return found


def subword_buckets(word: str, shortest: int, longest: int, buckets: int) -> list[int]:
    """The bucket, in 0..buckets-1, of each n-gram of a word, repeated ones repeated."""
    return [hash_bytes(to_bytes(gram)) % buckets for gram in subwords(word, shortest, longest)]
