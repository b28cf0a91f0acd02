"""The time-outs of the fast engines' connections: a clock that the test moves, connections that are only numbers."""

from __future__ import annotations

import contextlib
import itertools
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from echobench import Counters, Reason
from echobench.engines import Setting
from echobench.engines.tcp import connections as c
from echobench.engines.tcp import timeouts as t
from echobench.engines.tcp.connections import Connections
from echobench.engines.tcp.timeouts import PER_SWEEP
from echobench.silence import QUIET

IDLE = 8.0  # seconds; a quarter of it is a whole number, and so nothing is rounded
STEP = 0.125
FIRST = 1 << 20  # no descriptor of this process is as high


class World:
    """Connections without sockets; ``ended`` says when each was closed, ``unsent`` what its peer has yet to take.

    Bytes of those in ``unread`` wait in the kernel, and of those in ``come`` with the mover.
    """

    def __init__(self, patch, idle_timeout=None, close_timeout=3.0):
        self.clock, self.counters, self.ended, self.unsent = Clock(), Counters(), {}, {}
        self.unread, self.come = set(), set()
        patch.setattr(c, "have_input", lambda fds: self.unread & set(fds))
        patch.setattr(t, "send_queue", lambda fd: self.unsent.get(fd, 0))
        patch.setattr(c, "borrowed", lambda fd: contextlib.nullcontext(mock.Mock()))
        setting = Setting(self.clock, self.counters, idle_timeout=idle_timeout, close_timeout=close_timeout)
        self.connections = Connections(setting, self)
        self.timeouts = self.connections.timeouts

    def begin(self, fd):
        self.ended.pop(fd, None)

    def read(self, fd):
        pass

    write = read

    def arrived(self):
        return self.come

    def close(self, fd):
        self.ended[fd] = self.clock.seconds()

    def open(self, fd=FIRST):
        self.connections.admit(fd, None)
        return fd

    def stuck(self, fd=FIRST, size=5):
        """Have a connection that sent its end of file and has not taken all."""
        self.open(fd)
        self.connections.hold(fd, bytes(size))
        self.connections.end_of_file(fd)
        return self.connections.odd[fd]

    def run(self, seconds):
        for _ in range(int(seconds / STEP)):
            self.clock.advance(STEP)

    @property
    def drops(self):
        return dict(self.counters.drops)


@pytest.fixture
def world(monkeypatch):
    return lambda **options: World(monkeypatch, **options)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 40),  # steps that go by first
            st.sampled_from(["open", "move", "close"]),
            st.integers(FIRST, FIRST + 3),
        ),
        max_size=60,
    )
)
def test_idle_ones_are_ended_between_one_time_out_and_a_quarter_more(schedule):
    with pytest.MonkeyPatch.context() as patch:
        world = World(patch, idle_timeout=IDLE)
        connections, moved_at = world.connections, {}

        def go(steps):
            for _ in range(steps):
                world.clock.advance(STEP)
                for fd in [fd for fd in moved_at if fd in world.ended]:
                    assert world.ended[fd] - moved_at.pop(fd) >= IDLE, "it was not idle for so long"
                for at in moved_at.values():
                    assert world.clock.seconds() - at <= 1.25 * IDLE, "it was idle for longer"

        for steps, what, fd in schedule:
            go(steps)
            if what == "open" and fd not in moved_at:
                world.open(fd)
                moved_at[fd] = world.clock.seconds()
            elif what == "move" and fd in moved_at:
                connections.timeouts.moved((fd,))
                moved_at[fd] = world.clock.seconds()
            elif what == "close" and fd in moved_at:
                connections.close(fd)
                del moved_at[fd]
            assert connections.open == set(moved_at)
        go(int(2 * IDLE / STEP))
        assert connections.open == set()
        assert world.clock.getDelayedCalls() == []


def test_ending_for_idleness_is_counted(world):
    each = world(idle_timeout=IDLE)
    each.open()
    each.run(2 * IDLE)
    assert each.drops == {Reason.IDLE: 1}
    assert each.counters.open_connections == 0


def test_many_idle_ones_are_ended_in_slices_and_others_have_their_turn(world):
    each = world(idle_timeout=IDLE)
    number = 2 * PER_SWEEP + 100
    for fd in range(FIRST, FIRST + number):
        each.open(fd)
    seen = []

    def other():
        """Something else on the reactor, which asks for a turn again and again."""
        seen.append(len(each.connections.open))
        if seen[-1]:
            each.clock.callLater(0, other)

    each.clock.callLater(1.25 * IDLE, other)
    each.clock.pump([IDLE / 4] * 5)
    # The first was opened before the first quarter began, and so was ended in a sweep before.
    assert seen == [number - 1, number - 1 - PER_SWEEP, number - 1 - 2 * PER_SWEEP, 0]
    assert each.drops == {Reason.IDLE: number}


