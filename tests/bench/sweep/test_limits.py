"""Limits: how they are read, what keeps them, and how many messages they take."""

from __future__ import annotations

import contextlib
import math

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rigs.blast_results import a_result, histograms

from echobench.bench.run.histogram import Histogram
from echobench.bench.run.plan import Plan
from echobench.bench.run.tally import loss, servers_loss
from echobench.bench.sweep.limits import UNITS, Limit, LimitError, parse, show, unsupported

bounds = st.floats(1, 1e12).map(lambda value: float(f"{value:.9g}"))
limits = st.one_of(
    st.builds(
        Limit,
        kind=st.just("percentile"),
        bound=bounds,
        inclusive=st.booleans(),
        depth=st.integers(1, 99).map(float) | st.sampled_from([99.9, 99.99, 0.5]),
    ),
    st.builds(Limit, kind=st.sampled_from(["mean", "max"]), bound=bounds, inclusive=st.booleans()),
)
losses = st.builds(Limit, kind=st.just("loss"), bound=st.integers(1, 10**6).map(lambda n: n / 10**6))


@given(st.lists(limits, max_size=4, unique_by=lambda limit: limit.name), losses)
def test_what_is_written_is_read_again(several, last):
    written = show((*several, last))
    for read, limit in zip(parse(written), (*several, last), strict=True):
        assert attrs.evolve(read, bound=limit.bound) == limit
        assert read.bound == pytest.approx(limit.bound, rel=1e-9)


@given(st.text())
@example("p99<1ms,")
@example("p99<1ms,,loss<1%")
@example("p99 < 1e3ms")
@example("p100<1ms")
@example("p0<1ms")
@example("p99<1m")
@example("p99<1")
@example("p99>1ms")
@example("p99<0ms")
@example("p99<-1ms")
@example("loss<101%")
@example("loss<0")
@example("loss<1ms")
@example("loss<\u0661%")
@example("lateness<1ms")
def test_what_is_no_limit_is_refused_in_a_sentence(text):
    with contextlib.suppress(LimitError):
        parse(text)
        assert text[:1] in "pml"
        assert "<" in text or "≤" in text


@pytest.mark.parametrize(
    "text", ["p99<1m", "p100<1ms", "p0<1ms", "p99<1", "loss<101%", "loss<0", "p99<0ms", "", "p99<1ms,"]
)
def test_these_are_no_limits(text):
    with pytest.raises(LimitError):
        parse(text)


def test_two_limits_on_one_figure():
    with pytest.raises(LimitError, match=r"two limits on p99\b"):
        parse("p99<1ms,p99.0<2ms")


@pytest.mark.parametrize("unit", UNITS)
def test_units(unit):
    (limit, _) = parse(f" p99 < 1.5{unit} ")
    assert limit == Limit(kind="percentile", depth=99.0, bound=1.5 * UNITS[unit])


def test_signs_and_loss():
    assert parse("max≤2s,loss<=0") == (
        Limit(kind="max", bound=2e9, inclusive=True),
        Limit(kind="loss", bound=0.0, inclusive=True),
    )
    assert parse("loss<0.1%") == parse("loss<0.001")
    assert show(parse("p99<1ms,mean<=300us")) == "p99<1ms,mean<=300µs,loss<0.1%", "a limit on loss is added"


@given(limits, st.floats(0, 1e12))
def test_what_keeps_a_limit(limit, value):
    assert limit.keeps(value) == (value < limit.bound or (limit.inclusive and value == limit.bound))
    assert limit.keeps(limit.bound) == limit.inclusive
    assert not limit.keeps(None)


@given(histograms())
def test_figures_of_a_histogram(histogram):
    (p50, p99, mean, most, _) = parse("p50<1s,p99<1s,mean<1s,max<1s")
    assert p99.of(histogram) is None, "eight values at most: too few"
    assert p50.of(histogram) is None
    if histogram.total:
        assert mean.of(histogram) == histogram.mean
        assert most.of(histogram) == histogram.greatest
    many = Histogram()
    many.add(histogram)
    many.record(1000, 2000)
    assert p99.of(many) == many.percentile(99)


