"""The picture of a comparison: the bars and percentile curves of its page, side by side for each load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from ..blast.rows import model
from ..drawing.bars import Bar, draw_bars
from ..drawing.bars import height as height_of
from ..drawing.charts import draw
from ..drawing.markup import Html
from ..drawing.percentiles import STYLES, percentile_chart, percentiles
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
from ..drawing.png.sheet import text as words_at
from ..run.histogram import Histogram
from .analysis.comparison import Comparison, Load
from .analysis.judge import Row, judge
from .page import bars_of, bars_scale, merged
from .rows import best_first, circumstances, compared_by, hollow, offered

BARS: Final = 620  # units: how wide the bars are; the curves have the rest
GAP: Final = 40
CURVES: Final = ROOM - BARS - GAP
ABOVE: Final = 54  # units of a load's part that its headings take
BELOW: Final = 12
LEAST: Final = 190  # units: how high curves are at least
SMALLEST, LARGEST = 0.75, 1.25  # times the page's size: bars are scaled between these before the picture grows


def compare_picture(comparison: Comparison, rows: Sequence[Row]) -> Html:
    """Draw the picture, as SVG."""
    names = [subject.name for subject in comparison.subjects]
    early = "  It was ended early." if comparison.cut_short else ""
    parts = [_part(comparison, load, rows) for load in comparison.loads]
    # A subject has the same style under each load, and one entry in the legend.
    drawn = [n for n in range(len(names)) if any(percentiles(each.times[n][1]) for each in parts)]
    below = legend([(names[n], STYLES[n % len(STYLES)]) for n in drawn])
    least = sum(each.least for each in parts)
    height = max(HEIGHT, HEIGHT - height_of_body(HEIGHT, below) + least)
    spare = (height_of_body(height, below) - least) / max(1, len(parts))
    top, body = float(HEAD), []
    for each in parts:
        body += _drawn(each, comparison.reference, top, each.least + spare)
        top += each.least + spare
    return sheet(
        f"Echo servers compared: {', '.join(names)}",
        f"{circumstances(comparison)}.{early}",
        machine(comparison.environment, comparison.started),
        body,
        below=below,
        height=height,
    )


@attrs.frozen(kw_only=True)
class _Part:
    """What is shown of a load."""

    title: str
    by: str
    """What the ratios are made of, and what hollow bars mean."""
    bars: list[Bar]
    times: list[tuple[str, Histogram]]

    @property
    def least(self) -> float:
        """Give how high it is at least."""
        return max(LEAST, SMALLEST * height_of(self.bars)) + ABOVE + BELOW


def _part(comparison: Comparison, load: Load, rows: Sequence[Row]) -> _Part:
    mine = best_first([row for row in rows if row.load == load.name])
    return _Part(
        title=f"{load.name}: {offered(load)}; {model(load.plan)}",
        by=f"{compared_by(load)}, with 95 % intervals{hollow(load, mine)}",
        bars=bars_of(comparison, mine),
        times=merged(comparison, load),
    )


def _drawn(part: _Part, reference: str, top: float, height: float) -> list[Html]:
    first, right, room = top + ABOVE, MARGIN + BARS + GAP, height - ABOVE - BELOW
    scale = min(LARGEST, room / height_of(part.bars))
    title = f"Percent of {reference}: {part.by}"
    parts = [
        heading(part.title, MARGIN, top + 16, ROOM, MIDDLE, bold=False),
        heading(title, MARGIN, first - 8, BARS),
        placed(draw_bars(title, "", part.bars, bars_scale(part.bars), BARS / scale), MARGIN, first, scale),
    ]
    chart = percentile_chart(part.times)
    if chart is None:
        return [*parts, words_at("too few answers for percentiles", right, first + 40, MIDDLE, kind="muted")]
    return [
        *parts,
        heading(chart.title, right, first - 8, CURVES),
        placed(draw(chart, CURVES, room), right, first),
    ]


def compare_png(comparison: Comparison) -> bytes:
    """Give the picture as a PNG file."""
    return png(compare_picture(comparison, judge(comparison)))
