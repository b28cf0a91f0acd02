"""Datagrams with faults, with an injected clock and over real sockets."""

from __future__ import annotations

import time

import pytest
import pytest_twisted
from rigs.helpers import ask, blocking, datagram_client, port_of, settle, unanswered, until
from rigs.misbehaving import strikes
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from echobench import Counters, Guard, Reason
from echobench.counters import Unsent
from echobench.engines.portable.faulty import datagram as module
from echobench.engines.portable.faulty.datagram import FLOWS, ROOM, WAITING, FaultyUDP, faulty_udp
from echobench.injection.flow import Injection
from echobench.injection.line import AT_ONCE, OVERHEAD
from echobench.injection.rules import read_rules

LOOPBACK = ("127.0.0.1",)


class Socket:
    """Keeps what is sent."""

    def __init__(self):
        self.sent = []
        self.error = None

    def getHost(self):
        return IPv4Address("UDP", "192.0.2.9", 7)

    def write(self, data, addr):
        if self.error is not None:
            raise self.error
        self.sent.append((data, addr[1]))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(clock):
    """Make a protocol with faults, and see to it that its clock comes to rest when it stops."""
    made = []

    def started(*rules, **options):
        counters = Counters()
        protocol = faulty_udp(Injection(read_rules(rules), counters), clock)(counters=counters, guard=Guard(**options))
        protocol.makeConnection(Socket())
        made.append(protocol)
        return protocol

    yield started
    for protocol in made:
        protocol.doStop()
        assert protocol._held == 0
    assert clock.getDelayedCalls() == []


def peer(port):
    return ("192.0.2.1", port)


def test_an_answer_comes_late(make, clock):
    protocol = make("delay=20ms,seed=1")
    protocol.datagramReceived(b"1", peer(5000))
    protocol.datagramReceived(b"2", peer(5001))
    assert protocol.transport.sent == []
    clock.advance(0.02001)
    assert protocol.transport.sent == [(b"1", 5000), (b"2", 5001)]
    assert protocol.counters.datagrams == 2
    assert protocol.counters.datagram_bytes == 2
    assert (protocol._held, protocol._waiting) == (0, set())


def test_the_guard_comes_first(make):
    """Whom the server does not answer, it does not answer late or twice either."""
    protocol = make("duplicate=100%,seed=1")
    protocol.datagramReceived(b"x", peer(53))
    assert protocol.transport.sent == []
    assert protocol.counters.drops == {Reason.SOURCE_PORT_LOW: 1}
    assert protocol.counters.faults == {"duplicate": 0}


def test_a_rule_is_for_its_source_ports(make):
    protocol = make("udp@5000-5009:duplicate=100%,seed=1", "@6000:none", "truncate=1,seed=1")
    for port in (5009, 6000, 7000):
        protocol.datagramReceived(b"xy", peer(port))
    assert protocol.transport.sent == [(b"xy", 5009), (b"xy", 5009), (b"xy", 6000), (b"x", 7000)]


def test_flows_do_not_overtake_each_other_only_themselves(make):
    protocol = make("reorder=100%,seed=1")
    for number, port in ((b"1", 5000), (b"2", 5001), (b"3", 5000), (b"4", 5001)):
        protocol.datagramReceived(number, peer(port))
    assert protocol.transport.sent == [(b"3", 5000), (b"1", 5000), (b"4", 5001), (b"2", 5001)]
    assert protocol.counters.faults == {"reorder": 2}


def test_empty_datagrams(make, clock):
    protocol = make("corrupt=100%/byte,rate=1/s,duplicate=100%,seed=1")
    protocol.datagramReceived(b"", peer(5000))
    assert protocol.transport.sent == [(b"", 5000), (b"", 5000)]
    assert protocol.counters.faults == {"corrupt": 0, "rate": 2, "duplicate": 1}


def test_what_waits_is_bounded(make, clock, monkeypatch):
    monkeypatch.setattr(module, "ROOM", 10 * (100 + OVERHEAD) + WAITING)
    protocol = make("delay=1s,seed=1")
    for _ in range(15):
        protocol.datagramReceived(bytes(100), peer(5000))
    assert protocol._held == 10 * (100 + OVERHEAD) + WAITING
    assert protocol.counters.faults == {"delay": 10, "discarded": 5}
    clock.advance(1.001)
    assert len(protocol.transport.sent) == 10
    protocol.datagramReceived(b"x", peer(5000))
    assert protocol.counters.faults["delay"] == 11


def test_forged_sources_cannot_fill_the_memory(make, clock):
    """Each flow that waits takes some KB, however little it sent; so they count."""
    protocol = make("delay=1s,seed=1")
    for number in range(20_000):
        protocol.datagramReceived(b"", (f"10.0.{number // 250}.{number % 250}", 5000))
    assert len(protocol._waiting) == ROOM // (WAITING + OVERHEAD)
    clock.advance(1.001)
    assert len(protocol.transport.sent) == ROOM // (WAITING + OVERHEAD)
    assert (protocol._held, protocol._waiting) == (0, set())


