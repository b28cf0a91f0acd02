"""What goes wrong in the rings of the engine by completion, with real sockets."""

from __future__ import annotations

import contextlib
import errno
import random
import threading

import pytest
import pytest_twisted
from rigs.helpers import blocking, dial, exchange, fill, needs_linux, pattern, port_of, read_exactly, until
from rigs.rings import kernel_objects, needs_completion
from rigs.tcp_rig import FIXED, HELD, MIB, by_ring_alone, engine_of, held, in_the_ring, small_rings, tight
from twisted.internet import reactor
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs

from echobench.engines import STREAM, Setting, choose, ebb
from echobench.engines.tcp import lending, polled, rings
from echobench.kernel import ring as k

pytestmark = [pytest.mark.usefixtures("no_ring_nor_poller_stays", "watched_states"), needs_linux]


@needs_completion
def test_lent_buffers_run_out(serve, ring_engine, connect, monkeypatch):
    monkeypatch.setattr(rings, "BUFFERS", 4)
    monkeypatch.setattr(lending, "FEW_BUFFERS", 1)
    service = serve(engine="completion")
    socks = connect(service, 40)
    in_the_ring(service, socks)
    for turn in range(5):
        contents = [random.Random(100 * turn + i).randbytes(3000) for i in range(len(socks))]
        for sock, content in zip(socks, contents, strict=True):
            sock.sendall(content)
        assert blocking(lambda: [read_exactly(sock, 3000) for sock in socks]) == contents
    data = pattern(4 * MIB)
    assert blocking(exchange, port_of(service), [data]) == data
    assert -errno.ENOBUFS in ring_engine["results"]
    assert engine_of(service).mover._rings.buffers.lent == 4


@needs_completion
def test_more_buffers_are_lent_when_they_run_out(serve, ring_engine, connect, monkeypatch):
    monkeypatch.setattr(lending, "FEW_BUFFERS", 1)
    service = serve(engine="completion")
    (sock,) = connect(service, 1)
    in_the_ring(service, [sock])
    assert engine_of(service).mover._rings.buffers.lent == 1
    for _ in range(3):
        sock.sendall(b"one")
        sock.sendall(b"two")
        assert blocking(read_exactly, sock, 6) == b"onetwo"
    assert engine_of(service).mover._rings.buffers.lent > 1


@needs_completion
def test_completions_for_which_there_is_no_room(serve, ring_engine, connect, monkeypatch):
    small_rings(monkeypatch, 8)
    service = serve(engine="completion")
    socks = connect(service, 100)
    in_the_ring(service, socks)
    assert engine_of(service).mover._rings.rx.completions == 8
    for turn in range(5):
        contents = [b"%02d%04d" % (turn, i) for i in range(len(socks))]
        for sock, content in zip(socks, contents, strict=True):
            sock.sendall(content)
        assert blocking(lambda: [read_exactly(sock, 6) for sock in socks]) == contents
    data = pattern(4 * MIB)
    assert blocking(exchange, port_of(service), [data]) == data
    for sock in socks:
        sock.close()  # a hundred ends of file, all at once
    until(lambda: service.snapshot().open_connections == 0)


@needs_completion
@pytest.mark.parametrize("entries", [10, 512])
def test_the_edges_of_the_rings(serve, ring_engine, connect, monkeypatch, entries):
    """Batches that divide neither the ring of sends nor that of completions."""
    monkeypatch.setattr(rings, "SENDS", entries)
    small_rings(monkeypatch, 1024)
    number = 43 if entries == 10 else 150
    service = serve(engine="completion")
    socks = connect(service, number)
    in_the_ring(service, socks)
    for i in range(5):  # one by one, and not by the ring of sends: so the two rings do not end together
        socks[i].sendall(b"x")
        assert blocking(socks[i].recv, 10) == b"x"
    for turn in range(12):
        contents = [b"%03d%05d" % (turn, i) for i in range(len(socks))]
        for sock, content in zip(socks, contents, strict=True):
            sock.sendall(content)
        assert blocking(lambda: [read_exactly(sock, 8) for sock in socks]) == contents
    size = 16 if entries == 10 else 512
    sent = [(at, to, n) for at, to, n, done in ring_engine["columns"] if done]
    assert any(to + n == size for _, to, n in sent), "it stopped at the edge"
    assert any(n not in (size, number) for _, _, n in sent)
    if entries == 512:
        assert any(at + n == 1024 for at, _, n in sent)


