"""A study as one HTML file that opens offline, with its pictures beside it as PNG.

A study is a plain dict; what is missing is left out of the page:

    title, created, version, language, command, kind ("ladder" or "compare"), purpose, limits {max_ms, max_mb}
    corpus      {files, words, documents, bytes, fingerprint, ...}       budget {seconds, threads, clock, size, ...}
    cloze       {items, dev, hash, seed, bands: [{name, items}]}
    rungs       [{name, label, kind: trained|downloaded|control|failed, seconds, bytes, milliseconds, parameters,
                  cloze {accuracy, interval [low, high], mrr, bits, bands [{accuracy}]}, loss, bits_per_byte,
                  curve [{seconds, accuracy, loss}], fills [[{text, probability}]], remarks, sees, costs, good_for,
                  settings {name: value}, error}]
    downstream  {file, labels, train, test, seconds, metric}; then rungs have
                downstream {score, interval, seconds, cpu_seconds, how, counts} or {error}
    samples     [{left, right, gold}]        controls [{name, expected, accuracy, interval, passed}]
    recommendation {choice, lines [{name, text}]}
    environment {name: value}

All text is escaped, there is no script, and the page's own policy forbids every request.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polysemy.artifact import write_bytes
from polysemy.errors import InputError
from polysemy.report import wording
from polysemy.report.crossings import crossings
from polysemy.report.style import SERIES, style_sheet, to_png, to_svg

CHANCE = 1 / 16
CONTEXT_SHOWN = 260  # characters of a sample on each side


def write_report(study: Mapping[str, Any], path: str | Path, *, draw: bool = True) -> Path:
    """Write the page to `path`, its pictures to `<stem>-<picture>.png` and its table to `<stem>.csv` beside it."""
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"report must be a file name that ends in .html, got {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    study = dict(wording.harmless(study))
    _number(study["rungs"])
    pictures = []
    if draw:
        from polysemy.report.plots import pictures as draw_pictures

        for name, title, note, figure in draw_pictures(study):
            write_bytes(path.with_name(f"{path.stem}-{name}.png"), to_png(figure))
            pictures.append({"name": name, "title": title, "note": note, "svg": to_svg(figure, name, title)})
    write_bytes(path.with_suffix(".csv"), table_csv(study).encode("utf-8"))
    write_bytes(path, render_page(study, pictures).encode("utf-8"))
    return path


def render_page(study: Mapping[str, Any], pictures: Sequence[Mapping[str, str]] = ()) -> str:
    """The HTML text; `pictures` hold SVG that `style.to_svg` made. The rungs get their numbers and colors."""
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    environment = Environment(loader=PackageLoader("polysemy.report", "."), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True)
    rungs = list(study["rungs"])
    _number(rungs)
    light, dark = style_sheet()
    ranked = ranking(rungs)
    return environment.get_template("page.html.jinja").render(
        study={**study, "title": study.get("title") or "Which model of language for this text?"},
        colors={"light": Markup(light), "dark": Markup(dark)},
        facts=_facts(study),
        accuracy_title="cloze accuracy",
        columns=[column for column in COLUMNS if _used(column, rungs)],
        ranking=[_ranking_row(rung, rungs, study) for rung in ranked],
        chance=round(100 * CHANCE / _full_bar(rungs), 2),
        table_note=TABLE_NOTE + (" " + _task_note(study["downstream"]) if study.get("downstream") else ""),
        task=_task(study, rungs),
        crossings=crossings(rungs),
        pictures=[{**picture, "svg": Markup(picture["svg"])} for picture in pictures],
        samples=_samples(study, ranked),
        paradigms=[_paradigm_row(rung) for rung in ranked if rung.get("sees")],
        controls=[_control_row(control) for control in study.get("controls") or ()],
        failures=[rung for rung in rungs if rung.get("error")],
        method=study.get("method") or (),
        settings=_settings(study, rungs),
    )


COLUMNS: list[dict[str, Any]] = [
    {"key": "labels", "title": "labels", "note": "part of unseen texts of the task that got their label",
     "value": lambda rung: wording.percent((rung.get("downstream") or {}).get("score"))},
    {"key": "bits", "title": "bits", "note": "how surprised the calibrated choice is by the right word; 4 is chance",
     "value": lambda rung: wording.number(_cloze(rung).get("bits"))},
    {"key": "mrr", "title": "mean recip. rank", "note": "1 when the right word always comes first",
     "value": lambda rung: wording.number(_cloze(rung).get("mrr"))},
    {"key": "loss", "title": "held-out loss", "note": "nats a hidden token; same tokenizer and masking only",
     "value": lambda rung: wording.number(rung.get("loss"))},
    {"key": "bits_per_byte", "title": "bits a byte",
     "note": "of text as the shared tokenizer leaves it; these rungs only",
     "value": lambda rung: wording.number(rung.get("bits_per_byte"))},
    {"key": "seconds", "title": "training", "note": "time in training steps only",
     "value": lambda rung: wording.duration(rung.get("seconds"))},
    {"key": "bytes", "title": "size", "note": "bytes of weights and tokenizer",
     "value": lambda rung: wording.size(rung.get("bytes"))},
    {"key": "milliseconds", "title": "one text, one core", "note": "median time for one text on one core",
     "value": lambda rung: wording.milliseconds(rung.get("milliseconds"))},
    {"key": "parameters", "title": "parameters", "note": "shared ones counted once",
     "value": lambda rung: wording.short_count(rung.get("parameters"))},
]
TABLE_NOTE = (
    "Each rung chooses between 16 words for a gap in held-out text; the 15 others are as frequent, of the same script "
    "and case, and as many pieces long. The dotted mark is chance, 1 in 16; the line on each bar is the 95 % interval "
    "over documents. Accuracy is the plain mean over frequency bands; bits are those of the calibrated choice, 4 at "
    "chance. Loss is that of the same hidden tokens for all rungs that share a tokenizer; of language models, in a "
    "comparison of runs, that of their next tokens."
)


def ranking(rungs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rungs with a score from the best to the worst, then those without."""
    return sorted(rungs, key=lambda rung: (-_cloze(rung).get("accuracy", -1.0), rung["number"]))


