"""Learning rates over a budget, from the plain values of `polysemy.demos.schedule`."""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from polysemy.report.style import axis_titles, new_figure, series, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def schedule(found: Mapping[str, Any]) -> Figure:
    """A line a schedule, named where it ends."""
    figure, axes = new_figure(width=6.6, height=3.4)
    axes.set_position((0.09, 0.17, 0.74, 0.74))
    for number, (name, factors) in enumerate(found["factors"].items()):
        tint, _ = series(number)
        axes.plot(found["fractions"], factors, color=tint, linewidth=1.8)
        offset = {"linear": 0.0, "cosine": 0.065}.get(name, 0.0)
        write(axes, 1.02, factors[-1] + offset, name.replace("_", " "), color=tint, va="center", clip_on=False)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.05)
    axis_titles(axes, "part of the budget done", "learning rate, part of the peak")
    return figure
