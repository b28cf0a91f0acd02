"""What keeps outsiders from this host's own services: when it begins, follows changes, fails, and ends."""

from __future__ import annotations

import contextlib
import errno
import os
import socket

import pytest
import pytest_twisted
from rigs.helpers import ask, blocking, datagram_client, needs_linux, port_of, settle, until
from twisted.logger import capturedLogs

from echobench import Guard, Reason
from echobench.engines import outsiders as module
from echobench.engines.destinations import destination_of
from echobench.engines.faults import LONGEST
from echobench.engines.outsiders import Outsiders

pytestmark = needs_linux

OURS, OTHER = socket.inet_aton("10.99.0.1"), socket.inet_pton(socket.AF_INET6, "fd99::1")
BROADCAST = socket.inet_aton("10.99.0.255")


class Addresses:
    """Stands for the kernel's: a pipe tells of changes."""

    def __init__(self):
        self.own, self.broadcasts = frozenset([OURS]), frozenset()
        self.ends = os.pipe()

    def fileno(self):
        return self.ends[0]

    def change(self, own, broadcasts=()):
        self.own, self.broadcasts = frozenset(own), frozenset(broadcasts)
        os.write(self.ends[1], b"!")

    def are_of(self, sock):
        return True

    def read(self):
        return bool(os.read(self.ends[0], 1))

    def close(self):
        for end in self.ends:
            os.close(end)


@pytest.fixture
def known(monkeypatch):
    """Give the addresses, once there are some, and what the sockets were filtered for."""
    made, filtered = [], []
    monkeypatch.setattr(module, "Addresses", lambda: made.append(Addresses()) or made[-1])
    monkeypatch.setattr(module, "refuse_from_outside", lambda sock, own: filtered.append((sock.fileno(), own)))
    return made, filtered


@pytest.fixture
def sock():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.setblocking(False)
        yield made


@pytest.fixture
def protector(sock):
    from twisted.internet import reactor

    guard = Guard()
    made = Outsiders(guard, reactor)
    yield made, guard
    made.release(sock)


def test_changes_reach_the_filter_and_the_guard(known, protector, sock):
    (addresses, filtered), (outsiders, guard) = known, protector
    told = []
    assert not outsiders.protect(sock, lambda: told.append(outsiders.claims("fd99::1")))
    assert filtered == [(sock.fileno(), {OURS})]
    assert guard.refuses_source("10.99.0.255", 5000) is None
    addresses[0].change([OURS, OTHER], [BROADCAST])
    until(lambda: len(told) == 1)
    assert told == [True], "with all known that can be asked for"
    assert filtered[1] == (sock.fileno(), {OURS, OTHER})
    assert guard.refuses_source("10.99.0.255", 5000) is Reason.SOURCE_GROUP
    assert guard.refuses_source("::ffff:10.99.0.255", 5000) is Reason.SOURCE_GROUP
    addresses[0].change([OTHER])
    until(lambda: len(filtered) == 3)
    assert guard.refuses_source("10.99.0.255", 5000) is None


def test_it_says_whether_some_came_before(known, protector, sock):
    outsiders, _ = protector
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"", sock.getsockname())
        assert outsiders.protect(sock, lambda: None)
        assert sock.recv(10) == b"", "it is still there"


@pytest.mark.parametrize("routed", [False, True])
def test_claims(known, protector, sock, monkeypatch, routed):
    monkeypatch.setattr(module, "loopback_is_routed", lambda: routed)
    outsiders, _ = protector
    outsiders.protect(sock, lambda: None)
    addresses, _ = known
    addresses[0].change([OURS, OTHER, socket.inet_aton("127.0.0.1"), bytes(15) + b"\1"])
    until(lambda: outsiders.claims("fd99::1"))
    assert outsiders.claims("10.99.0.1")
    assert outsiders.claims("::ffff:10.99.0.1")
    assert outsiders.claims("fd99::1%2")
    for loopback in ("127.0.0.1", "::ffff:127.0.0.9"):
        assert outsiders.claims(loopback) is routed
    for other in ("::1", "10.99.0.2", "::ffff:10.99.0.2", "fd99::2", "::"):
        assert not outsiders.claims(other)


@pytest.mark.parametrize("what", ["Addresses", "refuse_from_outside"])
def test_where_it_cannot_be_had_the_log_says_so_and_the_server_serves(serve, udp_engine, monkeypatch, what):
    def forbidden(*args):
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(module, what, forbidden)
    with capturedLogs() as logs:
        service = serve(0, ("127.0.0.1",), tcp=False, udp_engine=udp_engine)
    (warning,) = [event for event in logs if event["log_level"].name == "warn"]
    assert warning["log_format"].format(**warning) == (
        "UDP from the network that claims an address of this host may be answered: [Errno 97] Address family not "
        "supported by protocol; under systemd add AF_NETLINK to RestrictAddressFamilies=, or have a firewall refuse it"
    )
    assert blocking(ask, port_of(service, "udp"), b"still there") == b"still there"


@pytest.fixture
def warnings():
    """Give the warnings of the log."""
    with capturedLogs() as logs:
        yield lambda: [each["log_format"].format(**each) for each in logs if each["log_level"].name == "warn"]


