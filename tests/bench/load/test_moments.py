"""A run's time series: what each interval adds, and how those of several processes come together."""

from __future__ import annotations

import pytest

from echobench.bench.load.intervals import Intervals
from echobench.bench.load.moments import Moments
from echobench.bench.load.window import SECOND
from echobench.bench.run.plan import Plan
from echobench.bench.run.tally import Tally

PLAN = Plan(host="h", warmup=1.0, duration=3.0, cooldown=1.0, flows=2, processes=2)


def tick(n, value=100_000, number=10, seconds=1.0):
    tally = Tally()
    tally.from_send.record(value, number)
    steps = tally.from_send.counts.nonzero()[0].tolist()
    return {
        "n": n,
        "seconds": seconds,
        "answered": number,
        "sent": number,
        "lost": 1,
        "steps": steps,
        "counts": [number],
    }


def test_an_interval_is_told_when_all_have_left_it():
    moments = Moments(PLAN)
    moments.add(0, tick(1))
    moments.add(0, tick(2))
    assert moments.complete({0, 1}) == []
    moments.add(1, tick(1, value=500_000, number=30))
    (moment,) = moments.complete({0, 1})
    assert (moment.t, moment.measured, moment.rate, moment.lost) == (1.0, 1.0, 40.0, 2)
    assert moment.p50 == moment.p99 == pytest.approx(500_000, rel=1e-3), "of all the answers together"
    assert [moment.t for moment in moments.complete(set())] == [2.0], "nobody is left to wait for"
    moments.add(1, tick(1))
    assert moments.complete(set()) == [], "it is told already"
    assert [moment.t for moment in moments.all] == [1.0, 2.0]


@pytest.mark.parametrize(
    "wrong", [{}, {**tick(1), "steps": [1, 2]}, {**tick(1), "steps": [1 << 40]}, {**tick(1), "seconds": None}, []]
)
def test_what_is_no_tick(wrong):
    with pytest.raises((ValueError, KeyError, TypeError)):
        Moments(PLAN).add(0, wrong)


def test_intervals_are_differences_within_the_window():
    said = []
    intervals = Intervals(PLAN, said.append)
    tally = Tally()
    intervals(5, tally)
    assert said == [], "nothing before the beginning"
    intervals.begin(10 * SECOND)
    tally.answered = tally.sent = 5
    tally.from_send.record(1000, 5)
    intervals(11 * SECOND + 1000, tally)  # a microsecond of the window: that waits for the next
    tally.answered, tally.sent, tally.unanswered = 25, 27, 2
    tally.from_send.record(1000, 20)
    intervals(12 * SECOND, tally)
    tally.answered = 30
    tally.from_send.record(3000, 5)
    intervals.cut(12 * SECOND + SECOND // 2)
    intervals(13 * SECOND, tally)
    assert [each["n"] for each in said] == [1, 2, 3]
    assert [each["seconds"] for each in said] == [0, 1, 0.5]
    assert [each["answered"] for each in said] == [0, 25, 5]
    assert [each["sent"] for each in said] == [0, 27, 0]
    assert [each["lost"] for each in said] == [0, 2, 0]
    assert [sum(each["counts"]) for each in said] == [0, 25, 5]