def test_one_that_moves_while_others_are_ended_is_spared(world):
    each = world(idle_timeout=IDLE)
    for fd in range(FIRST, FIRST + 2 * PER_SWEEP):
        each.open(fd)
    each.clock.pump([IDLE / 4] * 4)  # the first was opened before the first quarter, the others in it
    spared = set()

    def move():
        if len(each.connections.open) < 2 * PER_SWEEP - 1:
            spared.update(list(each.connections.open)[-10:])
            each.connections.timeouts.moved(spared)
        else:
            each.clock.callLater(0, move)

    each.clock.callLater(IDLE / 4, move)
    each.clock.advance(IDLE / 4)
    assert len(spared) == 10
    assert each.connections.open == spared


def test_the_time_of_the_others_goes_no_faster_meanwhile(world):
    each = world(idle_timeout=IDLE)
    for fd in range(FIRST, FIRST + 3 * PER_SWEEP):
        each.open(fd)
    each.run(1.25 * IDLE - STEP)
    each.connections.timeouts.moved((FIRST + 5,))
    each.run(IDLE)
    assert each.connections.open == {FIRST + 5}
    each.run(IDLE / 4 + STEP)
    assert each.connections.open == set()


def test_who_takes_what_was_sent_is_not_idle(world):
    """Nothing moves here, but the kernel's buffer empties."""
    each = world(idle_timeout=IDLE)
    fd = each.open()
    for left in (9000, 8000, 7000):
        each.unsent[fd] = left
        each.run(IDLE - STEP)
        assert fd in each.connections.open
    each.run(IDLE / 2 + 2 * STEP)
    assert each.drops == {Reason.IDLE: 1}


def test_who_takes_what_is_held_is_not_idle(world):
    each = world(idle_timeout=IDLE)
    fd = each.open()
    each.connections.hold(fd, bytes(3000))
    for _ in range(3):
        each.run(IDLE - STEP)
        assert fd in each.connections.open
        del each.connections.odd[fd].unsent[:500]
    each.run(1.25 * IDLE + STEP)
    assert each.drops == {Reason.IDLE: 1}


@given(
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 70), st.sampled_from(["send", "take"]), st.integers(1, 3)), max_size=30),
)
def test_who_takes_nothing_is_idle_as_soon_as_others(held, schedule):
    """Or a quarter later, if we hold nothing for it: then it is first asked about when it has been quiet for one."""
    with pytest.MonkeyPatch.context() as patch:
        world = World(patch, idle_timeout=IDLE)
        world.clock.advance(STEP / 2)
        fd = world.open()
        at, left = world.clock.seconds(), 1000
        world.unsent[fd] = 1000
        if held:
            world.connections.hold(fd, b"and no more")
        for steps, what, number in [*schedule, (int(2 * IDLE / STEP), "take", 0)]:
            for _ in range(steps):
                world.clock.advance(STEP)
                if fd in world.ended:
                    assert world.ended[fd] - at >= IDLE, "a byte moved not so long ago"
                    return
                assert world.clock.seconds() - at <= (1.25 if held else 1.5) * IDLE, "it was idle for longer"
            if what == "send" and not held:
                world.connections.timeouts.moved((fd,))
                left += number
            else:
                left -= number
            world.unsent[fd], at = left, world.clock.seconds()
        assert fd in world.ended


def test_many_are_asked_about_in_slices_and_others_have_their_turn(world, monkeypatch):
    monkeypatch.setattr(t, "PER_LOOK", 10)
    each = world(idle_timeout=IDLE)
    for fd in range(FIRST, FIRST + 35):
        each.open(fd)
        each.unsent[fd] = 7
    seen = []

    def other():
        """Something else on the reactor, which asks for a turn again and again."""
        seen.append(len(each.timeouts._unsent))
        if seen[-1] < 35:
            each.clock.callLater(0, other)

    each.clock.advance(IDLE / 4)  # the first was opened before the first quarter began
    each.clock.callLater(IDLE / 4, other)
    each.clock.advance(IDLE / 4)
    assert seen[0] < 35
    assert max(after - before for before, after in itertools.pairwise(seen)) == 10
    each.run(2 * IDLE)
    assert each.drops == {Reason.IDLE: 35}


def test_what_a_peer_had_to_take_says_nothing_of_the_next_with_its_number(world):
    each = world(idle_timeout=IDLE)
    fd = each.open()
    each.unsent[fd] = 500
    each.run(IDLE)  # it was looked at
    each.connections.close(fd)
    each.open(fd)
    each.run(1.25 * IDLE)
    assert fd in each.connections.open, "its 500 bytes were seen for the first time"


def test_one_that_is_being_ended_is_not_idle(world):
    each = world(idle_timeout=IDLE, close_timeout=None)
    each.stuck()
    each.run(5 * IDLE)
    assert each.drops == {}
    assert each.connections.open == {FIRST}


def test_a_closing_peer_that_takes_nothing_is_stuck(world):
    each = world(close_timeout=3.0)
    each.stuck()
    each.run(10)
    assert each.drops == {Reason.STUCK: 1}
    assert 3.0 <= each.ended[FIRST] <= 3.0 + 3 * QUIET / 4