def test_the_log_says_how_many_addresses_the_filter_has_no_room_for(known, protector, sock, monkeypatch, warnings):
    (addresses, _), (outsiders, _) = known, protector
    monkeypatch.setattr(module, "refuse_from_outside", lambda sock, own: max(0, len(own) - 1))
    outsiders.protect(sock, lambda: None)
    assert not warnings()
    addresses[0].change([OURS, OTHER])
    until(warnings)
    assert warnings() == [
        "UDP from the network that claims an address of this host may be answered: 1 of 2 addresses do not fit into a "
        "socket's filter; have a firewall refuse it"
    ]


def test_a_socket_of_another_network_is_not_filtered_for_the_addresses_of_this_one(
    known, protector, sock, monkeypatch, warnings
):
    _, filtered = known
    outsiders, _ = protector
    monkeypatch.setattr(Addresses, "are_of", lambda self, asked: asked is not sock)
    outsiders.protect(sock, lambda: None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        outsiders.protect(other, lambda: None)
        outsiders.release(other)
        assert filtered == [(sock.fileno(), frozenset()), (other.fileno(), {OURS})]
    assert warnings() == [
        "UDP from the network that claims an address of this host may be answered: a socket is in another network "
        "namespace, whose addresses cannot be asked for; have a firewall refuse it"
    ]


def test_an_error_that_stays_neither_spins_nor_ends_it(known, protector, sock, monkeypatch, warnings):
    (addresses, filtered), (outsiders, _) = known, protector
    outsiders.protect(sock, lambda: None)
    reads, real = [], Addresses.read

    def failing(self):
        reads.append(self)
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(Addresses, "read", failing)
        addresses[0].change([OURS, OTHER])
        until(lambda: len(reads) > 1)
        settle(0.3)
        assert len(reads) <= 6 + 0.3 / LONGEST, "pauses of 1, 2, 4, 8 and 16 ms, and then of 20"
        assert len(filtered) == 1
        patch.setattr(module, "FAULT_STAYS", 0.001)
        patch.setattr(outsiders._trouble, "again", lambda: None)
        settle(0.05)
        patch.setattr(Addresses, "read", real)
        until(lambda: len(filtered) == 2)
    assert len(warnings()) == 1
    assert outsiders._trouble.since is None
    addresses[0].change([OTHER])
    until(lambda: len(filtered) == 3)


def test_it_ends_while_it_waits_to_try_again(known, protector, sock, monkeypatch):
    (addresses, _), (outsiders, _) = known, protector
    outsiders.protect(sock, lambda: None)
    reads = []

    def failing(self):
        reads.append(self)
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Addresses, "read", failing)
    addresses[0].change([OURS])
    until(lambda: reads)
    outsiders.release(sock)
    before = len(reads)
    settle(0.05)
    assert len(reads) == before


def test_an_address_may_become_one_of_a_group(serve, udp_engine, monkeypatch):
    """What was learnt of it is forgotten, in every engine, when the kernel tells of changes."""
    made, groups = [], set()
    monkeypatch.setattr(module, "Addresses", lambda: made.append(Addresses()) or made[-1])
    monkeypatch.setattr("echobench.groups.is_broadcast", groups.__contains__)
    destination_of.cache_clear()
    service = serve(0, ("0.0.0.0",), tcp=False, udp_engine=udp_engine)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(datagram_client(port_of(service, "udp"), f"127.0.0.{i}")) for i in (7, 8)]

        def exchange():
            for client in clients:
                client.send(b"x")
            return [client.recv(10) for client in clients]

        for _ in range(3):
            assert blocking(exchange) == [b"x", b"x"]
        groups.add("127.0.0.7")
        made[0].change([OURS])
        settle(0.05)
        for client in clients:
            client.send(b"y")
        assert blocking(clients[1].recv, 10) == b"y"
        until(lambda: service.snapshot().drops == {Reason.DESTINATION_GROUP: 1})
    destination_of.cache_clear()


def test_what_waited_is_looked_at_as_long_as_it_may_have_waited(serve, udp_engine, monkeypatch):
    """And not for ever, where a flood never lets the queue run empty."""
    monkeypatch.setattr(Outsiders, "protect", lambda *args: 3)
    monkeypatch.setattr(Outsiders, "claims", lambda *args: True)
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine=udp_engine)
    with datagram_client(port_of(service, "udp")) as client:
        for i in range(80):  # in the reactor's own thread: they all wait
            client.send(b"%d" % i)
        assert blocking(lambda: [client.recv(10) for _ in range(77)]) == [b"%d" % i for i in range(3, 80)]
    assert service.snapshot().drops == {Reason.SOURCE_OUTSIDE: 3}


def test_it_ends_with_the_last_socket(serve, udp_engine):
    from twisted.internet import reactor

    service = serve(0, ("127.0.0.1", "127.0.0.2"), tcp=False, udp_engine=udp_engine)
    watching = [each for each in reactor.getReaders() if isinstance(each, Outsiders)]
    assert len(watching) == 1, "one for all sockets"
    pytest_twisted.blockon(service.stopService())
    assert watching[0] not in reactor.getReaders()
    assert watching[0].fileno() == -1
