"""What goes wrong between a TCP server and its peers, over each of the fast engines and with real sockets.

Set ECHOBENCH_SOAK to a number of seconds to run the soak for longer than continuous integration does.
"""

from __future__ import annotations

import contextlib
import errno
import random
import select
import socket
import threading
import time

import pytest
from rigs.helpers import (
    blocking,
    descriptors,
    dial,
    exchange,
    fill,
    needs_linux,
    pattern,
    port_of,
    read_exactly,
    reset,
    settle,
    until,
)
from rigs.rings import needs_completion
from rigs.tcp_rig import FIXED, HELD, MIB, SOAK, by_ring_alone, engine_of, held, in_the_ring, polled_of, tight

from echobench.engines.tcp import batches, lending

pytestmark = [pytest.mark.usefixtures("no_ring_nor_poller_stays", "watched_states"), needs_linux]


@pytest.mark.slow
def test_slow_readers(serve, fast):
    """64 MiB each, and nothing read for seconds.

    The buffers are of fixed sizes: while those that the kernel sizes itself are still small it may drop what is sent to
    one who does not read, and then sends it again only after seconds.
    """
    service = serve(None, inherited=[tight(FIXED, FIXED)], engine=fast)
    size, number = 64 * MIB, 3

    def send_rest(sock, sent):
        block = pattern(1 << 16)
        while sent < size:
            at = sent % len(block)
            sent += sock.send(block[at : at + min(len(block) - at, size - sent)])

    def check(sock):
        block, at = pattern(1 << 16), 0
        while at < size:
            data = sock.recv(1 << 16)
            start = at % len(block)
            expected = (block + block)[start : start + len(data)]
            if data != expected or not data:
                return at
            at += len(data)
        return at

    def client():
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(dial(port_of(service), receive_buffer=FIXED)) for _ in range(number)]
            sent = [0] * number
            fillers = [
                threading.Thread(target=lambda i=i: sent.__setitem__(i, fill(socks[i], size))) for i in range(number)
            ]
            for thread in fillers:
                thread.start()
            for thread in fillers:
                thread.join()
            assert all(n < size for n in sent)
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                assert exchange(port_of(service), [b"a neighbour"]) == b"a neighbour"
            assert len(held(service)) == number
            assert max(held(service)) <= HELD
            senders = [threading.Thread(target=send_rest, args=pair) for pair in zip(socks[:1], sent[:1], strict=True)]
            for thread in senders:
                thread.start()
            whole = check(socks[0])
            for thread in senders:
                thread.join()
            return whole, [read_exactly(sock, n) == pattern(n) for sock, n in zip(socks[1:], sent[1:], strict=True)]

    assert blocking(client) == (size, [True] * (number - 1))


@pytest.mark.slow
@pytest.mark.parametrize("message", [1152, 2304, 4608])  # a small send buffer holds 4608 bytes: whole messages of these
def test_messages_that_end_on_the_edge_of_a_small_send_buffer(serve, fast, message):
    service = serve(None, inherited=[tight()], engine=fast)
    number, total = 40, 60 * 4608

    def client():
        rng = random.Random(message)
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(dial(port_of(service), receive_buffer=2304)) for _ in range(number)]
            contents = [rng.randbytes(total) for _ in socks]
            sent, got = [0] * number, [bytearray() for _ in socks]
            poller = select.poll()
            for sock in socks:
                sock.setblocking(False)
                poller.register(sock, select.POLLIN | select.POLLOUT)
            places = {sock.fileno(): i for i, sock in enumerate(socks)}
            end = time.monotonic() + 20
            while any(len(each) < total for each in got) and time.monotonic() < end:
                for fd, mask in poller.poll(100):
                    i = places[fd]
                    if mask & select.POLLOUT and sent[i] < total:
                        sent[i] += socks[i].send(contents[i][sent[i] : sent[i] + message])
                        if sent[i] == total:
                            poller.modify(fd, select.POLLIN)
                    if mask & select.POLLIN and rng.random() < 0.3:
                        got[i] += socks[i].recv(rng.choice((100, message, 9000)))
            return [bytes(a) == b for a, b in zip(got, contents, strict=True)]

    assert blocking(client) == [True] * number


def test_send_buffers_that_fill_up_in_mid_batch(serve, fast, connect):
    """One message of each in a batch; from some round on none fits whole."""
    service = serve(None, inherited=[tight()], engine=fast)
    socks = connect(service, 40, receive_buffer=2304)
    in_the_ring(service, socks)
    contents = [random.Random(i).randbytes(20_000) for i in range(len(socks))]
    for sock in socks:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(0, 20_000, 1000):
        for sock, content in zip(socks, contents, strict=True):
            sock.sendall(content[at : at + 1000])
        settle(0.005)
    assert len(held(service)) == len(socks)
    got = blocking(lambda: [read_exactly(sock, 20_000) for sock in socks])
    assert [a == b for a, b in zip(got, contents, strict=True)] == [True] * len(socks)


@pytest.mark.parametrize("batch", [512, 16])
def test_two_messages_of_one_connection_at_once(serve, fast, ring_engine, monkeypatch, batch):
    """In one batch, or in two: the second must not be sent before what is left of the first."""
    monkeypatch.setattr(batches, "BATCH", batch)
    monkeypatch.setattr(lending, "FEW_BUFFERS", 256)  # all that is sent can come in at once
    service = serve(None, inherited=[tight()], engine=fast)
    first, second = 20_000, 1000
    for turn in range(3):
        socks = [dial(port_of(service), receive_buffer=2304) for _ in range(20)]
        until(lambda: service.snapshot().open_connections == 20)
        in_the_ring(service, socks)
        contents = [random.Random(1000 * turn + i).randbytes(first + second) for i in range(len(socks))]
        for part in (slice(first), slice(first, None)):  # from the reactor's thread: nothing is sent in between
            for sock, content in zip(socks, contents, strict=True):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.sendall(content[part])
        got = blocking(lambda: [read_exactly(sock, first + second) for sock in socks])
        assert [a == b for a, b in zip(got, contents, strict=True)] == [True] * len(socks)
        for sock in socks:
            sock.close()
        until(lambda: service.snapshot().open_connections == 0)
    assert ring_engine["wrong"] == []
    if fast == "completion":
        assert ("twice" if batch == 512 else "odd") in ring_engine["special"]


