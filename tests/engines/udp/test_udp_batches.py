"""Batches of which no two messages are alike, and who and what is not answered."""

from __future__ import annotations

import errno
import itertools
import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.helpers import has_ipv6, pattern
from rigs.udp_rig import TRAINS, needs_trains, received, send_train

from echobench import Guard, Reason
from echobench.guard import RateLimit

pytestmark = [
    pytest.mark.usefixtures("nothing_is_remembered"),
    pytest.mark.skipif(sys.platform != "linux", reason="it is Linux's"),
]

if sys.platform == "linux":
    from echobench.engines.udp.batch import Batch


# Batches of which no two messages are alike


KINDS = ["127.0.0.1", "127.9.8.7", "::1"] if has_ipv6() else ["127.0.0.1", "127.9.8.7"]


@given(
    sends=st.lists(
        st.tuples(st.sampled_from(KINDS), st.sampled_from([0, 1, 50, 700, 3000]), st.sampled_from([0, 0, 40, 200])),
        min_size=1,
        max_size=40,
    ),
    cycles=st.integers(1, 3),
)
def test_any_mixture_of_sizes_trains_families_and_destinations(rig, sends, cycles):
    here = rig()
    clients = {host: here.client(host) for host in KINDS}
    for _ in range(cycles):
        expected = {host: [] for host in KINDS}
        for host, size, segment in sends:
            data = pattern(size)
            if TRAINS and segment and size > segment:
                send_train(clients[host], data, segment)
                expected[host] += [data[at : at + segment] for at in range(0, size, segment)]
            else:
                clients[host].send(data)
                expected[host].append(data)
        before = here.counters.datagrams, here.counters.datagram_bytes
        here.serve()
        for host, datagrams in expected.items():
            assert received(clients[host], len(datagrams)) == datagrams, "whole, in order, from where it was asked"
        assert here.counters.datagrams - before[0] == sum(map(len, expected.values()))
        assert here.counters.datagram_bytes - before[1] == sum(size for _, size, _ in sends)
    here.close()


def test_batches_of_several_destinations_need_no_look_at_each_message(rig, monkeypatch):
    here = rig()
    clients = [here.client(host) for host in KINDS]
    for cycle in range(3):
        if cycle:
            monkeypatch.setattr(Batch, "_turn_one", lambda *args: pytest.fail("a message was looked at"))
        for client, _ in itertools.product(clients, range(5)):
            client.send(b"x" * (1 + cycle))
        here.serve()
        for client in clients:
            assert received(client, 5) == [b"x" * (1 + cycle)] * 5


def test_batches_that_are_alike_are_learnt_once(rig, monkeypatch):
    here = rig()
    client = here.client()
    learnt = []
    real = Batch._learn
    monkeypatch.setattr(Batch, "_learn", lambda self, *args: learnt.append(args[0]) or real(self, *args))
    for number in (10, 20, 5, 1, 64):
        for _ in range(number):
            client.send(b"same")
        here.serve()
        assert received(client, number) == [b"same"] * number
    assert learnt == [10]
    assert here.counters.datagrams == 100
    assert here.counters.datagram_bytes == 400


@needs_trains
def test_after_a_mixture_what_is_alike_is_soon_seen_to_be(rig, monkeypatch):
    here = rig()
    client = here.client()
    for i in range(10):
        send_train(client, pattern(100 + i), 10)
        client.send(b"x")
    here.serve()
    for _ in range(2):
        for _ in range(20):
            client.send(b"alike")
        here.serve()
    monkeypatch.setattr(Batch, "_learn", lambda *args: pytest.fail("it is learnt again"))
    for _ in range(40):
        client.send(b"alike")
    assert here.serve() == 40


def test_control_data_that_nobody_asked_for_are_not_taken_for_others(rig):
    """With IP_RECVTTL, which an inherited socket might have, they are as long as those of a train."""
    here = rig()
    here.server.setsockopt(socket.IPPROTO_IP, 12, 1)
    clients = [here.client(), here.client()]
    clients[0].setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 9)
    for client in clients:
        client.send(bytes(100))
    assert here.serve() == 2
    for client in clients:
        assert client.recv(1000) == bytes(100)
    assert here.counters.datagrams == 2


def test_control_data_that_are_cut_short_are_left_out(rig):
    """So many that there is no room for ours; then the system picks the address to answer from."""
    here = rig()
    here.server.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
    client = here.client()
    for _ in range(2):
        for size in (1, 2):
            client.send(bytes(size))
        assert here.serve() == 2
        assert received(client, 2) == [b"\0", b"\0\0"]


def test_zero_length_datagrams_among_others(rig):
    here = rig()
    client = here.client()
    data = [b"", b"x", b"", b"", b"yy", b""]
    for each in data:
        client.send(each)
    here.serve()
    assert received(client, 6) == data
    assert here.counters.datagrams == 6


def test_long_ones_are_received_fewer_at_a_time(rig):
    """What has been received is to be in the cache still when it is sent."""
    here = rig()
    client = here.client()
    client.send(bytes(60_000))
    here.serve()
    assert here.batch.most == 4
    client.recv(1 << 17)
    for _ in range(64):
        client.send(b"x")
    here.serve()
    assert here.batch.most == 64


# Who and what is not answered


def test_only_messages_to_groups_are_left_out(rig, monkeypatch):
    """Here 127.9.8.7 is a broadcast address."""
    monkeypatch.setattr("echobench.engines.destinations.is_broadcast", lambda host: host == "127.9.8.7")
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
    clients = [here.client(host) for host in KINDS[:2]]
    with monkeypatch.context() as patch:
        patch.setattr("echobench.engines.destinations.is_broadcast", none_left)
        for number in (1, 2):  # alike, and not
            for client in clients[:number]:
                client.send(b"x")
            here.serve()
        assert here.counters.drops == {Reason.DESTINATION_GROUP: 3}
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
