"""Connections with faults, on fake transports and an injected clock, and over real sockets."""

from __future__ import annotations

import socket
import time

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from rigs.fakes import Transport
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
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from echobench import Counters, EchoFactory, Reason
from echobench.engines.portable.faulty.stream import HIGH, faulty_echo
from echobench.injection.flow import Injection
from echobench.injection.line import OVERHEAD
from echobench.injection.rules import read_rules

LOOPBACK = ("127.0.0.1",)
MIB = 1 << 20


class Lenient(Transport):
    """A transport that may be paused and resumed while it closes, as the real ones may."""

    def __init__(self, address=None):
        super().__init__()
        self._lenient = True
        self.peerAddr = address or IPv4Address("TCP", "192.0.2.1", 4321)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(clock):
    """Make connections with faults, and see to it that their clocks come to rest."""
    made = []

    def connected(*rules, address=None, **options):
        counters = Counters()
        protocol = faulty_echo(Injection(read_rules(rules), counters))
        factory = EchoFactory(protocol=protocol, reactor=clock, counters=counters, **options)
        echo = factory.buildProtocol(address)
        echo.makeConnection(Lenient(address))
        made.append(echo)
        return echo

    yield connected
    for echo in made:
        if echo in echo.factory.connections:
            echo.connectionLost(Failure(ConnectionDone()))
    assert clock.getDelayedCalls() == []


def faults_of(echo):
    return {name: number for name, number in echo.factory.counters.faults.items() if number}


def test_an_answer_comes_late(make, clock):
    echo = make("delay=20ms,seed=1")
    echo.dataReceived(b"1")
    clock.advance(0.015)
    echo.dataReceived(b"2")
    assert echo.transport.value() == b""
    clock.advance(0.00501)
    assert echo.transport.value() == b"1"
    clock.advance(0.015)
    assert echo.transport.value() == b"12"
    assert faults_of(echo) == {"delay": 2}
    counters = echo.factory.counters
    assert (counters.reads, counters.stream_bytes) == (2, 2)


@pytest.mark.parametrize(
    ("address", "echoed"),
    [
        (IPv4Address("TCP", "192.0.2.1", 40005), b""),
        (IPv4Address("TCP", "192.0.2.1", 40010), b"x"),
        (UNIXAddress("/x"), b"x"),
    ],
)
def test_a_rule_is_for_its_source_ports(make, address, echoed):
    echo = make("tcp@40000-40009:drop=100%,seed=1", address=address)
    echo.dataReceived(b"x")
    assert echo.transport.value() == echoed
    echo.readConnectionLost()
    assert echo.transport.disconnecting


def test_the_end_of_file_waits_behind_the_answers(make, clock):
    echo = make("delay=1s,seed=1")
    echo.dataReceived(b"late")
    echo.readConnectionLost()
    echo.readConnectionLost()  # a transport that is resumed reads it again
    assert not echo.transport.disconnecting
    clock.advance(1.001)
    assert echo.transport.value() == b"late"
    assert echo.transport.disconnecting


def test_an_end_of_file_during_a_stall(make, clock):
    echo = make("stall=5s/10s,seed=1")
    clock.advance(6)
    echo.dataReceived(b"held")
    echo.readConnectionLost()
    clock.advance(3.9)
    assert (echo.transport.value(), echo.transport.disconnecting) == (b"", False)
    clock.advance(0.11)
    assert (echo.transport.value(), echo.transport.disconnecting) == (b"held", True)
    assert faults_of(echo) == {"stall": 1}


def test_the_end_of_file_releases_what_waits_to_be_overtaken(make):
    echo = make("reorder=100%,seed=1")
    echo.dataReceived(b"x")
    assert echo.transport.value() == b""
    echo.readConnectionLost()
    assert (echo.transport.value(), echo.transport.disconnecting) == (b"x", True)


def test_a_peer_is_not_read_from_while_too_much_waits(make, clock):
    echo = make("delay=1s,seed=1")
    sent = 0
    while echo.transport.producerState != "paused":
        echo.dataReceived(bytes(1 << 16))
        sent += 1 << 16
        assert sent <= HIGH + (1 << 16)
    clock.advance(0.5)
    assert echo.transport.producerState == "paused"
    clock.advance(0.501)
    echo.transport.take(sent)
    assert echo.transport.producerState == "producing"
    assert len(echo.transport.value()) == sent


def test_single_bytes_are_bounded_by_the_memory_that_they_take(make, clock):
    echo = make("delay=1s,seed=1")
    number = 0
    while echo.transport.producerState != "paused":
        echo.dataReceived(b"x")
        number += 1
    assert number <= HIGH / OVERHEAD + 1