@needs_completion
def test_the_limit_of_a_receive_bounds_what_is_held(serve, monkeypatch):
    """A peer that does not read is told apart only when its first bytes are sent back; until then it sends on."""
    by_ring_alone(monkeypatch)
    service = serve(None, inherited=[tight(FIXED, FIXED)], engine="completion")
    most = [0]

    def client():
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(dial(port_of(service), receive_buffer=FIXED)) for _ in range(6)]
            for _ in range(2):
                for sock in socks:
                    sock.sendall(pattern(1000))
                assert [read_exactly(sock, 1000) for sock in socks] == [pattern(1000)] * 6
            sent = [0] * 6
            threads = [
                threading.Thread(target=lambda i=i: sent.__setitem__(i, fill(socks[i], 64 * MIB))) for i in range(6)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert exchange(port_of(service), [b"a neighbour"]) == b"a neighbour"
            most[0] = max(held(service))
            return [read_exactly(sock, n) == pattern(n) for sock, n in zip(socks, sent, strict=True)]

    assert blocking(client) == [True] * 6
    assert 0 < most[0] <= HELD


@needs_completion
def test_an_engine_that_cannot_watch_its_ring_leaves_nothing_open(monkeypatch):
    """ENOSPC: a user may watch so many descriptors with epoll (max_user_watches, epoll(7)), and no more."""
    engine = choose(STREAM, "completion", Setting(reactor))
    before = kernel_objects()

    def full(self, fd, call):
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as scarce, tight() as sock:
        scarce.setattr(polled.Polled, "call_when_readable", full)
        with pytest.raises(OSError, match="no space"):
            engine.listen(sock)
    assert kernel_objects() == before
    assert not engine.running


@needs_completion
def test_buffers_that_are_needed_no_more_are_taken_back(serve, ring_engine, connect, monkeypatch):
    monkeypatch.setattr(ebb, "PERIOD", 0.02)
    service = serve(engine="completion")
    socks = connect(service, 150)
    in_the_ring(service, socks)
    buffers = engine_of(service).mover._rings.buffers
    assert buffers.lent >= 256
    for sock in socks[5:]:
        sock.close()
    until(lambda: buffers.lent < 10 + lending.FEW_BUFFERS + ebb.ENOUGH)  # less stays, if they left by and by
    assert buffers.lent >= 10
    for _ in range(3):
        in_the_ring(service, socks[:5])
    until(lambda: engine_of(service).mover._lending._ebb._call is None)


@needs_completion
def test_no_byte_is_lost_while_buffers_are_taken_back(serve, ring_engine, connect):
    """Again and again, in the midst of traffic: the kernel may fill one at any moment."""
    service = serve(engine="completion")
    socks = connect(service, 40)
    in_the_ring(service, socks)
    mover, shrunk = engine_of(service).mover, []

    def shrink():
        before = mover._rings.buffers.lent
        mover._lending.shrink(8)
        shrunk.append(before > mover._rings.buffers.lent)
        mover._rings.buffers.lend(100)

    def client(seed):
        rng, wrong = random.Random(seed), 0
        for _ in range(200):
            contents = [rng.randbytes(rng.randrange(1, 3000)) for _ in socks[seed::2]]
            for sock, content in zip(socks[seed::2], contents, strict=True):
                sock.sendall(content)
            for sock, content in zip(socks[seed::2], contents, strict=True):
                wrong += read_exactly(sock, len(content)) != content
        return wrong

    shrinking = LoopingCall(shrink)
    shrinking.start(0.002)
    try:
        results = [deferToThread(client, seed) for seed in range(2)]
        assert [pytest_twisted.blockon(result) for result in results] == [0, 0]
    finally:
        shrinking.stop()
    assert shrunk.count(True) > 5


@needs_completion
def test_without_buffers_the_poller_takes_over_until_there_are_some_again(
    serve, ring_engine, connect, monkeypatch, logged_errors
):
    service = serve(engine="completion")
    socks = connect(service, 40)
    in_the_ring(service, socks)
    mover = engine_of(service).mover
    register = type(mover._rings.rx).register

    def refused(self, what, argument, count):
        if what == k.REGISTER_PBUF_RING:
            raise OSError(errno.ENOMEM, "no memory")
        register(self, what, argument, count)

    monkeypatch.setattr(type(mover._rings.rx), "register", refused)
    with capturedLogs() as logs:
        mover._lending.shrink(8)
        mover._lending.shrink(8)
    assert [event["log_format"] for event in logs] == ["the ring's buffers cannot be set up anew: {error}{more}"]
    for _ in range(3):
        for sock in socks:
            sock.sendall(b"still here")
        assert blocking(lambda: [read_exactly(sock, 10) for sock in socks]) == [b"still here"] * len(socks)
    assert len(mover.lanes().receiving) == 0
    monkeypatch.setattr(type(mover._rings.rx), "register", register)
    mover._lending.shrink(8)
    in_the_ring(service, socks)


@needs_completion
def test_a_receive_that_finds_no_buffer_while_they_are_taken_back_needs_no_more(
    serve, ring_engine, connect, monkeypatch
):
    service = serve(engine="completion")
    socks = connect(service, 40)
    in_the_ring(service, socks)
    mover = engine_of(service).mover
    register = type(mover._rings.rx).register

    def in_that_moment(self, what, argument, count):
        register(self, what, argument, count)
        if what == k.UNREGISTER_PBUF_RING:
            socks[0].sendall(b"!")

    monkeypatch.setattr(type(mover._rings.rx), "register", in_that_moment)
    for _ in range(3):
        mover._lending.shrink(mover._lending._needed())
        assert blocking(read_exactly, socks[0], 1) == b"!"
        in_the_ring(service, socks)
    assert -errno.ENOBUFS in ring_engine["results"]
    assert mover._rings.buffers.lent <= mover._lending._needed() + lending.FEW_BUFFERS