def table_csv(study: Mapping[str, Any]) -> str:
    """The table for a spreadsheet: one row a rung, numbers unrounded, foreign text made harmless."""
    rungs = list(study["rungs"])
    _number(rungs)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["rung", "kind", "accuracy", "low", "high", "mrr", "bits", "loss", "bits_per_byte", "seconds",
                     "bytes", "milliseconds", "parameters", "labels", "label_cpu_seconds", "remarks"])
    for rung in ranking(rungs):
        cloze = _cloze(rung)
        low, high = cloze.get("interval") or (None, None)
        task = rung.get("downstream") or {}
        values = [rung["label"], rung.get("kind"), cloze.get("accuracy"), low, high, cloze.get("mrr"),
                  cloze.get("bits"), rung.get("loss"), rung.get("bits_per_byte"), rung.get("seconds"),
                  rung.get("bytes"), rung.get("milliseconds"), rung.get("parameters"), task.get("score"),
                  task.get("cpu_seconds"),
                  "; ".join(rung.get("remarks") or ())]
        writer.writerow(["" if value is None else wording.cell(value) for value in values])
    return buffer.getvalue()


def _number(rungs: Sequence[Any]) -> None:
    """Give every rung its number and its place among the colors, in the order of the study; pictures agree by them."""
    colored = 0
    for number, rung in enumerate(rungs):
        rung["number"], rung["series"] = number, None if rung.get("kind") == "control" else colored
        rung["label"] = wording.one_line(rung.get("label") or rung.get("name") or "?", 80)
        rung["tint"] = "control" if rung["series"] is None else f"c{colored % SERIES}"
        colored += rung["series"] is not None


