"""Questions that word vectors are judged by: pairs of words with a similarity given by people, and analogies.

Only the reading and answering; coverage, intervals, totals and tables are made in polysemy.evaluation.words.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polysemy.errors import InputError

if TYPE_CHECKING:
    from polysemy.models.word_vectors import WordVectors

Pair = tuple[str, str, float]
Question = tuple[str, str, str, str]
UNKNOWN, WRONG, RIGHT = -1, 0, 1
MAX_BYTES = 64 << 20
NO_SECTION = "(no section)"
"""The name of analogies that stand before any section."""


def read_pairs(path: Path) -> list[Pair]:
    """(word, word, number) of each line; tab, comma or spaces separate, further columns are ignored.

    Empty lines, lines that begin with # and one header line (its third column is no number) are skipped; any other
    line without two words and a finite number is an InputError with its place.
    """
    pairs: list[Pair] = []
    for number, line in enumerate(_lines(path), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = _parts(line)
        try:
            score = float(parts[2])
            if not np.isfinite(score):
                raise ValueError
        except (ValueError, IndexError):
            if number == 1 and len(parts) > 2:
                continue
            raise InputError(f"pair must be word, word, number, got {line[:60]!r} at line {number} of {path}") from None
        pairs.append((parts[0], parts[1], score))
    if not pairs:
        raise InputError(f"pairs must be at least one, got none in {path}")
    return pairs


def read_analogies(path: Path) -> list[tuple[str, list[Question]]]:
    """(section, questions) of a file like questions-words.txt: `: name` begins a section, then four words a line."""
    sections: list[tuple[str, list[Question]]] = []
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        if line.startswith(":"):
            sections.append((line[1:].strip(), []))
            continue
        words = line.split()
        if len(words) != 4:
            raise InputError(f"analogy must be four words, got {line[:60]!r} at line {number} of {path}")
        if not sections:
            sections.append((NO_SECTION, []))
        sections[-1][1].append((words[0], words[1], words[2], words[3]))
    if not any(questions for _, questions in sections):
        raise InputError(f"analogies must be at least one, got none in {path}")
    return sections


def similarities(
    vectors: WordVectors, pairs: Sequence[Pair], *, restrict_vocab: int | None = None, fold: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Cosines beside the given numbers, float64 (pairs, 2), and bool (pairs,): were both words known?

    A word is looked up as it is written, then, with `fold`, in any case (the most frequent spelling wins), then by the
    model's subwords. Unknown pairs have cosine NaN.
    """
    from polysemy.models.vector_search import normalized

    look_up = _Finder(vectors, restrict_vocab, fold)
    words = list(dict.fromkeys(word for a, b, _ in pairs for word in (a, b)))
    found = {word: vector for word in words if (vector := look_up.vector(word)) is not None}
    units = dict(zip(found, normalized(np.stack(list(found.values()))), strict=True)) if found else {}
    result = np.array([(np.nan, score) for _, _, score in pairs], np.float64).reshape(-1, 2)
    known = np.array([a in units and b in units for a, b, _ in pairs], bool)
    for i in np.flatnonzero(known).tolist():
        result[i, 0] = units[pairs[i][0]] @ units[pairs[i][1]]
    return result, known


def correlations(first: np.ndarray, second: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    """((Pearson, p), (Spearman, p)); all NaN below three pairs or where one side is constant."""
    nothing = (float("nan"), float("nan"))
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return nothing, nothing
    from scipy import stats

    pearson: Any = stats.pearsonr(first, second)
    spearman: Any = stats.spearmanr(first, second)
    return (float(pearson[0]), float(pearson[1])), (float(spearman[0]), float(spearman[1]))


def answer(
    vectors: WordVectors,
    questions: Sequence[Question],
    *,
    method: str = "add",
    restrict_vocab: int | None = None,
    fold: bool = True,
) -> np.ndarray:
    """int8 (questions,): RIGHT, WRONG, or UNKNOWN where one of the four words is not in the (restricted) vocabulary.

    The answer to `a b c d` is the best word by 3CosAdd ("add") or 3CosMul ("mul") that is not a, b or c. With `fold`
    case is ignored, as in word2vec's compute-accuracy: of spellings that differ in case only the most frequent counts.
    """
    from polysemy.models.vector_analogies import answers

    if method not in ("add", "mul"):
        raise InputError(f"method must be add or mul, got {method!r}")
    look_up = _Finder(vectors, restrict_vocab, fold)
    ids = np.array([[look_up.index(word) for word in question] for question in questions], np.int64).reshape(-1, 4)
    known = (ids >= 0).all(1)
    result = np.full(len(ids), UNKNOWN, np.int8)
    found = answers(vectors.vectors, vectors.norms, look_up.rows, ids[known, :3], method=method)
    result[known] = np.where(found == ids[known, 3], RIGHT, WRONG)
    return result


class _Finder:
    """Finds words among the first `limit` of a vocabulary, in any case when `fold`."""

    def __init__(self, vectors: WordVectors, limit: int | None, fold: bool) -> None:
        self.vectors, self.fold = vectors, fold
        self.limit = len(vectors) if limit is None else min(limit, len(vectors))
        self.folded: dict[str, int] = {}
        if fold:
            for index in range(self.limit):
                self.folded.setdefault(vectors.index_to_key[index].upper(), index)

    @property
    def rows(self) -> np.ndarray:
        """int64: the words that may be answers, in order; of those equal but for case the first."""
        return np.fromiter(self.folded.values(), np.int64) if self.fold else np.arange(self.limit)

    def index(self, word: str) -> int:
        """The word's index, -1 when unknown."""
        if self.fold:
            return self.folded.get(word.upper(), -1)
        index = self.vectors.key_to_index.get(word, -1)
        return index if index < self.limit else -1

    def vector(self, word: str) -> np.ndarray | None:
        exact = self.vectors.key_to_index.get(word, -1)
        index = exact if 0 <= exact < self.limit else self.index(word)
        return self.vectors.missing(word) if index < 0 else np.asarray(self.vectors.vectors[index])


def _parts(line: str) -> list[str]:
    for separator in ("\t", ",", ";"):
        if line.count(separator) >= 2:
            return [part.strip() for part in line.split(separator)]
    return line.split()


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} must be at most {MAX_BYTES:,} bytes, got {path.stat().st_size:,}")
        return [line.rstrip("\r") for line in path.read_bytes().decode("utf-8-sig").split("\n")]
    except OSError as error:
        raise InputError(f"questions must be a readable file, got {path} ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"questions must be UTF-8, got byte {error.start} of {path}") from error
