"""The fast engines' listening sockets: pausing, closing, saying where they are, and bursts."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import sys
import time

import pytest
import pytest_twisted
from rigs.helpers import blocking, dial, exchange, has_ipv6, hosts, needs_linux, port_of, settle, until
from rigs.rings import needs_completion
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock

from echobench import Counters
from echobench.acceptor import ACCEPTED_AT_ONCE, STARVED_FOR, Acceptor
from echobench.engines.tcp.listener import Port
from echobench.sockets import Spot, bind

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="the fast engines need a POSIX system")


class Around:
    """A port, and what it asks of the engine that it belongs to."""

    def __init__(self, sock, addresses):
        self.clock, self.served, self.addresses, self.watched, self.closed = Clock(), [], [], [], []
        self.port = Port(
            sock,
            Counters(),
            self.clock,
            addresses=addresses,
            serve=self.serve,
            watch=lambda port, wanted: self.watched.append(wanted),
            closed=self.closed.append,
        )
        self.port.startListening()

    def serve(self, fd, address):
        self.served.append(socket.socket(fileno=fd))
        self.addresses.append(address)


def spare_descriptors():
    """How many descriptors are kept in reserve in this process."""
    return sum(os.path.realpath(f"/proc/self/fd/{fd}") == os.devnull for fd in os.listdir("/proc/self/fd"))


@needs_linux
def test_a_port_that_cannot_be_watched_keeps_nothing():
    def full(port, wanted):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with bind(Spot("tcp", "127.0.0.1", 0))[0] as sock:
        before = spare_descriptors()
        port = Port(sock, Counters(), Clock(), addresses=False, serve=print, watch=full, closed=print)
        assert spare_descriptors() == before + 1
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            port.startListening()
        assert spare_descriptors() == before


@pytest.fixture(params=[False, True], ids=["bare", "with addresses"])
def around(request):
    made = []

    def make(sock=None):
        made.append(Around(sock or bind(Spot("tcp", "127.0.0.1", 0))[0], request.param))
        return made[-1]

    yield make
    for each in made:
        each.port.close()
        for sock in each.served:
            sock.close()


def starve(port, times=1):
    """Have a port fail to accept some times, for want of memory; the list that is returned says how often it has."""
    real, failed = port._acceptor._accept, []

    def accept():
        if len(failed) < times:
            failed.append(time.monotonic())
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
        return real()

    port._acceptor._accept = accept
    many = port._accept_many if port._bare else None
    port._accept_many = lambda limit: ([], errno.ENOBUFS) if len(failed) < times else many(limit)
    return failed


def test_what_is_accepted(around, request):
    each = around()
    with dial(each.port.getHost().port) as sock:
        each.port.accept()
        (accepted,), (address,) = each.served, each.addresses
        assert not os.get_blocking(accepted.fileno())
        assert not os.get_inheritable(accepted.fileno())
        wanted = request.node.callspec.params["around"]
        assert address == (sock.getsockname() if wanted else None) or sys.platform != "linux"


@needs_linux
def test_those_who_waited_before_it_was_ours_are_like_the_others(around, monkeypatch):
    """Also if more wait than are taken at once, and one of them has died: the queue is not empty then."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=200)
    limits, accept = [ACCEPTED_AT_ONCE - 1, ACCEPTED_AT_ONCE, ACCEPTED_AT_ONCE], Acceptor.accept
    monkeypatch.setattr(Acceptor, "accept", lambda self, limit: accept(self, limits.pop(0)))
    with contextlib.ExitStack() as stack:
        for _ in range(ACCEPTED_AT_ONCE + 6):
            stack.enter_context(dial(listener.getsockname()[1]))
        each = around(listener)
        assert len(each.served) == ACCEPTED_AT_ONCE - 1
        each.port.accept()
        stack.enter_context(dial(each.port.getHost().port))
        each.port.accept()
        options = ((socket.SOL_SOCKET, socket.SO_OOBINLINE), (socket.IPPROTO_TCP, socket.TCP_NODELAY))
        assert len(each.served) == ACCEPTED_AT_ONCE + 7
        assert all(sock.getsockopt(*option) for sock in each.served for option in options)


def test_a_port_that_cannot_accept_is_left_alone_for_a_while(around):
    each = around()
    starve(each.port)
    with dial(each.port.getHost().port):
        each.port.accept()
        assert (each.watched, each.served) == ([True, False], [])
        each.clock.advance(0.9 * STARVED_FOR)
        assert each.watched == [True, False]
        each.clock.advance(0.2 * STARVED_FOR)
        assert each.watched == [True, False, True]
        each.port.accept()
        assert len(each.served) == 1
    assert each.watched == [True, False, True]
    assert each.clock.getDelayedCalls() == []


def test_it_can_be_left_alone_again_and_again(around):
    each = around()
    starve(each.port, 3)
    for _ in range(3):
        each.port.accept()
        each.clock.advance(STARVED_FOR)
    assert each.watched == [True, False, True, False, True, False, True]


def test_closed_while_it_is_left_alone(around):
    each = around()
    starve(each.port)
    each.port.accept()
    each.port.close()
    assert each.watched == [True, False], "it is not watched, and so cannot be watched no longer"
    assert each.clock.getDelayedCalls() == []
    assert each.closed == [each.port]
    assert each.port.socket.fileno() == -1