def _cloze(rung: Mapping[str, Any]) -> Mapping[str, Any]:
    return rung.get("cloze") or {}


def _accuracy(rung: Mapping[str, Any]) -> float | None:
    return _cloze(rung).get("accuracy")


def _used(column: Mapping[str, Any], rungs: Sequence[Mapping[str, Any]]) -> bool:
    return any(column["value"](rung) != wording.NOTHING for rung in rungs)


def _ranking_row(rung: Mapping[str, Any], rungs: Sequence[Mapping[str, Any]],
                 study: Mapping[str, Any]) -> dict[str, Any]:
    choice = (study.get("recommendation") or {}).get("choice")
    remarks = [{"kind": "", "text": text} for text in rung.get("remarks") or ()]
    if rung.get("error"):
        remarks.insert(0, {"kind": "warn", "text": "failed, see below"})
    if choice is not None and rung.get("name") == choice:
        remarks.insert(0, {"kind": "ship", "text": "ship this"})
    return {"label": rung["label"], "kind": rung.get("kind", ""), "tint": rung["tint"],
            "score": _score(rung, _full_bar(rungs)), "remarks": remarks,
            "chosen": choice is not None and rung.get("name") == choice,
            "cells": [column["value"](rung) for column in COLUMNS if _used(column, rungs)]}


def _full_bar(rungs: Sequence[Mapping[str, Any]]) -> float:
    """The accuracy that fills the table's bars: the best upper bound, rounded up to a tenth."""
    tops = [(_cloze(rung).get("interval") or (0, _accuracy(rung) or 0))[1] for rung in rungs]
    return min(1.0, max(0.2, math.ceil(10 * max(tops, default=0) - 1e-9) / 10))


def _score(rung: Mapping[str, Any], full: float) -> dict[str, Any] | None:
    accuracy = _accuracy(rung)
    if accuracy is None:
        return None
    low, high = _cloze(rung).get("interval") or (accuracy, accuracy)
    return {"v": round(100 * accuracy / full, 2), "lo": round(100 * low / full, 2), "hi": round(100 * high / full, 2),
            "text": wording.percent(accuracy), "interval": f"± {50 * (high - low):.1f}" if high > low else ""}


def _task_note(task: Mapping[str, Any]) -> str:
    return (f"Labels: part of {wording.count(task.get('test'))} unseen texts of {task.get('file')} that got the right "
            f"one of {len(task.get('labels') or ())}, after learning from {wording.count(task.get('train'))}.")


