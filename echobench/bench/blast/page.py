"""The HTML page of a run of blast."""

from __future__ import annotations

from typing import Final

from ..drawing.charts import Chart, Series
from ..drawing.markup import Content, Html, tag
from ..drawing.page import again, described, figure, headlines, page, run_by, section, sentences, table
from ..drawing.percentiles import percentile_figure
from ..drawing.scales import Scale, scale, steps
from ..nic.figure import queues_section
from ..run.histogram import Histogram
from ..run.result import Moment, Result, per_second
from ..run.tally import loss
from ..words import duration, quantity
from .rows import Rows, footnote, generator, latency, losses, machines, machines_note, model, rates, where

MOST_CURVES: Final = 12
"""Machines whose times can be told apart in one chart."""


def blast_page(result: Result) -> str:
    """Give the page."""
    lead = [tag("p", model(result.plan)), tag("p", f"Started {result.started}.", class_="muted")]
    lost = losses(result)
    over_time = [rate_over_time(result), latency_over_time(result)]
    sections: list[Content] = [
        headlines(main_figures(result)),
        section("Read this first", sentences(result.verdicts)) if result.verdicts else None,
        section("Throughput", rows_table(rates(result)), tag("p", _measured(result), class_="muted")),
        section(
            "Latency",
            percentile_figure(histograms(result), "from when messages were due, and from when they were sent")
            if result.plan.model == "open"
            else percentile_figure(histograms(result), "from when messages were sent"),
            rows_table(latency(result)),
            tag("p", footnote(result), class_="muted"),
        )
        if result.tally.from_send.total
        else None,
        section("Over time", over_time) if any(over_time) else None,
        section("Losses", tag("p", lost) if isinstance(lost, str) else rows_table(lost)),
        queues_section(result.nic) if result.nic is not None else None,
        machines_section(result) if result.machines else None,
        section("Cost to the generator", rows_table(generator(result))),
        section(
            "Environment",
            environments(result),
            run_by(result.environment),
            again("blast", "result.json"),
        ),
    ]
    return page(where(result), lead, sections)


def machines_section(result: Result) -> Html:
    """Give the section on the machines that shared the load: a table, a chart of their times, and what each said."""
    several = [
        (each.name, each.result.tally.due() if result.plan.model == "open" else each.result.tally.departed())
        for each in result.machines
        if each.result is not None
    ]
    curves = percentile_figure(several, "of each machine") if 1 < len(several) <= MOST_CURVES else None
    return section(
        "Machines",
        rows_table(machines(result)),
        tag("p", machines_note(result), class_="muted"),
        curves,
        [own_verdicts(each.name, each.result) for each in result.machines if each.result and each.result.verdicts],
    )


def own_verdicts(name: str, result: Result) -> Html:
    """Give what a reader must know of one machine's figures."""
    return tag("div", tag("p", tag("strong", name)), sentences(result.verdicts))


def environments(result: Result) -> list[Html]:
    """Give what each machine is that took part."""
    if not result.machines:
        return [described(result.environment)]
    leader = described(result.environment, "The machine that led the others")
    each = [described(one.result.environment, one.name) for one in result.machines if one.result is not None]
    return [leader, *each]


def main_figures(result: Result) -> list[tuple[str, str]]:
    """Give the figures that are shown large, with their names."""
    tally, flood = result.tally, result.plan.model == "flood"
    times = tally.due() if result.plan.model == "open" else tally.departed()
    found = [("sent, msg/s", quantity(per_second(tally.sent, tally)))] if flood or result.plan.model == "open" else []
    if not flood:
        found.append(("answered, msg/s", quantity(per_second(tally.answered, tally))))
        found += [(f"p{depth:g}", duration(value)) for depth, value in times.percentiles((50, 99)).items()]
        share = loss(tally)
        found.append(("lost", "-" if share is None else f"{share:.3%}"))
    return found


def histograms(result: Result) -> list[tuple[str, Histogram]]:
    """Give the histograms of round-trip times, with their names."""
    both = [("from intended", result.tally.due())] if result.plan.model == "open" else []
    return [*both, ("from send", result.tally.departed())]


def rows_table(rows: Rows) -> Html:
    """Give a table of the report as HTML."""
    return table(rows.head, rows.rows, label=rows.head[0] or "Rates")


def _measured(result: Result) -> str:
    return f"In {result.tally.window:.2f} measured seconds, without warm-up and cool-down."


def _over_time(result: Result, *names: str) -> list[Moment]:
    return [
        moment
        for moment in result.moments
        if moment.measured > 0 and all(getattr(moment, name) is not None for name in names)
    ]


def _time_axis(moments: list[Moment]) -> Scale:
    ticks = steps(min(each.t - each.measured for each in moments), max(each.t for each in moments), 8)
    return Scale(ticks=tuple(ticks), label=lambda t: f"{t:g} s")


def rate_over_time(result: Result) -> Html | None:
    """Draw the rate of each interval; None if there are fewer than two."""
    moments = _over_time(result)
    if len(moments) < 2:
        return None
    what = "sent" if result.plan.model == "flood" else "answered"
    series = [Series(name=f"{what}, msg/s", points=tuple((each.t, each.rate) for each in moments))]
    rates = [each.rate for each in moments]
    if result.plan.rate:
        ends = (moments[0].t, moments[-1].t)
        series.append(Series(name="asked for", points=tuple((t, result.plan.rate) for t in ends), style="s0"))
        rates.append(result.plan.rate)
    chart = Chart(
        title="Rate over time",
        description=f"Messages {what} per second by interval: from {quantity(min(rates))} to {quantity(max(rates))}.",
        x=_time_axis(moments),
        y=scale(rates, quantity, log=False),
        x_title="seconds from the start",
        y_title="msg/s",
        series=tuple(series),
    )
    rows = [(f"{each.t:.2f} s", quantity(each.rate), quantity(each.lost)) for each in moments]
    return figure(chart, ("end of interval", f"{what}, msg/s", "lost"), rows)


def latency_over_time(result: Result) -> Html | None:
    """Draw p50 and p99 of each interval; None if there are fewer than two."""
    moments = _over_time(result, "p50", "p99")
    if len(moments) < 2:
        return None
    pairs = [(each.t, each.p50 or 0.0, each.p99 or 0.0) for each in moments]
    times = [value for _, *values in pairs for value in values]
    chart = Chart(
        title="Round-trip time over time",
        description=f"The median and p99 of each interval: from {duration(min(times))} to {duration(max(times))}.",
        x=_time_axis(moments),
        y=scale(times, duration),
        x_title="seconds from the start",
        y_title="round-trip time",
        series=(
            Series(name="p50", points=tuple((t, p50) for t, p50, _ in pairs)),
            Series(name="p99", points=tuple((t, p99) for t, _, p99 in pairs), style="s2"),
        ),
    )
    note = "from when messages were due" if result.plan.model == "open" else "from when messages were sent"
    rows = [(f"{t:.2f} s", duration(p50), duration(p99)) for t, p50, p99 in pairs]
    return figure(chart, ("end of interval", "p50", "p99"), rows, note)
