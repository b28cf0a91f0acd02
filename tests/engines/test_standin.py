"""The stand-in: when it waits in the reactor's place, and that nobody has to wait for it."""

from __future__ import annotations

import select
import signal
import socket
import sys

import pytest
from rigs.helpers import needs_linux, until

from echobench.engines import standin
from echobench.engines.standin import LONG, STAY, WAIT, StandIn, runs_by_itself

if sys.platform == "linux":
    pass

pytestmark = needs_linux


class Place:
    """An epoll reactor that does not run, who stands in for it, and a clock that the test moves."""

    def __init__(self, runs=False):
        from twisted.internet.epollreactor import EPollReactor

        self.reactor = EPollReactor()
        self.reactor.seconds = lambda: self.now / 1e9
        self.reactor.running = True
        self.now = 10**12
        self.socks = []
        self.ours, self.mine = self.watched()
        self.waits = []
        self.stand_in = StandIn(self.reactor, lambda: self.now, lambda: runs)
        real = self.stand_in._poll
        self.stand_in._poll = lambda *how: self.waits.append(how) or real(*how)

    def watched(self):
        """A socket that the reactor watches, and the one to send to it by."""
        here, there = socket.socketpair()
        self.socks += [here, there]
        self.reactor.addReader(here)
        return here, there

    def woken(self, after):
        """Run out of work, be woken so many nanoseconds later, and read what came."""
        self.stand_in.wait(self.ours.fileno())
        self.now += after
        self.stand_in.woken()
        self.waits.clear()

    def wait(self):
        return self.stand_in.wait(self.ours.fileno())

    def close(self):
        for internal in list(self.reactor._internalReaders):
            internal.connectionLost(None)
        self.reactor._poller.close()
        for sock in self.socks:
            sock.close()


@pytest.fixture
def place():
    there = Place()
    yield there
    there.close()


def test_it_waits_while_messages_come_quickly(place):
    place.woken(WAIT)
    place.mine.send(b"x")
    assert place.wait()
    place.ours.recv(1)
    assert not place.wait(), "nothing comes"
    assert place.waits == [(WAIT / 1e9, 2)] * 2


def test_it_does_not_where_they_come_slowly(place):
    place.mine.send(b"x")
    for after in (WAIT + 1, STAY, 10**9):
        place.woken(after)
        assert not place.wait()
    place.woken(WAIT)
    assert place.wait(), "soon after another"


def test_it_is_not_for_ever(place):
    place.woken(0)
    place.mine.send(b"x")
    place.now += STAY - 1
    assert place.wait()
    place.now += 1
    assert not place.wait()
    assert len(place.waits) == 1
    place.woken(0)
    assert place.wait()


def test_others_are_served(place):
    other, sender = place.watched()
    place.woken(0)
    sender.send(b"x")
    assert not place.wait(), "the other alone"
    place.mine.send(b"x")
    assert not place.wait(), "both"
    other.recv(1)
    assert place.wait()


def test_one_that_can_be_written_to_is_served(place):
    place.woken(0)
    place.mine.send(b"x")
    place.reactor.addWriter(place.watched()[0])
    assert not place.wait()


def test_an_error_of_ours_is_for_the_reactor(place):
    place.woken(0)
    place.mine.close()
    assert not place.wait()


def test_calls_from_threads_are_made(place):
    place.woken(0)
    place.reactor.callFromThread(lambda: None)
    assert not place.wait()


def test_calls_from_threads_whose_byte_was_read_are_made(place):
    """The reactor's waker was ready together with us, and had its turn before."""
    place.reactor.callFromThread(lambda: None)
    place.reactor.waker.doRead()
    place.mine.send(b"x")
    place.woken(0)
    assert not place.wait()
    place.reactor.runUntilCurrent()
    place.woken(0)
    assert place.wait()


@pytest.mark.parametrize("how", ["stop", "crash"])
def test_the_reactor_stops(place, how):
    """Somebody before us in its turn said so; nothing tells the epoll."""
    place.reactor._stopped, place.reactor._started = False, True
    getattr(place.reactor, how)()
    place.mine.send(b"x")
    place.woken(0)
    assert not place.wait()