def test_closing_is_done_once(around):
    each = around()
    stopped = each.port.stopListening()
    assert each.port.stopListening() is stopped
    each.port.close()
    assert each.watched == [True, False]
    assert each.closed == [each.port]
    assert not stopped.called
    each.clock.advance(0)
    assert stopped.called
    assert each.clock.getDelayedCalls() == []


@needs_linux
def test_closing_gives_back_the_reserve(around):
    def reserves():
        links = []
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                links.append(os.readlink(f"/proc/self/fd/{fd}"))
        return links.count(os.devnull)

    before = reserves()
    each = around()
    assert reserves() == before + 1
    each.port.close()
    assert reserves() == before


@pytest.mark.parametrize("host", hosts())
def test_where_it_is(around, host):
    (sock,) = bind(Spot("tcp", host, 0))
    number = sock.getsockname()[1]
    expected = IPv6Address("TCP", host, number) if ":" in host else IPv4Address("TCP", host, number)
    assert around(sock).port.getHost() == expected


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
def test_where_it_is_on_both_families(around):
    (sock,) = bind(Spot("tcp", None, 0))
    assert around(sock).port.getHost() == IPv6Address("TCP", "::", sock.getsockname()[1])


def test_where_a_unix_socket_is(around, tmp_path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(tmp_path / "echo"))
    sock.listen()
    sock.setblocking(False)
    assert around(sock).port.getHost() == UNIXAddress(os.fsencode(tmp_path / "echo"))


@needs_linux
def test_what_is_accepted_sends_at_once(around):
    each = around()
    with dial(each.port.getHost().port):
        each.port.accept()
        assert each.served[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_one_turn_takes_a_bounded_number(around):
    each = around()
    with contextlib.ExitStack() as stack:
        for _ in range(ACCEPTED_AT_ONCE + 10):
            stack.enter_context(dial(each.port.getHost().port))
        each.port.accept()
        assert len(each.served) == ACCEPTED_AT_ONCE
        each.port.accept()
        assert len(each.served) == ACCEPTED_AT_ONCE + 10


FAST = pytest.mark.parametrize("fast", ["readiness", pytest.param("completion", marks=needs_completion)])


def listener(service):
    return next(port for kind, port in service._ports if kind == "tcp")


@FAST
@needs_linux
def test_a_burst_larger_than_one_turn_is_served(serve, fast, monkeypatch):
    service = serve(engine=fast)
    number = 3 * ACCEPTED_AT_ONCE + 5
    with contextlib.ExitStack() as stack:  # from the reactor's thread: it cannot accept meanwhile
        socks = [stack.enter_context(dial(port_of(service))) for _ in range(number)]
        until(lambda: service.snapshot().connections == number)
        for i, sock in enumerate(socks):
            sock.sendall(b"%04d" % i)
        assert blocking(lambda: [sock.recv(4) for sock in socks]) == [b"%04d" % i for i in range(number)]


@FAST
@needs_linux
def test_who_is_in_is_served_between_the_turns_of_a_burst(serve, fast):
    """Accepting is no more than one thing of many that an engine does in a turn. (Of one alone it would be guessed.)"""
    service = serve(engine=fast)
    with contextlib.ExitStack() as stack:
        inside, _ = [stack.enter_context(dial(port_of(service))) for _ in range(2)]
        until(lambda: service.snapshot().connections == 2)
        for _ in range(5 * ACCEPTED_AT_ONCE):
            stack.enter_context(dial(port_of(service)))
        inside.sendall(b"me too")
        seen = []
        port = listener(service)
        admit_all, accept_one = port._serve_all, port._accept_one

        def noting(fds):
            admit_all(fds)
            seen.extend([bool(select.select([inside], [], [], 0)[0])] * len(fds))

        def noting_one():
            fd = accept_one()
            seen.extend([bool(select.select([inside], [], [], 0)[0])] * (fd >= 0))
            return fd

        port._serve_all, port._accept_one = noting, noting_one
        until(lambda: service.snapshot().connections == 5 * ACCEPTED_AT_ONCE + 2)
        assert not seen[0]
        assert all(seen[ACCEPTED_AT_ONCE:]), "it was served before the next of them was let in"
        assert inside.recv(10) == b"me too"


@FAST
@needs_linux
def test_an_engine_pauses_and_resumes(serve, fast, monkeypatch):
    monkeypatch.setattr("echobench.acceptor.STARVED_FOR", 0.02)
    service = serve(engine=fast)
    failed = starve(listener(service), 3)
    assert blocking(exchange, port_of(service), [b"in the end"]) == b"in the end"
    assert len(failed) == 3


@FAST
@needs_linux
def test_an_engine_does_not_spin_on_a_port_that_is_starved(serve, fast):
    service = serve(engine=fast)
    failed = starve(listener(service), 100)
    with blocking(dial, port_of(service)):
        until(lambda: failed)
        settle(0.05)
        assert len(failed) <= 2
    pytest_twisted.blockon(service.stopService())


@FAST
@needs_linux
def test_two_ports_of_one_engine_and_one_of_them_stopped(serve, fast):
    service = serve(0, ("127.0.0.1", "127.0.0.2"), engine=fast, udp=False)
    number = port_of(service)
    for host in ("127.0.0.1", "127.0.0.2"):
        assert blocking(exchange, number, [b"both"], host) == b"both"
    pytest_twisted.blockon(listener(service).stopListening())
    with pytest.raises(ConnectionRefusedError):
        blocking(dial, number)
    assert blocking(exchange, number, [b"the other"], "127.0.0.2") == b"the other"
