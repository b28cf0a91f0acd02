"""When the portable engine has its next turn."""

from __future__ import annotations

import pytest
from rigs.books import BEGIN, Books

from echobench.bench.load.portable import engine
from echobench.bench.load.portable.engine import COARSE, HEARTBEAT, PortableLoad
from echobench.bench.load.portable.offer import NEVER, Offer
from echobench.bench.load.window import SECOND
from echobench.bench.run.plan import shares


class Waiting(Offer):
    """Has nothing to do."""

    idle = False

    def turn(self, now):
        return NEVER


class Times:
    """A clock that says one time after the other."""

    def __init__(self, *each):
        self.each = list(each)

    def perf_counter_ns(self):
        return self.each.pop(0)

    def process_time(self):
        return 0.0


@pytest.fixture
def turn(monkeypatch):
    """Give what has an engine work that sees these times, and says how long it waits."""
    books = Books(duration=1.0, timeout=1.0)
    (share,) = shares(books.plan)
    load = PortableLoad(share, ("127.0.0.1", 7), lambda now, tally: None)
    load._window, load._account = books.window, books.account
    load._begun = load._awake = False
    load._cpu = 0.0
    load._offer = Waiting(share, ("127.0.0.1", 7), books.tally, None, load._fail)

    def work(*times):
        monkeypatch.setattr(engine, "time", Times(*times))
        return load._work()

    return work


def test_it_is_awake_for_the_beginning(turn):
    assert turn(BEGIN - 10 * HEARTBEAT, BEGIN - 10 * HEARTBEAT) == pytest.approx((HEARTBEAT - COARSE) / SECOND)
    assert turn(BEGIN - HEARTBEAT // 2, BEGIN - HEARTBEAT // 2) == pytest.approx((HEARTBEAT // 2 - COARSE) / SECOND)
    assert turn(BEGIN - 1000, BEGIN - 900) == 0.0


def test_what_passes_during_a_turn_is_for_the_next_one_at_once(turn):
    """Not a heartbeat later: the first message would be late by as much."""
    assert turn(BEGIN - 10, BEGIN + 10) == 0.0
    assert turn(BEGIN + 20, BEGIN + 30) == pytest.approx((HEARTBEAT - COARSE) / SECOND, abs=1e-6)
    assert turn(BEGIN + SECOND - 10, BEGIN + SECOND + 10) == 0.0
    assert turn(BEGIN + 2 * SECOND, BEGIN + 2 * SECOND) is None
