"""Connections that the kernel keeps until they have something to say (TCP_DEFER_ACCEPT)."""

from __future__ import annotations

import socket

import pytest
from rigs.helpers import blocking, dial, needs_linux, port_of, read_exactly, read_to_end, settle, until
from rigs.rings import needs_completion

from echobench import BindError
from echobench.sockets import defer_accept

LONG = 1000  # seconds, which no pause of the machine lasts


@needs_linux
@pytest.mark.parametrize("engine", [pytest.param("completion", marks=needs_completion), "readiness", "portable"])
def test_a_connection_comes_with_its_first_byte(serve, engine):
    service = serve(engine=engine, defer_accept=LONG)
    with dial(port_of(service)) as silent, dial(port_of(service)) as sock:
        sock.sendall(b"first")
        assert blocking(read_exactly, sock, 5) == b"first"
        assert service.snapshot().connections == 1, "the other one came before it"
        silent.sendall(b"x")
        assert blocking(read_exactly, silent, 1) == b"x"
        until(lambda: service.snapshot().connections == 2)


@needs_linux
def test_an_end_of_file_is_enough(serve):
    service = serve(defer_accept=LONG)
    with dial(port_of(service)) as sock:
        sock.shutdown(socket.SHUT_WR)
        assert blocking(read_to_end, sock) == b""


@needs_linux
def test_a_silent_client_is_accepted_after_its_time(serve):
    service = serve(defer_accept=1)
    with dial(port_of(service)):
        until(lambda: service.snapshot().connections == 1)


@needs_linux
def test_without_it_a_silent_client_is_accepted(serve):
    service = serve()
    with dial(port_of(service)):
        until(lambda: service.snapshot().connections == 1)


@needs_linux
def test_a_stop_waits_for_nobody_who_is_deferred(serve):
    service = serve(defer_accept=LONG)
    with dial(port_of(service)):
        settle()
        stopped = service.stopService()
        until(lambda: stopped.called)


@needs_linux
def test_a_tls_port_defers_too(serve_tls):
    service = serve_tls(defer_accept=LONG)
    with dial(port_of(service, "tls")), dial(port_of(service, "tls")) as sock:
        sock.sendall(b"no TLS\r\n")  # is accepted, and ended
        blocking(read_to_end, sock)
        until(lambda: service.snapshot().drops)
        assert sum(service.snapshot().drops.values()) == 1, "the silent one has not failed: it has not come"


def test_a_system_that_cannot(serve, monkeypatch):
    monkeypatch.delattr(socket, "TCP_DEFER_ACCEPT", raising=False)
    with pytest.raises(BindError, match=r"leave defer_accept out"):
        serve(defer_accept=3)


@needs_linux
def test_a_unix_socket_has_no_handshake(tmp_path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
        sock.listen()
        defer_accept(sock, 3)


@needs_linux
def test_a_socket_that_refuses():
    with socket.socket(type=socket.SOCK_DGRAM) as sock, pytest.raises(BindError, match="cannot be deferred"):
        defer_accept(sock, 3)