def _task(study: Mapping[str, Any], rungs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Who learned the labels how well, best first; empty without a task."""
    if not study.get("downstream"):
        return []
    asked = [rung for rung in rungs if rung.get("downstream")]
    asked.sort(key=lambda rung: (-(rung["downstream"].get("score") or -1.0), rung["number"]))
    rows = []
    for rung in asked:
        found = rung["downstream"]
        low, high = found.get("interval") or (None, None)
        rows.append({"label": rung["label"], "tint": rung["tint"], "score": wording.percent(found.get("score")),
                     "interval": f"{wording.percent(low)} to {wording.percent(high)}" if low else wording.NOTHING,
                     "f1": wording.number((found.get("metrics") or {}).get("macro_f1"), 3),
                     "seconds": wording.duration(found.get("cpu_seconds")),
                     "how": found.get("how") or f"failed: {found.get('error')}"})
    return rows


def _facts(study: Mapping[str, Any]) -> list[str]:
    corpus, budget, cloze = (study.get(name) or {} for name in ("corpus", "budget", "cloze"))
    facts = [
        (corpus.get("words"), f"{wording.short_count(corpus.get('words'))} words"),
        (corpus.get("documents"), f"{wording.count(corpus.get('documents'))} documents"),
        (budget.get("seconds"), f"{wording.duration(budget.get('seconds'))} of training a rung"),
        (budget.get("threads"), f"{budget.get('threads')} thread{'s' * (budget.get('threads') != 1)}"),
        (cloze.get("items"), f"{wording.count(cloze.get('items'))} questions"),
    ]
    return [text for value, text in facts if value]


def _samples(study: Mapping[str, Any], ranked: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    shown = []
    for number, sample in enumerate(study.get("samples") or ()):
        gold = str(sample.get("gold") or "")
        rows = []
        for rung in ranked:
            fills = (rung.get("fills") or [])[number : number + 1]
            if fills and fills[0]:
                rows.append({"label": rung["label"], "tint": rung["tint"], "fills": [_fill(f, gold) for f in fills[0]]})
        left, right = str(sample.get("left", "")), str(sample.get("right", ""))
        left = left if len(left) <= CONTEXT_SHOWN else left[-CONTEXT_SHOWN:]
        right = right if len(right) <= CONTEXT_SHOWN else right[:CONTEXT_SHOWN]
        left = "… " + left if left[:1].islower() or left[:1] in ",;" else left
        right = right + " …" if right[-1:].isalnum() or right[-1:] in ",;" else right
        if rows:
            shown.append({"left": left, "right": right, "gold": gold, "rows": rows})
    return shown


def _fill(fill: Mapping[str, Any], gold: str) -> dict[str, Any]:
    probability = float(fill["probability"])
    shown = wording.percent(probability, 0 if probability >= 0.095 else 1)
    return {"text": fill["text"], "share": round(100 * probability, 1), "probability": shown,
            "right": bool(gold) and str(fill["text"]).strip().lower() == gold.strip().lower()}


def _paradigm_row(rung: Mapping[str, Any]) -> dict[str, Any]:
    parts = [
        (_accuracy(rung), f"{wording.percent(_accuracy(rung))} of the gaps"),
        (rung.get("seconds"), f"{wording.duration(rung.get('seconds'))} of training"),
        (rung.get("bytes"), wording.size(rung.get("bytes"))),
        (rung.get("milliseconds"), f"{wording.milliseconds(rung.get('milliseconds'))} a text"),
    ]
    return {"label": rung["label"], "tint": rung["tint"], "sees": rung.get("sees"), "costs": rung.get("costs"),
            "good_for": rung.get("good_for"), "measured": [text for value, text in parts if value]}


def _control_row(control: Mapping[str, Any]) -> dict[str, Any]:
    low, high = control.get("interval") or (None, None)
    interval = f"{wording.percent(low)} to {wording.percent(high)}" if low is not None else wording.NOTHING
    return {"name": control["name"], "expected": control.get("expected", "chance, 6.2 %"),
            "measured": control.get("measured") or wording.percent(control.get("accuracy")), "interval": interval,
            "passed": bool(control.get("passed"))}


def _settings(study: Mapping[str, Any], rungs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    groups = [("This study", {"command": study.get("command"), "purpose": study.get("purpose"),
                              **{f"limit {name}": value for name, value in (study.get("limits") or {}).items()},
                              **(study.get("budget") or {})}),
              ("Text", study.get("corpus")),
              ("Questions", {name: value for name, value in (study.get("cloze") or {}).items() if name != "bands"}),
              ("Machine and versions", study.get("environment"))]
    groups += [(f"Settings of {rung['label']}", rung.get("settings")) for rung in rungs]
    return [{"title": title, "entries": flat(values)} for title, values in groups if values and flat(values)]


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, text) pairs, without empty ones."""
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            kind = value.get("kind")
            if kind:
                found.append((f"{prefix}{name}", str(kind)))
            found += flat({k: v for k, v in value.items() if k != "kind"}, f"{prefix}{name}.")
        elif value is not None and value != "":
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            found.append((f"{prefix}{name}", f"{text:,}" if isinstance(text, int) and not isinstance(text, bool)
                          and text >= 10_000 else f"{text:.6g}" if isinstance(text, float) else str(text)))
    return found
