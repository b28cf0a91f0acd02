"""Own datagram protocols in the service: the guard, the counters, and answers that leave from the right address."""

from __future__ import annotations

import contextlib
import errno
import os
import socket

import pytest
import pytest_twisted
from rigs.helpers import (
    ask,
    blocking,
    datagram_client,
    has_ipv6,
    needs_linux,
    needs_root,
    port_of,
    unanswered,
    until,
)
from twisted.internet.error import MessageLengthError
from twisted.internet.protocol import DatagramProtocol

from echobench import EchoService, EchoUDP, EngineError, Reason
from echobench.counters import Counters
from echobench.engines import DATAGRAM
from echobench.engines.portable.own_datagram import OwnTransport


class Reverse(DatagramProtocol):
    """Answers each datagram reversed."""

    noisy = False
    stopped = 0

    def datagramReceived(self, datagram, addr):
        self.transport.write(datagram[::-1], addr)

    def stopProtocol(self):
        type(self).stopped += 1


@pytest.fixture
def own(serve):
    def start(protocol=Reverse, interfaces=("127.0.0.1",), **options):
        return serve(0, interfaces, datagram_protocol=protocol, tcp=False, **options)

    return start


def test_a_class(own):
    Reverse.stopped = 0
    service = own()
    assert service.engines() == {"udp": "portable"}
    for payload in (b"abc", b"", bytes(range(256)) * 200):
        assert blocking(ask, port_of(service, "udp"), payload) == payload[::-1]
    counted = service.snapshot()
    assert (counted.datagrams, counted.datagram_bytes, counted.drops) == (3, 3 + 51200, {})
    pytest_twisted.blockon(service.stopService())
    assert Reverse.stopped == 1


def test_each_socket_has_its_own(own):
    made = []

    def make():
        made.append(Reverse())
        return made[-1]

    hosts = ("127.0.0.1", "::1") if has_ipv6() else ("127.0.0.1",)
    service = own(make, hosts)
    assert len(made) == len(hosts)
    for host in hosts:
        assert blocking(ask, port_of(service, "udp"), b"abc", host) == b"cba"


def test_a_class_derived_from_echo(own):
    class Capitals(EchoUDP):
        def datagramReceived(self, data, addr):
            super().datagramReceived(data.upper(), addr)

    service = own(Capitals)
    assert blocking(ask, port_of(service, "udp"), b"abc") == b"ABC"
    assert service.snapshot().datagrams == 1


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
def test_an_answer_that_comes_later(own):
    """Another family's datagram came last: what the port knows of that one must not be used for this."""
    from twisted.internet import reactor

    class Late(DatagramProtocol):
        noisy = False

        def datagramReceived(self, datagram, addr):
            reactor.callLater(0.05 if datagram == b"4" else 0, self.transport.write, datagram, addr)

    service = own(Late, ())
    number = port_of(service, "udp")

    def client():
        with datagram_client(number) as four, datagram_client(number, "::1") as six:
            four.send(b"4")
            six.send(b"6")
            return six.recv(10), four.recv(10)

    assert blocking(client) == (b"6", b"4")
    assert service.snapshot().drops == {}


@needs_linux
@pytest.mark.parametrize("base", [DatagramProtocol, EchoUDP])
def test_later_answers_leave_from_the_address_that_each_peer_asked(own, base):
    """Not from the one that the last peer asked, nor from one that the system picks."""
    from twisted.internet import reactor

    class Late(base):
        noisy = False

        def datagramReceived(self, datagram, addr):
            reactor.callLater(0.05, self.transport.write, datagram, addr)

    service = own(Late, ("0.0.0.0",))
    hosts = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]

    def client():
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(datagram_client(port_of(service, "udp"), host)) for host in hosts]
            for sock, host in zip(socks, hosts, strict=True):
                sock.send(host.encode())
            return [sock.recv(100).decode() for sock in socks]

    assert blocking(client) == hosts


