"""The HTML page of a comparison.

Each load has its answer in a sentence, bars of percent of the reference, percentile curves, and all figures in tables.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..blast.rows import model
from ..drawing.bars import Bar, draw_bars
from ..drawing.markup import Content, Html, tag
from ..drawing.page import NARROW, WIDE, described, framed, page, run_by, section, table
from ..drawing.percentiles import percentile_figure
from ..drawing.scales import Scale
from ..run.histogram import Histogram
from .analysis.comparison import Comparison, Load, Subject
from .analysis.figures import times
from .analysis.judge import Row
from .charts import rounds_figure
from .columns import COST, P50, RATIOS, SUBJECT, TIMES, VERDICT, WORK, Column, heads
from .rows import (
    EARLY,
    best_first,
    circumstances,
    compared_by,
    cost,
    hollow,
    interval,
    left_out,
    mark,
    oddities,
    offered,
    percent,
)
from .sentences import claim, follows, follows_from_rate


def compare_page(comparison: Comparison, rows: Sequence[Row]) -> str:
    """Give the page."""
    lead = [
        tag("p", f"{circumstances(comparison)}."),
        tag("p", f"Started {comparison.started}.", class_="muted"),
    ]
    notes = [*comparison.notes, *([EARLY] if comparison.cut_short else [])]
    sections: list[Content] = [
        section("Read this first", tag("ul", [tag("li", note) for note in notes], class_="verdicts"))
        if notes
        else None,
        [_load(comparison, load, [row for row in rows if row.load == load.name]) for load in comparison.loads],
        section(
            "Servers",
            tag("div", table(("server", ""), map(_subject, comparison.subjects)), class_="named"),
        ),
        _odd(comparison),
        section("Environment", described(comparison.environment), run_by(comparison.environment)),
    ]
    return page("Echo servers compared", lead, sections)


def _load(comparison: Comparison, load: Load, rows: list[Row]) -> Html:
    rows = best_first(rows)
    return section(
        load.name,
        tag("p", f"{offered(load)}; {model(load.plan)}."),
        [tag("p", _unbroken(each), class_="answer") for row in rows if (each := claim(row))],
        _bars(comparison, load, rows),
        tag("p", why, class_="muted") if (why := follows(load)) else None,
        _table(rows, (SUBJECT, *RATIOS, VERDICT), f"{load.name}: against {comparison.reference}"),
        tag("ul", [tag("li", tag("strong", row.subject), f": {_why(row)}") for row in rows], class_="why"),
        rounds_figure(comparison, load),
        _table(rows, (SUBJECT, *WORK), f"{load.name}: work"),
        _table(rows, (SUBJECT, *COST), f"{load.name}: CPU time of the server for an echo"),
        _curves(comparison, load),
        _table(rows, (SUBJECT, *TIMES), f"{load.name}: times and losses", dims_p50=follows_from_rate(load)),
    )


def _unbroken(sentence: str) -> str:
    """Keep figures and their intervals on one line."""
    return sentence.replace(" ± ", "\u00a0±\u00a0")


def _table(rows: Sequence[Row], columns: Sequence[Column], caption: str, *, dims_p50: bool = False) -> Html:
    def cell(column: Column, row: Row) -> Content:
        said = column.show(row)
        return tag("span", said, class_="muted") if dims_p50 and column is P50 else said

    cells = [[cell(each, row) for each in columns] for row in rows]
    return tag("div", table(heads(columns, rows), cells, caption), class_="named")


def _why(row: Row) -> str:
    both = left_out(row)
    return "; ".join(each for each in (f"{row.verdict}: {row.why}", row.caveat, cost(row), both) if each)


def bars_of(comparison: Comparison, rows: Sequence[Row]) -> list[Bar]:
    """Give the bars of one load's rows.

    A row without a ratio shows its verdict instead of a bar.
    """
    return [
        Bar(name=row.subject, said=row.verdict)
        if row.ratio is None
        else Bar(
            name=row.subject,
            value=row.ratio,
            low=row.ratio if row.low is None else row.low,
            high=row.ratio if row.high is None else row.high,
            said=f"{100 * row.ratio:.1f} %{mark(row)}"
            + (f", {row.verdict}" if row.verdict in ("too noisy", "not steady") else ""),
            aside="" if row.low is None or row.low == row.high else interval(row),
            plain=row.subject == comparison.reference,
            hollow=not row.headline,
        )
        for row in rows
    ]


def bars_scale(bars: Sequence[Bar]) -> Scale:
    """Give the axis of the bars: no ticks are drawn, so the longest may take the whole room."""
    ends = [end for bar in bars if bar.value is not None for end in (bar.value, bar.high)]
    return Scale(ticks=(0.0, max(ends, default=1.0) or 1.0))


def _bars(comparison: Comparison, load: Load, rows: list[Row]) -> Html | None:
    bars = bars_of(comparison, rows)
    if all(bar.value is None for bar in bars):
        return None
    title = f"{load.name}: percent of {comparison.reference}"
    axis = bars_scale(bars)
    text = "; ".join(f"{bar.name} {bar.said}" for bar in bars)
    return framed(
        title,
        tag("div", draw_bars(title, text, bars, axis, WIDE), class_="wide"),
        tag("div", draw_bars(title, text, bars, axis, NARROW), class_="narrow"),
        head=("subject", f"% of {comparison.reference}", "95 % interval"),
        rows=[(row.subject, percent(row), interval(row)) for row in rows],
        note=f"{compared_by(load)}, unless marked; thin lines are 95 % intervals{hollow(load, rows)}",
    )


def merged(comparison: Comparison, load: Load) -> list[tuple[str, Histogram]]:
    """Give each subject's times under a load, merged over the rounds."""
    named = []
    for subject in comparison.subjects:
        whole = Histogram()
        for run in comparison.runs:
            if (run.subject, run.load) == (subject.name, load.name) and run.result and not run.failure:
                whole.add(times(run.result))
        named.append((subject.name, whole))
    return named


def _curves(comparison: Comparison, load: Load) -> Html | None:
    due = "due" if load.plan.model == "open" else "sent"
    return percentile_figure(
        merged(comparison, load), f"from when messages were {due}; histograms of all rounds merged"
    )


def _subject(subject: Subject) -> tuple[str, str]:
    return subject.name, subject.command or f"running at {subject.address}"


def _odd(comparison: Comparison) -> Html | None:
    said = oddities(comparison)
    return section("Oddities", tag("ul", [tag("li", each) for each in said])) if said else None
