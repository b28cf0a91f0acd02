"""The short loop for a few connections with long messages: what ends it, and that no byte is lost."""

from __future__ import annotations

import contextlib
import os
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.helpers import needs_linux, read_exactly
from rigs.short_loops import END, Pairs, fill

from echobench.engines.pollers import READ, WRITE
from echobench.engines.tcp import bulk
from echobench.engines.tcp.bulk import Bulk
from echobench.engines.tcp.pipes import SPLICED, Pipe

LONG = bytes(range(256)) * 64

pytestmark = [needs_linux, pytest.mark.skipif(not hasattr(os, "splice"), reason="this system has no splice(2)")]


class Some(Pairs):
    """Three connections, and a loop for them with its pipe."""

    def __init__(self):
        self.pipe = Pipe()
        super().__init__(lambda books, counters: Bulk(books, counters, self.pipe), 3)
        self.others = [theirs for _, theirs in self.pairs]

    def in_turn(self, found, end, look, **options):
        return super().in_turn(found, end, look, **{"awake": True, **options})

    def close(self):
        self.pipe.close()
        super().close()


@pytest.fixture
def three():
    there = Some()
    yield there
    there.close()


def test_all_who_are_found_are_served_again_and_again(three):
    a, b, c = three.fds
    for theirs in three.others:
        theirs.sendall(LONG)
    assert three.turns([(a, READ), (c, READ)], [], [(b, READ)]) is None
    assert [read_exactly(theirs, len(LONG)) for theirs in three.others] == [LONG] * 3
    assert (three.counters.reads, three.counters.stream_bytes) == (3, 3 * len(LONG))
    assert three.loops.mean_read == len(LONG)
    assert three.books.told == []


def test_when_time_is_up_others_have_their_turn_before_it_goes_on(three):
    a, b, _ = three.fds
    for theirs in three.others:
        theirs.sendall(LONG)
    assert three.turns([(a, READ)], [(b, READ)], end=0) is None
    assert list(three.left) == [[(b, READ)]]
    assert three.turns([(a, READ)], [(b, READ)], end=0, wake_ups=[END]) == [(a, READ)], "it had nothing any more"
    three.others[0].sendall(LONG)
    assert three.turns([(a, READ)], [(b, READ)], end=0, wake_ups=[END]) is None
    assert three.spin.learnt
    assert read_exactly(three.others[1], len(LONG)) == LONG


def test_the_time_that_it_returns_is_not_that_before_it_waited(three):
    """Whoever waits next, up to a delayed call, counts from it."""
    waited = []

    def wake_ups():
        waited.append(time.perf_counter_ns())
        yield from ()

    three.others[0].sendall(LONG)
    assert three.turns([(three.fds[0], READ)], wake_ups=wake_ups()) is None
    assert three.at >= waited[0]


@pytest.mark.parametrize("mark", ["first", "second"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError])
def test_what_a_signals_handler_leaves_in_the_pipe_is_nobodys(three, monkeypatch, mark, error):
    """It may raise anything, right after a call that has moved bytes."""
    a, b, _ = three.fds
    for theirs in three.others[:2]:
        theirs.sendall(LONG)
    real, calls = bulk.splice, []

    def splice(source, target, size, *rest):
        calls.append(source)
        moved = real(source, target, 100 if mark == "second" and len(calls) == 2 else size, *rest)
        if len(calls) == ("first", "second").index(mark) + 1:
            raise error
        return moved

    with monkeypatch.context() as patch, contextlib.suppress(error):
        patch.setattr(bulk, "splice", splice)
        three.turns([(a, READ)])
    assert three.turns([(b, READ)]) is None
    assert read_exactly(three.others[1], len(LONG)) == LONG
    if error is KeyboardInterrupt:
        assert three.books.aborted == [a]


@pytest.mark.parametrize("why", ["mask", "other", "end", "nothing"])
def test_who_is_not_ordinary_is_left_with_those_behind_it(three, why):
    a, b, c = three.fds
    for theirs in (three.others[0], three.others[2]):
        theirs.sendall(LONG)
    if why == "end":
        three.others[1].shutdown(socket.SHUT_WR)
    elif why != "nothing":
        three.others[1].sendall(LONG)
    found = [(a, READ), (b, READ | WRITE if why == "mask" else READ), (c, READ)]
    assert three.turns(found, others={b} if why == "other" else ()) == found[1:]
    assert read_exactly(three.others[0], len(LONG)) == LONG
    assert three.counters.reads == 1


