"""TLS over the same Echo: names verified, nothing lost before the goodbye, no peer waited for without end."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import time

import pytest
import pytest_twisted
from rigs.fakes import Transport
from rigs.helpers import blocking, dial, fill, needs_linux, pattern, port_of, read_to_end, settle, until
from rigs.tls_rig import wrap
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from echobench import EchoFactory, Reason
from echobench.engines.portable.tls import EchoTLSFactory
from echobench.server.certificate import load_certificate

MIB = 1 << 20


def exchange_tls(port, certified, data):
    """Send it piece by piece, read each back, and say goodbye. (One thread: an SSL object must not be in two.)"""
    with wrap(dial(port), certified, suppress_ragged_eofs=False) as sock:
        got = b""
        for at in range(0, len(data), 30_000):
            piece = data[at : at + 30_000]
            sock.sendall(piece)
            got += read_some(sock, len(piece))
        sock.unwrap().close()
        return got


def read_some(sock, size):
    got = bytearray()
    while len(got) < size and (data := sock.recv(1 << 16)):
        got += data
    return bytes(got)


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 5_000_000])
def test_echoes(serve_tls, certified, size):
    service = serve_tls()
    assert blocking(exchange_tls, port_of(service, "tls"), certified, pattern(size)) == pattern(size)
    until(lambda: service.snapshot().open_connections == 0)
    assert service.snapshot().stream_bytes == size


class Client(Protocol):
    """Says something, and ends when it has come back."""

    got = b""

    def connectionMade(self):
        self.transport.write(b"through service-identity")

    def dataReceived(self, data):
        self.got += data
        if self.got == b"through service-identity":
            self.transport.loseConnection()

    def connectionLost(self, reason=connectionDone):
        self.factory.ended.append((self.got, reason))


def verified_client(port, certified, name):
    from twisted.internet import reactor

    options = optionsForClientTLS(name, trustRoot=Certificate.loadPEM(certified.certificate.read_bytes()))
    factory = Factory.forProtocol(Client)
    factory.noisy = False
    factory.ended = []
    endpoint = wrapClientTLS(options, HostnameEndpoint(reactor, "127.0.0.1", port))
    pytest_twisted.blockon(endpoint.connect(factory))
    until(lambda: factory.ended)
    return factory.ended[0]


def test_a_client_that_verifies_the_name(serve_tls, certified):
    got, _ = verified_client(port_of(serve_tls(), "tls"), certified, "echo.example")
    assert got == b"through service-identity"


def test_a_client_that_verifies_the_address(serve_tls, certified):
    got, _ = verified_client(port_of(serve_tls(), "tls"), certified, "127.0.0.1")
    assert got == b"through service-identity"


def test_a_client_that_wants_another_name_gets_nothing(serve_tls, certified):
    got, reason = verified_client(port_of(serve_tls(), "tls"), certified, "somebody.else")
    assert got == b""
    assert "somebody.else" in str(reason.value)


@pytest.mark.parametrize("size", [1, 1000, 63_000])
def test_what_came_together_with_the_goodbye_comes_back(serve_tls, certified, size):
    """Data and close_notify in one segment; then the echo, whole, then the server's close_notify."""
    service = serve_tls()

    def client():
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=str(certified.certificate))
        tls = context.wrap_bio(incoming, outgoing, server_hostname="echo.example")
        with dial(port_of(service, "tls")) as sock:
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    sock.sendall(outgoing.read())
                    incoming.write(sock.recv(1 << 16))
            sock.sendall(outgoing.read())
            tls.write(pattern(size))
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.unwrap()
            sock.sendall(outgoing.read())
            incoming.write(read_to_end(sock))
            return b"".join(iter(lambda: read_or_nothing(tls), b""))

    assert blocking(client) == pattern(size)


def read_or_nothing(tls):
    try:
        return tls.read(1 << 16)
    except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
        return b""


