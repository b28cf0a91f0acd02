"""Own stream protocols whose peers are slow or half-closed, and their producers."""

from __future__ import annotations

import socket

import pytest
import pytest_twisted
from rigs.helpers import LIMIT, blocking, dial, exchange, fill, pattern, port_of, read_to_end, settle, until
from rigs.own_protocols import Quiet, made
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol
from twisted.protocols.basic import LineReceiver
from zope.interface import implementer

from echobench import Reason


def test_what_was_written_goes_out_before_the_end_of_file_is_answered(own):
    """A protocol that knows nothing of half-close: Twisted alone would drop what waits when the peer's end comes."""

    class Large(LineReceiver):
        def lineReceived(self, line):
            self.transport.write(pattern(8 << 20))

    service = own(Large)
    assert blocking(exchange, port_of(service), [b"go\r\n"]) == pattern(8 << 20)


def test_half_close_reaches_a_protocol_that_provides_it(own):
    @implementer(IHalfCloseableProtocol)
    class Half(Quiet):
        def readConnectionLost(self):
            self.transport.write(self.heard)
            self.transport.loseWriteConnection()

        def writeConnectionLost(self):
            self.ended = True

    service = own(Half)
    assert blocking(exchange, port_of(service), [b"all ", b"of it"]) == b"all of it"
    until(lambda: getattr(made[0], "ended", False) or made[0].lost)


def test_a_closing_connection_whose_peer_takes_nothing_is_ended(own):
    class Flood(Quiet):
        def connectionMade(self):
            self.transport.write(bytes(64 << 20))
            self.transport.loseConnection()

    service = own(Flood, close_timeout=0.2)
    with blocking(dial, port_of(service), receive_buffer=4096):
        until(lambda: service.snapshot().drops)
    until(lambda: service.snapshot().open_connections == 0)
    assert service.snapshot().drops == {Reason.STUCK: 1}


class Echoing(Protocol):
    """Its transport's own back-pressure, in the usual way."""

    def connectionMade(self):
        self.transport.registerProducer(self.transport, True)

    def dataReceived(self, data):
        self.transport.write(data)


def test_back_pressure_and_a_close_while_it_is_paused(own):
    service = own(Echoing, close_timeout=5)
    with blocking(dial, port_of(service), receive_buffer=65536) as sock:
        sent = blocking(fill, sock, 64 << 20)
        assert sent < 64 << 20, "reading stops when the peer does not read"
        held = service.snapshot().stream_bytes
        sock.shutdown(socket.SHUT_WR)
        assert len(blocking(read_to_end, sock)) >= held, "closed in good order, though its producer was paused"
    until(lambda: service.snapshot().open_connections == 0)
    assert service.snapshot().drops == {}


@implementer(IPushProducer)
class Producing(Quiet):
    """Answers with 8 MiB, as a producer that has nothing to add when it may go on."""

    def connectionMade(self):
        self.transport.registerProducer(self, True)

    def dataReceived(self, data):
        self.transport.write(pattern(8 << 20))

    def pauseProducing(self):
        self.transport.pauseProducing()

    def resumeProducing(self):
        self.transport.resumeProducing()

    def stopProducing(self):
        pass


def test_a_paused_producer_does_not_hold_up_the_stop(own):
    service = own(Producing, close_timeout=LIMIT)
    with blocking(dial, port_of(service)) as sock:
        sock.sendall(b"x")
        until(lambda: service.snapshot().stream_bytes)
        stopped = service.stopService()
        assert blocking(read_to_end, sock) == pattern(8 << 20)
        pytest_twisted.blockon(stopped)
    assert service.snapshot().drops == {}


def test_a_second_producer_is_refused_and_changes_nothing(own):
    class Twice(Echoing):
        def connectionMade(self):
            super().connectionMade()
            with pytest.raises(RuntimeError):
                self.transport.registerProducer(Producing(), True)

        def dataReceived(self, data):
            self.transport.write(pattern(8 << 20))
            self.transport.loseConnection()

    service = own(Twice, close_timeout=LIMIT)
    with blocking(dial, port_of(service)) as sock:
        sock.sendall(b"x")
        assert blocking(read_to_end, sock) == pattern(8 << 20)
    until(lambda: service.snapshot().open_connections == 0)
    assert service.snapshot().drops == {}


def test_the_end_of_file_is_told_once(own):
    """A transport that its back-pressure pauses and resumes after the end reads the end again."""

    @implementer(IHalfCloseableProtocol)
    class Half(Echoing):
        told = 0

        def readConnectionLost(self):
            type(self).told += 1
            self.transport.write(pattern(8 << 20))

        def writeConnectionLost(self):
            pass

    service = own(Half)
    with blocking(dial, port_of(service)) as sock:
        sock.shutdown(socket.SHUT_WR)
        until(lambda: Half.told)
        with sock.makefile("rb") as stream:
            assert blocking(stream.read, 8 << 20) == pattern(8 << 20)
        settle(0.05)
        assert Half.told == 1
