"""Connections that come and go: the engine does not busy-wait for the next one."""

from __future__ import annotations

import socket
import time

import pytest
from rigs.helpers import blocking, dial, port_of, read_exactly
from rigs.tcp_rig import engine_of, polled_of

from echobench.engines.tcp.pollers import READ


@pytest.fixture
def turn(serve, monkeypatch):
    """Give a function that serves one connection in one turn, and tells whether the engine then busy-waited."""
    service = serve(engine="readiness")
    polled, connections = polled_of(service), engine_of(service).connections
    waited = []
    monkeypatch.setattr(polled.spin, "wait", waited.append)
    monkeypatch.setattr(polled, "look", list)
    ours, theirs = socket.socketpair()

    def take(new):
        waited.clear()
        if new:
            ours.setblocking(False)
            connections.admit(ours.detach(), None)
        theirs.send(b"x")
        (fd,) = polled.watched - {polled._poller.fileno()}
        polled.serve([(fd, READ)], time.perf_counter_ns() + 10**10)
        assert theirs.recv(10) == b"x"
        return bool(waited)

    with theirs:
        yield take


def test_after_a_connection_has_come_it_goes_back_to_the_reactor_and_once_only(turn):
    assert [turn(new=True), turn(new=False), turn(new=False)] == [False, True, True]


def test_connections_that_come_and_go_are_served(serve):
    service = serve(engine="readiness")

    def cycles():
        for _ in range(30):
            with dial(port_of(service)) as sock:
                sock.sendall(b"x")
                assert read_exactly(sock, 1) == b"x"
                sock.shutdown(socket.SHUT_WR)
                assert sock.recv(1) == b""
        return True

    assert blocking(cycles)
