"""What every engine promises for datagrams, over real sockets: the same suite for each of them."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.helpers import (
    ask,
    blocking,
    both_families,
    datagram_client,
    forge,
    has_ipv6,
    needs_linux,
    needs_root,
    pattern,
    port_of,
    settle,
    unanswered,
    until,
)

from echobench import Reason


@both_families
@pytest.mark.parametrize("size", [0, 1, 512, 1472, 8192, 8193, 65507])
def test_sizes_come_back_whole(serve, udp_engine, host, size):
    service = serve(udp_engine=udp_engine)
    assert blocking(ask, port_of(service, "udp"), pattern(size), host) == pattern(size)


@given(data=st.binary(max_size=3000))
def test_any_datagram_comes_back_the_same(serve, udp_engine, data):
    service = serve(udp_engine=udp_engine)
    assert blocking(ask, port_of(service, "udp"), data) == data


def test_many_flows_get_their_own(serve, udp_engine):
    service = serve(udp_engine=udp_engine)
    port = port_of(service, "udp")

    def client():
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(datagram_client(port)) for _ in range(50)]
            for turn in range(4):
                for i, sock in enumerate(socks):
                    sock.send(b"%d of %d" % (i, turn))
            return [[sock.recv(100) for _ in range(4)] for sock in socks]

    assert blocking(client) == [[b"%d of %d" % (i, turn) for turn in range(4)] for i in range(50)]
    seen = service.snapshot()
    assert seen.datagrams == 200
    assert seen.datagram_bytes == sum(len(b"%d of %d" % (i, turn)) for i in range(50) for turn in range(4))


@needs_linux
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "127.9.8.7"])
def test_answers_from_the_address_that_was_asked(serve, udp_engine, host):
    """On one dual-stack socket, and on an IPv4 one; a connected client hears nobody else."""
    for interfaces in ((), ("0.0.0.0",)):
        service = serve(0, interfaces, udp_engine=udp_engine)
        assert blocking(ask, port_of(service, "udp"), b"who?", host) == b"who?"


@needs_root
@pytest.mark.parametrize("port", [1, 7, 19, 53, 1023])
def test_low_source_ports_get_nothing_on_loopback_too(serve, udp_engine, port):
    service = serve(udp_engine=udp_engine)

    def client():
        try:
            with datagram_client(port_of(service, "udp"), source=("127.0.0.1", port)) as sock:
                sock.send(b"loop?")
                return unanswered(sock)
        except OSError as error:
            pytest.skip(f"port {port} is taken on this host: {error}")

    assert blocking(client)
    assert service.snapshot().drops == {Reason.SOURCE_PORT_LOW: 1}
    assert service.snapshot().datagrams == 0


@needs_root
def test_low_source_ports_are_answered_if_that_is_wanted(serve, udp_engine):
    service = serve(udp_engine=udp_engine, allow_low_source_ports=True)

    def client():
        with datagram_client(port_of(service, "udp"), source=("127.0.0.1", 1022)) as sock:
            sock.send(b"me")
            return sock.recv(10)

    assert blocking(client) == b"me"


def test_our_own_number_gets_nothing(serve, udp_engine):
    """A server like us, on another address, as the source."""
    service = serve(0, ("127.0.0.1",), udp_engine=udp_engine)
    port = port_of(service, "udp")

    def client():
        with datagram_client(port, source=("127.0.0.2", port)) as sock:
            sock.send(b"loop?")
            return unanswered(sock)

    assert blocking(client)
    assert service.snapshot().drops == {Reason.SOURCE_PORT_OWN: 1}


@needs_root
@needs_linux
def test_forged_sources_get_nothing(serve, udp_engine):
    """Raw packets, as an attacker sends them: from port 0, from a low port of ours, from ourselves."""
    service = serve(0, ("127.0.0.1",), udp_engine=udp_engine)
    port = port_of(service, "udp")
    for source in ((("127.0.0.1", 0)), ("127.0.0.1", 7), ("127.0.0.1", 1023), ("127.0.0.1", port)):
        forge(source, ("127.0.0.1", port))
    until(lambda: sum(service.snapshot().drops.values()) == 4)
    assert service.snapshot().drops == {
        Reason.SOURCE_PORT_ZERO: 1,
        Reason.SOURCE_PORT_LOW: 2,
        Reason.SOURCE_PORT_OWN: 1,
    }
    assert service.snapshot().datagrams == 0


@needs_root
@needs_linux
def test_a_loop_between_two_servers_is_bounded_by_the_rate(serve, udp_engine):
    """What the port rules cannot tell: two echo servers on two high ports, set upon each other by one packet."""
    rate = 40
    first = serve(0, ("127.0.0.1",), tcp=False, udp_engine=udp_engine, udp_rate=rate)
    second = serve(0, ("127.0.0.1",), tcp=False, udp_engine=udp_engine)
    began = time.monotonic()
    forge(("127.0.0.1", port_of(second, "udp")), ("127.0.0.1", port_of(first, "udp")))
    until(lambda: first.snapshot().drops)
    elapsed = time.monotonic() - began
    assert first.snapshot().datagrams <= rate * elapsed + rate
    assert first.snapshot().drops == {Reason.UDP_RATE: 1}, "refused once, the loop has ended"


@needs_root
@needs_linux
def test_without_a_rate_that_loop_goes_on(serve, udp_engine):
    """Or the test above would prove nothing."""
    first = serve(0, ("127.0.0.1",), tcp=False, udp_engine=udp_engine)
    second = serve(0, ("127.0.0.1",), tcp=False, udp_engine=udp_engine)
    forge(("127.0.0.1", port_of(second, "udp")), ("127.0.0.1", port_of(first, "udp")))
    until(lambda: first.snapshot().datagrams > 500)


@pytest.mark.slow
def test_a_rate_is_for_each_source(serve, udp_engine):
    service = serve(0, ("127.0.0.1",), udp_engine=udp_engine, udp_rate=5)
    port = port_of(service, "udp")

    def client(source):
        with datagram_client(port, source=(source, 0)) as sock:
            for _ in range(20):
                sock.send(b"x")
            return sum(not unanswered(sock, 0.1) for _ in range(20))

    for source in ("127.0.0.1", "127.0.0.3"):
        began = time.monotonic()
        answers = blocking(client, source)
        assert 5 <= answers <= 5 + 5 * (time.monotonic() - began)
    assert service.snapshot().drops[Reason.UDP_RATE] > 20


@needs_linux
def test_what_the_kernel_drops_is_counted(serve, udp_engine):
    """A receive buffer that overflows while we do not look."""
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine=udp_engine, receive_buffer=4096)
    with datagram_client(port_of(service, "udp")) as sock:
        for _ in range(200):  # in the reactor's own thread: it cannot read meanwhile
            sock.send(bytes(1000))
        until(lambda: service.snapshot().datagrams)
        settle(0.05)
        seen = service.snapshot()
    assert seen.kernel_drops > 100
    assert seen.datagrams + seen.kernel_drops == 200


@needs_linux
def test_kernel_drops_are_still_known_after_the_stop(serve, udp_engine):
    import pytest_twisted

    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine=udp_engine, receive_buffer=4096)
    with datagram_client(port_of(service, "udp")) as sock:
        for _ in range(200):
            sock.send(bytes(1000))
    before = service.snapshot().kernel_drops
    pytest_twisted.blockon(service.stopService())
    assert service.snapshot().kernel_drops >= before > 0


def test_a_flood_of_empty_datagrams_leaves_the_reactor_free(serve, udp_engine):
    """Twisted's own port reads until it has its fill of bytes, and of empty datagrams it never has."""
    from twisted.internet import reactor

    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine=udp_engine)
    port = port_of(service, "udp")
    over = threading.Event()

    def flood():
        with datagram_client(port) as sock:
            sock.setblocking(False)
            sent = 0
            while not over.is_set() and sent < 1_000_000:
                with contextlib.suppress(OSError):
                    sent += 1
                    sock.send(b"")

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        calls = []
        for i in range(10):
            reactor.callLater(0.01 * i, calls.append, i)
        until(lambda: len(calls) == 10)
    finally:
        over.set()
        thread.join()
    assert service.snapshot().datagrams > 100


