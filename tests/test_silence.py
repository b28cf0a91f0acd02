"""The silence of one connection, by a clock that the test moves."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from echobench.silence import QUIET, Silence


class World:
    """One connection; ``said`` is what was done with it, and when."""

    def __init__(self, **how):
        self.clock, self.unsent, self.said = Clock(), 0, []
        self.silence = Silence(self.clock, lambda: self.unsent, **how)

    def watch(self, limit=10.0):
        self.silence.watch(limit, lambda: self.say("ended"))

    def leave(self):
        self.silence.leave(lambda: self.say("hung up"))

    def say(self, word):
        self.said.append((word, self.clock.seconds()))

    def run(self, seconds):
        for _ in range(int(seconds / 0.25)):
            self.clock.advance(0.25)


@pytest.fixture
def world():
    made = []

    def make(**how):
        made.append(World(**how))
        return made[-1]

    yield make
    for each in made:
        each.silence.stop()
        assert each.clock.getDelayedCalls() == []


def test_silence_ends(world):
    each = world()
    each.watch()
    each.run(9.75)
    assert each.said == []
    each.run(10)
    assert each.said == [("ended", 10.0)]


def test_before_it_ends_the_reactor_has_a_turn_to_read_what_waits(world):
    each = world()
    each.watch()

    def read():
        """The reactor reads when the timers that were due have been called, and before those that they have set."""
        each.silence.moved_at = each.clock.seconds()

    look = each.silence._look

    def looks(again=False):
        look(again)
        if not again:
            read()

    (timer,) = each.clock.getDelayedCalls()
    timer.func = looks
    each.clock.advance(13)
    assert each.said == []
    each.run(9.75)
    assert each.said == []
    each.run(0.25)
    assert each.said == [("ended", 23.0)]


def test_no_limit_needs_no_timer(world):
    each = world()
    each.watch(None)
    assert each.clock.getDelayedCalls() == []


def test_watching_anew_replaces_the_limit(world):
    each = world()
    each.watch(1)
    each.watch(3)
    each.run(5)
    assert each.said == [("ended", 3.0)]


def test_what_is_taken_breaks_the_silence(world):
    each = world()
    each.unsent = 1000
    each.watch()
    each.run(5)
    each.unsent = 900
    each.run(12.25)  # it is noticed at the look after 7.5 seconds
    assert each.said == []
    each.run(10)
    assert [word for word, _ in each.said] == ["ended"]


def test_what_is_written_does_not(world):
    """Unless some of it is taken: then less is added to what waits than was written."""
    each = world(counts_writes=True)
    each.watch()
    each.silence.written, each.unsent = 500, 500
    each.run(10)
    assert each.said == [("ended", 10.0)]
    each.watch()
    each.silence.written += 500
    each.unsent += 499
    each.run(10)
    assert len(each.said) == 1


def test_who_is_quiet_when_we_leave_is_let_go(world):
    each = world()
    each.watch(60)
    each.leave()
    each.run(QUIET + 0.25)
    assert each.said == [("hung up", QUIET)]
    each.run(60)
    assert each.said[1:] == [("ended", 60.0)], "should the connection not have ended"


def test_who_speaks_while_we_leave_is_waited_for_up_to_the_limit(world):
    each = world()
    each.watch(5)
    each.leave()
    for _ in range(30):
        each.run(0.5)
        each.silence.heard_at = each.clock.seconds()
    assert each.said == [("ended", 5.0)]


def test_who_has_yet_to_take_something_is_not_let_go(world):
    each = world()
    each.unsent = 10
    each.watch(60)
    each.leave()
    each.run(5)
    assert each.said == []
    each.unsent = 0
    each.run(QUIET + 0.5)
    assert [word for word, _ in each.said] == ["hung up"]


def test_quiet(world):
    each = world()
    each.watch()
    assert not each.silence.quiet()
    each.run(QUIET)
    assert each.silence.quiet()
    each.unsent = 1
    assert not each.silence.quiet()


def test_stop_keeps_nothing(world):
    each = world()
    each.watch()
    each.leave()
    each.silence.stop()
    assert each.clock.getDelayedCalls() == []
    each.silence.stop()
