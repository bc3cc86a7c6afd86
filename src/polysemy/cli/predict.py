"""`predict`: what a fine-tuned model says of texts, pairs, sentences or questions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from polysemy.cli.printing import emit, lines_of, note, plain, table
from polysemy.errors import InputError

TABLES = (".tsv", ".csv", ".jsonl", ".ndjson")
SHOWN = 60


def predict(args: argparse.Namespace) -> None:
    """A prediction for each example, in their order; with --json one object, `predictions` a list."""
    from polysemy.artifact import read_folder
    from polysemy.models.tasks import kind_of, task_of

    opened = read_folder(args.model, verify=False)
    if "task" not in opened.config:
        raise InputError(f"model must be one that was fine-tuned, got a {opened.recipe} in {args.model}; run: polysemy "
                         "finetune")
    task = task_of(opened.config["task"])
    if kind_of(task) == "embed":
        raise InputError(f"model must give labels, values, tags or answers, got {args.model}, which embeds; run: "
                         "polysemy embed")
    texts, pairs, examples = given(args, kind_of(task))

    import polysemy
    from polysemy.runtime import set_threads

    set_threads(args.threads)
    model = polysemy.load(args.model).to(args.device, args.dtype)
    found = model.predict(texts, pairs) if examples is None else model.predict_examples(examples)
    shown = _inputs(texts, pairs, examples)
    results = [{**source, **as_plain(one)} for source, one in zip(shown, found, strict=True)]
    emit(args, {"model": args.model, "task": kind_of(task), "predictions": results}, _as_text(kind_of(task), results))


def given(args: argparse.Namespace, kind: str) -> tuple[list[str], list[str] | None, Any]:
    """Texts (and their partners) of plain lines, or the examples of a table; says what was taken for what."""
    name = Path(args.data).name.lower()
    for ending in (".gz", ".xz", ".zst"):
        name = name.removesuffix(ending)
    suffix = Path(name).suffix
    forms = {"span": (".json",), "tag": (".jsonl", ".conll", ".bio", ".iob")}.get(kind, TABLES)
    if args.data != "-" and (suffix in forms or args.columns):
        from polysemy.text.labeled import read_examples

        found = read_examples(args.data, kind, args.columns, labels=False)
        note(found.note)
        return [], None, found
    if args.data != "-" and name != Path(args.data).name.lower():
        raise InputError(f"input must be plain lines, or a compressed table, got {args.data}; unpack it")
    lines = lines_of(args.data)
    if kind not in ("pair", "span") and not (kind == "regress" and "\t" in lines[0]):
        return lines, None, None
    cells = [line.split("\t") for line in lines]
    for number, row in enumerate(cells, start=1):
        if len(row) != 2 or not all(cell.strip() for cell in row):
            wanted = "question TAB text" if kind == "span" else "text TAB text"
            found = f"{len(row)} column{'s' * (len(row) != 1)}" if len(row) != 2 else "an empty one"
            raise InputError(f"each line must be {wanted}, got {found} in text {number} of {args.data}")
    return [first.strip() for first, _ in cells], [second.strip() for _, second in cells], None


def _inputs(texts: list[str], pairs: list[str] | None, examples: Any) -> list[dict[str, str]]:
    """What each prediction is about."""
    if examples is None:
        others = [None] * len(texts) if pairs is None else pairs
        return [{"text": text} | ({} if pair is None else {"pair": pair})
                for text, pair in zip(texts, others, strict=True)]
    found = []
    for item in examples:
        if hasattr(item, "question"):
            found.append({"id": item.id, "text": item.question})
        elif hasattr(item, "words"):
            found.append({"text": " ".join(item.words)})
        else:
            found.append({"text": item.text} | ({} if item.pair is None else {"pair": item.pair}))
    return found


def as_plain(prediction: Any) -> dict[str, Any]:
    """A prediction as plain values, without what its task does not give."""
    from dataclasses import asdict

    return {name: value for name, value in asdict(prediction).items() if value not in (None, {}, ())}


def _as_text(kind: str, results: list[dict[str, Any]]) -> str:
    if kind == "tag":
        return "\n\n".join("\n".join(f"{plain(word)}\t{tag}" for word, tag in
                                     zip(result["words"], result["tags"], strict=True)) for result in results)
    if kind == "regress":
        rows: list[tuple[object, ...]] = [(f"{one['value']:.4f}", _text(one)) for one in results]
        return table(("value", "text"), rows, right="value")
    if kind == "span":
        rows = [(_answer(one["answer"]), f"{one['probability']:.4f}", _text(one)) for one in results]
        return table(("answer", "probability", "question"), rows, right="probability")
    rows = [(one["label"], f"{one['probability']:.4f}", _text(one)) for one in results]
    return table(("label", "probability", "text"), rows, right="probability")


def _answer(answer: dict[str, Any]) -> str:
    """Where there is none the best span is named: a threshold decides, so it may be the likelier one."""
    return answer["text"] or (f"(no answer; best: {answer['span']})" if answer["span"] else "(no answer)")


def _text(result: dict[str, Any]) -> str:
    text = result["text"] + (f" | {result['pair']}" if "pair" in result else "")
    return text if len(text) <= SHOWN else text[:SHOWN - 1] + "…"
