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
    settings = _settings(args)
    model = load(args, "generate")
    if args.weights and getattr(getattr(model, "config", None), "recipe", "") != "gpt":
        note("--weights is for the compiled step of a GPT; this model writes with its own")
    if not hasattr(model, "stream"):
        _words(args, model, settings)
    elif args.text == "-":
        _many(args, model, settings)
    else:
        _stream(args, model, settings)


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """What was said of how to write, held against the rules before a model is loaded."""
    from polysemy.decoding.sampling import GenerationConfig

    given = {name: getattr(args, name) for name in SETTINGS}
    settings = {name: value for name, value in given.items() if value is not None and value is not False}
    needless = next((name for name in ("temperature", "top_k", "top_p") if args.greedy and name in settings), None)
    if needless:
        raise InputError(f"--greedy must stand without {_flag(needless)}, which it would overrule; leave one out")
    try:
        GenerationConfig(tokens=args.tokens, seed=args.seed, **settings)
    except InputError as error:
        name, _, rule = str(error).partition(" ")
        raise InputError(f"{_flag(name)} {rule}") from None
    return settings


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


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
    found = model.write_many(prompts, args.tokens, seed=args.seed, **settings)
    results = [{"prompt": prompt, "text": text, "tokens": tokens, "ended": ended, "seed": args.seed}
               for prompt, (text, tokens, ended) in zip(prompts, found, strict=True)]
    emit(args, {"results": results}, "\n".join(plain(text) for text, _, _ in found))


def _words(args: argparse.Namespace, model: Any, settings: dict[str, Any]) -> None:
    """A model of counts writes words."""
    wrong = [name for name in SETTINGS[1:] if name in settings and name != "greedy"]
    if wrong or args.text == "-":
        raise InputError(f"{_flag(wrong[0]) if wrong else '-'} must go with a neural model, got {args.model}")
    temperature = 0.0 if args.greedy else settings.get("temperature", 1.0)
    text = model.generate(args.text, args.tokens, seed=args.seed, temperature=temperature)
    emit(args, {"prompt": args.text, "text": text, "seed": args.seed}, plain(text))


def lines(text: str) -> str:
    """`plain` but for ends of lines."""
    return "\n".join(plain(line) for line in text.split("\n"))