@needs_linux
def test_an_answer_to_somebody_else_leaves_from_the_address_that_this_one_asked(own):
    """As a program that passes messages on between its peers does it, over both families."""

    class Relay(DatagramProtocol):
        noisy = False
        peers = ()

        def datagramReceived(self, datagram, addr):
            for peer in self.peers:
                self.transport.write(datagram, peer)
            self.peers = (*self.peers, addr)

    service = own(Relay, ())
    number = port_of(service, "udp")

    def client():
        with datagram_client(number, "127.0.0.2") as first, datagram_client(number) as second:
            first.send(b"I am here")
            with contextlib.ExitStack() as stack:
                others = [second]
                if has_ipv6():
                    others.append(stack.enter_context(datagram_client(number, "::1")))
                for other in others:
                    other.send(b"so am I")
                return [first.recv(100) for _ in others]

    assert set(blocking(client)) == {b"so am I"}
    assert not service.snapshot().drops


def test_the_rate(own):
    service = own(udp_rate=1)

    def client():
        with datagram_client(port_of(service, "udp")) as sock:
            sock.send(b"ab")
            sock.send(b"cd")
            return sock.recv(10), unanswered(sock)

    assert blocking(client) == (b"ba", True)
    assert service.snapshot().drops == {Reason.UDP_RATE: 1}


@needs_root
def test_low_ports_are_refused_unless_they_are_allowed(own):
    for allowed in (False, True):
        service = own(allow_low_source_ports=allowed)

        def client(number):
            with datagram_client(number, source=("127.0.0.1", 1017)) as sock:
                sock.send(b"ab")
                return unanswered(sock)

        assert blocking(client, port_of(service, "udp")) is not allowed
        assert service.snapshot().drops == ({} if allowed else {Reason.SOURCE_PORT_LOW: 1})
        pytest_twisted.blockon(service.stopService())


def test_an_exception_costs_one_datagram(own, logged_errors):
    class Fragile(Reverse):
        def datagramReceived(self, datagram, addr):
            if datagram == b"bad":
                raise RuntimeError("no good")
            super().datagramReceived(datagram, addr)

    service = own(Fragile)

    def client():
        with datagram_client(port_of(service, "udp")) as sock:
            sock.send(b"bad")
            sock.send(b"good")
            return sock.recv(10)

    assert blocking(client) == b"doog"
    assert "no good" in str(logged_errors.pop())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BlockingIOError(errno.EAGAIN, "full"), Reason.SEND_BUFFER_FULL),
        (OSError(errno.ENETUNREACH, "no route"), Reason.SEND_FAILED),
        (MessageLengthError("too long"), Reason.SEND_FAILED),
    ],
)
def test_what_cannot_be_sent_is_counted(error, reason):
    class Port:
        def write(self, datagram, addr):
            raise error

    counters = Counters()
    OwnTransport(Port(), counters).write(b"x", ("127.0.0.1", 7007))
    assert counters.drops == {reason: 1}


def test_a_stop_during_traffic(own):
    service = own()
    number = port_of(service, "udp")
    done = []

    def client():
        got = 0
        with datagram_client(number) as sock:
            sock.settimeout(0.3)
            try:
                while True:
                    sock.send(b"abc")
                    assert sock.recv(10) == b"cba"
                    got += 1
            except (ConnectionRefusedError, TimeoutError):
                return got

    from twisted.internet.threads import deferToThread

    deferToThread(client).addCallback(done.append)
    until(lambda: service.snapshot().datagrams > 100)
    pytest_twisted.blockon(service.stopService())
    until(lambda: done)
    assert done[0] >= 99


@pytest.mark.parametrize("name", [name for name in DATAGRAM if name != "portable"])
def test_another_engine_cannot_serve_it(name):
    with pytest.raises(EngineError, match=f"udp_engine='{name}' can only echo"):
        EchoService(0, datagram_protocol=Reverse, udp_engine=name)


def test_an_instance_will_not_do():
    with pytest.raises(TypeError, match="each socket gets its own"):
        EchoService(0, datagram_protocol=Reverse())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows cannot hand a socket to another process")
def test_an_inherited_socket(serve):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    number = sock.getsockname()[1]
    serve(None, inherited=[sock], datagram_protocol=Reverse)
    assert blocking(ask, number, b"abc") == b"cba"
