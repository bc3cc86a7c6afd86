"""The report's pictures: scores against time, size and latency, and by how frequent the words are.

Every function takes the rungs of a study (plain dicts, see `page`) and gives a figure, or None where there is
nothing to draw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from polysemy.report import wording
from polysemy.report.style import axis_titles, color, new_figure, series, spread, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rung = dict[str, Any]
CHANCE = 1 / 16
LABEL_GAP = 0.058  # of the axis height: one line of text


def pictures(study: dict[str, Any]) -> list[tuple[str, str, str, Figure]]:
    """(name, title, how to read it, figure) of every picture that the study has data for."""
    limits = study.get("limits") or {}
    # Controls that only guess lie on the chance line; the page has a table for them.
    rungs = [rung for rung in study["rungs"] if rung.get("kind") != "control" or rung.get("counts")]
    found = [
        (
            "accuracy-seconds",
            "Cloze accuracy while training goes on",
            "Each point is a checkpoint (of word vectors a shorter run), judged by some of the questions and at the "
            "end by all; the upright line there is the 95 % interval. Dashed lines took no training time worth "
            "drawing. Where a curve crosses a dashed line, context begins to beat counting.",
            accuracy_over_time(rungs),
        ),
        (
            "loss-seconds",
            "Held-out loss while training goes on",
            "Masked-token loss in nats on held-out text: the same hidden tokens for all rungs, whatever they hide in "
            "training. Comparable only among rungs with the same tokenizer.",
            loss_over_time(rungs, "loss", "nats a token"),
        ),
        (
            "bits-seconds",
            "Bits per byte while training goes on",
            "How many bits a model that gives texts a probability needs for a byte of held-out text; lower is better. "
            "The dashed line is the n-gram model of the same pieces.",
            loss_over_time(rungs, "bits_per_byte", "bits a byte"),
        ),
        (
            "accuracy-bytes",
            "Cloze accuracy against size",
            "Bytes of the files that must be shipped. Up and to the left is better; the thin line joins the rungs that "
            "no other beats in both.",
            trade_off(rungs, "bytes", "megabytes to ship", 1e-6, limits.get("max_mb")),
        ),
        (
            "accuracy-milliseconds",
            "Cloze accuracy against latency",
            "Milliseconds for one text on one core. Up and to the left is better.",
            trade_off(rungs, "milliseconds", "milliseconds on one core", 1.0, limits.get("max_ms")),
        ),
        (
            "accuracy-bands",
            "Cloze accuracy by how frequent the word is",
            "Items are grouped by the training frequency of the missing word; distractors come from the same band, so "
            "frequency alone cannot help. The headline is the plain mean of the bands.",
            by_band(rungs, study.get("cloze", {}).get("bands", [])),
        ),
    ]
    found.insert(1, (
        "labels",
        "The task with labels",
        "Part of unseen texts that got the right label; the line on each bar is the 95 % interval. Gray bars, and an "
        "n-gram a label, know the labeled texts alone; the dotted line always says the most frequent label.",
        label_bars(study["rungs"]),
    ))
    found += [(f"words-{rung['series']}", f"Words near each other: {rung['label']}", _near(rung["words"]),
               word_map(rung["words"])) for rung in rungs if rung.get("words")]
    return [(name, title, note, figure) for name, title, note, figure in found if figure is not None]


def accuracy_over_time(rungs: Sequence[Rung]) -> Figure | None:
    """Curves of the trained rungs on a logarithmic time axis, controls and downloads as level lines."""
    curves = [(rung, _points(rung, "accuracy")) for rung in rungs]
    moving = [(rung, points) for rung, points in curves if len(points) > 1]
    level = [rung for rung, points in curves if len(points) <= 1 and _score(rung) is not None]
    if not moving:
        return None
    figure, axes = new_figure()
    labels: list[tuple[float, str, str]] = []
    for rung, points in moving:
        tint, marker = series(rung["series"])
        final = _score(rung)
        _curve(axes, points, tint, marker)
        interval = rung["cloze"].get("interval") if rung.get("cloze") else None
        if final is not None and interval:
            axes.vlines(points[-1][0], *interval, color=tint, linewidth=1.2)
        labels.append((points[-1][1], rung["label"], tint))
    for rung in level:
        tint, _ = series(rung["series"])
        score = rung["cloze"]["accuracy"]
        axes.axhline(score, color=tint, linewidth=1, linestyle=(0, (4, 2.5)))
        labels.append((score, rung["label"], tint))
    top = max([point[1] for _, points in moving for point in points] + [place for place, _, _ in labels])
    _percent_axis(axes, top)
    _chance(axes)
    _seconds_axis(axes)
    axis_titles(axes, "seconds of training", "accuracy, 16 choices")
    _labels_at_right(axes, labels)
    return figure


def loss_over_time(rungs: Sequence[Rung], key: str, title: str) -> Figure | None:
    """Held-out loss of the trained rungs on the same time axis; rungs with one number only as level lines."""
    curves = [(rung, points) for rung in rungs if len(points := _points(rung, key)) > 1]
    if not curves:
        return None
    figure, axes = new_figure()
    labels = []
    for rung, points in curves:
        tint, marker = series(rung["series"])
        _curve(axes, points, tint, marker if len(points) < 12 else "")
        labels.append((points[-1][1], rung["label"], tint))
    for rung in (rung for rung in rungs if rung.get(key) is not None and len(_points(rung, key)) <= 1):
        tint, _ = series(rung["series"])
        axes.axhline(rung[key], color=tint, linewidth=1, linestyle=(0, (4, 2.5)))
        labels.append((rung[key], rung["label"], tint))
    _seconds_axis(axes)
    axes.margins(y=0.12)
    axis_titles(axes, "seconds of training", title)
    _labels_at_right(axes, labels)
    return figure


def label_bars(rungs: Sequence[Rung]) -> Figure | None:
    """A bar a rung, best first, in its color; the most frequent label as a line."""
    scored = [rung for rung in rungs if (rung.get("downstream") or {}).get("score") is not None]
    floor = next((rung["downstream"]["score"] for rung in scored if rung["name"] == "unigram"), None)
    shown = sorted((rung for rung in scored if rung["name"] != "unigram"), key=lambda rung: rung["downstream"]["score"])
    if len(shown) < 2:
        return None
    figure, axes = new_figure(height=max(2.2, 0.75 + 0.26 * len(shown)))
    axes.set_position((0.31, 0.16, 0.63, 0.78))
    for place, rung in enumerate(shown):
        tint, found = series(rung["series"])[0], rung["downstream"]
        axes.barh(place, found["score"], height=0.62, color=tint, alpha=0.5 if rung["series"] is None else 0.85)
        axes.hlines(place, *found["interval"], color=color("ink"), linewidth=1.1)
        write(axes, found["interval"][1], place, f" {wording.percent(found['score'])}", fontsize=8.5, va="center")
        write(axes, -0.015, place, wording.one_line(rung["label"], 20), color=tint, va="center", ha="right",
              transform=axes.get_yaxis_transform())
    axes.set_xlim(0, 1.13 * max(rung["downstream"]["interval"][1] for rung in shown))
    if floor is not None:
        axes.axvline(floor, color=color("muted"), linewidth=0.9, linestyle=":")
        write(axes, floor, 1.01, "most frequent label", fontsize=8, color=color("muted"), va="bottom", ha="left",
              transform=axes.get_xaxis_transform())
    axes.set_yticks([])
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_formatter(lambda value, _: wording.percent(value, 0) if value <= 1 else "")
    return figure


def word_map(words: dict[str, Any]) -> Figure:
    """Some words and their nearest ones on the plane of their two principal components, a color for each group."""
    figure, axes = new_figure(6.4, 4.6)
    points = [(point["x"], point["y"], point["word"], series(point["seed"])[0]) for point in words["points"]]
    for x, y, _, tint in points:
        axes.plot(x, y, "o", color=tint, markersize=3.5)
    axes.set_xticks([])
    axes.set_yticks([])
    for limit, values in ((axes.set_xlim, [x for x, *_ in points]), (axes.set_ylim, [y for _, y, *_ in points])):
        room = 0.12 * (max(values) - min(values) or 1.0)
        limit(min(values) - room, max(values) + room)  # fixed before labels look for their places
    axis_titles(axes, "first principal component", "second")
    _labels_at_points(axes, points)
    return figure


def _near(words: dict[str, Any]) -> str:
    lists = (f"{seed['word']}: " + ", ".join(one["word"] for one in seed["near"]) for seed in words["seeds"])
    return "Nearest by cosine. " + "; ".join(lists) + ". Two dimensions of many: what is near here need not be near."


def trade_off(rungs: Sequence[Rung], key: str, title: str, scale: float, limit: float | None) -> Figure | None:
    """Accuracy against a cost on a logarithmic axis, with the frontier and the user's limit."""
    points = [
        (rung[key] * scale, rung["cloze"]["accuracy"], rung)
        for rung in rungs
        if rung.get(key) and _score(rung) is not None and rung["series"] is not None
    ]
    if len(points) < 2:
        return None
    figure, axes = new_figure()
    axes.set_xscale("log")
    low, high = min(x for x, *_ in points), max(x for x, *_ in points)
    if limit is not None:
        high = max(high, limit)
        axes.axvspan(limit, high * 100, color=color("line"), alpha=0.35, linewidth=0, zorder=0)
        write(axes, limit, 0.985, " over your limit", fontsize=8.5, color=color("muted"), va="top",
              transform=axes.get_xaxis_transform())
    margin = max(1.6, (high / low) ** 0.08)
    axes.set_xlim(low / margin, high * margin**1.5)
    levels = [rung for rung in rungs if rung["series"] is None and _score(rung) is not None]
    _percent_axis(axes, max([y for _, y, _ in points] + [rung["cloze"]["accuracy"] for rung in levels]))
    _frontier(axes, points)
    for x, y, rung in points:
        tint, marker = series(rung["series"])
        interval = rung["cloze"].get("interval")
        if interval:
            axes.vlines(x, *interval, color=tint, linewidth=1, zorder=2)
        axes.plot([x], [y], marker, color=tint, markersize=7, zorder=3)
    for rung in levels:
        axes.axhline(rung["cloze"]["accuracy"], color=color("control"), linewidth=1, linestyle=(0, (4, 2.5)), zorder=1)
    _labels_at_right(axes, [(rung["cloze"]["accuracy"], rung["label"], color("control")) for rung in levels])
    _chance(axes)
    _plain_log_ticks(axes)
    axis_titles(axes, title, "accuracy, 16 choices")
    _labels_at_points(axes, [(x, y, rung["label"], series(rung["series"])[0]) for x, y, rung in points])
    return figure