def test_flows_are_bounded_and_what_a_forgotten_one_waits_for_still_comes(make, clock):
    protocol = make("delay=1s,seed=1")
    for number in range(FLOWS + 3):
        protocol.datagramReceived(b"x", (f"192.0.2.{1 + number % 200}", 2000 + number))
    assert len(protocol._sources) == FLOWS
    clock.advance(1.001)
    assert len(protocol.transport.sent) == FLOWS + 3
    assert protocol._waiting == set()


def test_a_wait_is_slept_through_in_parts(make, clock):
    """32 bits of milliseconds, which epoll_wait(2) takes, are 25 days."""
    protocol = make("rate=1/s,seed=1")
    protocol.datagramReceived(bytes(10_000), peer(5000))
    (call,) = clock.getDelayedCalls()
    assert call.getTime() == 3600
    for _ in range(9):
        clock.advance(1111)
    assert protocol.transport.sent == []
    clock.advance(1.001)
    assert len(protocol.transport.sent) == 1


def test_an_answer_that_cannot_be_sent_is_counted(make):
    protocol = make("duplicate=100%,seed=1")
    protocol.transport.error = Unsent(Reason.NEIGHBOUR_UNKNOWN)
    protocol.datagramReceived(b"x", peer(5000))
    protocol.transport.error = OSError("no")
    protocol.datagramReceived(b"x", peer(5000))
    assert protocol.counters.drops == {Reason.NEIGHBOUR_UNKNOWN: 2, Reason.SEND_FAILED: 2}
    assert protocol.counters.datagrams == 0


def test_a_long_line_leaves_in_turns(make, clock, monkeypatch):
    """Others on the reactor have theirs between them."""
    turns = []
    send = FaultyUDP._send

    def spy(self, source):
        before = len(self.transport.sent)
        send(self, source)
        turns.append(len(self.transport.sent) - before)

    monkeypatch.setattr(FaultyUDP, "_send", spy)
    protocol = make("stall=1s/10s,seed=1")
    protocol.datagramReceived(b"x", peer(5000))
    clock.advance(9.5)
    for _ in range(200):
        protocol.datagramReceived(b"x", peer(5000))
    clock.advance(0.501)
    assert len(protocol.transport.sent) == sum(turns) == 201
    assert max(turns) == AT_ONCE


def test_the_stop_throws_away_what_waits(serve):
    service = serve(0, LOOPBACK, faults=["delay=1000s,reorder=50%,seed=1"])
    with datagram_client(port_of(service, "udp")) as sock:
        for _ in range(5):
            sock.send(b"never")
        until(lambda: service.snapshot().faults["delay"] >= 4)
        settle(0.02)
        pytest_twisted.blockon(service.stopService())
    assert service.snapshot().faults["discarded"] == 5


def test_over_real_sockets(serve):
    service = serve(0, LOOPBACK, faults=["udp:delay=50ms,truncate=3,seed=1"])
    began = time.monotonic()
    assert blocking(ask, port_of(service, "udp"), b"hello") == b"hel"
    assert time.monotonic() - began >= 0.05
    until(lambda: service.snapshot().datagrams == 1)
    assert service.snapshot().faults == {"delay": 1, "truncate": 1}


def answered(port, number):
    """Send 40 numbered datagrams from a new port, and give the numbers of so many answers."""
    with datagram_client(port) as sock:
        for each in range(40):
            sock.send(bytes([each]))
        return [sock.recv(10)[0] for _ in range(number)]


def test_the_seed_repeats_it(serve):
    """Two servers with one seed drop the same messages of their first client, and of their second others."""
    rule = "drop=50%,seed=11"
    seen = []
    for _ in range(2):
        port = port_of(serve(0, LOOPBACK, faults=[rule]), "udp")
        seen.append([blocking(answered, port, strikes(rule, "drop", 40, flow=flow).count(False)) for flow in (1, 2)])
    first, second = (
        [number for number, strike in enumerate(strikes(rule, "drop", 40, flow=flow)) if not strike] for flow in (1, 2)
    )
    assert seen == [[first, second]] * 2
    assert first != second


def test_a_server_serves_a_test_matrix(serve):
    """One column of faults for each range of source ports."""
    with datagram_client(9) as one, datagram_client(9) as other:
        ports = one.getsockname()[1], other.getsockname()[1]
        service = serve(0, LOOPBACK, faults=[f"udp@{ports[0]}:drop=100%,seed=1", f"udp@{ports[1]}:truncate=1,seed=1"])
        number = port_of(service, "udp")
        for sock in (one, other):
            sock.connect(("127.0.0.1", number))
            sock.send(b"hello")
        assert blocking(other.recv, 10) == b"h"
        assert blocking(unanswered, one, 0.1)
        assert blocking(ask, number, b"hello") == b"hello"
    first, second = service.fault_rules()
    assert service.fault_counts() == {first: {"drop": 1}, second: {"truncate": 1}}