def test_delayed_calls_that_we_make_ourselves_are_made_in_time(place):
    place.mine.send(b"x")
    place.woken(0)
    assert place.wait()
    place.reactor.callLater(STAY / 2e9, lambda: None)
    assert not place.wait()


class Interruption(BaseException):
    """What no "except Exception" catches."""


def test_a_signal_handler_that_raises_costs_nobody_a_connection(place, logged_errors):
    """Passed on, it would tell the reactor that our descriptor is lost. Its own wait only logs it."""

    def handler(*_):
        raise Interruption

    before = signal.signal(signal.SIGALRM, handler)
    try:
        place.woken(0)
        real = place.stand_in._poll
        place.stand_in._poll = lambda *how: signal.raise_signal(signal.SIGALRM) or real(*how)
        assert not place.wait()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert [event["log_failure"].type for event in logged_errors] == [Interruption]
    logged_errors.clear()


@pytest.mark.parametrize(
    ("due", "room"), [(0, 0), (WAIT // 2, 0), (3 * WAIT // 2, WAIT // 2), (2 * STAY, STAY), (None, STAY)]
)
def test_delayed_calls_are_made_in_time(place, due, room):
    if due is not None:
        place.reactor.callLater(due / 1e9, lambda: None)
    place.mine.send(b"x")
    place.woken(0)
    fine = 1000  # the reactor counts in seconds, as floats
    place.now += room - fine
    assert place.wait() == (room > 0)
    place.now += 2 * fine
    assert not place.wait()


def test_who_has_not_run_the_reactor_keeps_the_interrupt(place):
    """Without reactor.run(), Ctrl-C is an exception wherever the program is; raised in here it would be lost."""
    place.mine.send(b"x")
    place.woken(0)
    assert place.wait()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        place.woken(0)
        assert not place.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def test_only_for_the_one_reactor_that_is_known():
    from twisted.internet.epollreactor import EPollReactor
    from twisted.internet.pollreactor import PollReactor

    class Derived(EPollReactor):
        pass

    class Other:
        _poller = select.poll()

    for kind in (Derived, PollReactor, Other, object):
        stranger = object.__new__(kind)
        with select.epoll() as poller:
            if kind is Derived:
                stranger._poller = poller
            stand_in = StandIn(stranger, lambda: pytest.fail("it asked for the time"))
            stand_in.woken()
            assert not stand_in.wait(0), kind
    changed = object.__new__(EPollReactor)  # it is no longer called that, or no longer what it was
    assert not StandIn(changed).wait(0)
    changed._poller = object()
    assert not StandIn(changed).wait(0)
    for name in standin.ASKED:
        whole = EPollReactor()
        assert StandIn(whole)._poll is not None
        delattr(whole, name)
        assert StandIn(whole)._poll is None, name
        whole._poller.close()
        for internal in list(whole._internalReaders):
            internal.connectionLost(None)


@pytest.fixture
def running():
    """As ``place``, but the reactor runs by itself."""
    there = Place(runs=True)
    yield there
    there.close()


def test_where_the_reactor_runs_it_waits_however_slowly_messages_come(running):
    for after in (WAIT + 1, STAY, 10**9):
        running.mine.send(b"x")
        running.woken(after)
        assert running.wait()
        running.ours.recv(1)


def test_it_waits_as_long_as_the_reactor_would(running):
    waits, running.stand_in._poll = running.waits, lambda *how: waits.append(how) or []
    running.stand_in.woken()
    assert not running.wait()
    running.reactor.callLater(5, lambda: None)
    running.stand_in.woken()
    assert not running.wait()
    running.now += 3 * 10**8
    assert not running.wait()
    assert [how for how, _ in running.waits] == pytest.approx([-1.0, 5 - WAIT / 1e9, 4.7 - WAIT / 1e9])


def test_the_reactor_has_its_turn_now_and_then_all_the_same(running):
    running.woken(0)
    running.mine.send(b"x")
    running.now += LONG - 1
    assert running.wait()
    running.now += 1
    assert not running.wait()


def test_it_is_back_in_time_for_delayed_calls(running):
    running.reactor.callLater(0.5, lambda: None)
    running.mine.send(b"x")
    running.woken(0)
    running.now += 5 * 10**8 - WAIT - 1000  # the reactor counts in seconds, as floats
    assert running.wait()
    running.now += 2000
    assert not running.wait()


def test_a_stop_by_a_signal_handler_while_it_waits_is_seen(running):
    """One that sets what reactor.stop() sets, and wakes nobody."""
    running.mine.send(b"x")
    running.woken(0)
    assert running.wait()
    running.reactor._justStopped = True
    assert not running.wait()


def test_it_wakes_again_and_again_while_it_is_for_us(running):
    running.woken(0)
    times = running.stand_in.wake_ups(running.ours.fileno())
    for _ in range(3):
        running.mine.send(b"x")
        running.now += 1000
        assert next(times) == running.now
        running.ours.recv(1)
    assert [how for how, _ in running.waits] == [-1.0] * 3


def ends(times, message):
    """Whether it ends although there is something for us."""
    message.send(b"x")
    return next(times, None) is None


@pytest.mark.parametrize("why", ["another", "a call", "a stop", "time"])
def test_it_wakes_no_more_when_the_reactor_has_to_do(running, why):
    _, mine = running.watched()
    running.woken(0)
    running.mine.send(b"x")
    times = running.stand_in.wake_ups(running.ours.fileno())
    assert next(times) == running.now
    if why == "another":
        mine.send(b"x")
    elif why == "a call":
        running.reactor.callLater(1, lambda: None)
    elif why == "a stop":
        running.reactor._justStopped = True
    else:
        running.now += LONG
        assert next(times) == running.now  # it was woken before it saw the time
    assert ends(times, running.mine)


def test_it_wakes_in_time_for_delayed_calls(running):
    def poll(*how):
        running.waits.append(how)
        running.now += 10**8
        return [(running.ours.fileno(), 1)]

    running.stand_in._poll = poll
    running.reactor.callLater(0.5, lambda: None)
    running.stand_in.woken()
    times = running.stand_in.wake_ups(running.ours.fileno())
    next(times)
    running.now += 5 * 10**7  # there was so much to do
    next(times)
    assert [how for how, _ in running.waits] == pytest.approx([0.5 - WAIT / 1e9, 0.35 - WAIT / 1e9])


def test_under_who_iterates_it_waits_briefly(place):
    place.mine.send(b"x")
    place.woken(0)
    times = place.stand_in.wake_ups(place.ours.fileno())
    assert next(times) == place.now
    assert [how for how, _ in place.waits] == [WAIT / 1e9]
    place.now += STAY
    next(times, None)
    assert next(times, None) is None


def test_it_does_not_wake_before_it_was_woken_nor_by_a_strange_reactor(place):
    assert list(place.stand_in.wake_ups(place.ours.fileno())) == []
    assert list(StandIn(object()).wake_ups(0)) == []


def test_a_signal_handler_that_raises_ends_the_wake_ups(running, logged_errors):
    def interrupted(*_):
        raise RuntimeError("a handler's")

    running.woken(0)
    running.stand_in._poll = interrupted
    assert list(running.stand_in.wake_ups(running.ours.fileno())) == []
    assert [event["log_failure"].type for event in logged_errors] == [RuntimeError]
    logged_errors.clear()


def test_it_tells_who_runs_the_reactor(place):
    """A program that calls iterate() is told from reactor.run()."""
    from twisted.internet import reactor

    seen = []
    place.reactor.callLater(0, lambda: seen.append(runs_by_itself()))
    place.reactor.iterate()
    assert seen == [False]
    reactor.callLater(0, lambda: seen.append(runs_by_itself()))
    until(lambda: len(seen) == 2)
    assert seen == [False, True]
