"""Own stream protocols in the service: what may be one, limits and counters, on real sockets."""

from __future__ import annotations

import contextlib
import socket

import pytest
from rigs.helpers import blocking, dial, exchange, has_ipv6, needs_linux, port_of, read_exactly, until
from rigs.own_protocols import Quiet, Reverse, made
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from echobench import Echo, EchoFactory, EchoService, EngineError, Reason
from echobench.engines import STREAM, Setting
from echobench.engines.portable.own_stream import factory_for


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
        made[-1].transport.write(b"tick")  # and the kernel has taken it, and the peer too
        clock.advance(9)
    assert not transport.aborted
    transport.waiting = 4
    made[-1].transport.write(b"tick")  # it stays where it is
    clock.advance(1.5)
    transport.waiting = 3  # but for a byte, soon
    for _ in range(125):
        clock.advance(0.1)
    assert transport.aborted
    assert setting.counters.drops == {Reason.IDLE: 1}
    wrapped.connectionLost()
    assert clock.getDelayedCalls() == []


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


@needs_linux
@pytest.mark.parametrize("protocol", [None, Reverse])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_urgent_bytes_at_an_endpoint(serve, protocol, kind, tmp_path):
    """The endpoint binds by itself."""
    from twisted.internet import reactor
    from twisted.internet.endpoints import serverFromString

    path = str(tmp_path / "echo")
    where = {"tcp": "tcp:0:interface=127.0.0.1", "unix": f"unix:{path}"}[kind]
    service = serve(None, endpoints=[serverFromString(reactor, where)], protocol=protocol)

    def client():
        with socket.socket(socket.AF_INET if kind == "tcp" else socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(("127.0.0.1", port_of(service, "endpoint")) if kind == "tcp" else path)
            sock.send(b"12!", socket.MSG_OOB)
            sock.send(b"34?", socket.MSG_OOB)
            sock.send(b"\r\n")
            return read_exactly(sock, 8)

    assert blocking(client) == (b"?43!21\r\n" if protocol else b"12!34?\r\n")
