"""The command `polysemy`: reads the words, imports what the command needs, maps errors to exit codes.

0 done · 1 failed · 2 wrong use or bad input (one line) · 128 + signal when stopped.
Results go to standard output (`--json`: one JSON object), everything else to standard error.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Sequence

from polysemy.cli.arguments import Parser, build_parser
from polysemy.errors import InputError

__all__ = ["Parser", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code and never raises for what a user can mend."""
    words = list(sys.argv[1:] if argv is None else argv)
    # torch's idle threads would spin on the cores; asleep they cost little alone and far less beside other programs
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        args = build_parser().parse_args(words)
    except SystemExit as stop:
        return int(stop.code or 0)
    module, _, name = args.run.partition(":")
    if not os.environ.get("POLYSEMY_TRACEBACK"):
        warnings.simplefilter("ignore")
    try:
        getattr(importlib.import_module(f"polysemy.cli.{module}"), name)(args)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return say("stopped", 130)
    except MemoryError:
        return say("memory is used up; use a smaller --size or --set training.micro_batch_size=8", 1)
    except Exception as error:
        if os.environ.get("POLYSEMY_TRACEBACK"):
            raise
        return explain(error)


def explain(error: Exception) -> int:
    """One line on standard error, and the exit code that belongs to it."""
    code = getattr(error, "exit_code", None)
    if code is not None or isinstance(error, InputError):
        return say(str(error), 2 if code is None else int(code))
    if isinstance(error, ImportError) and error.name and not error.name.startswith("polysemy"):
        return say(f"package {error.name!r} is needed for this command; pip install {error.name}", 2)
    if isinstance(error, OSError) and error.filename is not None:
        return say(f"{error.filename}: {error.strerror}", 1)
    return say(f"{type(error).__name__}: {error} (POLYSEMY_TRACEBACK=1 shows where)", 1)


def say(message: str, code: int) -> int:
    """Print one line on standard error, without control characters, and return `code`."""
    from polysemy.cli.printing import plain

    print(f"polysemy: {plain(message)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
