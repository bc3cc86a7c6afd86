"""The map of a word's uses: places for points and labels, as shares of a box, and the map as one PNG.

Points never move by a method of their own: they stand where the two principal components put them, both axes in the
same scale. The ellipse of a group is where about three of four of its points would lie if they were normal.
"""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from polysemy.artifact import write_bytes
from polysemy.errors import InputError
from polysemy.report import wording
from polysemy.report.attention_picture import fonts
from polysemy.report.style import MARKERS, color, to_png

ASPECT = 1.5
"""width of the map over its height"""
MARGIN = 0.05
SPREAD = 1.67
"""deviations of an ellipse: 75 % of a normal cloud in the plane"""
HIGH = 0.09
"""of the box: what a label takes from top to bottom"""
WIDE = 0.3


class Ellipse(NamedTuple):
    """Center, half axes and turn (degrees, clockwise), in shares of the box's height; x counts from the left."""

    x: float
    y: float
    long: float
    short: float
    turn: float


class Layout(NamedTuple):
    """Where things stand: shares 0..1 of the box's width (x) and height (y, from the top)."""

    points: list[tuple[float, float]]
    ellipses: list[Ellipse | None]
    labels: list[tuple[float, float]]
    middle: tuple[float, float]
    """the mean of all uses: about what one vector for all of them would be"""


def lay_out(found: Mapping[str, Any], aspect: float = ASPECT) -> Layout:
    """Places of the uses and groups of a `usage_map`, as large as the box allows."""
    places = np.array([(use["x"], -use["y"]) for use in found["uses"]])
    groups = np.array([use["sense"] for use in found["uses"]])
    clouds = [places[groups == group] for group in range(len(found["senses"]))]
    bounds = np.concatenate([places, *(_bounds(_ellipse(some, 0)) for some in clouds if len(some) > 3)])
    low, high = bounds.min(0), bounds.max(0)
    room = np.array([aspect, 1.0]) * (1 - 2 * MARGIN)
    spans = np.maximum(high - low, 1e-9)
    scale = float((room / spans).min()) if len(places) > 1 and (high > low).any() else 1.0
    placed = (places - (low + high) / 2) * scale + np.array([aspect / 2, 0.5])
    ellipses, centers = [], []
    for group in range(len(clouds)):
        some = placed[groups == group]
        centers.append(some.mean(0) / (aspect, 1))
        ellipses.append(_ellipse(some) if len(some) > 3 else None)
    middle = placed.mean(0)
    return Layout([(float(x / aspect), float(y)) for x, y in placed], ellipses, _apart(centers),
                  (float(middle[0] / aspect), float(middle[1])))


def _bounds(ellipse: Ellipse) -> np.ndarray:
    """The corners of the box around an ellipse, lowest and highest."""
    turn = math.radians(ellipse.turn)
    half = np.hypot((ellipse.long * math.cos(turn), ellipse.long * math.sin(turn)),
                    (ellipse.short * math.sin(turn), ellipse.short * math.cos(turn)))
    middle = np.array([ellipse.x, ellipse.y])
    return np.stack([middle - half, middle + half])


def _ellipse(points: np.ndarray, least: float = 1e-6) -> Ellipse:
    """Around points, of at least this variance."""
    values, vectors = np.linalg.eigh(np.cov(points.T))
    long, short = SPREAD * np.sqrt(np.maximum(values[::-1], least))
    turn = math.degrees(math.atan2(vectors[1, 1], vectors[0, 1]))
    return Ellipse(*(float(v) for v in (*points.mean(0), long, short, turn)))


