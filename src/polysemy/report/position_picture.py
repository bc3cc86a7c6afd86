"""The sinusoids of positions as a heat map, from the plain values of `polysemy.demos.positions`."""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from polysemy.report.style import color

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def positions(found: Mapping[str, Any]) -> Figure:
    """A row a position, a column a coordinate: fast waves on the left, slow ones on the right; and products beside."""
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    table = np.array(found["table"])
    tints = LinearSegmentedColormap.from_list("waves", [color("c1"), "white", color("c0")])
    figure = Figure(figsize=(8.4, 3.9), layout=None, facecolor="none")
    panels = [figure.add_axes((left, 0.16, 0.38, 0.70)) for left in (0.08, 0.57)]
    shown = (table, table @ table.T)
    titles = ("sines and cosines of a position", "product of two positions")
    names = (("coordinate", "position"), ("position", "position"))
    for axes, values, title, (across, down) in zip(panels, shown, titles, names, strict=True):
        largest = np.abs(values).max()
        axes.imshow(values, cmap=tints, vmin=-largest, vmax=largest, aspect="auto", interpolation="nearest")
        axes.set_title(title, fontsize=9.5, color=color("ink"), loc="left")
        axes.set_xlabel(across, fontsize=9, color=color("muted"))
        axes.set_ylabel(down, fontsize=9, color=color("muted"))
        axes.tick_params(labelsize=8, colors=color("muted"), length=2)
        for spine in axes.spines.values():
            spine.set_color(color("line"))
    return figure
