"""Connections with faults, over real sockets and TLS."""

from __future__ import annotations

import socket
import time

import pytest
import pytest_twisted
from rigs.helpers import (
    LIMIT,
    blocking,
    dial,
    exchange,
    fill,
    needs_linux,
    pattern,
    port_of,
    read_exactly,
    read_to_end,
    reset,
    settle,
    until,
)
from rigs.tls_rig import wrap

from echobench.engines.portable.faulty.stream import HIGH

LOOPBACK = ("127.0.0.1",)
MIB = 1 << 20


def ended(service):
    until(lambda: service.snapshot().open_connections == 0)


@pytest.mark.parametrize(
    "rule", ["delay=30ms", "jitter=20ms", "rate=20MB/s", "stall=20ms/100ms", "delay=normal(20ms,20ms)"]
)
def test_a_large_exchange_with_a_half_close(serve, rule):
    service = serve(0, LOOPBACK, faults=[f"{rule},seed=1"])
    data = pattern(MIB)
    assert blocking(exchange, port_of(service), [data]) == data
    ended(service)
    assert service.snapshot().drops == {}


@pytest.mark.parametrize("size", [1, 1000, 300_000])
def test_close_after_exactly_so_many_bytes_and_in_good_order(serve, size):
    """The client sends more than is answered, and sees an end of file after the last answer, no reset."""
    service = serve(0, LOOPBACK, faults=[f"close-after={size},seed=1"], close_timeout=5)

    def client():
        with dial(port_of(service)) as sock:
            sock.sendall(pattern(size + 10_000))
            got = read_to_end(sock)
            sock.shutdown(socket.SHUT_WR)
            return got

    assert blocking(client) == pattern(size)
    ended(service)
    assert service.snapshot().faults == {"close-after": 1}


def test_a_client_sees_a_reset(serve):
    service = serve(0, LOOPBACK, faults=["reset=100%,seed=1"])

    def client():
        with dial(port_of(service)) as sock:
            sock.sendall(b"x")
            with pytest.raises(ConnectionResetError):
                sock.recv(1)

    blocking(client)
    ended(service)
    assert service.snapshot().faults == {"reset": 1}


@needs_linux
def test_urgent_bytes_keep_their_place(serve):
    service = serve(0, LOOPBACK, faults=["delay=10ms,seed=1"])

    def client():
        with dial(port_of(service)) as sock:
            sock.send(b"a")
            sock.send(b"!", socket.MSG_OOB)
            sock.send(b"b")
            return read_exactly(sock, 3)

    assert blocking(client) == b"a!b"


def test_the_stop_waits_for_delayed_answers(serve):
    service = serve(0, LOOPBACK, faults=["delay=300ms,seed=1"], close_timeout=LIMIT)
    with blocking(dial, port_of(service)) as sock:
        sock.sendall(b"late")
        until(lambda: service.snapshot().stream_bytes == 4)
        stopped = service.stopService()
        assert blocking(read_to_end, sock) == b"late"
        sock.close()
        pytest_twisted.blockon(stopped)
    assert service.snapshot().open_connections == 0


def test_the_stop_does_not_wait_beyond_the_close_time_out(serve):
    service = serve(0, LOOPBACK, faults=["delay=1000s,seed=1"], close_timeout=0.2)
    with blocking(dial, port_of(service)) as sock:
        sock.sendall(b"never")
        until(lambda: service.snapshot().stream_bytes == 5)
        began = time.monotonic()
        pytest_twisted.blockon(service.stopService())
        assert time.monotonic() - began < 10
    assert service.snapshot().faults == {"delay": 1, "discarded": 1}


def test_a_peer_that_vanishes_while_its_answer_waits(serve):
    service = serve(0, LOOPBACK, faults=["delay=1000s,seed=1"])
    sock = blocking(dial, port_of(service))
    sock.sendall(b"x")
    until(lambda: service.snapshot().stream_bytes == 1)
    reset(sock)
    ended(service)
    assert service.snapshot().faults == {"delay": 1, "discarded": 1}


def test_a_crowd_that_does_not_read_is_held_within_bounds(serve):
    """Each connection has what is in the line, in the transport, and in the kernel; and then its client waits."""
    service = serve(0, LOOPBACK, faults=["delay=50ms,seed=1"])
    with blocking(dial, port_of(service), receive_buffer=65536) as sock:
        sent = blocking(fill, sock, 64 * MIB)
        assert sent < 64 * MIB, "reading stops when the peer does not read"
        (echo,) = service._engines["tcp"].factory.connections
        assert echo._flow.held <= HIGH + (1 << 17)
        sock.shutdown(socket.SHUT_WR)
        assert blocking(read_to_end, sock) == pattern(sent)
    ended(service)


def test_over_tls(serve_tls, certified):
    service = serve_tls(faults=["delay=50ms,duplicate=100%,seed=1"])

    def client():
        with wrap(dial(port_of(service, "tls")), certified, suppress_ragged_eofs=False) as sock:
            sock.sendall(b"x" * 1000)
            got = b""
            while len(got) < 2000:
                got += sock.recv(1 << 16)
            sock.unwrap().close()
            return got

    began = time.monotonic()
    assert blocking(client) == b"x" * 2000
    assert time.monotonic() - began >= 0.05
    ended(service)


def test_a_goodbye_over_tls_ends_both_directions(serve_tls, certified):
    """What still waits then is lost, and counted."""
    service = serve_tls(faults=["delay=1000s,seed=1"], close_timeout=LIMIT)

    def client():
        with wrap(dial(port_of(service, "tls")), certified) as sock:
            sock.sendall(b"x")
            sock.unwrap().close()

    blocking(client)
    ended(service)
    assert service.snapshot().faults == {"delay": 1, "discarded": 1}


@pytest.mark.parametrize(
    "rule", ["reset=100%,seed=1", "close-after=3,seed=1", "drop=100%,seed=1", "rate=100kB/s,seed=1"]
)
def test_the_stop_over_tls(serve_tls, certified, rule):
    service = serve_tls(faults=[rule], close_timeout=2)

    def client():
        sock = wrap(dial(port_of(service, "tls")), certified)
        sock.sendall(b"hello")
        return sock

    sock = blocking(client)
    until(lambda: service.snapshot().stream_bytes)
    settle(0.05)
    pytest_twisted.blockon(service.stopService())
    sock.close()
    assert service.snapshot().open_connections == 0
