"""What a model looked at, as one HTML file that opens offline: choose layer and head, point at a piece.

The page holds every weight once, as 16-bit numbers, deflated, in base64; its script takes averages and puts pieces
together into words as `models/attention_maps.py` does.  All text is escaped, the only script is the page's own (its
policy names the hash of it), and nothing is fetched.
"""
from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from polysemy.artifact import write_bytes
from polysemy.errors import InputError
from polysemy.models.attention_labels import Labels, plain
from polysemy.models.attention_maps import AttentionMap, Span, causal, check, choose, number, rollout, unseen
from polysemy.report import wording
from polysemy.report.style import style_sheet

FINE, COARSE = 10_000, 1_000  # steps between 0 and 1
MANY = 8_000_000  # weights beyond which the coarse steps are taken: they deflate to a third


class Names(NamedTuple):
    """How both sides of a map are called; `keys` None: they are the queries."""

    queries: Labels
    keys: Labels | None = None


def write_view(found: AttentionMap, path: str | Path, *, title: str = "", model: str = "", words: bool = False,
               names: Names | None = None, start: tuple[int | str, int | str] = (-1, "mean")) -> Path:
    """Write the page; InputError unless `path` ends in .html.

    names   from `attention_labels`; without them pieces stand as they are called and no words are known
    words   begin with words instead of pieces
    start   (layer, head) to begin with, as `attention_maps.choose` takes them; all others are there too
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"view must be a file name that ends in .html, got {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    page = render_view(found, payload(found, words=words, names=names, start=start), title=title, model=model)
    write_bytes(path, page.encode("utf-8"))
    return path


def render_view(found: AttentionMap, data: dict[str, Any], *, title: str = "", model: str = "") -> str:
    """The HTML text; `data` is the map's `payload`."""
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    environment = Environment(loader=PackageLoader("polysemy.report", "."), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True)
    loader = environment.loader
    assert loader is not None
    light, dark = style_sheet()
    script = loader.get_source(environment, "attention.js")[0]
    layers, heads, queries, keys = found.weights.shape
    return environment.get_template("attention.html.jinja").render(
        title=wording.one_line(title) or "What the model looks at",
        facts=_facts(model, layers, heads, queries, keys, found),
        colors={"light": Markup(light), "dark": Markup(dark)},
        data=Markup(script_json(data)),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def payload(found: AttentionMap, *, words: bool = False, names: Names | None = None,
            start: tuple[int | str, int | str] = (-1, "mean")) -> dict[str, Any]:
    """What the page's script reads, as plain JSON values; see `write_view`."""
    choose(check(found), *start)  # an error here is one line, in the page it would be an empty picture
    names = names or Names(plain(found.pieces), None if found.square else plain(found.asked))
    for side, labels in (("queries", names.queries), ("keys", names.keys)):
        wanted = len(found.pieces if side == "queries" else found.asked)
        if labels is not None and len(labels.pieces) != wanted:
            raise InputError(f"names of {side} must be {wanted}, one a piece, got {len(labels.pieces)}")
    layers, heads = found.weights.shape[:2]
    unit = FINE if found.weights.size <= MANY else COARSE
    return {
        "layers": layers, "heads": heads, "unit": unit, "words": words, "causal": causal(found.weights),
        "start": [_place("layer", start[0], layers), _place("head", start[1], heads) if heads > 1 else 0],
        "queries": _side(names.queries), "keys": _side(names.keys or plain(found.asked)) if not found.square else None,
        "weights": _packed(found.weights, unit),
        "rollout": _packed(rollout(found.weights), unit) if found.square else None,
        "unseen": base64.b64encode(zlib.compress(unseen(found.weights).astype(np.uint8).tobytes(), 9)).decode(),
    }


def script_json(value: Any) -> str:
    """JSON that may stand inside a script element: no text in it can end the element or begin another."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _place(name: str, value: int | str, count: int) -> int | str:
    return value if value in ("mean", "rollout") else number(name, value, count)


def _side(labels: Labels) -> dict[str, Any]:
    return {"pieces": [wording.one_line(piece, 60) or "▁" for piece in labels.pieces],
            "words": [_word(span) for span in labels.words], "marks": labels.marks}


def _word(span: Span) -> list[Any]:
    return [wording.one_line(span.text, 60) or "▁", span.start, span.stop]


def _packed(weights: np.ndarray, unit: int) -> str:
    steps = np.rint(weights * unit).astype("<u2")
    return base64.b64encode(zlib.compress(steps.tobytes(), 6)).decode()


def _facts(model: str, layers: int, heads: int, queries: int, keys: int, found: AttentionMap) -> Sequence[str]:
    size = f"{queries} pieces" if found.square else f"{queries} pieces look at {keys}"
    facts = [wording.one_line(model), _counted(layers, "layer"), _counted(heads, "head") + " each", size]
    return [fact for fact in facts if fact]


def _counted(number: int, name: str) -> str:
    return f"{number} {name}{'s' * (number != 1)}"