def test_a_goodbye_is_told_at_once_and_has_a_deadline(certified):
    """Also while the transport still holds what the peer does not take: see the module about Twisted's own."""
    clock = Clock()
    factory = EchoFactory(reactor=clock, close_timeout=5)
    server = EchoTLSFactory(load_certificate(str(certified.certificate), str(certified.key)), factory, clock)
    protocol = server.buildProtocol(None)
    transport = Transport()
    transport.disconnecting = False
    protocol.makeConnection(transport)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=str(certified.certificate))
    client = context.wrap_bio(incoming, outgoing, server_hostname="echo.example")
    for _ in range(3):
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        if said := outgoing.read():
            protocol.dataReceived(said)
        incoming.write(transport.value()[incoming_seen(transport) :])
    client.write(pattern(50_000))
    with contextlib.suppress(ssl.SSLWantReadError):
        client.unwrap()
    protocol.dataReceived(outgoing.read())
    (echo,) = factory.connections
    assert echo.closing
    assert factory.counters.stream_bytes == 50_000
    clock.advance(5)
    assert factory.counters.drops == {Reason.STUCK: 1}
    assert transport.aborting
    protocol.connectionLost(Failure(ConnectionDone()))


def incoming_seen(transport):
    """How much of what the transport wrote was taken before."""
    seen = getattr(transport, "seen", 0)
    transport.seen = len(transport.value())
    return seen


def test_peers_that_do_not_read_are_paused(serve_tls, certified):
    service = serve_tls()

    def client():
        with wrap(dial(port_of(service, "tls")), certified) as sock:
            sent = fill(sock, 64 * MIB)
            assert sent < 64 * MIB, "the server read on"

    blocking(client)
    until(lambda: service.snapshot().open_connections == 0)


def test_a_peer_that_said_goodbye_and_takes_nothing_is_ended(serve_tls, certified):
    service = serve_tls(close_timeout=0.3)

    def client():
        sock = dial(port_of(service, "tls"), receive_buffer=4096)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
        tls = wrap(sock, certified)
        tls.settimeout(0.3)
        sent = 0
        with contextlib.suppress(TimeoutError, ssl.SSLError):
            while sent < 64 * MIB:
                sent += tls.send(bytes(16384))
        with contextlib.suppress(TimeoutError, ssl.SSLError, OSError):
            tls.unwrap()
        return tls

    sock = blocking(client)
    settle(0.1)
    pytest_twisted.blockon(service.stopService())
    assert service.snapshot().open_connections == 0
    sock.close()


def test_caps_hold_for_tls_too(serve_tls, certified):
    service = serve_tls(max_connections=1)

    def client():
        port = port_of(service, "tls")
        with wrap(dial(port), certified) as inside, dial(port) as over:
            assert over.recv(1) == b""
            inside.sendall(b"x")
            assert inside.recv(1) == b"x"

    blocking(client)
    assert service.snapshot().drops == {Reason.MAX_CONNECTIONS: 1}


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x00\x05hello", bytes(1000)])
def test_who_speaks_no_tls_is_ended_without_a_traceback(serve_tls, noise):
    service = serve_tls()

    def client():
        with dial(port_of(service, "tls")) as sock:
            sock.sendall(noise)
            with contextlib.suppress(ConnectionResetError):
                read_to_end(sock)

    blocking(client)
    until(lambda: service.snapshot().open_connections == 0)


def test_a_silent_handshake_is_idle(serve_tls):
    service = serve_tls(idle_timeout=0.2)

    def client():
        with dial(port_of(service, "tls")) as sock, contextlib.suppress(ConnectionResetError):
            assert read_to_end(sock) == b""

    blocking(client)
    until(lambda: service.snapshot().open_connections == 0)
    assert service.snapshot().drops == {Reason.IDLE: 1}


def test_a_stop_waits_for_no_goodbye(serve_tls, certified):
    service = serve_tls(close_timeout=60)

    def client():
        sock = wrap(dial(port_of(service, "tls")), certified)
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        return sock

    socks = [blocking(client) for _ in range(3)]
    began = time.monotonic()
    pytest_twisted.blockon(service.stopService())
    assert time.monotonic() - began < 20
    assert service.snapshot().drops == {}
    for sock in socks:
        assert blocking(sock.recv, 10) == b"", "it had our goodbye"
        sock.close()


def test_a_connection_cut_off_in_mid_stream(serve_tls, certified):
    service = serve_tls()

    def client():
        sock = wrap(dial(port_of(service, "tls")), certified)
        sock.sendall(b"x" * 100_000)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()

    blocking(client)
    until(lambda: service.snapshot().open_connections == 0)


