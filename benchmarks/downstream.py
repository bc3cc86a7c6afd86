"""Is pretraining worth its time? A body pretrained here, the same body untrained, averaged word2vec of the same text.

    python benchmarks/downstream.py --pretrained RUN --vectors RUN --data FOLDER -o OUT.json [--minutes 10] [--seeds 1]

FOLDER holds glue/SST-2, glue/CoLA and wsd-4words. The untrained body is drawn with the seed and tokenizer of the
pretrained one. Every model is fine-tuned on SST-2 and CoLA with the same budget; senses are told by nearest mean
vectors, by one judge for all (`evaluation.sense_curves`): of the layer of a body that is best on a fifth of the
training occurrences, and of the words around for word vectors. The table says what it says; seconds are of training,
senses of all.
"""
from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from polysemy.artifact import read_json, write_json
from polysemy.evaluation.glue import GlueConfig, run_glue
from polysemy.evaluation.static_senses import Occurrence, read_occurrences
from polysemy.runtime import set_threads

ROLES = ("pretrained", "untrained", "vectors")
SETS = (("SST-2", "accuracy"), ("CoLA", "matthews"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pretrained", type=Path, required=True, help="run folder of a body")
    parser.add_argument("--untrained", type=Path, help="run folder of the same body before its first step "
                        "(default: made beside OUT)")
    parser.add_argument("--vectors", type=Path, required=True, help="run folder of word vectors of the same text")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, help="most training time of one fine-tuning")
    parser.add_argument("--epochs", type=float, help="passes over each set: the same steps for both bodies")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--tasks", default="SST-2,CoLA")
    parser.add_argument("--glue", type=Path, help="folder of the sets (default: DATA/glue)")
    parser.add_argument("--occurrences", type=int, default=10**9, help="sense-tagged ones learned from, and judged by")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    set_threads(args.threads)
    untrained = args.untrained or draw(args.pretrained, args.output.with_name(f"{args.output.stem}-untrained"))
    folders = dict(zip(ROLES, (args.pretrained, untrained, args.vectors), strict=True))
    found: dict[str, Any] = {role: {"folder": str(folder), "pretraining_seconds": seconds_of(folder)}
                             for role, folder in folders.items()}
    tasks = tuple(args.tasks.split(","))
    for role, folder in folders.items():
        kept = args.output.with_name(f"{args.output.stem}-{role}.json")
        config = GlueConfig(tasks=tasks, seeds=args.seeds, minutes=args.minutes, epochs=args.epochs)
        battery = run_glue([folder], args.glue or args.data / "glue", kept, config, tell=print)
        found[role]["glue"] = next(iter(battery["scores"].values()))
    train, test = (read_occurrences(args.data / "wsd-4words" / f"{part}.jsonl.gz") for part in ("train", "dev"))
    train, test = (part[::max(1, -(-len(part) // args.occurrences))] for part in (train, test))
    for role, folder in folders.items():
        start = time.process_time()
        found[role]["senses"] = senses(folder, train, test)
        found[role]["senses"]["cpu_seconds"] = time.process_time() - start
    write_json(args.output, found)
    print(table(found))


def draw(pretrained: Path, out: Path) -> Path:
    """The body of a run as it is before its first step, in a run folder."""
    from polysemy.models.pretrained import PretrainingModel, open_run, write_run

    if not (out / "config.json").is_file():
        _, tokenizer, config = open_run(pretrained)
        write_run(out, PretrainingModel(config.model, config.heads, seed=0), tokenizer, config)
    return out


def seconds_of(folder: Path) -> float | None:
    return (read_json(folder / "config.json").get("results") or {}).get("seconds")


def senses(folder: Path, train: list[Occurrence], test: list[Occurrence]) -> dict[str, Any]:
    """macro F1 and accuracy on `test`, with the layer that is best on a fifth of `train`; and of the first sense."""
    import polysemy
    from polysemy.evaluation import sense_curves as curves

    model: Any = polysemy.load(folder)
    known, asked = curves.from_occurrences(train), curves.from_occurrences(test)
    if hasattr(model, "most_similar"):
        best, told = curves.CONTEXT, "words around"
        tables = curves.static_tables(model, known, asked)
    else:
        tables = curves.layer_tables(model, known, asked, [str(i + 1) for i in range(model.config.model.num_layers)])
        best = told = curves.best_layer(tables, known)
    methods = curves.judge_tables({best: tables[best]}, known, asked, shots=())["methods"]
    return {**methods[best], "layer": told, "most_frequent": methods[curves.MOST_FREQUENT]}


def table(found: dict[str, Any]) -> str:
    """Markdown: a row a model, and the most frequent answer as the floor of the senses."""
    rows = ["| | pretraining | SST-2 accuracy | CoLA Matthews | senses macro F1 (accuracy) | layer | fine-tuning |",
            "|---|---|---|---|---|---|---|"]
    for role in ROLES:
        one = found[role]
        cells = [f"{100 * one['glue'][name]['metrics'][metric]:.1f}" if "metrics" in one["glue"].get(name, {}) else "–"
                 for name, metric in SETS]
        spent = sum(one["glue"].get(name, {}).get("seconds", 0.0) for name, _ in SETS)
        before = one["pretraining_seconds"]
        seconds = "none" if role == "untrained" or before is None else f"{before:,.0f} s"
        rows.append(f"| {role} | {seconds} | {' | '.join(cells)} | {one['senses']['macro_f1']:.3f} "
                    f"({one['senses']['accuracy']:.3f}) | {one['senses']['layer']} | {spent:,.0f} s |")
    floor = found["pretrained"]["senses"]["most_frequent"]
    rows.append(f"| the most frequent sense | | | | {floor['macro_f1']:.3f} ({floor['accuracy']:.3f}) | | |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
