"""The HTML page of a comparison.

Each load has a table, bars of percent of the ideal, and percentile curves.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..blast.rows import model
from ..drawing.bars import Bar, draw_bars
from ..drawing.markup import Content, Html, tag
from ..drawing.page import NARROW, WIDE, described, framed, page, run_by, section, table
from ..drawing.percentiles import percentile_figure
from ..drawing.scales import Scale, scale
from ..run.histogram import Histogram
from ..words import apiece, quantity
from .analysis.comparison import Comparison, Load, Run, Subject
from .analysis.figures import times
from .analysis.judge import Row
from .charts import rounds_figure
from .rows import best_first, circumstances, interval, left_out, offered, percent, rounds, time

HEAD = (
    "subject", "% of ideal", "95 % interval", "per CPU s", "msg/s", "p50", "p99", "lost", "calls an echo",
    "rounds", "verdict",
)  # fmt: skip


def compare_page(comparison: Comparison, rows: Sequence[Row]) -> str:
    """Give the page."""
    lead = [
        tag("p", f"{circumstances(comparison)}."),
        tag("p", f"Started {comparison.started}.", class_="muted"),
    ]
    notes = [
        *comparison.notes,
        *(
            ["The comparison was ended early: this page shows the runs that are complete."]
            if comparison.cut_short
            else []
        ),
    ]
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
        _bars(comparison, load, rows),
        tag("div", table(HEAD, [_cells(row) for row in rows], label=load.name), class_="named broad"),
        tag("ul", [tag("li", tag("strong", row.subject), f": {_why(row)}") for row in rows], class_="why"),
        rounds_figure(comparison, load),
        _curves(comparison, load),
    )


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.subject,
        percent(row),
        interval(row),
        *("-" if value is None else quantity(round(value)) for value in (row.per_cpu, row.rate)),
        time(row, row.p50),
        time(row, row.p99),
        "-" if row.lost is None else f"{row.lost:.3%}",
        apiece(row.system_calls),
        rounds(row),
        row.verdict,
    )


def _why(row: Row) -> str:
    both = left_out(row)
    return f"{row.verdict}: {row.why}" + (f"; {both}" if both else "")


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
            said=(f"{percent(row)} %" if row.basis == "cpu" else f"{100 * row.ratio:.1f} % by rate")
            + (f", {row.verdict}" if row.verdict in ("too noisy", "not steady") else ""),
            plain=row.subject == comparison.subjects[0].name,
        )
        for row in rows
    ]


def bars_scale(bars: Sequence[Bar]) -> Scale:
    """Give the axis of the bars."""
    return scale([end for bar in bars if bar.value is not None for end in (bar.value, bar.high)], str, log=False)


def _bars(comparison: Comparison, load: Load, rows: list[Row]) -> Html | None:
    bars = bars_of(comparison, rows)
    if all(bar.value is None for bar in bars):
        return None
    title = f"{load.name}: percent of {comparison.subjects[0].name}"
    axis = bars_scale(bars)
    text = "; ".join(f"{bar.name} {bar.said}" for bar in bars)
    return framed(
        title,
        tag("div", draw_bars(title, text, bars, axis, WIDE), class_="wide"),
        tag("div", draw_bars(title, text, bars, axis, NARROW), class_="narrow"),
        head=("subject", "% of ideal", "95 % interval"),
        rows=[(row.subject, percent(row), interval(row)) for row in rows],
        note="work per CPU second of the server, unless marked; thin lines are 95 % intervals",
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


def _output(run: Run) -> str:
    return f" (its output: {' | '.join(run.output)})" if run.output else ""


def _odd(comparison: Comparison) -> Html | None:
    said = dict.fromkeys(
        f"{run.subject}, {run.load}: {sentence}"
        for run in comparison.runs
        for sentence in [*([run.failure + _output(run)] if run.failure else []), *run.troubles]
    )
    said |= dict.fromkeys(
        f"{calls.subject}, {calls.load}: its system calls were not counted: {calls.failure}"
        for calls in comparison.calls
        if calls.failure
    )
    return section("Oddities", tag("ul", [tag("li", each) for each in said])) if said else None
