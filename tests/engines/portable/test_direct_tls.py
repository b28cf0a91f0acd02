"""OpenSSL at the socket itself, and back in memory: no byte is lost on either way, nor between them."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct

import pytest
from OpenSSL import SSL
from rigs.helpers import blocking, dial, pattern, port_of, read_to_end, until
from rigs.tls_rig import wrap
from twisted.internet.error import ConnectionDone, ConnectionLost

from echobench.engines.portable.direct_tls import ALONE
from echobench.engines.portable.openssl import BulkCalls
from echobench.engines.portable.tls import EchoTLSFactory, EchoTLSTransport


@pytest.fixture
def connections(monkeypatch):
    """The server's TLS transports, as they are made."""
    made = []

    class Noted(EchoTLSTransport):
        def __init__(self, *args):
            super().__init__(*args)
            self.reasons = []
            made.append(self)

        def connectionLost(self, reason):
            self.reasons.append((self._reason or reason).type)
            super().connectionLost(reason)
            assert self._direct is None

    monkeypatch.setattr(EchoTLSFactory, "protocol", Noted)
    return made


def one_by_one(sock, times=ALONE + 2, size=100):
    """Ask and be answered, until OpenSSL has the server's socket."""
    for number in range(times):
        sock.sendall(pattern(size + number))
        assert read(sock, size + number) == pattern(size + number)


def read(sock, size):
    got = bytearray()
    while len(got) < size and (data := sock.recv(1 << 16)):
        got += data
    return bytes(got)


def ended(service, connection):
    """Wait for the end; nothing of ours is left at the transport."""
    until(lambda: service.snapshot().open_connections == 0)
    assert connection._direct is None
    assert "doRead" not in vars(connection.transport)


def test_messages_that_come_one_by_one_are_read_at_the_socket(serve_tls, certified, connections):
    service = serve_tls()

    def client():
        with wrap(dial(port_of(service, "tls")), certified, suppress_ragged_eofs=False) as sock:
            one_by_one(sock)
            had = connections[0]._direct is not None
            sock.unwrap().close()  # answered by the server's own goodbye
            return had

    assert blocking(client)
    ended(service, connections[0])
    assert connections[0].reasons == [ConnectionDone]


def test_a_peer_that_does_not_read_gets_it_all_later(serve_tls, certified, connections):
    """Then the socket takes no more in the middle of a record, and the rest of it follows from memory."""
    service, size = serve_tls(), 8 << 20

    def client():
        with wrap(dial(port_of(service, "tls"), receive_buffer=1 << 14), certified) as sock:
            one_by_one(sock, size=16_000)
            before = connections[0]._direct
            sock.setblocking(False)
            sent, got, waiting = 0, bytearray(), pattern(size)
            while sent < size:
                with contextlib.suppress(ssl.SSLWantWriteError):
                    while sent < size:
                        sent += sock.send(waiting[sent : sent + 16_000])
                got += some(sock)
            sock.settimeout(30)
            return before, bytes(got) + read(sock, size - len(got))

    before, got = blocking(client)
    assert before is not None
    assert got == pattern(size)


def some(sock):
    """Read a little, once nothing more can be sent."""
    select.select([sock], [], [], 0.05)
    with contextlib.suppress(ssl.SSLWantReadError):
        return sock.recv(1 << 13)
    return b""


@pytest.mark.parametrize(("reset", "reason"), [(False, ConnectionDone), (True, ConnectionLost)])
def test_a_peer_that_is_gone_without_a_goodbye(serve_tls, certified, connections, reset, reason):
    service = serve_tls()

    def client():
        sock = wrap(dial(port_of(service, "tls")), certified)
        one_by_one(sock)
        had = connections[0]._direct is not None
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        return had

    assert blocking(client)
    ended(service, connections[0])
    assert connections[0].reasons == [reason]


def test_what_is_no_tls_ends_the_connection(serve_tls, certified, connections):
    service = serve_tls()

    def client():
        tls = wrap(dial(port_of(service, "tls")), certified)
        one_by_one(tls)
        had = connections[0]._direct is not None
        with socket.socket(fileno=tls.detach()) as sock:
            sock.settimeout(20)
            sock.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))  # a record that nobody sealed
            return had, read_to_end(sock)

    had, alert = blocking(client)
    assert had
    assert alert[:1] == b"\x17", "an alert looks like data (RFC 8446, 5.2)"
    ended(service, connections[0])
    assert connections[0].reasons == [SSL.Error]


def test_a_stop_leaves_nothing_unsaid(serve_tls, certified, connections):
    service = serve_tls()
    from twisted.internet import reactor

    def client():
        with wrap(dial(port_of(service, "tls")), certified, suppress_ragged_eofs=False) as sock:
            one_by_one(sock)
            had = connections[0]._direct is not None
            reactor.callFromThread(service.stopService)
            return had, sock.recv(100)  # b"" is a goodbye; an end without one raises

    assert blocking(client) == (True, b"")
    ended(service, connections[0])


def test_without_openssl_s_functions_it_stays_in_memory(serve_tls, certified, connections, monkeypatch):
    monkeypatch.setattr("echobench.engines.portable.openssl._OF_SOCKETS", ("SSL_set_something",))
    service = serve_tls()

    def client():
        with wrap(dial(port_of(service, "tls")), certified) as sock:
            one_by_one(sock)
            return connections[0]._direct

    assert blocking(client) is None


def test_a_memory_that_holds_something_is_not_left(certified):
    """What was put there would be lost."""
    context = SSL.Context(SSL.TLS_METHOD)
    one, two = SSL.Connection(context, None), socket.socket()
    with two:
        one.set_accept_state()
        bulk = BulkCalls(one)
        one.bio_write(b"\x16\x03\x01")
        assert not bulk.attach(two.fileno())
        assert one._into_ssl is not None
        with pytest.raises(SSL.WantReadError):
            one.do_handshake()  # takes it
        assert bulk.attach(two.fileno())
        assert one._into_ssl is one._from_ssl is None
        bulk.detach()
        assert one.bio_write(b"\x01") == 1
