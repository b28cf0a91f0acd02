"""The HTML page of a sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..blast.rows import sources
from ..drawing.charts import LETTERS, Chart, Series
from ..drawing.markup import Content, Html, tag
from ..drawing.page import again, described, figure, headlines, page, run_by, section, sentences, table
from ..drawing.percentiles import percentile_figure
from ..drawing.scales import Scale, scale
from ..words import duration, endpoint, quantity
from .answer import sentence
from .limits import Limit, parse
from .result import Point, Sweep
from .search import Outcome
from .terminal import HELD, columns, common, remark, why

ABOVE = 3  # times what is below it: there is room for words
MARKS = {"held": "dot", "broke": "cross", "generator": "triangle"}
KEYS = (
    ("dot", "most steps held"), ("cross", "broke"),
    ("triangle", "the generator was the limit; a mark is the middle step at its rate"),
)  # fmt: skip
KEY = "  ".join(f"{LETTERS[shape]} {words}" for shape, words in KEYS)


def sweep_page(done: Sweep) -> str:
    """Give the page."""
    plan, points = done.plan, [point for point in done.curve() if point.steps]
    lead = [
        tag("p", sentence(done), class_="answer"),
        tag(
            "p",
            f"Messages of {plan.size} bytes over {sources(plan)}; open model, times from when messages were due. "
            f"Each step {plan.duration:g} s after {plan.warmup:g} s of warm-up; started {done.started}.",
        ),
    ]
    limits = [limit for limit in done.limits if limit.kind != "loss"] or list(parse("p99<1s"))[:1]
    environment = done.steps[-1].result.environment if done.steps else {}
    sections: list[Content] = [
        headlines(main_figures(done, points)),
        section("Read this first", sentences(common(done))) if common(done) else None,
        section(
            "The curve", throughput(done, points), [times(done, points, limit) for limit in limits], lost(done, points)
        )
        if points
        else None,
        section("All rates", whole(done, done.curve())),
        _answer(done, points),
        section("Steps that did not hold", tag("ul", [tag("li", each) for each in why(done)])) if why(done) else None,
        section("Environment", described(environment), run_by(environment), again("sweep", "sweep.json")),
    ]
    return page(title(done), lead, sections)


def title(done: Sweep) -> str:
    """Say which server was measured."""
    return f"Sweep of {endpoint(done.plan.host, done.plan.port)} over {done.plan.transport.upper()}"


def main_figures(done: Sweep, points: list[Point]) -> list[tuple[str, str]]:
    """Give the figures that are shown large, with their names."""
    found = [("highest rate that held", quantity(done.held) if done.held else "none")]
    if done.broke is not None:
        found.append(("lowest that broke", quantity(done.broke)))
    if done.generator is not None:
        found.append(("generator's limit", quantity(done.generator)))
    return [*found, ("steps", f"{len(done.steps)}")]


def rate_scale(points: list[Point]) -> Scale:
    """Give the axis of the offered rates."""
    return scale([point.rate for point in points], quantity)


def band_of(done: Sweep) -> tuple[float, float] | None:
    """Give the rates between which the answer lies.

    None if nothing held, or nothing broke.
    """
    above = min((rate for rate in (done.broke, done.generator) if rate is not None), default=None)
    return (done.held, above) if done.held is not None and above is not None else None


def held_line(done: Sweep) -> tuple[float, str] | None:
    """Give where the highest rate that held lies, and its words; None if nothing held."""
    return None if done.held is None else (done.held, f"held {quantity(done.held)}")


def throughput_chart(done: Sweep, points: list[Point]) -> Chart:
    """Give the rate of answers against the offered rate."""
    x = rate_scale(points)
    ends = (points[0].rate, points[-1].rate)
    return Chart(
        title="Answered against asked for",
        description=f"Messages answered per second for each rate that was asked for. {sentence(done)}",
        x=x,
        y=scale([*(point.answered for point in points), *ends], quantity, log=x.log),
        x_title="asked for, msg/s",
        y_title="answered, msg/s",
        series=(
            Series(name="all answered", points=tuple((end, end) for end in ends), style="s0"),
            Series(
                name="answered",
                points=tuple((point.rate, point.answered) for point in points),
                marks=tuple(MARKS[point.outcome] for point in points),
            ),
        ),
        band=band_of(done),
        upright=held_line(done),
    )


def throughput(done: Sweep, points: list[Point]) -> Html:
    """Draw the rate of answers."""
    rows = [(quantity(point.rate), quantity(point.answered)) for point in points]
    return figure(throughput_chart(done, points), ("asked for", "answered, msg/s"), rows, KEY)


def edge(values: Sequence[float]) -> float:
    """Give where the times of lost messages are drawn: above all that are known."""
    return ABOVE * max((value for value in values if math.isfinite(value)), default=1e9)


def times(done: Sweep, points: list[Point], limit: Limit) -> Html | None:
    """Draw a limit's figure against the rate, with the limit.

    Bars reach from the least to the greatest of single steps.
    """
    known = [(point, value, point.spread(limit)) for point in points if (value := point.value(limit)) is not None]
    if not known:
        return None
    asked = limit in done.limits
    bound = [limit.bound] if asked else []
    top = edge([*(end for _, value, spread in known for end in spread or (value,)), *bound])
    drawn = [
        (point, min(value, top), (min(spread[0], top), min(spread[1], top)) if spread else (min(value, top),) * 2)
        for point, value, spread in known
    ]
    lost_too = any(value == math.inf for _, value, _ in known)
    chart = Chart(
        title=f"{limit.name} against asked for",
        description=f"{limit.name} of the round-trip times for each rate that was asked for. "
        + ("Where it is a lost message's, it is drawn at the upper edge. " if lost_too else "")
        + sentence(done),
        x=rate_scale(points),
        y=scale([*(end for _, _, ends in drawn for end in ends), *(value for _, value, _ in drawn), *bound], duration),
        x_title="asked for, msg/s",
        y_title=f"round-trip time, {limit.name}",
        series=(
            Series(
                name=limit.name,
                points=tuple((point.rate, value) for point, value, _ in drawn),
                marks=tuple(MARKS[point.outcome] for point, _, _ in drawn),
                ranges=tuple(ends for _, _, ends in drawn),
            ),
        ),
        limit=(limit.bound, f"limit {limit}") if asked else None,
        band=band_of(done),
        upright=held_line(done),
    )
    rows = [
        (quantity(point.rate), limit.show(value), *(map(limit.show, spread) if spread else ("-", "-")))
        for point, value, spread in known
    ]
    return figure(chart, ("asked for", limit.name, "least of the steps", "greatest"), rows, KEY)


def lost(done: Sweep, points: list[Point]) -> Html | None:
    """Draw loss against the rate; None if nothing was lost."""
    limit = next(limit for limit in done.limits if limit.kind == "loss")
    known = [(point, value) for point in points if (value := point.value(limit)) is not None]
    if not any(value for _, value in known):
        return None
    chart = Chart(
        title="Loss against asked for",
        description=f"The part of the messages that did not come back in time. The limit is {limit}.",
        x=rate_scale(points),
        y=scale([*(value for _, value in known), limit.bound], lambda share: f"{100 * share:.4g}%", log=False),
        x_title="asked for, msg/s",
        y_title="lost",
        series=(
            Series(
                name="lost",
                points=tuple((point.rate, value) for point, value in known),
                marks=tuple(MARKS[point.outcome] for point, _ in known),
            ),
        ),
        limit=(limit.bound, f"limit {limit}"),
        band=band_of(done),
        upright=held_line(done),
    )
    return figure(chart, ("asked for", "lost"), [(quantity(p.rate), limit.show(v)) for p, v in known], KEY)


def whole(done: Sweep, points: list[Point]) -> Html:
    """Give the table of all rates."""
    shown = columns(done.limits)
    rows = [
        (
            quantity(point.rate),
            quantity(point.answered),
            *(limit.show(point.value(limit)) for limit in shown),
            f"{point.held} of {len(point.steps)}",
            remark(done, point),
        )
        for point in points
    ]
    head = ("asked for", "answered", *(limit.name for limit in shown), "held", "")
    return table(head, rows, f"{HELD}.")


def _answer(done: Sweep, points: list[Point]) -> Html | None:
    """Draw the percentile curves at the two rates that are the answer."""
    ends: tuple[tuple[Outcome, float | None], ...] = (("held", done.held), ("broke", done.broke))
    named = [
        (f"{outcome} at {quantity(point.rate)}", point.times(outcome))
        for point in points
        for outcome, rate in ends
        if point.rate == rate
    ]
    drawn = percentile_figure(named, "from when messages were due; of the steps at the rate with that outcome, merged")
    return section("Around the answer", drawn) if drawn else None