def _apart(centers: Sequence[np.ndarray]) -> list[tuple[float, float]]:
    """Labels at the groups' centers, moved up or down where two would stand on one another."""
    places = [np.clip(center, (WIDE / 2, HIGH), (1 - WIDE / 2, 1 - HIGH)) for center in centers]
    for _ in range(40):
        moved = False
        for i in range(len(places)):
            for j in range(i):
                dx, dy = places[i] - places[j]
                if abs(dx) < WIDE and abs(dy) < HIGH:
                    push = (HIGH - abs(dy)) / 2 + 1e-3
                    up, down = (i, j) if dy < 0 or (dy == 0 and i < j) else (j, i)
                    places[up][1] -= push
                    places[down][1] += push
                    moved = True
        for place in places:
            place[1] = min(max(place[1], HIGH), 1 - HIGH)
        if not moved:
            break
    return [(float(x), float(y)) for x, y in places]


def draw_map(found: Mapping[str, Any], path: str | Path, *, word: str, model: str = "", dpi: int = 170) -> Path:
    """Write the map as a PNG in the light colors; InputError unless `path` ends in .png."""
    from matplotlib.figure import Figure

    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"map must be a file name that ends in .png, got {path}")
    layout = lay_out(found)
    map_high, top, side, row = 5.0, 0.85, 0.3, 0.32
    wide, high = map_high * ASPECT + 2 * side, map_high + top + 0.45 + row * len(found["senses"])
    figure = Figure(figsize=(wide, high), facecolor="white")
    _say(figure, side / wide, 1 - 0.2 / high, word, 21, weight="bold")
    counted = f"{len(found['uses'])} uses, each a point; + their mean" + (f" · {model}" if model else "")
    _say(figure, side / wide, 1 - 0.62 / high, counted, 10, "muted")
    axes = figure.add_axes((side / wide, 1 - (top + map_high) / high, 1 - 2 * side / wide, map_high / high))
    _draw_points(axes, found, layout)
    for number, sense in enumerate(found["senses"]):
        y = 1 - (top + map_high + 0.3 + row * number) / high
        axis = figure.add_axes((side / wide, y - 0.04 / high, 0.25 / wide, 0.2 / high))
        axis.set_axis_off()
        axis.scatter([0], [0], s=46, color=color(f"c{number % 8}"), marker=MARKERS[number % 8])
        _say(figure, (side + 0.32) / wide, y + 0.13 / high, f"{', '.join(sense['words']) or 'no word tells it'} · "
             f"{sense['count']}", 10.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, to_png(figure, dpi))
    return path


def _draw_points(axes: Any, found: Mapping[str, Any], layout: Layout) -> None:
    from matplotlib import patheffects
    from matplotlib.patches import Ellipse as Drawn

    axes.set(xlim=(0, ASPECT), ylim=(1, 0), xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color(color("line"))
    for number, ellipse in enumerate(layout.ellipses):
        tint = color(f"c{number % 8}")
        if ellipse is not None:
            axes.add_patch(Drawn((ellipse.x, ellipse.y), 2 * ellipse.long, 2 * ellipse.short, angle=ellipse.turn,
                                 facecolor=tint, alpha=0.08, edgecolor="none"))
        mine = [place for place, use in zip(layout.points, found["uses"], strict=True) if use["sense"] == number]
        axes.scatter([ASPECT * x for x, _ in mine], [y for _, y in mine], s=26, color=tint, alpha=0.85,
                     marker=MARKERS[number % 8], edgecolors="white", linewidths=0.5)
    axes.scatter([ASPECT * layout.middle[0]], [layout.middle[1]], marker="+", s=150, color=color("ink"), linewidths=2)
    if len(found["senses"]) > 1:
        for number, (x, y) in enumerate(layout.labels):
            text = axes.text(ASPECT * x, y, _plain(", ".join(found["senses"][number]["words"][:2])), fontsize=12.5,
                             weight="bold", color=color(f"c{number % 8}"), ha="center", va="center", family=fonts(),
                             parse_math=False)
            text.set_path_effects([patheffects.withStroke(linewidth=4, foreground="white")])


def _say(figure: Any, x: float, y: float, text: str, size: float, tint: str = "ink", weight: str = "normal") -> None:
    figure.text(x, y, _plain(text), fontsize=size, color=color(tint), weight=weight, va="top", ha="left",
                family=fonts(), parse_math=False)


def _plain(text: str) -> str:
    return wording.one_line(text, 110)