def test_a_closed_client_harms_nobody(serve, udp_engine):
    """ICMP port unreachable comes back for each of these answers."""
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine=udp_engine)
    port = port_of(service, "udp")
    # Connected first: a port of its own, so that no answer to those who left can reach it.
    with datagram_client(port) as stays:
        for _ in range(50):
            with datagram_client(port) as sock:
                sock.send(b"and gone")
        stays.send(b"still there")
        assert blocking(stays.recv, 64) == b"still there"


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
def test_one_port_number_for_both_families_and_both_transports(serve, udp_engine):
    service = serve(udp_engine=udp_engine)
    ports = {address.port for _, address in service.addresses()}
    assert len(ports) == 1
    port = ports.pop()
    for host in ("127.0.0.1", "::1"):
        assert blocking(ask, port, b"udp", host) == b"udp"


def test_a_second_server_is_refused(serve, udp_engine):
    from echobench import BindError

    first = serve(0, ("127.0.0.1",), tcp=False, udp_engine=udp_engine)
    port = port_of(first, "udp")
    with pytest.raises(BindError, match=f"UDP port {port} on 127.0.0.1 is in use"):
        serve(port, ("127.0.0.1",), tcp=False, udp_engine=udp_engine)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sneaky:
        sneaky.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            sneaky.bind(("127.0.0.1", port))
