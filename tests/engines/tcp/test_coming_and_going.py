"""When the engine does not busy-wait: for the next of connections that come and go, and for long messages."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time

import pytest
import pytest_twisted
from rigs.helpers import blocking, dial, port_of, read_exactly, until
from rigs.rings import needs_completion
from rigs.tcp_rig import engine_of, in_the_ring, polled_of
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from echobench.engines.pollers import READ
from echobench.engines.tcp.passing import Passing
from echobench.engines.tcp.polled import LONG
from echobench.engines.tcp.ringed import FEW_CONNECTIONS


@pytest.fixture
def turn(serve, monkeypatch):
    """Give a function that serves one connection in one turn, and tells whether the engine then busy-waited."""
    service = serve(engine="readiness")
    polled, connections = polled_of(service), engine_of(service).connections
    waited = []
    monkeypatch.setattr(polled.spin, "wait", waited.append)
    monkeypatch.setattr(polled, "look", list)
    ours, theirs = socket.socketpair()

    def take(new, mean_read=0.0):
        waited.clear()
        polled.mean_read = mean_read
        if new:
            ours.setblocking(False)
            connections.admit(ours.detach(), None)
        theirs.send(b"x")
        (fd,) = polled.watched - {polled.watching.poller.fileno()}
        polled.serve([(fd, READ)], time.perf_counter_ns() + 10**10)
        assert theirs.recv(10) == b"x"
        return bool(waited)

    with theirs:
        yield take


def test_after_a_connection_has_come_it_goes_back_to_the_reactor_and_once_only(turn):
    assert [turn(new=True), turn(new=False), turn(new=False)] == [False, True, True]


def test_for_long_messages_it_does_not_stay_awake(turn):
    turn(new=True)
    assert [turn(new=False, mean_read=size) for size in (LONG - 1, LONG, 1)] == [True, False, True]


@pytest.fixture(params=["readiness", pytest.param("completion", marks=needs_completion)])
def passing(request, serve, monkeypatch):
    """Give a function that serves, and returns the service and how often the loop for those who pass was begun."""
    begun, real = [], Passing.serve

    def begin(*args):
        begun.append(None)
        return real(*args)

    monkeypatch.setattr(Passing, "serve", begin)
    return lambda **options: (serve(engine=request.param, **options), begun)


def cycles(port, number):
    """Connect, ask, and close so often."""
    for _ in range(number):
        with dial(port) as sock:
            sock.sendall(b"x")
            assert read_exactly(sock, 1) == b"x"
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b""
    return True


@pytest.mark.parametrize("options", [{}, {"max_connections": 9}, {"idle_timeout": 60.0}])
def test_connections_that_come_and_go_are_served_and_counted(passing, options):
    service, begun = passing(**options)
    assert blocking(cycles, port_of(service), 30)
    until(lambda: service.snapshot().open_connections == 0)
    counted = service.snapshot()
    assert (counted.connections, counted.stream_bytes) == (30, 30)
    assert bool(begun) == (not options)


def test_the_reactor_has_its_turns_while_connections_come_and_go(passing):
    service, begun = passing()
    port, called = port_of(service), []

    def again():
        called.append(len(begun))
        if len(called) < 10:
            reactor.callLater(0.001, again)

    def until_all_are_called():
        while len(called) < 10:
            cycles(port, 1)
        return True

    again()
    assert blocking(until_all_are_called)
    assert called[-1], "the loop was in use meanwhile"


def test_a_service_can_be_stopped_while_connections_come_and_go(passing):
    service, begun = passing()
    port, stopped = port_of(service), []

    def until_refused():
        with contextlib.suppress(OSError, AssertionError, EOFError):  # it is refused, or ended by the stop
            while True:
                cycles(port, 1)
        return True

    refused = deferToThread(until_refused)
    until(lambda: begun)
    service.stopService().addCallback(stopped.append)
    assert pytest_twisted.blockon(refused)
    until(lambda: stopped)
    assert service.snapshot().open_connections == 0


@needs_completion
def test_those_who_come_and_go_are_spared_the_way_to_the_ring(serve, connect, monkeypatch):
    """Each asks once; more than FEW_CONNECTIONS are there at a time. Who asks again and again goes over.

    The numbers that they get may be those of connections that were busy before, and that nobody has looked at since.
    """
    service = serve(engine="completion")
    mover, over = engine_of(service).mover, []
    receive = mover._receive
    monkeypatch.setattr(mover, "_receive", lambda fd: (over.append(fd), receive(fd))[1])
    for _ in range(3):
        mover.polled.latest = [(fd, READ) for fd in range(1000)]
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(dial(port_of(service))) for _ in range(FEW_CONNECTIONS + 4)]
            until(lambda: service.snapshot().open_connections == len(socks))
            for sock in socks:
                sock.sendall(b"x")
            assert blocking(lambda socks: [read_exactly(sock, 1) for sock in socks], socks) == [b"x"] * len(socks)
        until(lambda: service.snapshot().open_connections == 0)
    assert over == []
    in_the_ring(service, connect(service, FEW_CONNECTIONS + 4))
    assert over


def test_the_ends_that_come_at_once_make_room_for_who_comes_next(serve):
    """All in one batch of events, in which the port is last."""
    service = serve(engine="readiness", max_connections=2)
    polled = polled_of(service)
    with contextlib.ExitStack() as stack:
        old = [stack.enter_context(dial(port_of(service))) for _ in range(2)]
        until(lambda: service.snapshot().open_connections == 2)
        found = [(fd, READ) for fd in (*polled.watched, *polled.watching.calls)]
        for sock in old:
            sock.shutdown(socket.SHUT_WR)
        stack.enter_context(dial(port_of(service)))
        polled.serve(found, 0)
        assert service.snapshot().connections == 3
        assert service.snapshot().open_connections == 1
        assert [sock.recv(1) for sock in old] == [b"", b""]
    assert service.snapshot().drops == {}


def test_a_turn_that_fails_closes_those_that_had_ended_before(serve, logged_errors, monkeypatch):
    service = serve(engine="readiness")
    polled, connections = polled_of(service), engine_of(service).connections
    pairs = [socket.socketpair() for _ in range(2)]
    with contextlib.ExitStack() as stack:
        fds = []
        for ours, theirs in pairs:
            stack.enter_context(theirs)
            ours.setblocking(False)
            fds.append(ours.detach())
            connections.admit(fds[-1], None)
        pairs[0][1].shutdown(socket.SHUT_WR)
        pairs[1][1].send(b"x")
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(fds[1], bytes(1 << 16))

        def no_memory(fd, unsent):
            raise MemoryError

        monkeypatch.setattr(connections, "hold", no_memory)
        with pytest.raises(MemoryError):
            polled.serve([(fd, READ) for fd in fds], time.perf_counter_ns() + 10**10)
        assert connections.open == set()
        assert pairs[0][1].recv(1) == b""
    assert service.snapshot().open_connections == 0


def test_one_of_several_that_cannot_be_watched_is_the_only_one_closed(serve, monkeypatch):
    service = serve(engine="readiness")
    polled, connections = polled_of(service), engine_of(service).connections
    pairs = [socket.socketpair() for _ in range(3)]
    fds = [ours.detach() for ours, _ in pairs]
    for fd in fds:
        os.set_blocking(fd, False)

    class Poller:
        def __init__(self, real):
            self.real = real

        def register(self, fd, mask):
            if fd == fds[1]:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.real.register(fd, mask)

        def __getattr__(self, name):
            return getattr(self.real, name)

    monkeypatch.setattr(polled.watching, "poller", Poller(polled.watching.poller))
    connections.admit_all(fds)
    assert connections.open == {fds[0], fds[2]} == polled.watched
    assert service.snapshot().open_connections == 2
    for _, theirs in pairs:
        theirs.close()
    until(lambda: service.snapshot().open_connections == 0)


def test_a_failure_to_take_some_in_resets_only_those_that_nobody_watches(serve, monkeypatch):
    service = serve(engine="readiness")
    polled, connections = polled_of(service), engine_of(service).connections
    pairs = [socket.socketpair() for _ in range(2)]
    fds = [ours.detach() for ours, _ in pairs]

    def begin_first(fds):
        polled.begin(fds[0])
        raise MemoryError

    monkeypatch.setattr(polled, "begin_all", begin_first)
    with pytest.raises(MemoryError):
        connections.admit_all(fds)
    assert connections.open == {fds[0]}
    for _, theirs in pairs:
        theirs.close()
    until(lambda: service.snapshot().open_connections == 0)


def test_with_a_cap_each_is_taken_in_by_itself_whatever_becomes_of_the_others(serve, monkeypatch):
    service = serve(engine="readiness", max_connections=3)
    connections = engine_of(service).connections
    pairs = [socket.socketpair() for _ in range(3)]
    fds = [ours.detach() for ours, _ in pairs]
    begin = connections._mover.begin

    def no_memory_for_one(fd):
        if fd == fds[1]:
            raise MemoryError
        begin(fd)

    monkeypatch.setattr(connections._mover, "begin", no_memory_for_one)
    with pytest.raises(MemoryError):
        connections.admit_all(fds)
    assert connections.open == {fds[0], fds[2]}
    for _, theirs in pairs:
        theirs.close()
    until(lambda: service.snapshot().open_connections == 0)
