"""The page of a comparison: for each load its table, percent of the ideal as bars, and percentile curves."""

from __future__ import annotations

from collections.abc import Sequence

from ...histogram import Histogram
from ..rows import model
from ..words import apiece, duration, quantity
from .bars import Bar, draw_bars
from .compared import Comparison, Load, Row, Subject
from .lines import percentile_figure
from .markup import Content, Html, tag
from .page import NARROW, WIDE, described, framed, page, run_by, section, table
from .scales import scale

HEAD = (
    "subject", "% of ideal", "95 % interval", "per CPU s", "a second", "p50", "p99", "lost", "calls an echo", "verdict",
)  # fmt: skip


def compare_page(comparison: Comparison, rows: Sequence[Row]) -> str:
    """Give the page."""
    cpus = ", ".join(
        f"{who} on CPUs {' '.join(map(str, which)) or 'any'}"
        for who, which in (("servers", comparison.server_cpus), ("load", comparison.load_cpus))
    )
    lead = [
        tag("p", f"{comparison.rounds} rounds, in each of which every server had its turn; {cpus}."),
        tag("p", f"Begun {comparison.started}.", class_="muted"),
    ]
    notes = [*comparison.notes, *(["It was ended early: this is what was complete."] if comparison.cut_short else [])]
    sections: list[Content] = [
        section("What a reader has to know", tag("ul", [tag("li", note) for note in notes], class_="verdicts"))
        if notes
        else None,
        [_load(comparison, load, [row for row in rows if row.load == load.name]) for load in comparison.loads],
        section(
            "The servers",
            tag("div", table(("how they were had", ""), map(_subject, comparison.subjects)), class_="named"),
        ),
        _odd(comparison),
        section("The circumstances", described(comparison.environment), run_by(comparison.environment)),
    ]
    return page("Echo servers compared", lead, sections)


def percent(row: Row) -> str:
    """Write percent of ideal; that it is of rates and not of work per CPU second is said."""
    return "-" if row.ratio is None else f"{100 * row.ratio:.1f}{'' if row.basis == 'cpu' else ' by rate'}"


def interval(row: Row) -> str:
    """Write its interval."""
    return "-" if row.low is None or row.high is None else f"{100 * row.low:.1f} to {100 * row.high:.1f}"


def _load(comparison: Comparison, load: Load, rows: list[Row]) -> Html:
    best_first = sorted(rows, key=lambda row: (row.ratio is None, -(row.ratio or 0)))
    return section(
        load.name,
        tag("p", f"{load.plan.transport.upper()}, messages of {load.plan.size} bytes; {model(load.plan)}."),
        _bars(comparison, load, best_first),
        tag("div", table(HEAD, [_cells(row) for row in best_first], label=load.name), class_="named"),
        tag("ul", [tag("li", tag("strong", row.subject), f": {row.verdict}: {row.why}") for row in best_first]),
        _curves(comparison, load),
    )


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.subject,
        percent(row),
        interval(row),
        *("-" if value is None else quantity(round(value)) for value in (row.per_cpu, row.rate)),
        duration(row.p50),
        duration(row.p99),
        "-" if row.lost is None else f"{row.lost:.3%}",
        apiece(row.system_calls),
        row.verdict,
    )


def _bars(comparison: Comparison, load: Load, rows: list[Row]) -> Html | None:
    known = [(row, row.ratio) for row in rows if row.ratio is not None]
    if not known:
        return None
    ideal = comparison.subjects[0].name
    bars = [
        Bar(
            name=row.subject,
            value=ratio,
            low=ratio if row.low is None else row.low,
            high=ratio if row.high is None else row.high,
            said=f"{percent(row)} %" if row.basis == "cpu" else f"{100 * ratio:.1f} % by rate",
            plain=row.subject == ideal,
        )
        for row, ratio in known
    ]
    title = f"{load.name}: percent of {ideal}"
    axis = scale([bar.high for bar in bars] + [bar.value for bar in bars], str, log=False)
    text = "; ".join(f"{bar.name} {bar.said}" for bar in bars)
    return framed(
        title,
        tag("div", draw_bars(title, text, bars, axis, WIDE), class_="wide"),
        tag("div", draw_bars(title, text, bars, axis, NARROW), class_="narrow"),
        head=("subject", "% of ideal", "95 % interval"),
        rows=[(row.subject, percent(row), interval(row)) for row, _ in known],
        note="work per second of the server's processor time, if not said otherwise; thin lines are 95 % intervals",
    )


def _curves(comparison: Comparison, load: Load) -> Html | None:
    named = []
    for subject in comparison.subjects:
        merged = Histogram()
        for run in comparison.runs:
            if (run.subject, run.load) == (subject.name, load.name) and run.result and not run.failure:
                tally = run.result.tally
                merged.add(tally.from_intended if load.plan.model == "open" else tally.from_send)
        named.append((subject.name, merged))
    due = "due" if load.plan.model == "open" else "sent"
    return percentile_figure(named, f"from when messages were {due}, the rounds' histograms merged")


def _subject(subject: Subject) -> tuple[str, str]:
    return subject.name, subject.command or f"it ran already at {subject.address}"


def _odd(comparison: Comparison) -> Html | None:
    said = dict.fromkeys(
        f"{run.subject}, {run.load}: {sentence}"
        for run in comparison.runs
        for sentence in [*([run.failure] if run.failure else []), *run.troubles]
    )
    said |= dict.fromkeys(
        f"{calls.subject}, {calls.load}: its system calls were not counted: {calls.failure}"
        for calls in comparison.calls
        if calls.failure
    )
    return section("What was odd", tag("ul", [tag("li", each) for each in said])) if said else None
