"""Engines that wait in the reactor's place: a conversation is one turn, and others are served meanwhile."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading

import pytest
import pytest_twisted
from rigs.helpers import blocking, datagram_client, dial, needs_linux, port_of, read_exactly, until
from rigs.rings import needs_completion
from rigs.tcp_rig import by_ring_alone, engine_of, in_the_ring

from echobench.engines import standin
from echobench.engines.spin import PATIENT
from echobench.engines.tcp import engine as stream_engine
from echobench.engines.tcp.polled import FEW_CONNECTIONS
from echobench.histograms import BatchSizes

if sys.platform == "linux":
    from echobench.engines.udp import engine as udp_batched
    from echobench.engines.udp.batch import Batch

pytestmark = needs_linux
ENGINES = ["readiness", pytest.param("completion", marks=needs_completion)]


@pytest.fixture
def for_long(monkeypatch):
    """Have it wait however slow the machine is, and as if no time went by between two messages."""
    from twisted.internet import reactor

    if type(reactor).__name__ != "EPollReactor":
        pytest.skip("the stand-in serves EPollReactor, and this test run has another reactor")
    monkeypatch.setattr(standin, "STAY", 10**12)
    monkeypatch.setattr(standin, "WAIT", 10**9)
    monkeypatch.setattr(stream_engine, "SLICE", 10**12)
    monkeypatch.setattr(udp_batched, "LONGEST_TURN", 10**12)


def turns(of):
    """Count from now on how often the reactor calls."""
    counted, real = [], of.doRead
    of.doRead = lambda: (counted.append(1) and None) or real()
    return counted


def talk(sock, times):
    """Ask so many times, one after the other; in a thread, so that the reactor has nothing to do with it."""
    for _ in range(times):
        sock.send(b"x" * 64)
        assert read_exactly(sock, 64) == b"x" * 64


@pytest.mark.usefixtures("for_long")
@pytest.mark.parametrize("engine", ENGINES)
def test_a_conversation_over_tcp_is_one_turn(serve, engine):
    service = serve(engine=engine, spin="off")
    with dial(port_of(service)) as sock:
        blocking(talk, sock, 5)
        counted = turns(engine_of(service))
        blocking(talk, sock, 200)
        assert 1 <= len(counted) <= 2


def calls_of_the_mover(service):
    """Count from now on how often the engine has its mover serve."""
    engine, counted = engine_of(service), []
    real = engine._serve
    engine._serve = lambda *how: (counted.append(1), real(*how))[1]
    return counted


@pytest.mark.usefixtures("for_long")
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("connections", [1, 2, FEW_CONNECTIONS + 4])
def test_a_conversation_over_tcp_is_one_call_of_the_mover(serve, engine, connections):
    """It waits in there: to return to the engine after each message takes as long as the echo."""
    service = serve(engine=engine, spin="off")
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(dial(port_of(service))) for _ in range(connections)]
        for sock in socks:
            blocking(talk, sock, 5)
        counted = calls_of_the_mover(service)
        blocking(lambda: [talk(sock, 1) for _ in range(100) for sock in socks])
        assert 1 <= len(counted) <= 3


@pytest.mark.usefixtures("for_long")
@pytest.mark.parametrize("engine", ENGINES)
def test_where_batches_are_counted_a_call_of_the_mover_is_one(serve, engine):
    """It does not wait in there, or the batch would be everything that came meanwhile."""
    service = serve(engine=engine, spin="off")
    pytest_twisted.blockon(service.stopService())
    sizes = service.batch_sizes = BatchSizes()
    service.startService()
    assert engine_of(service).sleep is None
    with dial(port_of(service)) as sock:
        blocking(talk, sock, 100)
    assert sizes.stream.total == 100


@pytest.mark.usefixtures("for_long")
@needs_completion
def test_those_in_the_ring_are_not_waited_for_within_a_call(serve, monkeypatch):
    """Between two calls what is queued for the ring is handed over."""
    by_ring_alone(monkeypatch)
    service = serve(engine="completion", spin="off")
    with dial(port_of(service)) as sock:
        in_the_ring(service, [sock])
        counted = calls_of_the_mover(service)
        blocking(talk, sock, 200)
    assert len(counted) > 3, "it would be 3 at most"


@pytest.mark.usefixtures("for_long")
@pytest.mark.parametrize("engine", ENGINES)
def test_who_comes_while_one_connection_is_waited_for_is_let_in(serve, engine):
    """The guess that the one connection woke us is wrong then."""
    service = serve(engine=engine, spin="off")

    def both(sock):
        talk(sock, 20)
        with dial(port_of(service)) as other:
            talk(other, 3)
            talk(sock, 3)
        talk(sock, 3)

    with dial(port_of(service)) as sock:
        blocking(both, sock)
    until(lambda: service.snapshot().open_connections == 0)
    assert service.snapshot().connections == 2


@pytest.mark.usefixtures("for_long")
def test_a_conversation_over_udp_is_one_turn(serve, monkeypatch):
    """And few looks in vain: of two system calls that receive nothing else, the one that may wait is enough."""
    receives, real = [], Batch.receive
    monkeypatch.setattr(Batch, "receive", lambda *args: (receives.append(1) and None) or real(*args))
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine="batched", spin="off")
    with datagram_client(port_of(service, "udp")) as client:
        blocking(talk, client, 20)
        counted = turns(service._ports[0][1])
        receives.clear()
        blocking(talk, client, 200)
        assert 1 <= len(counted) <= 2
        assert len(receives) == 200 + 200 / PATIENT
    assert service.snapshot().datagrams == 220


@pytest.mark.usefixtures("for_long")
@pytest.mark.parametrize("engine", ENGINES)
def test_another_service_is_served_meanwhile(serve, engine):
    """A conversation that does not end, however long it may stay, keeps neither a service nor a timer waiting."""
    service, other = serve(engine=engine, spin="off"), serve(engine="portable")
    over = threading.Event()

    def chat():
        with dial(port_of(service)) as sock:
            while not over.is_set():
                talk(sock, 1)

    chatting = threading.Thread(target=chat)
    chatting.start()
    try:
        until(lambda: service.snapshot().reads > 100)  # by timers
        with dial(port_of(other)) as sock:
            blocking(talk, sock, 20)
    finally:
        over.set()
        until(lambda: not chatting.is_alive())


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_that_has_nothing_left_in_its_turn_does_not_wait(serve, engine):
    """Its last connection ends by itself, after the stop; nothing else would ever wake it."""
    service = serve(engine=engine)
    serving, left = engine_of(service), []
    wait = serving._stand_in.wait
    serving._stand_in.wait = lambda fd: (left.append(bool(serving.ports or serving.connections.open)), wait(fd))[1]
    with dial(port_of(service)) as sock:
        blocking(talk, sock, 1)
        assert left
        stopped = service.stopService()
        sock.shutdown(socket.SHUT_WR)
        pytest_twisted.blockon(stopped)
    assert all(left)
    assert not serving.running