@needs_linux
def test_urgent_bytes_are_part_of_a_record(serve_tls, certified):
    """Without them no record after the first would be whole."""
    port = port_of(serve_tls(), "tls")

    def client():
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=str(certified.certificate))
        tls = context.wrap_bio(incoming, outgoing, server_hostname="echo.example")
        with dial(port) as sock:

            def send():
                if data := outgoing.read():
                    sock.send(data, socket.MSG_OOB)  # the last byte is the urgent one

            def whatever_comes(call):
                while True:
                    try:
                        result = call()
                    except ssl.SSLWantReadError:
                        send()
                        incoming.write(sock.recv(1 << 16))
                    else:
                        send()
                        return result

            whatever_comes(tls.do_handshake)
            got = []
            for i in range(3):
                tls.write(b"record %d" % i)
                got.append(whatever_comes(lambda: tls.read(100)))
            return got

    assert blocking(client) == [b"record 0", b"record 1", b"record 2"]


class Counting(Transport):
    """Counts what is written to it."""

    disconnecting = False
    writes = 0

    def write(self, data):
        self.writes += 1
        super().write(data)


def shaken(certified, factory, clock):
    """A connection after its handshake, without sockets: the server's protocol, its transport, and the client."""
    server = EchoTLSFactory(load_certificate(str(certified.certificate), str(certified.key)), factory, clock)
    protocol, transport = server.buildProtocol(None), Counting()
    protocol.makeConnection(transport)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=str(certified.certificate))
    client = context.wrap_bio(incoming, outgoing, server_hostname="echo.example")
    for _ in range(3):
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        if said := outgoing.read():
            protocol.dataReceived(said)
        incoming.write(transport.value()[incoming_seen(transport) :])
    return protocol, transport, client, incoming, outgoing


@pytest.mark.parametrize("hidden", [None, "_something"])
def test_a_read_of_many_records_is_answered_by_one_write(certified, monkeypatch, hidden):
    """Where Twisted has another name for what that needs, it is answered all the same, by more writes."""
    clock = Clock()
    factory = EchoFactory(reactor=clock)
    if hidden:
        monkeypatch.setattr("echobench.engines.portable.prompt_tls.PRIVATE", (hidden,))
    protocol, transport, client, incoming, outgoing = shaken(certified, factory, clock)
    before, reads = transport.writes, factory.counters.reads
    client.write(pattern(60_000))  # four records
    protocol.dataReceived(outgoing.read())
    incoming.write(transport.value()[incoming_seen(transport) :])
    assert b"".join(iter(lambda: read_or_nothing(client), b"")) == pattern(60_000)
    if hidden:
        assert transport.writes - before > 1
    else:
        assert (transport.writes - before, factory.counters.reads - reads) == (1, 1)
    protocol.connectionLost(Failure(ConnectionDone()))


def test_records_in_pieces_of_any_size(certified):
    clock = Clock()
    factory = EchoFactory(reactor=clock)
    protocol, transport, client, incoming, outgoing = shaken(certified, factory, clock)
    for length in (1, 16384, 16385, 50_000):
        client.write(pattern(length))
    sent, answer = outgoing.read(), b""
    for step in (1, 4, 5, 6, 100, 16_000, 1 << 20):
        protocol.dataReceived(sent[:step])
        sent = sent[step:]
        incoming.write(transport.value()[incoming_seen(transport) :])
        answer += b"".join(iter(lambda: read_or_nothing(client), b""))
    assert answer == b"".join(pattern(length) for length in (1, 16384, 16385, 50_000))
    protocol.connectionLost(Failure(ConnectionDone()))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_client_that_changes_its_keys_and_asks_for_ours(serve_tls, certified):
    """A record without plaintext, to which OpenSSL has an answer (RFC 8446, 4.6.3)."""
    port = port_of(serve_tls(), "tls")

    def client():
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", certified.certificate, "-brief"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT) as process:
            got = b""
            for said, answer in ((b"K\n", b"KEYUPDATE"), (b"after that\n", b"after that\n")):  # one read each
                process.stdin.write(said)
                process.stdin.flush()
                while answer not in got and (data := process.stdout.read1()):
                    got += data
            process.terminate()
            return got

    assert b"after that\n" in blocking(client)
