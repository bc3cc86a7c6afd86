"""`senses`: the meanings of one word. Uses beside each other, a map of all uses in a corpus, and two examinations."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from polysemy.cli.printing import emit, note, plain, table, width
from polysemy.errors import InputError

PAGES, PICTURES = (".html", ".htm"), (".png",)
READS = {
    "word": "one vector for a word, whatever stands around it",
    "left": "read from the left: it knows what stands before the word and nothing behind it",
    "both": "read from both sides",
}
MOST_PAIRS = 6
"""pairs of sentences that are shown as columns; more are shown as rows"""
OTHERS = 200
"""other words, one a sentence, that say what any two words have in common"""
SHOWN, SIDE = 3, 46
"""examples of a group on the terminal, and columns on each side of the word"""


def senses(args: argparse.Namespace) -> None:
    """Do what is asked for: --in, --corpus, --evaluate or --pseudo."""
    asked = [name for name in ("in", "corpus", "evaluate", "pseudo") if getattr(args, f"{name}_") is not None]
    if len(asked) != 1:
        raise InputError("senses must have one of --in, --corpus, --evaluate and --pseudo, got "
                         f"{' and '.join(f'--{name}' for name in asked) or 'none'}")
    if (args.word is None) == (asked[0] in ("in", "corpus")):
        raise InputError(f"senses must have {'a' if args.word is None else 'no'} WORD with --{asked[0]}, got "
                         f"{'none' if args.word is None else args.word}")
    if args.output and asked[0] != "corpus":
        raise InputError(f"-o must go with --corpus, got it with --{asked[0]}")
    {"in": _compare, "corpus": _explore, "evaluate": _evaluate, "pseudo": _pseudo}[asked[0]](args)


def _open(path: str, args: argparse.Namespace) -> Any:
    """A table of word vectors (run folder or file), or a model that reads in context."""
    from polysemy.cli.words import load as load_vectors

    if Path(path).is_file():
        return load_vectors(argparse.Namespace(model=path))
    import polysemy

    model = polysemy.load(path)
    if hasattr(model, "find_vector"):
        return model
    if not hasattr(model, "run") or not hasattr(model, "encode"):
        raise InputError(f"model must give vectors of words, got {path}; see polysemy recipes")
    from polysemy.runtime import set_threads

    set_threads(args.threads)
    return model.to(args.device)


def _open_static(path: str, args: argparse.Namespace) -> Any:
    model = _open(path, args)
    if not hasattr(model, "find_vector"):
        raise InputError(f"--static must have word vectors, got {path}; train word2vec, glove or fasttext")
    return model


def _name(path: str) -> str:
    return Path(path).resolve().name


def _models(args: argparse.Namespace) -> Iterable[tuple[str, Any]]:
    """The models that stand beside each other, one at a time in memory: static ones first."""
    for path in [args.static] if args.static else []:
        yield _name(path), _open_static(path, args)
    for path in (args.model, *(args.beside or ())):
        yield _name(path), _open(path, args)


# uses beside each other


def _compare(args: argparse.Namespace) -> None:
    """Cosines of the word's vectors in the given sentences, a line a model."""
    from polysemy.evaluation.occurrences import choose_layer, pair_cosines, reads, use_in

    if len(args.in_) < 2:
        raise InputError(f"--in must be given for at least two sentences, got {len(args.in_)}")
    uses = [use_in(text, args.word) for text in args.in_]
    found = []
    for name, model in _models(args):
        layer = choose_layer(model, args.layer)
        cosines, others = pair_cosines(model, uses, layer)
        pairs = [{"first": i + 1, "second": j + 1, "cosine": float(cosines[i, j]),
                  "beyond": None if others is None else float(cosines[i, j]) - others}
                 for i in range(len(uses)) for j in range(i + 1, len(uses))]
        found.append({"model": name, "reads": reads(model), "layer": layer, "pairs": pairs, "other_words": others})
    same_left = len({use.text[:use.stop] for use in uses}) == 1
    lines = [f"{i:>3}  {plain(use.text[:use.start])}[{plain(use.word)}]{plain(use.text[use.stop:])}"
             for i, use in enumerate(uses, 1)]
    text = "\n".join(lines) + f"\n\n{_comparison(found)}\n\n{_why(found, same_left)}"
    emit(args, {"word": args.word, "sentences": [use.text for use in uses], "same_left": same_left, "models": found},
         text)


