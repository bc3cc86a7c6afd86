"""`train` and `show`: from a corpus to a run folder, and the rows it is made from."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from polysemy.cli.printing import emit, note, plain, table
from polysemy.cli.recipes import configured
from polysemy.errors import InputError

DEFAULT_MINUTES = 10.0


def train(args: argparse.Namespace) -> None:
    """Train, or go on where the same command stopped; prints where the model is and what it reached."""
    from polysemy.models import find_recipe

    if find_recipe(args.recipe, trains=True).fit:
        _train_words(args)
        return
    if args.replay and not args.start:
        raise InputError("--replay must come with --from, which names the model whose old text is replayed")
    folder = Path(args.output)
    if args.resume and not (folder / "checkpoints" / "run.json").is_file():
        raise InputError(f"--resume must find a run, got {folder}, which holds none; leave it out to start one")
    config = started_config(args)
    budget = budget_of(args)
    corpus = corpus_of(args)

    from polysemy.cli.progress import TrainingProgress
    from polysemy.models import resolve
    from polysemy.runtime import set_threads
    from polysemy.text.tokenizer import Tokenizer
    from polysemy.training.replacing import replacing

    set_threads(args.threads)
    tokenizer = Tokenizer.load(args.tokenizer) if args.tokenizer else None
    with (replacing(folder, args.overwrite and not args.resume),
          TrainingProgress(f"{config.recipe} {config.size}") as progress):
        resolve(find_recipe(args.recipe).train)(
            config,
            corpus,
            folder,
            budget=budget,
            seed=args.seed,
            tokenizer=tokenizer,
            start_from=Path(args.start) if args.start else None,
            replay=args.replay,
            device=args.device,
            sharded=args.fsdp,
            unit=args.unit,
            progress=progress,
        )
    _tell(args, folder)


NEURAL_ONLY = {"tokenizer": "--tokenizer", "start": "--from", "replay": "--replay", "resume": "--resume",
               "fsdp": "--fsdp"}


def _train_words(args: argparse.Namespace) -> None:
    """Train a recipe that counts words or learns a vector each."""
    for name, flag in NEURAL_ONLY.items():
        if getattr(args, name):
            raise InputError(f"{flag} must be left out for {args.recipe}, which is trained anew in one go")
    if args.size != "mini" or args.device not in ("auto", "cpu"):
        given = "--size" if args.size != "mini" else "--device"
        raise InputError(f"{given} must be left out for {args.recipe}, which runs on the CPU; polysemy describe "
                         f"{args.recipe} lists its own settings")
    config, folder = configured(args), Path(args.output)
    budget = budget_of(args, default=False)
    corpus = labels_of(args) if getattr(config, "reads", "text") == "labels" else corpus_of(args)

    from polysemy.cli.progress import TrainingProgress
    from polysemy.training.replacing import replacing
    from polysemy.training.words import train_words

    with replacing(folder, args.overwrite), TrainingProgress(args.recipe, "words") as progress:
        train_words(config, corpus, folder, budget=budget, seed=args.seed, threads=args.threads, unit=args.unit,
                    progress=progress)
    _tell(args, folder)


def _tell(args: argparse.Namespace, folder: Path) -> None:
    """What the finished run read and reached, as a table or JSON."""
    result = summary(folder)
    note(reading(result["text"]))
    if "vocabulary" in result["text"]:
        _tell_words(args, result)
        return
    emit(
        args,
        result,
        table(
            ("model", "steps", "tokens", "seconds", "held-out loss"),
            [
                (
                    str(folder),
                    result["step"],
                    result["tokens"],
                    f"{result['seconds']:.0f}",
                    "-" if result["held_out_loss"] is None else f"{result['held_out_loss']:.4f}",
                )
            ],
            right="steps,tokens,seconds,held-out loss",
        ),
    )
    for row in result["forgetting"]:
        note(f"held-out loss on {row['text']} text: {row['before']:.3f} -> {row['after']:.3f} ({row['change']:+.3f})")


def _tell_words(args: argparse.Namespace, result: dict[str, Any]) -> None:
    """The same for a recipe of counts or word vectors."""
    text, loss = result["text"], result["loss"]
    header = ("model", "words", "vocabulary", "passes", "seconds", "loss")
    row = (result["output"], f"{text['kept_words']:,}", f"{text['vocabulary']:,}", f"{result['passes']:.3g}",
           f"{result['seconds']:.1f}", "-" if loss is None else f"{loss:.4f}")
    emit(args, result, table(header, [row], right=",".join(header[1:])))


def show(args: argparse.Namespace) -> None:
    """Real training rows of this recipe on this corpus, readable."""
    import tempfile

    from polysemy.models import find_recipe
    from polysemy.text.show import render
    from polysemy.text.tokenizer import Tokenizer
    from polysemy.training.prepared import prepare_text
    from polysemy.training.pretrain import make_batches

    if args.examples < 1:
        raise InputError(f"--examples must be at least 1, got {args.examples}")
    if find_recipe(args.recipe, trains=True).fit:
        raise InputError(f"recipe must be one that trains on rows of pieces, got {args.recipe}, which reads words")
    config = configured(args)
    corpus = corpus_of(args)
    tokenizer = Tokenizer.load(args.tokenizer) if args.tokenizer else None
    with tempfile.TemporaryDirectory(prefix="polysemy-") as work:
        text = prepare_text(corpus, config, work, tokenizer=tokenizer, unit=args.unit)
        rows = max(args.examples, 1)
        batches = make_batches(config, text.train, text.tokenizer, args.seed, batch_size=rows)
        batch = batches[args.step]
        names, both = getattr(config.segments, "pair_names", None), "previous_token" in config.heads
        print("\n\n".join(plain_lines(render(batch, text.tokenizer, row, pair_names=names, both=both))
                          for row in range(rows)))


def plain_lines(text: str) -> str:
    """`plain` for text of several lines."""
    return "\n".join(plain(line) for line in text.split("\n"))


RULES = {
    "blank-line": "documents end at blank lines", "line": "each line is a document", "file": "each file is a document",
    "heading": "documents begin at headings", "record": "each record is a document",
}


def corpus_of(args: argparse.Namespace) -> Any:
    """The corpus that the arguments name; says on standard error how it was read."""
    from polysemy.text.corpus import Corpus

    if not args.data:
        raise InputError("CORPUS must name at least one file or folder, got none; polysemy ladder --demo needs none")
    corpus = Corpus(args.data, document=args.document, strict=args.strict)
    note(
        f"{len(corpus.files)} file{'s' * (len(corpus.files) != 1)}, {corpus.bytes / 1e6:.1f} MB, "
        f"{RULES.get(corpus.document_rule, f'documents by the rules {corpus.document_rule}')}"
    )
    return corpus


def labels_of(args: argparse.Namespace) -> Any:
    """The labeled texts of the one file that the arguments name."""
    from polysemy.models.fasttext.labels import read_labels

    if len(args.data) != 1:
        raise InputError(f"CORPUS must name one file of labels and texts, got {len(args.data)} names")
    text, label = columns_of(args)
    return read_labels(args.data[0], text=text, label=label)


def columns_of(args: argparse.Namespace) -> tuple[str, str]:
    """The columns of text and label that --columns names, as A,B or as text=A,label=B."""
    from polysemy.text.labeled_columns import parse_columns

    found = parse_columns(args.columns, "classify")
    if len(found) != 2:
        raise InputError(f"--columns must be two names or numbers, as in text,label, got {args.columns!r}")
    return found["text"], found["label"]


def budget_of(args: argparse.Namespace, *, default: bool = True) -> Any:
    """Steps, minutes, epochs or tokens; when nothing was said ten minutes, or None without `default`."""
    from polysemy.training.budget import Budget

    names = ("steps", "minutes", "epochs", "tokens")
    given: dict[str, Any] = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if not given and not default:
        return None
    if not given:
        note(
            f"no budget was given: training for {DEFAULT_MINUTES:g} minutes (--minutes, --steps, --epochs or --tokens)"
        )
        given = {"minutes": DEFAULT_MINUTES}
    if "tokens" in given:
        given["tokens"] = int(given["tokens"])
    return Budget(**given)


def started_config(args: argparse.Namespace) -> Any:
    """The recipe's config, or with --from the config of that model under the settings given now."""
    if not args.start:
        return configured(args)
    from polysemy.artifact import read_folder
    from polysemy.cli.recipes import parsed_settings
    from polysemy.config import with_settings
    from polysemy.models.recipe import PretrainingConfig

    opened = read_folder(args.start)
    if opened.recipe != args.recipe:
        raise InputError(f"RECIPE must be that of the model to go on from, got {args.recipe} and a {opened.recipe}")
    return with_settings(PretrainingConfig.from_dict(opened.config["config"]), parsed_settings(args.settings))


