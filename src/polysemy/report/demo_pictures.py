"""Pictures of the demonstrations, from the plain values that `polysemy.demos` gives."""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polysemy.artifact import write_bytes
from polysemy.errors import InputError
from polysemy.report.position_picture import positions
from polysemy.report.schedule_picture import schedule
from polysemy.report.style import color, to_png, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TINTS = {"rnn": "c1", "lstm": "c4", "attention": "c0"}
NAMES = {"rnn": "RNN", "lstm": "LSTM", "attention": "attention"}
SMALLEST = 1e-30
"""gradients below are drawn here"""


def draw(name: str, found: Mapping[str, Any], path: str | Path) -> Path:
    """Write the picture of demonstration `name` (of PICTURES) as .png or .svg."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".png", ".svg"):
        raise InputError(f"picture must be a file name that ends in .png or .svg, got {path}")
    figure = PICTURES[name](found)
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix == ".png":
        write_bytes(path, to_png(figure, 150))
    else:
        write_bytes(path, _svg_file(figure, name).encode())
    return path


def vanish(found: Mapping[str, Any]) -> Figure:
    """Gradient against distance, fresh and trained, and what was remembered."""
    figure = _figure(9.6, 3.5)
    titles = ("gradient of the last state, fresh", "the same, after training", "first symbol said right")
    panels = [_axes(figure, 0.06 + 0.325 * i, 0.17, 0.26, 0.66, title) for i, title in enumerate(titles)]
    smallest = min(min(norms) for kinds in found["gradient"].values() for norms in kinds.values())
    lowest = min(1e-3, max(smallest, SMALLEST))
    step = math.ceil(-math.log10(lowest) / 6)
    for axes, when in zip(panels, ("fresh", "trained"), strict=False):
        axes.set_yscale("log")
        for kind, norms in found["gradient"][when].items():
            _line(axes, found["distances"], [max(norm, SMALLEST) for norm in norms], kind)
        axes.set_ylim(lowest / 5, 100)
        axes.set_yticks([10.0**power for power in range(0, math.floor(math.log10(lowest)) - 1, -step)])
        axes.set_yticks([], minor=True)
    for kind, shares in found["accuracy"].items():
        _line(panels[2], found["asked"], shares, kind)
    panels[2].axhline(found["chance"], color=color("muted"), linewidth=0.8, linestyle=":")
    panels[2].text(1, found["chance"] - 0.015, "chance", fontsize=8, color=color("muted"), va="top")
    _percent(panels[2])
    for axes in panels:
        axes.set_xlabel("distance", fontsize=9, color=color("muted"))
    _legend(panels[0])
    return figure


def scale(found: Mapping[str, Any]) -> Figure:
    """Entropy and gradient against the width of a head, in three ways."""
    figure = _figure(8.0, 3.5)
    entropy = _axes(figure, 0.07, 0.17, 0.40, 0.66, f"entropy of a row, share of ln {found['keys']}")
    gradient = _axes(figure, 0.57, 0.17, 0.40, 0.66, "gradient through the softmax")
    looks = {"scaled": ("c6", "o", 4.5), "unscaled": ("c1", "s", 1.7), "unscaled, T5's weights": ("c0", "^", 1.3)}
    for way, measures in found["ways"].items():
        tint, marker, width = looks[way]
        for axes, name in ((entropy, "entropy"), (gradient, "gradient")):
            axes.plot(found["widths"], measures[name], color=color(tint), marker=marker, markersize=3 + width,
                      linewidth=width, label=way)
    gradient.set_yscale("log")
    entropy.set_ylim(0, 1)
    for axes in (entropy, gradient):
        axes.set_xscale("log", base=2)
        axes.set_xticks(found["widths"], [f"{width:,}" for width in found["widths"]])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("width of a head", fontsize=9, color=color("muted"))
    _legend(gradient)
    return figure


def heads(found: Mapping[str, Any]) -> Figure:
    """Accuracy against the number of heads, with the numbers a head has."""
    figure = _figure(5.4, 3.5)
    title = f"said right, width {found['size']}, after {found['steps']} steps (dotted: chance)"
    axes = _axes(figure, 0.10, 0.22, 0.86, 0.62, title)
    places = range(len(found["rows"]))
    bars = [row["accuracy"] for row in found["rows"]]
    axes.bar(places, bars, width=0.62, color=color("c0"))
    for place, height in zip(places, bars, strict=True):
        axes.text(place, height + 0.015, f"{100 * height:.0f} %", ha="center", va="bottom", fontsize=9,
                  color=color("ink"))
    axes.set_xticks(places, [f"{row['heads']}\n{row['head_size']} wide" for row in found["rows"]])
    axes.axhline(found["chance"], color=color("c1"), linewidth=1.0, linestyle=":")
    axes.set_xlabel("heads", fontsize=9, color=color("muted"))
    _percent(axes, 1.12)
    return figure


def masks(found: Mapping[str, Any]) -> Figure:
    """The grids side by side: colored where a row may look."""
    import numpy as np

    cell, gap, above = 0.145, 0.42, 0.36
    shapes = [(len(mask["grid"]), len(mask["grid"][0])) for mask in found.values()]
    rooms = [max(columns * cell, 0.068 * len(mask["title"])) + gap  # a narrow grid may have a wide title
             for (_, columns), mask in zip(shapes, found.values(), strict=True)]
    rows = _wrapped(rooms, 9.2)
    wide = max(sum(rooms[i] for i in row) for row in rows) + 0.1
    heights = [max(max(shapes[i][0] for i in row) * cell, 1.0) + above for row in rows]
    figure = _figure(wide, sum(heights) + 0.2)
    top, all_masks = sum(heights) + 0.1, list(found.values())
    high = sum(heights) + 0.2
    for row, height in zip(rows, heights, strict=True):
        left = 0.2
        for i in row:
            (t, s), mask = shapes[i], all_masks[i]
            low = top - above - t * cell + 0.1
            axes = figure.add_axes((left / wide, low / high, s * cell / wide, t * cell / high))
            axes.pcolormesh(np.array(mask["grid"])[::-1], cmap=_two_colors(), vmin=0, vmax=1, edgecolors="white",
                            linewidth=0.8)
            axes.set_axis_off()
            figure.text(left / wide, (top - 0.02) / high, mask["title"], fontsize=8.5, color=color("ink"), va="top")
            left += rooms[i]
        top -= height
    return figure


PICTURES: dict[str, Callable[[Mapping[str, Any]], Figure]] = {
    "vanish": vanish, "scale": scale, "heads": heads, "masks": masks, "positions": positions,
    "schedule": schedule,
}


def _figure(wide: float, high: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(wide, high), layout=None, facecolor="none")


def _axes(figure: Figure, left: float, low: float, wide: float, high: float, title: str) -> Axes:
    axes = figure.add_axes((left, low, wide, high))
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(color("line"))
    axes.grid(axis="y", color=color("line"), linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="both", which="both", length=0, labelsize=8.5, colors=color("muted"), pad=4)
    axes.set_title(title, fontsize=9.5, color=color("ink"), loc="left", pad=9)
    return axes


def _line(axes: Axes, x: Sequence[float], y: Sequence[float], kind: str) -> None:
    marker = {"rnn": "s", "lstm": "^", "attention": "o"}[kind]
    axes.plot(x, y, color=color(TINTS[kind]), marker=marker, markersize=4, linewidth=1.7, label=NAMES[kind])


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower left", fontsize=8.5, frameon=False, labelcolor=color("ink"), handlelength=1.6)


def _percent(axes: Axes, top: float = 1.05) -> None:
    axes.set_ylim(0, top)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], [f"{share} %" for share in (0, 25, 50, 75, 100)])


def _wrapped(widths: Sequence[float], room: float) -> list[list[int]]:
    """Indices in rows, none wider than `room` unless a single one is."""
    rows: list[list[int]] = [[]]
    for i, width in enumerate(widths):
        if rows[-1] and sum(widths[j] for j in rows[-1]) + width > room:
            rows.append([])
        rows[-1].append(i)
    return rows


def _two_colors() -> Any:
    from matplotlib.colors import ListedColormap

    return ListedColormap([color("line"), color("c0")])


def _svg_file(figure: Figure, name: str) -> str:
    """A file of its own: names of the format, and plain colors instead of the page's variables."""
    from polysemy.report.style import COLORS

    svg = to_svg(figure, name, f"picture of the demonstration {name}")
    for variable, (light, _) in COLORS.items():
        svg = svg.replace(f"var(--{variable})", light)
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return svg.replace("<svg", f"<svg {names} font-family=\"sans-serif\"", 1)