def _frontier(axes: Axes, points: Sequence[tuple[float, float, Rung]]) -> None:
    """A stair through the points that no other beats in both."""
    best, stair = -1.0, []
    for x, y, _ in sorted(points, key=lambda point: (point[0], -point[1])):
        if y > best:
            stair.append((x, y))
            best = y
    if len(stair) > 1:
        axes.step(*zip(*stair, strict=True), where="post", color=color("muted"), linewidth=1, alpha=0.6, zorder=1)


def by_band(rungs: Sequence[Rung], bands: Sequence[dict[str, Any]]) -> Figure | None:
    """A line for each rung over the frequency bands, frequent words at the left."""
    shown = [rung for rung in rungs if _score(rung) is not None and rung["cloze"].get("bands")]
    if not shown or len(bands) < 2:
        return None
    figure, axes = new_figure()
    labels = []
    for rung in shown:
        control = rung["series"] is None
        tint, marker = series(rung["series"])
        values = [band.get("accuracy") for band in rung["cloze"]["bands"]]
        points = [(x, value) for x, value in enumerate(values) if value is not None]
        if not points:
            continue
        axes.plot(
            *zip(*points, strict=True), marker=marker, color=tint, linewidth=1 if control else 1.8, markersize=5,
            linestyle=(0, (4, 2.5)) if control else "-", markerfacecolor=color("paper") if control else tint,
        )
        labels.append((points[-1][1], rung["label"], tint))
    axes.set_xticks(range(len(bands)), [str(band["name"]) for band in bands], parse_math=False)
    axes.set_xlim(-0.2, len(bands) - 0.9)
    _percent_axis(axes, axes.dataLim.y1)
    _chance(axes)
    axis_titles(axes, "frequency rank of the missing word", "accuracy, 16 choices")
    _labels_at_right(axes, labels)
    return figure


