"""`demo`: single ideas of the field, shown in a few lines."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from polysemy.cli.printing import emit, note, table
from polysemy.errors import InputError

PICTURES = ("vanish", "scale", "heads", "masks")
"""demonstrations that -o draws"""


def demo(args: argparse.Namespace) -> None:
    """Run one demonstration and print what it found."""
    if args.output and args.name not in PICTURES:
        raise InputError(f"-o must go with {', '.join(PICTURES)}, got {args.name}, which has no picture")
    if args.output and Path(args.output).suffix.lower() not in (".png", ".svg"):
        raise InputError(f"picture must be a file name that ends in .png or .svg, got {args.output}")
    words = [word.strip() for word in (args.words or "").split(",") if word.strip()]
    if args.name in PICTURES:
        found = {"vanish": _vanish, "scale": _scale, "heads": _heads, "masks": _masks}[args.name](args)
        _draw(args, found)
    else:
        {"onehot": _one_hot, "ratios": _ratios}[args.name](args, words)


def _vanish(args: argparse.Namespace) -> dict[str, Any]:
    from polysemy.demos.vanish import KINDS, NAMES, told, vanish

    note("training three small models, some seconds each")
    found = vanish()
    lines, rows = told(found)
    header = ("distance", *(f"{NAMES[kind]} {when}" for when in ("fresh", "trained") for kind in KINDS),
              *(f"{NAMES[kind]} right" for kind in KINDS))
    emit(args, found, "\n".join([*lines, "", table(header, rows, right=",".join(header))]))
    return found


def _scale(args: argparse.Namespace) -> dict[str, Any]:
    from polysemy.demos.scale import scale, told

    found = scale()
    lines, rows = told(found)
    header = ("scores", "width", "deviation", "entropy", "largest weight", "gradient")
    emit(args, found, "\n".join([*lines, "", table(header, rows, right=",".join(header[1:]))]))
    return found


def _heads(args: argparse.Namespace) -> dict[str, Any]:
    from polysemy.demos.heads import heads, told

    note("training six small models, some seconds each")
    found = heads()
    lines, rows = told(found)
    header = ("heads", "numbers a head", "weights", "right", "loss")
    emit(args, found, "\n".join([*lines, "", table(header, rows, right=",".join(header))]))
    return found


def _masks(args: argparse.Namespace) -> dict[str, Any]:
    from polysemy.demos.masks import masks, told

    found = masks()
    emit(args, found, told(found))
    return found


def _draw(args: argparse.Namespace, found: dict[str, Any]) -> None:
    if not args.output:
        return
    from polysemy.report.demo_pictures import draw

    try:
        note(f"picture: {draw(args.name, found, args.output)}")
    except OSError as error:
        raise InputError(f"picture must be a file that can be written, got {args.output} ({error.strerror})") from error


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
