"""recvmmsg and sendmmsg over tables, control data and their layouts: the kernel floor alone, without Twisted."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import resource
import socket
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.helpers import has_ipv6

from echobench.kernel.control import (
    IP_PKTINFO,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPV6_PKTINFO,
    SOL_UDP,
    UDP_GRO,
    UDP_SEGMENT,
    join,
    space,
    split,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="these tests ask the Linux kernel")

if sys.platform == "linux":
    from echobench.kernel.layouts import layouts
    from echobench.kernel.messages import CONTROL, HEADER, Headers, Messages

messages = st.lists(
    st.tuples(st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-(1 << 31), (1 << 31) - 1), st.binary(max_size=40))
)


@given(messages)
def test_control_data_can_be_joined_and_split(parts):
    assert list(split(join(parts))) == parts


@given(st.binary(max_size=200))
def test_whatever_control_data_are_splitting_them_ends(data):
    for _, _, content in split(data):
        assert len(content) <= len(data)


@given(st.integers(0, 1000))
def test_the_room_for_control_data_is_what_the_c_library_says(size):
    assert space(size) == socket.CMSG_SPACE(size)
    assert len(join([(1, 2, bytes(size))])) == space(size)


@contextlib.contextmanager
def ends(number=1, family=socket.AF_INET, bound="127.0.0.1", asked="127.0.0.1"):
    """A socket that does not block, and some that are connected to it."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind((bound, 0))
        server.setblocking(False)
        clients = []
        for _ in range(number):
            client = stack.enter_context(
                socket.socket(socket.AF_INET6 if ":" in asked else socket.AF_INET, server.type)
            )
            client.settimeout(10)
            client.connect((asked, server.getsockname()[1]))
            clients.append(client)
        yield server, *clients


def turn_round(batch, number):
    batch.outgoing.size[:number] = batch.incoming.length[:number]


@pytest.mark.parametrize(
    ("family", "bound", "asked"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::", "127.0.0.1"),
        (socket.AF_INET6, "::", "::1"),
    ],
)
def test_what_comes_goes_back_to_whom_it_came_from(family, bound, asked):
    if family == socket.AF_INET6 and not has_ipv6():
        pytest.skip("this host has no IPv6")
    batch = Messages(8)
    with ends(3, family, bound, asked) as (server, *clients):
        for turn in range(3):  # the same memory again and again
            for i, client in enumerate(clients):
                client.send(bytes([i, turn]) * (1000 * i))
            number = batch.incoming.receive(server.fileno(), 8)
            assert number == 3
            assert batch.incoming.length[:number].tolist() == [0, 2000, 4000]
            for i, client in enumerate(clients):
                host, port = batch.source(i)
                assert port == client.getsockname()[1]
                assert host.removeprefix("::ffff:") == asked
                assert tuple(column[i] for column in batch.ports(number)) == divmod(port, 256)
            turn_round(batch, number)
            assert batch.outgoing.send(server.fileno(), 0, number) == number
            for i, client in enumerate(clients):
                assert client.recv(10_000) == bytes([i, turn]) * (1000 * i)
        assert batch.incoming.receive(server.fileno(), 8) == 0


def test_the_longest_datagram_fits():
    batch = Messages(2)
    data = bytes(range(256)) * 255 + bytes(227)
    with ends() as (server, client):
        client.send(data)
        assert batch.incoming.receive(server.fileno(), 2) == 1
        turn_round(batch, 1)
        assert batch.outgoing.send(server.fileno(), 0, 1) == 1
        assert client.recv(1 << 17) == data


def test_no_more_are_received_than_were_asked_for():
    batch = Messages(8)
    with ends() as (server, client):
        for i in range(8):
            client.send(bytes(i))
        assert batch.incoming.receive(server.fileno(), 3) == 3
        assert batch.incoming.receive(server.fileno(), 8) == 5
        assert batch.incoming.length[:5].tolist() == [3, 4, 5, 6, 7]


def test_sending_can_begin_anywhere():
    batch = Messages(8)
    with ends() as (server, client):
        for i in range(6):
            client.send(bytes([i]))
        number = batch.incoming.receive(server.fileno(), 8)
        turn_round(batch, number)
        assert batch.outgoing.send(server.fileno(), 2, 3) == 3
        assert [client.recv(10) for _ in range(3)] == [b"\2", b"\3", b"\4"]


def test_what_is_refused_says_why():
    batch = Messages(4)
    with ends() as (server, client):
        for i in range(3):
            client.send(bytes([i]))
        number = batch.incoming.receive(server.fileno(), 4)
        turn_round(batch, number)
        batch.names.bytes[32 + 2 : 32 + 4] = bytes(2)  # the second is to go to port 0
        assert batch.outgoing.send(server.fileno(), 0, 3) == 1
        assert batch.outgoing.send(server.fileno(), 1, 2) == -1
        assert ctypes.get_errno() == errno.EINVAL
        assert batch.outgoing.send(server.fileno(), 2, 1) == 1