def test_a_closing_peer_that_takes_something_now_and_then_is_not(world):
    each = world(close_timeout=3.0)
    each.stuck()
    for left in range(1000, 900, -20):
        each.unsent[FIRST] = left
        each.run(2.5)
    assert each.connections.open == {FIRST}
    each.run(4)
    assert each.drops == {Reason.STUCK: 1}


def test_a_short_time_out_is_kept_as_well(world):
    each = world(close_timeout=0.25)
    each.stuck()
    for _ in range(100):
        each.clock.advance(0.01)
    assert 0.25 <= each.ended[FIRST] <= 0.5


def test_without_a_close_time_out_nobody_is_stuck(world):
    each = world(close_timeout=None)
    each.stuck()
    each.run(1000)
    assert each.connections.open == {FIRST}


def test_quiet_ones_that_we_leave_are_closed(world):
    """However long the close time-out is: their peers need not answer our end of file."""
    each = world(close_timeout=600.0)
    each.open(FIRST)
    each.open(FIRST + 1)
    each.connections.leave()
    each.run(0.75)
    each.connections.moved(FIRST + 1)
    each.run(QUIET - STEP)
    assert each.connections.open == {FIRST + 1}
    each.run(0.75)
    assert each.connections.open == set()
    assert all(QUIET <= at <= 2.5 for at in each.ended.values())
    assert each.drops == {}


def test_one_that_we_leave_and_that_has_yet_to_take_something_is_not_quiet(world):
    each = world(close_timeout=3.0)
    fd = each.open()
    each.unsent[fd] = 100
    each.connections.leave()
    each.run(2.5)
    assert each.connections.open == {fd}
    each.run(1.5)
    assert each.drops == {Reason.STUCK: 1}


@pytest.mark.parametrize("where", ["unread", "come"])
def test_one_whose_bytes_wait_is_not_idle(world, where):
    """A process that was stopped for a while finds them, and has not read them yet."""
    each = world(idle_timeout=IDLE)
    fd = each.open()
    getattr(each, where).add(fd)
    each.run(3 * IDLE)
    assert each.connections.open == {fd}
    getattr(each, where).clear()
    each.run(1.5 * IDLE)
    assert each.drops == {Reason.IDLE: 1}


@pytest.mark.parametrize("where", ["unread", "come"])
def test_one_that_we_leave_and_whose_bytes_wait_is_not_quiet(world, where):
    each = world(close_timeout=600.0)
    fd = each.open()
    getattr(each, where).add(fd)
    each.connections.leave()
    each.run(3 * QUIET)
    assert each.connections.open == {fd}
    getattr(each, where).clear()
    each.run(1.5 * QUIET)
    assert each.connections.open == set()


def test_bytes_that_wait_because_the_peer_takes_nothing_keep_nobody(world):
    each = world(idle_timeout=IDLE)
    fd = each.open()
    each.connections.hold(fd, bytes(3000))
    each.unread.add(fd)
    each.run(3 * IDLE)
    assert each.drops == {Reason.IDLE: 1}


def test_no_timer_runs_while_nobody_is_there(world):
    each = world(idle_timeout=IDLE)
    assert each.clock.getDelayedCalls() == []
    each.open()
    assert len(each.clock.getDelayedCalls()) == 1
    each.connections.close(FIRST)
    each.run(IDLE / 4)
    assert each.clock.getDelayedCalls() == []
    each.open()
    assert len(each.clock.getDelayedCalls()) == 1, "and with the next it runs again"
    each.stuck(FIRST + 1)
    each.connections.abort(FIRST)
    each.connections.abort(FIRST + 1)
    each.run(IDLE / 4)
    assert each.clock.getDelayedCalls() == []


def test_ordinary_connections_need_no_timer_without_an_idle_time_out(world):
    each = world()
    each.open()
    assert not each.timeouts.watches_idle
    assert each.clock.getDelayedCalls() == []


def test_stopping_leaves_no_timer(world):
    each = world(idle_timeout=IDLE)
    each.open()
    each.stuck(FIRST + 1)
    assert len(each.clock.getDelayedCalls()) == 2
    each.timeouts.stop()
    assert each.clock.getDelayedCalls() == []
    each.timeouts.stop()


@pytest.mark.parametrize("why", ["idle", "stuck", "quiet"])
def test_stopping_because_the_last_was_ended_leaves_no_timer(world, why):
    """The engine ends with its last connection, and so in the midst of a sweep."""
    each = world(idle_timeout=IDLE)
    each.close = lambda fd: each.connections.open or each.timeouts.stop()
    if why == "stuck":
        each.stuck()
    else:
        each.open()
    if why == "quiet":
        each.connections.leave()
    while each.connections.open:
        each.clock.advance(STEP)
    assert each.clock.getDelayedCalls() == []
