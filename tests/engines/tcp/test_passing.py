"""The short loop for connections that come and go: what ends it, and that nothing is lost or miscounted."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.helpers import dial, needs_linux, port_of, read_exactly, wait_for
from rigs.rings import needs_completion
from rigs.tcp_rig import engine_of, polled_of

from echobench.engines.forks import FORKS
from echobench.engines.pollers import READ, WRITE
from echobench.engines.tcp import passing
from echobench.engines.tcp.states import Odd

MOST = 100
END = 1 << 62

pytestmark = needs_linux


class Rig:
    """A service whose loop is called by the test, while the reactor stands still."""

    def __init__(self, service, monkeypatch):
        self.service, self.engine, self.polled = service, engine_of(service), polled_of(service)
        self.passing, self.connections = self.polled._passing, self.engine.connections
        self.monkeypatch = monkeypatch
        self.port = next(iter(self.engine.ports.values()))

    def ready(self, *expected):
        """Wait until these descriptors are ready; return what is, in their order."""
        wait_for(lambda: {fd for fd, _ in self.polled.poll()} >= {*expected})
        return sorted(self.polled.poll(), key=lambda each: expected.index(each[0]) if each[0] in expected else -1)

    def run(self, *expected, found=None, wake_ups=(), end=0):
        """Serve these when they are ready, or what was found; unless told otherwise, and no more."""
        found = self.ready(*expected) if found is None else found
        return self.passing.serve(found, self.passing.ports(), MOST, end, iter(wake_ups))

    def come(self):
        """Have a connection come and be taken in; return its other end, and its descriptor here."""
        before = set(self.connections.open)
        sock = dial(port_of(self.service))
        assert self.run(self.port.fd) is None
        (fd,) = self.connections.open - before
        return sock, fd

    @property
    def counts(self):
        """Connections in all, open ones, reads and bytes, as counted by now."""
        counters = self.service.counters
        return counters.connections, counters.open_connections, counters.reads, counters.stream_bytes

    def in_order(self):
        """Whether the books agree with each other, and with what the poller has."""
        assert self.connections.open == self.polled.watched
        return self.service.counters.open_connections == len(self.connections.open)


@pytest.fixture(params=["readiness", pytest.param("completion", marks=needs_completion)])
def rig(request, serve, monkeypatch):
    there = Rig(serve(engine=request.param), monkeypatch)
    yield there
    assert there.in_order()


@pytest.fixture
def two(rig):
    """Two connections that have come; each is its other end and its descriptor here."""
    pair = rig.come(), rig.come()
    with pair[0][0], pair[1][0]:
        yield pair


def closed(fd):
    """Whether a descriptor is free."""
    try:
        os.fstat(fd)
    except OSError:
        return True
    return False


def test_who_comes_is_known_served_and_closed(rig, two):
    (a, fd), (b, other) = two
    assert rig.connections.open == {fd, other} == rig.polled.watched
    assert rig.counts == (2, 2, 0, 0)
    a.sendall(b"one")
    b.sendall(b"three")
    assert rig.run(fd, other) is None
    assert (a.recv(10), b.recv(10)) == (b"one", b"three")
    a.shutdown(socket.SHUT_WR)
    assert rig.run(fd) is None
    assert a.recv(1) == b""
    assert rig.connections.open == {other} == rig.polled.watched
    assert rig.counts == (2, 1, 2, 8)
    assert rig.passing.mean_read == 0.0
    assert closed(fd)


def test_the_number_of_one_who_goes_is_that_of_one_who_comes(rig, two):
    """In one batch of events, in which the port is last."""
    (a, fd), _ = two
    a.shutdown(socket.SHUT_WR)
    with dial(port_of(rig.service)) as new:
        assert rig.run(fd, rig.port.fd) is None
        assert fd in rig.connections.open
        assert rig.counts == (3, 2, 0, 0)
        new.sendall(b"x")
        assert rig.run(fd) is None
        assert new.recv(10) == b"x"
        assert a.recv(1) == b""


def test_it_goes_on_as_long_as_connections_come_and_go(rig, two):
    """A wake-up is a look at all that the reactor watches; without one, the reactor has its turn."""
    (a, fd), (b, other) = two

    def wake_ups():
        a.shutdown(socket.SHUT_WR)
        rig.ready(fd)
        yield END
        b.sendall(b"x")
        b.shutdown(socket.SHUT_WR)
        rig.ready(other)
        yield END

    with dial(port_of(rig.service)):
        assert rig.run(rig.port.fd, wake_ups=wake_ups()) is None
        assert rig.passing.goes_on
        assert (a.recv(1), b.recv(1), b.recv(1)) == (b"", b"x", b"")
        assert rig.counts == (3, 1, 1, 1)


def test_when_nobody_comes_or_goes_what_is_found_is_left_to_others(rig, two):
    (a, fd), (b, other) = two

    def wake_ups():
        b.sendall(b"y")
        rig.ready(other)
        yield END

    a.sendall(b"x")
    assert rig.run(fd, wake_ups=wake_ups()) == [(other, READ)]
    assert not rig.passing.goes_on
    assert a.recv(10) == b"x"
    assert rig.passing.mean_read == 1.0


@pytest.mark.parametrize("why", ["mask", "another descriptor", "long", "no memory", "reset"])
def test_what_is_not_ordinary_is_left_with_those_behind_it(rig, two, why, monkeypatch):
    (a, fd), (b, other) = two
    b.sendall(b"y")
    if why == "reset":
        a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        a.close()
    else:
        a.sendall(b"x" * (MOST + 1) if why == "long" else b"x")
    wait_for(lambda: {each for each, _ in rig.polled.poll()} == {fd, other})
    real, found = os.read, [(fd, READ | WRITE if why == "mask" else READ), (other, READ)]

    def read(asked, most):
        if asked == fd and why == "no memory":
            raise MemoryError
        return real(asked, most)

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", read)
        if why == "another descriptor":
            patch.setitem(rig.polled.watching.calls, fd, print)
        assert rig.run(found=found) == found
    assert rig.counts[2:] == ((1, MOST) if why == "long" else (0, 0))
    rig.polled.serve(found, 0)
    assert b.recv(10) == b"y"
    if why == "reset":
        assert rig.connections.open == {other}
    else:
        answer = b"x" * (MOST + 1) if why == "long" else b"x"
        assert read_exactly(a, len(answer)) == answer


@pytest.fixture
def write(monkeypatch):
    """Give a function that has os.write raise an error for a descriptor, or take only one byte."""
    real, errors = os.write, {}

    def fails(fd, error):
        errors[fd] = error

    def write(fd, data):
        if (error := errors.pop(fd, None)) is None:
            return real(fd, data)
        if error == 1:
            return real(fd, data[:1])
        raise error

    monkeypatch.setattr(os, "write", write)
    return fails


@pytest.mark.parametrize("room", [BlockingIOError, 1])
def test_whose_peer_does_not_read_is_left_and_gets_every_byte(rig, two, write, room):
    (a, fd), (b, other) = two
    a.sendall(b"xyz")
    b.sendall(b"y")
    found = rig.ready(fd, other)
    write(fd, room)
    assert rig.run(found=found) == found[1:], "it may be closed by now"
    assert rig.connections.odd[fd].unsent == (b"yz" if room == 1 else b"xyz")
    assert rig.passing.ports() == []
    rig.polled.serve(rig.ready(fd), 0)
    assert read_exactly(a, 3) == b"xyz"
    assert not rig.connections.odd


def test_whose_connection_breaks_while_it_is_answered_is_closed(rig, two, write):
    (a, fd), (b, other) = two
    a.sendall(b"x")
    b.sendall(b"y")
    write(fd, ConnectionResetError)
    assert rig.run(fd, other) is None
    assert b.recv(10) == b"y"
    assert rig.connections.open == {other}
    assert rig.counts == (2, 1, 2, 2)


def test_nobody_is_in_doubt_who_was_not_meant(rig, two):
    (_, fd), (b, other) = two
    b.sendall(b"y")
    rig.ready(other)
    assert rig.run(found=[(fd, READ), (other, READ)]) is None
    assert b.recv(10) == b"y"
    assert len(rig.connections.open) == 2


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.EMFILE])
def test_a_port_from_which_nobody_can_be_taken(rig, two, error, monkeypatch):
    """Another process may have been quicker; any other error is for the acceptor, which meets it again."""
    (a, fd), _ = two
    a.sendall(b"x")
    rig.ready(fd)

    def accept():
        ctypes.set_errno(error)
        return -1

    monkeypatch.setattr(rig.port, "_accept_one", accept)
    found = [(rig.port.fd, READ), (fd, READ)]
    if error == errno.EAGAIN:
        assert rig.run(found=found) is None
        assert a.recv(10) == b"x"
    else:
        assert rig.run(found=found) == found


class Full:
    """A poller that has no room, or will not forget."""

    def __init__(self, real, refuses):
        self._real, self._refuses = real, refuses

    def __getattr__(self, name):
        if name == self._refuses:
            return self._refuse
        return getattr(self._real, name)

    def _refuse(self, *_):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_who_cannot_be_watched_is_reset(rig, two, monkeypatch):
    with dial(port_of(rig.service)) as sock, monkeypatch.context() as patch:
        rig.ready(rig.port.fd)
        patch.setattr(rig.polled.watching, "poller", Full(rig.polled.watching.poller, "register"))
        assert rig.run(rig.port.fd) is None
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert rig.counts == (3, 2, 0, 0)


def test_who_stays_watched_is_closed_all_the_same(rig, two, monkeypatch):
    (a, fd), _ = two
    a.shutdown(socket.SHUT_WR)
    rig.ready(fd)
    with monkeypatch.context() as patch:
        patch.setattr(rig.polled.watching, "poller", Full(rig.polled.watching.poller, "unregister"))
        assert rig.run(fd) is None
    assert a.recv(1) == b""
    assert closed(fd)


def test_after_a_fork_a_connection_ends_even_if_the_child_has_a_copy(rig, two, monkeypatch):
    (a, fd), _ = two
    monkeypatch.setattr(FORKS, "number", 1)
    copy = os.dup(fd)
    try:
        a.shutdown(socket.SHUT_WR)
        rig.ready(fd)
        assert rig.run(found=[(fd, READ)]) is None
        assert a.recv(1) == b""
    finally:
        os.close(copy)


def test_whose_bytes_are_in_doubt_is_reset_and_what_was_done_is_counted(rig, two, write, monkeypatch):
    (a, fd), (b, other) = two
    a.sendall(b"x")
    b.sendall(b"y")
    write(other, BlockingIOError)

    def no_memory(fd, unsent):
        raise MemoryError

    with dial(port_of(rig.service)), monkeypatch.context() as patch:
        patch.setattr(rig.connections, "hold", no_memory)
        with pytest.raises(MemoryError):
            rig.run(rig.port.fd, fd, other)
    assert a.recv(10) == b"x"
    assert rig.counts == (3, 2, 2, 2)
    assert fd in rig.connections.open
    assert other not in rig.connections.open


def test_a_failing_wait_is_nobodys_fault(rig, two):
    """A signal's handler may raise then."""
    (a, fd), _ = two

    def wake_ups():
        raise TimeoutError
        yield

    a.sendall(b"x")
    with pytest.raises(TimeoutError):
        rig.run(fd, wake_ups=wake_ups())
    assert a.recv(10) == b"x"
    assert fd in rig.connections.open


