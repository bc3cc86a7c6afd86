"""`convert`: to and from the formats of other tools."""

from __future__ import annotations

import argparse

from polysemy.cli.printing import note


def convert(args: argparse.Namespace) -> None:
    """Write DST in another format; SRC is only read."""
    from polysemy.models.hugging_face import from_hugging_face, to_hugging_face

    if args.to == "hf":
        notes = to_hugging_face(args.source, args.target)
        note(f"{args.target}: opens with transformers' AutoModelForMaskedLM and AutoTokenizer")
    else:
        notes = from_hugging_face(args.source, args.target)
        note(f"{args.target}: use it with polysemy fill, embed, score, evaluate")
    for line in notes:
        note(line)
