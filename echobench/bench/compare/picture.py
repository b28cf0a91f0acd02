"""The picture of a comparison: bars of percent of the ideal, percentile curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from ..blast.rows import model
from ..drawing.percentiles import STYLES, percentile_chart, percentiles
from ..drawing.png.panels import draw_bars, draw_chart, look
from ..drawing.png.sheet import MARGIN, MIDDLE, MUTED, NORMAL, SMALL, WIDTH, machine, png, settings, sheet
from ..drawing.png.text import fitted
from ..run.histogram import Histogram
from .analysis.comparison import Comparison, Load
from .analysis.judge import Row, judge
from .page import bars_of, bars_scale, merged
from .rows import best_first, circumstances, compared_by, hollow, offered

LEAST, ROW, AROUND = 3.6, 0.37, 1.5  # inches: of a load's part, of a bar, of what is above and below bars
KEYS: Final = 4  # names in a line of the legend
KEY_ROW, KEY_AROUND = 0.3, 1.05  # inches: how high a line of it is, and what a name has beside it
CURVES: Final = 6.2  # about how long the axis of percentiles is


def compare_figure(comparison: Comparison, rows: Sequence[Row]) -> Figure:
    """Draw the picture."""
    names = [subject.name for subject in comparison.subjects]
    early = "  It was ended early." if comparison.cut_short else ""
    lead = f"{circumstances(comparison)}.{early}"
    each = max(LEAST, ROW * len(names) + AROUND)
    times = [merged(comparison, load) for load in comparison.loads]
    # A subject has the same style under each load, and one entry in the legend.
    drawn = [n for n in range(len(names)) if any(percentiles(each[n][1]) for each in times)]
    legend = KEY_ROW * math.ceil(len(drawn) / KEYS)
    with settings():
        made = sheet(
            f"Echo servers compared: {', '.join(names)}",
            lead,
            machine(comparison.environment, comparison.started),
            body=each * len(comparison.loads),
            legend=legend + 0.1,
        )
        parts = made.body.subfigures(max(1, len(comparison.loads)), 1, squeeze=False)[:, 0]
        for part, load, named in zip(parts, comparison.loads, times, strict=False):
            _load(part, comparison, load, best_first([row for row in rows if row.load == load.name]), named)
        _legend(made.foot, [(names[n], STYLES[n % len(STYLES)]) for n in drawn])
    return made.figure


def _load(
    part: SubFigure, comparison: Comparison, load: Load, rows: list[Row], named: list[tuple[str, Histogram]]
) -> None:
    words = f"{load.name}: {offered(load)}; {model(load.plan)}"
    room = WIDTH - 2 * MARGIN
    part.suptitle(fitted(words, MIDDLE, room), x=MARGIN / WIDTH, ha="left", size=MIDDLE)
    left, right = part.subplots(1, 2, width_ratios=[1, 0.92])
    bars = bars_of(comparison, rows)
    draw_bars(left, f"Percent of {comparison.reference}: {compared_by(load)}", bars, bars_scale(bars))
    if note := hollow(load, rows):
        left.set_xlabel(note.removeprefix("; "), size=SMALL, color=MUTED, loc="left")
    chart = percentile_chart(named, log=True)
    if chart is None:
        right.axis("off")
        right.text(0.5, 0.5, "too few answers for percentiles", ha="center", color=MUTED)
    else:
        draw_chart(right, chart, CURVES)


def _legend(foot: SubFigure, named: list[tuple[str, str]]) -> None:
    """Name the lines, each by its style."""
    if not named:
        return
    lines = [Line2D([], [], linewidth=2.0, **look(style)) for _, style in named]
    room = (WIDTH - 2 * MARGIN) / KEYS - KEY_AROUND
    # Texts are set afterwards, because matplotlib leaves out names that begin with an underscore.
    legend = foot.legend(lines, ["-"] * len(lines), loc="upper left", bbox_to_anchor=(MARGIN / WIDTH, 1), ncols=KEYS,
                         handlelength=3.2, borderaxespad=0, borderpad=0)  # fmt: skip
    for text, (name, _) in zip(legend.get_texts(), named, strict=True):
        text.set_text(fitted(name, NORMAL, room))


def compare_png(comparison: Comparison) -> bytes:
    """Give the picture as a PNG file."""
    return png(compare_figure(comparison, judge(comparison)))
