"""What a model looked at, as one PNG: a single head with the text at both sides, or all heads of a layer as small maps.
"""
from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polysemy.artifact import write_bytes
from polysemy.errors import InputError
from polysemy.models.attention_maps import AttentionMap, check, choose, unseen
from polysemy.report import wording
from polysemy.report.style import color, to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS = 64
"""pieces beyond which only every second, third, ... is named"""
LONGEST = 16
HAN_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei",
             "PingFang SC", "Hiragino Sans GB", "Heiti SC", "Microsoft YaHei", "SimHei", "Arial Unicode MS")
MIX = 0.5  # colors go with the root of a weight, so that 5 % is seen beside 100 %


def draw(found: AttentionMap, path: str | Path, *, layer: int | str = "mean", head: int | str | None = "mean",
         title: str = "", dpi: int = 150) -> Path:
    """Write the picture; `head` None draws all heads of the layer, else see `attention_maps.choose`."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"picture must be a file name that ends in .png, got {path}")
    check(found)
    if head is None and layer != "rollout" and found.weights.shape[1] > 1:
        figure = heads_figure(found, layer, title)
    else:
        figure = one_figure(found, choose(found, layer, "mean" if head is None else head), title)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, to_png(figure, dpi))
    return path


def one_figure(found: AttentionMap, weights: np.ndarray, title: str = "") -> Figure:
    """A heat map (t, s) with the pieces at the left (who looks) and above (what is looked at)."""
    t, s = weights.shape
    left, top = (0.2 + 0.085 * max(_width(_short(name)) for name in names) for names in (found.pieces, found.asked))
    cell = min(0.3, max(8.0 / max(t, s), 0.075))
    wide, high = left + s * cell + 0.2, top + t * cell + 0.2 + 0.35 * bool(title)
    wide, right = max(wide, 3.2), max(0.0, 3.2 - wide)
    figure = _figure(wide, high)
    axes = figure.add_axes((left / wide, 0.15 / high, (wide - left - right - 0.15) / wide, t * cell / high))
    _map(axes, weights, unseen(found.weights))
    _names(axes, found.pieces, found.asked, cell)
    if title:
        _write(figure, 0.12 / wide, 1 - 0.1 / high, _cut(title, int(wide * 12)))
    return figure


def heads_figure(found: AttentionMap, layer: int | str, title: str = "") -> Figure:
    """The heads of one layer (or their means over all layers) as small maps without names."""
    heads = found.weights.shape[1]
    columns = min(heads, 4 if heads <= 8 else 6)
    rows = math.ceil(heads / columns)
    side, gap, above = 1.35, 0.12, 0.3
    wide, high = columns * (side + gap) + 0.3, rows * (side + above) + 0.25 + 0.35 * bool(title)
    figure = _figure(wide, high)
    hidden = unseen(found.weights)
    for number in range(heads):
        row, column = divmod(number, columns)
        x, y = 0.2 + column * (side + gap), high - 0.35 * bool(title) - 0.1 - (row + 1) * (side + above)
        axes = figure.add_axes((x / wide, y / high, side / wide, side / high))
        _map(axes, choose(found, layer, number + 1), hidden)
        _write(figure, x / wide, (y + side + 0.22) / high, f"head {number + 1}", size=8.5, tint="muted")
    if title:
        _write(figure, 0.2 / wide, 1 - 0.1 / high, _cut(title, int(wide * 12)))
    return figure


def _figure(wide: float, high: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(wide, high), layout=None, facecolor="white")


def _map(axes: Axes, weights: np.ndarray, hidden: np.ndarray) -> None:
    full, paper, blank = (np.array(_rgb(color(name))) for name in ("c0", "paper", "line"))
    base = np.where(hidden[..., None], 0.45 * blank + 0.55 * paper, paper)
    strength = np.clip(weights, 0, 1)[..., None] ** MIX
    axes.imshow(base + (full - base) * strength, aspect="auto", interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(color("line"))


def _rgb(hex_color: str) -> tuple[float, ...]:
    return tuple(int(hex_color[at:at + 2], 16) / 255 for at in (1, 3, 5))


def _names(axes: Axes, queries: Sequence[str], keys: Sequence[str], cell: float) -> None:
    size = min(9.5, max(5.5, 62 * cell))
    common: dict[str, Any] = {"fontsize": size, "color": color("ink"), "parse_math": False, "family": fonts()}
    gap = 0.06 / cell
    for i, name in enumerate(queries):
        if i % math.ceil(len(queries) / LABELS) == 0:
            axes.text(-0.5 - gap, i, _drawable(_short(name)), ha="right", va="center", **common)
    for j, name in enumerate(keys):
        if j % math.ceil(len(keys) / LABELS) == 0:
            axes.text(j, -0.5 - gap, _drawable(_short(name)), ha="center", va="bottom", rotation=90, **common)


def _write(figure: Figure, x: float, y: float, text: str, *, size: float = 10.5, tint: str = "ink") -> None:
    figure.text(x, y, _drawable(text), fontsize=size, color=color(tint), va="top", ha="left", parse_math=False,
                family=fonts())


def _short(text: str) -> str:
    return _cut(wording.one_line(text) or "▁", LONGEST)


def _cut(text: str, longest: int) -> str:
    text = wording.one_line(text)
    while _width(text) > longest:
        text = text[:-2].rstrip("…") + "…"
    return text


def _width(text: str) -> float:
    return sum(1.75 if ord(character) > 0x2E80 else 1.0 for character in text)


@functools.cache
def fonts() -> list[str]:
    """Fonts to draw with, tried in this order for each character: one with Chinese joins where the machine has one."""
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *[name for name in HAN_FONTS if name in installed][:1]]


@functools.cache
def _known() -> frozenset[int]:
    from matplotlib import font_manager

    known: set[int] = set()
    for name in fonts():
        known |= set(font_manager.get_font(font_manager.findfont(name)).get_charmap())
    return frozenset(known)


def _drawable(text: str) -> str:
    """Characters that no font here has become `·`: better than empty boxes."""
    return "".join(character if ord(character) in _known() else "·" for character in text)
