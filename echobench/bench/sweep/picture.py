"""The picture of a sweep: answers, p50 and p99 against the rate."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..drawing.charts import Chart, Series
from ..drawing.png.panels import draw_chart
from ..drawing.png.sheet import COLOURS, MUTED, machine, png, settings, sheet
from ..drawing.scales import Scale, scale
from ..words import duration, percent, quantity
from .answer import sentence
from .limits import Limit
from .page import KEY, MARKS, band_of, rate_scale, throughput_chart, title
from .result import Point, Sweep

DEPTHS = (50.0, 99.0)
ABOVE = 3  # times the limit: there is room for its words
HALF = 6.3  # about how many inches an axis of rates is long


def sweep_figure(done: Sweep) -> Figure:
    """Draw the picture."""
    points = [point for point in done.curve() if point.steps]
    environment = done.steps[-1].result.environment if done.steps else {}
    with settings():
        made = sheet(title(done), f"{sentence(done)}  {KEY}", machine(environment, done.started))
        charts = [throughput_chart(done, points), times_chart(done, points)] if points else []
        for axes, chart in zip(made.body.subplots(1, 2), charts or [None, None], strict=True):
            if chart is None:
                axes.axis("off")
                axes.text(0.5, 0.5, "too few answers for percentiles", ha="center", color=MUTED)
                continue
            draw_chart(axes, chart, HALF, legend=True)
            _held(axes, done, chart.x)
    return made.figure


def times_chart(done: Sweep, points: list[Point]) -> Chart | None:
    """Give p50 and p99 against the rate, with the limit on either.

    None if nothing was answered.
    """
    limit = next((limit for limit in done.limits if limit.kind == "percentile" and limit.depth in DEPTHS), None)
    series: list[Series] = []
    for number, depth in enumerate(DEPTHS, 1):
        shown = Limit(kind="percentile", bound=math.inf, depth=depth)
        known = [(point, value) for point in points if (value := point.value(shown)) is not None]
        places = tuple((point.rate, value) for point, value in known)
        marks = tuple(MARKS[point.outcome] for point, _ in known)
        series.append(Series(name=percent(depth), points=places, marks=marks, style=f"s{number}"))
    values = [value for each in series for _, value in each.points]
    if not values:
        return None
    return Chart(
        title="Round-trip time against asked for",
        description="",
        x=rate_scale(points),
        y=scale([*values, *([limit.bound, ABOVE * limit.bound] if limit else [])], duration, log=True),
        x_title="asked for, messages per second",
        y_title="round-trip time",
        series=tuple(series),
        limit=(limit.bound, f"limit {limit}") if limit else None,
        band=band_of(done),
    )


def _held(axes: Axes, done: Sweep, scale: Scale) -> None:
    """Mark the highest rate that held."""
    if done.held is None:
        return
    green, right = COLOURS[2], scale(done.held) > 0.3
    axes.axvline(done.held, color=green, linewidth=1.5)
    axes.annotate(
        f"held {quantity(done.held)}", (done.held, 1.0), xycoords=axes.get_xaxis_transform(),
        xytext=(-6 if right else 12, -4), textcoords="offset points",
        ha="right" if right else "left", va="top", color=green, weight="bold",
    )  # fmt: skip


def sweep_png(done: Sweep) -> bytes:
    """Give the picture as a PNG file."""
    return png(sweep_figure(done))
