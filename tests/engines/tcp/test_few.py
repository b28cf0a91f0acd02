"""The short loops for a few connections: what ends them, and that no byte is lost."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.helpers import needs_linux, read_exactly

from echobench.counters import Counters
from echobench.engines.pollers import READ, WRITE
from echobench.engines.spin import NEAR
from echobench.engines.tcp.few import Few

MS = 1_000_000
SOON = 50_000
MOST = 100
END = 1 << 62

pytestmark = needs_linux


class Books:
    """Stands for the connections, and notes what it is told."""

    watches_idle = False

    def __init__(self):
        self.open, self.held, self.closed, self.aborted, self.told = set(), [], [], [], []
        self.timeouts = self

    def hold(self, fd, unsent):
        self.held.append((fd, bytes(unsent)))

    def close(self, fd):
        self.closed.append(fd)

    def abort(self, fd):
        self.aborted.append(fd)

    def moved(self, fds):
        self.told.append([*fds])


class Some:
    """Connections, their books, and short loops for them."""

    def __init__(self, number=1):
        self.pairs = [socket.socketpair() for _ in range(number)]
        for ours, theirs in self.pairs:
            ours.setblocking(False)
            theirs.settimeout(10)
        self.fds = [ours.fileno() for ours, _ in self.pairs]
        self.ours, self.theirs = self.pairs[0]
        self.books, self.counters = Books(), Counters()
        self.books.open.update(self.fds)
        self.loops = Few(self.books, self.counters)
        self.left = None
        self.window, self.learnt = 1, 0
        self.limit, self.patience, self.tried = SOON, 3, 0

    def wait(self, look):
        """Stand for the spin, which looks once more."""
        return look()

    def woken(self):
        """Stand for the spin, which learns from each wake-up."""
        self.learnt += 1

    def run(self, times):
        """Let the only one be woken at some times."""
        self.left = iter(times)
        return self.loops.one_by_one(self.fds[0], MOST, self.left, self)

    def try_out(self):
        """Stand for the spin, which is to look all the same."""
        self.tried += 1

    def turns(self, *found, end=END, others=(), wake_ups=(), single=False):
        """Let these be found, one after the other; return what is left, without the time."""
        self.left = iter(found)
        look = lambda: next(self.left, [])  # noqa: E731
        left, at = self.in_turn(look(), end, look, others=others, wake_ups=iter(wake_ups), single=single)
        assert 0 < at <= time.perf_counter_ns()
        return left

    def in_turn(self, found, end, look, *, others=(), wake_ups=None, single=False):
        wake_ups = iter(()) if wake_ups is None else wake_ups
        return self.loops.in_turn(
            found, MOST, end, look=look, spin=self, wake_ups=wake_ups, others=others, single=single
        )

    def sending(self, *messages):
        """Give times at which the messages have come."""
        for number, message in enumerate(messages, 1):
            self.theirs.send(message)
            yield number * MS

    def close(self):
        for sock in itertools.chain(*self.pairs):
            sock.close()


@pytest.fixture
def alone():
    there = Some()
    yield there
    there.close()


@pytest.fixture
def three():
    there = Some(3)
    yield there
    there.close()


def test_all_who_are_found_are_served_again_and_again(three):
    a, b, c = three.fds
    for _, theirs in three.pairs:
        theirs.send(b"one")
        theirs.send(b"two")
    three.pairs[1][1].send(b"more")
    assert three.turns([(a, READ), (c, READ)], [(b, READ)]) is None
    assert [theirs.recv(100) for _, theirs in three.pairs] == [b"onetwo", b"onetwomore", b"onetwo"]
    assert (three.counters.reads, three.counters.stream_bytes, three.loops.mean_read) == (3, 22, 22 / 3)
    assert three.books.told == []


def test_there_is_an_end_of_time(three):
    a, b, _ = three.fds
    three.pairs[0][1].send(b"x")
    three.pairs[1][1].send(b"y")
    assert three.turns([(a, READ)], [(b, READ)], end=0) is None
    assert list(three.left) == [[(b, READ)]]


def test_when_time_is_up_others_have_their_turn_before_it_goes_on(three):
    """A wake-up is a look at all that the reactor watches."""
    a, b, _ = three.fds
    three.pairs[0][1].send(b"x")
    three.pairs[1][1].send(b"y")
    assert three.turns([(a, READ)], [(b, READ)], end=0, wake_ups=[END]) is None
    assert [three.pairs[i][1].recv(10) for i in (0, 1)] == [b"x", b"y"]
    assert list(three.left) == []


def test_without_work_it_waits_in_the_reactors_place(three):
    a, b, _ = three.fds

    def wake_ups():
        three.pairs[1][1].send(b"y")
        yield END

    three.pairs[0][1].send(b"x")
    nothing = []
    assert three.turns([(a, READ)], nothing, nothing, [(b, READ)], wake_ups=wake_ups()) is None
    assert [three.pairs[i][1].recv(10) for i in (0, 1)] == [b"x", b"y"]
    assert three.learnt == 1, "how long there was no work"


def test_the_time_that_it_returns_is_not_that_before_it_waited(three):
    """Whoever waits next, up to a delayed call, counts from it."""
    waited = []

    def wake_ups():
        waited.append(time.perf_counter_ns())
        yield from ()

    three.pairs[0][1].send(b"x")
    left, at = three.in_turn([(three.fds[0], READ)], END, list, wake_ups=wake_ups())
    assert (left, at >= waited[0]) == (None, True)


@pytest.mark.parametrize("window", [0, 1])
def test_a_single_one_that_asks_slowly_is_left_to_who_waits_better(alone, window):
    alone.window = window
    alone.theirs.send(b"x")
    wake_ups = iter([END])
    assert alone.turns([(alone.fds[0], READ)], wake_ups=wake_ups, single=True) is None
    assert list(wake_ups) == ([] if window else [END])


@pytest.mark.parametrize("why", ["mask", "other", "end", "long", "no memory"])
def test_who_is_not_ordinary_is_left_with_those_behind_it(three, why, monkeypatch):
    a, b, c = three.fds
    for _, theirs in three.pairs[:1] + three.pairs[2:]:
        theirs.send(b"x")
    middle = three.pairs[1][1]
    if why in ("mask", "other", "no memory"):
        middle.send(b"x")
    elif why == "end":
        middle.shutdown(socket.SHUT_WR)
    elif why == "long":
        middle.send(b"x" * (MOST + 1))
    real = os.read

    def read(fd, most):
        if fd == b and why == "no memory":
            raise MemoryError
        return real(fd, most)

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", read)
        found = [(a, READ), (b, READ | WRITE if why == "mask" else READ), (c, READ)]
        assert three.turns(found, [(c, READ)], others={b} if why == "other" else ()) == found[1:]
    assert three.pairs[0][1].recv(10) == b"x"
    assert three.counters.reads == (2 if why == "long" else 1)
    assert three.pairs[2][0].recv(10) == b"x"
    if why == "long":
        assert (middle.recv(1000), three.pairs[1][0].recv(10)) == (b"x" * MOST, b"x")


def test_after_a_wrong_guess_it_asks(three):
    a, b, c = three.fds
    three.pairs[2][1].send(b"x")
    assert three.turns([(a, READ)], [(c, READ)]) == [(c, READ)]
    assert three.turns([(b, READ), (c, READ)]) == [(c, READ)]
    assert three.turns([(b, READ)]) == []
    assert three.counters.reads == 0


def test_one_who_has_gone_is_closed_and_the_others_are_served(three):
    a, b, c = three.fds
    for _, theirs in three.pairs:
        theirs.send(b"x")
    three.pairs[1][1].close()
    assert three.turns([(a, READ), (b, READ), (c, READ)]) == [(c, READ)], "b may have been the last"
    assert three.books.closed == [b]
    assert three.turns([(c, READ)]) is None
    assert [three.pairs[i][1].recv(10) for i in (0, 2)] == [b"x", b"x"]


def test_what_has_no_room_is_held_and_ends_it(three):
    a, b, c = three.fds
    filled = fill(b)
    for _, theirs in three.pairs:
        theirs.send(b"x")
    assert three.turns([(a, READ), (b, READ), (c, READ)]) == [(c, READ)], "b may be closed by now"
    assert three.books.held == [(b, b"x")]
    assert read_exactly(three.pairs[1][1], filled) == b"-" * filled


@pytest.mark.parametrize("loop", ["in turn", "one by one"])
def test_one_whose_bytes_are_in_doubt_is_ended_and_what_was_served_is_counted(three, loop, monkeypatch):
    a = three.fds[0]
    fill(a)
    three.theirs.send(b"x")

    def no_memory(fd, unsent):
        raise MemoryError

    monkeypatch.setattr(three.books, "hold", no_memory)
    with pytest.raises(MemoryError):
        three.turns([(a, READ)]) if loop == "in turn" else three.run([MS])
    assert three.books.aborted == [a]
    assert three.counters.reads == 1


@pytest.mark.parametrize("message", [b"x", b""])
def test_a_failing_look_is_nobodys_fault(three, message):
    """Neither after an echo nor after a wrong guess."""
    a = three.fds[0]
    if message:
        three.theirs.send(message)

    def fails():
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011 (this very one)
        three.in_turn([(a, READ)], END, fails)
    assert three.books.aborted == []
    assert three.counters.reads == len(message)


def test_a_failing_wait_is_not_that_of_the_only_one(alone):
    """A signal's handler may raise between two messages."""

    def times():
        alone.theirs.send(b"x")
        yield MS
        raise TimeoutError

    with pytest.raises(TimeoutError):
        alone.run(times())
    assert alone.books.aborted == []
    assert alone.theirs.recv(10) == b"x"


