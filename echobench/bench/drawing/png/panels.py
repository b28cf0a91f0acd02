"""Draws line charts and bars on matplotlib's axes, as the pages do in SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..bars import Bar
from ..charts import Chart, Series
from ..scales import Scale
from .sheet import BAD, BAND, COLOURS, INK, MUTED, NORMAL, SMALL
from .text import fitted, width, written

NAME: Final = 2.7  # inches: the greatest width of a name
GAP: Final = 0.14  # inches between the labels of ticks
FEW: Final = 6  # with fewer bars, a panel stays partly empty, lest they be thick
MARKERS: Final = {"dot": "o", "cross": "X", "triangle": "^"}
SOLID: Final = "solid"
SHORT, DOTS, MIXED, LONG = (0, (3.2, 2)), (0, (1, 1.4)), (0, (4.5, 1.5, 1, 1.5)), (0, (6.5, 2))
DASHES: Final[tuple[Any, ...]] = (
    SOLID, SHORT, SOLID, DOTS, LONG, MIXED,
    SHORT, SOLID, DOTS, SOLID, MIXED, LONG,
)  # fmt: skip
"""Of the styles s1 to s12, as in style.css."""


def look(style: str) -> dict[str, Any]:
    """Give the colour and dashes of a style."""
    number = int(style[1:])
    if not number:
        return {"color": MUTED, "linestyle": SHORT}
    return {"color": COLOURS[(number - 1) % len(COLOURS)], "linestyle": DASHES[number - 1]}


def draw_chart(axes: Axes, chart: Chart, room: float, *, legend: bool = False) -> None:
    """Draw a chart. ``room`` is the length of the x axis in inches, about."""
    _scaled(axes, chart, room)
    if chart.band is not None:
        axes.axvspan(*chart.band, color=BAND, linewidth=0, zorder=1)
    if chart.limit is not None:
        level, words = chart.limit
        axes.axhline(level, color=BAD, linestyle=LONG, linewidth=1.5)
        axes.annotate(written(words), (0.01, level), xycoords=axes.get_yaxis_transform(), xytext=(0, 4),
                      textcoords="offset points", color=BAD)  # fmt: skip
    lines = [_series(axes, each) for each in chart.series]
    if legend:  # beside the title, where nothing is drawn
        axes.legend(lines, [series.name for series in chart.series], loc="lower right", bbox_to_anchor=(1, 1),
                    ncols=len(lines), borderaxespad=0.1, handlelength=2.6)  # fmt: skip


def _scaled(axes: Axes, chart: Chart, room: float) -> None:
    axes.set_title(fitted(chart.title, NORMAL, room, bold=True), loc="left", size=NORMAL, weight="bold")
    axes.set_xlabel(fitted(chart.x_title, SMALL, room), size=SMALL, loc="right")
    axes.set_ylabel(fitted(chart.y_title, SMALL, room), size=SMALL, loc="top")
    if chart.x.log:
        axes.set_xscale("log", nonpositive="clip")
    if chart.y.log:
        axes.set_yscale("log", nonpositive="clip")
    axes.set_xticks(chart.x.ticks, _labels(chart.x, room), minor=False)
    axes.set_yticks(chart.y.ticks, [chart.y.label(tick) for tick in chart.y.ticks])
    axes.minorticks_off()
    axes.set_xlim(chart.x.ticks[0], chart.x.ticks[-1])
    axes.set_ylim(chart.y.ticks[0], chart.y.ticks[-1])
    axes.tick_params(labelsize=SMALL)
    axes.tick_params(axis="x", pad=6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y")


def _labels(scale: Scale, room: float) -> list[str]:
    """Name the ticks; a name without room beside the next one is left out."""
    names, free = [], 2 * room
    for tick in reversed(scale.ticks):
        name = scale.label(tick)
        half = width(name, SMALL) / 2
        fits = scale(tick) * room + half <= free
        names.append(name if fits else "")
        free = scale(tick) * room - half - GAP if fits else free
    return names[::-1]


def _series(axes: Axes, series: Series) -> Line2D:
    style = look(series.style)
    across, up = [x for x, _ in series.points], [y for _, y in series.points]
    single = "o" if len(across) == 1 and not series.marks else ""
    (line,) = axes.plot(across, up, **style, marker=single, linewidth=2.0 if series.line else 0.0)
    for x, (low, high) in zip(across, series.ranges, strict=False):
        axes.vlines(x, low, high, color=style["color"], linewidth=1, alpha=0.65)
    for shape, marker in MARKERS.items():
        marked = [point for point, mark in zip(series.points, series.marks, strict=False) if mark == shape]
        if marked:
            face = BAD if shape == "cross" else "white" if shape == "triangle" else style["color"]
            edge = style["color"] if shape == "triangle" else "white"
            axes.scatter([x for x, _ in marked], [y for _, y in marked], s=70, marker=marker, zorder=3, clip_on=False,
                         facecolor=face, edgecolor=edge)  # fmt: skip
    return line


def draw_bars(axes: Axes, title: str, bars: Sequence[Bar], scale: Scale) -> None:
    """Draw bars, the first on top, with their intervals as lines and numbers."""
    axes.set_title(fitted(title, NORMAL, 5.4, bold=True), loc="left", size=NORMAL, weight="bold")
    rows = range(len(bars))
    for row, bar in zip(rows, bars, strict=True):
        if bar.value is None:
            _beside(axes, 0.0, row, bar.said, BAD)
            continue
        colour = MUTED if bar.plain else COLOURS[0]
        axes.barh(row, bar.value, height=0.62, color="none" if bar.hollow else colour, edgecolor=colour,
                  linestyle="--" if bar.hollow else "-")  # fmt: skip
        if bar.high > bar.low:
            ends = [[bar.value - bar.low], [bar.high - bar.value]]
            for colour, line, cap in (("white", 5.0, 5.0), (INK, 1.6, 4.0)):  # the halo makes it visible on the bar
                axes.errorbar(bar.value, row, xerr=ends, color=colour, elinewidth=line, capsize=cap, capthick=line)
            axes.text(1.01, row, f"{100 * bar.low:.1f} to {100 * bar.high:.1f}", size=SMALL, color=MUTED, va="center",
                      transform=axes.get_yaxis_transform())  # fmt: skip
        _beside(axes, max(bar.value, bar.high), row, bar.said, INK)
    if any(bar.high > bar.low for bar in bars):
        axes.annotate("95 % interval", (1.01, 1.0), xycoords="axes fraction", xytext=(0, 7), textcoords="offset points",
                      size=SMALL, color=MUTED)  # fmt: skip
    axes.axvline(1.0, color=MUTED, linestyle=DOTS, linewidth=1.2, zorder=0.5)
    axes.set_yticks(rows, [fitted(bar.name, NORMAL, NAME) for bar in bars])
    spare = max(0.0, FEW - len(bars)) / 2
    axes.set_ylim(len(bars) - 0.5 + spare, -0.6 - spare)
    axes.set_xticks(scale.ticks, [f"{100 * tick:g} %" for tick in scale.ticks])
    longest = max((width(bar.said, NORMAL, bold=True) for bar in bars), default=0.0)
    axes.set_xlim(0.0, scale.ticks[-1] * (1 + longest / 3.5))  # room for the label of the longest bar
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def _beside(axes: Axes, value: float, row: int, words: str, colour: str) -> None:
    axes.annotate(written(words), (value, row), xytext=(8, 0), textcoords="offset points", va="center", color=colour,
                  weight="bold")  # fmt: skip
