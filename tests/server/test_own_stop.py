"""Own stream protocols when the service stops: nothing is lost, and nobody is waited for without end."""

from __future__ import annotations

import contextlib

import pytest_twisted
from rigs.helpers import LIMIT, blocking, dial, port_of, read_to_end, settle, until
from rigs.own_protocols import Quiet, Reverse, made
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.protocols.policies import WrappingFactory


def test_the_stop_closes_and_what_was_written_goes_out(own):
    service = own(Reverse)
    with blocking(dial, port_of(service)) as sock:
        sock.sendall(b"abc\r\n")
        assert blocking(sock.recv, 100) == b"cba\r\n"
        pytest_twisted.blockon(service.stopService())
        assert blocking(sock.recv, 100) == b""
    assert service.snapshot().open_connections == 0


class Working(Quiet):
    """Ends its work when it is told to drain."""

    def drain(self):
        self.work: Deferred[None] = Deferred()
        return self.work


def test_its_own_drain_is_waited_for(own):
    service = own(Working, close_timeout=20)
    with blocking(dial, port_of(service)) as sock:
        until(lambda: made)
        stopped = service.stopService()
        until(lambda: hasattr(made[0], "work"))
        settle(0.05)
        assert not stopped.called
        made[0].transport.write(b"the last word")
        made[0].work.callback(None)
        assert blocking(read_to_end, sock) == b"the last word"
        pytest_twisted.blockon(stopped)


def test_a_drain_that_never_ends_is_ended(own):
    service = own(Working, close_timeout=0.2)
    with blocking(dial, port_of(service)):
        until(lambda: made)
        pytest_twisted.blockon(service.stopService())
        assert made[0].lost is not None


def test_a_drain_that_fails_ends_the_connection_all_the_same(own, logged_errors):
    class Bad(Quiet):
        def drain(self):
            raise RuntimeError("cannot drain")

    service = own(Bad, close_timeout=20)
    with blocking(dial, port_of(service)) as sock:
        until(lambda: made)
        pytest_twisted.blockon(service.stopService())
        assert blocking(sock.recv, 1) == b""
    assert "cannot drain" in str(logged_errors.pop())


def test_the_stop_of_a_protocol_in_a_wrapper_of_twisted(own):
    """Its ``drain`` is ours, which it passes on as it does any attribute of its transport."""
    inner = Factory.forProtocol(Reverse)
    outer = WrappingFactory(inner)
    inner.noisy = outer.noisy = False
    service = own(outer, close_timeout=LIMIT)
    with blocking(dial, port_of(service)) as sock:
        until(lambda: service.snapshot().open_connections == 1)
        stopped = service.stopService()
        assert blocking(read_to_end, sock) == b""
        pytest_twisted.blockon(stopped)


def test_a_stop_during_traffic(own):
    """Whole answers up to the end, whatever is under way."""
    service = own(Reverse, close_timeout=5)

    def client():
        got = b""
        with dial(number) as sock, contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while True:
                sock.sendall(b"0123456789\r\n")
                data = sock.recv(1 << 16)
                if not data:
                    break
                got += data
        return got

    number = port_of(service)
    from twisted.internet.threads import deferToThread

    clients = [deferToThread(client) for _ in range(5)]
    until(lambda: service.snapshot().stream_bytes > 12 * 100)
    pytest_twisted.blockon(service.stopService())
    assert service.snapshot().open_connections == 0
    total = 0
    for each in clients:
        got = pytest_twisted.blockon(each)
        assert got == (b"9876543210\r\n" * (len(got) // 12 + 1))[: len(got)]
        total += len(got)
    assert total >= 12 * 90


def test_abort(own):
    service = own(Quiet)
    with blocking(dial, port_of(service)) as sock:
        until(lambda: made)
        service.abort()
        with contextlib.suppress(ConnectionResetError):
            assert blocking(sock.recv, 1) == b""
    until(lambda: made[0].lost)
    made[0].transport.loseConnection()  # a protocol that has not noticed
    made[0].transport.abortConnection()
