"""The README.md of a fine-tuned run folder."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def card(config: Mapping[str, Any]) -> str:
    """Markdown from what config.json says."""
    task, run, results = config["task"], config["fine_tuning"], config["results"]
    settings = run["config"]
    labels = task.get("labels")
    budget = next(f"{settings[name]:g} {name}" for name in ("epochs", "steps", "minutes") if settings[name] is not None)
    facts = {
        "task": task["kind"] + (" of pairs" if task.get("pair") else ""),
        **({"labels": ", ".join(labels) if len(labels) <= 20 else f"{len(labels)}"} if labels else {}),
        "begun from": run["start"], "examples": f"{results['examples']:,}",
        "dev examples": f"{results['dev_examples']:,}", "parameters": f"{results['parameters']:,}",
        "budget": budget, "learning rate, rows a step": f"{settings['learning_rate']:g}, {settings['batch_size']}",
        "steps, tokens": f"{results['step']:,}, {results['tokens']:,}",
        "training seconds": f"{results['seconds']:,.1f}", "threads, number format": f"{run['threads']}, {run['dtype']}",
        "best epoch" if results["score"] is not None else "last epoch, unjudged": str(results["epoch"]),
        **{name.replace("_", " "): f"{value:.4f}" for name, value in results["metrics"].items()
           if isinstance(value, float)},
    }
    if len(results["seeds"]) > 1 and results["median"] is not None:
        scores = ", ".join(f"{one['score']:.4f}" for one in results["seeds"] if one["score"] is not None)
        facts[f"{results['headline']} by seed"] = scores
        facts["median, standard deviation"] = f"{results['median']:.4f}, {results['spread']:.4f}"
    use = {"Span": "polysemy predict DIR questions.json", "Tag": "polysemy predict DIR sentences.txt"}
    lines = [f"# {config['recipe']}, fine-tuned to {task['kind'].lower()}", "", "| | |", "|---|---|",
             *(f"| {name} | {value} |" for name, value in facts.items()), "", "## Use", "", "```",
             use.get(task["kind"], "polysemy predict DIR texts.txt"), "polysemy evaluate DIR --data dev.tsv", "```", "",
             "`config.json` has all settings, the hash of the examples and the versions; `metrics.jsonl` a row a step."]
    return "\n".join(lines) + "\n"
