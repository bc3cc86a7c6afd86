"""What each layer knows: the scores of linear probes over the layers of a model, several tasks in one picture.

Takes the plain values of `polysemy.training.probe`.  The scale is the correlation of answer and truth (Matthews for
labels, Spearman for numbers): 0 is what the most frequent answer gets in every task, 1 the truth.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polysemy.artifact import new_folder, write_bytes, write_json
from polysemy.report.style import axis_titles, color, new_figure, series, spread, to_png, to_svg, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STATIC_PLACE = -1
"""column of the control: the token vectors without any context"""


def layers_picture(results: Mapping[str, Mapping[str, Any]]) -> Figure:
    """A line a task, named at its end, the best layer ringed; hollow marks at the left are the static controls."""
    figure, axes = new_figure(width=6.6, height=3.9)
    axes.set_position((0.085, 0.16, 0.715, 0.74))
    last = max(row["layer"] for result in results.values() for row in result["layers"])
    ends, tops = [], [0.0]
    for number, (name, result) in enumerate(results.items()):
        tint, marker = series(number)
        metric = result["metric"]
        places = [row["layer"] for row in result["layers"]]
        scores = [row[metric] for row in result["layers"]]
        static = result["controls"]["static"][metric]
        axes.plot([STATIC_PLACE, places[0]], [static, scores[0]], color=tint, linewidth=1.0, linestyle=(0, (2, 2)))
        axes.plot([STATIC_PLACE], [static], marker=marker, color=tint, markerfacecolor="#fefefe", markersize=5.5,
                  linestyle="none")
        axes.plot(places, scores, color=tint, linewidth=1.9, marker=marker, markersize=4.5)
        best = places.index(result["best"])
        axes.plot([places[best]], [scores[best]], marker="o", markersize=11, markerfacecolor="none",
                  markeredgecolor=tint, markeredgewidth=1.0, linestyle="none")
        ends.append((name, scores[-1], max(scores), tint))
        tops += [*scores, static]
    top, low = min(1.0, max(tops) * 1.08 + 0.02), min(0.0, *tops, *(end[1] for end in ends)) - 0.02
    axes.set_ylim(low, top)
    axes.set_xlim(STATIC_PLACE - 0.35, last + 0.25)
    axes.axhline(0, color=color("control"), linewidth=1.0)
    write(axes, STATIC_PLACE - 0.3, 0.008 * (top - low), "the most frequent answer", fontsize=8, color=color("muted"),
          va="bottom")
    step = max(1, -(-(last + 1) // 13))
    ticks = [STATIC_PLACE, *range(0, last + 1, step)]
    axes.set_xticks(ticks, ["no\ncontext", *map(str, ticks[1:])])
    axis_titles(axes, "layer (0 is the embedding)", "correlation of the answer with the truth")
    heights = spread([end[1] for end in ends], 0.085 * (top - low), low + 0.03 * (top - low), top)
    for (name, _, best_score, tint), height in zip(ends, heights, strict=True):
        write(axes, last + 0.35, height, f"{name}  best {best_score:.2f}", color=tint, va="center", clip_on=False)
    return figure


def write_probe(out: str | Path, results: Mapping[str, Mapping[str, Any]] | Mapping[str, Any], *,
                overwrite: bool = False) -> None:
    """The folder `out` with probe.json, layers.png and layers.svg, complete or not at all.

    `results` is what `training.probe.probe` gave, or several of them by name.
    """
    several: Mapping[str, Any] = {str(results["task"]): results} if "layers" in results else results
    figure = layers_picture(several)
    with new_folder(out, overwrite=overwrite) as folder:
        write_json(folder / "probe.json", {name: dict(result) for name, result in several.items()})
        write_bytes(folder / "layers.png", to_png(figure))
        write_bytes(folder / "layers.svg", standing_alone(to_svg(figure, "layers", "what each layer knows")).encode())


def standing_alone(svg: str) -> str:
    """An SVG of a page as a file of its own: its colors, in light and dark, and the name of the format."""
    from polysemy.report.style import style_sheet

    light, dark = style_sheet()
    style = f"<style>svg{{{light}font-family:sans-serif}}@media(prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
    head, rest = svg.split(">", 1)
    return f'{head} xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">{style}{rest}'


def table_rows(result: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """(heading, rows) for the terminal: a row a layer and the controls first."""
    names: Sequence[str] = [name for name in result["layers"][0] if name != "layer"]
    controls = [(name, *(f"{scores[key]:.4f}" for key in names)) for name, scores in result["controls"].items()]
    rows = [(f"layer {row['layer']}" + (" *" if row["layer"] == result["best"] else ""),
             *(f"{row[key]:.4f}" for key in names)) for row in result["layers"]]
    return ("", *(name.replace("_", " ") for name in names)), [*controls, *rows]
