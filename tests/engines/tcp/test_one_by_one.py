"""The only connection, whose messages come one by one: what ends the short loop for it, and that no byte is lost."""

from __future__ import annotations

import contextlib
import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.helpers import blocking, dial, needs_linux, port_of, read_exactly, until
from rigs.rings import needs_completion
from twisted.internet import reactor

from echobench.counters import Counters
from echobench.engines.tcp import polled
from echobench.engines.tcp.one_by_one import one_by_one

MS = 1_000_000
SOON = 50_000
MOST = 100

pytestmark = needs_linux


class Books:
    """Stands for the connections, and notes what it is told."""

    def __init__(self):
        self.held, self.closed = [], []

    def hold(self, fd, unsent):
        self.held.append((fd, bytes(unsent)))

    def close(self, fd):
        self.closed.append(fd)


class Alone:
    """One connection, its books, and the times at which it is woken."""

    def __init__(self):
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.theirs.settimeout(10)
        self.books, self.counters = Books(), Counters()
        self.left = None

    def run(self, times):
        self.left = iter(times)
        fd = self.ours.fileno()
        return one_by_one(fd, MOST, self.left, SOON, connections=self.books, counters=self.counters)

    def sending(self, *messages):
        """Give times at which the messages have come."""
        for number, message in enumerate(messages, 1):
            self.theirs.send(message)
            yield number * MS

    def close(self):
        self.ours.close()
        self.theirs.close()


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
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(fd, b"-" * 999)
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


@pytest.fixture(params=["readiness", pytest.param("completion", marks=needs_completion)])
def entered(request, serve, monkeypatch):
    """Give a function that serves, and returns the service and how often the short loop was begun."""
    begun = []
    monkeypatch.setattr(polled, "one_by_one", lambda *a, **k: (begun.append(a[0]), one_by_one(*a, **k))[1])
    return lambda **options: (serve(engine=request.param, spin="off", **options), begun)


def ask(sock, count):
    """Ask so often, each time after the answer, and not in the other's time."""
    for number in range(count):
        message = struct.pack("!I", number) * 8
        sock.sendall(message)
        assert blocking(read_exactly, sock, len(message)) == message


def test_a_server_that_is_asked_slowly_stays_in_it(entered):
    service, begun = entered()
    with dial(port_of(service)) as sock:
        ask(sock, 30)
        assert begun
        # Beside it the reactor has its turn: for the threads here, and for who comes.
        with dial(port_of(service)) as other:
            ask(other, 3)
            ask(sock, 3)
        sock.sendall(b"last")
        sock.shutdown(socket.SHUT_WR)
        assert blocking(read_exactly, sock, 4) == b"last"
        assert blocking(sock.recv, 1) == b""
    until(lambda: service.snapshot().open_connections == 0)
    assert service.snapshot().stream_bytes == (30 + 3 + 3) * 32 + 4


def test_delayed_calls_are_made_meanwhile(entered):
    service, begun = entered()
    called = []
    with dial(port_of(service)) as sock:
        ask(sock, 2)
        assert begun
        reactor.callLater(0.01, called.append, 1)
        until(lambda: called)
        ask(sock, 2)


def test_who_watches_for_idle_ones_is_told_of_each_message(entered):
    service, begun = entered(idle_timeout=60)
    with dial(port_of(service)) as sock:
        ask(sock, 20)
    assert begun == []
