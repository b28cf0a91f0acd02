"""The ladder as a picture for slides: the bars of each load side by side."""

from __future__ import annotations

from typing import Final

from ..compare.analysis.comparison import Comparison
from ..compare.page import bars_scale
from ..compare.rows import circumstances
from ..drawing.bars import draw_bars
from ..drawing.bars import height as height_of
from ..drawing.markup import Html
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
from .climb import bars, climb, measure

GAP: Final = 36
ABOVE: Final = 50  # units that a load's headings take
ACROSS: Final = 3  # loads beside each other


def ladder_picture(comparison: Comparison) -> Html:
    """Draw the picture, as SVG."""
    drawn = [(load, bars(climb(comparison, load))) for load in comparison.loads]
    across = max(1, min(ACROSS, len(drawn)))
    room = (ROOM - GAP * (across - 1)) / across
    rows = [drawn[n : n + across] for n in range(0, len(drawn), across)]
    heights = [max(height_of(each) for _, each in row) + ABOVE for row in rows]
    below = legend([])
    height = max(HEIGHT, HEIGHT - height_of_body(HEIGHT, below) + sum(heights))
    body, top = [], float(HEAD)
    for row, high in zip(rows, heights, strict=True):
        for n, (load, mine) in enumerate(row):
            left = MARGIN + n * (room + GAP)
            title = f"{load.name}: times {comparison.reference}"
            body += [
                heading(title, left, top + 14, room, MIDDLE),
                heading(measure(load), left, top + 34, room, bold=False),
                placed(draw_bars(title, "", mine, bars_scale(mine), room), left, top + ABOVE),
            ]
        top += high
    early = "  It was ended early." if comparison.cut_short else ""
    return sheet(
        "The ladder: the same echo on one idea after another",
        f"{circumstances(comparison)}; thin lines are 95 % intervals.{early}",
        machine(comparison.environment, comparison.started),
        body,
        below=below,
        height=height,
    )


def ladder_png(comparison: Comparison) -> bytes:
    """Give the picture as a PNG file."""
    return png(ladder_picture(comparison))
