"""Judging word vectors: similarity sets, analogies and senses, as plain values and as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polysemy.errors import InputError
from polysemy.evaluation.analogies import TOP_WORDS, judge_analogies
from polysemy.evaluation.similarity import judge_pairs
from polysemy.evaluation.static_senses import judge_senses, read_occurrences
from polysemy.models.vector_questions import NO_SECTION, read_analogies, read_pairs
from polysemy.models.word_vectors import WordVectors

SUFFIXES = (".txt", ".tsv", ".csv")


@dataclass(frozen=True)
class WordSets:
    """Files of questions by name."""

    pairs: dict[str, Path] = field(default_factory=dict)
    analogies: dict[str, Path] = field(default_factory=dict)


def find_sets(folder: str | Path) -> WordSets:
    """The similarity and analogy sets of a folder (.txt, .tsv, .csv), or a single file, told apart by what is in them.

    Files that are neither are passed over; none at all is an InputError.
    """
    folder, sets = Path(folder), WordSets()
    if not folder.exists():
        raise InputError(f"word sets must be a folder or file, got {folder}, which does not exist")
    files = [folder] if folder.is_file() else sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    for path in files:
        readers: Any = ((sets.analogies, read_analogies), (sets.pairs, read_pairs))
        for kind, read in readers:
            try:
                found = read(path)
            except InputError:
                continue
            if kind is sets.pairs or found[0][0] != NO_SECTION:
                kind[path.stem] = path
                break
    if not sets.pairs and not sets.analogies:
        raise InputError(
            f"word sets must hold lines `word word number` or `: section` and four words, got none in {folder}"
        )
    return sets


def evaluate_words(
    vectors: WordVectors,
    *,
    pairs: Mapping[str, Path] | Sequence[str | Path] | str | Path = (),
    analogies: Mapping[str, Path] | Sequence[str | Path] | str | Path = (),
    senses: tuple[Path, Path] | None = None,
    restrict_vocab: int | None = TOP_WORDS,
) -> dict[str, Any]:
    """Plain values for JSON and tables: {"similarity": {set: ...}, "analogies": {set: ...}, "senses": ...}.

    pairs, analogies: files, one or several, named by their stem unless a mapping names them; senses: files of training
    and of test occurrences. restrict_vocab limits analogies to so many of the most frequent words.
    """
    result: dict[str, Any] = {}
    if named := _named(pairs):
        result["similarity"] = {name: judge_pairs(vectors, path) for name, path in named.items()}
    if named := _named(analogies):
        result["analogies"] = {
            name: judge_analogies(vectors, path, restrict_vocab=restrict_vocab) for name, path in named.items()
        }
    if senses is not None:
        result["senses"] = judge_senses(vectors, read_occurrences(senses[0]), read_occurrences(senses[1]))
    if not result:
        raise InputError("word vectors must be judged by something, got no pairs, analogies or senses")
    return result


def similarity_rows(similarity: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows for a table: set, Spearman, 95 % interval, answered, with unknown pairs at the mean."""
    return [
        (name, _number(found["spearman"]), _interval(found["interval"]), f"{found['answered']:,}/{found['total']:,}",
         _number(found["spearman_all"]))
        for name, found in similarity.items()
    ]


def band_rows(similarity: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows for a table: set, ranks of the rarer word, pairs, Spearman, 95 % interval."""
    return [
        (name, f"{band['from_rank']:,}-{'' if band['to_rank'] is None else format(band['to_rank'], ',')}",
         f"{band['answered']:,}", _number(band["spearman"]), _interval(band["interval"]))
        for name, found in similarity.items() for band in found["bands"]
    ]


def analogy_rows(analogies: Mapping[str, Any], *, sections: bool = False) -> list[tuple[str, ...]]:
    """Rows for a table: set, part, 3CosAdd and 3CosMul accuracy of the answered, answered of total."""
    rows = []
    for name, found in analogies.items():
        parts = {"all": found["add"], "semantic": found["add"]["semantic"], "syntactic": found["add"]["syntactic"]}
        other = {"all": found["mul"], "semantic": found["mul"]["semantic"], "syntactic": found["mul"]["syntactic"]}
        if sections:
            parts, other = parts | found["add"]["sections"], other | found["mul"]["sections"]
        rows += [
            (name, part, _percent(value["accuracy"]), _percent(other[part]["accuracy"]),
             f"{value['answered']:,}/{value['total']:,}")
            for part, value in parts.items()
        ]
    return rows


def _named(files: Mapping[str, Path] | Sequence[str | Path] | str | Path) -> dict[str, Path]:
    if isinstance(files, Mapping):
        return {name: Path(path) for name, path in files.items()}
    paths = [files] if isinstance(files, str | Path) else list(files)
    return {Path(path).stem: Path(path) for path in paths}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(value: Sequence[float] | None) -> str:
    return "-" if value is None else f"{value[0]:.3f} to {value[1]:.3f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
