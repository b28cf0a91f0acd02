"""Own stream protocols over TLS."""

from __future__ import annotations

import contextlib
import ssl
import time

import pytest
import pytest_twisted
from rigs.helpers import blocking, dial, pattern, port_of, read_to_end, until
from rigs.own_protocols import Quiet, Reverse
from rigs.tls_rig import wrap
from twisted.internet import reactor
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.protocols.basic import LineReceiver
from zope.interface import implementer

from echobench import Reason
from echobench.server.certificate import load_certificate
from echobench.silence import QUIET


@pytest.fixture
def tls(serve_tls, certified):
    def start(protocol, **options):
        service = serve_tls(protocol=protocol, **options)
        return service, lambda: wrap(dial(port_of(service, "tls")), certified, suppress_ragged_eofs=False)

    return start


def test_tls(tls):
    service, connect = tls(Reverse)

    def client():
        with connect() as sock:
            sock.sendall(b"abc\r\n")
            got = sock.recv(100)
            sock.unwrap().close()
            return got

    assert blocking(client) == b"cba\r\n"
    until(lambda: service.snapshot().open_connections == 0)
    assert (service.snapshot().connections, service.snapshot().stream_bytes) == (1, 5)


def test_tls_stop_says_goodbye(tls):
    service, connect = tls(Reverse, close_timeout=20)
    sock = blocking(connect)
    with sock:
        sock.sendall(b"abc\r\n")
        assert blocking(sock.recv, 100) == b"cba\r\n"

        def goodbye():
            got = sock.recv(100)
            sock.unwrap().close()
            return got

        stopped = service.stopService()
        assert blocking(goodbye) == b"", "a close_notify, and no ragged end"
        pytest_twisted.blockon(stopped)


def test_tls_stop_waits_for_no_goodbye(tls):
    service, connect = tls(Reverse, close_timeout=60)
    with blocking(connect) as sock:
        sock.sendall(b"abc\r\n")
        assert blocking(sock.recv, 100) == b"cba\r\n"
        began = time.monotonic()
        pytest_twisted.blockon(service.stopService())
        assert time.monotonic() - began < 20
        assert service.snapshot().drops == {}
        assert blocking(sock.recv, 100) == b"", "it had our goodbye"


def test_tls_stop_waits_for_a_producer_that_has_more_to_give(tls):
    """However quiet it is: what it gives later goes out."""

    class Slow(Quiet):
        def dataReceived(self, data):
            self.transport.registerProducer(self, True)
            self.transport.loseConnection()
            reactor.callLater(2.5 * QUIET, self.finish)

        def finish(self):
            self.transport.write(b"the last word")
            self.transport.unregisterProducer()

        def resumeProducing(self):
            pass

        pauseProducing = stopProducing = resumeProducing  # noqa: N815

    service, connect = tls(Slow, close_timeout=60)
    with blocking(connect) as sock:
        sock.sendall(b"x")
        until(lambda: service.snapshot().reads)
        stopped = service.stopService()
        assert blocking(read_to_end, sock) == b"the last word"
        sock.close()
        pytest_twisted.blockon(stopped)


def test_tls_has_no_half_close(tls):
    """Twisted would end the TCP connection below TLS, without a goodbye."""

    @implementer(IHalfCloseableProtocol)
    class Half(Quiet):
        def dataReceived(self, data):
            self.transport.write(pattern(1 << 20))
            self.transport.loseWriteConnection()

        def readConnectionLost(self):
            pass

        def writeConnectionLost(self):
            pass

    service, connect = tls(Half)

    def client():
        with connect() as sock:
            sock.sendall(b"x")
            return read_to_end(sock)

    assert blocking(client) == pattern(1 << 20), "and a close_notify: a ragged end would raise"
    until(lambda: service.snapshot().open_connections == 0)


def test_tls_idle_and_cap(tls):
    service, connect = tls(Quiet, idle_timeout=0.3, max_connections=1)
    with blocking(connect) as sock:
        with blocking(dial, port_of(service, "tls")) as over:
            assert blocking(over.recv, 1) == b""
        with contextlib.suppress(ConnectionResetError, ssl.SSLError):
            assert blocking(sock.recv, 1) == b""
    until(lambda: service.snapshot().open_connections == 0)
    assert service.snapshot().drops == {Reason.MAX_CONNECTIONS: 1, Reason.IDLE: 1}


def test_start_tls_over_the_wrapper(own, certified):
    options = load_certificate(str(certified.certificate), str(certified.key))

    class Upgrading(LineReceiver):
        def lineReceived(self, line):
            if line == b"STARTTLS":
                self.sendLine(b"OK")
                self.transport.startTLS(options)
            else:
                self.sendLine(line[::-1])

    service = own(Upgrading)

    def client():
        with dial(port_of(service)) as sock:
            sock.sendall(b"STARTTLS\r\n")
            first = sock.recv(4)
            with wrap(sock, certified) as secure:
                secure.sendall(b"abc\r\n")
                return first + secure.recv(100)

    assert blocking(client) == b"OK\r\ncba\r\n"
    until(lambda: service.snapshot().open_connections == 0)
