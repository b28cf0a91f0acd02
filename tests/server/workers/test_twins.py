"""Sockets that share an address: who may join, what each worker gets, on each platform."""

from __future__ import annotations

import socket
import sys
from collections import Counter

import pytest
from rigs.helpers import hosts, needs_linux

from echobench.server.workers.twins import Platform, WorkersError, each_once, multiply, platform_of
from echobench.sockets import BindError, Spot, bind_all, close_all

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows is refused")

SHARED = Platform(None)


@pytest.fixture
def bound():
    """Make the sockets of several workers on free ports, and close them after the test."""
    made = []

    def bind(number, *spots, inherited=(), platform=None, **how):
        first = bind_all(spots or [Spot("tcp", "127.0.0.1", 0), Spot("udp", "127.0.0.1", 0)])
        made.extend(sock for _, sock in first)
        picked = [first[index][1] for index in inherited]
        how = {"backlog": 128, "receive_buffer": None, **how}
        workers = multiply(first, picked, number, platform=platform, **how)
        made.extend(sock for _, sock in each_once(workers))
        return workers

    yield bind
    close_all(made)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("linux", Platform(getattr(socket, "SO_REUSEPORT", 15))),
        ("freebsd14", Platform(0x10000, before_bind=True)),
        ("freebsd11", SHARED),
        ("darwin", SHARED),
        ("openbsd7", SHARED),
        ("sunos5", SHARED),
    ],
)
def test_how_each_platform_shares(name, expected):
    assert platform_of(name) == expected


@pytest.mark.parametrize("name", ["win32", "cygwin"])
def test_windows_is_refused_with_the_reason(name):
    with pytest.raises(WorkersError, match="given sockets by descriptor, which Windows is not"):
        platform_of(name)


@needs_linux
def test_each_worker_has_its_own_sockets_on_one_address(bound):
    workers = bound(4)
    assert [[kind for kind, _ in each] for each in workers] == [["tcp", "udp"]] * 4
    assert len(each_once(workers)) == 8
    assert len({sock.getsockname() for _, sock in each_once(workers)}) == 1, "TCP and UDP have one number, too"
    for kind, sock in each_once(workers):
        assert not sock.getblocking()
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == (kind == "tcp")


@needs_linux
def test_both_families_on_one_socket_of_each_worker(bound):
    workers = bound(2, Spot("tcp", None, 0))
    number = workers[0][0][1].getsockname()[1]
    for host in hosts():
        for _ in range(8):
            socket.create_connection((host, number)).close()


@needs_linux
def test_datagrams_are_spread_and_nothing_is_lost(bound):
    workers = bound(2, Spot("udp", "127.0.0.1", 0))
    address = workers[0][0][1].getsockname()
    for _ in range(64):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
            flow.sendto(b"x", address)
    found = Counter()
    for number, ((_, sock),) in enumerate(workers):
        while True:
            try:
                sock.recv(10)
            except BlockingIOError:
                break
            found[number] += 1
    assert sum(found.values()) == 64
    assert len(found) == 2, "with 64 flows, one of two gets none once in 2**63 runs"


@needs_linux
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_second_server_is_refused(bound, kind):
    """Another of ours, with or without workers: its first socket has no SO_REUSEPORT."""
    workers = bound(2, Spot(kind, "127.0.0.1", 0))
    spot = Spot(kind, *workers[0][0][1].getsockname())
    with pytest.raises(BindError, match="is in use by another program"):
        bind_all([spot])


@needs_linux
def test_no_worker_can_join_a_single_server(bound):
    (single,) = bind_all([Spot("udp", "127.0.0.1", 0)])
    with single[1], pytest.raises(BindError, match="in use"):
        bound(2, Spot("udp", *single[1].getsockname()))


def test_sockets_of_others_are_shared(bound):
    workers = bound(3, inherited=[0])
    assert len({each[0] for each in workers}) == 1
    assert len({each[1] for each in workers}) == (3 if platform_of().option else 1)


def test_all_is_shared_where_the_system_spreads_nothing(bound):
    workers = bound(3, platform=SHARED)
    assert workers[0] == workers[1] == workers[2]
    assert len(each_once(workers)) == 2


@needs_linux
def test_a_system_that_wants_the_option_first_has_the_address_bound_again(bound):
    """As FreeBSD; the option is Linux's here, and what is seen is the order of the calls."""
    workers = bound(2, Spot("udp", "127.0.0.1", 0), platform=Platform(socket.SO_REUSEPORT, before_bind=True))
    assert all(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) for ((_, sock),) in workers)
    assert len({sock.getsockname() for ((_, sock),) in workers}) == 1
    assert all(sock.fileno() >= 0 for ((_, sock),) in workers)


@needs_linux
def test_all_are_closed_if_one_cannot_be_bound():
    first = bind_all([Spot("tcp", "127.0.0.1", 0), Spot("udp", "127.0.0.1", 0)])
    with pytest.raises(BindError, match="cannot be bound once for each of 3 workers"):
        multiply(first, [], 3, backlog=1, receive_buffer=None, platform=Platform(9999))
    assert all(sock.fileno() == -1 for _, sock in first)


@needs_linux
def test_receive_buffers_are_as_asked(bound):
    workers = bound(2, Spot("udp", "127.0.0.1", 0), receive_buffer=100_000)
    assert workers[1][0][1].getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 200_000
