"""The picture of one run of blast: its percentile curves."""

from __future__ import annotations

import attrs
from matplotlib.figure import Figure

from ...results import Result
from ..html.blast import histograms, main_figures
from ..html.lines import percentile_chart
from ..rows import model, where
from .panels import draw_chart
from .sheet import MUTED, WIDTH, machine, settings, sheet


def blast_figure(result: Result) -> Figure:
    """Give the picture."""
    figures = ",  ".join(f"{name} {value}" for name, value in main_figures(result))
    with settings():
        made = sheet(where(result), f"{model(result.plan)}.", machine(result.environment, result.started))
        axes = made.body.subplots()
        chart = percentile_chart(histograms(result), log=True)
        if chart is None:
            axes.axis("off")
            axes.text(0.5, 0.5, f"too few answers for percentiles;  {figures}", ha="center", color=MUTED)
        else:
            draw_chart(axes, attrs.evolve(chart, title=figures), WIDTH - 2, legend=True)
    return made.figure
