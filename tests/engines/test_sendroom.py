"""Room in the send buffer for peers that can be reached, on both UDP engines."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys

import pytest
from rigs.helpers import blocking, datagram_client, port_of, until
from rigs.udp_rig import Script, received

from echobench import Reason
from echobench.engines import sendroom
from echobench.engines.sendroom import ASK_AGAIN, ASK_SOON, ASKED_PER_SECOND, CALM, SHARE, SendRoom
from echobench.kernel.neighbours import Hop

pytestmark = [
    pytest.mark.usefixtures("nothing_is_remembered"),
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds datagrams for neighbours"),
]

GOOD, BAD, NEW = (b"\x0a\0\0\1", 0), (b"\x0a\0\0\2", 0), (b"\x0a\0\0\3", 0)


class Kernel:
    """What the kernel knows, how much is in the buffer, and what the time is."""

    def __init__(self, monkeypatch):
        self.hops, self.asked = {}, []
        self.queue, self.now = 0, 100.0
        monkeypatch.setattr(sendroom, "send_queue", lambda fd: self.queue)

    def __call__(self, sock):
        return self

    def hop(self, address, scope):
        self.asked.append(address)
        return self.hops.get(address, Hop.UNKNOWN)

    def close(self):
        self.hops = None


@pytest.fixture
def kernel(monkeypatch):
    return Kernel(monkeypatch)


@pytest.fixture
def sock():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        made.setblocking(False)
        yield made


@pytest.fixture
def room(kernel, sock):
    made = SendRoom(sock, kernel, lambda: kernel.now)
    kernel.hops[GOOD[0]] = Hop.KNOWN
    yield made
    made.close()


def size_of(sock):
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)


def test_a_full_buffer_is_enlarged_once(room, sock):
    usual = size_of(sock)
    assert not room.careful
    assert room.relieves()
    assert room.careful
    assert size_of(sock) >= 2 * usual
    assert not room.relieves(), "the larger one is full, too"


def test_who_can_be_reached_is_always_admitted(room, kernel):
    kernel.queue = 1 << 20
    room.relieves()
    assert all(room.admits(GOOD, 65_507) for _ in range(100))
    assert kernel.asked == [GOOD[0]], "once"


def test_a_few_may_wait_for_each_address(room, kernel):
    room.relieves()
    admitted = sum(room.admits(BAD, 1) for _ in range(100))
    assert 1 <= admitted <= 1 + room._usual // SHARE // 1024
    kernel.hops[BAD[0]] = Hop.ASKED
    kernel.now += 2 * ASK_SOON
    room.look()
    assert not room.admits(BAD, 1), "they still wait"
    kernel.hops[BAD[0]] = Hop.UNKNOWN
    kernel.now += 2 * ASK_SOON
    room.look()
    assert room.admits(BAD, 1), "the kernel has given up on those, and this one has it ask again"


def test_all_that_waits_fits_into_the_usual_buffer(room, kernel, sock):
    usual = size_of(sock)
    room.relieves()
    peers = [(i.to_bytes(4, "big"), 0) for i in range(200)]
    assert sum(1400 for peer in peers if room.admits(peer, 1400)) <= usual
    assert room.admits(GOOD, 1400)
    kernel.queue = usual
    room.look()
    assert not room.admits(NEW, 1)


def test_who_comes_within_reach_is_admitted_soon(room, kernel):
    room.relieves()
    while room.admits(BAD, 1):
        pass
    kernel.hops[BAD[0]] = Hop.KNOWN
    kernel.now += 1.01 * ASK_SOON
    room.look()
    assert all(room.admits(BAD, 1) for _ in range(100))


def test_who_gets_out_of_reach_is_found_out(room, kernel):
    room.relieves()
    assert room.admits(GOOD, 1)
    kernel.hops[GOOD[0]] = Hop.ASKED
    kernel.now += 1.01 * ASK_AGAIN
    room.look()
    assert sum(room.admits(GOOD, 1) for _ in range(100)) < 10


def test_questions_are_bounded_and_those_within_reach_stay_so(room, kernel):
    room.relieves()
    assert room.admits(GOOD, 1)
    for _ in range(100):
        kernel.now += 0.01
        room.look()
        for i in range(100):
            room.admits((bytes([kernel.now.__hash__() & 255, i, 1, 1]), i), 1)
        assert room.admits(GOOD, 1)
    assert len(kernel.asked) <= 2 * ASKED_PER_SECOND + 2


def test_new_peers_have_questions_left_when_many_are_out_of_reach(room, kernel):
    room.relieves()
    for i in range(ASKED_PER_SECOND):
        room.admits((b"old" + bytes([i & 255]), i), 1)
    for _ in range(20):
        kernel.now += 2 * ASK_SOON
        room.look()
        for i in range(ASKED_PER_SECOND):
            room.admits((b"old" + bytes([i & 255]), i), 1)
        assert room.admits(GOOD, 1)
        before = len(kernel.asked)
        room.admits((int(kernel.now * 1000).to_bytes(4, "big"), 7), 1)
        assert len(kernel.asked) == before + 1


def test_memory_of_peers_is_bounded(room, kernel, monkeypatch):
    monkeypatch.setattr(sendroom, "PEERS_REMEMBERED", 10)
    room.relieves()
    for i in range(50):
        room.admits((bytes([i] * 4), 0), 1)
    assert len(room._peers) == 10


def test_when_nothing_was_refused_for_a_while_all_is_as_before(room, kernel, sock):
    usual = size_of(sock)
    room.relieves()
    while room.admits(BAD, 1):
        pass
    kernel.now += 0.9 * CALM
    room.look()
    assert room.careful
    kernel.now += 0.2 * CALM
    kernel.queue = usual
    room.look()
    assert room.careful, "the buffer is still full"
    kernel.queue = 0
    room.look()
    assert not room.careful
    assert size_of(sock) == usual
    assert room.relieves(), "and it can happen again"


def test_a_socket_that_is_given_up_has_its_usual_buffer(room, sock):
    usual = size_of(sock)
    room.relieves()
    room.close()
    assert size_of(sock) == usual


def test_a_slow_network_is_no_reason_to_stay_careful(room, kernel):
    room.relieves()
    assert room.admits(GOOD, 1)
    room.look()
    assert not room.careful


def test_a_buffer_that_cannot_be_enlarged_is_parted(kernel, sock, monkeypatch):
    before = size_of(sock)
    real = SendRoom._resize
    monkeypatch.setattr(SendRoom, "_resize", lambda self, size: real(self, min(size, before)))
    room = SendRoom(sock, kernel, lambda: kernel.now)
    assert size_of(sock) == before // 2
    assert room.relieves()
    assert size_of(sock) == before


def test_where_the_kernel_does_not_tell_all_is_as_it_was(sock):
    def none(beside):
        raise OSError(errno.EPERM, "forbidden")

    before = size_of(sock)
    room = SendRoom(sock, none)
    assert not room.relieves()
    assert not room.careful
    assert size_of(sock) == before


# The engines


@pytest.fixture
def unreachable(monkeypatch, kernel):
    """Have nobody within reach of the ports that are made, but 127.0.0.1."""
    kernel.hops[socket.inet_aton("127.0.0.1")] = Hop.KNOWN
    monkeypatch.setattr(SendRoom.__init__, "__defaults__", (kernel, lambda: kernel.now))
    kernel.queue = 1 << 30


def test_only_those_out_of_reach_are_refused(serve, udp_engine, unreachable):
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine=udp_engine)
    port = service._ports[-1][1]
    port._room.relieves()
    with contextlib.ExitStack() as stack:
        number = port_of(service, "udp")
        good = stack.enter_context(datagram_client(number))
        bad = stack.enter_context(datagram_client(number, source=("127.0.0.2", 0)))
        for i in range(10):
            good.send(b"%d" % i)
            bad.send(b"%d" % i)
        assert blocking(received, good, 10) == [b"%d" % i for i in range(10)]
        until(lambda: service.snapshot().drops.get(Reason.NEIGHBOUR_UNKNOWN) == 10)
    seen = service.snapshot()
    assert (seen.datagrams, seen.datagram_bytes) == (10, 10)
    assert seen.drops == {Reason.NEIGHBOUR_UNKNOWN: 10}


def test_an_own_protocol_that_answers_later_is_no_way_around(serve, unreachable):
    from twisted.internet.protocol import DatagramProtocol

    made = []

    class Own(DatagramProtocol):
        noisy = False

        def startProtocol(self):
            made.append(self)

    service = serve(0, ("127.0.0.1",), tcp=False, datagram_protocol=Own)
    service._ports[-1][1]._room.relieves()
    with datagram_client(port_of(service, "udp")) as client:
        made[0].transport.write(b"lost", ("127.0.0.2", 9))
        made[0].transport.write(b"there", client.getsockname())
        assert blocking(client.recv, 100) == b"there"
    assert service.snapshot().drops == {Reason.NEIGHBOUR_UNKNOWN: 1}


def batch_of(here, kernel, *hosts):
    """Send one datagram from each host, and give the clients; only 127.0.0.1 is within reach."""
    kernel.hops[socket.inet_aton("127.0.0.1")] = Hop.KNOWN
    kernel.hops[bytes(10) + b"\xff\xff" + socket.inet_aton("127.0.0.1")] = Hop.KNOWN
    clients = [here.client(source=host) for host in hosts]
    for i, client in enumerate(clients):
        client.send(b"%d" % i)
    return clients


def test_a_batch_that_meets_a_full_buffer_goes_on_without_those_out_of_reach(rig, kernel, monkeypatch):
    here = rig()
    clients = batch_of(here, kernel, "127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.3", "127.0.0.1")
    room = here.enter_context(contextlib.closing(SendRoom(here.server, kernel, lambda: kernel.now)))
    kernel.queue = 1 << 30
    Script(monkeypatch, 1, -errno.EAGAIN)
    assert here.begin(room) == (5, None), "nothing has to wait"
    for i in (0, 2, 4):
        assert clients[i].recv(10) == b"%d" % i
    assert here.counters.datagrams == 3
    assert here.counters.drops == {Reason.NEIGHBOUR_UNKNOWN: 2}


def test_if_the_larger_buffer_is_full_too_the_batch_waits_and_loses_nothing(rig, kernel, monkeypatch):
    here = rig()
    clients = batch_of(here, kernel, "127.0.0.1", "127.0.0.2", "127.0.0.1")
    room = here.enter_context(contextlib.closing(SendRoom(here.server, kernel, lambda: kernel.now)))
    kernel.queue = 1 << 30
    Script(monkeypatch, -errno.EAGAIN, -errno.EAGAIN, -errno.EAGAIN, 1, -errno.EAGAIN)
    _, unfinished = here.begin(room)
    assert here.counters.datagrams == 0
    next(unfinished)
    assert here.counters.datagrams == 1
    assert next(unfinished, "done") == "done"
    assert [clients[i].recv(10) for i in (0, 2)] == [b"0", b"2"]
    assert here.counters.drops == {Reason.NEIGHBOUR_UNKNOWN: 1}


def test_a_batch_that_waits_is_tried_again_though_the_socket_is_not_writable(serve, kernel, unreachable, monkeypatch):
    service = serve(0, ("127.0.0.1",), tcp=False, udp_engine="batched")
    port = service._ports[-1][1]
    with monkeypatch.context() as patch:
        Script(patch, -errno.EAGAIN, -errno.EAGAIN)
        patch.setattr(port._reactor, "addWriter", lambda writer: None)
        with datagram_client(port_of(service, "udp")) as client:
            client.send(b"held")
            assert blocking(client.recv, 100) == b"held"
            until(lambda: port in port._reactor.getReaders())
    assert not service.snapshot().drops
