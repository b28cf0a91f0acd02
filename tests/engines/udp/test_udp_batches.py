"""What a batch is made of: sizes, trains, families, destinations and control data, in any mixture."""

from __future__ import annotations

import itertools
import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.helpers import has_ipv6, pattern
from rigs.udp_rig import TRAINS, needs_trains, received, send_train

from echobench import Counters, Reason
from echobench.guard import Guard
from echobench.histograms import BatchSizes

pytestmark = [
    pytest.mark.usefixtures("nothing_is_remembered"),
    pytest.mark.skipif(sys.platform != "linux", reason="the batched engine needs Linux"),
]

if sys.platform == "linux":
    from echobench.engines.destinations import put_in_order
    from echobench.engines.udp.batch import Batch, CountedBatch
    from echobench.engines.udp.turning import Turning

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


@pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")
@given(batches=st.lists(st.lists(st.sampled_from(["127.0.0.1", "::1"]), min_size=1, max_size=12), max_size=6))
def test_batches_of_one_family_are_counted_apart(rig, batches):
    here = rig()
    ipv4, ipv6, sizes = Counters(), Counters(), BatchSizes()
    here.batch = CountedBatch(Guard(), here.counters, sizes.datagram, [ipv4, ipv6])
    clients = {host: here.client(host) for host in ("127.0.0.1", "::1")}
    expected = {id(ipv4): 0, id(ipv6): 0, id(here.counters): 0}
    for hosts in batches:
        for host in hosts:
            clients[host].send(b"123")
        here.serve()
        for host in hosts:
            assert received(clients[host], 1) == [b"123"]
        counters = {"127.0.0.1": ipv4, "::1": ipv6}[hosts[0]] if len(set(hosts)) == 1 else here.counters
        expected[id(counters)] += len(hosts)
    for counters in (ipv4, ipv6, here.counters):
        assert counters.datagrams == expected[id(counters)]
        assert counters.datagram_bytes == 3 * counters.datagrams
    here.close()


def test_batches_of_several_destinations_need_no_look_at_each_message(rig, monkeypatch):
    here = rig()
    clients = [here.client(host) for host in KINDS]
    for cycle in range(3):
        if cycle:
            monkeypatch.setattr(Turning, "_turn_one", lambda *args: pytest.fail("a message was looked at"))
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


def asked_for(sock, level, option):
    """Have more control data delivered, or say that this system cannot."""
    try:
        sock.setsockopt(level, option, 1)
    except OSError as error:
        pytest.skip(f"this kernel has no such option: {error}")


@pytest.mark.parametrize("host", KINDS)
def test_there_is_room_for_what_others_asked_for(rig, host):
    """Somebody who shares the socket: then there are times and counts before what the answer needs."""
    here = rig()
    asked_for(here.server, socket.SOL_SOCKET, 35)  # SO_TIMESTAMPNS
    asked_for(here.server, socket.SOL_SOCKET, 40)  # SO_RXQ_OVFL, which comes when something was dropped
    client = here.client(host)
    for _ in range(2):
        for size in (1, 2):
            client.send(bytes(size))
        if TRAINS:
            send_train(client, pattern(1000), 100)
        here.serve()
        assert not here.batch.cut
        assert received(client, 2) == [b"\0", b"\0\0"]
        if TRAINS:
            assert received(client, 10) == [pattern(1000)[at : at + 100] for at in range(0, 1000, 100)]
    assert not here.counters.drops


def test_what_came_with_more_than_there_is_room_for_is_unknown(rig):
    """Where it was sent to, and whether it is a train: neither can be guessed."""
    here = rig()
    client = here.client("127.9.8.7")
    options = [(socket.SOL_SOCKET, 35, 1), (socket.SOL_SOCKET, 37, 0x18 | 1 << 4)]  # SO_TIMESTAMPNS, SO_TIMESTAMPING
    for level, option, value in options:
        here.server.setsockopt(level, option, value)
    for option in (12, 13, 20):  # IP_RECVTTL, IP_RECVTOS, IP_RECVORIGDSTADDR
        asked_for(here.server, socket.IPPROTO_IP, option)
    if has_ipv6():  # for IPv4 the others come after ours
        client = here.client("::1")
        for option in (51, 66, 74):  # IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS, IPV6_RECVORIGDSTADDR
            asked_for(here.server, socket.IPPROTO_IPV6, option)
    for turns in (1, 2):
        for _ in range(10):
            client.send(b"alike")
        here.serve()
        assert here.batch.cut
        assert here.counters.drops == {Reason.DESTINATION_UNKNOWN: 10 * turns}
    put_in_order(here.server)
    for _ in range(10):
        client.send(b"alike")
    here.serve()
    assert received(client, 10) == [b"alike"] * 10
    assert not here.batch.cut


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


def test_what_was_half_learnt_is_not_believed(rig, monkeypatch):
    """An exception between one table and the next: the next batch like the last one is learnt anew."""
    here = rig()
    one, other = here.client(KINDS[0]), here.client(KINDS[1])
    for client in (one, other, one):
        client.send(b"x")
        if client is other:
            with monkeypatch.context() as patch:
                patch.setattr("echobench.engines.udp.batch.Learnt", lambda **fields: 1 / 0)
                with pytest.raises(ZeroDivisionError):
                    here.serve()
        else:
            here.serve()
            assert client.recv(10) == b"x", "from the address that was asked, or it would not get here"
