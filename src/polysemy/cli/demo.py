"""`demo`: single ideas of the field, shown in a few lines."""

from __future__ import annotations

import argparse

from polysemy.cli.printing import emit, table
from polysemy.errors import InputError


def demo(args: argparse.Namespace) -> None:
    """Run one demonstration and print what it found."""
    words = [word.strip() for word in (args.words or "").split(",") if word.strip()]
    {"onehot": _one_hot, "ratios": _ratios}[args.name](args, words)


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
