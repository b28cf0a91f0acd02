"""The picture of a sweep: answers, p50 and p99 against the rate."""

from __future__ import annotations

import math
from typing import Final

import attrs

from ..drawing.charts import Chart, Series, draw, mark
from ..drawing.letters import width
from ..drawing.markup import Html, tag
from ..drawing.png.render import png
from ..drawing.png.sheet import (
    HEAD,
    HEIGHT,
    MARGIN,
    MIDDLE,
    NORMAL,
    ROOM,
    heading,
    height_of_body,
    keys,
    legend,
    machine,
    placed,
    sheet,
)  # fmt: skip
from ..drawing.scales import scale
from ..words import duration, percent
from .answer import sentence
from .limits import Limit
from .page import ABOVE, KEYS, MARKS, band_of, edge, held_line, rate_scale, throughput_chart, title
from .result import Point, Sweep

DEPTHS = (50.0, 99.0)
GAP: Final = 40
HALF: Final = (ROOM - GAP) / 2
TOP: Final = 48  # units for a chart's title and legend
BOTTOM: Final = 26  # units for the key of the marks


def sweep_picture(done: Sweep) -> Html:
    """Draw the picture, as SVG."""
    points = [point for point in done.curve() if point.steps]
    environment = done.steps[-1].result.environment if done.steps else {}
    charts = [throughput_chart(done, points), times_chart(done, points)] if points else [None, None]
    below = legend([])
    room = height_of_body(HEIGHT, below) - BOTTOM
    body = []
    for chart, left in zip(charts, (MARGIN, MARGIN + HALF + GAP), strict=True):
        if chart is None:
            body.append(heading("too few answers for percentiles", left, HEAD + 60, HALF, MIDDLE, bold=False))
            continue
        body += [
            heading(chart.title, left, HEAD + 14, HALF),
            keys([(each.name, each.style) for each in chart.series], left, HEAD + 32),
            placed(draw(chart, HALF, room - TOP), left, HEAD + TOP),
        ]
    note = machine(environment, done.started)
    return sheet(title(done), sentence(done), note, [*body, _marks(HEAD + room + 14)], below=below)


def _marks(y: float) -> Html:
    """Say what the marks mean, with the marks themselves: a font need not have such characters."""
    parts, x = [], float(MARGIN)
    for shape, words in KEYS:
        parts += [placed(mark(shape, 6, 0), x, y), tag("text", words, x=x + 18, y=y + 4.5)]
        x += 18 + width(words, NORMAL) + 24
    return tag("g", parts, class_="s1")


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
    top = edge([*values, *([limit.bound] if limit else [])])  # what is lost is drawn there
    series = [
        attrs.evolve(each, points=tuple((rate, min(value, top)) for rate, value in each.points)) for each in series
    ]
    values = [min(value, top) for value in values]
    return Chart(
        title="Round-trip time against asked for",
        description="",
        x=rate_scale(points),
        y=scale([*values, *([limit.bound, ABOVE * limit.bound] if limit else [])], duration, log=True),
        x_title="asked for, msg/s",
        y_title="round-trip time",
        series=tuple(series),
        limit=(limit.bound, f"limit {limit}") if limit else None,
        band=band_of(done),
        upright=held_line(done),
    )


def sweep_png(done: Sweep) -> bytes:
    """Give the picture as a PNG file."""
    return png(sweep_picture(done))