def test_with_many_it_returns_so_that_those_who_stay_come_to_the_ring(rig, two, monkeypatch):
    monkeypatch.setattr(passing, "MOST_OPEN", 2)
    assert rig.passing.ports()
    with dial(port_of(rig.service)):
        wake_ups = iter([END])
        assert rig.run(rig.port.fd, wake_ups=wake_ups) is None
        assert list(wake_ups) == [END]
        assert rig.passing.ports() == []


@pytest.mark.parametrize(("few", "returns"), [(1, True), (3, False)])
def test_with_more_than_a_few_it_returns_now_and_then_and_says_who_was_busy(rig, two, few, returns):
    """Those who stay are for the ring, and who was ready last is asked to go over."""
    (a, fd), _ = two
    later = passing.LONGEST
    rig.passing._few = few
    a.sendall(b"x")
    wake_ups = iter([later, END])
    found = rig.ready(fd)
    sock = dial(port_of(rig.service))
    with sock:
        rig.ready(rig.port.fd)
        left = rig.run(found=[*found, (rig.port.fd, READ)], wake_ups=wake_ups, end=1)
    assert (left, list(wake_ups)) == ((None, [END]) if returns else ([], [])), "or else nobody comes or goes any more"
    assert rig.passing.latest == [*found, (rig.port.fd, READ)]


