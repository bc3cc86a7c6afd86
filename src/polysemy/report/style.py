"""One look for all pictures: colors that color-blind readers tell apart, few lines, labels at the data.

A picture is drawn once. In the page its colors become CSS variables, so that it follows light, dark and print;
beside the page it is kept as a PNG in the light colors.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# name -> (light, dark); each light value is unique, because the SVG is recolored by value.
COLORS: dict[str, tuple[str, str]] = {
    "ink": ("#1b2430", "#e8ecf1"),
    "muted": ("#5f6b7a", "#9aa7b6"),
    "line": ("#d5dbe3", "#36404d"),
    "paper": ("#fefefe", "#171c23"),
    "c0": ("#0b63a8", "#6cb4f0"),
    "c1": ("#c24d08", "#f3935b"),
    "c2": ("#0a7a5f", "#4fc9a6"),
    "c3": ("#a33b7b", "#e78fc4"),
    "c4": ("#826400", "#dcbb4e"),
    "c5": ("#574fb0", "#aaa1f4"),
    "c6": ("#17798f", "#6fd0e4"),
    "c7": ("#8a4a3c", "#dba394"),
    "control": ("#6e7883", "#95a0ad"),
}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
WIDTH, HEIGHT = 4.9, 3.55  # inches: small, so that the text stays readable when a phone shrinks the picture
SERIES = 8


def color(name: str) -> str:
    """The light value, which the page turns into the variable."""
    return COLORS[name][0]


def series(number: int | None) -> tuple[str, str]:
    """(color, marker) of the rung with this number among the colored ones; None is a control, gray."""
    if number is None:
        return color("control"), "o"
    return color(f"c{number % SERIES}"), MARKERS[(number + 3 * (number // SERIES)) % SERIES]


def style_sheet() -> tuple[str, str]:
    """The colors as CSS custom properties: light, dark."""
    light, dark = ("".join(f"--{name}:{pair[i]};" for name, pair in COLORS.items()) for i in (0, 1))
    return light, dark


def new_figure(width: float = WIDTH, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """A figure that belongs to nobody else (no pyplot, no global state)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=None, facecolor="none")
    axes = figure.add_axes((0.115, 0.15, 0.70, 0.77))
    axes.set_facecolor("none")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(color("line"))
    axes.grid(axis="y", color=color("line"), linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="both", which="both", length=0, labelsize=9, colors=color("muted"), pad=5)
    return figure, axes


def write(axes: Axes, x: float, y: float, text: str, **more: Any) -> Any:
    """Text that is never taken for a formula, whatever a name holds."""
    more = {"fontsize": 9.5, "color": color("ink"), **more}
    return axes.text(x, y, drawable(text), parse_math=False, **more)


def axis_titles(axes: Axes, x: str, y: str) -> None:
    """The y title lies flat above the axis, where it is read first."""
    axes.set_xlabel(drawable(x), fontsize=9.5, color=color("muted"), labelpad=6, parse_math=False)
    axes.text(
        -0.11, 1.045, drawable(y), transform=axes.transAxes, fontsize=9.5, color=color("muted"), parse_math=False
    )


def spread(wanted: list[float], gap: float, low: float, high: float) -> list[float]:
    """Places as near as possible to `wanted`, at least `gap` apart, inside low..high where they fit."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    gap = min(gap, (high - low) / max(1, len(wanted) - 1)) if len(wanted) > 1 else gap
    places: list[list[float]] = []  # runs of touching labels: [center, how many]
    for index in order:
        places.append([wanted[index], 1])
        while len(places) > 1 and places[-1][0] - places[-2][0] < gap * (places[-1][1] + places[-2][1]) / 2:
            (second, n), (first, m) = places.pop(), places.pop()
            places.append([(first * m + second * n) / (m + n), m + n])
    result = [0.0] * len(wanted)
    flat = [center + gap * (i - (n - 1) / 2) for center, n in places for i in range(int(n))]
    flat = _inside(flat, gap, low, high)
    for index, place in zip(order, flat, strict=True):
        result[index] = place
    return result


def _inside(flat: list[float], gap: float, low: float, high: float) -> list[float]:
    for i, place in enumerate(flat):
        flat[i] = max(place, low if i == 0 else flat[i - 1] + gap)
    for i in range(len(flat) - 1, -1, -1):
        flat[i] = min(flat[i], high if i == len(flat) - 1 else flat[i + 1] - gap)
    return flat


def drawable(text: object) -> str:
    """Text that the picture's font can draw; a page writes the rest as HTML, where every script renders.

    Characters outside the font become `·`: better than empty boxes.
    """
    known = _known_characters()
    return "".join(c if ord(c) in known else "·" for c in str(text))


_FONT: list[frozenset[int]] = []


def _known_characters() -> frozenset[int]:
    if not _FONT:
        from matplotlib import font_manager

        path = font_manager.findfont("DejaVu Sans")
        _FONT.append(frozenset(font_manager.get_font(path).get_charmap()) - {0x0A, 0x0D, 0x09})
    return _FONT[0]


def to_png(figure: Figure, dpi: int = 200) -> bytes:
    """The picture on white paper."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def to_svg(figure: Figure, name: str, label: str) -> str:
    """Inline SVG for an HTML page: text stays text, colors are variables, ids are its own, no URL is left."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "svg.id": None}):
        nobody = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nobody)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s(?:xmlns(?::\w+)?|version)="[^"]*"', "", svg)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'^<svg([^>]*?) width="[^"]*"', r"<svg\1", svg)
    svg = re.sub(r'^<svg([^>]*?) height="[^"]*"', r"<svg\1", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    return recolor(svg).replace("<svg", f'<svg role="img" aria-label="{_attribute(label)}"', 1)


def recolor(svg: str) -> str:
    """Colors of the style as CSS variables, which follow the page's theme."""
    for name, (light, _) in COLORS.items():
        svg = re.sub(re.escape(light), f"var(--{name})", svg, flags=re.IGNORECASE)
    return svg


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