def test_reset_with_two_messages_under_way(serve, fast, ring_engine, connect, monkeypatch):
    """The one is in the batch in which the reset is noticed, the other in a later one."""
    monkeypatch.setattr(batches, "BATCH", 16)
    monkeypatch.setattr(lending, "FEW_BUFFERS", 256)  # all that is sent can come in at once
    service = serve(engine=fast)
    neighbour = connect(service, 1)
    for _ in range(5):
        socks = [dial(port_of(service)) for _ in range(40)]
        until(lambda: service.snapshot().open_connections == 41)
        in_the_ring(service, socks)
        for message in (b"first", b"second"):
            for sock in socks:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.sendall(message)
        for sock in socks:
            reset(sock)
        until(lambda: service.snapshot().open_connections == 1)
    in_the_ring(service, neighbour)
    assert ring_engine["wrong"] == []
    if fast == "completion":
        assert "dying" in ring_engine["special"]


def test_a_thousand_reset_in_mid_batch(serve, fast, connect):
    number = 1000 if descriptors() > 2300 else 200
    service = serve(engine=fast)
    socks = connect(service, number)
    in_the_ring(service, socks)
    for i, sock in enumerate(socks):
        sock.sendall(b"%06d" % i)
        if i % 2:
            reset(sock)
    survivors = socks[::2]
    assert blocking(lambda: [read_exactly(sock, 6) for sock in survivors]) == [b"%06d" % i for i in range(0, number, 2)]
    until(lambda: service.snapshot().open_connections == len(survivors))
    for sock in survivors:
        reset(sock)
    until(lambda: service.snapshot().open_connections == 0)


def test_held_ones_reset_in_mid_batch(serve, fast, connect):
    """The ring and the poller may both have something to say of them, and one of them says it too late."""
    service = serve(None, inherited=[tight()], engine=fast)
    neighbour = connect(service, 1)[0]
    for turn in range(3):
        socks = [dial(port_of(service), receive_buffer=2304) for _ in range(60)]
        until(lambda: service.snapshot().open_connections == 61)
        in_the_ring(service, socks)
        for sock in socks:
            sock.sendall(pattern(30_000))
        if turn % 2:
            until(lambda: len(held(service)) == 60)
        for sock in socks:
            reset(sock)
        until(lambda: service.snapshot().open_connections == 1)
    in_the_ring(service, [neighbour])


@needs_completion
def test_the_ring_ends_a_connection_of_which_the_poller_speaks_too(serve, connect, monkeypatch):
    by_ring_alone(monkeypatch)
    service = serve(engine="completion")
    socks = connect(service, 2)
    in_the_ring(service, socks)
    engine = engine_of(service)
    fd = min(engine.connections.open)
    engine.connections.hold(fd, b"it does not take this")
    # As if it were reset before its receive could be cancelled, and both told at once: the ring first.
    mover, calls = engine.mover, polled_of(service).watching.calls
    complete = calls[mover._rings.rx.fd]

    def reset_first():
        calls[mover._rings.rx.fd] = complete
        mover._batches._received(fd, -errno.ECONNRESET, 0, 0)

    calls[mover._rings.rx.fd] = reset_first
    engine.working = True
    mover.serve([(mover._rings.rx.fd, 1), (fd, 0x2019)], 0)
    engine.working = False
    mover.flush()
    assert fd not in engine.connections.open
    until(lambda: not mover.lanes().dying)
    assert service.snapshot().open_connections == 1


@pytest.mark.slow
def test_descriptor_numbers_used_again_at_once(serve, fast):
    """No byte may reach another than the one who sent it, whoever had the number before."""
    service = serve(engine=fast)
    port, end, failures, echoes = port_of(service), time.monotonic() + SOAK, [], [0]

    def client(seed):
        rng = random.Random(seed)
        serial = 0
        try:
            while time.monotonic() < end:
                with contextlib.ExitStack() as stack:
                    socks = [stack.enter_context(dial(port)) for _ in range(rng.randrange(1, 30))]
                    for _ in range(rng.randrange(1, 4)):
                        messages = []
                        for sock in socks:
                            serial += 1
                            messages.append(b"<%d:%d>" % (seed, serial) * rng.choice((1, 1, 1, 7, 3000)))
                            sock.sendall(messages[-1])
                        for sock, message in zip(socks, messages, strict=True):
                            if rng.random() < 0.8:
                                assert read_exactly(sock, len(message)) == message
                                echoes[0] += 1
                            else:
                                (reset if rng.random() < 0.5 else socket.socket.close)(sock)
                        socks = [sock for sock in socks if sock.fileno() >= 0]
                    for sock in socks:
                        if rng.random() < 0.3:
                            sock.shutdown(socket.SHUT_WR)
                            assert sock.recv(100) == b""
        except BaseException as error:
            failures.append(error)

    def clients():
        threads = [threading.Thread(target=client, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    blocking(clients)
    assert failures == []
    assert echoes[0] > 50
    until(lambda: service.snapshot().open_connections == 0)