def _comparison(found: Sequence[dict[str, Any]]) -> str:
    pairs = [f"{pair['first']} and {pair['second']}" for pair in found[0]["pairs"]]
    others = ["-" if row["other_words"] is None else f"{row['other_words']:.2f}" for row in found]
    if len(pairs) <= MOST_PAIRS:
        header = ("model", "layer", *pairs, "other words")
        return table(header, [(row["model"], row["layer"], *(_cosine(pair["cosine"]) for pair in row["pairs"]), other)
                              for row, other in zip(found, others, strict=True)], right=",".join(header[1:]))
    header = ("sentences", *(f"{row['model']} {row['layer']}" for row in found))
    rows = [(pair, *(_cosine(row["pairs"][i]["cosine"]) for row in found)) for i, pair in enumerate(pairs)]
    return table(header, [*rows, ("other words", *others)], right=",".join(header[1:]))


def _cosine(value: float) -> str:
    """Two digits; 1.00 only where it is exactly that."""
    text = f"{value:.2f}"
    return text if value == 1 or text != "1.00" else f"{value:.6f}"


def _why(found: Sequence[dict[str, Any]], same_left: bool) -> str:
    lines = []
    for row in found:
        more = ""
        if row["reads"] == "left":
            more = ", the same in all sentences here" if same_left else ""
        lines.append(f"{plain(row['model'])}: {READS[row['reads']]}{more}")
    lines.append("other words: the mean cosine of different words in these sentences; only what is above it says "
                 "something")
    return "\n".join(lines)


# a corpus


def _explore(args: argparse.Namespace) -> None:
    """Group the uses of the word in a corpus; print them, or write the page and the picture."""
    from polysemy.evaluation.occurrences import choose_layer, find_uses, mean_of_others, use_vectors
    from polysemy.evaluation.usage_clusters import usage_map

    suffix = Path(args.output).suffix.lower() if args.output else ""
    if args.output and suffix not in (*PAGES, *PICTURES):
        raise InputError(f"-o must be a file name that ends in .html or .png, got {args.output}")
    if args.uses < 1:
        raise InputError(f"--uses must be at least 1, got {args.uses}")
    static = _open_static(args.static, args) if args.static else None
    model = _open(args.model, args)
    layer = choose_layer(model, args.layer)
    uses, seen = find_uses(_corpus(args, args.corpus_), args.word, args.uses, args.seed)
    if len(uses) < 2:
        raise InputError(f"word must stand at least twice in the corpus, got {args.word!r} "
                         + (f"{seen} times" if seen != 1 else "once"))
    note(f"{args.word!r} {seen:,} times; {len(uses):,} different sentences, "
         + ("" if layer == "static" else f"layer {layer} of ") + _name(args.model))
    found = usage_map(uses, use_vectors(model, uses, [layer])[layer], args.senses, args.seed)
    found["baseline"] = mean_of_others(model, uses, layer, OTHERS, args.seed)
    value = {"word": args.word, "model": _name(args.model), "layer": layer, "found": seen, **found}
    neighbors = _neighbors(static, args) if static is not None else None
    if args.output:
        _write(args, value, neighbors, seen)
    if args.json or not args.output:
        emit(args, value | {"output": args.output, "static": neighbors}, _groups(value))


def _corpus(args: argparse.Namespace, paths: Sequence[str]) -> Any:
    from polysemy.text.corpus import Corpus

    return Corpus([Path(path) for path in paths], document=args.document)


def _neighbors(static: Any, args: argparse.Namespace) -> dict[str, Any]:
    from polysemy.cli.words import written

    word = written(static, args.word)
    near = [(other, float(cosine)) for other, cosine in static.most_similar([word], topn=9)]
    return {"model": _name(args.static), "neighbors": near}


def _write(args: argparse.Namespace, value: dict[str, Any], static: dict[str, Any] | None, seen: int) -> None:
    from polysemy.report.senses_map import draw_map
    from polysemy.report.senses_page import write_page

    path = Path(args.output)
    told = value["model"] + ("" if value["layer"] == "static" else f", layer {value['layer']}")
    try:
        if path.suffix.lower() in PAGES:
            facts = (told, ", ".join(Path(name).name for name in args.corpus_[:3]),
                     f"a sample of {seen:,}" if seen > 2 * len(value["uses"]) else "")
            write_page(value, path, word=args.word, model=told, facts=facts, static=static)
        draw_map(value, path.with_suffix(".png"), word=args.word, model=told)
    except OSError as error:
        raise InputError(f"-o must be a file that can be written, got {path} ({error.strerror})") from error
    groups = len(value["senses"])
    note(f"{path}: {len(value['uses'])} uses in {groups} group{'s' * (groups > 1)}")


