"""The short loop for connections that come and go: what it does, what ends it, and that all is counted."""

from __future__ import annotations

import contextlib
import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.helpers import dial, needs_linux, port_of, read_exactly, wait_for
from rigs.passing_rig import END, MOST, Rig, is_closed
from rigs.rings import needs_completion

from echobench.engines.pollers import READ, WRITE
from echobench.engines.tcp import passing
from echobench.engines.tcp.states import Odd

pytestmark = needs_linux


def test_who_comes_is_known_served_and_closed(passer, two_passing):
    (a, fd), (b, other) = two_passing
    assert passer.connections.open == {fd, other} == passer.polled.watched
    assert passer.counts == (2, 2, 0, 0)
    a.sendall(b"one")
    b.sendall(b"three")
    assert passer.run(fd, other) is None
    assert (a.recv(10), b.recv(10)) == (b"one", b"three")
    a.shutdown(socket.SHUT_WR)
    assert passer.run(fd) is None
    assert a.recv(1) == b""
    assert passer.connections.open == {other} == passer.polled.watched
    assert passer.counts == (2, 1, 2, 8)
    assert passer.passing.mean_read == 0.0
    assert is_closed(fd)


def test_the_number_of_one_who_goes_is_that_of_one_who_comes(passer, two_passing):
    """In one batch of events, in which the port is last."""
    (a, fd), _ = two_passing
    a.shutdown(socket.SHUT_WR)
    with dial(port_of(passer.service)) as new:
        assert passer.run(fd, passer.port.fd) is None
        assert fd in passer.connections.open
        assert passer.counts == (3, 2, 0, 0)
        new.sendall(b"x")
        assert passer.run(fd) is None
        assert new.recv(10) == b"x"
        assert a.recv(1) == b""


def test_it_goes_on_as_long_as_connections_come_and_go(passer, two_passing):
    """A wake-up is a look at all that the reactor watches; without one, the reactor has its turn."""
    (a, fd), (b, other) = two_passing

    def wake_ups():
        a.shutdown(socket.SHUT_WR)
        passer.ready(fd)
        yield END
        b.sendall(b"x")
        b.shutdown(socket.SHUT_WR)
        passer.ready(other)
        yield END

    with dial(port_of(passer.service)):
        assert passer.run(passer.port.fd, wake_ups=wake_ups()) is None
        assert passer.passing.goes_on
        assert (a.recv(1), b.recv(1), b.recv(1)) == (b"", b"x", b"")
        assert passer.counts == (3, 1, 1, 1)


def test_when_nobody_comes_or_goes_what_is_found_is_left_to_others(passer, two_passing):
    (a, fd), (b, other) = two_passing

    def wake_ups():
        b.sendall(b"y")
        passer.ready(other)
        yield END

    a.sendall(b"x")
    assert passer.run(fd, wake_ups=wake_ups()) == [(other, READ)]
    assert not passer.passing.goes_on
    assert a.recv(10) == b"x"
    assert passer.passing.mean_read == 1.0


@pytest.mark.parametrize("why", ["mask", "another descriptor", "long", "no memory", "reset"])
def test_what_is_not_ordinary_is_left_with_those_behind_it(passer, two_passing, why, monkeypatch):
    (a, fd), (b, other) = two_passing
    b.sendall(b"y")
    if why == "reset":
        a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        a.close()
    else:
        a.sendall(b"x" * (MOST + 1) if why == "long" else b"x")
    wait_for(lambda: {each for each, _ in passer.polled.poll()} == {fd, other})
    real, found = os.read, [(fd, READ | WRITE if why == "mask" else READ), (other, READ)]

    def read(asked, most):
        if asked == fd and why == "no memory":
            raise MemoryError
        return real(asked, most)

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", read)
        if why == "another descriptor":
            patch.setitem(passer.polled.watching.calls, fd, print)
        assert passer.run(found=found) == found
    assert passer.counts[2:] == ((1, MOST) if why == "long" else (0, 0))
    passer.polled.serve(found, 0)
    assert b.recv(10) == b"y"
    if why == "reset":
        assert passer.connections.open == {other}
    else:
        answer = b"x" * (MOST + 1) if why == "long" else b"x"
        assert read_exactly(a, len(answer)) == answer


@pytest.mark.parametrize("room", [BlockingIOError, 1])
def test_whose_peer_does_not_read_is_left_and_gets_every_byte(passer, two_passing, failing_write, room):
    (a, fd), (b, other) = two_passing
    a.sendall(b"xyz")
    b.sendall(b"y")
    found = passer.ready(fd, other)
    failing_write(fd, room)
    assert passer.run(found=found) == found[1:], "it may be closed by now"
    assert passer.connections.odd[fd].unsent == (b"yz" if room == 1 else b"xyz")
    assert passer.passing.ports() == []
    passer.polled.serve(passer.ready(fd), 0)
    assert read_exactly(a, 3) == b"xyz"
    assert not passer.connections.odd


