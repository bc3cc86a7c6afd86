"""The README.md of a run folder: what the model is, what it cost, what it reached, where it differs from its paper."""
from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from polysemy.models import RECIPES


def card(run: Mapping[str, Any], results: Mapping[str, Any], forgetting: Sequence[Mapping[str, Any]] = ()) -> str:
    """Markdown from the run's record (`run`) and what came of it."""
    config, text, row = run["config"], run["text"], RECIPES[run["config"]["recipe"]]
    vocabulary = config["model"].get("vocab_size") or config["model"]["embedding"]["vocab_size"]
    writes = ['polysemy generate DIR "Once upon a time" --top-p 0.9'] * ("generate" in row.capabilities)
    lines = [f"# {row.name}, {config['size']}", "", f"{row.summary[0].upper()}{row.summary[1:]} ({row.paper}).", "",
             "| | |", "|---|---|"]
    facts = {
        "parameters": f"{results['parameters']:,}", "vocabulary": f"{vocabulary:,}",
        "text": f"{text['documents']:,} documents, {text['words']:,} words, {text['tokens']:,} tokens",
        "budget": run["budget_text"], "steps": f"{results['step']:,}",
        "tokens read": f"{results['tokens']:,}", "training seconds": f"{results['seconds']:,.1f}",
        "tokens a second": f"{results['tokens'] / max(results['seconds'], 1e-9):,.0f}",
        "processes, threads, number format": f"{run['processes']}, {run['threads']}, {run['dtype']}",
        "seed": str(run["seed"]), "training loss": "-" if results["loss"] is None else f"{results['loss']:.4f}",
        **{name.replace("_", " "): f"{value:.4f}" for name, value in results["scores"].items()},
        "steps skipped (not finite)": f"{results['skipped']:,}",
        "steps with a clipped gradient": f"{results['clipped']:,}",
    }
    if results["missing_rows"]:
        facts["rows missing in metrics.jsonl"] = f"{results['missing_rows']:,} (the disk was full)"
    lines += [f"| {name} | {value} |" for name, value in facts.items()]
    if forgetting:
        lines += ["", "## What was forgotten", "", *_table(forgetting)]
    differs = [f"- {line}" for line in deviations(row.name, config["preset"])]
    lines += ["", "## Where it differs from the paper", "", *differs, "", "## Use", "", "```",
              'polysemy fill DIR "The [MASK] sat by the river bank."', *writes,
              "polysemy evaluate DIR --task cloze,perplexity", "```", "",
              "`config.json` has every setting, the hash of the text and the versions; `metrics.jsonl` one row a step."]
    return "\n".join(lines) + "\n"


def words_card(run: Mapping[str, Any]) -> str:
    """Markdown for a recipe that counts words or learns a vector each, from its record."""
    row, text, results = RECIPES[run["recipe"]], run["text"], run["results"]
    lines = [f"# {row.name}", "", f"{row.summary[0].upper()}{row.summary[1:]} ({row.paper}).", "", "| | |", "|---|---|"]
    facts = {"words read": f"{text['words']:,}", "of those in the vocabulary": f"{text['kept_words']:,}",
             "vocabulary": f"{text['vocabulary']:,}", "budget": run["budget_text"],
             "reading seconds": f"{text['reading_seconds']:,.1f}", "training seconds": f"{results['seconds']:,.1f}",
             "threads": str(run["threads"]), "seed": str(run["seed"])}
    facts |= {name.replace("_", " "): f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"
              for name, value in results.items()
              if name not in ("seconds", "stopped") and isinstance(value, int | float) and not isinstance(value, bool)}
    if results["stopped"]:
        facts["stopped"] = "by a signal, before its end"
    lines += [f"| {name} | {value} |" for name, value in facts.items()]
    differs = [f"- {line}" for line in deviations(row.name, "ladder")]
    if differs:
        lines += ["", "## Where it differs from the paper", "", *differs]
    lines += ["", "`config.json` has every setting, the hash of the text and the versions."]
    return "\n".join(lines) + "\n"


def deviations(name: str, preset: str) -> list[str]:
    """The recipe's deviations from its paper that concern this preset."""
    module = importlib.import_module(RECIPES[name].configure.partition(":")[0])
    other = {"paper": "ladder:", "ladder": "paper:"}[preset]
    return [line for line in getattr(module, "DEVIATIONS", ()) if not line.startswith(other)]


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return ["| held-out text | loss before | loss after | change |", "|---|---|---|---|",
            *(f"| {row['text']} | {row['before']:.4f} | {row['after']:.4f} | {row['change']:+.4f} |" for row in rows)]