def reading(text: dict[str, Any]) -> str:
    """One line: what was read, what was changed in reading, and by which encoder it was tokenized."""
    from dataclasses import fields

    from polysemy.text.counts import ReadingReport

    report = text["report"]
    known = {field.name: report[field.name] for field in fields(ReadingReport) if field.name in report}
    how, _, why = str(report.get("encoder", "")).partition(": ")
    encoder = f"; tokenized by the {how} encoder{f' ({why})' if why else ''}" if how else ""
    return f"trained on {text['words']:,} words: {ReadingReport(**known)}{encoder}"


def summary(folder: Path) -> dict[str, Any]:
    """What a finished run reached, from its config.json and metrics.jsonl."""
    import json

    from polysemy.artifact import read_json

    record = read_json(folder / "config.json")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines() if line.strip()]
    last = rows[-1] if rows else {}
    held_out = next((row["held_out_loss"] for row in reversed(rows) if "held_out_loss" in row), None)
    return {
        "output": str(folder),
        "recipe": record["recipe"],
        "step": last.get("step", 0),
        "tokens": last.get("tokens", 0),
        "seconds": last.get("seconds", 0.0),
        "loss": last.get("loss"),
        "passes": (record.get("results") or {}).get("epochs"),
        "held_out_loss": held_out,
        "forgetting": record.get("forgetting", []),
        "text": record["text"],
    }
