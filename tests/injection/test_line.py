"""When answers leave: in order, never too early, and by the clock that is given."""

from __future__ import annotations

import collections
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobench.injection.dice import Dice
from echobench.injection.line import AT_ONCE, OVERHEAD, Line
from echobench.injection.rules import read_rule


def line(text, *, whole=True, random=None):
    counts = collections.Counter()
    random = random or (lambda fault: Dice(7, "udp", 1, fault))
    faults = read_rule(text).faults
    return Line(faults, random, lambda name, number: counts.update({name: number}), 100.0, whole=whole), counts


def departures(line):
    """Let the time pass, and give what leaves when, relative to the beginning."""
    found = []
    while (due := line.due()) is not None:
        assert line.take(due - 1e-6) == []
        found += [(round(due - 100, 6), each) for each in line.take(due)]
    return found


def test_nothing_waits_without_a_reason():
    waiting, _ = line("none")
    waiting.put(b"x", 103.0)
    assert waiting.due() == 103.0
    assert waiting.take(103.0) == [b"x"]
    assert (waiting.due(), waiting.held) == (None, 0)


def test_delay():
    waiting, counts = line("delay=20ms")
    waiting.put(b"1", 100.0)
    waiting.put(b"2", 100.01)
    assert departures(waiting) == [(0.02, b"1"), (0.03, b"2")]
    assert counts == {"delay": 2}


def test_normal_delays_are_normally_distributed_and_never_negative():
    times = []
    waiting, _ = line("delay=normal(20ms,5ms)")
    for number in range(2000):
        waiting.put(b"x", 100.0 + number)  # far apart: nobody stands in line
        times.append(departures(waiting)[0][0] - number)
    assert abs(statistics.fmean(times) - 0.02) < 0.0005
    assert abs(statistics.stdev(times) - 0.005) < 0.0003
    low, _ = line("delay=normal(1ms,1s)", random=lambda fault: lambda: 0.0)
    low.put(b"x", 100.0)
    assert departures(low) == [(0.0, b"x")]


def test_jitter_adds_from_nothing_to_its_length():
    waiting, counts = line("delay=10ms,jitter=5ms")
    times = []
    for number in range(1000):
        waiting.put(b"x", 100.0 + number)
        times.append(departures(waiting)[0][0] - number)
    assert 0.0099 < min(times) < 0.0105
    assert 0.0145 < max(times) < 0.015001
    assert counts == {"delay": 1000, "jitter": 1000}


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_answers_stay_in_order_whatever_they_wait(waits):
    numbers = iter(waits)
    waiting, _ = line("jitter=10s", random=lambda fault: lambda: next(numbers))
    for number in range(len(waits)):
        waiting.put(bytes([number]), 100.0)
    found = departures(waiting)
    assert [data[0] for _, data in found] == list(range(len(waits)))
    assert [at for at, _ in found] == sorted(at for at, _ in found)


def test_a_stall_is_the_end_of_each_period():
    waiting, counts = line("stall=1s/10s")
    for number, at in enumerate((105.0, 108.9, 109.0, 109.9, 110.0, 119.5)):
        waiting.put(bytes([number]), at)
    assert [at for at, _ in departures(waiting)] == [5.0, 8.9, 10.0, 10.0, 10.0, 20.0]
    assert counts == {"stall": 3}


def test_a_rate_holds_each_datagram_back_for_as_long_as_it_takes():
    waiting, counts = line("rate=1kB/s")
    waiting.put(bytes(100), 100.0)
    waiting.put(bytes(200), 100.0)
    waiting.put(bytes(100), 105.0)
    assert [at for at, _ in departures(waiting)] == [0.1, 0.3, 5.1]
    assert counts == {"rate": 3}


def test_a_rate_lets_a_stream_go_in_portions():
    waiting, counts = line("rate=10kB/s", whole=False)
    waiting.put(bytes(range(250)), 100.0)
    found = departures(waiting)
    assert [(at, len(data)) for at, data in found] == [(0.01, 100), (0.02, 100), (0.025, 50)]
    assert b"".join(data for _, data in found) == bytes(range(250))
    assert counts == {"rate": 1}


@pytest.mark.parametrize("rate", [1, 10, 99])
def test_the_slowest_rates_let_bytes_go_one_by_one(rate):
    waiting, _ = line(f"rate={rate}/s", whole=False)
    waiting.put(b"abc", 100.0)
    assert departures(waiting) == [
        (pytest.approx(number / rate, abs=1e-6), b"abc"[number - 1 : number]) for number in (1, 2, 3)
    ]


def test_a_late_timer_makes_nobody_slower():
    """What was due meanwhile leaves together: the rate is that of the schedule."""
    waiting, _ = line("rate=10kB/s", whole=False)
    waiting.put(bytes(1000), 100.0)
    assert sum(map(len, waiting.take(100.055))) == 500
    assert waiting.due() == pytest.approx(100.06)


def test_delay_stall_and_rate_together():
    waiting, counts = line("delay=1s,stall=1s/10s,rate=100/s")
    waiting.put(bytes(100), 107.5)  # ready at 108.5, and 109.5 is within the stall
    waiting.put(bytes(100), 107.5)
    assert [at for at, _ in departures(waiting)] == [10.0, 11.0]
    assert counts == {"delay": 2, "rate": 2, "stall": 1}


def test_empty_answers_leave_too():
    waiting, _ = line("rate=1/s,delay=1s")
    waiting.put(b"", 100.0)
    assert departures(waiting) == [(1.0, b"")]
    portions, _ = line("rate=1/s", whole=False)
    portions.put(b"", 100.0)
    assert departures(portions) == [(0.0, b"")]


def test_one_turn_has_a_bound():
    waiting, _ = line("none")
    for _ in range(AT_ONCE + 5):
        waiting.put(b"x", 100.0)
    assert len(waiting.take(100.0)) == AT_ONCE
    assert waiting.due() == 100.0
    assert len(waiting.take(100.0)) == 5


@given(st.lists(st.tuples(st.binary(max_size=300), st.floats(0, 0.2)), max_size=20), st.booleans())
def test_what_is_held_is_known_and_nothing_is_lost(puts, whole):
    waiting, _ = line("delay=normal(10ms,10ms),stall=50ms/100ms,rate=5kB/s", whole=whole)
    now, taken = 100.0, []
    for data, pause in puts:
        now += pause
        waiting.put(data, now)
        assert waiting.held >= len(data) + OVERHEAD - 1 or data
        taken += waiting.take(now)
    while (due := waiting.due()) is not None:
        taken += waiting.take(due)
    assert b"".join(taken) == b"".join(data for data, _ in puts)
    assert waiting.held == 0
    if whole:
        assert taken == [data for data, _ in puts]


def test_clear():
    waiting, _ = line("rate=1/s", whole=False)
    waiting.put(b"abc", 100.0)
    waiting.put(b"abc", 100.0)
    assert waiting.take(101.0) == [b"a"]
    assert waiting.clear() == 2
    assert (waiting.due(), waiting.held, waiting.take(200.0)) == (None, 0, [])
