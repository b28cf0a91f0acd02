"""The lesson's connections, on fake transports and an injected clock."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.fakes import Transport
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, INegotiated
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, connect
from zope.interface import directlyProvides
from zope.interface.verify import verifyObject

from echobench import Caps, Counters, Echo, EchoFactory, Reason


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(clock):
    """Make connected echoes of one factory, and see to it that their clocks come to rest."""

    def connected(address=IPv4Address("TCP", "192.0.2.1", 4321), **options):  # noqa: B008
        factory = options.pop("factory", None) or EchoFactory(reactor=clock, **options)
        echo = factory.buildProtocol(address)
        echo.makeConnection(Transport())
        return echo

    yield connected
    assert clock.getDelayedCalls() == []


def lose(echo, reason=ConnectionDone):
    echo.connectionLost(Failure(reason()))


def test_it_provides_what_it_says(make):
    echo = make()
    assert verifyObject(IHalfCloseableProtocol, echo)
    lose(echo)


@given(chunks=st.lists(st.binary(min_size=1, max_size=100)))
def test_echoes_in_order(chunks):
    echo = EchoFactory(reactor=Clock()).buildProtocol(None)
    echo.makeConnection(Transport())
    for chunk in chunks:
        echo.dataReceived(chunk)
    assert echo.transport.value() == b"".join(chunks)
    assert echo.factory.counters.reads == len(chunks)
    assert echo.factory.counters.stream_bytes == len(b"".join(chunks))


def test_echoes_in_memory():
    clock = Clock()
    server, client = EchoFactory(reactor=clock).buildProtocol(None), Collector()
    pump = connect(server, FakeTransport(server, True), client, FakeTransport(client, False))
    client.transport.write(b"through memory")
    pump.flush()
    assert client.got == b"through memory"
    client.transport.loseConnection()
    pump.flush()
    assert server.factory.connections == set()


class Collector(Echo):
    """A client that keeps what comes."""

    got = b""

    def connectionMade(self):
        pass

    def connectionLost(self, reason=None):
        pass

    def dataReceived(self, data):
        self.got += data


def test_no_delay_is_asked_for_where_it_can_be(make):
    echo = make()
    assert echo.transport.no_delay is True
    lose(echo)


def test_a_socket_that_was_reset_before_we_saw_it_is_no_error(clock):
    class Reset(Transport):
        def setTcpNoDelay(self, on):
            raise OSError(errno.EINVAL, "reset by peer, as macOS says it")

    echo = EchoFactory(reactor=clock).buildProtocol(None)
    echo.makeConnection(Reset())
    assert echo in echo.factory.connections


def test_stops_reading_from_a_peer_that_does_not_read_and_goes_on_when_it_does(make):
    echo = make()
    echo.dataReceived(b"x" * 70_000)
    assert echo.transport.producerState == "paused"
    echo.transport.take(69_999)
    assert echo.transport.producerState == "paused"
    echo.transport.take(1)
    assert echo.transport.producerState == "producing"
    lose(echo)


def test_end_of_file_lets_what_is_left_go_out_first(make):
    echo = make()
    echo.dataReceived(b"x" * 70_000)
    echo.readConnectionLost()
    assert echo.transport.disconnecting
    assert echo.transport.producer is None, "a paused producer would keep it open"
    assert not echo.transport.disconnected
    lose(echo)


def test_idle(make, clock):
    echo = make(idle_timeout=10)
    clock.advance(9)
    echo.dataReceived(b"x")
    echo.transport.take(1)
    clock.advance(9)
    assert not echo.transport.aborting
    clock.advance(1)
    assert echo.transport.aborting
    assert echo.factory.counters.drops == {Reason.IDLE: 1}
    lose(echo)


def test_a_byte_that_leaves_counts_as_one_that_comes(make, clock):
    echo = make(idle_timeout=10)
    echo.dataReceived(b"x" * 70_000)
    for _ in range(5):
        clock.advance(9)
        echo.transport.take(1000)
    assert not echo.transport.aborting
    clock.pump([10] * 2)
    assert echo.transport.aborting
    lose(echo)


def test_a_peer_that_takes_nothing_more_is_idle_a_quarter_late_at_most(make, clock):
    """However much it took at first."""
    echo = make(idle_timeout=10)
    clock.advance(0.5)
    echo.dataReceived(b"x" * 1000)
    clock.advance(0.5)
    echo.transport.take(100)
    for _ in range(99):
        clock.advance(0.1)
    assert not echo.transport.aborting
    for _ in range(26):
        clock.advance(0.1)
    assert echo.transport.aborting
    assert echo.factory.counters.drops == {Reason.IDLE: 1}


def test_the_time_out_costs_no_timer_for_a_read(make, clock):
    echo = make(idle_timeout=10)
    (timer,) = clock.getDelayedCalls()
    for _ in range(100):
        clock.advance(0.01)
        echo.dataReceived(b"x")
    assert clock.getDelayedCalls() == [timer]
    lose(echo)


def test_a_stuck_peer_is_ended_some_time_after_its_end_of_file(make, clock):
    echo = make(close_timeout=5)
    echo.dataReceived(b"x" * 30_000)
    echo.readConnectionLost()
    clock.advance(4.9)
    echo.transport.take(10_000)
    clock.advance(4.9)
    assert not echo.transport.aborting, "it took something"
    clock.advance(5.1)
    assert echo.transport.aborting
    assert echo.factory.counters.drops == {Reason.STUCK: 1}
    lose(echo)


def test_no_time_out_means_never(make, clock):
    echo = make(idle_timeout=None, close_timeout=None)
    echo.readConnectionLost()
    assert clock.getDelayedCalls() == []
    lose(echo)


@pytest.mark.parametrize("reason", [ConnectionDone, ConnectionLost])
def test_forgets_a_connection_whatever_ends_it(make, reason):
    echo = make(idle_timeout=10)
    counters = echo.factory.counters
    assert (counters.connections, counters.open_connections) == (1, 1)
    lose(echo, reason)
    assert (counters.connections, counters.open_connections) == (1, 0)
    assert echo.factory.connections == set()


def test_drain_sends_an_end_of_file_and_waits_for_the_peers(make, clock):
    echo = make()
    echo.dataReceived(b"last words")
    drained = []
    echo.factory.drain().addCallback(drained.append)
    assert echo.transport.half_closed
    assert not echo.transport.disconnecting
    echo.dataReceived(b"too late")
    assert echo.transport.value() == b"last words"
    echo.readConnectionLost()
    assert echo.transport.disconnecting
    assert not drained
    lose(echo)
    assert drained


def test_drain_reads_on_from_a_peer_that_was_paused(make):
    """Or its end of file would never be seen."""
    echo = make()
    echo.dataReceived(b"x" * 70_000)
    assert echo.transport.producerState == "paused"
    echo.drain()
    assert echo.transport.producerState == "producing"
    lose(echo)


def test_drain_closes_a_quiet_connection_at_once(make, clock):
    echo = make()
    clock.advance(1)
    echo.drain()
    assert echo.transport.disconnecting
    assert not echo.transport.half_closed
    lose(echo)


def test_drain_never_half_closes_tls(make):
    """But reads on, also from a peer that was paused, or its goodbye would never be seen."""
    echo = make()
    echo.dataReceived(b"x" * 70_000)
    directlyProvides(echo.transport, INegotiated)
    echo.drain()
    assert echo.transport.disconnecting
    assert echo.transport.producerState == "producing"
    assert not echo.transport.half_closed
    lose(echo)


def test_drain_of_a_closing_connection_only_waits(make):
    echo = make()
    echo.readConnectionLost()
    (timer,) = echo.factory.reactor.getDelayedCalls()
    ended = []
    echo.drain().addCallback(ended.append)
    assert echo.factory.reactor.getDelayedCalls() == [timer]
    lose(echo)
    assert ended


def test_drain_does_not_take_a_stuck_peer_for_a_quiet_one(make, clock):
    echo = make()
    echo.dataReceived(b"x" * 70_000)
    clock.advance(100)
    echo.drain()
    assert echo.transport.half_closed
    assert not echo.transport.disconnecting
    lose(echo)


def test_drain_takes_a_peer_that_spoke_just_now_for_a_busy_one(make, clock):
    echo = make()
    clock.advance(100)
    echo.dataReceived(b"x")
    echo.transport.take(1)
    clock.advance(0.5)
    echo.drain()
    assert echo.transport.half_closed
    lose(echo)


def test_a_resumed_producer_comes_back_as_a_new_one(make):
    """See resumeProducing: a transport that was told to close meanwhile would wait for ever."""
    echo = make()
    calls = []
    echo.transport.unregisterProducer = lambda: calls.append("unregister")
    echo.transport.registerProducer = lambda producer, streaming: calls.append(
        ("register", producer is echo, streaming)
    )
    echo.resumeProducing()
    assert calls == ["unregister", ("register", True, True)]
    lose(echo)


def test_drain_of_nothing_is_done_at_once():
    drained = []
    EchoFactory(reactor=Clock()).drain().addCallback(drained.append)
    assert drained


def test_drain_lets_a_peer_go_that_is_quiet_after_our_end_of_file(make, clock):
    echo = make(close_timeout=600)
    echo.dataReceived(b"just now")
    echo.transport.take(8)
    echo.drain()
    clock.pump([0.25] * 3)
    assert not echo.transport.disconnecting
    clock.pump([0.25] * 3)
    assert echo.transport.disconnecting
    assert echo.factory.counters.drops == {}
    lose(echo)


def test_drain_waits_for_a_peer_that_still_speaks(make, clock):
    echo = make(close_timeout=600)
    echo.drain()
    for _ in range(10):
        clock.pump([0.25] * 3)
        echo.dataReceived(b"it is thrown away")
    assert not echo.transport.disconnecting
    clock.pump([0.25] * 6)
    assert echo.transport.disconnecting
    lose(echo)


def test_drain_ends_a_peer_that_takes_nothing(make, clock):
    echo = make(close_timeout=5)
    echo.dataReceived(b"x" * 30_000)
    echo.drain()
    clock.pump([0.25] * 20)
    assert echo.transport.aborting
    assert echo.factory.counters.drops == {Reason.STUCK: 1}
    lose(echo)


def test_drain_ends_a_peer_that_never_stops_speaking(make, clock):
    """Who uses the factory alone has no service that ends it."""
    echo = make(close_timeout=5)
    echo.drain()
    for _ in range(21):
        clock.advance(0.25)
        echo.dataReceived(b"and on")
    assert echo.transport.aborting
    lose(echo)


def test_a_peer_whose_bytes_wait_is_not_idle(make, clock):
    """The reactor reads between the timer that finds silence and the one that ends it (SIGSTOP, a busy host)."""
    echo = make(idle_timeout=10)
    (timer,) = clock.getDelayedCalls()
    look = timer.func

    def looks_and_then_reads():
        look()
        echo.dataReceived(b"it was there all the time")
        echo.transport.take(25)

    timer.func = looks_and_then_reads
    clock.advance(13)
    assert not echo.transport.aborting
    clock.pump([10, 0])
    assert echo.transport.aborting
    lose(echo)


def test_abort(make):
    echo = make()
    echo.factory.abort()
    assert echo.transport.aborting
    lose(echo)


def test_caps_and_their_release(make, clock):
    counters = Counters()
    factory = EchoFactory(reactor=clock, caps=Caps(2, 1), counters=counters)
    first = make(factory=factory)
    assert factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1)) is None
    assert factory.buildProtocol(IPv6Address("TCP", "::ffff:192.0.2.1", 1)) is None, "the same host, mapped"
    second = make(IPv6Address("TCP", "2001:db8::1", 1), factory=factory)
    assert factory.buildProtocol(UNIXAddress(b"/tmp/x")) is None
    assert counters.drops == {Reason.MAX_CONNECTIONS_PER_SOURCE: 2, Reason.MAX_CONNECTIONS: 1}
    lose(first)
    third = make(factory=factory)
    lose(second)
    lose(third)
