"""What the kernel can do to a batch of datagrams while it is sent."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.helpers import ask, blocking, datagram_client, pattern, port_of
from rigs.udp_rig import Script, needs_trains, received, send_train

from echobench import Guard, Reason

pytestmark = [
    pytest.mark.usefixtures("nothing_is_remembered"),
    pytest.mark.skipif(sys.platform != "linux", reason="the batched engine needs Linux"),
]

if sys.platform == "linux":
    from echobench.engines.udp import joining, sending
    from echobench.engines.udp.batch import Batch


# What the kernel does to a batch


def test_a_full_buffer_in_mid_batch_loses_nothing(rig, monkeypatch):
    here = rig()
    client = here.client()
    for i in range(20):
        client.send(b"%d" % i)
    Script(monkeypatch, 7, -errno.EAGAIN, 3, -errno.EAGAIN, -errno.EAGAIN)
    number, unfinished = here.begin()
    assert number == 20
    assert here.counters.datagrams == 7
    next(unfinished)
    assert here.counters.datagrams == 10
    next(unfinished)
    with pytest.raises(StopIteration):
        next(unfinished)
    assert received(client, 20) == [b"%d" % i for i in range(20)]
    assert here.counters.datagrams == 20
    assert here.counters.datagram_bytes == sum(len(b"%d" % i) for i in range(20))
    assert not here.counters.drops


def test_a_batch_that_is_given_up_is_counted(rig, monkeypatch):
    here = rig()
    client = here.client()
    for _ in range(20):
        client.send(b"x")
    Script(monkeypatch, 7, -errno.EAGAIN)
    _, unfinished = here.begin()
    unfinished.close()
    assert here.counters.datagrams == 7
    assert here.counters.drops == {Reason.SEND_BUFFER_FULL: 13}


def test_one_that_is_refused_costs_none_of_its_neighbours(rig):
    """The kernel sends nothing to 255.255.255.255 for a socket that may not broadcast, and nothing to family 99."""
    here = rig()
    client = here.client()
    for i in range(9):
        client.send(b"%d" % i)
    number = here.batch.receive(here.server.fileno())
    assert number == 9
    names = here.batch.messages.names
    for i in (0, 4, 8):
        names.bytes[32 * i] = 99
        names.bytes[32 * i + 4 : 32 * i + 8] = bytes([10, 0, 0, 1])  # an address like any other
    assert here.batch.answer(here.server, number) is None
    assert received(client, 6) == [b"%d" % i for i in (1, 2, 3, 5, 6, 7)]
    assert here.counters.datagrams == 6
    assert here.counters.drops == {Reason.SEND_FAILED: 3}


@pytest.mark.parametrize("error", [errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.EPERM])
def test_the_error_of_an_earlier_datagram_costs_nothing(rig, monkeypatch, error):
    here = rig()
    client = here.client()
    for i in range(5):
        client.send(b"%d" % i)
    script = Script(monkeypatch, -error, -error, 2, -error)
    assert here.begin() == (5, None)
    # The first call's error is not even looked at; the next one is the first message's if it comes twice.
    assert received(client, 5) == [b"%d" % i for i in range(5)]
    assert script.outcomes == []
    assert not here.counters.drops


def test_a_datagram_in_fragments_waits_for_room_too(rig, monkeypatch):
    """For all fragments but the first a full buffer is ENOBUFS, as is one that is too small for ever."""
    here = rig()
    client = here.client()
    client.send(b"x")
    queues = [1000, 0, 0]
    monkeypatch.setattr(sending, "send_queue", lambda sock: queues.pop(0))
    Script(monkeypatch, *[-errno.ENOBUFS] * 4)
    _, unfinished = here.begin()
    assert not here.counters.drops
    assert next(unfinished, "done") == "done"
    assert here.counters.drops == {Reason.SEND_FAILED: 1}


def test_an_error_while_receiving_costs_nothing(serve, monkeypatch):
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine="batched")
    real, errors = Batch.receive, [errno.ECONNREFUSED, errno.ENETUNREACH]

    def receive(batch, descriptor):
        if errors:
            raise OSError(errors.pop(), "ICMP")
        return real(batch, descriptor)

    monkeypatch.setattr(Batch, "receive", receive)
    assert blocking(ask, port_of(service, "udp"), b"and?") == b"and?"
    assert not errors


# Trains


@needs_trains
def test_trains_come_back_as_they_were(rig):
    here = rig()
    clients = [here.client() for _ in range(3)]
    for segment, client in zip((100, 1200, 7), clients, strict=True):
        send_train(client, pattern(segment * 9 + 3), segment)
    assert here.serve() == 3, "three messages, or there were no trains"
    for segment, client in zip((100, 1200, 7), clients, strict=True):
        data = pattern(segment * 9 + 3)
        assert received(client, 10) == [data[at : at + segment] for at in range(0, len(data), segment)]
    assert here.counters.datagrams == 30
    assert here.counters.datagram_bytes == sum(9 * s + 3 for s in (100, 1200, 7))


@needs_trains
@pytest.mark.parametrize("error", [errno.EINVAL, errno.EMSGSIZE, errno.EIO])
def test_a_refused_train_goes_datagram_by_datagram_and_the_next_one_at_once(rig, monkeypatch, error):
    here = rig()
    client = here.client()
    client.send(b"before")
    send_train(client, pattern(1050), 100)
    client.send(b"after")
    script = Script(monkeypatch, 1, *[-error] * 2)
    here.serve()
    expected = [b"before", *(pattern(1050)[at : at + 100] for at in range(0, 1050, 100)), b"after"]
    assert received(client, 13) == expected
    assert here.counters.datagrams == 13
    assert here.counters.datagram_bytes == 1050 + 11
    assert not here.counters.drops
    script.calls.clear()
    send_train(client, pattern(500), 100)
    send_train(client, pattern(500), 50)
    here.serve()
    assert received(client, 15)
    assert script.calls == [(0, 5), (1, 1)], "five datagrams, and a train of smaller ones, which was not refused"


@needs_trains
def test_a_refusal_in_mid_batch_costs_nothing_of_what_comes_behind_the_next_train(rig, monkeypatch):
    guard = Guard()
    here = rig(guard=guard)
    client, other = here.client(), here.client()
    guard.add_own_port(other.getsockname()[1])
    send_train(client, pattern(500), 100)
    other.send(b"not answered, so that there are two runs")
    send_train(client, pattern(500), 100)
    client.send(b"behind")
    Script(monkeypatch, *[-errno.EINVAL] * 2)
    here.serve()
    assert received(client, 11) == [*[pattern(500)[at : at + 100] for at in range(0, 500, 100)] * 2, b"behind"]
    assert here.counters.datagrams == 11
    assert here.counters.drops == {Reason.SOURCE_PORT_OWN: 1}


@needs_trains
def test_what_comes_in_between_does_not_disturb_a_train_that_is_cut_up(rig, monkeypatch):
    here = rig()
    client = here.client()
    send_train(client, pattern(1000), 100)
    client.send(b"after")
    full, bad = -errno.EAGAIN, -errno.EPERM
    Script(monkeypatch, 0, *[-errno.EINVAL] * 2, 3, full, 2, bad, bad, full)
    _, unfinished = here.begin()
    for _ in unfinished:
        pass
    pieces = [pattern(1000)[at : at + 100] for at in range(0, 1000, 100)]
    assert received(client, 10) == [*pieces[:5], *pieces[6:], b"after"]
    assert here.counters.datagrams == 10
    assert here.counters.drops == {Reason.SEND_FAILED: 1}


@needs_trains
def test_giving_up_a_train_that_is_cut_up_counts_what_is_left_of_it(rig, monkeypatch):
    here = rig()
    client = here.client()
    send_train(client, pattern(1000), 100)
    client.send(b"after")
    Script(monkeypatch, 0, *[-errno.EINVAL] * 2, 3, -errno.EAGAIN)
    _, unfinished = here.begin()
    unfinished.close()
    assert here.counters.datagrams == 3
    assert here.counters.drops == {Reason.SEND_BUFFER_FULL: 8}


def test_memory_of_refusals_is_bounded(rig, monkeypatch):
    monkeypatch.setattr(sending, "REFUSALS_REMEMBERED", 3)
    here = rig()
    messages, refusals = here.batch.messages, here.batch.sending
    for i in range(10):
        messages.names.bytes[:32] = struct.pack("<HHI", socket.AF_INET6, 1, 0) + bytes([i] * 16) + bytes(8)
        refusals.remember(0, 1000)
    assert [address[0] for address in refusals.refused] == [7, 8, 9]
    refusals.remember(0, 500)
    refusals.remember(0, 2000)
    assert refusals.refused[bytes([9] * 16)] == 500
    assert refusals.refuses(0, 500)
    assert not refusals.refuses(0, 499)


def joined(here, clients, monkeypatch):
    """Echo twenty datagrams for each of three, and see that there is one message for each."""
    script = Script(monkeypatch)
    for client in clients:
        for i in range(20):
            client.send(b"%02d" % i)
    assert here.serve() == 60
    for client in clients:
        assert received(client, 20) == [b"%02d" % i for i in range(20)]
    assert script.calls == [(0, 3)], "one message for each client"


@needs_trains
def test_datagrams_of_one_flow_are_joined(rig, monkeypatch):
    here = rig(trains=True)
    clients = [here.client() for _ in range(3)]
    joined(here, clients, monkeypatch)
    assert here.counters.datagrams == 60
    assert here.counters.datagram_bytes == 120


@needs_trains
def test_flows_are_told_apart_whatever_their_ports_have_in_common(rig, monkeypatch):
    here = rig(trains=True)
    clients = [here.client()]
    port = clients[0].getsockname()[1]
    for other in (*range(port % 256 + 1024, port, 256), *range(port + 256, 65536, 256)):
        with contextlib.suppress(OSError):  # it is taken
            clients.append(here.client(port=other))
        if len(clients) == 3:
            break
    joined(here, clients, monkeypatch)


@needs_trains
def test_what_is_too_long_for_one_message_is_two(rig, monkeypatch):
    here = rig(trains=True)
    client = here.client()
    script = Script(monkeypatch)
    for i in range(64):
        client.send(bytes([i]) * 1400)
    here.serve()
    assert received(client, 64) == [bytes([i]) * 1400 for i in range(64)]
    assert script.calls == [(0, 2)]


@needs_trains
@given(
    flows=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30)), min_size=1, max_size=12), size=st.integers(0, 1500)
)
def test_however_flows_are_mixed_each_gets_its_own_in_order(rig, flows, size):
    here = rig(trains=True)
    clients = [here.client() for _ in range(4)]
    sent = [[] for _ in clients]
    for flow, number in flows:
        for _ in range(number):
            data = (struct.pack("=I", len(sent[flow])) + bytes([flow]) * size)[:size]
            clients[flow].send(data)
            sent[flow].append(data)
    here.serve()
    for client, data in zip(clients, sent, strict=True):
        assert received(client, len(data)) == data
    assert here.counters.datagrams == sum(number for _, number in flows)
    here.close()


@needs_trains
def test_equal_ports_of_different_hosts_are_not_joined(rig, monkeypatch):
    here = rig(trains=True)
    with contextlib.ExitStack() as stack:
        port = here.server.getsockname()[1]
        one = stack.enter_context(datagram_client(port))
        other = stack.enter_context(datagram_client(port, source=("127.0.0.2", one.getsockname()[1])))
        script = Script(monkeypatch)
        for _ in range(5):
            one.send(b"one")
        for _ in range(5):
            other.send(b"two")
        here.batch._joining._misses = 0
        monkeypatch.setattr(joining, "MOST_SKIPPED", 0)
        here.serve()
        assert received(one, 5) == [b"one"] * 5
        assert received(other, 5) == [b"two"] * 5
        assert script.calls


@needs_trains
def test_what_is_refused_joined_goes_one_by_one_and_is_not_tried_again(rig, monkeypatch):
    here = rig(trains=True)
    client = here.client()
    script = Script(monkeypatch, *[-errno.EINVAL] * 2)
    for _ in range(2):
        for i in range(20):
            client.send(b"%02d" % i)
        here.serve()
        assert received(client, 20) == [b"%02d" % i for i in range(20)]
    assert script.calls == [(0, 1), (0, 1), (0, 20), (0, 20)]
    assert here.counters.datagrams == 40
    assert not here.counters.drops


@needs_trains
def test_a_buffer_that_fills_between_joined_ones_loses_nothing(rig, monkeypatch):
    here = rig(trains=True)
    clients = [here.client() for _ in range(3)]
    for client in clients:
        for i in range(20):
            client.send(b"%02d" % i)
    Script(monkeypatch, 1, -errno.EAGAIN, 5, -errno.EAGAIN)
    _, unfinished = here.begin()
    assert here.counters.datagrams == 25
    assert next(unfinished, "done") == "done"
    for client in clients:
        assert received(client, 20) == [b"%02d" % i for i in range(20)]
    assert here.counters.datagrams == 60


def test_where_nothing_can_be_joined_it_is_looked_for_ever_less(rig, monkeypatch):
    here = rig(trains=True)
    looks = []
    real = joining.Joining._runs
    monkeypatch.setattr(joining.Joining, "_runs", lambda self, number: looks.append(number) or real(self, number))
    clients = [here.client() for _ in range(10)]
    for _ in range(50):
        for client in clients:
            client.send(b"x")
        here.serve()
        for client in clients:
            assert client.recv(10) == b"x"
    assert 1 <= len(looks) <= 8


@pytest.mark.parametrize(
    ("length", "control", "most"),
    [
        (1, 0, 65_000),
        (1452, 0, 44),  # 65,000 bytes at most
        (1453, 0, 0),  # does not fit into a frame with IPv6
        (0, 0, 0),
        (100, 40, 650),  # IPV6_PKTINFO
        (100, 104, 650),  # the size of the pieces takes 24 more, and there are 128
        (100, 112, 0),
    ],
)
def test_how_many_are_joined_at_most(rig, length, control, most):
    way = rig(trains=True).batch._joining
    way.prepare(length, bytes(control))
    assert way._most == most


@needs_trains
def test_looks_in_vain_become_rarer_until_something_can_be_joined(rig, monkeypatch):
    here = rig(trains=True)
    asked, looks = [], []
    runs, send = joining.Joining._runs, joining.Joining.send
    monkeypatch.setattr(joining.Joining, "_runs", lambda self, n: looks.append(len(asked)) or runs(self, n))
    monkeypatch.setattr(joining.Joining, "send", lambda self, sock, n: asked.append(n) or send(self, sock, n))
    clients = [here.client() for _ in range(10)]

    def batches(number, each):
        del asked[:], looks[:]
        while len(asked) < number:
            for client in clients:
                for _ in range(each):
                    client.send(b"x")
            here.serve()
            for client in clients:
                assert received(client, each) == [b"x"] * each
        return list(looks)

    rarer = [1, 3, 6, 11, 20, 37, 70, 135, 200]  # leaves out 1, 2, 4, 8, 16, 32, 64, and 64 again
    assert batches(200, 1) == rarer
    batches(64, 1)
    assert batches(1, 5) == [1], "now it can be joined"
    assert batches(20, 1) == rarer[:5]