def test_without_a_pipe_all_is_left(three, monkeypatch):
    monkeypatch.setattr(three.pipe, "useless", True)
    assert three.turns([(three.fds[0], READ)]) == [(three.fds[0], READ)]


@pytest.mark.parametrize("room", [0, 5000])
def test_what_has_no_room_is_held_and_the_pipe_is_empty_for_the_next(three, room, monkeypatch):
    a, b, _ = three.fds
    for theirs in three.others[:2]:
        theirs.sendall(LONG)
    real, found = bulk.splice, [(a, READ), (b, READ)]

    def splice(source, target, size, *rest):
        if target == a and not room:
            raise BlockingIOError
        return real(source, target, room if target == a else size, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(bulk, "splice", splice)
        assert three.turns(found) == found[1:], "it may be closed by now"
    assert three.books.held == [(a, LONG[room:])]
    assert read_exactly(three.others[0], room) == LONG[:room]
    assert three.turns([(b, READ)]) is None
    assert read_exactly(three.others[1], len(LONG)) == LONG


def test_one_who_has_gone_is_closed_and_nobody_gets_its_bytes(three):
    a, b, _ = three.fds
    for theirs in three.others[:2]:
        theirs.sendall(LONG)
    three.others[0].close()
    assert three.turns([(a, READ), (b, READ)]) == [(b, READ)]
    assert three.books.closed == [a]
    assert three.turns([(b, READ)]) is None
    assert read_exactly(three.others[1], len(LONG)) == LONG


def test_one_whose_bytes_are_in_doubt_is_ended_and_nobody_gets_them(three, monkeypatch):
    a, b, _ = three.fds
    fill(a)
    for theirs in three.others[:2]:
        theirs.sendall(LONG)

    def no_memory(out, left):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(three.pipe, "take_out", no_memory)
        with pytest.raises(MemoryError):
            three.turns([(a, READ)])
    assert three.books.aborted == [a]
    assert three.turns([(b, READ)]) is None
    assert read_exactly(three.others[1], len(LONG)) == LONG


def test_a_failing_wait_is_nobodys_fault(three):
    three.others[0].sendall(LONG)

    def fails():
        raise TimeoutError

    with pytest.raises(TimeoutError):
        three.in_turn([(three.fds[0], READ)], END, fails)
    assert three.books.aborted == []
    assert three.counters.reads == 1


@pytest.mark.parametrize("awake", [True, False])
def test_it_stays_awake_if_it_is_told_to(three, awake):
    """The spin looks once more, and finds the second."""
    a, b, _ = three.fds
    for other in three.others[:2]:
        other.sendall(LONG)
    assert three.turns([(a, READ)], [], [(b, READ)], awake=awake) is None
    assert three.counters.reads == (2 if awake else 1)


def test_time_outs_are_told_who_has_moved(three):
    a, b, _ = three.fds
    three.books.watches_idle = True
    three.others[0].sendall(LONG)
    assert three.turns([(a, READ), (b, READ)]) == [(b, READ)]
    assert three.books.told == [[a]]


@pytest.mark.parametrize(("size", "goes_on"), [(SPLICED, True), (SPLICED - 1, False)])
def test_when_messages_become_short_it_does_not_wait_for_more(three, size, goes_on):
    three.others[0].sendall(bytes(size))
    wake_ups = iter([END])
    assert three.turns([(three.fds[0], READ)], wake_ups=wake_ups) is None
    assert (list(wake_ups) == []) == goes_on


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 70_000)), max_size=8))
def test_every_byte_goes_back_to_whom_it_came_from(sendings):
    """However much of it there is room for; the rest is held, or left to be read."""
    there = Some()
    try:
        sent = [b""] * 3
        for who, size in sendings:
            there.pairs[who][1].setblocking(False)
            with contextlib.suppress(BlockingIOError):
                message = os.urandom(size)
                sent[who] += message[: there.pairs[who][1].send(message)]
        there.turns(*([(there.fds[who], READ)] for who, _ in sendings))
        assert there.books.closed == there.books.aborted == []
        held = dict(there.books.held)
        assert len(held) == len(there.books.held)
        for (ours, theirs), mine in zip(there.pairs, sent, strict=True):
            left = b""
            with contextlib.suppress(BlockingIOError):
                while mine:
                    left += ours.recv(1 << 20)
            kept = held.get(ours.fileno(), b"")
            theirs.settimeout(10)
            back = read_exactly(theirs, len(mine) - len(left) - len(kept)) if mine else b""
            assert back + kept + left == mine
    finally:
        there.close()
