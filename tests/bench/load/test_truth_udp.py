"""UDP servers that do wrong in ways that are known: the bench says of each exactly that."""

from __future__ import annotations

import collections
import socket
import sys
import time

import pytest
from rigs import truth
from rigs.blasting import UNHURRIED
from rigs.helpers import needs_linux
from rigs.truth import UDP, counted, every
from rigs.undisturbed import repeated, unless_disturbed

pytestmark = [pytest.mark.slow, needs_linux]  # the servers ask it

COUNT = 400


def run(blast, behaviour, count=COUNT, **plan):
    with UDP(behaviour) as server:
        ran = blast(server.port, transport="udp", count=count, **{"duration": 30.0, "timeout": 2.0, **plan})
    assert ran.tally.intended == count
    return ran, server


@pytest.mark.parametrize("flows", [1, 5])
@pytest.mark.parametrize("size", ["16", "64", "16-1500", "65507"])
def test_all_is_well(blast, flows, size):
    count = 20 if size == "65507" else COUNT
    ran, server = run(blast, truth.honest, count, flows=flows, window=2, size=size, **UNHURRIED)
    assert counted(ran.tally) == {"answered": count}
    assert (ran.tally.sent, server.seen, len(server.peers)) == (count, count, flows)
    assert ran.tally.from_send.total == count
    if "-" not in size:
        assert ran.tally.answered_bytes == count * int(size)


@repeated
def test_every_hundredth_is_dropped(blast):
    ran, server = run(blast, every(100, truth.drop), timeout=0.3)
    assert server.seen == COUNT, "the flow went on each time"
    with unless_disturbed():
        assert counted(ran.tally) == {"answered": COUNT - 4, "unanswered": 4}


