"""The chart of a comparison's rounds: each server's ratio to the ideal, round by round."""

from __future__ import annotations

from ..drawing.charts import Chart, Series
from ..drawing.markup import Html
from ..drawing.page import figure
from ..drawing.percentiles import STYLES
from ..drawing.scales import Scale, scale
from .analysis.comparison import IDEAL, Comparison, Load
from .analysis.figures import compared, fair_ratios
from .analysis.selection import all_counting

KEY = "● counts  ✕ left out, because the host took CPU time (steal)"


def rounds_chart(comparison: Comparison, load: Load) -> Chart | None:
    """Give the chart; None with fewer than two rounds, or without anything to compare."""
    series = []
    for number, subject in enumerate(comparison.subjects):
        if subject.name == IDEAL:
            continue  # it is 100 % of itself
        used = fair_ratios(comparison, subject.name, load.name)
        every = compared(*all_counting(comparison, subject.name, load.name))
        ratios = {"cpu": every.cpu, "rate": every.rate, None: {}}[used.basis]
        series.append(
            Series(
                name=subject.name if used.basis != "rate" else f"{subject.name}, by rate",
                points=tuple((float(each), 100 * ratio) for each, ratio in ratios.items()),
                style=STYLES[number % len(STYLES)],
                marks=tuple("dot" if each in used.used else "cross" for each in ratios),
            )
        )
    series = [each for each in series if each.points]
    last = max((x for each in series for x, _ in each.points), default=0.0)
    if last < 2:
        return None
    step = max(1, round(last / 10))
    return Chart(
        title="Percent of ideal by round",
        description="; ".join(
            f"{each.name}: {', '.join(f'{ratio:.1f}' for _, ratio in each.points)}" for each in series
        ),
        x=Scale(ticks=(0.0, *(float(n) for n in range(step, int(last) + step, step))), label=lambda x: f"{x:.0f}"),
        y=scale(
            [100.0, *(ratio for each in series for _, ratio in each.points)], lambda y: f"{y:g}", log=False, wanted=8
        ),
        x_title="round",
        y_title="% of ideal",
        series=tuple(series),
    )


def rounds_figure(comparison: Comparison, load: Load) -> Html | None:
    """Draw the chart, with its data; None if there is none."""
    chart = rounds_chart(comparison, load)
    if chart is None:
        return None
    columns = [{x: (ratio, mark) for (x, ratio), mark in zip(s.points, s.marks, strict=True)} for s in chart.series]
    rows = [
        (
            f"{x:.0f}",
            *("-" if x not in each else f"{each[x][0]:.1f}{' ✕' * (each[x][1] == 'cross')}" for each in columns),
        )
        for x in sorted({x for each in columns for x in each})
    ]
    return figure(chart, ("round", *(each.name for each in chart.series)), rows, KEY)