def test_a_peer_that_does_not_read_stays_unread_when_the_line_has_emptied(make, clock):
    """Two reasons to pause, and both have to end."""
    echo = make("delay=1s,seed=1")
    for _ in range(5):
        echo.dataReceived(bytes(1 << 16))
    clock.advance(1.001)  # all goes to the transport, which pauses the producer
    assert echo.transport.producerState == "paused"
    echo.transport.take(4 << 16)
    assert echo.transport.producerState == "paused"
    echo.transport.take(1 << 16)
    assert echo.transport.producerState == "producing"


def test_a_peer_that_reads_again_is_not_read_from_while_too_much_waits(make):
    echo = make("delay=1s,seed=1")
    for _ in range(5):
        echo.dataReceived(bytes(1 << 16))
    echo.resumeProducing()
    assert echo.transport.producerState == "paused"


def test_nothing_is_read_any_more_after_the_end_of_file(make, clock):
    echo = make("delay=1s,seed=1")
    for _ in range(5):
        echo.dataReceived(bytes(1 << 16))
    echo.readConnectionLost()
    echo.resumeProducing()
    assert echo.transport.producerState == "paused"
    clock.advance(1.001)
    assert echo.transport.disconnecting


def test_a_drain_waits_for_what_is_pending(make, clock):
    echo = make("delay=1s,seed=1")
    echo.dataReceived(b"late")
    ended = echo.drain()
    assert echo.drain() is ended
    assert not echo.transport.half_closed
    echo.dataReceived(b"too late")  # what was read before the transport paused
    clock.advance(1.001)
    assert echo.transport.value() == b"late"
    assert echo.transport.half_closed
    echo.connectionLost(Failure(ConnectionDone()))
    assert ended.called


def test_a_drain_with_the_end_of_file_already_there(make, clock):
    echo = make("delay=1s,seed=1")
    echo.dataReceived(b"late")
    echo.readConnectionLost()
    ended = echo.drain()
    clock.advance(1.001)
    assert (echo.transport.value(), echo.transport.disconnecting) == (b"late", True)
    assert not ended.called


def test_a_connection_that_is_lost_throws_away_what_waits(make, clock):
    echo = make("delay=1s,reorder=100%,seed=1")
    echo.dataReceived(b"1")
    echo.dataReceived(b"2")
    echo.dataReceived(b"3")
    echo.connectionLost(Failure(ConnectionDone()))
    assert clock.getDelayedCalls() == []
    assert faults_of(echo) == {"delay": 2, "reorder": 1, "discarded": 3}


def test_an_abort_while_a_drain_waits(make, clock):
    echo = make("delay=1s,seed=1")
    echo.dataReceived(b"late")
    ended = echo.factory.drain()
    echo.factory.abort()
    assert echo.transport.aborting
    echo.connectionLost(Failure(ConnectionDone()))
    assert ended.called
    assert clock.getDelayedCalls() == []


def test_a_reset(make, clock):
    echo = make("reset=100%,delay=1s,seed=1")
    echo.dataReceived(b"x")
    assert echo.transport.aborting
    echo.dataReceived(b"y")
    clock.advance(2)
    assert echo.transport.value() == b""
    assert not echo.transport.half_closed
    assert faults_of(echo) == {"reset": 1}


def test_the_last_answer_of_a_connection_is_not_overtaken(make, clock):
    """A close that is due when it leaves comes without another message."""
    echo = make("close-after=3,reorder=100%,seed=1")
    echo.dataReceived(b"hello")
    assert echo.transport.value() == b""
    clock.advance(0.101)
    assert echo.transport.value() == b"hel"
    assert echo.transport.half_closed


def test_a_timer_is_set_once_for_all_that_wait(make, clock):
    echo = make("delay=1s,seed=1")
    for _ in range(10):
        echo.dataReceived(b"x")
    assert len(clock.getDelayedCalls()) == 1


def test_a_drain_after_a_reset(make):
    echo = make("reset=100%,seed=1")
    echo.dataReceived(b"x")
    ended = echo.drain()
    echo.connectionLost(Failure(ConnectionDone()))
    assert ended.called


def test_a_rate_keeps_a_connection_from_being_idle(make, clock):
    """A byte each second leaves, and the peer takes it at once: it is not silent, though nothing comes."""
    echo = make("rate=1/s,seed=1", idle_timeout=3)
    echo.dataReceived(bytes(20))
    for _ in range(200):
        clock.advance(0.1)
        echo.transport.dataBuffer = b""
    assert len(echo.transport.value()) >= 19
    assert not echo.transport.aborting