def test_every_seventh_comes_twice(blast):
    ran, _ = run(blast, every(7, truth.duplicate), window=3)
    assert counted(ran.tally) == {"answered": COUNT, "duplicates": COUNT // 7}


def test_neighbours_are_swapped(blast):
    """The answers come in the order 1, 3, 2, 5, 4 and so on: every even one was overtaken."""
    ran, _ = run(blast, truth.swap(2), COUNT + 1, window=2)
    assert counted(ran.tally) == {"answered": COUNT + 1, "reordered": COUNT // 2}


@pytest.mark.parametrize(
    "positions", [range(4), range(4, 8), range(8, 16), range(16, 64)], ids=["flow", "sequence", "time", "payload"]
)
@pytest.mark.parametrize("window", [1, 4])
def test_a_byte_is_wrong(blast, positions, window):
    """Every third message; each position of the part of the message has its turn."""
    ran, _ = run(blast, every(3, truth.corrupt(*positions)), window=window)
    assert counted(ran.tally) == {"answered": COUNT - COUNT // 3, "corrupted": COUNT // 3}


@pytest.mark.parametrize("length", [0, 4, 8, 15, 16, 63])
def test_answers_are_cut_off(blast, length):
    ran, _ = run(blast, every(5, truth.cut(length)))
    assert counted(ran.tally) == {"answered": COUNT - COUNT // 5, "truncated": COUNT // 5}


def test_a_byte_too_many(blast):
    ran, _ = run(blast, every(5, truth.grow))
    assert counted(ran.tally) == {"answered": COUNT - COUNT // 5, "corrupted": COUNT // 5}


@repeated
def test_nobody_answers(blast):
    """One flow with one message under way gets one chance each time-out."""
    ran, server = run(blast, truth.mute, 4, timeout=0.1)
    assert counted(ran.tally) == {"unanswered": 4}
    assert server.seen == 4
    assert ran.took >= 0.4
    with unless_disturbed():
        assert ran.took < 1


@repeated
def test_answers_that_are_too_late(blast):
    """Each takes 150 ms and is given up after 100, when the next is sent: all but the last one are waited for."""
    ran, _ = run(blast, truth.delay(0.15), 6, timeout=0.1)
    counts = counted(ran.tally)
    assert counts.keys() <= {"late", "unanswered"}
    with unless_disturbed():
        assert 5 >= counts["late"] >= 4


def test_answers_from_another_port_are_none(blast):
    with UDP(elsewhere=True) as server:
        ran = blast(server.port, transport="udp", count=3, timeout=0.1)
    assert counted(ran.tally) == {"unanswered": 3}
    assert server.seen == 3


@pytest.mark.parametrize(("flows", "window"), [(1, 1), (3, 1), (2, 4)])
def test_a_port_that_refuses(blast, flows, window):
    """Each message is refused once, whether ICMP told of it or the next send did; and the flow pauses each time."""
    with truth.nobody(socket.SOCK_DGRAM) as port:
        ran = blast(port, transport="udp", count=24, flows=flows, window=window, duration=5.0)
    assert counted(ran.tally) == {"refused": 24}


@repeated
def test_a_port_that_refuses_does_not_make_it_spin(blast):
    """10 ms of pause after each refusal: in 0.3 s there is room for some 30, and not for thousands."""
    with truth.nobody(socket.SOCK_DGRAM) as port:
        ran = blast(port, transport="udp", duration=0.3, timeout=0.1)
    assert counted(ran.tally).keys() <= {"refused"}
    assert ran.tally.refused <= 40
    with unless_disturbed():
        assert ran.tally.refused >= 2


def test_open_loop_over_a_port_that_refuses(blast):
    with truth.nobody(socket.SOCK_DGRAM) as port:
        ran = blast(port, transport="udp", model="open", rate=500.0, count=50, timeout=0.2)
    assert counted(ran.tally) == {"refused": 50}


@pytest.mark.parametrize("arrivals", ["constant", "poisson"])
def test_open_loop(blast, arrivals):
    with UDP() as server:
        ran = blast(
            server.port, transport="udp", model="open", rate=400.0, count=200, arrivals=arrivals, flows=4, **UNHURRIED
        )
    assert counted(ran.tally) == {"answered": 200}
    assert len(server.peers) == 4
    assert ran.tally.lateness.total == 200


@repeated
def test_open_loop_with_losses(blast):
    with UDP(every(10, truth.drop)) as server:
        ran = blast(server.port, transport="udp", model="open", rate=1000.0, count=200, timeout=0.3)
    with unless_disturbed():
        assert counted(ran.tally) == {"answered": 180, "unanswered": 20}


def test_a_flood_is_one_way(blast):
    """What comes back is thrown away, and counts for nothing."""
    with UDP() as server:
        ran = blast(server.port, transport="udp", model="flood", count=3000, flows=2)
    assert (ran.tally.intended, ran.tally.sent) == (3000, 3000)
    assert {k: v for k, v in counted(ran.tally).items() if k != "our_receive_buffer"} == {"one_way": 3000}
    assert len(server.peers) == 2


@repeated
def test_a_flood_ends_in_time(blast):
    with truth.Sink() as sink:
        ran = blast(sink.port, transport="udp", model="flood", duration=0.3)
    assert ran.took >= 0.3
    assert ran.tally.sent == ran.tally.one_way
    with unless_disturbed():
        assert ran.took < 1.0
        assert ran.tally.sent > 100


def test_a_flood_that_is_refused(blast):
    with truth.nobody(socket.SOCK_DGRAM) as port:
        ran = blast(port, transport="udp", model="flood", duration=0.2)
    counts = counted(ran.tally)
    assert counts.keys() <= {"refused", "one_way"}
    assert counts["refused"] <= 25, "a pause of 10 ms each time"


@repeated
def test_what_was_sent_is_what_was_meant(blast):
    """Flow, sequence and time, as they arrive at a sink; all sequences of a flow, in order."""
    from echobench.bench.load.payload import HEAD, pattern, sequence

    with truth.Sink() as sink:
        began = time.perf_counter_ns()
        blast(sink.port, transport="udp", model="open", rate=300.0, count=90, flows=3, size="100", timeout=0.1)
    flows = collections.defaultdict(list)
    for data in sink.data:
        name, sent = HEAD.unpack_from(data)
        (flow,) = (flow for flow in range(3) if sequence(flow, name) < 90)
        flows[flow].append(sequence(flow, name))
        assert data[16:] == pattern(100)[16:]
        assert began < sent < time.perf_counter_ns()
    # What is due at the same time may leave from the same port: so it is about a third that each has.
    assert sum(map(len, flows.values())) == 90
    for numbers in flows.values():
        assert numbers == list(range(len(numbers)))
    with unless_disturbed():
        assert all(len(flows[flow]) > 10 for flow in range(3))


@repeated
def test_the_schedule_is_kept_as_seen_from_outside(blast):
    """The kernel's receive times at a sink against the times that messages were due at, and against our own account.

    How late a busy machine makes us is not ours to say; but what we say of it must be what the sink saw.
    """
    with truth.Sink() as sink:
        ran = blast(sink.port, transport="udp", model="open", rate=500.0, count=300, timeout=0.1)
    assert sink.seen == 300
    gap = 1e9 / 500
    late = sorted(arrival - (ran.began + number * gap) for number, arrival in enumerate(sink.arrivals))
    assert late[0] > -200_000, "nothing is sent before it is due"
    ours = ran.tally.lateness
    with unless_disturbed():
        assert late[150] < 5_000_000
        for percent in (10, 50, 90):
            seen = late[len(late) * percent // 100]
            assert abs(ours.percentile(percent) - seen) < 300_000 + 0.1 * seen


@repeated
def test_a_generator_that_cannot_keep_up_says_so(blast):
    """More than it can send: how late each message is, as seen from outside and by us."""
    from echobench.bench.load.payload import HEAD, sequence

    gap = 4000 if blast.name == "portable" else 100  # nanoseconds
    with truth.Sink() as sink:
        ran = blast(sink.port, transport="udp", model="open", rate=1e9 / gap, count=5000, timeout=0.1)
    late = {
        (number := sequence(0, HEAD.unpack_from(data)[0])): arrival - (ran.began + number * gap)
        for data, arrival in zip(sink.data, sink.arrivals, strict=True)
    }
    ours = ran.tally.lateness
    assert ours.total == 5000
    seen = sorted(late[number] for number in late if number >= 4000)  # the last fifth, of which few were lost
    with unless_disturbed():
        assert abs(ours.percentile(90) - seen[len(seen) // 2]) < 1e6 + 0.1 * seen[len(seen) // 2]


@repeated
def test_stopping(blast):
    with UDP() as server:
        ran = blast(server.port, transport="udp", duration=30.0, stop_after=0.3)
    assert counted(ran.tally) == {"answered": ran.tally.intended}
    assert ran.took >= 0.2
    with unless_disturbed():
        assert ran.tally.answered > 10
        assert ran.took < 1.5


@repeated
def test_ticks_come_in_time(blast):
    with UDP() as server:
        ran = blast(server.port, transport="udp", model="open", rate=5.0, duration=1.0, interval=0.2)
    with unless_disturbed():
        assert len(ran.ticks) >= 4
        assert all(n * 200e6 <= tick < n * 200e6 + 150e6 for n, tick in enumerate(ran.ticks, 1))


def test_over_ipv6(blast):
    if sys.platform != "linux" or not socket.has_ipv6:
        pytest.skip("this host has no IPv6")
    with UDP(host="::1") as server:
        ran = blast(server.port, address="::1", transport="udp", count=50)
    assert counted(ran.tally) == {"answered": 50}