def test_time_outs_are_told_who_has_moved(three):
    a, b, c = three.fds
    three.books.watches_idle = True
    for _, theirs in three.pairs[:2]:
        theirs.send(b"x")
    three.pairs[2][1].shutdown(socket.SHUT_WR)
    assert three.turns([(a, READ)], [(b, READ), (c, READ)]) == [(c, READ)]
    assert three.books.told == [[a], [b]], "whoever has sent a message"
    three.books.told.clear()
    assert three.turns([(a, READ)]) == []
    assert three.books.told == [], "it was a wrong guess"
    three.theirs.send(b"x" * MOST)
    assert three.turns([(a, READ)]) == [(a, READ)]
    assert three.books.told == [[a]], "though there may be more"
    fill(a)
    three.theirs.send(b"x")
    assert three.turns([(a, READ)]) == []
    assert three.books.told == [[a]] * 2, "though it has no room"


@given(st.data())
def test_every_byte_goes_back_to_whom_it_came_from(data):
    """Whoever is found, whatever they sent, and wherever the loop ends; the rest is left to be read."""
    there = Some(3)
    try:
        sent, found = [b""] * 3, []
        for _ in range(data.draw(st.integers(1, 6))):
            who = data.draw(st.lists(st.integers(0, 2), unique=True, min_size=1))
            for i in who:
                message = data.draw(st.binary(min_size=1, max_size=MOST + 20))
                there.pairs[i][1].send(message)
                sent[i] += message
            found.append([(there.fds[i], READ) for i in who])
        there.turns(*found)
        assert there.books.held == there.books.closed == there.books.aborted == []
        answered = 0
        for (ours, theirs), mine in zip(there.pairs, sent, strict=True):
            left = b""
            with contextlib.suppress(BlockingIOError):
                left = ours.recv(10_000)
            back = read_exactly(theirs, len(mine) - len(left)) if mine else b""
            assert back + left == mine
            answered += len(back)
        assert there.counters.stream_bytes == answered
    finally:
        there.close()


