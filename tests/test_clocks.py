"""The clock for durations, on the real reactor (which goes by the wall clock) and on others."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from rigs.helpers import settle, until
from twisted.internet import reactor as real
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock, LoopingCall
from twisted.python import runtime
from zope.interface.verify import verifyObject

from echobench import clocks
from echobench.clocks import SteadyClock, goes_by_wall_clock, make_monotonic, steady


class Reactor:
    """What a reactor has of time."""

    seconds = staticmethod(runtime.seconds)

    def __init__(self, *calls):
        self.calls = calls

    def getDelayedCalls(self):
        return self.calls


def alarms():
    return [thread for thread in threading.enumerate() if thread.name == "echobench alarm"]


@pytest.fixture
def clock():
    yield SteadyClock(real)
    until(lambda: not alarms())


def test_a_reactor_of_ours_is_made_monotonic():
    reactor = Reactor()
    assert goes_by_wall_clock(reactor)
    assert make_monotonic(reactor)
    assert abs(reactor.seconds() - time.monotonic()) < 60
    assert steady(reactor) is reactor
    assert make_monotonic(reactor), "a second time it is so already"


def test_a_reactor_with_calls_that_wait_is_left_as_it_is():
    """They are due at times of the wall clock, and would come in fifty years."""
    reactor = Reactor("a call")
    assert not make_monotonic(reactor)
    assert reactor.seconds is runtime.seconds


def test_an_injected_clock_is_used_as_it_is():
    injected = Clock()
    assert steady(injected) is injected


def test_a_reactor_has_one_clock_beside_it():
    assert steady(real) is steady(real)
    assert isinstance(steady(real), SteadyClock) == goes_by_wall_clock(real)


def test_it_provides_what_it_says(clock):
    assert verifyObject(IReactorTime, clock)
    assert abs(clock.seconds() - time.monotonic()) < 60


def test_calls_come_in_their_order_and_in_the_reactors_thread(clock):
    seen = []
    for delay in (0.05, 0.01, 0.03, 0):
        clock.callLater(delay, lambda delay=delay: seen.append((delay, threading.current_thread())))
    assert seen == [], "not within the call"
    assert [call.active() for call in clock.getDelayedCalls()] == [True] * 4
    until(lambda: len(seen) == 4)
    assert seen == [(delay, threading.main_thread()) for delay in (0, 0.01, 0.03, 0.05)]
    assert clock.getDelayedCalls() == []


def test_none_comes_early(clock):
    at = []
    began = time.monotonic()
    clock.callLater(0.2, lambda: at.append(time.monotonic()))
    until(lambda: at)
    assert at[0] - began >= 0.2


def test_calls_of_the_same_time_come_in_the_order_in_which_they_were_made(clock, monkeypatch):
    seen = []
    for number in range(20):
        clock.callLater(0, seen.append, number)
    until(lambda: len(seen) == 20)
    assert seen == list(range(20))


def test_a_cancelled_call_does_not_come(clock):
    seen = []
    first, second = clock.callLater(0.01, seen.append, 1), clock.callLater(0.02, seen.append, 2)
    first.cancel()
    assert clock.getDelayedCalls() == [second]
    until(lambda: seen)
    assert seen == [2]


def test_a_call_that_cancels_another_of_the_same_turn(clock):
    seen = []
    other = []
    clock.callLater(0, lambda: other[0].cancel())  # noqa: PLW0108 (it is there later)
    other.append(clock.callLater(0, seen.append, 1))
    settle(0.1)
    assert seen == []


def test_a_thread_is_there_only_while_calls_wait(clock):
    calls = [clock.callLater(100, int) for _ in range(500)]
    until(lambda: len(alarms()) == 1)
    for call in calls:
        call.cancel()
    until(lambda: not alarms())
    assert clock.getDelayedCalls() == []


def test_a_thread_stays_for_a_moment_in_which_calls_come_and_go(clock, monkeypatch):
    monkeypatch.setattr(clocks, "LINGER", 0.5)
    clock.callLater(100, int).cancel()
    (thread,) = alarms()
    for _ in range(200):
        clock.callLater(100, int).cancel()
    seen = []
    clock.callLater(0.01, seen.append, 1)
    until(lambda: seen)
    assert alarms() == [thread]


def test_cancelled_calls_are_forgotten_before_they_are_due(clock):
    last = clock.callLater(100, int)
    for _ in range(1000):
        clock.callLater(99, int).cancel()
    assert len(clock._calls) <= 102
    last.cancel()


def test_a_call_that_is_moved(clock):
    seen = []
    sooner, later, put_off = (clock.callLater(delay, seen.append, delay) for delay in (100, 0.05, 0.02))
    sooner.reset(0.01)
    later.reset(0.06)
    put_off.delay(0.02)
    until(lambda: len(seen) == 3)
    assert seen == [100, 0.02, 0.05]


def test_a_call_that_fails_is_logged_and_the_others_come(clock, logged_errors):
    seen = []
    clock.callLater(0, lambda: 1 / 0)
    clock.callLater(0, seen.append, 1)
    clock.callLater(0.01, seen.append, 2)
    until(lambda: seen == [1, 2])
    assert logged_errors.pop()["log_failure"].check(ZeroDivisionError)


def test_a_looping_call(clock):
    seen = []
    loop = LoopingCall(seen.append, 1)
    loop.clock = clock
    loop.start(0.01, now=False)
    until(lambda: len(seen) > 3)
    loop.stop()


@pytest.mark.parametrize("what", ["thread", "socket"])
def test_where_no_thread_can_be_had_the_reactors_timer_serves(clock, monkeypatch, what):
    def none(*_, **__):
        raise RuntimeError("can't start new thread") if what == "thread" else OSError("no descriptor")

    if what == "thread":
        monkeypatch.setattr(clocks.threading.Thread, "start", none)
    else:
        monkeypatch.setattr(clocks.socket, "socketpair", none)
    seen = []
    clock.callLater(0.02, seen.append, 1)
    until(lambda: seen)
    assert alarms() == []


def test_a_child_that_serves_has_a_thread_of_its_own(clock):
    """As when a program starts its services, and then becomes a daemon."""
    reactor = Reactor()
    reactor.running, reactor.when_running, reactor.asked = False, [], threading.Event()
    reactor.callWhenRunning, reactor.callFromThread = reactor.when_running.append, lambda call: reactor.asked.set()
    child = SteadyClock(reactor)
    child.callLater(0.01, lambda: None)
    assert reactor.asked.wait(20)
    reactor.asked.clear()
    until(lambda: not alarms())
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child._alarm._bell = ours  # as in a child: there is a bell, and the thread was not forked
        child.forked()
        assert ours.fileno() == -1
        (begin,) = reactor.when_running
        begin()
        assert reactor.asked.wait(20)