def test_whose_loss_it_is():
    ends = {"answered": 90, "unanswered": 4, "not_sent": 3, "send_buffer_full": 2, "late": 1}
    tally = a_result({"intended": 100, "our_receive_buffer": 1, **ends}).tally
    assert loss(tally) == pytest.approx(0.1)
    assert servers_loss(tally) == pytest.approx(0.04)
    (limit,) = parse("loss<10%")
    assert limit.value(a_result({"intended": 100, **ends})) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("text", "rate", "seconds", "longer"),
    [
        ("p99<1ms", 1000, 5.0, None),
        ("p99<1ms,loss<1%", 100, 10.2, None),
        ("p99<1ms,loss<1%", 100, 10.0, "p99 needs 1,012 messages"),
        ("p99.9<1ms", 2000, 5.0, "--step-duration 5.1,"),
        ("p99.9<1ms", 2000, 5.1, None),
        ("p99.9<1ms,loss<50%", 2000, 5.1, "--step-duration 11,"),
        (
            "loss<0.01%",
            1000,
            5.0,
            "loss needs 30,000 messages, and a step of 5 s at 1,000 msg/s has ",
        ),
        ("loss<0.01%", 1000, 30.0, None),
        ("loss<=0,max<1s", 1, 1.0, None),
        ("p99<1ms,loss<=0", 1002, 1.0, None),  # 1,000, one for the process and one for the edges
        ("p99<1ms,loss<=0", 1001, 1.0, "p99 needs 1,002 messages"),
        ("p99<1ms,loss<100%", 1000, 5.0, "p99 needs 1,000,002 messages"),
    ],
)
def test_enough_messages(text, rate, seconds, longer):
    said = unsupported(parse(text), Plan(host="h", model="open", rate=rate, duration=seconds))
    assert said is None if longer is None else longer in (said or "")


@given(limits, st.floats(1, 1e5), st.sampled_from(["constant", "poisson"]))
def test_the_duration_that_is_named_would_do(limit, rate, arrivals):
    plan = Plan(host="h", model="open", rate=rate, duration=0.001, arrivals=arrivals)
    said = unsupported((limit,), plan)
    if said is None:
        return
    longer = float(said.partition("--step-duration ")[2].partition(",")[0])
    assert unsupported((limit,), attrs.evolve(plan, duration=longer)) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("max<1000ms", "max<1s"),
        ("max<999.5ms", "max<999.5ms"),
        ("max<1000us", "max<1ms"),
        ("max<1000ns", "max<1µs"),
        ("max<999ns", "max<999ns"),
        ("max<0.5ns", "max<0.5ns"),
    ],
)
def test_a_bound_is_shown_in_the_greatest_unit_that_it_reaches(text, shown):
    assert str(parse(text)[0]) == shown


def test_the_whole_is_a_limit_on_loss_and_more_is_none():
    assert parse("loss<100%") == parse("loss<1") == (Limit(kind="loss", bound=1.0),)
    for text in ("loss<100.1%", "loss<1.001", "loss<0%"):
        with pytest.raises(LimitError, match="between 0 and 100 %"):
            parse(text)


@pytest.mark.parametrize("end", ["unanswered", "late", "not_sent"])
def test_a_percentile_among_the_lost_is_beyond_every_bound(end):
    """Ninety of 100,000 are more than the 50 that p99.95 leaves."""
    result = a_result({"answered": 99_910, end: 90}, {"model": "open", "rate": 10_000.0})
    held, broken, slowest, mean, _ = parse("p99.9<9s,p99.95<9s,max<9s,mean<9s,loss<1%")
    assert held.keeps(held.value(result))
    assert mean.keeps(mean.value(result)), "of those that came back"
    for limit in (broken, slowest):
        assert limit.value(result) == math.inf
        assert not limit.keeps(limit.value(result))
        assert limit.show(limit.value(result)) == "lost"