@pytest.mark.parametrize("fails", ["newcomers", "watched"])
def test_who_could_not_be_entered_in_all_books_is_reset(rig, two, fails):
    """The engine had no memory for it."""

    class Full(set):
        def add(self, fd):
            raise MemoryError

    loop = rig.passing
    if fails == "newcomers":
        loop._newcomers = Full()
    else:
        rig.polled.watching.connections = Full(rig.polled.watching.connections)
    with dial(port_of(rig.service)) as sock:
        with pytest.raises(MemoryError):
            rig.run(rig.port.fd)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert rig.counts == (3, 2, 0, 0)
    rig.polled.watching.connections = rig.polled.watched


@pytest.mark.parametrize(
    "options", [{}, {"max_connections": 5}, {"max_connections_per_source": 5}, {"idle_timeout": 60.0}]
)
def test_it_is_for_who_may_come_and_go_as_they_like(serve, monkeypatch, options):
    service = serve(engine="readiness", **options)
    rig = Rig(service, monkeypatch)
    assert rig.passing.ports() == ([] if options else [rig.port])
    assert rig.service.counters.open_connections == 0


def test_it_is_not_for_who_does_not_read_nor_for_early_connections(rig):
    rig.connections.odd[99] = Odd(0.0)
    assert rig.passing.ports() == []
    rig.connections.odd.clear()
    assert rig.passing.ports() == [rig.port]
    rig.port._early = True
    assert rig.passing.ports() == []


