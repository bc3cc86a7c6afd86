"""`generate`: what a model writes after a text, shown as it comes."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from polysemy.cli.printing import emit, lines_of, note, plain
from polysemy.cli.use import load
from polysemy.errors import InputError

SETTINGS = ("temperature", "top_k", "top_p", "repetition_penalty", "greedy", "weights")


def generate(args: argparse.Namespace) -> None:
    """The text with what the model writes after it; the same seed writes the same.  Ctrl-C prints what there is."""
    _check(args)
    model = load(args, "generate")
    if args.weights and getattr(getattr(model, "config", None), "recipe", "") != "gpt":
        note("--weights is for the compiled step of a GPT; this model writes with its own")
    settings = {name: getattr(args, name) for name in SETTINGS if getattr(args, name) not in (None, False)}
    if not hasattr(model, "stream"):
        _words(args, model, settings)
    elif args.text == "-":
        _many(args, model, settings)
    else:
        _stream(args, model, settings)


def _check(args: argparse.Namespace) -> None:
    if args.tokens < 1:
        raise InputError(f"--tokens must be at least 1, got {args.tokens}")
    if args.temperature is not None and not args.temperature > 0:
        raise InputError(f"--temperature must be above 0, got {args.temperature}; for the likeliest each time use "
                         "--greedy")
    if args.top_p is not None and not 0 < args.top_p <= 1:
        raise InputError(f"--top-p must be above 0 and at most 1, got {args.top_p}")
    if args.top_k is not None and args.top_k < 1:
        raise InputError(f"--top-k must be at least 1, got {args.top_k}")
    if args.repetition_penalty is not None and not args.repetition_penalty > 0:
        raise InputError(f"--repetition-penalty must be above 0, got {args.repetition_penalty}")


def _stream(args: argparse.Namespace, model: Any, settings: dict[str, Any]) -> None:
    stream = model.stream(args.text, args.tokens, seed=args.seed, **settings)
    shown = not args.json
    pieces = []
    if shown:
        print(lines(args.text), end="", flush=True)
    stopped = False
    try:
        for piece in stream:
            pieces.append(piece)
            if shown:
                print(lines(piece), end="", flush=True)
    except KeyboardInterrupt:
        stopped = True
    text = args.text + "".join(pieces)
    if shown:
        print()
    ended = "interrupt" if stopped else stream.ended
    if ended == "limit":
        note("the model has no position for more")
    if args.json:
        found = {"prompt": args.text, "text": text, "tokens": len(stream.ids), "ended": ended, "seed": args.seed}
        emit(args, found, "")
    if stopped:
        sys.stdout.flush()
        raise KeyboardInterrupt


def _many(args: argparse.Namespace, model: Any, settings: dict[str, Any]) -> None:
    """A text for each line of standard input, all at once."""
    prompts = lines_of("-")
    found = model.generate_many(prompts, args.tokens, seed=args.seed, **settings)
    results = [{"prompt": prompt, "text": text, "seed": args.seed} for prompt, text in zip(prompts, found, strict=True)]
    emit(args, {"results": results}, "\n".join(map(plain, found)))


def _words(args: argparse.Namespace, model: Any, settings: dict[str, Any]) -> None:
    """A model of counts writes words."""
    wrong = [name for name in SETTINGS[1:] if name in settings and name != "greedy"]
    if wrong or args.text == "-":
        raise InputError(f"--{(wrong or ['-'])[0].replace('_', '-')} must go with a neural model, got {args.model}")
    temperature = 0.0 if args.greedy else settings.get("temperature", 1.0)
    text = model.generate(args.text, args.tokens, seed=args.seed, temperature=temperature)
    emit(args, {"prompt": args.text, "text": text, "seed": args.seed}, plain(text))


def lines(text: str) -> str:
    """`plain` but for ends of lines."""
    return "\n".join(plain(line) for line in text.split("\n"))
