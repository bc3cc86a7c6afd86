"""Commands on word vectors: neighbors, analogy, similarity."""

from __future__ import annotations

import argparse
from typing import Any

from polysemy.cli.printing import emit, plain, table
from polysemy.errors import InputError

SCORES = {
    "add": "cos(w, {b}) + cos(w, {c}) - cos(w, {a}), 3CosAdd: a sum of cosines, from -3 to 3",
    "mul": "s(w, {b}) s(w, {c}) / s(w, {a}) with s = (1 + cos) / 2, 3CosMul: a ratio, from 0 on",
}
"""what `analogy` ranks by"""


def load(args: argparse.Namespace) -> Any:
    """The word vectors of `args.model`: a run folder, or a file of word2vec, GloVe or fastText (.vec)."""
    from pathlib import Path

    if Path(args.model).is_file():
        from polysemy.models.vector_files import read_vectors

        return read_vectors(args.model)
    import polysemy

    model = with_vectors(polysemy.load(args.model))
    if not hasattr(model, "most_similar"):
        raise InputError(f"model must have word vectors, got {args.model}; see polysemy recipes")
    return model


def with_vectors(model: Any) -> Any:
    """The model itself, or the word vectors of one that keeps a table of them inside (nnlm)."""
    body = getattr(getattr(model, "model", None), "body", None)
    if body is None or not hasattr(body, "word_vectors"):
        return model
    from polysemy.models.word_vectors import WordVectors

    return WordVectors(*body.word_vectors(model.tokenizer))


def neighbors(args: argparse.Namespace) -> None:
    """The words nearest to a word, or to the sum of several, by cosine."""
    _check_top(args)
    model = load(args)
    words = [written(model, word) for word in args.words]
    found = model.most_similar(words, topn=args.top, restrict_vocab=args.among)
    emit(
        args,
        {"words": words, "neighbors": [{"word": word, "cosine": cosine} for word, cosine in found],
         "known": [word in model for word in words]},
        f"{plain(' + '.join(words))}{_by_spelling(model, words)}\n" + _ranking("cosine", found),
    )


def analogy(args: argparse.Namespace) -> None:
    """A is to B as C is to ...: the best words by 3CosAdd or 3CosMul."""
    _check_top(args)
    model = load(args)
    a, b, c = (written(model, word) for word in (args.a, args.b, args.c))
    found = model.analogy(a, b, c, method=args.method, topn=args.top, restrict_vocab=args.among)
    emit(
        args,
        {"a": a, "b": b, "c": c, "method": args.method, "score": SCORES[args.method].format(a=a, b=b, c=c),
         "answers": [{"word": word, "score": score} for word, score in found]},
        f"{plain(a)} is to {plain(b)} as {plain(c)} is to ...\n{_ranking('score', found)}\n"
        + plain(f"score of a word w: {SCORES[args.method].format(a=a, b=b, c=c)}"),
    )


def similarity(args: argparse.Namespace) -> None:
    """The cosine of two words, or correlation with what people say about the pairs of files."""
    if len(args.words) == 2 and not args.pairs:
        model = load(args)
        first, second = (written(model, word) for word in args.words)
        cosine = model.similarity(first, second)
        emit(args, {"words": [first, second], "cosine": cosine}, f"{cosine:.4f}")
        return
    if args.words or not args.pairs:
        raise InputError(
            f"similarity must have two words, or --pairs with files or folders, got {len(args.words)} words"
            f"{' and --pairs' if args.pairs else ''}"
        )
    from polysemy.evaluation.words import band_rows, evaluate_words, find_sets, similarity_rows

    sets = {name: path for place in args.pairs for name, path in find_sets(place).pairs.items()}
    if not sets:
        raise InputError("--pairs must name files with lines `word word number`, got only analogies")
    found = evaluate_words(load(args), pairs=sets)["similarity"]
    scores = table(
        ("set", "Spearman", "95 % interval", "pairs answered", "unknown at the mean"),
        similarity_rows(found),
        right="Spearman,95 % interval,pairs answered,unknown at the mean",
    )
    bands = table(
        ("set", "rank of the rarer word", "pairs", "Spearman", "95 % interval"),
        band_rows(found),
        right="pairs,Spearman,95 % interval",
    )
    emit(args, {"similarity": found}, f"{scores}\n\n{bands}")


def written(model: Any, word: str) -> str:
    """The word as the model has it: small letters where the model knows no others."""
    rule = getattr(getattr(model, "vocabulary", None), "config", None)
    return word.lower() if word not in model and getattr(rule, "lowercase", word.lower() in model) else word


def _by_spelling(model: Any, words: list[str]) -> str:
    unknown = [word for word in words if word not in model]
    return f" ({plain(', '.join(unknown))}: not in the vocabulary, by its spelling)" if unknown else ""


def _ranking(name: str, found: list[tuple[str, float]]) -> str:
    rows = [(word, f"{score:.4f}", "▇" * round(20 * max(0.0, min(score, 1.5)))) for word, score in found]
    return table(("word", name, ""), rows, right=name)


def _check_top(args: argparse.Namespace) -> None:
    if args.top < 1:
        raise InputError(f"--top must be at least 1, got {args.top}")
    if args.among is not None and args.among < 1:
        raise InputError(f"--among must be at least 1, got {args.among}")
