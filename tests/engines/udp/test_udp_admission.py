"""Which messages of a batch are answered: not those to groups, nor those that the guard or its rate refuses."""

from __future__ import annotations

import errno
import ipaddress
import struct
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.helpers import pattern
from rigs.udp_rig import TRAINS, Script, needs_ipv6, needs_trains, received, send_train

from echobench import Guard, Reason
from echobench.guard import RateLimit

pytestmark = [
    pytest.mark.usefixtures("nothing_is_remembered"),
    pytest.mark.skipif(sys.platform != "linux", reason="the batched engine needs Linux"),
]

if sys.platform == "linux":
    from echobench.engines.udp.sending import Sending


def test_only_messages_to_groups_are_left_out(rig, monkeypatch):
    """Here 127.9.8.7 is a broadcast address."""
    monkeypatch.setattr("echobench.groups.is_broadcast", lambda host: host == "127.9.8.7")
    here = rig()
    good, bad = here.client(), here.client("127.9.8.7")
    if TRAINS:
        send_train(bad, bytes(1000), 100)
        here.serve()
        assert here.counters.drops.pop(Reason.DESTINATION_GROUP) == 10
    for _ in range(2):
        for i in range(10):
            good.send(b"%d" % i)
            bad.send(b"reflect!")
        here.serve()
        assert received(good, 10) == [b"%d" % i for i in range(10)]
        for _ in range(10):  # nothing but these
            bad.send(b"reflect!")
        here.serve()
    assert here.counters.datagrams == 20
    assert here.counters.drops == {Reason.DESTINATION_GROUP: 40}
    bad.setblocking(False)
    with pytest.raises(BlockingIOError):
        bad.recv(100)


def test_without_a_descriptor_to_look_with_nothing_is_answered_nor_remembered(rig, monkeypatch):
    def none_left(host):
        raise OSError(errno.EMFILE, "Too many open files")

    here = rig()
    clients = [here.client(host) for host in ("127.0.0.1", "127.9.8.7")]
    with monkeypatch.context() as patch:
        patch.setattr("echobench.groups.is_broadcast", none_left)
        for number in (1, 2):  # alike, and not
            for client in clients[:number]:
                client.send(b"x")
            here.serve()
        assert here.counters.drops == {Reason.DESTINATION_UNKNOWN: 3}
    for number in (1, 2):
        for client in clients[:number]:
            client.send(b"x")
        here.serve()
        for client in clients[:number]:
            assert client.recv(10) == b"x"


def test_the_guard_refuses_those_that_it_must_and_no_others(rig):
    guard = Guard()
    here = rig(guard=guard)
    good, bad = here.client(), here.client()
    guard.add_own_port(bad.getsockname()[1])
    for turns in range(3):
        for i in range(10):
            (bad if i % 3 == turns else good).send(b"%d" % i)
        here.serve()
        expected = [b"%d" % i for i in range(10) if i % 3 != turns]
        assert received(good, len(expected)) == expected
    assert here.counters.drops == {Reason.SOURCE_PORT_OWN: 10}
    assert here.counters.datagrams == 20


def test_a_port_that_only_looks_like_ours_is_answered(rig):
    """Its high byte is that of ours, and so it is looked at by itself."""
    guard = Guard()
    here = rig(guard=guard)
    client = here.client()
    guard.add_own_port(client.getsockname()[1] ^ 1)
    client.send(b"not me")
    here.serve()
    assert client.recv(100) == b"not me"


@needs_trains
def test_a_rate_counts_the_datagrams_in_a_train(rig):
    time = [1000.0]
    here = rig(guard=Guard(rate=RateLimit(10, 10, lambda: time[0])))
    client = here.client()
    for turns in (1, 2):  # what was cut off the first time has left nothing behind
        client.send(b"one")
        send_train(client, pattern(1500), 100)
        client.send(b"late")
        here.serve()
        assert received(client, 10) == [b"one", *(pattern(1500)[at : at + 100] for at in range(0, 900, 100))]
        assert here.counters.datagrams == 10 * turns
        assert here.counters.datagram_bytes == 903 * turns
        assert here.counters.drops == {Reason.UDP_RATE: 7 * turns}
        time[0] += 10


def rated(limit=10, salt="the same"):
    """Make a rate limit whose clock stands still, and whose buckets are the same in all of them."""
    made = RateLimit(limit, limit, lambda: 1000.0)
    made._salt = salt
    return made


