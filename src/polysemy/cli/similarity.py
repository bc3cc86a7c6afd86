"""`similarity`: how alike two words are, two texts, or the pairs of a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from polysemy.cli import words
from polysemy.cli.printing import emit, lines_of, note, plain, table
from polysemy.errors import InputError


def similarity(args: argparse.Namespace) -> None:
    """The cosine of two words or texts, or of each pair of a file; agreement with people on sets of word pairs."""
    if args.file and (args.words or args.pairs):
        raise InputError("similarity must have two texts, --file or --pairs, got more than one of them")
    if args.file:
        of_file(args)
    elif args.pairs or len(args.words) != 2:
        words.similarity(args)
    else:
        of_two(args)


def of_two(args: argparse.Namespace) -> None:
    """Two words by their own vectors where the model has such; else two texts by the vectors of their wholes."""
    model, vectors = load(args)
    if hasattr(vectors, "most_similar") and all(single(word) for word in args.words):
        first, second = (words.written(vectors, word) for word in args.words)
        cosine = vectors.similarity(first, second)
        emit(args, {"words": [first, second], "cosine": cosine}, f"{cosine:.4f}")
        return
    cosine = float(_cosines(args, model, [args.words[0]], [args.words[1]])[0])
    emit(args, {"texts": args.words, "cosine": cosine}, f"{cosine:.4f}")


def of_file(args: argparse.Namespace) -> None:
    """The cosine of each pair of a table, its columns guessed and told, or of each line `text TAB text`."""
    first, second = pairs_of(args.file)
    model, _ = load(args)
    found = [float(cosine) for cosine in _cosines(args, model, first, second)]
    emit(args, {"pairs": [{"texts": [a, b], "cosine": c} for a, b, c in zip(first, second, found, strict=True)]},
         table(("cosine", "text", "text "), [(f"{c:.4f}", plain(a[:60]), plain(b[:60]))
                                             for a, b, c in zip(first, second, found, strict=True)], right="cosine"))


def pairs_of(path: str) -> tuple[list[str], list[str]]:
    """The two texts of each row; of plain lines the first two columns, further ones are left alone."""
    from polysemy.text.labeled import read_examples
    from polysemy.text.tables import RECORDS, LabelFile

    if path != "-" and LabelFile.at(path).suffix in (".tsv", ".csv", *RECORDS):
        found = read_examples(path, "embed")
        if not found.pair:  # no two columns look like texts of one kind: the first two, as of plain lines
            found = read_examples(path, "embed", "text=1,pair=2")
        note(found.note)
        return [item.text for item in found], [item.pair for item in found]
    rows = [line.split("\t") for line in lines_of(path)]
    for number, row in enumerate(rows, 1):
        if len(row) < 2 or not row[0].strip() or not row[1].strip():
            raise InputError(f"each line must be text TAB text with --file, got line {number} of {path}")
    return [row[0] for row in rows], [row[1] for row in rows]


def load(args: argparse.Namespace) -> tuple[Any, Any]:
    """The model of `args.model`, and the same or the word vectors inside of it."""
    if Path(args.model).is_file():
        model = words.load(args)
        return model, model
    import polysemy
    from polysemy.runtime import set_threads

    model = polysemy.load(args.model)
    if hasattr(model, "to"):
        set_threads(args.threads)
        model = model.to(args.device, args.dtype)
    return model, words.with_vectors(model)


def single(text: str) -> bool:
    """Whether a text is one word, as vectors of words know them: it holds no space and more than Chinese signs."""
    from polysemy.text.words import is_han

    return not any(ch.isspace() for ch in text) and (len(text) <= 4 or not all(is_han(ch) for ch in text))


def evaluate(model: Any, data: list[str] | None) -> dict[str, Any]:
    """How well cosines agree with people on pairs of texts with scores: the task `similarity` of `evaluate`."""
    from polysemy.evaluation.sentence_similarity import judge_similarity

    if not hasattr(model, "embed"):
        raise InputError("model must give vectors of texts for the task similarity, got one that does not")
    if not data or len(data) != 1:
        raise InputError("--data must name one file of pairs of texts with scores for the task similarity, got "
                         f"{len(data or ())} names")
    return judge_similarity(model, data[0])


def _cosines(args: argparse.Namespace, model: Any, first: list[str], second: list[str]) -> Any:
    from polysemy.models.sentence_vectors import cosines

    if not hasattr(model, "embed"):
        raise InputError(f"model must give vectors of texts, got {args.model}; see polysemy recipes")
    return cosines(model, first, second)
