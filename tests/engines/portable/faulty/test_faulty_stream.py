"""Connections with faults, on fake transports and an injected clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.fakes import Transport
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from echobench import Counters, EchoFactory, Reason
from echobench.engines.portable.faulty.stream import HIGH, faulty_echo
from echobench.injection.flow import Injection
from echobench.injection.line import OVERHEAD
from echobench.injection.rules import read_rules


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