def test_receiving_from_what_is_no_socket_is_an_error():
    with open("/dev/null") as file, pytest.raises(OSError, match="recvmmsg") as caught:
        Messages(1).incoming.receive(file.fileno(), 1)
    assert caught.value.errno == errno.ENOTSOCK


def test_headers_can_be_foretold():
    batch = Messages(4)
    with ends() as (server, client):
        for _ in range(4):
            client.send(bytes(77))
        assert batch.incoming.receive(server.fileno(), 4) == 4
        assert batch.incoming.alike(16, 0, 77) == batch.incoming.memory[:]


def test_receiving_less_leaves_no_trace_of_more():
    batch = Messages(4)
    fresh = batch.incoming.memory[:]
    with ends() as (server, client):
        for size in (100, 200, 300):
            client.send(bytes(size))
        batch.incoming.receive(server.fileno(), 4)
        assert batch.incoming.memory[:] != fresh
        assert batch.incoming.receive(server.fileno(), 4) == 0
        assert batch.incoming.memory[:] == fresh


def test_several_pieces_are_one_message():
    """As joining.py has it: the pieces of a message are neighbours in the table of iovecs."""
    batch, joined = Messages(4), Headers(4)
    with ends() as (server, client):
        for i in range(3):
            client.send(bytes([i]) * 10)
        number = batch.incoming.receive(server.fileno(), 4)
        turn_round(batch, number)
        joined.name[0], joined.iov[0], joined.iovlen[0] = batch.outgoing.name[0], batch.outgoing.iov[0], 3
        control = join([(SOL_UDP, UDP_SEGMENT, struct.pack("=H", 10))])
        joined.controls.bytes[: len(control)] = control
        joined.controllen[0] = len(control)
        assert joined.send(server.fileno(), 0, 1) == 1
        assert [client.recv(100) for _ in range(3)] == [bytes([i]) * 10 for i in range(3)]


def test_memory_is_taken_only_where_messages_come_to_lie():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    batch = Messages(1024)
    assert batch.payload.size * batch.count > 64 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10  # KiB


addresses = st.binary(min_size=16, max_size=16)
sizes = st.integers(1, 0xFFFF)


@given(
    st.lists(st.tuples(addresses, sizes, st.integers(0, 1000)), min_size=1, max_size=8), st.booleans(), st.booleans()
)
def test_a_layout_turned_in_columns_is_each_message_turned(given_, six, train):
    batch = Messages(8)
    expected, come = [], []
    for address, segment, interface in given_:
        parts, answer = [], []
        if train:
            parts.append((SOL_UDP, UDP_GRO, struct.pack("=i", segment)))
            answer.append((SOL_UDP, UDP_SEGMENT, struct.pack("=H", segment)))
        if six:
            parts.append((IPPROTO_IPV6, IPV6_PKTINFO, address + struct.pack("=I", interface)))
            answer.append((IPPROTO_IPV6, IPV6_PKTINFO, address + bytes(4)))
        else:
            ours, asked = address[:4], address[4:8]
            parts.append((IPPROTO_IP, IP_PKTINFO, struct.pack("=i4s4s", interface, ours, asked)))
            answer.append((IPPROTO_IP, IP_PKTINFO, struct.pack("=i4s4s", 0, asked, asked)))
        come.append(join(parts))
        expected.append(answer)
    for i, control in enumerate(come):
        batch.incoming.controls.bytes[CONTROL * i : CONTROL * i + len(control)] = control
    layout = layouts(batch.incoming, batch.outgoing)[len(come[0])]
    assert layout.holds(len(come))
    layout.turn(len(come))
    for i, answer in enumerate(expected):
        control = batch.outgoing.controls.bytes[CONTROL * i : CONTROL * i + layout.size].tobytes()
        assert list(split(control)) == answer
    assert layout.segments(len(come)) == [segment if train else 0 for _, segment, _ in given_]
    packed = {a if six else a[4:8] for a, _, _ in given_}
    width = 8 if six else 4
    assert {b"".join(w.to_bytes(width, "little") for w in words) for words in layout.destinations(len(come))} == packed


def test_a_layout_is_known_by_its_size_and_seen_by_its_heads():
    batch = Messages(4)
    known = layouts(batch.incoming, batch.outgoing)
    assert len(known) == 6
    assert max(known) <= CONTROL
    foreign = join([(IPPROTO_IP, 2, bytes(4))])  # IP_TTL, which is as long as UDP_GRO
    batch.incoming.controls.bytes[: len(foreign)] = foreign
    assert not known[len(foreign)].holds(1)
    assert known[0].destinations(1) == set()


def test_headers_are_as_long_as_in_c():
    batch = Messages(3)
    assert len(batch.incoming.memory) == 3 * HEADER
    assert batch.incoming.iov[1] - batch.incoming.iov[0] == 16
    assert batch.incoming.base[1] - batch.incoming.base[0] == batch.payload.size
    assert batch.payload.size & (batch.payload.size - 1), "a power of two would have them all in the same cache lines"
