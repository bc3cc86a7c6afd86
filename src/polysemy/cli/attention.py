"""`attention`: what each piece of a text looked at, as a table, a page that opens offline, or a picture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polysemy.cli.printing import emit, note, table
from polysemy.errors import InputError

if TYPE_CHECKING:
    from polysemy.models.attention_labels import Labels
    from polysemy.models.attention_maps import AttentionMap

TOP = 3
PAGES, PICTURES = (".html", ".htm"), (".png",)


def attention(args: argparse.Namespace) -> None:
    """Print for each piece the three it looks at most, or write all weights to the file of -o."""
    from polysemy.models.attention_labels import labels
    from polysemy.models.attention_maps import attention_of, choose, in_words, strongest

    suffix = Path(args.output).suffix.lower() if args.output else ""
    if args.output and suffix not in (*PAGES, *PICTURES):
        raise InputError(f"output must be a file name that ends in .html or .png, got {args.output}")
    if args.head == "all" and suffix not in PICTURES:
        raise InputError("--head must be a number or mean, got all; all heads are drawn with -o NAME.png, and every "
                         "page has them")
    model = _load(args)
    texts = [args.text] if args.pair is None else [args.text, args.pair]
    found = attention_of(model, *texts)
    names = labels(found.pieces, model.tokenizer, texts)
    found = found._replace(pieces=names.pieces)
    weights = None if args.head == "all" else choose(found, args.layer, args.head)  # refused before a file is written
    if args.output:
        return _write(args, found, names, " / ".join(texts))
    shown = in_words(found, names.words) if args.words else found
    weights = choose(shown, args.layer, args.head) if args.words else weights
    assert weights is not None
    looks = strongest(weights, TOP)
    rows = [(piece, *(f"{shown.asked[j]} {100 * weight:.0f} %" for j, weight in row), *[""] * (TOP - len(row)))
            for piece, row in zip(shown.pieces, looks, strict=True)]
    text = table(("piece", "looks at", "then", "then"), rows)
    emit(args, _value(args, shown, looks), f"{text}\n{_which(args)}; weights are not an explanation (-o NAME.html "
         "shows all of them)")


def _load(args: argparse.Namespace) -> Any:
    """The model; InputError when it has no attention."""
    import polysemy
    from polysemy.artifact import read_json
    from polysemy.runtime import set_threads

    model = polysemy.load(args.model)
    if not hasattr(model, "attention"):
        recipe = read_json(Path(args.model) / "config.json")["recipe"]
        raise InputError(f"model must have attention, got {args.model}, a {recipe}, which has none")
    if hasattr(model, "to"):
        set_threads(args.threads)
        model = model.to(args.device)
    return model


def _write(args: argparse.Namespace, found: AttentionMap, names: Labels, title: str) -> None:
    path = Path(args.output)
    try:
        if path.suffix.lower() in PAGES:
            from polysemy.report.attention import Names, write_view

            write_view(found, path, title=title, model=str(args.model), words=args.words, names=Names(names),
                       start=(args.layer, args.head))
        else:
            from polysemy.models.attention_maps import in_words
            from polysemy.report.attention_picture import draw

            head = None if args.head == "all" else args.head
            title = f"{Path(args.model).name}, {_which(args)}: {title}"
            draw(in_words(found, names.words) if args.words else found, path, layer=args.layer, head=head, title=title)
    except OSError as error:
        raise InputError(f"output must be a file that can be written, got {path} ({error.strerror})") from error
    layers, heads = found.weights.shape[:2]
    note(f"{path}: {layers} layers, {heads} heads, {len(found.pieces)} pieces")
    if args.json:
        emit(args, {"text": args.text, "output": str(path), "layers": layers, "heads": heads,
                    "pieces": found.pieces}, "")


def _value(args: argparse.Namespace, shown: AttentionMap, looks: list[list[tuple[int, float]]]) -> dict[str, Any]:
    return {"text": args.text, "pair": args.pair, "layer": str(args.layer), "head": str(args.head),
            "pieces": shown.pieces,
            "looks": [[{"piece": shown.asked[j], "index": j, "weight": weight} for j, weight in row] for row in looks]}


def _which(args: argparse.Namespace) -> str:
    layer = {"mean": "mean of all layers", "rollout": "rollout through all layers", "-1": "last layer"}.get(
        str(args.layer), f"layer {args.layer}")
    head = {"mean": "mean of its heads", "all": "all heads"}.get(args.head, f"head {args.head}")
    return layer if args.layer == "rollout" else f"{layer}, {head}"
