"""The short loop for a few connections: what ends it, and that no byte is lost."""

from __future__ import annotations

import contextlib
import os
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.helpers import needs_linux, read_exactly
from rigs.short_loops import END, MOST, Pairs, fill

from echobench.engines.pollers import READ, WRITE
from echobench.engines.tcp.few import Few

pytestmark = needs_linux


class Some(Pairs):
    """Connections with a loop that takes messages of less than MOST bytes."""

    def __init__(self, number=3):
        super().__init__(Few, number)

    def limits(self):
        return (MOST,)

    def in_turn(self, found, end, look, **options):
        return super().in_turn(found, end, look, **{"single": False, "crowd": MOST, **options})


@pytest.fixture
def three():
    there = Some()
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
    assert three.spin.learnt == 1, "how long there was no work"


def test_the_time_that_it_returns_is_not_that_before_it_waited(three):
    """Whoever waits next, up to a delayed call, counts from it."""
    waited = []

    def wake_ups():
        waited.append(time.perf_counter_ns())
        yield from ()

    three.pairs[0][1].send(b"x")
    assert three.turns([(three.fds[0], READ)], wake_ups=wake_ups()) is None
    assert three.at >= waited[0]


@pytest.mark.parametrize("window", [0, 1])
def test_a_single_one_that_asks_slowly_is_left_to_who_waits_better(three, window):
    three.spin.window = window
    three.theirs.send(b"x")
    wake_ups = iter([END])
    assert three.turns([(three.fds[0], READ)], wake_ups=wake_ups, single=True) is None
    assert list(wake_ups) == ([] if window else [END])


@pytest.mark.parametrize("crowd", [2, 3])
def test_so_many_at_a_time_are_for_who_serves_many_better(three, crowd):
    """From then on; whom it found before they were so many it has served."""
    a, b, c = three.fds
    for _, theirs in three.pairs:
        theirs.send(b"x")
    left = three.turns([(a, READ)], [(b, READ), (c, READ)], crowd=crowd)
    assert left == ([(b, READ), (c, READ)] if crowd == 2 else None)
    assert three.counters.reads == (1 if crowd == 2 else 3)


@pytest.mark.parametrize("why", ["mask", "other", "odd", "end", "long", "no memory"])
def test_who_is_not_ordinary_is_left_with_those_behind_it(three, why, monkeypatch):
    a, b, c = three.fds
    for _, theirs in three.pairs[:1] + three.pairs[2:]:
        theirs.send(b"x")
    middle = three.pairs[1][1]
    if why in ("mask", "other", "odd", "no memory"):
        middle.send(b"x")
    if why == "odd":
        three.books.odd[b] = "its peer does not read, for example"
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


def test_one_whose_bytes_are_in_doubt_is_ended_and_what_was_served_is_counted(three, monkeypatch):
    a = three.fds[0]
    fill(a)
    three.theirs.send(b"x")

    def no_memory(fd, unsent):
        raise MemoryError

    monkeypatch.setattr(three.books, "hold", no_memory)
    with pytest.raises(MemoryError):
        three.turns([(a, READ)])
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
    there = Some()
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
