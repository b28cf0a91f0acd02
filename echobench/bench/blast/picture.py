"""The picture of a run of blast: its percentile curves."""

from __future__ import annotations

from typing import Final

from ..drawing.charts import draw
from ..drawing.markup import Html
from ..drawing.percentiles import percentile_chart
from ..drawing.png.render import png
from ..drawing.png.sheet import (
    HEAD,
    HEIGHT,
    MARGIN,
    MIDDLE,
    ROOM,
    heading,
    height_of_body,
    legend,
    machine,
    placed,
    sheet,
)
from ..run.result import Result
from .page import histograms, main_figures
from .rows import model, where

SCALE: Final = 1.2  # times the page's size: there is room
ABOVE: Final = 40  # units for the figures


def blast_picture(result: Result) -> Html:
    """Draw the picture, as SVG."""
    figures = ",  ".join(f"{name} {value}" for name, value in main_figures(result))
    chart = percentile_chart(histograms(result))
    below = legend([(each.name, each.style) for each in chart.series] if chart else [])
    if chart is None:
        body = [heading(f"too few answers for percentiles;  {figures}", MARGIN, HEAD + ABOVE, ROOM, MIDDLE, bold=False)]
    else:
        room = height_of_body(HEIGHT, below) - ABOVE
        body = [
            heading(figures, MARGIN, HEAD + 20, ROOM, MIDDLE),
            placed(draw(chart, ROOM / SCALE, room / SCALE), MARGIN, HEAD + ABOVE, SCALE),
        ]
    note = machine(result.environment, result.started)
    return sheet(where(result), f"{model(result.plan)}.", note, body, below=below)


def blast_png(result: Result) -> bytes:
    """Give the picture as a PNG file."""
    return png(blast_picture(result))
