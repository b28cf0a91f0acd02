"""Own stream protocols in the service: limits, counters, half-close, TLS and an orderly stop, on real sockets."""

from __future__ import annotations

import contextlib
import socket
import ssl

import pytest
import pytest_twisted
from rigs import certificates
from rigs.helpers import LIMIT, blocking, dial, exchange, fill, has_ipv6, pattern, port_of, read_to_end, settle, until
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.basic import LineReceiver
from twisted.protocols.policies import WrappingFactory
from zope.interface import implementer

from echobench import Echo, EchoFactory, EchoService, EngineError, Reason
from echobench.engines import STREAM, Setting
from echobench.engines.portable.own_stream import factory_for
from echobench.server.certificate import load_certificate


class Reverse(LineReceiver):
    """Answers each line reversed."""

    def lineReceived(self, line):
        self.sendLine(line[::-1])


class Quiet(Protocol):
    """Keeps what it hears, and lists itself in its factory."""

    def __init__(self):
        self.heard, self.lost = b"", None
        made.append(self)

    def dataReceived(self, data):
        self.heard += data

    def connectionLost(self, reason=connectionDone):
        self.lost = reason


made: list[Quiet] = []


@pytest.fixture(autouse=True)
def _forget():
    made.clear()


@pytest.fixture
def own(serve):
    def start(protocol=Reverse, **options):
        return serve(0, ("127.0.0.1",), protocol=protocol, udp=False, **options)

    return start


def test_a_class(own):
    service = own()
    assert service.engines() == {"tcp": "portable"}
    assert blocking(exchange, port_of(service), [b"abc\r\nde", b"f\r\n"]) == b"cba\r\nfed\r\n"
    until(lambda: service.snapshot().open_connections == 0)
    counted = service.snapshot()
    assert (counted.connections, counted.stream_bytes) == (1, 10)
    assert counted.reads >= 1
    assert counted.drops == {}


def test_a_function_and_a_factory(own):
    class Kept(Factory):
        noisy = False
        protocol = Reverse
        built = 0

        def buildProtocol(self, addr):
            self.built += 1
            return super().buildProtocol(addr)

    factory = Kept()

    def function():
        return Reverse()

    for each in (function, factory):
        assert blocking(exchange, port_of(own(each)), [b"abc\r\n"]) == b"cba\r\n"
    assert factory.built == 1


def test_a_class_derived_from_echo_keeps_its_own_books(own):
    class Capitals(Echo):
        def dataReceived(self, data):
            super().dataReceived(data.upper())

    service = own(Capitals)
    assert blocking(exchange, port_of(service), [b"hello"]) == b"HELLO"
    until(lambda: service.snapshot().open_connections == 0)
    assert (service.snapshot().connections, service.snapshot().stream_bytes) == (1, 5)


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
def test_both_families(serve):
    service = serve(protocol=Reverse, udp=False)
    for host in ("127.0.0.1", "::1"):
        assert blocking(exchange, port_of(service), [b"abc\r\n"], host) == b"cba\r\n"


def test_the_other_transport_still_echoes(serve):
    from rigs.helpers import ask

    assert blocking(ask, port_of(serve(0, ("127.0.0.1",), protocol=Reverse), "udp"), b"abc") == b"abc"


@pytest.mark.parametrize("name", [name for name in STREAM if name != "portable"])
def test_another_engine_cannot_serve_it(name):
    with pytest.raises(EngineError, match=f"engine='{name}' can only echo"):
        EchoService(0, protocol=Reverse, engine=name)


@pytest.mark.parametrize("wrong", [5, EchoFactory, "Reverse"])
def test_what_makes_no_protocols(wrong):
    with pytest.raises(TypeError, match="protocol is"):
        EchoService(0, protocol=wrong)


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("max_connections", Reason.MAX_CONNECTIONS),
        ("max_connections_per_source", Reason.MAX_CONNECTIONS_PER_SOURCE),
    ],
)
def test_caps(own, option, reason):
    service = own(Quiet, **{option: 1})
    first = blocking(dial, port_of(service))
    until(lambda: service.snapshot().open_connections == 1)
    with blocking(dial, port_of(service)) as over:
        assert blocking(over.recv, 1) == b""
    assert service.snapshot().drops == {reason: 1}
    assert len(made) == 1, "refused before a protocol was made"
    first.close()
    until(lambda: service.snapshot().open_connections == 0)
    with blocking(dial, port_of(service)):
        until(lambda: len(made) == 2)