def _points(rung: Rung, key: str) -> list[tuple[float, float]]:
    points = [(row["seconds"], row[key]) for row in rung.get("curve") or () if row.get(key) is not None]
    return sorted((x, y) for x, y in points if x > 0 and math.isfinite(y))


def _score(rung: Rung) -> float | None:
    return (rung.get("cloze") or {}).get("accuracy")


def _curve(axes: Axes, points: Sequence[tuple[float, float]], tint: str, marker: str) -> None:
    axes.plot(*zip(*points, strict=True), color=tint, linewidth=1.8, marker=marker or None, markersize=5,
              solid_capstyle="round")


def _chance(axes: Axes) -> None:
    axes.axhline(CHANCE, color=color("muted"), linewidth=0.8, linestyle=":")
    write(axes, 0.005, CHANCE, "chance", fontsize=8, color=color("muted"), va="bottom", ha="left",
          transform=axes.get_yaxis_transform())


def _seconds_axis(axes: Axes) -> None:
    axes.set_xscale("log")
    low, high = axes.dataLim.x0, axes.dataLim.x1
    axes.set_xlim(low / 1.25, high * 1.06)
    _plain_log_ticks(axes)


def _plain_log_ticks(axes: Axes) -> None:
    """1, 2, 5, 10, ... as plain numbers, no more than six."""
    low, high = axes.get_xlim()
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**d for d in decades for step in steps if low <= step * 10.0**d <= high]
        if len(ticks) <= 6:
            break
    axes.set_xticks(ticks, [f"{tick:,.0f}" if tick >= 1 else f"{tick:.10f}".rstrip("0") for tick in ticks])
    axes.set_xticks([], minor=True)


