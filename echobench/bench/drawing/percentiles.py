"""Percentile curves of histograms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from ..run.histogram import BEYOND, Histogram
from ..words import duration, percent
from .charts import Chart, Series
from .markup import Html
from .page import figure
from .scales import percentile_scale, scale

A_DECADE: Final = 24  # points
TABLE: Final = (0.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.99, 99.999)
STYLES: Final = tuple(f"s{n}" for n in range(1, 13))  # the same six colours twice, with other dashes


def percentiles(histogram: Histogram) -> list[tuple[float, float]]:
    """Give points (1/(1-p), nanoseconds) as far as the number of values supports.

    Empty if it does not support the median. Where lost messages begin, the curve ends.
    """
    total = histogram.total + histogram.lost
    if total < 2 * BEYOND:
        return []
    most = total / BEYOND
    count = max(2, math.ceil(A_DECADE * math.log10(most)))
    places = [most ** (n / count) for n in range(count + 1)]
    curve = [(place, histogram.percentile(100 * (1 - 1 / place))) for place in places]
    return [(place, value) for place, value in curve if math.isfinite(value)]


def percentile_chart(named: Sequence[tuple[str, Histogram]]) -> Chart | None:
    """Give the percentile curves of several histograms, over a logarithmic axis of times.

    None if no histogram has enough values.
    """
    curves = [(name, histogram, percentiles(histogram)) for name, histogram in named]
    series = tuple(
        Series(name=name, points=tuple(points), style=STYLES[n % len(STYLES)])
        for n, (name, _, points) in enumerate(curves)
        if points
    )
    if not series:
        return None
    return Chart(
        title="Round-trip time by percentile",
        description="Messages get rarer to the right: with each step of the axis by a factor of ten. "
        + "; ".join(f"{name}: {_said(histogram)}" for name, histogram, points in curves if points),
        x=percentile_scale(max(points[-1][0] for _, _, points in curves if points)),
        y=scale([value for each in series for _, value in each.points], duration, log=True),
        x_title="percentile",
        y_title="round-trip time",
        series=series,
    )


def percentile_figure(named: Sequence[tuple[str, Histogram]], note: str) -> Html | None:
    """Draw the percentile curves of several histograms.

    None if no histogram has enough values.
    """
    chart = percentile_chart(named)
    if chart is None:
        return None
    rows = [
        ("min" if not depth else percent(depth), *(_at(histogram, depth) for _, histogram in named))
        for depth in TABLE
        if any(histogram.supports(depth) for _, histogram in named)
    ]
    return figure(chart, ("percentile", *(name for name, _ in named)), rows, note)


def _at(histogram: Histogram, depth: float) -> str:
    return duration(histogram.percentile(depth)) if histogram.supports(depth) else "-"


def _said(histogram: Histogram) -> str:
    return ", ".join(f"{percent(depth)} {duration(value)}" for depth, value in histogram.percentiles().items())