def fill(fd):
    """Leave no room for another byte; return how many fill it."""
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(fd, b"-" * 999)
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(fd, b"-")
    return filled


def test_each_wake_up_is_an_echo_until_the_reactor_has_its_turn(alone):
    assert alone.run(alone.sending(b"one", b"two", b"three")) is None
    assert alone.theirs.recv(100) == b"onetwothree"
    assert (alone.counters.reads, alone.counters.stream_bytes) == (3, 11)
    assert (alone.books.held, alone.books.closed) == ([], [])


@pytest.mark.parametrize("gap", [SOON, SOON + 1])
def test_one_that_comes_soon_is_left_to_who_looks(alone, gap):
    alone.theirs.send(b"x")
    expected = (MS, MS + gap) if gap <= SOON else (0, MS + gap)  # the second finds nothing
    assert alone.run([MS, MS + gap]) == expected


@pytest.mark.parametrize(
    ("gaps", "tried"),
    [
        ([NEAR * SOON] * 4, True),
        ([NEAR * SOON] * 3, False),
        ([SOON + 1] * 4, True),
        ([NEAR * SOON + 1] * 9, False),
        ([SOON + 1, SOON + 1, NEAR * SOON + 1] * 3, False),
    ],
)
def test_when_many_have_come_nearly_soon_to_look_is_tried(alone, gaps, tried):
    """The last of them is left where it is."""
    times = list(itertools.accumulate(gaps, initial=MS))

    def wake_ups():
        for each in times:
            alone.theirs.send(b"x")
            yield each

    outcome = alone.run(wake_ups())
    assert alone.tried == tried
    if tried:
        assert outcome == (0, times[-1])
        assert len(alone.theirs.recv(100)) == len(times) - 1
        assert alone.ours.recv(10) == b"x"
    else:
        assert outcome is None


