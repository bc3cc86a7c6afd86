"""The uses of a word as one HTML file that opens offline: a map, the sentence behind each point, the groups.

Built from the plain values of a `usage_map`. Without scripts the map, the groups and their examples are there, and a
point tells its sentence as a tooltip; the page's own script, whose hash its policy names, adds pointing, keys and
the sentence beside the map. All text is escaped, nothing is fetched.
"""
from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polysemy.artifact import write_bytes
from polysemy.errors import InputError
from polysemy.report import wording
from polysemy.report.attention import script_json
from polysemy.report.senses_map import ASPECT, lay_out
from polysemy.report.style import style_sheet

EXAMPLES = 6
"""uses shown of each group; the others unfold"""
NEIGHBORS = 9
SHAPES = (
    "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0", "M-4.4-4.4h8.8v8.8h-8.8z", "M0-5.6L5.4 4.2H-5.4z", "M0-6L6 0 0 6-6 0z",
    "M0 5.6L5.4-4.2H-5.4z", "M-1.8-5.4h3.6v3.6h3.6v3.6h-3.6v3.6h-3.6v-3.6h-3.6v-3.6h3.6z",
    "M-5-2.6L-2.6-5 0-2.4 2.6-5 5-2.6 2.4 0 5 2.6 2.6 5 0 2.4-2.6 5-5 2.6-2.4 0z",
    "M-5.4 0L-2.7-4.7h5.4L5.4 0 2.7 4.7h-5.4z",
)
"""one a group, so that color is not all that tells them apart"""
UNIT = 1000
"""user units of the map's height"""


def write_page(found: Mapping[str, Any], path: str | Path, *, word: str, model: str = "", facts: Sequence[str] = (),
               static: Mapping[str, Any] | None = None) -> Path:
    """Write the page; InputError unless `path` ends in .html. See `render_page`."""
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"page must be a file name that ends in .html, got {path}")
    page = render_page(found, word=word, model=model, facts=facts, static=static)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, page.encode("utf-8"))
    return path


def render_page(found: Mapping[str, Any], *, word: str, model: str = "", facts: Sequence[str] = (),
                static: Mapping[str, Any] | None = None) -> str:
    """The HTML text.

    found    a `usage_map`; `baseline` in it, the mean cosine of other words, is shown where it is given
    facts    a few words each: model, layer, corpus
    static   {"model", "neighbors": [(word, cosine)]}: what a static vector has instead, one point
    """
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    environment = Environment(loader=PackageLoader("polysemy.report", "."), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True)
    loader = environment.loader
    assert loader is not None
    light, dark = style_sheet()
    script = loader.get_source(environment, "senses.js")[0]
    found = wording.harmless(found)
    layout = lay_out(found)
    return environment.get_template("senses.html.jinja").render(
        word=wording.one_line(word, 80), model=wording.one_line(model, 80),
        facts=[wording.one_line(fact, 80) for fact in facts if fact],
        colors={"light": Markup(light), "dark": Markup(dark)}, shapes=[Markup(shape) for shape in SHAPES],
        box=(round(UNIT * ASPECT), UNIT), ellipses=[_ellipse(ellipse) for ellipse in layout.ellipses],
        points=[(*_percent(place), use["sense"] % len(SHAPES), _sentence(use))
                for place, use in zip(layout.points, found["uses"], strict=True)],
        senses=[_sense(number, sense, found["uses"]) | {"at": _percent(layout.labels[number])}
                for number, sense in enumerate(found["senses"])],
        middle=_percent(layout.middle), total=len(found["uses"]), shown=wording.percent(found["shown"], 0),
        numbers=_numbers(found), flat=len({(use["x"], use["y"]) for use in found["uses"]}) == 1,
        static=None if static is None else _orbit(static),
        data=Markup(script_json([[use["left"], use["word"], use["right"], use["sense"]] for use in found["uses"]])),
        script=Markup(script), script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _sense(number: int, sense: Mapping[str, Any], uses: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rows = [{"use": i, "left": uses[i]["left"], "word": uses[i]["word"], "right": uses[i]["right"]}
            for i in sense["examples"]]
    return {"number": number, "tint": number % len(SHAPES), "words": list(sense["words"]), "count": sense["count"],
            "share": wording.percent(sense["count"] / len(uses), 0), "first": rows[:EXAMPLES], "rest": rows[EXAMPLES:]}


def _sentence(use: Mapping[str, Any]) -> str:
    return wording.one_line(f"{use['left']}{use['word']}{use['right']}")


def _percent(place: tuple[float, float]) -> tuple[str, str]:
    return f"{100 * place[0]:.2f}%", f"{100 * place[1]:.2f}%"


def _ellipse(ellipse: Any) -> dict[str, str] | None:
    if ellipse is None:
        return None
    x, y, long, short = (f"{UNIT * value:.0f}" for value in ellipse[:4])
    return {"x": x, "y": y, "rx": long, "ry": short, "turn": f"rotate({ellipse.turn:.1f} {x} {y})"}


def _orbit(static: Mapping[str, Any]) -> dict[str, Any]:
    """The nearest words around the one point: the nearer to it the more alike."""
    near = [(wording.one_line(word, 24), float(cosine)) for word, cosine in static["neighbors"][:NEIGHBORS]]
    places = []
    best, worst = (near[0][1], near[-1][1]) if near else (1.0, 0.0)
    for number, (word, cosine) in enumerate(near):
        angle = 2 * math.pi * (number * 2 % len(near) if len(near) % 2 else number) / len(near) - math.pi / 2
        radius = 0.25 + 0.17 * (best - cosine) / max(best - worst, 1e-9)
        places.append((word, f"{cosine:.2f}",
                       *_percent((0.5 + 0.86 * radius * math.cos(angle), 0.5 + radius * math.sin(angle)))))
    return {"model": wording.one_line(static.get("model", ""), 60), "neighbors": places}


def _numbers(found: Mapping[str, Any]) -> dict[str, Any]:
    fits = {int(k): float(value) for k, value in found["silhouettes"].items()}
    top = max([*fits.values(), 1e-9])
    baseline = found.get("baseline")
    return {
        "fits": [(k, f"{value:.2f}", f"{max(0.0, 100 * value / top):.0f}%", k == len(found["senses"]))
                 for k, value in sorted(fits.items())],
        "own": f"{found['self_similarity']:.2f}", "others": None if baseline is None else f"{baseline:.2f}",
    }
