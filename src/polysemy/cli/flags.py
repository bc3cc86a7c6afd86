"""The parser, and flags that several commands share."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line and exit with 2."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def command(commands: argparse._SubParsersAction, name: str, run: str, summary: str) -> Parser:
    """A command whose work `run` does: `module:function` inside polysemy.cli."""
    parser = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    parser.set_defaults(run=run)
    return parser


def corpus_flags(parser: Parser) -> None:
    """The text, and how it is cut into documents and words."""
    parser.add_argument(
        "data",
        nargs="*",
        metavar="CORPUS",
        help="text files, folders or globs: .txt .jsonl, .gz .xz; .zst and .parquet with the extra `formats`",
    )
    parser.add_argument(
        "--document",
        default="auto",
        choices=("auto", "blank-line", "line", "heading", "file"),
        help="what a document is (default: chosen from the file, and printed)",
    )
    parser.add_argument(
        "--unit",
        default="character",
        choices=("character", "word"),
        help="Chinese words: each character, or as a segmenter cuts them (extra `zh`)",
    )
    parser.add_argument(
        "--strict", action="store_true", help="refuse invalid UTF-8 with its place instead of replacing it"
    )


def columns_flag(parser: Parser) -> None:
    """Which columns of a table hold text and label."""
    parser.add_argument(
        "--columns",
        default="text,label",
        metavar="TEXT,LABEL",
        help="of a .tsv or .csv of labels: names, or numbers from 1 when its first line is no heading",
    )


def budget_flags(parser: Parser) -> None:
    """How long to train: one of four amounts."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--minutes", type=float, help="training time; the schedule follows the measured speed")
    group.add_argument("--steps", type=int, help="optimizer steps")
    group.add_argument("--epochs", type=float, help="passes over the text")
    group.add_argument("--tokens", type=float, help="tokens seen")


def machine_flags(parser: Parser, *, seed: bool = True) -> None:
    """Device, threads and, but for commands without randomness, the seed."""
    if seed:
        parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, help="threads to use (default: all cores of this process)")


def dtype_flag(parser: Parser, default: str = "auto") -> None:
    """How a model that reads texts multiplies; auto where speed counts, float32 where a score is told."""
    parser.add_argument("--dtype", default=default, choices=("auto", "float32", "bfloat16", "int16", "int8"),
                        help="how numbers are multiplied: auto is the fastest that moves cosines by some 1e-6 at most "
                        f"on a CPU; float32 is exact, int8 the fastest (default: {default})")


def json_flag(parser: Parser) -> None:
    """One JSON object instead of a table."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def output_flag(parser: Parser, what: str, *, required: bool = True) -> None:
    """Where the result goes."""
    parser.add_argument("-o", "--output", metavar="PATH", required=required, help=what)


def settings_flags(parser: Parser) -> None:
    """Size, preset and any setting of a recipe."""
    parser.add_argument(
        "--size", default="mini", help="tiny, mini, small, medium, base, large (ALBERT also xlarge, xxlarge)"
    )
    parser.add_argument(
        "--preset",
        default="ladder",
        choices=("ladder", "paper"),
        help="ladder: settings that learn most in minutes; paper: as published, for days of training",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="any setting, e.g. training.learning_rate=5e-4 (polysemy describe RECIPE lists them)",
    )
