"""`recipes` and `describe`: what can be trained, what it costs, where it differs from its paper."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
from collections.abc import Collection
from typing import Any

from polysemy.cli.printing import count, emit, table
from polysemy.config import Config, field_notes, hints_of
from polysemy.config import describe as describe_type
from polysemy.models import RECIPES, find_recipe, resolve


def recipes(args: argparse.Namespace) -> None:
    """A line a recipe."""
    from polysemy.models.cost import cost_of

    found = []
    for row in RECIPES.values():
        neural = row.train and not row.fit
        cost = {} if not neural else {"size": args.size, **cost_of(resolve(row.configure)(size=args.size)).to_dict()}
        found.append(
            {
                "recipe": row.name,
                "summary": row.summary,
                "paper": row.paper,
                **cost,
                "capabilities": list(row.capabilities),
                "exports": list(row.exports),
            }
        )
    unknown = ("by text", "by text", "few")
    lines = [
        (
            r["recipe"],
            *(
                (count(r["parameters"]), f"{r['file_bytes'] / 1e6:.1f} MB", count(r["flops_per_token"]))
                if "parameters" in r
                else unknown
            ),
            r["summary"],
        )
        for r in found
    ]
    text = table(
        ("recipe", "parameters", "file", "FLOPs a token", "what it is"), lines, right="parameters,file,FLOPs a token"
    )
    emit(args, {"recipes": found}, f"size {args.size}\n{text}\n\nmore: polysemy describe RECIPE --size SIZE")


def describe(args: argparse.Namespace) -> None:
    """Everything about one recipe with its settings and their notes."""
    from polysemy.models.cost import cost_of

    row = find_recipe(args.recipe, trains=True)
    config = configured(args)
    cost = None if row.fit else cost_of(config)
    deviations = list(getattr(importlib.import_module(row.configure.partition(":")[0]), "DEVIATIONS", ()))
    result = {
        "recipe": row.name,
        "paper": row.paper,
        "summary": row.summary,
        "config": config.to_dict(),
        "cost": cost and cost.to_dict(),
        "deviations": deviations,
    }
    differs = ["where it differs from the paper:", *(f"  - {sentence}" for sentence in deviations), ""]
    lines = [
        f"{row.name}, {f'{config.size}, ' if cost else ''}preset {args.preset}: {row.summary} ({row.paper})",
        "",
        *(_costs(config, cost) if cost else ()),
        *(differs if deviations else ()),
        "settings (--set KEY=VALUE):",
        *_settings_of(config, ""),
    ]
    emit(args, result, "\n".join(lines))


def _costs(config: Any, cost: Any) -> list[str]:
    megabytes = (cost.optimizer_bytes + cost.activation_bytes) / 1e6
    return [
        f"parameters            {cost.parameters:,} ({cost.body_parameters:,} in the body)",
        f"file                  {cost.file_bytes / 1e6:.1f} MB as float32",
        f"training              {count(cost.flops_per_token)} FLOPs a token, about {megabytes:,.0f} MB of memory "
        f"at {config.training.batch_size} rows of {config.training.length}",
        f"reading a token       {count(cost.inference_flops_per_token)} FLOPs",
        "",
    ]


def configured(args: argparse.Namespace) -> Any:
    """The config that RECIPE, --size, --preset and --set ask for."""
    from polysemy.config import with_settings

    config = resolve(find_recipe(args.recipe, trains=True).configure)(size=args.size, preset=args.preset)
    settings = parsed_settings(args.settings)
    config = with_settings(config, settings)
    if "tokenizer.vocab_size" in settings and hasattr(config, "model"):
        config = config.replace(model=config.model.with_vocabulary(config.tokenizer.vocab_size))
    return config


def parsed_settings(words: list[str]) -> dict[str, str]:
    """`KEY=VALUE` words as a dictionary."""
    from polysemy.errors import InputError

    for word in words:
        if "=" not in word:
            raise InputError(f"--set must be KEY=VALUE, got {word!r}")
    return dict(word.split("=", 1) for word in words)


def _settings_of(config: Config, prefix: str, overruled: Collection[str] = ()) -> list[str]:
    """A line a setting, but for those that a field of the model itself overrules."""
    lines, notes, hints = [], field_notes(type(config)), hints_of(type(config))
    for field in dataclasses.fields(config):
        if field.name in overruled:
            continue
        value = getattr(config, field.name)
        if isinstance(value, Config):
            lines.append(f"  {prefix}{field.name} = {type(value).__name__}   ({describe_type(hints[field.name])})")
            own = {other.name for other in dataclasses.fields(config)} if hasattr(config, "word_config") else ()
            lines.extend(_settings_of(value, f"{prefix}{field.name}.", own))
        else:
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            lines.append(
                f"  {prefix}{field.name} = {shown}" + (f"   {notes[field.name]}" if field.name in notes else "")
            )
    return lines
