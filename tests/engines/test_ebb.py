"""When memory that a crowd needed is given back; the clock is the test's."""

from __future__ import annotations

import itertools

import pytest
from twisted.internet.task import Clock

from echobench.engines.ebb import ENOUGH, PERIOD, Ebb


class Crowd:
    def __init__(self):
        self.clock, self.number, self.given_back = Clock(), 0, []
        self.ebb = Ebb(self.clock, lambda: self.number, self.given_back.append)

    def become(self, number):
        grows, self.number = number > self.number, number
        if grows:
            self.ebb.grew(number)

    def periods(self, number):
        for _ in range(number):
            self.clock.advance(PERIOD)


@pytest.fixture
def crowd():
    return Crowd()


def test_what_was_not_needed_for_a_period_is_given_back(crowd):
    crowd.become(1000)
    crowd.periods(10)
    assert crowd.given_back == []
    crowd.become(30)
    crowd.periods(1)
    assert crowd.given_back == [], "it was needed in this period"
    crowd.periods(1)
    assert crowd.given_back == [30]
    crowd.periods(10)
    assert crowd.given_back == [30], "once"
    assert crowd.clock.getDelayedCalls() == []


def test_what_is_needed_again_and_again_is_kept(crowd):
    for _ in range(10):
        crowd.become(1000)
        crowd.become(0)
        crowd.periods(1)
    assert crowd.given_back == []
    crowd.periods(1)
    assert crowd.given_back == [0]


def test_a_crowd_that_leaves_by_and_by(crowd):
    crowd.become(1000)
    for number in range(1000, -1, -10):
        crowd.become(number)
        crowd.periods(1)
    crowd.periods(1)
    steps = [before - after for before, after in itertools.pairwise([1000, *crowd.given_back])]
    assert min(steps) >= ENOUGH
    assert max(steps) < ENOUGH + 10
    assert crowd.given_back[-1] < 2 * ENOUGH


def test_few_need_no_timer(crowd):
    crowd.become(ENOUGH - 1)
    assert crowd.clock.getDelayedCalls() == []
    crowd.become(ENOUGH)
    assert len(crowd.clock.getDelayedCalls()) == 1


def test_stopping_gives_back_at_once(crowd):
    crowd.become(1000)
    crowd.become(0)
    crowd.ebb.stop()
    assert crowd.given_back == [0]
    assert crowd.clock.getDelayedCalls() == []
    crowd.ebb.stop()
    assert crowd.given_back == [0]


@pytest.mark.parametrize("left", [30, 100])
def test_what_cannot_be_given_back_now_is_given_back_another_time(crowd, left):
    busy = [True]

    def give_back(to):
        if busy.pop():
            busy.append(False)
            crowd.ebb.grew(1000)
        else:
            crowd.given_back.append(to)

    crowd.ebb = Ebb(crowd.clock, lambda: crowd.number, give_back)
    crowd.become(1000)
    crowd.become(left)
    crowd.periods(10)
    assert crowd.given_back == [left]