def test_who_has_nothing_to_read_was_not_meant(alone):
    assert alone.run([MS, 2 * MS]) == (0, MS)
    assert list(alone.left) == [2 * MS]
    assert alone.counters.reads == 0


def test_the_end_is_left_to_the_loop_for_all(alone):
    alone.theirs.shutdown(socket.SHUT_WR)
    assert alone.run([MS]) == (0, MS)
    assert alone.ours.recv(1) == b""
    assert alone.books.closed == []


def test_a_long_one_may_have_more_behind_it(alone):
    assert alone.run(alone.sending(b"x" * MOST, b"y")) == (0, MS)
    assert alone.theirs.recv(1000) == b"x" * MOST
    assert alone.counters.reads == 1


def test_what_has_no_room_is_held(alone):
    fd = alone.ours.fileno()
    filled = fill(fd)
    assert alone.run(alone.sending(b"x", b"y")) == (0, MS)
    assert alone.books.held == [(fd, b"x")]
    assert alone.counters.stream_bytes == 1
    assert read_exactly(alone.theirs, filled) == b"-" * filled


def test_one_who_has_gone_is_closed(alone):
    alone.theirs.send(b"x")
    alone.theirs.close()
    assert alone.run([MS]) == (0, MS)
    assert alone.books.closed == [alone.ours.fileno()]


def test_without_memory_for_a_message_it_is_left_where_it_is(alone, monkeypatch):
    alone.theirs.send(b"x")

    def no_memory(fd, most):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", no_memory)
        assert alone.run([MS]) == (0, MS)
    assert alone.ours.recv(10) == b"x"


@given(st.lists(st.binary(min_size=1, max_size=MOST + 20), max_size=8))
def test_bytes_go_back_in_order_wherever_it_ends(messages):
    alone = Some()
    try:
        alone.run(alone.sending(*messages))
        assert alone.books.held == alone.books.closed == []
        answered = alone.counters.stream_bytes
        sent = b"".join(messages[: len(messages) - len(list(alone.left))])
        assert read_exactly(alone.theirs, answered) == sent[:answered]
        alone.ours.setblocking(True)
        assert read_exactly(alone.ours, len(sent) - answered) == sent[answered:]
    finally:
        alone.close()