@given(
    sends=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([10, 50, 700]), st.sampled_from([0, 0, 0, 7, 40])),
        min_size=1,
        max_size=64,
    ),
    alike=st.booleans(),
    limit=st.integers(1, 150),
    repeats=st.integers(1, 3),
)
def test_a_batch_is_granted_what_its_datagrams_would_be_one_by_one(rig, sends, alike, limit, repeats):
    """Two flows of one host, one of another, and one from a port that is ours; trains; the guard by itself judges."""
    guard, judge = Guard(rate=rated(limit)), Guard(rate=rated(limit))
    here = rig(guard=guard, trains=TRAINS)
    clients = [here.client(), here.client(), here.client(source="127.0.0.2"), here.client()]
    own = clients[3].getsockname()[1]
    for each in (guard, judge):
        each.add_own_port(own)
    expected, drops = [[] for _ in clients], Counter()
    sent = 0
    for _ in range(repeats):
        for who, any_size, any_segment in sends:
            size, segment = (50, 0) if alike else (any_size, any_segment if TRAINS else 0)
            data = pattern(size + sent)[sent:]  # those that were lost can be told from those that were not
            sent = (sent + 1) % 100
            pieces = [data]
            if segment and size > segment:
                send_train(clients[who], data, segment)
                pieces = [data[at : at + segment] for at in range(0, size, segment)]
            else:
                clients[who].send(data)
            for piece in pieces:
                refused = judge.refuses(*clients[who].getsockname()[:2])
                if refused is None:
                    expected[who].append(piece)
                else:
                    drops[refused] += 1
        here.serve()
    for client, datagrams in zip(clients, expected, strict=True):
        assert received(client, len(datagrams)) == datagrams
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
    assert here.counters.drops == drops
    assert here.counters.datagrams == sum(map(len, expected))
    assert here.counters.datagram_bytes == sum(len(piece) for each in expected for piece in each)
    here.close()


@needs_trains
def test_with_a_rate_that_grants_all_a_batch_goes_the_fast_way(rig, monkeypatch):
    """It asks once for each run of one source, looks at no message, and joins them."""
    here = rig(guard=Guard(rate=rated(1000)), trains=True)
    monkeypatch.setattr(Sending, "send", lambda *args: pytest.fail("it went the slow way"))
    monkeypatch.setattr(Guard, "refuses_source", lambda *args: pytest.fail("a message was looked at"))
    asked = []
    real = RateLimit.take
    monkeypatch.setattr(
        RateLimit, "take", lambda self, key, events: asked.append((key, events)) or real(self, key, events)
    )
    clients = [here.client(), here.client(), here.client(source="127.0.0.2")]
    script = Script(monkeypatch)
    for client in clients:
        for _ in range(20):
            client.send(b"same")
    assert here.serve() == 60
    for client in clients:
        assert received(client, 20) == [b"same"] * 20
    assert asked == [("127.0.0.1", 40), ("127.0.0.2", 20)]
    assert script.calls == [(0, 3)], "three trains in one call"
    assert here.counters.datagrams == 60


def test_one_source_over_its_rate_does_not_cost_the_others_a_call_each(rig, monkeypatch):
    """What is granted goes in as few calls as it lies in one piece, however many sources it is from."""
    rate = rated(1)
    here = rig(guard=Guard(rate=rate))
    script = Script(monkeypatch)
    flood, *others = [here.client(source=f"127.0.0.{i}") for i in range(2, 8)]
    rate.take("127.0.0.2")
    for client in (*others[:3], flood, *others[3:]):
        client.send(b"x")
    assert here.serve() == 6
    assert script.calls == [(0, 3), (4, 2)]
    for client in others:
        assert received(client, 1) == [b"x"]
    assert here.counters.drops == {Reason.UDP_RATE: 1}


@needs_trains
def test_a_train_that_was_cut_is_answered_whole_the_next_time(rig):
    """What is learnt of a batch must not outlive a change to it."""
    rate = rated(25)
    here = rig(guard=Guard(rate=rate))
    client = here.client()
    for answered in (10, 10, 5):
        send_train(client, pattern(1000), 100)
        here.serve()
        assert len(received(client, answered)) == answered
    rate._full_at[:] = rated()._full_at
    send_train(client, pattern(1000), 100)
    here.serve()
    assert received(client, 10) == [pattern(1000)[at : at + 100] for at in range(0, 1000, 100)]
    assert here.counters.drops == {Reason.UDP_RATE: 5}


@needs_ipv6
def test_equal_link_local_addresses_on_two_links_are_two_sources(rig):
    rate = RateLimit(1, 1, lambda: 0.0)
    here = rig(guard=Guard(rate=rate))
    client = here.client("::1")
    for _ in range(4):
        client.send(b"x")
    assert here.batch.receive(here.server.fileno()) == 4
    names = here.batch.messages.names.bytes
    for i, scope in enumerate((2, 3, 3, 2)):
        names[32 * i + 8 : 32 * i + 28] = ipaddress.ip_address("fe80::1").packed + struct.pack("=I", scope)
    assert here.batch._admission.ration(rate, [(0, 4)], False) == [(0, 2)], "one for each link"
    assert here.counters.drops == {Reason.UDP_RATE: 2}
