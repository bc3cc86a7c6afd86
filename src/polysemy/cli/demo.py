"""`demo`: single ideas of the field, shown in a few lines."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from polysemy.cli.printing import emit, note, table
from polysemy.errors import InputError


def demo(args: argparse.Namespace) -> None:
    """Run one demonstration, print what it found, and draw it with -o."""
    words = [word.strip() for word in (args.words or "").split(",") if word.strip()]
    if args.name in DRAWN:
        _drawn(args)
        return
    if args.output:
        raise InputError(f"-o must go with a demonstration that has a picture ({', '.join(DRAWN)}), got {args.name}")
    {"onehot": _one_hot, "ratios": _ratios}[args.name](args, words)


DRAWN: dict[str, tuple[str, ...]] = {
    "vanish": ("distance", "rnn fresh", "lstm fresh", "attention fresh", "rnn", "lstm", "attention", "rnn right",
               "lstm right", "attention right"),
    "scale": ("way", "width", "deviation", "entropy", "largest weight", "gradient"),
    "heads": ("heads", "numbers a head", "weights", "right", "loss"),
    "masks": (),
    "positions": (),
    "schedule": ("budget", "linear", "cosine", "inverse_sqrt", "constant"),
}
"""demonstrations that train or compute something and draw it, with the headers of their tables"""


def _drawn(args: argparse.Namespace) -> None:
    import importlib

    if args.output and Path(args.output).suffix.lower() not in (".png", ".svg"):
        raise InputError(f"output must be a file name that ends in .png or .svg, got {args.output}")
    module = importlib.import_module(f"polysemy.demos.{args.name}")
    if args.name in ("vanish", "heads"):
        note(f"training {'three' if args.name == 'vanish' else 'six'} small models, up to a minute ...")
    found = getattr(module, args.name)()
    told = module.told(found)
    if isinstance(told, str):
        text = told
    else:
        lines, rows = told
        header = DRAWN[args.name] or _places(module.PLACES)
        text = "\n".join([*lines, "", table(header, rows, right=",".join(header[1:]))])
    if args.output:
        from polysemy.report.demo_pictures import draw

        draw(args.name, found, args.output)
        note(f"picture: {args.output}")
    emit(args, found, text)


def _places(places: Sequence[int]) -> tuple[str, ...]:
    return ("shift", *(f"{kind} at {place}" for kind in ("sines", "rotary") for place in places))


def _one_hot(args: argparse.Namespace, words: list[str]) -> None:
    from polysemy.demos.one_hot import WORDS, one_hot, told

    found = one_hot(words or WORDS)
    lines, rows = told(found)
    header = ("vocabulary", "numbers of a one-hot vector", "numbers of a vector", "numbers of the table")
    emit(args, found, "\n".join([*lines, "", table(header, rows, right=",".join(header))]))


def _ratios(args: argparse.Namespace, words: list[str]) -> None:
    from polysemy.demos.ratios import ratios

    if not args.model or len(words) < 3:
        raise InputError("demo ratios needs a GloVe model and --words FIRST,SECOND,PROBE..., as in: "
                         "polysemy demo ratios runs/glove --words ice,steam,solid,gas,water")
    rows = ratios(args.model, words[0], words[1], words[2:])
    header = ("probe", f"P(probe | {words[0]})", f"P(probe | {words[1]})", "ratio by counts", "ratio by vectors")
    shown = [
        (
            row["probe"],
            *(f"{chance:.2e}" for chance in row["counted"]),
            "-" if row["counted_ratio"] is None else f"{row['counted_ratio']:.3g}",
            f"{row['learned_ratio']:.3g}",
        )
        for row in rows
    ]
    text = table(header, shown, right=",".join(header[1:]))
    emit(args, {"rows": rows}, f"{text}\nfar above 1: goes with {words[0]}; far below: with {words[1]}; about 1: with "
         "both or neither")
