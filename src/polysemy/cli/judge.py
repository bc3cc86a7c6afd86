"""`ladder`, `evaluate` and `compare`: the same questions for every model, and the report."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from polysemy.cli.printing import emit, note, table
from polysemy.errors import InputError

TASKS = ("cloze", "perplexity", "loss", "order", "words", "classify", "similarity", "speed")
OF_TEXT = ("cloze", "perplexity", "loss", "order", "speed")


def ladder(args: argparse.Namespace) -> None:
    """Train every rung, judge, print the table and the recommendation, write the report."""
    from polysemy.artifact import read_json
    from polysemy.ladder.run import STUDY, Source, run_ladder
    from polysemy.ladder.settings import LadderConfig, purpose_and_task
    from polysemy.ladder.study import summary

    if args.demo and args.data:
        raise InputError(f"CORPUS must be left out with --demo, got {args.data[0]}")
    rungs = tuple(name.strip() for name in (args.rungs or "").split(",") if name.strip())
    purpose, task = purpose_and_task(args.purpose, args.task)
    config = LadderConfig(
        minutes=args.minutes,
        total=args.total,
        rungs=rungs,
        purpose=purpose,
        task=task,
        task_dev=args.task_dev,
        max_ms=args.max_ms,
        max_mb=args.max_mb,
        size=args.size or ("tiny" if args.demo else "mini"),
        seed=args.seed,
        quick=args.quick,
        unit=args.unit,
        threads=args.threads,
        device=args.device,
    )
    folder = Path(args.output)
    if args.demo:
        corpus, title = _demo_corpus(), "The documentation on this machine"
        if args.minutes is None and args.total is None:
            config = config.replace(minutes=DEMO_MINUTES, quick=True, rungs=rungs or DEMO_RUNGS)
    else:
        from polysemy.cli.train import corpus_of

        corpus, title = corpus_of(args), ""
    command = "polysemy " + shlex.join(sys.argv[1:])
    with Telling() as tell:
        report = run_ladder(
            Source(corpus=corpus, title=title, command=command), folder, config, overwrite=args.overwrite, tell=tell
        )
    study = read_json(folder / STUDY)
    header, rows, lines = summary(study)
    emit(
        args,
        {"report": str(report), "recommendation": study["recommendation"], "rungs": study["rungs"]},
        "\n".join(
            [
                "",
                table(header, rows, right="cloze,±,labels,± ,bits,loss,bits a byte,training,size,latency"),
                "",
                *lines,
                "",
                f"report: {report}",
            ]
        ),
    )


DEMO_MINUTES = 0.7
DEMO_RUNGS = ("unigram", "bigram", "random weights", "ngram", "cbow", "fasttext", "lstm", "gpt", "roberta")


def _demo_corpus() -> Any:
    from polysemy.ladder.demo_corpus import demo_corpus
    from polysemy.text.corpus import Corpus

    return Corpus([demo_corpus(progress=note)], document="blank-line")


class Telling:
    """Lines of progress on standard error; a passing line is overwritten on a terminal and left out of a log."""

    def __init__(self) -> None:
        self.terminal, self.open = sys.stderr.isatty(), False

    def __enter__(self) -> Telling:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def __call__(self, line: str, passing: bool) -> None:
        self._clear()
        if not passing:
            note(line)
        elif self.terminal:
            import shutil

            print(f"\r\x1b[2K{line[: shutil.get_terminal_size().columns - 1]}", end="", file=sys.stderr, flush=True)
            self.open = True

    def _clear(self) -> None:
        if self.open:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
            self.open = False


def evaluate(args: argparse.Namespace) -> None:
    """Judge one model; the results also go to evaluation.json in its folder, where `compare` finds them."""
    from polysemy.artifact import read_folder, write_json

    tasks = [name.strip() for name in (args.task or "").split(",") if name.strip()]
    unknown = [name for name in tasks if name not in TASKS]
    if unknown or (args.task is not None and not tasks):
        raise InputError(f"--task must be of {', '.join(TASKS)}, got {args.task!r}")
    opened = read_folder(args.model)
    if "task" in opened.config:
        from polysemy.cli.finetune import evaluate_task

        evaluate_task(args, opened)
        return

    import polysemy
    from polysemy.runtime import set_threads

    model = polysemy.load(args.model)
    if hasattr(model, "to"):
        set_threads(args.threads)
        model = model.to(args.device, args.dtype)
    tasks = tasks or _default_tasks(args, model, (opened.config.get("text") or {}).get("files"))
    found = {}
    if any(name in OF_TEXT for name in tasks):
        from polysemy.evaluation import evaluate as judge

        with tempfile.TemporaryDirectory(prefix="polysemy-") as work:
            source, items = _questions(args, opened, model, Path(work), "cloze" in tasks)
            found = judge(model, [name for name in tasks if name in OF_TEXT], source, items=items, folder=args.model)
    if "words" in tasks:
        found["words"] = _words(args, model)
    if "classify" in tasks:
        found["classify"] = _classes(args, model)
    if "similarity" in tasks:
        from polysemy.cli.similarity import evaluate as agreement

        found["similarity"] = agreement(model, args.data)
    result = {
        "model": args.model,
        **{key: value for task in found.values() for key, value in task.items() if not isinstance(value, dict)},
        "tasks": found,
    }
    write_json(opened.path / "evaluation.json", _with_older(opened, result))
    rows = [
        (task, name.replace("_", " "), _shown(value))
        for task, values in found.items()
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    rows += [
        (task, f"95 % interval of {_measured(task, name)}", "{:.4g} to {:.4g}".format(*value))
        for task, values in found.items()
        for name, value in values.items()
        if name.endswith("interval") and value
    ]
    told = ("label", "note", "random_order")
    remarks = [f"{task}: {values[name]}" for task, values in found.items() for name in told if values.get(name)]
    tables = [table(("task", "", "value"), rows, right="value")] if rows else []
    emit(args, result, "\n".join([*tables, *_word_tables(found.get("words", {})), *remarks]))


def _measured(task: str, name: str) -> str:
    """What the interval of this name is of."""
    if name == "interval":
        return "spearman" if task == "similarity" else "accuracy"
    return name.removesuffix("_interval").replace("_", " ")


def _with_older(opened: Any, result: dict[str, Any]) -> dict[str, Any]:
    """The result with the tasks that this very model was asked before and not now."""
    from polysemy.artifact import read_json

    path = opened.path / "evaluation.json"
    key = {name: entry["sha256"] for name, entry in opened.config.get("files", {}).items()}
    old = read_json(path) if path.is_file() else {}
    if not isinstance(old, dict) or old.get("files") != key:
        return {**result, "files": key}
    return {**old, **result, "files": key, "tasks": {**old.get("tasks", {}), **result["tasks"]}}


def _default_tasks(args: argparse.Namespace, model: Any, files: list[str] | None) -> list[str]:
    """What this model, trained on these files, can be asked with the files that were named."""
    words = hasattr(model, "most_similar") and bool(args.pairs or args.analogies or args.senses)
    text = bool(args.items or args.data or files) or not words  # vectors of another tool's file know no text
    asked = {
        "cloze": text and hasattr(model, "cloze_scores"),
        "perplexity": text and hasattr(model, "score"),
        "words": words,
        "classify": hasattr(model, "predict_many") and bool(args.data),
    }
    tasks = [name for name, can in asked.items() if can]
    if not tasks:
        raise InputError("--data must name a file of labels and texts to judge a classifier by, got none")
    return tasks


def _words(args: argparse.Namespace, model: Any) -> dict[str, Any]:
    """Similarity, analogies and senses of word vectors."""
    from polysemy.evaluation.words import evaluate_words, find_sets

    if not hasattr(model, "most_similar"):
        raise InputError(f"model must have word vectors for the task words, got {args.model}")
    if not (args.pairs or args.analogies or args.senses):
        raise InputError("--pairs, --analogies or --senses must name files for the task words, got none")
    pairs = {name: path for place in args.pairs or () for name, path in find_sets(place).pairs.items()}
    analogies = {name: path for place in args.analogies or () for name, path in find_sets(place).analogies.items()}
    senses = (Path(args.senses[0]), Path(args.senses[1])) if args.senses else None
    return evaluate_words(model, pairs=pairs, analogies=analogies, senses=senses)


def _classes(args: argparse.Namespace, model: Any) -> dict[str, Any]:
    """Accuracy, precision, recall and F1 of a classifier."""
    from polysemy.cli.train import columns_of
    from polysemy.models.fasttext.labels import read_labels

    if not hasattr(model, "predict_many"):
        raise InputError(f"model must be a classifier for the task classify, got {args.model}")
    if not args.data or len(args.data) != 1:
        raise InputError(f"--data must name one file of labels and texts, got {len(args.data or ())} names")
    text, label = columns_of(args)
    return model.evaluate(read_labels(args.data[0], text=text, label=label))


def _word_tables(found: dict[str, Any]) -> list[str]:
    from polysemy.evaluation.words import analogy_rows, similarity_rows

    tables = []
    if "similarity" in found:
        header = ("set", "Spearman", "95 % interval", "pairs answered", "unknown at the mean")
        tables.append(table(header, similarity_rows(found["similarity"]), right=",".join(header[1:])))
    if "analogies" in found:
        header = ("set", "part", "3CosAdd", "3CosMul", "answered")
        tables.append(table(header, analogy_rows(found["analogies"]), right=",".join(header[2:])))
    if "senses" in found:
        header = ("word", "senses", "test", "always the first sense", "static vector", "mean of the context")
        tables.append(table(header, _sense_rows(found["senses"]), right=",".join(header[1:])))
        tables.append("accuracy and macro F1; one vector a word can do no better than its most frequent sense")
    return tables


def _sense_rows(found: dict[str, Any]) -> list[tuple[object, ...]]:
    def scores(values: dict[str, Any]) -> list[str]:
        return [f"{100 * values[kind]['accuracy']:.1f} % / {values[kind]['macro_f1']:.3f}"
                for kind in ("most_frequent", "static", "context")]

    rows: list[tuple[object, ...]] = [(word, values["senses"], values["test"], *scores(values))
                                      for word, values in found["words"].items()]
    return [*rows, ("all", "", "", *scores(found))]


def _questions(args: argparse.Namespace, opened: Any, model: Any, work: Path, cloze: bool) -> tuple[Any, Any]:
    """The text to judge on, and the cloze questions if that task was asked for."""
    from polysemy.evaluation import QUICK, ClozeConfig, load_items, prepare_items, split_corpus
    from polysemy.evaluation.run_split import split_of_run
    from polysemy.text.corpus import Corpus

    if args.items:
        items = load_items(args.items)
        return items, items
    if args.data:
        split = split_corpus(Corpus(args.data), work / "split")
        note(
            "words are counted in 80 % of --data and questions asked from the rest; has the model read this text? "
            "That cannot be seen from here"
        )
    else:
        split = split_of_run(opened.config, work / "split")
    for line in split.describe():
        note(line)
    if not cloze:
        return split, None
    config = (QUICK if args.quick else ClozeConfig()).replace(seed=args.seed)
    items = prepare_items(split, work / "cloze.jsonl", config, getattr(model, "tokenizer", None))
    note(items.describe())
    return split, items


def compare(args: argparse.Namespace) -> None:
    """One report over several run folders, from their metrics.jsonl and evaluation.json."""
    from polysemy.ladder.compare import compare_runs

    report = compare_runs(args.models, args.output)
    note(f"report: {report}")


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
