"""Servers with few connections: that they stay in the short loops, and that nobody else waits for them."""

from __future__ import annotations

import collections
import contextlib
import socket
import struct

import pytest
from rigs.helpers import blocking, dial, needs_linux, port_of, read_exactly, until
from rigs.rings import needs_completion
from twisted.internet import reactor

from echobench.engines.tcp.few import Few

pytestmark = needs_linux


@pytest.fixture(params=["readiness", pytest.param("completion", marks=needs_completion)])
def entered(request, serve, monkeypatch):
    """Give a function that serves, and returns the service and how often each short loop was begun."""
    begun = collections.Counter()

    def counted(name):
        real = getattr(Few, name)

        def begin(*args, **options):
            begun[name] += 1
            return real(*args, **options)

        monkeypatch.setattr(Few, name, begin)

    counted("in_turn")
    counted("one_by_one")
    return lambda **options: (serve(engine=request.param, spin="off", **options), begun)


def ask(sock, count):
    """Ask so often, each time after the answer, and not in the other's time."""
    for number in range(count):
        message = struct.pack("!I", number) * 8
        sock.sendall(message)
        assert blocking(read_exactly, sock, len(message)) == message


def test_a_server_that_is_asked_slowly_stays_in_it(entered):
    service, begun = entered()
    with dial(port_of(service)) as sock:
        ask(sock, 30)
        assert begun["one_by_one"]
        # Beside it the reactor has its turn: for the threads here, and for who comes.
        with dial(port_of(service)) as other:
            ask(other, 3)
            ask(sock, 3)
        sock.sendall(b"last")
        sock.shutdown(socket.SHUT_WR)
        assert blocking(read_exactly, sock, 4) == b"last"
        assert blocking(sock.recv, 1) == b""
    until(lambda: service.snapshot().open_connections == 0)
    assert service.snapshot().stream_bytes == (30 + 3 + 3) * 32 + 4


def test_delayed_calls_are_made_meanwhile(entered):
    service, begun = entered()
    called = []
    with dial(port_of(service)) as sock:
        for _ in range(1000):  # an engine whose slice of time is over goes back to the reactor first
            ask(sock, 1)
            if begun["one_by_one"]:
                break
        assert begun["one_by_one"]
        reactor.callLater(0.01, called.append, 1)
        until(lambda: called)
        ask(sock, 2)


def test_who_watches_for_idle_ones_is_told_of_each_message(entered):
    service, begun = entered(idle_timeout=60)
    with dial(port_of(service)) as sock:
        ask(sock, 20)
        assert begun["in_turn"]
    assert not begun["one_by_one"]


def test_several_are_served_in_turn_and_whoever_comes_or_goes(entered):
    service, begun = entered()
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(dial(port_of(service))) for _ in range(4)]
        for _ in range(10):
            for sock in socks:
                ask(sock, 1)
        assert begun["in_turn"]
        with dial(port_of(service)) as other:
            ask(other, 3)
        socks[0].sendall(b"last" * 100_000)
        socks[0].shutdown(socket.SHUT_WR)
        assert blocking(read_exactly, socks[0], 400_000) == b"last" * 100_000
        ask(socks[1], 3)
    until(lambda: service.snapshot().open_connections == 0)
    assert service.snapshot().stream_bytes == (40 + 3 + 3) * 32 + 400_000
