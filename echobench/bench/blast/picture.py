"""The picture of a run of blast: its percentile curves."""

from __future__ import annotations

import attrs
from matplotlib.figure import Figure

from ..drawing.percentiles import percentile_chart
from ..drawing.png.panels import draw_chart
from ..drawing.png.sheet import MUTED, WIDTH, machine, png, settings, sheet
from ..run.result import Result
from .page import histograms, main_figures
from .rows import model, where


def blast_figure(result: Result) -> Figure:
    """Draw the picture."""
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


def blast_png(result: Result) -> bytes:
    """Give the picture as a PNG file."""
    return png(blast_figure(result))
