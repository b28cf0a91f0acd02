"""Peers and engines for the tests of what goes wrong over TCP."""

from __future__ import annotations

import contextlib
import os
import socket

import pytest
from rigs.helpers import blocking, dial, port_of, read_exactly, until
from rigs.rings import kernel_objects, needs_completion
from rigs.tcp_states import watching

from echobench.engines.tcp import company, ring_trial, ringed
from echobench.engines.tcp.batches import Batches
from echobench.engines.tcp.columns import PLAIN
from echobench.kernel.ring import Ring

MIB = 1 << 20
HELD = 256 << 10
FIXED = 1 << 16
SOAK = float(os.environ.get("ECHOBENCH_SOAK", "1.5"))


@pytest.fixture
def no_ring_nor_poller_stays():
    before = kernel_objects()
    yield
    until(lambda: kernel_objects() == before)


@pytest.fixture
def watched_states(monkeypatch):
    """Hold every transition of every connection against the table, and look for order after every turn."""
    with watching(monkeypatch) as watch:
        yield watch


def by_ring_alone(monkeypatch):
    """Have the completion engine receive by its ring as soon as it can, however few connections there are."""
    monkeypatch.setattr(ringed, "FEW_CONNECTIONS", 0)
    monkeypatch.setattr(ringed, "GO_OVER", 1 << 20)
    monkeypatch.setattr(ringed, "CROWD", 0)
    monkeypatch.setattr(company, "ENOUGH", 0)
    monkeypatch.setattr(company, "LONG", 1 << 60)


def restless(monkeypatch):
    """Have connections go over to the ring as soon as two are ready at a time, and come back after three messages."""
    monkeypatch.setattr(ringed, "FEW_CONNECTIONS", 0)
    monkeypatch.setattr(ringed, "CROWD", 2)
    for name, value in {"CROWD": 2, "ENOUGH": 1, "LONG": 3}.items():
        monkeypatch.setattr(company, name, value)


@pytest.fixture(params=["readiness", pytest.param("completion", marks=needs_completion)])
def fast(request, monkeypatch):
    """Name each fast engine in turn."""
    by_ring_alone(monkeypatch)
    return request.param


def engine_of(service):
    return service._engines["tcp"]


def polled_of(service):
    """The part of the engine that has the poller, whichever of the fast engines it is."""
    mover = engine_of(service).mover
    return getattr(mover, "polled", mover)


def held(service):
    """How much the engine holds for each peer that does not read."""
    return [len(odd.unsent) for odd in engine_of(service).connections.odd.values()]


def in_the_ring(service, socks):
    """Pass bytes through each connection until the completion engine receives on all of them by its ring.

    It takes some over with each turn, and how many turns there are is the machine's to say.
    """
    engine = engine_of(service)
    for turn in range(20):
        for sock in socks:
            sock.sendall(b"!")
        assert blocking(lambda: [read_exactly(sock, 1) for sock in socks]) == [b"!"] * len(socks)
        if turn and (engine.name != "completion" or len(engine.mover.lanes().receiving) >= len(socks)):
            return
    pytest.fail(f"{len(engine.mover.lanes().receiving)} of {len(socks)} are in the ring")


@pytest.fixture
def connect(request):
    """Connect many at once, in the reactor's thread: the server sees them together."""
    with contextlib.ExitStack() as stack:

        def many(service, number, **options):
            socks = [stack.enter_context(dial(port_of(service), **options)) for _ in range(number)]
            until(lambda: service.snapshot().open_connections >= number)
            return socks

        yield many


def tight(size=2048, receive=None):
    """A listening socket whose connections have small buffers to send from, and to receive into."""
    sock = socket.socket()
    if receive is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
    sock.bind(("127.0.0.1", 0))
    sock.listen(1000)
    return sock


@pytest.fixture
def ring_engine(monkeypatch):
    """Note what the engine by completion gets to see, and what of it goes by columns that must not."""
    by_ring_alone(monkeypatch)
    seen = {"results": [], "columns": [], "special": set(), "wrong": []}
    received, columns = Batches._received, Batches._by_columns

    def note_received(self, fd, result, flags, number):
        seen["results"].append(result)
        return received(self, fd, result, flags, number)

    def note_columns(self, at, to, n):
        rx = self._rings.rx
        fds, special = rx.who[at : at + n].tolist(), set()
        if PLAIN.issuperset(rx.cqe_flags[at : at + n]):
            special |= {"twice"} if len(set(fds)) != len(fds) else set()
            special |= {"odd"} if not self._engine.connections.odd.keys().isdisjoint(fds) else set()
            special |= {"dying"} if not self._dying.isdisjoint(fds) else set()
        done = columns(self, at, to, n)
        seen["columns"].append((at, to, n, done))
        seen["special"] |= special
        seen["wrong"] += special if done else ()
        return done

    monkeypatch.setattr(Batches, "_received", note_received)
    monkeypatch.setattr(Batches, "_by_columns", note_columns)
    return seen


def small_rings(monkeypatch, completions):
    class Small(Ring):
        def __init__(self, entries, wanted):
            super().__init__(entries, completions if wanted == 8192 else wanted)

    def make(entries, wanted):
        return Small(min(entries, completions) if wanted == 8192 else entries, wanted)

    monkeypatch.setattr(ring_trial.k, "Ring", make)
