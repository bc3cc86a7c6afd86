"""`glue`: models through a battery of tasks, one table."""
from __future__ import annotations

import argparse
from pathlib import Path

from polysemy.cli.printing import emit, note, table


def glue(args: argparse.Namespace) -> None:
    """Fine-tune each model on each set, print the table, keep everything in a JSON file that goes on when stopped."""
    from polysemy.evaluation.glue import GlueConfig, run_glue, table_of
    from polysemy.runtime import set_threads

    config = GlueConfig(
        tasks=tuple(name.strip() for name in (args.tasks or "").split(",") if name.strip()),
        seeds=args.seeds, epochs=args.epochs, minutes=args.minutes, learning_rate=args.learning_rate,
        batch_size=args.batch_size, length=args.length,
    )
    set_threads(args.threads)
    found = run_glue(args.models, args.data, Path(args.output), config, device=args.device, tell=note)
    header, rows = table_of(found)
    lines = ["", table(header, rows, right=",".join(header[1:])), "", found["note"]]
    if found["missing"] and not config.tasks:
        lines.append(f"not found in {args.data}: {', '.join(found['missing'])}")
    emit(args, found, "\n".join([*lines, *found["errors"], f"results: {args.output}"]))
