"""Every command and flag, in one literal place; nothing heavy is imported to answer `--help`."""

from __future__ import annotations

import argparse

from polysemy import __version__
from polysemy.cli import learning_arguments as learning
from polysemy.cli import use_arguments as use
from polysemy.cli.flags import Parser

USES = """\
main job:    polysemy ladder CORPUS --minutes 10 -o study        train every rung, judge alike, write study/report.html
one model:   polysemy train bert CORPUS -o runs/bert --minutes 20
             polysemy fill runs/bert "The [MASK] sat by the river bank."
no corpus?   polysemy ladder --demo -o study                      reads documentation that is already on this machine
"""


def build_parser() -> Parser:
    """The whole command line; `args.run` is `module:function` inside polysemy.cli."""
    parser = Parser(
        prog="polysemy",
        epilog=USES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train every way of representing language on your own text, judge them by the same "
        "questions, ship the one that fits.",
    )
    parser.add_argument("--version", action="version", version=f"polysemy {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    for add in (
        learning.ladder,
        learning.train,
        learning.finetune,
        use.predict,
        learning.show,
        learning.recipes,
        learning.describe,
        learning.evaluate,
        learning.compare,
        learning.glue,
        use.fill,
        use.score,
        use.generate,
        use.attention,
        use.senses,
        use.classify,
        use.embed,
        use.order,
        use.tokenize,
        use.neighbors,
        use.analogy,
        use.similarity,
        use.convert,
        use.demo,
    ):
        add(commands)
    return parser
