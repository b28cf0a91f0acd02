"""Datagrams in batches, and what can go wrong in the midst of one."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import socket
import struct
import sys

import pytest
import pytest_twisted
from helpers import ask, blocking, datagram_client, has_ipv6, pattern, port_of, settle, until
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import capturedLogs

from echobench import Counters, Guard, Reason
from echobench.engines import DATAGRAM, EngineError, Setting, choose
from echobench.guard import RateLimit

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is Linux's")

if sys.platform == "linux":
    from echobench.engines import batches, joining, sending, udp_batched, udp_trial
    from echobench.engines.batches import Batch, turn
    from echobench.engines.datagrams import answering, ask_for_destinations
    from echobench.kernel.control import SOL_UDP, UDP_SEGMENT
    from echobench.kernel.messages import Headers

TRAINS = sys.platform == "linux" and udp_trial.joins()
needs_trains = pytest.mark.skipif(not TRAINS, reason="this kernel knows no trains")
needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")


@pytest.fixture(autouse=True)
def _nothing_is_remembered():
    turn.cache_clear()
    answering.cache_clear()


def send_train(sock, data, segment):
    sock.sendmsg([data], [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", segment))])


class Rig(contextlib.ExitStack):
    """A batch, a socket that it serves, and clients; what is sent over loopback has arrived when it is sent."""

    def __init__(self, *, guard=None, trains=False, count=64):
        super().__init__()
        self.counters = Counters()
        self.batch = Batch(guard or Guard(), self.counters, trains=trains, count=count)
        six = has_ipv6()
        self.server = self.enter_context(socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM))
        if six:
            self.server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.server.bind(("::" if six else "0.0.0.0", 0))
        self.server.setblocking(False)
        ask_for_destinations(self.server)
        udp_batched.prepare(self.server)

    def client(self, host="127.0.0.1"):
        return self.enter_context(datagram_client(self.server.getsockname()[1], host))

    def begin(self):
        """Receive what there is, and begin to answer it."""
        number = self.batch.receive(self.server.fileno())
        return number, self.batch.answer(self.server, number) if number else None

    def serve(self):
        """Answer all there is; says how many messages that were."""
        total = 0
        while True:
            number, unfinished = self.begin()
            if not number:
                return total
            total += number
            for _ in unfinished or ():
                pass


@pytest.fixture
def rig():
    with contextlib.ExitStack() as stack:
        yield lambda **how: stack.enter_context(Rig(**how))


def received(sock, number):
    return [sock.recv(1 << 17) for _ in range(number)]


class Script:
    """Stands before sending: each outcome is how many messages may go at most, or the negative number of an error."""

    def __init__(self, monkeypatch, *outcomes):
        self.outcomes = list(outcomes)
        self.calls = []
        real = Headers.send

        def send(headers, descriptor, first, number):
            self.calls.append((first, number))
            outcome = self.outcomes.pop(0) if self.outcomes else number
            if outcome < 0:
                ctypes.set_errno(-outcome)
                return -1
            return real(headers, descriptor, first, min(outcome, number))

        monkeypatch.setattr(Headers, "send", send)


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
    monkeypatch.setattr(sending, "REMEMBERED", 3)
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


@needs_trains
def test_datagrams_of_one_flow_are_joined(rig, monkeypatch):
    here = rig(trains=True)
    clients = [here.client() for _ in range(3)]
    script = Script(monkeypatch)
    for client in clients:
        for i in range(20):
            client.send(b"%02d" % i)
    assert here.serve() == 60
    for client in clients:
        assert received(client, 20) == [b"%02d" % i for i in range(20)]
    assert script.calls == [(0, 3)], "one message for each client"
    assert here.counters.datagrams == 60
    assert here.counters.datagram_bytes == 120


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
    monkeypatch.setattr("echobench.engines.datagrams.is_broadcast", lambda host: host == "127.9.8.7")
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
        patch.setattr("echobench.engines.datagrams.is_broadcast", none_left)
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


# The port, in a reactor


def batched(service):
    return service._ports[-1][1]


def test_while_the_buffer_is_full_nothing_is_read_and_then_it_goes_on(serve, monkeypatch):
    from twisted.internet import reactor

    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine="batched")
    port = batched(service)
    full = [True]
    real = Headers.send

    def send(headers, descriptor, first, number):
        if full[0]:
            ctypes.set_errno(errno.EAGAIN)
            return -1
        return real(headers, descriptor, first, number)

    monkeypatch.setattr(Headers, "send", send)
    with datagram_client(port_of(service, "udp")) as client:
        client.send(b"1")
        until(lambda: port in reactor.getWriters())
        assert port not in reactor.getReaders()
        client.send(b"2")
        settle(0.01)
        full[0] = False
        assert blocking(received, client, 2) == [b"1", b"2"]
        until(lambda: port not in reactor.getWriters())
        assert port in reactor.getReaders()
    assert service.snapshot().datagrams == 2
    assert not service.snapshot().drops


def test_stopping_with_a_full_buffer_is_counted(serve, monkeypatch):
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine="batched")
    port = batched(service)
    Script(monkeypatch, *[-errno.EAGAIN] * 1_000_000)
    with datagram_client(port_of(service, "udp")) as client:
        client.send(b"1")
        client.send(b"2")
        until(lambda: port._unfinished)
        pytest_twisted.blockon(service.stopService())
    seen = service.snapshot()
    assert seen.datagrams == 0
    assert seen.drops[Reason.SEND_BUFFER_FULL] >= 1
    assert seen.drops[Reason.SEND_BUFFER_FULL] + seen.kernel_drops <= 2


def test_one_port_with_a_full_buffer_holds_up_no_other(serve, monkeypatch):
    service = serve(0, ("127.0.0.1", "127.0.0.2"), tcp=False, udp_engine="batched")
    number = port_of(service, "udp")
    stuck = next(port for _, port in service._ports if port.getHost().host == "127.0.0.1")
    real, full = Headers.send, [True]

    def send(headers, descriptor, first, count):
        if full[0] and descriptor == stuck.fileno():
            ctypes.set_errno(errno.EAGAIN)
            return -1
        return real(headers, descriptor, first, count)

    monkeypatch.setattr(Headers, "send", send)
    with datagram_client(number) as client:
        client.send(b"held")
        until(lambda: stuck._unfinished)
        for i in range(3):
            assert blocking(ask, number, b"free %d" % i, "127.0.0.2") == b"free %d" % i
        full[0] = False
        assert blocking(client.recv, 100) == b"held"
        client.send(b"again")
        assert blocking(client.recv, 100) == b"again"


def test_a_flood_leaves_the_reactor_its_turn(serve, monkeypatch):
    monkeypatch.setattr(udp_batched, "TURN", 0)
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine="batched")
    with datagram_client(port_of(service, "udp")) as client:
        for _ in range(200):  # in the reactor's own thread: it cannot read meanwhile
            client.send(b"x")
        batched(service).doRead()
        assert service.snapshot().datagrams == batches.COUNT
        batched(service).doRead()
        assert service.snapshot().datagrams == 2 * batches.COUNT
        until(lambda: service.snapshot().datagrams == 200)


def test_closed_with_traffic_in_flight(serve):
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine="batched")
    with datagram_client(port_of(service, "udp")) as client:
        for _ in range(1000):
            client.send(b"x")
        stopping = service.stopService()
        for _ in range(100):
            with contextlib.suppress(OSError):
                client.send(b"x")
        pytest_twisted.blockon(stopping)
        with contextlib.suppress(OSError):
            client.send(b"x")
        settle(0.01)
    assert service.snapshot().datagrams <= 1100


def test_a_batch_that_cannot_be_handled_does_not_end_the_service(serve, monkeypatch, logged_errors):
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine="batched")
    with monkeypatch.context() as patch:
        patch.setattr(Batch, "_learn", lambda *args: 1 / 0)
        with datagram_client(port_of(service, "udp")) as client:
            client.send(b"x")
            until(lambda: logged_errors)
    assert "a batch of datagrams could not be handled" in logged_errors.pop()["log_format"]
    assert blocking(ask, port_of(service, "udp"), b"still there") == b"still there"


def test_an_inherited_socket_is_put_in_order(serve):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR: an error of one client's would disturb others
    sock.setsockopt(socket.IPPROTO_IP, 12, 1)  # IP_RECVTTL: control data that nobody asked for, as long as UDP_GRO
    sock.bind(("127.0.0.1", 0))
    service = serve(None, inherited=[sock], udp_engine="batched")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST) == 0
    assert sock.getsockopt(socket.IPPROTO_IP, 11) == 0
    assert blocking(ask, sock.getsockname()[1], b"hello") == b"hello"
    assert not service.snapshot().drops


# The choice


def setting():
    from twisted.internet import reactor

    return Setting(reactor)


def test_auto_takes_it():
    with capturedLogs() as logs:
        assert choose(DATAGRAM, "auto", setting()).name == "batched"
    assert [event["log_format"].format(**event) for event in logs] == ["engine for datagrams: batched"]


def test_where_it_does_not_work_auto_says_why_and_takes_another(monkeypatch):
    monkeypatch.setattr(udp_batched, "trial", lambda: "a trial over loopback failed: [Errno 1] recvmmsg: forbidden")
    with capturedLogs() as logs:
        assert choose(DATAGRAM, "auto", setting()).name == "portable"
    (line,) = [event["log_format"].format(**event) for event in logs]
    assert line == (
        "engine for datagrams: portable "
        "(batched cannot be had: a trial over loopback failed: [Errno 1] recvmmsg: forbidden)"
    )


def test_a_python_without_the_modules_that_it_needs_does_without_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "echobench.engines.udp_batched")
    monkeypatch.setitem(sys.modules, "echobench.engines.batches", None)
    with capturedLogs() as logs:
        assert choose(DATAGRAM, "auto", setting()).name == "portable"
    assert "batched cannot be had: import of echobench.engines.batches" in logs[0]["log_format"].format(**logs[0])


def test_asked_for_by_name_it_is_an_error(monkeypatch):
    monkeypatch.setattr("echobench.kernel.missing", lambda: "it needs Linux, and this is plan9")
    with pytest.raises(EngineError, match="engine batched cannot be had: it needs Linux, and this is plan9"):
        choose(DATAGRAM, "batched", setting())


def test_a_reactor_that_watches_no_descriptors_cannot_have_it():
    assert "cannot watch" in udp_batched.BatchedDatagram.unavailable(object())


@pytest.fixture
def untried():
    udp_trial.trial.cache_clear()
    udp_trial.joins.cache_clear()
    yield
    udp_trial.trial.cache_clear()
    udp_trial.joins.cache_clear()


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS])
def test_a_sandbox_that_forbids_it_is_found_out(untried, monkeypatch, code):
    def forbidden(*args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Headers, "receive", forbidden)
    assert os.strerror(code) in udp_trial.trial()
    assert not udp_trial.joins()


def test_a_machine_that_is_not_known_is_found_out(untried, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "vax")
    assert "the number of the system call recvmmsg is not known for vax machines" in udp_trial.trial()


@pytest.mark.parametrize(
    "harm",
    [
        lambda messages: messages.outgoing.size.__setitem__(2, 5),  # lengths elsewhere
        lambda messages: messages.outgoing.base.__setitem__(3, messages.outgoing.base[0] + 1),  # other bytes
        lambda messages: messages.outgoing.name.__setitem__(0, messages.outgoing.name[5]),  # another peer
        lambda messages: messages.outgoing.iovlen.__setitem__(1, 0),
    ],
)
def test_a_kernel_with_other_layouts_is_found_out(untried, monkeypatch, harm):
    monkeypatch.setattr(udp_trial, "PATIENCE", 0.1)
    real = Batch._learn

    def learn(batch, number, headers, controls):
        real(batch, number, headers, controls)
        harm(batch.messages)

    monkeypatch.setattr(Batch, "_learn", learn)
    assert udp_trial.trial().startswith("a trial over loopback failed: ")


def test_answers_from_the_wrong_address_are_found_out(untried, monkeypatch):
    """Over 127.0.0.1 they come from the right one by chance; so another is asked too."""
    monkeypatch.setattr(udp_trial, "PATIENCE", 0.1)
    monkeypatch.setattr(batches, "answering", lambda control: ())
    assert "nothing came back from 127." in udp_trial.trial()


def test_without_trains_it_works_all_the_same(untried, serve, monkeypatch):
    monkeypatch.setattr(udp_trial, "UDP_GRO", 9999)
    assert not udp_trial.joins()
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine="batched")

    def client():
        with datagram_client(port_of(service, "udp")) as sock:
            for i in range(20):
                sock.send(b"%02d" % i)
            return received(sock, 20)

    assert blocking(client) == [b"%02d" % i for i in range(20)]