def test_a_factory_that_refuses_or_fails_gives_the_place_back(own, logged_errors):
    moods = [None, RuntimeError("a bad day"), Reverse()]

    class Moody(Factory):
        noisy = False

        def buildProtocol(self, addr):
            mood = moods.pop(0)
            if isinstance(mood, Exception):
                raise mood
            return mood

    service = own(Moody(), max_connections=1)
    for _ in range(2):
        with blocking(dial, port_of(service)) as sock:
            assert blocking(sock.recv, 1) == b""
    assert "a bad day" in str(logged_errors.pop())
    assert blocking(exchange, port_of(service), [b"abc\r\n"]) == b"cba\r\n"


def test_an_idle_connection_is_ended(own):
    service = own(Quiet, idle_timeout=0.1)
    with blocking(dial, port_of(service)) as sock, contextlib.suppress(ConnectionResetError):
        assert blocking(sock.recv, 1) == b""
    until(lambda: service.snapshot().open_connections == 0)
    assert service.snapshot().drops == {Reason.IDLE: 1}
    assert made[0].lost is not None


def test_a_peer_that_takes_what_is_written_is_not_idle():
    """Nothing comes in, and yet bytes move: the clock is the test's."""
    clock = Clock()
    setting = Setting(clock, idle_timeout=10)  # type: ignore[arg-type]

    class Held(StringTransport):
        waiting = 0
        aborted = False

        def unsent(self):
            return self.waiting

        def abortConnection(self):
            self.aborted = True

    wrapped = factory_for(setting, Quiet).buildProtocol(None)
    transport = Held()
    wrapped.makeConnection(transport)
    for _ in range(5):
        made[0].transport.write(b"tick")  # and the kernel has taken it, and the peer too
        clock.advance(9)
    assert not transport.aborted
    transport.waiting = 4
    made[0].transport.write(b"tick")  # it stays where it is
    clock.advance(25)
    clock.advance(25)
    assert transport.aborted
    assert setting.counters.drops == {Reason.IDLE: 1}
    wrapped.connectionLost()
    assert clock.getDelayedCalls() == []


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


def test_an_exception_costs_one_connection(own, logged_errors):
    class Fragile(Quiet):
        def dataReceived(self, data):
            raise RuntimeError("no good")

    service = own(Fragile, max_connections=1)
    for _ in range(2):
        with blocking(dial, port_of(service)) as sock:
            sock.sendall(b"x")
            with contextlib.suppress(ConnectionResetError):
                assert blocking(sock.recv, 1) == b""
        until(lambda: service.snapshot().open_connections == 0)
        assert "no good" in str(logged_errors.pop())


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


@pytest.fixture
def tls(serve, tmp_path):
    pair = certificates.make(tmp_path)

    def start(protocol, **options):
        loaded = load_certificate(str(pair.certificate), str(pair.key))
        service = serve(None, ("127.0.0.1",), tls_port=0, tls_options=loaded, protocol=protocol, **options)
        context = ssl.create_default_context(cafile=str(pair.certificate))
        return service, lambda: context.wrap_socket(
            dial(port_of(service, "tls")), server_hostname="echo.example", suppress_ragged_eofs=False
        )

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


def test_start_tls_over_the_wrapper(own, tmp_path):
    pair = certificates.make(tmp_path)
    options = load_certificate(str(pair.certificate), str(pair.key))

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
            context = ssl.create_default_context(cafile=str(pair.certificate))
            with context.wrap_socket(sock, server_hostname="echo.example") as secure:
                secure.sendall(b"abc\r\n")
                return first + secure.recv(100)

    assert blocking(client) == b"OK\r\ncba\r\n"
    until(lambda: service.snapshot().open_connections == 0)


def test_an_endpoint(serve):
    from twisted.internet import reactor
    from twisted.internet.endpoints import TCP4ServerEndpoint

    service = serve(None, endpoints=[TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")], protocol=Reverse)
    assert blocking(exchange, port_of(service, "endpoint"), [b"abc\r\n"]) == b"cba\r\n"
    until(lambda: service.snapshot().open_connections == 0)


def test_an_inherited_socket(serve):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    number = listener.getsockname()[1]
    serve(None, inherited=[listener], protocol=Reverse)
    assert blocking(exchange, number, [b"abc\r\n"]) == b"cba\r\n"
