"""`generate`: what a model writes after a text, shown as it comes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from polysemy.cli.printing import emit, lines_of, note, plain
from polysemy.cli.use import load
from polysemy.errors import InputError

if TYPE_CHECKING:
    from polysemy.decoding.sampling import GenerationConfig
    from polysemy.decoding.written import Text

SETTINGS = ("temperature", "top_k", "top_p", "repetition_penalty", "greedy", "weights")


def generate(args: argparse.Namespace) -> None:
    """Each text with what the model writes after it; the same seed writes the same.  Ctrl-C prints what there is."""
    from polysemy.decoding.written import Text

    settings = _settings(args)
    several = args.text == "-"
    prompts = lines_of("-") if several else [args.text]
    model = load(args, "generate")
    texts = [Text(prompt) for prompt in prompts]
    pieces = _writer(model, texts, settings)
    shown = not several and not args.json
    stopped = False
    try:
        for message in _asides(model, prompts, settings):
            note(f"note: {message}")
        if shown:
            print(lines(args.text), end="", flush=True)
        for _, piece in pieces:
            if shown:
                print(lines(piece), end="", flush=True)
    except KeyboardInterrupt:
        stopped = True
    results = [{"prompt": text.prompt, "text": str(text), "tokens": len(text.ids), "ended": text.ended or "interrupt",
                "seed": args.seed} for text in texts]
    emit(args, {"results": results} if several else results[0],
         "" if shown else "\n".join(plain(str(text)) for text in texts))
    if any(text.ended == "limit" for text in texts):
        note("note: the model has no position for more")
    if stopped:
        sys.stdout.flush()
        raise KeyboardInterrupt


def _settings(args: argparse.Namespace) -> GenerationConfig:
    """What was said of how to write, held against the rules before a model is loaded."""
    from polysemy.decoding.sampling import GenerationConfig

    given = {name: getattr(args, name) for name in SETTINGS}
    settings = {name: value for name, value in given.items() if value is not None and value is not False}
    needless = next((name for name in ("temperature", "top_k", "top_p") if args.greedy and name in settings), None)
    if needless:
        raise InputError(f"--greedy must stand without {_flag(needless)}, which it would overrule; leave one out")
    try:
        return GenerationConfig(tokens=args.tokens, seed=args.seed, **settings)
    except InputError as error:
        name, _, rule = str(error).partition(" ")
        raise InputError(f"{_flag(name)} {rule}") from None


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _writer(model: Any, texts: Sequence[Text], settings: GenerationConfig) -> Iterator[tuple[int, str]]:
    """(row, piece) as they come; `texts` hold what there is."""
    if not hasattr(model, "stream"):
        from polysemy.decoding.words import write_words

        return write_words(model, texts, settings)
    from polysemy.decoding.text import write_texts

    model.stream()  # which says so where the model cannot write
    return write_texts(model.model, model.tokenizer, texts, settings, model.length)


def _asides(model: Any, prompts: Sequence[str], settings: GenerationConfig) -> Iterator[str]:
    """What the user asked for and does not get."""
    from polysemy.decoding.prompts import beyond_window, unknown_words

    neural = hasattr(model, "stream")
    yield from filter(None, [unknown_words(model, prompts, "prompt"),
                             beyond_window(model, prompts) if neural else None])
    reason = _why_full(model, len(prompts), neural) if settings.weights != "float32" else None
    if reason:
        yield f"full weights are used, not {settings.weights}: {reason}"


def _why_full(model: Any, count: int, neural: bool) -> str | None:
    """Why smaller weights are not used, if so."""
    if not neural:
        return "the compiled step is a GPT's"
    if count > 1:
        return "the compiled step reads one text, and here are several"
    from polysemy.decoding.compiled import misfit

    return misfit(model.model)


def lines(text: str) -> str:
    """`plain` but for ends of lines."""
    return "\n".join(plain(line) for line in text.split("\n"))