def _percent_axis(axes: Axes, top: float) -> None:
    """From 0 to somewhat over the highest value, with whole percents at the ticks."""
    from matplotlib.ticker import MultipleLocator

    high = min(1.0, max(0.2, 1.15 * top))
    axes.set_ylim(0, high)
    axes.yaxis.set_major_locator(MultipleLocator(next(step for step in (0.05, 0.1, 0.2) if high / step <= 6.5)))
    axes.yaxis.set_major_formatter(lambda value, _: wording.percent(value, 0))


def _labels_at_right(axes: Axes, labels: list[tuple[float, str, str]]) -> None:
    """Names beside the ends of their lines, moved apart, with a hair line where they moved."""
    low, high = axes.get_ylim()
    places = spread([(y - low) / (high - low) for y, _, _ in labels], LABEL_GAP, 0.0, 1.0)
    for (y, text, tint), place in zip(labels, places, strict=True):
        start = (y - low) / (high - low)
        axes.plot([1.0, 1.025], [start, place], color=tint, linewidth=0.7, transform=axes.transAxes, clip_on=False)
        write(axes, 1.03, place, _short(text), color=tint, va="center", transform=axes.transAxes)


def _labels_at_points(axes: Axes, points: list[tuple[float, float, str, str]]) -> None:
    """Names beside their points, where neither a name nor a marker stands yet; the nearest free place wins."""
    inverse = axes.transAxes.inverted()
    at = [tuple(inverse.transform(axes.transData.transform((x, y)))) for x, y, _, _ in points]
    taken = [(x - 0.018, x + 0.018, y - 0.02, y + 0.02) for x, y in at]
    for (x, y), (_, _, text, tint) in sorted(zip(at, points, strict=True), key=lambda pair: -pair[0][1]):
        width = 0.0235 * len(_short(text)) + 0.01
        steps = [0.0, *(sign * step * LABEL_GAP for step in (0.5, 1, 1.5, 2, 2.6, 3.2) for sign in (1, -1))]
        places = [(x + side, y + step) for step in steps for side in (0.028, -0.028 - width)]
        boxes = [(a, a + width, b - LABEL_GAP / 2, b + LABEL_GAP / 2) for a, b in places]
        free = [i for i, box in enumerate(boxes)
                if box[0] > 0 and box[1] < 1.2 and not any(_touch(box, other) for other in taken)]
        chosen = free[0] if free else 0
        taken.append(boxes[chosen])
        left, middle = places[chosen]
        if abs(middle - y) > LABEL_GAP:
            end = left if left > x else left + width
            axes.plot([x, end], [y, middle], color=tint, linewidth=0.6, transform=axes.transAxes, clip_on=False)
        write(axes, left, middle, _short(text), color=tint, va="center", transform=axes.transAxes)


def _touch(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]


def _short(text: object) -> str:
    plain = wording.one_line(text)
    return plain if len(plain) <= 15 else plain[:14] + "…"
