"""`finetune`, and `evaluate` for what it made: from labeled examples to a model of a task."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from polysemy.cli.printing import emit, note, table
from polysemy.errors import InputError
from polysemy.models.tasks import SPAN_SETTINGS, Span

KINDS = ("classify", "pair", "regress", "tag", "span")
NAMED = ("epochs", "steps", "minutes", "learning_rate", "batch_size", "length", "layer_decay", "freeze", "reinit",
         "reuse_layers", "patience")
"""settings with a flag of their own, none where it was not given"""
SWITCHES = ("gradual", "probe")
NOT_OF_EMBED = ("steps", "minutes", "layer_decay", "freeze", "reinit", "reuse_layers", "patience", "class_weights",
                "metric")
NOT_OF_PROBE = (*NAMED, "class_weights", "metric")
"""nothing of the model is trained, and its rows are as long as it reads"""
MOST_COLUMNS = 4
"""metrics that stand beside each other; more stand below each other"""


def finetune(args: argparse.Namespace) -> None:
    """Fine-tune, or go on where the same command stopped; prints what the model reached."""
    spans = _span_settings(args)
    if args.task == "embed":
        _embed(args)
        return
    if args.probe:
        _refuse(args, NOT_OF_PROBE, ("gradual",), "--probe")
        if args.settings:
            raise InputError(f"--set must be left out for --probe, got {args.settings[0]}")
    if args.twins:
        raise InputError(f"--from-text must go with --task embed, got --task {args.task}")
    train, dev = _read(args.train, args), _read(args.dev, args) if args.dev else None

    from polysemy.evaluation.task_metrics import headline
    from polysemy.runtime import set_threads
    from polysemy.training.fine_tuning_start import task_for

    set_threads(args.threads)
    task = task_for(args.task, train, dev).replace(**spans)
    if args.probe:
        _probe(args, task, train, dev)
        return
    from polysemy.cli.progress import TrainingProgress
    from polysemy.evaluation.task_metrics import task_metrics
    from polysemy.training.fine_tuning_run import Judge
    from polysemy.training.finetune import finetune as fine_tune
    from polysemy.training.replacing import replacing

    judge = Judge(task_metrics, args.metric or headline(task))
    _check_metric(judge, task)
    with (replacing(Path(args.output), args.overwrite),
          TrainingProgress(f"{Path(args.model).name} -> {Path(args.output).name}") as progress):
        results = fine_tune(args.model, task, train, dev, args.output, config_of(args), seed=args.seed, judge=judge,
                            device=args.device, progress=progress, tell=note)
    _tell(args, results)


def config_of(args: argparse.Namespace) -> Any:
    """The settings that the flags and --set ask for."""
    from polysemy.cli.recipes import parsed_settings
    from polysemy.config import with_settings
    from polysemy.training.fine_tuning_config import FineTuningConfig

    given: dict[str, Any] = {name: getattr(args, name) for name in NAMED if getattr(args, name) is not None}
    if args.class_weights is not None:
        given["class_weights"] = args.class_weights
    config = FineTuningConfig(**given, gradual=args.gradual, seeds=args.seeds)
    settings = parsed_settings(args.settings)
    return with_settings(config, {key: value for key, value in settings.items() if key not in SPAN_SETTINGS})


def _span_settings(args: argparse.Namespace) -> dict[str, int]:
    """What --set says of windows and answers; InputError for a task that has none, and for what is no number."""
    from polysemy.cli.recipes import parsed_settings
    from polysemy.config import with_settings

    given = {key: value for key, value in parsed_settings(args.settings).items() if key in SPAN_SETTINGS}
    if given and args.task != "span":
        raise InputError(f"--set {next(iter(given))} must go with --task span, got --task {args.task}")
    task = with_settings(Span(), given)
    return {key: getattr(task, key) for key in given}


def _read(path: str, args: argparse.Namespace, *, kind: str = "", labels: bool = True) -> Any:
    """The examples of a file; says what was taken for what."""
    from polysemy.text.labeled import read_examples

    found = read_examples(path, kind or args.task, args.columns, labels=labels)
    note(found.note)
    for line in found.warnings:
        note(line)
    return found


def _check_metric(judge: Any, task: Any) -> None:
    """InputError for a metric that this task does not have, before anything is trained."""
    names = {"Classify": ("accuracy", "f1", "macro_f1", "matthews"), "Regress": ("pearson", "spearman"),
             "Tag": ("f1", "precision", "recall", "accuracy"), "Span": ("f1", "exact_match")}[type(task).__name__]
    if len(getattr(task, "labels", ())) > 2 and "macro_f1" in names:
        names = tuple(name for name in names if name != "f1")  # is that of one label against one other
    if judge.headline not in names:
        raise InputError(f"--metric must be {' | '.join(names)} for this task, got {judge.headline!r}")


def _tell(args: argparse.Namespace, results: dict[str, Any]) -> None:
    metrics = {name.replace("_", " "): f"{value:.4f}" for name, value in results["metrics"].items()
               if isinstance(value, int | float)}
    facts = {"model": str(args.output), "best epoch" if metrics else "last epoch": str(results["epoch"]),
             "steps": f"{results['step']:,}", "seconds": f"{results['seconds']:.1f}"}
    wide = len(metrics) > MOST_COLUMNS
    header = tuple(facts) if wide else (*facts, *metrics)
    lines = [table(header, [[(facts | metrics)[name] for name in header]], right=",".join(header[1:]))]
    if wide:
        lines += ["", table((f"{results['dev_examples']:,} examples of dev", "value"), metrics.items(), right="value")]
    if len(results["seeds"]) > 1 and results["median"] is not None:
        scores = ", ".join(f"{one['score']:.4f}" for one in results["seeds"] if one["score"] is not None)
        lines.append(f"{results['headline']} by seed: {scores}; median {results['median']:.4f}, standard deviation "
                     f"{results['spread'] or 0:.4f}; the best is kept")
    if results.get("mix"):
        lines.append("the mix of layers: " + ", ".join(f"{name} {share:.3f}" for name, share in results["mix"].items()))
    emit(args, {"output": str(args.output), **results}, "\n".join(lines))


def _embed(args: argparse.Namespace) -> None:
    _refuse(args, NOT_OF_EMBED, SWITCHES, "--task embed")
    from polysemy.cli.embedder import embed
    from polysemy.training.replacing import replacing

    args.pairs = args.twins
    with replacing(Path(args.output), args.overwrite):
        embed(args)


def _refuse(args: argparse.Namespace, names: Sequence[str], switches: Sequence[str], what: str) -> None:
    """InputError for a flag that was given and means nothing to `what`."""
    given = [name for name in names if getattr(args, name) is not None]
    given += [name for name in switches if getattr(args, name)] + ["seeds"] * (args.seeds != 1)
    if given:
        raise InputError(f"--{given[0].replace('_', '-')} must be left out for {what}")


def _probe(args: argparse.Namespace, task: Any, train: Any, dev: Any) -> None:
    """A linear model on every layer: table, and the picture in the output folder."""
    from polysemy.models.fine_tuning import opened
    from polysemy.report.layers_picture import table_rows, write_probe
    from polysemy.training.fine_tuning_start import split_dev
    from polysemy.training.probe import probe

    if dev is None:
        train, dev = split_dev(train)
        if dev is None:
            raise InputError(f"--dev must name a file for --probe, got none and only {len(train)} examples to train on")
        note(f"no --dev was given: {len(dev):,} of {len(train) + len(dev):,} examples were held out for it")
    out = Path(args.output)
    if args.overwrite and out.exists() and any(out.iterdir()) and not (out / "probe.json").is_file():
        raise InputError(f"--overwrite must name the folder of a probe, got {out}, which holds something else")
    result = probe(opened(args.model).to(args.device), task, train, dev, seed=args.seed)
    write_probe(args.output, result, overwrite=args.overwrite)
    header, rows = table_rows(result)
    emit(args, {"output": str(args.output), **result}, table(header, rows, right=",".join(header[1:]))
         + f"\nlayers.png and probe.json are in {args.output}")


def evaluate_task(args: argparse.Namespace, opened: Any) -> None:
    """Judge a fine-tuned model on labeled examples; the result also goes to evaluation.json in its folder."""
    import polysemy
    from polysemy.artifact import write_json
    from polysemy.evaluation.task_metrics import task_metrics
    from polysemy.models.tasks import kind_of, task_of
    from polysemy.runtime import set_threads

    if not args.data or len(args.data) != 1:
        raise InputError(f"--data must name one file of examples to judge a fine-tuned model by, got "
                         f"{len(args.data or ())} names")
    if args.task is not None:
        raise InputError(f"--task must be left out for a fine-tuned model, which has one, got {args.task!r}")
    task = task_of(opened.config["task"])
    columns = None if args.columns == "text,label" else args.columns
    set_threads(args.threads)
    if kind_of(task) == "embed":
        from polysemy.cli.embedder import tell_notes
        from polysemy.evaluation.sentence_similarity import judge_similarity
        from polysemy.text.sentence_examples import read_scored

        examples: Any = read_scored(args.data[0], columns)
        tell_notes(examples)
        metrics = judge_similarity(polysemy.load(args.model).to(args.device, args.dtype), examples)
    else:
        args.columns = columns
        examples = _read(args.data[0], args, kind=kind_of(task))
        model = polysemy.load(args.model).to(args.device, args.dtype)
        check_known(examples, task)
        metrics = dict(task_metrics(task, model.predict_examples(examples), examples))
    result = {"model": args.model, "task": kind_of(task), "examples": len(examples), "dtype": args.dtype, **metrics}
    write_json(opened.path / "evaluation.json", {
        **result, "tasks": {kind_of(task): metrics},
        "files": {name: entry["sha256"] for name, entry in opened.config.get("files", {}).items()}})
    rows = [(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else f"{value:.4f}")
            for name, value in metrics.items() if isinstance(value, int | float)]
    emit(args, result, table((f"{kind_of(task)}, {len(examples):,} examples", "value"), rows, right="value"))


def check_known(examples: Any, task: Any) -> None:
    """InputError with file and line for a label that the model does not know."""
    known: tuple[str, ...] = getattr(task, "labels", ())
    for item in examples if known else ():
        for label in getattr(item, "tags", None) or (item.label,):
            if label is not None and label not in known:
                raise InputError(f"{examples.path}, line {item.row:,}: label must be one that the model knows "
                                 f"({', '.join(map(repr, known))[:200]}), got {label!r}")
