"""The short loop for the only connection, whose messages come far apart: what ends it, and that no byte is lost."""

from __future__ import annotations

import itertools
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.helpers import needs_linux, read_exactly
from rigs.short_loops import MOST, MS, SOON, Pairs, fill

from echobench.engines.spin import NEAR
from echobench.engines.tcp.few import Few

pytestmark = needs_linux


class Alone(Pairs):
    """One connection with its loop."""

    def __init__(self):
        super().__init__(Few)

    def run(self, times):
        """Let it be woken at some times."""
        self.left = iter(times)
        return self.loops.one_by_one(self.fds[0], MOST, self.left, self.spin)

    def sending(self, *messages):
        """Give times at which the messages have come."""
        for number, message in enumerate(messages, 1):
            self.theirs.send(message)
            yield number * MS


@pytest.fixture
def alone():
    there = Alone()
    yield there
    there.close()


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
        ([NEAR * SOON] * 3, True),
        ([NEAR * SOON] * 2, False),
        ([SOON + 1] * 3, True),
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
    assert alone.spin.tried == tried
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


def test_one_whose_bytes_are_in_doubt_is_ended_and_what_was_served_is_counted(alone, monkeypatch):
    fill(alone.fds[0])
    alone.theirs.send(b"x")

    def no_memory(fd, unsent):
        raise MemoryError

    monkeypatch.setattr(alone.books, "hold", no_memory)
    with pytest.raises(MemoryError):
        alone.run([MS])
    assert alone.books.aborted == alone.fds
    assert alone.counters.reads == 1


def test_a_failing_wait_is_nobodys_fault(alone):
    """A signal's handler may raise between two messages."""

    def times():
        alone.theirs.send(b"x")
        yield MS
        raise TimeoutError

    with pytest.raises(TimeoutError):
        alone.run(times())
    assert alone.books.aborted == []
    assert alone.theirs.recv(10) == b"x"


@given(st.lists(st.binary(min_size=1, max_size=MOST + 20), max_size=8))
def test_bytes_go_back_in_order_wherever_it_ends(messages):
    alone = Alone()
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