def test_with_many_it_returns_so_that_those_who_stay_come_to_the_ring(passer, two_passing, monkeypatch):
    monkeypatch.setattr(passing, "MOST_OPEN", 2)
    assert passer.passing.ports()
    with dial(port_of(passer.service)):
        wake_ups = iter([END])
        assert passer.run(passer.port.fd, wake_ups=wake_ups) is None
        assert list(wake_ups) == [END]
        assert passer.passing.ports() == []


@pytest.mark.parametrize(("few", "returns"), [(1, True), (3, False)])
def test_with_more_than_a_few_it_returns_now_and_then_and_says_who_was_busy(passer, two_passing, few, returns):
    """Those who stay are for the ring, and who was ready last is asked to go over."""
    (a, fd), _ = two_passing
    later = passing.LONGEST
    passer.passing._few = few
    a.sendall(b"x")
    wake_ups = iter([later, END])
    found = passer.ready(fd)
    sock = dial(port_of(passer.service))
    with sock:
        passer.ready(passer.port.fd)
        left = passer.run(found=[*found, (passer.port.fd, READ)], wake_ups=wake_ups, end=1)
    assert (left, list(wake_ups)) == ((None, [END]) if returns else ([], [])), "or else nobody comes or goes any more"
    assert passer.passing.latest == [*found, (passer.port.fd, READ)]


@pytest.mark.parametrize(
    "options", [{}, {"max_connections": 5}, {"max_connections_per_source": 5}, {"idle_timeout": 60.0}]
)
def test_it_is_for_who_may_come_and_go_as_they_like(serve, monkeypatch, options):
    service = serve(engine="readiness", **options)
    passer = Rig(service, monkeypatch)
    assert passer.passing.ports() == ([] if options else [passer.port])
    assert passer.service.counters.open_connections == 0


def test_it_is_not_for_who_does_not_read_nor_for_early_connections(passer):
    passer.connections.odd[99] = Odd(0.0)
    assert passer.passing.ports() == []
    passer.connections.odd.clear()
    assert passer.passing.ports() == [passer.port]
    passer.port._early = True
    assert passer.passing.ports() == []


def test_families_are_counted_apart_where_they_are_known(serve, monkeypatch):
    passer = Rig(serve(engine="readiness", interfaces=["127.0.0.1"]), monkeypatch)
    with passer.come()[0], passer.come()[0]:
        assert passer.service.counters.accepted == {"ipv4": 2}


def test_without_a_ring_nobody_remembers_newcomers(serve, monkeypatch):
    passer = Rig(serve(engine="readiness"), monkeypatch)
    with passer.come()[0]:
        assert passer.polled._newcomers
        passer.polled.flush()
        assert not passer.polled._newcomers


@needs_completion
def test_the_ring_hears_of_newcomers(serve, monkeypatch):
    passer = Rig(serve(engine="completion"), monkeypatch)
    passer.engine.mover._newcomers.clear()
    sock, fd = passer.come()
    with sock:
        assert passer.engine.mover._newcomers == {fd}


STEPS = st.lists(
    st.tuples(st.sampled_from(["come", "say", "say more", "end", "reset", "wake"]), st.integers(0, 3)), max_size=25
)


@given(STEPS)
def test_whatever_comes_and_goes_every_byte_goes_back_and_all_is_counted(serve, steps):
    """What the loop leaves is served by the loop for all, as in a turn of the engine."""
    patch = pytest.MonkeyPatch()
    with contextlib.ExitStack() as stack:
        stack.callback(patch.undo)
        service = serve(engine="readiness")
        passer = Rig(service, patch)
        socks, came, said = [], 0, 0
        for step, who in steps:
            sock = socks[who % len(socks)] if socks else None
            if step == "come" or sock is None:
                socks.append(stack.enter_context(dial(port_of(service))))
                came += 1
            elif step.startswith("say"):
                message = b"x" * (MOST + 30 if step == "say more" else 3)
                sock.sendall(message)
                said += len(message)
                serve_all(passer, lambda said=said: service.counters.stream_bytes == said)
                assert read_exactly(sock, len(message)) == message
            elif step == "wake":
                passer.run(found=passer.polled.poll(), wake_ups=[END])
            else:
                if step == "reset":
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    sock.close()
                else:
                    sock.shutdown(socket.SHUT_WR)
                socks.remove(sock)
                left = len(socks)
                serve_all(passer, lambda left=left: service.counters.open_connections == left)
            assert passer.in_order()
        serve_all(passer, lambda: passer.counts[0] == came)
        assert passer.counts[1] == len(socks)


def serve_all(passer, condition):
    """Serve until the condition holds."""

    def turn():
        found = passer.polled.poll()
        if found and (left := passer.run(found=found, end=END)):
            passer.polled.serve(left, 0)
        return condition()

    wait_for(turn)