def test_families_are_counted_apart_where_they_are_known(serve, monkeypatch):
    rig = Rig(serve(engine="readiness", interfaces=["127.0.0.1"]), monkeypatch)
    with rig.come()[0], rig.come()[0]:
        assert rig.service.counters.accepted == {"ipv4": 2}


def test_without_a_ring_nobody_remembers_newcomers(serve, monkeypatch):
    rig = Rig(serve(engine="readiness"), monkeypatch)
    with rig.come()[0]:
        assert rig.polled._newcomers
        rig.polled.flush()
        assert not rig.polled._newcomers


@needs_completion
def test_the_ring_hears_of_newcomers(serve, monkeypatch):
    rig = Rig(serve(engine="completion"), monkeypatch)
    rig.engine.mover._newcomers.clear()
    sock, fd = rig.come()
    with sock:
        assert rig.engine.mover._newcomers == {fd}


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
        rig = Rig(service, patch)
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
                serve_all(rig, lambda said=said: service.counters.stream_bytes == said)
                assert read_exactly(sock, len(message)) == message
            elif step == "wake":
                rig.run(found=rig.polled.poll(), wake_ups=[END])
            else:
                if step == "reset":
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    sock.close()
                else:
                    sock.shutdown(socket.SHUT_WR)
                socks.remove(sock)
                left = len(socks)
                serve_all(rig, lambda left=left: service.counters.open_connections == left)
            assert rig.in_order()
        serve_all(rig, lambda: rig.counts[0] == came)
        assert rig.counts[1] == len(socks)


def serve_all(rig, condition):
    """Serve until the condition holds."""

    def turn():
        found = rig.polled.poll()
        if found and (left := rig.run(found=found, end=END)):
            rig.polled.serve(left, 0)
        return condition()

    wait_for(turn)