def _groups(value: dict[str, Any]) -> str:
    blocks = []
    for number, sense in enumerate(value["senses"], 1):
        lines = []
        for use in (value["uses"][i] for i in sense["examples"][:SHOWN]):
            left, right = plain(use["left"]), plain(use["right"])
            while width(left) > SIDE:
                left = left[1:]
            while width(right) > SIDE:
                right = right[:-1]
            lines.append(f"   {' ' * (SIDE - width(left))}{left}[{plain(use['word'])}]{right}")
        told = plain(", ".join(sense["words"]) or "no word tells it")
        blocks.append("\n".join([f"{number}. {told}: {sense['count']} uses", *lines]))
    return "\n\n".join(blocks)


# examinations


def _evaluate(args: argparse.Namespace) -> None:
    """Sense-tagged uses: nearest sense vector on every layer, beside the controls."""
    from polysemy.evaluation.sense_curves import from_occurrences, split_uses
    from polysemy.evaluation.static_senses import read_occurrences

    if len(args.evaluate_) > 2:
        raise InputError(f"--evaluate must be one file, or one for training and one for the test, got "
                         f"{len(args.evaluate_)}")
    files = [from_occurrences(read_occurrences(Path(path))) for path in args.evaluate_]
    train, test = files if len(files) == 2 else split_uses(files[0], args.seed)
    _judge(args, train, test, {"files": list(args.evaluate_)})


def _pseudo(args: argparse.Namespace) -> None:
    """Pseudo-words of a corpus: which of two merged words stood there?"""
    from polysemy.evaluation.pseudo_words import make_pseudo_words

    made = make_pseudo_words(_corpus(args, args.pseudo_), args.pairs, args.uses, args.seed)
    note(f"{len(made.train):,} uses for training, {len(made.test):,} for the test: "
         + ", ".join(f"{first} or {second}" for first, second in made.pairs))
    _judge(args, made.train, made.test, {"pairs": made.pairs})


def _judge(args: argparse.Namespace, train: Sequence[Any], test: Sequence[Any], value: dict[str, Any]) -> None:
    from polysemy.evaluation.sense_curves import judge_tables, judge_uses, static_tables

    results = []
    if args.static:
        static = _open_static(args.static, args)
        results.append({"model": _name(args.static)} | judge_tables(static_tables(static, train, test), train, test,
                                                                     seed=args.seed))
    for path in (args.model, *(args.beside or ())):
        model = _open(path, args)
        note(f"{_name(path)}: {len(train) + len(test):,} uses"
             + ("" if hasattr(model, "find_vector") else " on every layer, then on those of the untrained body"))
        found = judge_uses(model, train, test, control=True, seed=args.seed)
        results.append({"model": _name(path)} | found)
    emit(args, value | {"results": results}, f"{score_table(results)}\n{len(train):,} training and {len(test):,} test "
         f"uses of {len(results[0]['words'])} words with {results[0]['senses']} senses; macro F1 from 1, 3, 10, 30 "
         "uses a sense: mean of 5 draws; alike, others: mean cosine of two uses of a word, and of different words")


def score_table(results: Sequence[dict[str, Any]]) -> str:
    """A row for each layer and control of each model: macro F1 by training uses a sense, and accuracy."""
    shots = list(next(iter(results[0]["methods"][name]["curve"] for name in results[0]["methods"]
                           if "curve" in results[0]["methods"][name])))
    header = ("model", "vector", "accuracy", "macro F1", *(f"of {count}" for count in shots), "alike", "others")
    rows = []
    for number, result in enumerate(results):
        for name, scores in result["methods"].items():
            if name == "most_frequent" and number:
                continue
            curve = [f"{scores['curve'][count]['macro_f1']:.3f}" if "curve" in scores else "" for count in shots]
            rows.append(("" if name == "most_frequent" else result["model"], _told(name, scores),
                         f"{scores['accuracy']:.3f}", f"{scores['macro_f1']:.3f}", *curve,
                         *("" if scores.get(key) is None else f"{scores[key]:.2f}" for key in ("alike", "others"))))
    return table(header, rows, right=",".join(header[2:]))


def _told(name: str, scores: dict[str, Any]) -> str:
    return {"most_frequent": "always the commonest sense", "static": "the word's own vector",
            "context": "mean of the words around", "untrained": f"untrained, layer {scores.get('layer')}",
            "mean": "mean of all layers"}.get(name, f"layer {name}")