def test_a_delay_beyond_the_idle_time_out_ends_the_connection(make, clock):
    echo = make("delay=10s,seed=1", idle_timeout=1)
    echo.dataReceived(b"x")
    for _ in range(50):
        clock.advance(0.1)
    assert echo.transport.aborting
    assert echo.factory.counters.drops == {Reason.IDLE: 1}


@given(
    st.lists(st.binary(min_size=1, max_size=5000), max_size=20), st.lists(st.floats(0, 0.2), min_size=20, max_size=20)
)
def test_nothing_is_lost_by_what_only_takes_time(chunks, pauses):
    clock = Clock()
    counters = Counters()
    rules = read_rules(["delay=normal(50ms,50ms),jitter=10ms,stall=50ms/100ms,rate=50kB/s,seed=1"])
    echo = EchoFactory(
        protocol=faulty_echo(Injection(rules, counters)), reactor=clock, counters=counters
    ).buildProtocol(None)
    echo.makeConnection(Lenient())
    for chunk, pause in zip(chunks, pauses, strict=False):
        echo.dataReceived(chunk)
        clock.advance(pause)
    echo.readConnectionLost()
    for _ in range(100_000):
        if echo.transport.disconnecting:
            break
        clock.advance(0.01)
    assert echo.transport.value() == b"".join(chunks)
    echo.connectionLost(Failure(ConnectionDone()))
    assert clock.getDelayedCalls() == []


FAULTS = st.lists(
    st.sampled_from(
        [
            "delay=normal(30ms,30ms)", "jitter=20ms", "drop=20%", "duplicate=20%", "reorder=30%", "corrupt=1%/byte",
            "truncate=2000", "close-after=20kB", "reset=5%", "stall=50ms/100ms", "rate=40kB/s",
        ]
    ),
    unique=True,
)  # fmt: skip
EVENTS = st.lists(
    st.tuples(st.just("data"), st.integers(1, 70_000))
    | st.tuples(st.just("advance"), st.floats(0, 0.5))
    | st.tuples(st.just("take"), st.integers(1, 200_000))
    | st.tuples(st.sampled_from(["end", "drain", "pause", "resume", "lose"]), st.none()),
    max_size=30,
)


def happen(echo, clock, event, value):
    """Have something happen to a connection, as a transport and a reactor would."""
    producer = echo.transport.producer
    reading = echo.transport.producerState != "paused"
    if event == "data" and reading:
        echo.dataReceived(bytes(value))
    elif event == "end" and reading:
        echo.readConnectionLost()
    elif event == "advance":
        clock.advance(value)
    elif event == "take":
        echo.transport.take(value)
    elif event == "pause" and producer is not None:
        producer.pauseProducing()
    elif event == "resume" and producer is not None:
        producer.resumeProducing()


@given(FAULTS, st.integers(0, 1000), EVENTS, st.none() | st.just(1.0))
def test_any_order_of_events(faults, seed, events, idle_timeout):
    """Whatever happens when: no exception, no timer that stays, bounded memory, and a drain that comes to an end."""
    clock, counters = Clock(), Counters()
    injection = Injection(read_rules([",".join([*faults, f"seed={seed}"]) if faults else "none"]), counters)
    factory = EchoFactory(
        protocol=faulty_echo(injection), reactor=clock, counters=counters, idle_timeout=idle_timeout, close_timeout=5
    )
    echo = factory.buildProtocol(None)
    transport = Lenient()
    echo.makeConnection(transport)
    over = drained = False
    for event, value in events:
        if transport.aborting or event == "lose":
            break
        if event == "drain":
            drained = echo.drain()
        elif not (over and event == "data"):
            happen(echo, clock, event, value)
        over = over or event == "end"
        assert echo._flow is None or echo._flow.held <= HIGH + 2 * 70_000 + 1000
        assert len(clock.getDelayedCalls()) <= 2
    else:
        ended = echo.drain()
        for _ in range(3000):
            if transport.half_closed or transport.disconnecting or transport.aborting:
                break
            clock.advance(0.01)
            transport.take(1 << 20)
        assert transport.half_closed or transport.disconnecting or transport.aborting
        assert not ended.called
        drained = ended
    echo.connectionLost(Failure(ConnectionDone()))
    assert not drained or drained.called
    assert clock.getDelayedCalls() == []
    assert counters.open_connections == 0
    if set(faults) <= {"delay=normal(30ms,30ms)", "jitter=20ms", "stall=50ms/100ms", "rate=40kB/s"}:
        assert set(transport.value()) <= {0}
        assert len(transport.value()) <= counters.stream_bytes


# Over real sockets.


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
